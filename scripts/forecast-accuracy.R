# How good the forecasts are on the 13 weeks that the models were not trained on, beside a
# seasonal naive forecast. Prints the tables of docs/forecast.md.
# Usage: Rscript scripts/forecast-accuracy.R [BUNDLE]      default: models/oj-forecast/1

script_file <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
root <- dirname(dirname(script_file))
for (library in c("data.R", "bundle.R")) source(file.path(root, "scripts", "lib", "forecast", library))

probabilities <- c(0.05, 0.25, 0.5, 0.75, 0.95)
season <- 52L

# The sales of the same week a year before. Their quantiles are those of an SKU's changes
# from year to year in the history, over all stores.
seasonal_naive <- function(history, futurex) {
  year_before <- function(rows) {
    history$sales[match(paste(rows$sku, rows$store, rows$week - season), paste(history$sku, history$store, history$week))]
  }
  change <- history$sales / year_before(history)
  of_sku <- tapply(change, history$sku, quantile, probabilities, na.rm = TRUE, simplify = FALSE)
  factors <- do.call(rbind, of_sku)[as.character(futurex$sku), ]
  list(point = year_before(futurex), quantiles = unname(year_before(futurex) * factors))
}

# Rows of one table: what each method gets over the chosen rows.
figures <- function(methods, sales, chosen) {
  lapply(methods, function(method) {
    quantiles <- method$quantiles[chosen, ]
    actual <- sales[chosen]
    below <- actual < quantiles
    pinball <- (sweep(-below, 2L, probabilities, `+`)) * (actual - quantiles)
    list(
      pinball = mean(pinball),
      mape = 100 * mean(abs(method$point[chosen] - actual) / actual),
      wide = 100 * mean(actual >= quantiles[, 1L] & actual <= quantiles[, 5L]),
      narrow = 100 * mean(actual >= quantiles[, 2L] & actual <= quantiles[, 4L])
    )
  })
}

print_table <- function(weeks, results) {
  for (method in names(results)) {
    figure <- results[[method]]
    cat(sprintf("| %s | %s | %.0f | %.0f %% | %.0f %% | %.0f %% |\n", weeks, method, figure$pinball, figure$mape, figure$wide, figure$narrow))
  }
}

bundle <- if (length(commandArgs(TRUE)) > 0L) commandArgs(TRUE)[[1L]] else file.path(root, "models", "oj-forecast", "1")
sales <- split_sales(oj_sales())
forecasts <- open_bundle(bundle)(sales[c("history", "futurex")])
naive <- seasonal_naive(sales$history, sales$futurex)
quantiles <- as.matrix(forecasts[paste0("q", 100 * probabilities)])
methods <- list("35 gbm models" = list(point = quantiles[, 3L], quantiles = unname(quantiles)), "a year before" = naive)
stopifnot(!anyNA(quantiles), !anyNA(naive$quantiles), nrow(quantiles) == nrow(sales$test))

cat("| weeks ahead | forecast | pinball loss | MAPE of the median | within 5 % and 95 % | within 25 % and 75 % |\n|---|---|---|---|---|---|\n")
spans <- list("1 to 13" = 1:13, "1" = 1L, "2 to 6" = 2:6, "7 to 13" = 7:13)
for (weeks in names(spans)) {
  print_table(weeks, figures(methods, sales$test$sales, forecasts$step %in% spans[[weeks]]))
}
