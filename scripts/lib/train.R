# Shared by scripts/train-*.R: where a bundle goes, whether it is up to date, and how
# its sample and the sample's expected answer are written.
#
# Generated and not committed, because they depend on the R that made them:
#   models/<name>/1/model.rds (or several .rds files), sample.json, expected.json
# A stamp in .cache/train/ holds the digest of what they were made from.

script_file <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
root <- dirname(dirname(script_file))

# Runs `train(directory)` for version 1 of a model unless its files are there and nothing
# that they depend on has changed; `--force` always does. `train` returns
# list(model =, sample =, expected = vector or data.frame), where a sample is a data.frame
# or, for several inputs, a named list of them. Instead of one `model` there may be
# `models`, a list named by files, which `files` names too. `sources` are further scripts
# that the models depend on. Bundles outside of models/ have a stamp beside them.
train_bundle <- function(name, packages, train, files = "model.rds", sources = character(), repository = file.path(root, "models")) {
  directory <- file.path(repository, name, "1")
  sources <- c(script_file, file.path(root, "scripts", "lib", "train.R"), file.path(directory, "score.R"), sources)
  stamp <- stamp_of(sources[file.exists(sources)], packages)
  at_home <- repository == file.path(root, "models")
  stamp_file <- if (at_home) file.path(root, ".cache", "train", name) else file.path(repository, name, ".trained")
  made <- file.path(directory, c(files, "sample.json", "expected.json"))
  current <- all(file.exists(made)) && file.exists(stamp_file) && identical(readLines(stamp_file), stamp)
  if (current && !"--force" %in% commandArgs(TRUE)) {
    cat(sprintf("%s/%s/1 is up to date\n", basename(repository), name))
    return(invisible())
  }
  started <- proc.time()[["elapsed"]]
  for (package in packages) suppressPackageStartupMessages(library(package, character.only = TRUE))
  bundle <- train(directory)
  write_bundle(directory, bundle)
  dir.create(dirname(stamp_file), recursive = TRUE, showWarnings = FALSE)
  writeLines(stamp, stamp_file)
  cat(sprintf("%s/%s/1 trained in %.1f s\n", basename(repository), name, proc.time()[["elapsed"]] - started))
}

write_bundle <- function(directory, bundle) {
  dir.create(directory, recursive = TRUE, showWarnings = FALSE)
  models <- if (is.null(bundle$models)) list("model.rds" = bundle$model) else bundle$models
  for (file in names(models)) {
    replace_file(file.path(directory, file), function(path) saveRDS(models[[file]], path))
  }
  sample <- if (is.data.frame(bundle$sample)) to_json(bundle$sample) else inputs_json(bundle$sample)
  replace_file(file.path(directory, "sample.json"), function(path) write_text(sample, path))
  replace_file(file.path(directory, "expected.json"), function(path) write_text(to_json(bundle$expected), path))
}

stamp_of <- function(sources, packages) {
  versions <- vapply(packages, function(package) as.character(utils::packageVersion(package)), "")
  c(R.version.string, paste(packages, versions), paste(basename(sources), unname(tools::md5sum(sources))))
}

# A server may be watching the folder: a file appears whole or not at all.
replace_file <- function(path, write) {
  partial <- paste0(path, ".partial")
  write(partial)
  if (!file.rename(partial, path)) stop("could not write ", path)
}

write_text <- function(text, path) writeLines(enc2utf8(text), path, useBytes = TRUE)

# A data.frame as an array of records, a vector as an array of values.
to_json <- function(x) {
  if (!is.data.frame(x)) return(paste0("[\n  ", paste(json_values(x), collapse = ",\n  "), "\n]"))
  cells <- Map(function(name, column) paste0(json_string(name), ": ", json_values(column)), names(x), x)
  records <- do.call(paste, c(unname(cells), sep = ", "))
  paste0("[\n  ", paste0("{", records, "}", collapse = ",\n  "), "\n]")
}

# Several inputs by their names.
inputs_json <- function(inputs) {
  tables <- vapply(inputs, to_json, "")
  paste0("{\"inputs\": {", paste0(json_string(names(inputs)), ": ", tables, collapse = ", "), "}}")
}

# NA is null.
json_values <- function(x) {
  text <- if (is.factor(x) || is.character(x)) {
    json_string(as.character(x))
  } else if (inherits(x, "Date")) {
    json_string(format(x, "%Y-%m-%d"))
  } else if (is.logical(x)) {
    ifelse(x, "true", "false")
  } else if (is.integer(x)) {
    sprintf("%d", x)
  } else if (is.double(x) && !is.object(x)) {
    shortest_double(x)
  } else {
    stop("no JSON form for class ", class(x)[1L])
  }
  missing <- is.na(x)
  text[missing] <- "null"
  unname(text)
}

# The fewest significant digits that read back to the same bits.
shortest_double <- function(x) {
  text <- sprintf("%.15g", x)
  for (format in c("%.16g", "%.17g")) {
    inexact <- !is.na(x) & suppressWarnings(as.double(text)) != x
    text[inexact] <- sprintf(format, x[inexact])
  }
  text
}

json_string <- function(text) {
  text <- gsub("\\", "\\\\", enc2utf8(text), fixed = TRUE)
  text <- gsub("\"", "\\\"", text, fixed = TRUE)
  if (any(grepl("[[:cntrl:]]", text))) stop("control characters are not expected in a sample")
  paste0("\"", text, "\"")
}
