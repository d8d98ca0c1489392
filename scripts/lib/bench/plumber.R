# The API of the plumber and faucet peers: exactly predict(), and a constant.
# BENCH_MODEL names the model's file.

suppressPackageStartupMessages(library(randomForest))
model <- readRDS(Sys.getenv("BENCH_MODEL"))

# digits = NA: jsonlite writes 15 significant digits, its most; the default is 4.

#* @post /predict
#* @parser json
#* @serializer json list(digits = NA)
function(req) unname(predict(model, newdata = req$body))

#* @post /trivial
#* @parser json
#* @serializer json list(digits = NA)
function(req) rep(1, nrow(req$body))
