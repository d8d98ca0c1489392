# The zoo's models. Each entry: model; rows (the request, 200 rows, with NA where the
# class takes it); manifest and script, if any; predict, the function of (model, data)
# that gives the expected answer; packages that it needs.

zoo_models <- function() {
  set.seed(2024, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
  train <- zoo_data(400L)
  request <- zoo_data(200L)
  holed <- with_holes(request)
  plain <- function(model, data) predict(model, newdata = data)

  list(
    lm = list(
      model = lm(price ~ area + log(age) + district + rooms, train),
      rows = holed[c("area", "age", "district", "rooms")], predict = plain
    ),
    lm_text = list(
      model = lm(price ~ area * kind + poly(age, 2) + I(rooms^2), train),
      rows = holed[c("area", "kind", "age", "rooms")], predict = plain
    ),
    lm_types = list(
      model = lm(price ~ area + day + at + sold + floor + grade, train),
      manifest = c(
        "description = \"every type of column\"", "", "[columns]", "area = \"double\"",
        "day = { type = \"date\", nullable = true }", "at = { type = \"timestamp\", nullable = true }",
        "sold = { type = \"logical\", nullable = true }", "floor = { type = \"integer\", nullable = true }",
        "grade = { type = \"ordered\", levels = [\"low\", \"middle\", \"high\"], nullable = true }"
      ),
      rows = within(holed[c("area", "day", "at", "sold", "floor", "grade")], area <- request$area), predict = plain
    ),
    lm_names = list(
      model = lm(stats::as.formula("price ~ log(`floor area (m2)`) + `Stra\u00dfe`", globalenv()), transform_names(train)),
      rows = transform_names(holed)[c("floor area (m2)", "Stra\u00dfe")], predict = plain
    ),
    lm_interval = list(
      model = lm(price ~ area + district, train),
      manifest = c("[predict]", "interval = \"prediction\"", "level = 0.9"),
      rows = holed[c("area", "district")],
      predict = function(model, data) predict(model, newdata = data, interval = "prediction", level = 0.9)
    ),
    glm = list(
      model = glm(sold ~ area + district + log(age), binomial, train),
      manifest = c("[predict]", "type = \"response\""),
      rows = holed[c("area", "district", "age")],
      predict = function(model, data) predict(model, newdata = data, type = "response")
    ),
    random_forest = list(
      model = randomForest(price ~ area + age + district + rooms, train, ntree = 60), packages = "randomForest",
      rows = holed[c("area", "age", "district", "rooms")], predict = plain
    ),
    random_forest_matrix = list(
      model = randomForest(train[c("area", "age", "district", "grade")], train$price, ntree = 60), packages = "randomForest",
      rows = request[c("area", "age", "district", "grade")], predict = plain
    ),
    random_forest_class = list(
      model = randomForest(district ~ area + age + price, train, ntree = 60), packages = "randomForest",
      manifest = "packages = [\"randomForest\"]",
      script = c(
        "score <- function(model, data) {",
        "  votes <- predict(model, newdata = data, type = \"prob\")",
        "  class <- factor(colnames(votes)[max.col(votes, ties.method = \"first\")], levels = colnames(votes))",
        "  data.frame(class, unclass(votes), row.names = NULL)", "}"
      ),
      rows = holed[c("area", "age", "price")],
      predict = function(model, data) {
        votes <- predict(model, newdata = data, type = "prob")
        class <- factor(colnames(votes)[max.col(votes, ties.method = "first")], levels = colnames(votes))
        data.frame(class, north = votes[, "north"], south = votes[, "south"], west = votes[, "west"])
      }
    ),
    ranger = list(
      model = ranger(price ~ area + age + rooms, train, num.trees = 60, num.threads = 1, seed = 7), packages = "ranger",
      rows = request[c("area", "age", "rooms")],
      predict = function(model, data) predict(model, data = data, num.threads = 1)$predictions
    ),
    ranger_probability = list(
      model = ranger(
        district ~ area + age + kind, train, num.trees = 60, num.threads = 1, seed = 7, probability = TRUE,
        respect.unordered.factors = "order"
      ), packages = "ranger",
      rows = request[c("area", "age", "kind")],
      predict = function(model, data) predict(model, data = data, num.threads = 1)$predictions
    ),
    gbm = list(
      model = gbm(price ~ area + age + district + rooms, data = train, distribution = "gaussian", n.trees = 60, interaction.depth = 3), packages = "gbm",
      rows = holed[c("area", "age", "district", "rooms")],
      predict = function(model, data) predict(model, newdata = data, n.trees = 60)
    ),
    gbm_classes = list(
      model = suppressWarnings(gbm(district ~ area + age + price, data = train, distribution = "multinomial", n.trees = 20)), packages = "gbm",
      manifest = c("[predict]", "type = \"response\"", "n.trees = 15"),
      rows = holed[c("area", "age", "price")],
      predict = function(model, data) predict(model, newdata = data, type = "response", n.trees = 15)[, , 1L]
    ),
    rpart = list(
      model = rpart(price ~ area + age + district + kind + rooms, train), packages = "rpart",
      rows = holed[c("area", "age", "district", "kind", "rooms")], predict = plain
    ),
    rpart_classes = list(
      model = rpart(district ~ area + age + price, train), packages = "rpart",
      rows = holed[c("area", "age", "price")], predict = plain
    ),
    rpart_class = list(
      model = rpart(district ~ area + age + price, train), packages = "rpart",
      manifest = c("[predict]", "type = \"class\""),
      rows = holed[c("area", "age", "price")],
      predict = function(model, data) predict(model, newdata = data, type = "class")
    ),
    nnet = list(
      model = nnet(price ~ area + age + district, train, size = 3, linout = TRUE, trace = FALSE, maxit = 200), packages = "nnet",
      rows = holed[c("area", "age", "district")], predict = plain
    ),
    script_types = list(
      model = list(rate = 0.21),
      manifest = c(
        "timeout = \"10s\"", "", "[columns]", "area = { type = \"double\", nullable = true }", "rooms = { type = \"integer\", nullable = true }",
        "kind = { type = \"character\", nullable = true }", "day = { type = \"date\", nullable = true }", "at = { type = \"timestamp\", nullable = true }",
        "sold = { type = \"logical\", nullable = true }",
        "district = { type = \"factor\", levels = [\"north\", \"south\", \"west\"], nullable = true }"
      ),
      script = c(
        "score <- function(model, data) {",
        "  data.frame(", "    cost = data$area * model$rate, rooms = data$rooms + 1L, kind = toupper(data$kind), next_day = data$day + 1,",
        "    at = data$at, unsold = !data$sold, district = data$district", "  )", "}"
      ),
      rows = holed[c("area", "rooms", "kind", "day", "at", "sold", "district")],
      predict = function(model, data) {
        data.frame(
          cost = data$area * 0.21, rooms = data$rooms + 1L, kind = toupper(data$kind), next_day = data$day + 1,
          at = data$at, unsold = !data$sold, district = data$district
        )
      }
    )
  )
}

zoo_data <- function(rows) {
  pick <- function(levels, ordered = FALSE) factor(sample(levels, rows, TRUE), levels = levels, ordered = ordered)
  data <- data.frame(
    area = runif(rows, 30, 200), age = rexp(rows, 1 / 40) + 0.1, rooms = sample(1:8, rows, TRUE),
    floor = sample(c(-1L, 0:20), rows, TRUE), district = pick(c("north", "south", "west")),
    kind = sample(c("flat", "house", "l\u00e5ve \"old\""), rows, TRUE), grade = pick(c("low", "middle", "high"), TRUE),
    day = as.Date("2020-01-01") + sample(2000L, rows, TRUE),
    at = as.POSIXct("2020-01-01", tz = "UTC") + round(runif(rows, 0, 1e8), 6), sold = runif(rows) < 0.4
  )
  # What a JSON timestamp can carry: whole microseconds, as the nearest double.
  data$at <- as.POSIXct(round(as.numeric(data$at) * 1e6) / 1e6, origin = "1970-01-01", tz = "UTC")
  data$price <- 2 * data$area - 0.3 * data$age + 10 * as.integer(data$district) + 5 * data$rooms + 8 * (data$kind == "flat") + rnorm(rows, sd = 12)
  data
}

# One cell in fifteen becomes NA; one row is all NA.
with_holes <- function(data) {
  for (j in seq_along(data)) data[[j]][sample(nrow(data), nrow(data) %/% 15L)] <- NA
  data[nrow(data), ] <- NA
  data
}

transform_names <- function(data) {
  names(data)[match(c("area", "district"), names(data))] <- c("floor area (m2)", "Stra\u00dfe")
  data
}
