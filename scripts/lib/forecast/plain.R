# Forecasts without rscore, as one would write it: a process that loads the models once,
# and then for each product fetches its files, scores, and stores the result.
# Usage: Rscript plain.R BUNDLE STORE FORECASTS PRODUCTS TIMES [CHECKOUT]
#
#   BUNDLE      folder of script and models
#   STORE       address of the container with PATH where a path goes, signature included
#   FORECASTS   folder of the container for the results
#   PRODUCTS    numbers, separated by commas
#   TIMES       file for the seconds by stage
#   CHECKOUT    a checkout of Azure/RBatchScoring, whose functions are used instead of the
#               bundle's

arguments <- commandArgs(TRUE)
bundle <- arguments[[1L]]
store <- arguments[[2L]]
forecasts <- arguments[[3L]]
products <- as.integer(strsplit(arguments[[4L]], ",")[[1L]])
times_file <- arguments[[5L]]
checkout <- if (length(arguments) > 5L) arguments[[6L]]

suppressPackageStartupMessages(library(gbm))
work <- tempfile("plain")
dir.create(work)

curl <- function(...) if (system2("curl", c("--silent", "--show-error", "--fail", ...)) != 0L) stop("curl failed")
address <- function(path) shQuote(sub("PATH", path, store, fixed = TRUE))
fetch <- function(path, file) curl("--output", file, address(path))
upload <- function(file, path) curl("--header", shQuote("x-ms-blob-type: BlockBlob"), "--upload-file", file, address(path))

times <- list()
timed <- function(stage, value) {
  started <- proc.time()[["elapsed"]]
  force(value)
  times[[stage]] <<- sum(times[[stage]], proc.time()[["elapsed"]] - started)
  value
}

script <- new.env()
sys.source(file.path(bundle, "score.R"), envir = script)
models <- timed("models", script$load(bundle))
score <- if (is.null(checkout)) {
  function(history, futurex) script$score(models, list(history = history, futurex = futurex))
} else {
  suppressPackageStartupMessages(library(dplyr))
  for (file in c("options.R", "create_features.R", "generate_forecast.R")) source(file.path(checkout, "R", file))
  theirs <- lapply(models, function(model) list(model = model))
  names(theirs) <- paste0("gbm_", names(models))
  function(history, futurex) generate_forecast(futurex, history, theirs)
}

for (product in products) {
  file <- sprintf("product%d.csv", product)
  local <- function(name) file.path(work, name)
  timed("fetch", for (input in c("history", "futurex")) fetch(file.path(input, file), local(input)))
  history <- timed("read", read.csv(local("history"))[c("sku", "store", "week", "sales")])
  futurex <- timed("read", read.csv(local("futurex")))
  rows <- timed("score", score(history, futurex))
  timed("write", write.csv(rows, local("forecasts"), quote = FALSE, row.names = FALSE))
  timed("upload", upload(local("forecasts"), file.path(forecasts, file)))
}
cat(sprintf("%s %.3f\n", names(times), unlist(times)), file = times_file, sep = "")
