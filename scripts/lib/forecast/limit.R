# R's own time for the features and scores of a product: the data is in memory, and nothing
# is read or written. Prints the seconds of each repetition.
# Usage: Rscript limit.R BUNDLE DATA REPETITIONS

arguments <- commandArgs(TRUE)
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "bundle.R"))
score <- open_bundle(arguments[[1L]])
history <- read.csv(file.path(arguments[[2L]], "history", "product1.csv"))[c("sku", "store", "week", "sales")]
futurex <- read.csv(file.path(arguments[[2L]], "futurex", "product1.csv"))
data <- list(history = history, futurex = futurex)
for (repetition in seq_len(as.integer(arguments[[3L]]))) {
  started <- proc.time()[["elapsed"]]
  rows <- score(data)
  cat(sprintf("%.3f\n", proc.time()[["elapsed"]] - started))
}
