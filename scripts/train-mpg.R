# models/mpg: fuel consumption of cars (mtcars) by a linear model, the smallest bundle:
# a folder with a model.rds. Usage: Rscript scripts/train-mpg.R [--force]

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "lib", "train.R"))

# At top level, so that the model does not save a function's environment with it.
consumption <- mpg ~ wt + log(hp) + am

train_bundle("mpg", character(), function(directory) {
  model <- lm(consumption, data = mtcars)
  sample <- mtcars[c("Mazda RX4", "Valiant", "Fiat 128", "Maserati Bora"), c("wt", "hp", "am")]
  sample$hp[[3L]] <- NA
  list(model = model, sample = sample, expected = predict(model, newdata = sample))
})
