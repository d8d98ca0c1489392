# Weekly sales of eleven SKUs of orange juice in 83 stores, from bayesm::orangeJuice, made
# complete: a row per SKU, store and week, without gaps. SKUs that a store had given up
# before the last week are left out, which leaves 880 series. Weeks without a record
# repeat the week before.

forecast_weeks <- 13L

oj_sales <- function() {
  found <- new.env()
  utils::data("orangeJuice", package = "bayesm", envir = found)
  records <- found$orangeJuice$yx
  records <- records[order(records$brand, records$store, records$week), ]
  series <- paste(records$brand, records$store)
  last <- max(records$week)
  kept <- ave(records$week, series, FUN = max) == last
  records <- records[kept, ]
  series <- series[kept]
  first <- ave(records$week, series, FUN = min)
  # Each record stands for the weeks until the next one of its series.
  following <- c(records$week[-1L], NA)
  following[!duplicated(series, fromLast = TRUE)] <- last + 1L
  times <- following - records$week
  week <- sequence(times, from = records$week)
  filled <- records[rep(seq_len(nrow(records)), times), ]
  # Stores are numbered in the order of their original numbers as text, as in the data
  # that the public example of this forecast was published with.
  stores <- sort(unique(as.character(records$store)), method = "radix")
  sales <- data.frame(
    sku = filled$brand,
    store = match(filled$store, stores),
    week = week - min(first),
    deal = filled$deal,
    feat = as.integer(filled$feat),
    filled[paste0("price", 1:11)],
    sales = exp(filled$logmove),
    row.names = NULL
  )
  sales <- sales[order(sales$sku, sales$store, sales$week), ]
  rownames(sales) <- NULL
  sales
}

# The last weeks are what is forecast: `futurex` is what is known of them beforehand,
# `test` has their sales too.
split_sales <- function(sales) {
  ahead <- sales$week > max(sales$week) - forecast_weeks
  list(
    history = sales[!ahead, ],
    futurex = sales[ahead, names(sales) != "sales"],
    test = sales[ahead, ]
  )
}
