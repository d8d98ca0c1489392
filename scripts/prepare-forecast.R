# Writes the orange juice data as the inputs of a batch run, in CSV.
# Usage: Rscript scripts/prepare-forecast.R DIRECTORY [--products N] [--stores N]
#
#   DIRECTORY/history/product<p>.csv   sales so far
#   DIRECTORY/futurex/product<p>.csv   what is known of the 13 weeks to forecast
#   DIRECTORY/test/product1.csv        what was sold then
#
# There are 90 products of eleven SKUs in 83 stores by default, which all have the same
# data. With --stores, product p has that many stores from the p-th one on, so that no
# two products of at most 83 are the same.

script_file <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
source(file.path(dirname(script_file), "lib", "forecast", "data.R"))

number <- function(name, default) {
  arguments <- commandArgs(TRUE)
  at <- match(name, arguments)
  if (is.na(at)) return(default)
  value <- suppressWarnings(as.integer(arguments[at + 1L]))
  if (is.na(value) || value < 1L) stop(name, " needs a positive number")
  value
}

write_rows <- function(rows, path) write.csv(rows, path, quote = FALSE, row.names = FALSE)

directory <- commandArgs(TRUE)[1L]
if (is.na(directory) || startsWith(directory, "--")) stop("usage: Rscript scripts/prepare-forecast.R DIRECTORY [--products N] [--stores N]")
products <- number("--products", 90L)
stores <- number("--stores", 83L)
sales <- split_sales(oj_sales())
for (folder in names(sales)) dir.create(file.path(directory, folder), recursive = TRUE, showWarnings = FALSE)
write_rows(sales$test, file.path(directory, "test", "product1.csv"))
for (folder in c("history", "futurex")) {
  rows <- sales[[folder]]
  paths <- file.path(directory, folder, sprintf("product%d.csv", seq_len(products)))
  if (stores >= 83L) {
    write_rows(rows, paths[[1L]])
    file.copy(paths[[1L]], paths[-1L], overwrite = TRUE)
  } else {
    for (product in seq_len(products)) write_rows(rows[(rows$store - product) %% 83L < stores, ], paths[[product]])
  }
}
cat(sprintf("%d products in %s\n", products, directory))
