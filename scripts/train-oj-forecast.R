# models/oj-forecast: 35 quantile models of weekly orange juice sales (bayesm::orangeJuice),
# with a history and future prices as inputs.
# Usage: Rscript scripts/train-oj-forecast.R [--force]
#        Rscript scripts/train-oj-forecast.R --size repeated|full --into REPOSITORY
#
# The small models go to models/oj-forecast/1; others (scripts/lib/forecast/train.R) go
# with their script and manifest to REPOSITORY/oj-forecast/1.

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "lib", "train.R"))
libraries <- file.path(root, "scripts", "lib", "forecast", c("data.R", "train.R"))
for (library in libraries) source(library)

option <- function(name, default) {
  arguments <- commandArgs(TRUE)
  at <- match(name, arguments)
  if (is.na(at)) return(default)
  if (at == length(arguments)) stop(name, " needs a value")
  arguments[[at + 1L]]
}

size <- option("--size", "small")
if (!size %in% names(forecast_sizes)) stop("--size is one of ", paste(names(forecast_sizes), collapse = ", "))
repository <- option("--into", if (size == "small") file.path(root, "models"))
if (is.null(repository)) stop("--size ", size, " needs --into REPOSITORY: models/ is for the small ones")

script_directory <- file.path(root, "models", "oj-forecast", "1")
script <- new.env()
sys.source(file.path(script_directory, "score.R"), envir = script)

# A folder for the models of this size, emptied when a source of theirs has changed.
cache_of <- function(size, sources) {
  cache <- file.path(root, ".cache", "oj-forecast", size)
  stamp <- c(stamp_of(sources, "gbm"), deparse(forecast_sizes[[size]]))
  stamp_file <- file.path(cache, "stamp")
  if ("--force" %in% commandArgs(TRUE) || !file.exists(stamp_file) || !identical(readLines(stamp_file), stamp)) {
    unlink(cache, recursive = TRUE)
    dir.create(cache, recursive = TRUE)
    writeLines(stamp, stamp_file)
  }
  cache
}

train <- function(directory) {
  dir.create(directory, recursive = TRUE, showWarnings = FALSE)
  if (directory != script_directory) {
    file.copy(file.path(script_directory, c("score.R", "rscore.toml")), directory, overwrite = TRUE)
  }
  sales <- split_sales(oj_sales())
  cache <- cache_of(size, c(libraries, file.path(script_directory, "score.R")))
  models <- train_forecast(sales$history, script, forecast_sizes[[size]], cache)
  few <- function(rows) rows[rows$store == 1L & rows$sku %in% c(1L, 4L), ]
  sample <- list(history = few(sales$history)[c("sku", "store", "week", "sales")], futurex = few(sales$futurex))
  expected <- script$score(models, sample)
  list(models = stats::setNames(models, paste0(names(models), ".rds")), sample = sample, expected = expected)
}

files <- paste0(script$model_names(), ".rds")
train_bundle("oj-forecast", c("bayesm", "gbm"), train, files, libraries, repository)
