# What R itself answers: for each model, requests with the predictions that Rscript gives for their rows.
# Usage: Rscript cases.R REPOSITORY SEED OUTPUT

arguments <- commandArgs(TRUE)
repository <- arguments[[1L]]
set.seed(as.integer(arguments[[2L]]))
suppressPackageStartupMessages(library(randomForest))

model_of <- function(name) readRDS(file.path(repository, name, "1", "model.rds"))
script_of <- function(name) {
  script <- new.env()
  sys.source(file.path(repository, name, "1", "score.R"), envir = script)
  script$score
}

# Seventeen digits tell every double from its neighbours.
values <- function(x) {
  text <- if (is.numeric(x)) sprintf("%.17g", x) else if (is.logical(x)) ifelse(x, "true", "false") else dQuote(as.character(x), FALSE)
  ifelse(is.na(x), "null", text)
}
records <- function(data) {
  cells <- Map(function(name, column) paste0(dQuote(name, FALSE), ":", values(column)), names(data), data)
  paste0("{", do.call(paste, c(unname(cells), sep = ",")), "}")
}
array <- function(items) paste0("[", paste(items, collapse = ","), "]")
case <- function(data, predictions) {
  answer <- array(if (is.data.frame(predictions)) records(predictions) else values(unname(predictions)))
  paste0('{"rows":', array(records(data)), ',"predictions":', answer, "}")
}
cases <- function(data, sizes, score) {
  array(vapply(sizes, function(size) {
    rows <- data[sample(nrow(data), size, replace = TRUE), , drop = FALSE]
    row.names(rows) <- NULL
    case(rows, score(rows))
  }, ""))
}

sizes <- rep(c(1L, 1L, 1L, 2L, 7L, 40L), length.out = 60L)
forest <- model_of("boston")
flowers <- model_of("iris")
rentals <- model_of("rides")
rides <- expand.grid(
  weather = factor(c("clear", "cloudy", "rain")),
  day = as.Date("2024-01-01") + seq(0, 360, by = 30),
  temperature = c(-3.5, 0.1, 18.25, NA),
  holiday = c(FALSE, TRUE)
)
numbers <- data.frame(x = c(runif(200, -10, 10), 0, 1e300, -1e-300), deed = "none")

out <- c(
  boston = cases(MASS::Boston[names(MASS::Boston) != "medv"], sizes, function(rows) predict(forest, rows)),
  iris = cases(iris[names(iris) != "Species"], sizes, function(rows) script_of("iris")(flowers, rows)),
  rides = cases(rides, sizes, function(rows) script_of("rides")(rentals, rows)),
  poison = cases(numbers, sizes, function(rows) sin(rows$x) * 1000),
  # Version v of this model gives these numbers times v: R's own product, for each version that may come.
  generations = cases(numbers["x"], sizes, function(rows) {
    versions <- lapply(seq_len(200L), function(version) cos(rows$x) * version)
    list2DF(setNames(versions, seq_len(200L)))
  })
)
writeLines(paste0("{", paste0(dQuote(names(out), FALSE), ":", out, collapse = ","), "}"), arguments[[3L]])
