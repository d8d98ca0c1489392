# The Rserve peer: its own HTTP server on loopback, which forks a process per connection.
# BENCH_MODEL names the model's file, BENCH_PORT the port, BENCH_SAMPLE a file with a body.

suppressPackageStartupMessages(library(randomForest))
model <- readRDS(Sys.getenv("BENCH_MODEL"))

# Called by Rserve for each request.
.http.request <- function(url, query, body, headers) {
  data <- jsonlite::fromJSON(rawToChar(body))
  answer <- if (url == "/trivial") rep(1, nrow(data)) else unname(predict(model, newdata = data))
  list(as.character(jsonlite::toJSON(answer, digits = NA)), "application/json")
}

# R compiles a closure at its second call. Done here, no child has to do it again for itself.
sample <- readBin(Sys.getenv("BENCH_SAMPLE"), "raw", file.size(Sys.getenv("BENCH_SAMPLE")))
for (i in 1:5) .http.request("/predict", NULL, sample, NULL)
invisible(gc())

Rserve::run.Rserve(http.port = Sys.getenv("BENCH_PORT"), remote = "disable", qap = "disable")
