# The forecast's bundle in plain R, as rscore would load it: for comparing with it.

# A function of list(history =, futurex =) that gives the forecasts.
open_bundle <- function(directory) {
  suppressPackageStartupMessages(library(gbm))
  script <- new.env()
  sys.source(file.path(directory, "score.R"), envir = script)
  model <- script$load(directory)
  function(data) script$score(model, data)
}
