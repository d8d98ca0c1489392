# Trains small models of many classes and writes them as bundles, each with a request
# and the answer that plain predict() gives, and bundles that must fail to load.
#
#   Rscript --vanilla tests/integration/zoo.R OUTDIR
#
# For every model NAME that can be served:
#
#   OUTDIR/<NAME>/1/model.rds, and rscore.toml and score.R where it has them
#   OUTDIR/<NAME>.request.json    the native request: an array of 200 records; null is NA;
#                                 numbers have 17 significant digits; dates are YYYY-MM-DD,
#                                 times ISO 8601 in UTC with microseconds
#   OUTDIR/<NAME>.expected.json   {"unnamed": bool, "columns": [{"name": ..., "type": ..., "values": [...]}]}
#
#     type is double, integer, logical, character, factor, date or timestamp. A double is
#     the 16 hexadecimal digits of its IEEE bits, big-endian, or "NA" for NA_real_; other
#     values are strings ("12", "TRUE", a level, a date, a time as in the request), or null
#     for NA. `name` is "" where the answer is unnamed.
#
# The expected answer is computed by zoo/expected.R in another R process, which reads
# the model and the request's text back and knows nothing of rscore.
#
# OUTDIR/index.json lists {"models": [NAME, ...], "failures": [{"name": NAME, "why": PATTERN}, ...]}
# where PATTERN is a regular expression that the reason of the failed load must match.
# Bundles that must fail are at OUTDIR/failures/<NAME>/1/.

arguments <- commandArgs(TRUE)
if (length(arguments) != 1L) stop("usage: Rscript --vanilla zoo.R OUTDIR")
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])))
source(file.path(here, "zoo", "json.R"))
source(file.path(here, "zoo", "models.R"))
source(file.path(here, "zoo", "failures.R"))

# As a worker does; system2() below hands it on.
Sys.setenv(LC_ALL = "C.UTF-8")
invisible(Sys.setlocale("LC_CTYPE", "C.UTF-8"))

output <- arguments[[1L]]
dir.create(output, recursive = TRUE, showWarnings = FALSE)
output <- normalizePath(output)

for (package in c("randomForest", "ranger", "gbm", "rpart", "nnet")) {
  suppressPackageStartupMessages(library(package, character.only = TRUE))
}

models <- zoo_models()
for (name in names(models)) {
  entry <- models[[name]]
  bundle <- file.path(output, name, "1")
  dir.create(bundle, recursive = TRUE, showWarnings = FALSE)
  saveRDS(entry$model, file.path(bundle, "model.rds"))
  if (!is.null(entry$manifest)) write_lines(entry$manifest, file.path(bundle, "rscore.toml"))
  if (!is.null(entry$script)) write_lines(entry$script, file.path(bundle, "score.R"))
  write_lines(records(entry$rows), file.path(output, paste0(name, ".request.json")))
  # How zoo/expected.R turns the request's text into this model's data.frame, and the call it makes.
  saveRDS(list(types = column_types(entry$rows), predict = entry$predict, packages = entry$packages), file.path(output, paste0(name, ".plan.rds")))
}
failures <- write_failures(file.path(output, "failures"))

status <- system2(file.path(R.home("bin"), "Rscript"), c("--vanilla", shQuote(file.path(here, "zoo", "expected.R")), shQuote(output)))
if (status != 0L) stop("the expected answers could not be computed")
unlink(file.path(output, paste0(names(models), ".plan.rds")))

write_lines(
  paste0(
    "{\"models\": [", paste(json_string(names(models)), collapse = ", "), "],\n \"failures\": [",
    paste0("{\"name\": ", json_string(names(failures)), ", \"why\": ", json_string(failures), "}", collapse = ",\n  "), "]}"
  ),
  file.path(output, "index.json")
)
cat(sprintf("%d models and %d failing bundles in %s\n", length(models), length(failures), output))
