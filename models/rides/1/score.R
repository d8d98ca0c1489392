# Riders per day. The model knows the day by its season and whether it is a weekend;
# both are made here, for training (scripts/train-rides.R) as for scoring.

features <- function(data) {
  # Not weekdays(), whose names follow the locale.
  calendar <- as.POSIXlt(data$day)
  season <- 2 * pi * calendar$yday / 365.25
  data$weekend <- calendar$wday %in% c(0L, 6L)
  data$season_sin <- sin(season)
  data$season_cos <- cos(season)
  data
}

score <- function(model, data) {
  expected <- unname(predict(model, newdata = features(data), type = "response"))
  data.frame(
    day = data$day,
    riders = as.integer(round(expected)),
    expected = expected,
    busy = expected > 300
  )
}
