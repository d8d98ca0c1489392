# Trains the 35 quantile models of models/oj-forecast on a history of sales, with the
# features of its score.R. Models that are done are kept in .cache/oj-forecast, so that an
# interrupted training goes on where it stopped.

# `small` is for trying out and for tests. `full` takes hours. `repeated` has trees of full
# size, but a 25th of their number, each of them 25 times with a 25th of its value: it
# predicts what 50 trees predict and costs what 1,250 cost.
forecast_sizes <- list(
  small = list(trees = 20L, depth = 4L, shrinkage = 0.3, stores = 6L, repeats = 1L),
  repeated = list(trees = 50L, depth = 20L, shrinkage = 0.1, stores = 83L, repeats = 25L),
  full = list(trees = 1250L, depth = 20L, shrinkage = 0.05, stores = 83L, repeats = 1L)
)

# At top level, so that the models do not save a function's environment with them.
prices <- paste0("price", 1:11)
by_level <- reformulate(c("sku", "deal", "feat", "level", prices), quote(log(sales)))
by_level_and_lags <- reformulate(
  c("sku", "deal", "feat", "level", "month_mean", "month_max", "month_min", "lag1", prices),
  quote(log(sales))
)

# The models by name. `script` is the environment of score.R; `cache` is a folder of models
# that are done.
train_forecast <- function(history, script, size, cache) {
  dir.create(cache, recursive = TRUE, showWarnings = FALSE)
  history <- history[history$store <= size$stores, ]
  weekly <- script$weekly_sales(history)
  grid <- expand.grid(quantile = script$quantiles, step = seq_len(script$lagged_steps + 1L))
  names <- script$model_name(grid$step, grid$quantile)
  train <- function(index) {
    path <- file.path(cache, paste0(names[[index]], ".rds"))
    if (!file.exists(path)) {
      model <- train_quantile(history, weekly, script, grid$step[[index]], grid$quantile[[index]], size)
      replace_file(path, function(partial) saveRDS(model, partial))
    }
    repeat_trees(readRDS(path), size$repeats)
  }
  models <- parallel::mclapply(seq_along(names), train, mc.cores = parallel::detectCores(), mc.preschedule = FALSE)
  failed <- vapply(models, inherits, NA, "try-error")
  if (any(failed)) stop(names[failed][[1L]], ": ", models[failed][[1L]])
  stats::setNames(models, names)
}

# A model of the sales `step` weeks after the last week that is known. The seed is the
# model's own, so that it does not depend on which others were trained before.
train_quantile <- function(history, weekly, script, step, quantile, size) {
  rows <- cbind(history, script$sales_features(weekly, history, history$week - step))
  rows <- rows[stats::complete.cases(rows), ]
  set.seed(1000 * step + 100 * quantile, kind = "Mersenne-Twister", sample.kind = "Rejection")
  model <- gbm::gbm(
    if (step <= script$lagged_steps) by_level_and_lags else by_level,
    distribution = list(name = "quantile", alpha = quantile),
    data = rows,
    n.trees = size$trees,
    interaction.depth = size$depth,
    shrinkage = size$shrinkage,
    n.minobsinnode = 10,
    keep.data = FALSE
  )
  # A number per row of the training data, which predict() does not look at.
  model[c("fit", "train.error", "valid.error", "oobag.improve")] <- NULL
  model
}

# The sum of the trees stays the same but for rounding.
repeat_trees <- function(model, repeats) {
  if (repeats == 1L) return(model)
  model$trees <- rep(lapply(model$trees, scale_leaves, by = 1 / repeats), repeats)
  model$n.trees <- length(model$trees)
  model
}

# The first component of a tree has the variable of each split, or -1 for a leaf; the
# second has the split's value or the leaf's prediction.
scale_leaves <- function(tree, by) {
  leaves <- tree[[1L]] == -1L
  tree[[2L]][leaves] <- by * tree[[2L]][leaves]
  tree
}
