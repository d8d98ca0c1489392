# Writes what every server of the benchmark is given.
# Usage: Rscript prepare.R MODEL.rds DIRECTORY
#
#   forest-<rows>.json      records, the rows of MASS::Boston over and over
#   forest-<rows>.expected  what predict() says in this R, 17 significant digits, one per line
#   trivial-1.json          one record with one column
#   boston.csv              the data, for peers that train a model of their own
#   trivial.rds             a model that is not used

suppressPackageStartupMessages({
  library(randomForest)
  library(MASS)
})
arguments <- commandArgs(TRUE)
model <- readRDS(arguments[[1L]])
directory <- arguments[[2L]]

columns <- setdiff(names(Boston), "medv")
for (rows in c(1L, 1000L)) {
  data <- Boston[rep_len(seq_len(nrow(Boston)), rows), columns]
  rownames(data) <- NULL
  text <- as.character(jsonlite::toJSON(data, digits = NA))
  stopifnot(isTRUE(all.equal(jsonlite::fromJSON(text), data, tolerance = 0)))
  writeLines(text, file.path(directory, sprintf("forest-%d.json", rows)), sep = "")
  expected <- sprintf("%.17g", predict(model, newdata = data))
  writeLines(expected, file.path(directory, sprintf("forest-%d.expected", rows)))
}
writeLines('[{"x":1}]', file.path(directory, "trivial-1.json"), sep = "")
writeLines("1", file.path(directory, "trivial-1.expected"))
write.csv(Boston, file.path(directory, "boston.csv"), row.names = FALSE)
saveRDS("not used", file.path(directory, "trivial.rds"))
