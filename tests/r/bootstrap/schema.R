# What is read off models of many classes: columns, types, levels, and whether NA
# may come in. Each claim of "nullable" is put to the proof with predict(), and so is
# that one row gives what it gives among others.

suppressPackageStartupMessages(for (package in c("randomForest", "ranger", "gbm", "rpart", "nnet", "MASS", "mgcv", "splines")) library(package, character.only = TRUE))

set.seed(20)
n <- 120
d <- data.frame(
  y = rnorm(n), x = runif(n, 1, 2), z = runif(n, 1, 2), i = sample(1:9, n, TRUE), cyl = sample(c(4, 6, 8), n, TRUE),
  f = factor(sample(c("a", "b", "c"), n, TRUE)), g = factor(sample(c("p", "n"), n, TRUE)),
  o = factor(sample(c("lo", "mid", "hi"), n, TRUE), levels = c("lo", "mid", "hi"), ordered = TRUE),
  l = sample(c(TRUE, FALSE), n, TRUE), ch = sample(c("u", "v"), n, TRUE),
  day = as.Date("2024-01-01") + seq_len(n), at = as.POSIXct("2024-01-01", tz = "UTC") + 3600 * sample(n)
)
d$y <- d$y + d$x + as.integer(d$f) + 2 * d$l + (d$ch == "u")
d$`my var` <- runif(n, 1, 2)
d$`my f` <- factor(sample(c("a b", "c"), n, TRUE))

bootstrap <- new_bootstrap()
quiet <- function(expression) suppressWarnings(expression)

# "x:double? f:factor{a,b}"; "?" says nullable.
describe <- function(columns) {
  if (is.null(columns)) return("none")
  paste(vapply(columns, function(column) {
    levels <- if (length(column$levels) > 0L) paste0("{", paste(column$levels, collapse = ","), "}") else ""
    paste0(column$name, ":", column$type, if (column$nullable) "?" else "", levels)
  }, ""), collapse = " ")
}
shows <- function(name, model, expected) check_equal(paste("schema:", name), describe(quiet(bootstrap$discover_columns(model))), expected)

# Rows as the server makes them: only the schema's columns, in its types.
typed <- function(columns, data) {
  made <- lapply(columns, function(column) {
    value <- data[[column$name]]
    switch(column$type,
      double = as.double(value), factor = factor(as.character(value), levels = column$levels),
      ordered = factor(as.character(value), levels = column$levels, ordered = TRUE), value
    )
  })
  names(made) <- vapply(columns, `[[`, "", "name")
  as.data.frame(made, optional = TRUE, stringsAsFactors = FALSE)
}

# The model scored through bootstrap.R gives predict()'s values; a row alone gives what
# it gives among others; and NA is taken exactly where the schema says so.
scores <- function(name, model, expected, predict = list()) {
  case <- load_case(model, predict = predict)
  if (!isTRUE(case$loaded$ok)) return(check(paste("scores:", name, case$loaded$message), FALSE))
  columns <- case$loaded$columns
  rows <- typed(columns, d[1:12, ])
  together <- quiet(case$score(rows))
  check(paste("scores:", name), isTRUE(together$ok) && identical(unname(together$columns), unname(expected(rows))))
  alone <- lapply(1:12, function(i) case$score(rows[i, , drop = FALSE])$columns)
  joined <- lapply(seq_along(together$columns), function(k) unlist(lapply(alone, `[[`, k)))
  check(paste("one row alone:", name), identical(unname(joined), unname(together$columns)))
  for (column in columns) {
    if (column$type == "any") next
    holed <- rows
    holed[[column$name]][2L] <- NA
    among <- quiet(case$score(holed))
    single <- quiet(case$score(holed[2L, , drop = FALSE]))
    taken <- isTRUE(among$ok) && isTRUE(single$ok) && among$rows == 12L && single$rows == 1L &&
      identical(unname(lapply(among$columns, `[`, 2L)), unname(single$columns))
    check(paste("NA in", column$name, "is", if (column$nullable) "taken:" else "refused:", name), taken == column$nullable)
  }
}
vector_of <- function(model, ...) function(rows) {
  value <- predict(model, rows, ...)
  attributes(value) <- attributes(value)[c("levels", "class")]
  list(value)
}
matrix_of <- function(model, ...) function(rows) {
  value <- predict(model, rows, ...)
  lapply(seq_len(ncol(value)), function(j) as.vector(value[, j]))
}

# Formulas ---------------------------------------------------------------------

shows("every type", lm(y ~ x + i + f + o + l + ch + day + at, d),
  "x:double? i:double? f:factor?{a,b,c} o:ordered?{lo,mid,hi} l:logical? ch:character?{u,v} day:date? at:timestamp?")
shows("dot", lm(y ~ ., d[c("y", "x", "f", "my var")]), "x:double? f:factor?{a,b,c} my var:double?")
shows("dot less one", lm(y ~ . - x, d[c("y", "x", "z")]), "x:double? z:double?")
shows("dot, non-syntactic factor", lm(y ~ ., d[c("y", "my f")]), "my f:factor?{a b,c}")
shows("interaction", lm(y ~ f:x + z * o, d), "f:factor?{a,b,c} x:double? z:double? o:ordered?{lo,mid,hi}")
shows("arithmetic", lm(y ~ I(x^2) + log(z) + sqrt(i) + I(2 * pi / cyl), d), "x:double? z:double? i:double? cyl:double?")
shows("non-syntactic in a call", lm(y ~ log(`my var`) + `my f`, d), "my var:double? my f:factor?{a b,c}")
shows("poly and splines", lm(y ~ poly(x, 2) + bs(z, df = 4) + ns(i, 2) + scale(cyl), d), "x:double? z:double? i:double? cyl:double?")
shows("raw = T is no column", lm(y ~ poly(x, 2, raw = T), d), "x:double?")
shows("a column named T", lm(y ~ log(T) + x, transform(d, T = z)), "T:double? x:double?")
shows("factor() of a number", lm(y ~ factor(cyl) + x, d), "cyl:any? x:double?")
shows("cut()", lm(y ~ cut(x, c(1, 1.5, 2)), d), "x:any?")
shows("text inside an expression", lm(y ~ ifelse(ch == "u", 1, 0) + as.numeric(f), d), "ch:any? f:any?")
shows("comparison", lm(y ~ I(x > 1.5), d), "x:any?")
shows("numeric once, free once", lm(y ~ log(x) + factor(x > 1.5), d), "x:any?")
shows("bare wins over an expression", lm(y ~ x + log(x) + l + I(l * x), d), "x:double? l:logical?")
shows("bare factor and factor()", lm(y ~ f + factor(f), d), "f:factor?{a,b,c}")
shows("date inside an expression", lm(y ~ weekdays(day) + as.numeric(at), d), "day:any? at:any?")
shows("offset in the formula", glm(i ~ x + offset(log(cyl)), poisson, d), "x:double? cyl:double?")
shows("offset as an argument", lm(y ~ x, d, offset = log(z)), "x:double? z:double?")
shows("weights are no input", lm(y ~ x, d, weights = z), "x:double?")
shows("subset is no input", lm(y ~ x, d, subset = z > 1.1), "x:double?")
shows("response in an expression", lm(log(y + 10) ~ x, d), "x:double?")
shows("response of two columns", lm(cbind(y, z) ~ x, d), "x:double?")
shows("response of counts", glm(cbind(i, 10 - i) ~ x, binomial, d), "x:double?")
shows("nested and powers", lm(y ~ (x + z)^2 + f %in% g, d), "x:double? z:double? f:factor?{a,b,c} g:factor?{n,p}")
shows("no intercept", lm(y ~ 0 + f, d), "f:factor?{a,b,c}")
shows("intercept only", lm(y ~ 1, d), "none")
shows("constant of the fitting function", (function(k) lm(y ~ poly(x, k) + I(z^k), d))(2), "x:double? z:double?")
shows("columns by $", lm(d$y ~ d$x), "none")
shows("qualified call", lm(y ~ splines::ns(x, 2), d), "x:double?")
shows("without model frame", lm(y ~ x + f + day, d, model = FALSE), "x:double? f:factor?{a,b,c} day:any?")
shows("step()", step(lm(y ~ x + f + l, d), trace = 0), "x:double? f:factor?{a,b,c} l:logical?")
shows("update()", update(lm(y ~ x, d), . ~ . + f), "x:double? f:factor?{a,b,c}")
shows("integer response", glm(i ~ ch, poisson, d), "ch:character?{u,v}")
shows("unused level", lm(y ~ f, transform(d, f = factor(f, levels = c("a", "b", "c", "zz")))), "f:factor?{a,b,c}")

# Classes ----------------------------------------------------------------------

model <- lm(y ~ x + f + o + l + ch + log(z) + `my f`, d)
scores("lm", model, vector_of(model))
model <- lm(y ~ x + day + at, d)
scores("lm with dates", model, vector_of(model))
model <- lm(cbind(y, z) ~ x + f, d)
scores("mlm", model, matrix_of(model))
model <- glm(g ~ x + f + l, binomial, d)
scores("glm", model, vector_of(model, type = "response"), list(type = "response"))
model <- quiet(MASS::glm.nb(i ~ x + f, d))
scores("negbin", model, vector_of(model))
model <- MASS::rlm(y ~ x + f, d)
scores("rlm", model, vector_of(model))
model <- MASS::lqs(y ~ x + z, d)
scores("lqs", model, vector_of(model))
model <- aov(y ~ f + x, d)
scores("aov", model, vector_of(model))
model <- MASS::polr(o ~ x + f, d)
scores("polr", model, vector_of(model))
scores("polr probabilities", model, matrix_of(model, type = "probs"), list(type = "probs"))
shows("lda", MASS::lda(f ~ x + z, d), "x:double z:double")
model <- loess(y ~ x + z, d)
scores("loess", model, vector_of(model))
model <- nls(y ~ a + b * x, d, start = list(a = 0, b = 1))
scores("nls", model, vector_of(model))
model <- mgcv::gam(y ~ s(x, k = 4) + te(z, i, k = 3) + f, data = d)
scores("gam", model, vector_of(model))
model <- rpart(y ~ x + f + o + l + ch + i, d)
scores("rpart", model, vector_of(model))
model <- rpart(f ~ x + ch + i, d)
scores("rpart classes", model, matrix_of(model))
scores("rpart class", model, vector_of(model, type = "class"), list(type = "class"))
model <- nnet(y ~ x + f + l + ch, d, size = 2, linout = TRUE, trace = FALSE)
scores("nnet", model, matrix_of(model))
check("nnet's one column is unnamed", load_case(model)$score(d[1:2, ])$unnamed)
model <- nnet(f ~ x + z, d, size = 2, trace = FALSE)
scores("nnet classes", model, matrix_of(model))
model <- nnet::multinom(f ~ x + ch, d, trace = FALSE)
scores("multinom", model, vector_of(model))
probabilities <- load_case(model, predict = list(type = "probs"))$score(d[1, ])
check_equal("multinom keeps one row's shape", c(probabilities$rows, names(probabilities$columns)), c("1", "a", "b", "c"))

model <- randomForest(y ~ x + i + f + l, d, ntree = 30)
scores("randomForest by formula", model, vector_of(model))
# An odd number of trees and two classes: the package breaks ties at random.
model <- randomForest(g ~ x + i + f, d, ntree = 31)
scores("randomForest classes by formula", model, vector_of(model))
scores("randomForest probabilities", model, matrix_of(model, type = "prob"), list(type = "prob"))
model <- randomForest(d[c("x", "f", "o", "my var")], d$y, ntree = 30)
shows("randomForest(x, y)", model, "x:double f:factor{a,b,c} o:ordered{lo,mid,hi} my var:double")
scores("randomForest(x, y)", model, vector_of(model))
shows("randomForest of a matrix", randomForest(as.matrix(d[c("x", "z")]), d$f, ntree = 5), "x:double z:double")
model <- randomForest(y ~ x + ch + o, d, ntree = 30)
shows("randomForest that keeps codes only", model, "x:double? ch:double? o:double?")
warned <- load_case(model)$loaded$warnings
check("codes are pointed out", length(warned) == 2L && all(grepl("rscore.toml", warned)))
coded <- data.frame(x = d$x, ch = as.double(factor(d$ch)), o = as.double(d$o))
check_equal("codes predict what strings predict", unname(predict(model, coded)), unname(predict(model, d)))
declared <- transform(d, ch = factor(ch, ordered = TRUE))
check_equal("and so does the advised declaration", unname(predict(model, declared)), unname(predict(model, d)))

model <- ranger(y ~ x + z + i, d, num.trees = 30, num.threads = 1)
scores("ranger", model, function(rows) list(predict(model, rows, num.threads = 1)$predictions))
model <- ranger(y ~ x + f + ch, d, num.trees = 30, respect.unordered.factors = "order", num.threads = 1)
check("ranger keeps its own level order", setequal(quiet(bootstrap$discover_columns(model))[[2]]$levels, levels(d$f)))
scores("ranger with levels", model, function(rows) list(predict(model, rows, num.threads = 1)$predictions))
reference <- predict(model, d[1:12, ], num.threads = 1)$predictions
case <- load_case(model)
check_equal("ranger's reordered levels predict the same", case$score(typed(case$loaded$columns, d[1:12, ]))$columns$prediction, reference)
model <- ranger(f ~ x + z, d, num.trees = 30, probability = TRUE, num.threads = 1)
scores("ranger probabilities", model, function(rows) {
  value <- predict(model, rows, num.threads = 1)$predictions
  lapply(seq_len(ncol(value)), function(j) as.vector(value[, j]))
})
check_equal("ranger's probabilities are named", names(load_case(model)$score(d[1, ])$columns), levels(d$f))
model <- ranger(f ~ x + z, d, num.trees = 30, num.threads = 1)
scores("ranger classes", model, function(rows) list(predict(model, rows, num.threads = 1)$predictions))
model <- ranger(y ~ x + f, d, num.trees = 30, respect.unordered.factors = "partition", num.threads = 1)
check("ranger without levels points it out", any(grepl("'f'", load_case(model)$loaded$warnings)))
check_equal("codes predict what levels predict", predict(model, transform(d, f = as.double(f)), num.threads = 1)$predictions, predict(model, d, num.threads = 1)$predictions)
model <- ranger(y ~ x + z, d, num.trees = 30, quantreg = TRUE, num.threads = 1)
quantiles <- load_case(model, predict = list(type = "quantiles", quantiles = c(0.1, 0.9)))$score(d[1:2, ])
check_equal("ranger quantiles", names(quantiles$columns), c("quantile= 0.1", "quantile= 0.9"))

model <- gbm(y ~ x + i + f + o, data = d, distribution = "gaussian", n.trees = 20)
scores("gbm", model, vector_of(model, n.trees = 20))
scores("gbm with n.trees", model, vector_of(model, n.trees = 5), list(n.trees = 5))
model <- gbm.fit(d[c("x", "f", "o")], d$y, distribution = "gaussian", n.trees = 20, verbose = FALSE)
shows("gbm.fit", model, "x:double? f:factor?{a,b,c} o:ordered?{lo,mid,hi}")
scores("gbm.fit", model, vector_of(model, n.trees = 20))
model <- quiet(gbm(f ~ x + z, data = d, distribution = "multinomial", n.trees = 10))
scores("gbm multinomial", model, function(rows) {
  value <- predict(model, rows, n.trees = 10)
  lapply(seq_len(ncol(value)), function(j) as.vector(value[, j, 1L]))
})
check_equal("gbm multinomial names", names(load_case(model)$score(d[1, ])$columns), levels(d$f))

shows("gls", nlme::gls(y ~ x + f, d), "x:double f:factor{a,b,c}")
shows("mixed models are left alone", nlme::lme(y ~ x, random = ~ 1 | f, d), "none")
shows("coxph", survival::coxph(survival::Surv(x, l) ~ z + f, d), "z:double f:factor{a,b,c}")
shows("a list", list(a = 1), "none")
shows("NULL", NULL, "none")
shows("a function", function(x) x, "none")
shows("a number", 1, "none")
case <- load_case(structure(list(terms = terms(model.frame(y ~ x + f, d))), class = c("odd", "lm")))
check_equal("a factor without levels is untyped", describe(case$loaded$columns), "x:double f:any")
check("a factor without levels is pointed out", grepl("'f' was a factor.*rscore.toml", case$loaded$warnings))
case <- load_case(structure(list(terms = structure(y ~ x, class = "terms", response = 1L, dataClasses = sum)), class = c("odd", "lm")))
check("an object that lies loads with a warning", case$loaded$ok && is.null(case$loaded$columns) && grepl("columns could not be read", case$loaded$warnings))

# Packages that are not part of R keep a zero-row prototype; these are their shapes.
prototype <- d[0, c("x", "i", "l", "ch", "f", "o", "day", "at")]
expected <- "x:double i:integer l:logical ch:character f:factor{a,b,c} o:ordered{lo,mid,hi} day:date at:timestamp"
shows("hardhat", structure(list(blueprint = structure(list(ptypes = list(predictors = prototype)), class = "hardhat_blueprint")), class = "hardhat_model"), expected)
shows("workflow", structure(list(pre = list(mold = list(blueprint = list(ptypes = list(predictors = prototype))))), class = "workflow"), expected)
shows("vetiver", structure(list(model = 1, prototype = prototype), class = "vetiver_model"), expected)
shows("caret", structure(list(trainingData = cbind(prototype, .outcome = d$y[0])), class = c("train", "train.formula")), expected)
shows("xgboost", structure(list(feature_names = c("a", "b c")), class = "xgb.Booster"), "a:double b c:double")
