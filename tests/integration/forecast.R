# Writes small products of the orange juice forecast, and what score() of its script gives
# for them in plain Rscript.
#
#   Rscript --vanilla tests/integration/forecast.R BUNDLE OUTDIR
#
# For each product P of 1 to 3, which are two stores each:
#
#   OUTDIR/history/productP.csv, OUTDIR/futurex/productP.csv
#   OUTDIR/requests/productP.json    both tables as a request
#   OUTDIR/expected/productP.txt     tab-separated: names of the columns, then a line per row
#                                    with the bits of each number, 16 hexadecimal digits
#
# Numbers have 17 digits in the files. With fewer, read.csv() is off by a last bit now and
# then, because it rounds twice.

arguments <- commandArgs(TRUE)
if (length(arguments) != 2L) stop("usage: Rscript --vanilla forecast.R BUNDLE OUTDIR")
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])))
source(file.path(here, "zoo", "json.R"))
source(file.path(here, "..", "..", "scripts", "lib", "forecast", "data.R"))
bundle <- arguments[[1L]]
output <- arguments[[2L]]
suppressPackageStartupMessages(library(gbm))
script <- new.env()
sys.source(file.path(bundle, "score.R"), envir = script)
model <- script$load(bundle)
inputs <- split_sales(oj_sales())[c("history", "futurex")]
for (folder in c(names(inputs), "requests", "expected")) dir.create(file.path(output, folder), recursive = TRUE, showWarnings = FALSE)

write_table <- function(rows, path) {
  text <- lapply(rows, function(x) if (is.double(x)) sprintf("%.17g", x) else x)
  write.csv(as.data.frame(text), path, quote = FALSE, row.names = FALSE)
}

for (product in 1:3) {
  path <- function(folder, extension) file.path(output, folder, sprintf("product%d.%s", product, extension))
  data <- lapply(names(inputs), function(name) {
    rows <- inputs[[name]]
    write_table(rows[(rows$store + 1L) %/% 2L == product, ], path(name, "csv"))
    read.csv(path(name, "csv"))
  })
  names(data) <- names(inputs)
  data$history <- data$history[c("sku", "store", "week", "sales")]
  tables <- vapply(data, records, "")
  write_lines(sprintf("{\"inputs\": {\"history\": %s, \"futurex\": %s}}", tables[[1L]], tables[[2L]]), path("requests", "json"))
  answer <- script$score(model, data)
  write_lines(c(paste(names(answer), collapse = "\t"), do.call(paste, c(unname(lapply(answer, double_bits)), sep = "\t"))), path("expected", "txt"))
}
