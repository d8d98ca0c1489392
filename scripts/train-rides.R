# models/rides: bicycle rentals per day from weather, date, temperature and holidays, on
# two simulated years: typed columns, and features made by the scoring script.
# Usage: Rscript scripts/train-rides.R [--force]

source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])), "lib", "train.R"))

simulate_rides <- function() {
  set.seed(103, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
  day <- seq(as.Date("2022-01-01"), as.Date("2023-12-31"), by = "day")
  days <- length(day)
  season <- 2 * pi * (as.POSIXlt(day)$yday - 20) / 365.25
  weather <- factor(sample(c("clear", "cloudy", "rain"), days, TRUE, c(0.5, 0.3, 0.2)), levels = c("clear", "cloudy", "rain"))
  temperature <- round(11 - 9 * cos(season) + rnorm(days, sd = 3) - 2 * (weather == "rain"), 1)
  holiday <- runif(days) < 0.03
  weekend <- as.POSIXlt(day)$wday %in% c(0L, 6L)
  rate <- exp(5 + 0.03 * temperature - 0.2 * (weather == "cloudy") - 0.9 * (weather == "rain") + 0.15 * weekend + 0.2 * holiday)
  data.frame(weather, day, temperature, holiday, riders = rpois(days, rate))
}

# At top level, so that the model does not save a function's environment with it.
riders <- riders ~ weather + temperature + holiday + weekend + season_sin + season_cos

train_bundle("rides", character(), function(directory) {
  script <- new.env()
  sys.source(file.path(directory, "score.R"), envir = script)
  rides <- simulate_rides()
  model <- glm(riders, family = poisson, data = script$features(rides))
  # The training data would be most of the file, and predict() needs none of it.
  model[c("data", "model", "y", "fitted.values", "residuals", "weights", "prior.weights", "linear.predictors", "effects")] <- NULL
  sample <- data.frame(
    weather = factor(c("clear", "rain", "cloudy", "clear", "rain"), levels = levels(rides$weather)),
    day = as.Date(c("2024-02-29", "2024-06-15", "2024-07-14", "2024-12-25", "2025-01-01")),
    temperature = c(4.5, 18.25, NA, -1, 0.1),
    holiday = c(FALSE, FALSE, FALSE, TRUE, TRUE)
  )
  list(model = model, sample = sample, expected = script$score(model, sample))
})
