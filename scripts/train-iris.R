# models/iris: species of iris flowers with their probabilities, by a forest behind a
# scoring script. Usage: Rscript scripts/train-iris.R [--force]

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "lib", "train.R"))

# At top level, so that the model does not save a function's environment with it.
species <- Species ~ .

train_bundle("iris", "randomForest", function(directory) {
  set.seed(101)
  model <- randomForest(species, data = iris, ntree = 100)
  sample <- iris[c(1, 51, 71, 101, 120), setdiff(names(iris), "Species")]
  sample$Petal.Width[[2L]] <- NA
  script <- new.env()
  sys.source(file.path(directory, "score.R"), envir = script)
  list(model = model, sample = sample, expected = script$score(model, sample))
})
