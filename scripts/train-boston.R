# models/boston: a random forest of Boston house prices (MASS::Boston), served from its
# model.rds alone. Usage: Rscript scripts/train-boston.R [--force]

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "lib", "train.R"))

# At top level, so that the model does not save a function's environment with it.
value <- medv ~ .

train_bundle("boston", c("randomForest", "MASS"), function(directory) {
  set.seed(100)
  model <- randomForest(value, data = Boston, ntree = 100)
  sample <- Boston[c(1, 9, 99, 215, 506), setdiff(names(Boston), "medv")]
  # A forest by formula answers NA for a row that lacks a value.
  sample$crim[[4L]] <- NA
  list(model = model, sample = sample, expected = predict(model, newdata = sample))
})
