# The Rserve peer: its own HTTP server on loopback, which forks a process per connection.
# BENCH_MODEL names the model's file, BENCH_PORT the port.

suppressPackageStartupMessages(library(randomForest))
model <- readRDS(Sys.getenv("BENCH_MODEL"))

# Called by Rserve for each request.
.http.request <- function(url, query, body, headers) {
  data <- jsonlite::fromJSON(rawToChar(body))
  answer <- if (url == "/trivial") rep(1, nrow(data)) else unname(predict(model, newdata = data))
  list(as.character(jsonlite::toJSON(answer, digits = NA)), "application/json")
}

Rserve::run.Rserve(http.port = Sys.getenv("BENCH_PORT"), remote = "disable", qap = "disable")
