# What R itself can do: time of a call in this process, on one core, without any server.
# Usage: Rscript limit.R MODEL.rds SECONDS
# Prints JSON: milliseconds per call of predict() by rows, and of the trivial function.

suppressPackageStartupMessages({
  library(randomForest)
  library(MASS)
})
arguments <- commandArgs(TRUE)
model <- readRDS(arguments[[1L]])
seconds <- as.double(arguments[[2L]])

# Median over blocks of calls that take about 10 ms each, so that the clock is fine
# enough, for so many seconds in all. Two calls come first: R compiles a closure at its
# second.
milliseconds <- function(call) {
  call()
  call()
  now <- function() as.double(Sys.time())
  started <- now()
  call()
  calls <- max(1L, min(100000L, as.integer(0.01 / max(now() - started, 1e-7))))
  blocks <- double()
  started <- now()
  while (now() - started < seconds || length(blocks) < 3L) {
    from <- now()
    for (i in seq_len(calls)) call()
    blocks <- c(blocks, (now() - from) / calls)
  }
  1000 * median(blocks)
}

columns <- setdiff(names(Boston), "medv")
rows <- c(1L, 8L, 16L, 32L, 64L, 256L, 1024L)
forest <- vapply(rows, function(n) {
  data <- Boston[rep_len(seq_len(nrow(Boston)), n), columns]
  rownames(data) <- NULL
  milliseconds(function() predict(model, newdata = data))
}, 0)

score <- function(model, data) rep(1, nrow(data))
data <- data.frame(x = 1)
trivial <- milliseconds(function() score(model, data))

cat(sprintf('{"forest": {%s}, "trivial": %.6f}\n', paste(sprintf('"%d": %.6f', rows, forest), collapse = ", "), trivial))
