# Quantile forecasts of weekly sales. There is a model per quantile for each of the first
# six weeks ahead, which knows the last weeks' sales, and one per quantile for all later
# weeks, which knows the long-term level alone: 35 models, trained by
# scripts/train-oj-forecast.R with the features that are made here.

quantiles <- c(0.05, 0.25, 0.5, 0.75, 0.95)
lagged_steps <- 6L
lags <- 5L

model_name <- function(step, quantile) sprintf("t%d_q%g", pmin(step, lagged_steps + 1L), 100 * quantile)

model_names <- function() {
  grid <- expand.grid(quantile = quantiles, step = seq_len(lagged_steps + 1L))
  model_name(grid$step, grid$quantile)
}

load <- function(dir) {
  sapply(model_names(), function(name) readRDS(file.path(dir, paste0(name, ".rds"))), simplify = FALSE)
}

# A row per row of `futurex`, in its order: its columns, the features, and the quantiles
# of sales in ascending order. They are NA where the history is too short.
score <- function(model, data) {
  futurex <- data$futurex
  origin <- min(futurex$week) - 1L
  features <- sales_features(weekly_sales(data$history), futurex, origin)
  rows <- cbind(futurex, features, step = futurex$week - origin)
  cbind(rows, ascending(predict_quantiles(model, rows)))
}

# Sales as a matrix of logarithms with a row per series, which is an SKU in a store, and a
# column per week, and their mean from the first week on.
weekly_sales <- function(history) {
  series <- series_of(history)
  names <- unique(series)
  weeks <- seq.int(min(history$week), max(history$week))
  cells <- cbind(match(series, names), history$week - weeks[[1L]] + 1L)
  if (anyDuplicated(cells) > 0L) {
    twice <- history[anyDuplicated(cells), ]
    stop(sprintf("history has SKU %d in store %d twice in week %d", twice$sku, twice$store, twice$week))
  }
  sales <- matrix(NA_real_, length(names), length(weeks))
  sales[cells] <- log(history$sales)
  list(names = names, first_week = weeks[[1L]], sales = sales, level = running_means(sales))
}

series_of <- function(rows) paste(rows$sku, rows$store)

# Means of each row up to each column. The order of the additions is fixed, since another
# one would change last bits.
running_means <- function(sales) {
  total <- count <- double(nrow(sales))
  for (week in seq_len(ncol(sales))) {
    known <- !is.na(sales[, week])
    total[known] <- total[known] + sales[known, week]
    count <- count + known
    sales[, week] <- ifelse(known, total / count, NA)
  }
  sales
}

# What is known in week `origin` about the series of each row: the week's sales (lag1);
# mean, maximum and minimum of five weeks; and the mean of all weeks (level).
sales_features <- function(weekly, rows, origin) {
  series <- match(series_of(rows), weekly$names)
  at <- function(values, week) {
    column <- week - weekly$first_week + 1L
    column[column < 1L | column > ncol(values)] <- NA
    values[cbind(series, column)]
  }
  lag <- lapply(seq_len(lags), function(weeks) at(weekly$sales, origin - weeks + 1L))
  data.frame(
    lag1 = lag[[1L]],
    month_mean = Reduce(`+`, lag) / lags,
    month_max = do.call(pmax, lag),
    month_min = do.call(pmin, lag),
    level = at(weekly$level, origin)
  )
}

# A matrix with a row per row and a column per quantile. The weeks that have one model
# are predicted in one call.
predict_quantiles <- function(model, rows) {
  forecasts <- matrix(NA_real_, nrow(rows), length(quantiles), dimnames = list(NULL, paste0("q", 100 * quantiles)))
  of_model <- pmin(rows$step, lagged_steps + 1L)
  complete <- stats::complete.cases(rows)
  for (step in unique(of_model)) {
    chosen <- which(of_model == step & complete)
    for (column in seq_along(quantiles)) {
      one <- model[[model_name(step, quantiles[[column]])]]
      forecasts[chosen, column] <- exp(predict(one, rows[chosen, ], n.trees = one$n.trees))
    }
  }
  forecasts
}

# Each row sorted: quantiles of models that were trained apart may cross.
ascending <- function(forecasts) {
  sorted <- forecasts[order(row(forecasts), forecasts)]
  matrix(sorted, ncol = ncol(forecasts), byrow = TRUE, dimnames = dimnames(forecasts))
}
