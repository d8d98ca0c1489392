# Loading a bundle: locale, packages, model, script, and how a plain model is scored.

# All text of requests is UTF-8. In the C locale of a bare container R could not match
# a column with a letter beyond ASCII to its formula, and toupper() would skip such letters.
use_utf8 <- function() {
  if (!l10n_info()[["UTF-8"]]) Sys.setlocale("LC_CTYPE", "C.UTF-8")
}

attach_package <- function(package, why) {
  installed <- nzchar(system.file(package = package))
  if (!installed) {
    refuse(
      "rscore_missing_package",
      "package '", package, "' is not installed (", why, "): run install.packages(\"", package, "\") or, on Debian, ",
      "apt-get install r-cran-", tolower(package), "; R looked in ", paste(.libPaths(), collapse = ", ")
    )
  }
  tryCatch(
    suppressPackageStartupMessages(library(package, character.only = TRUE, quietly = TRUE, warn.conflicts = FALSE)),
    error = function(condition) {
      refuse("rscore_broken_package", "package '", package, "' could not be attached: ", conditionMessage(condition))
    }
  )
}

read_model <- function() {
  if (!file.exists("model.rds")) {
    refuse(
      "rscore_missing_model",
      "the bundle has no model.rds: write one with saveRDS(model, \"model.rds\"), or define load(dir) in score.R"
    )
  }
  tryCatch(
    readRDS("model.rds"),
    error = function(condition) {
      if (is_exhaustion(condition, conditionMessage(condition))) refuse("rscore_exhausted", "model.rds does not fit in memory: ", conditionMessage(condition))
      refuse(
        "rscore_unreadable_model",
        "model.rds can't be read (", conditionMessage(condition), "): it must be a whole file written by saveRDS()"
      )
    }
  )
}

# The scoring script's functions: score(model, data), and load(dir) or NULL.
source_script <- function(path) {
  if (!file.exists(path)) refuse("rscore_missing_script", "the scoring script '", path, "' does not exist")
  script <- new.env(parent = globalenv())
  expressions <- tryCatch(
    parse(path, keep.source = FALSE, encoding = "UTF-8"),
    error = function(condition) {
      refuse("rscore_bad_script", "'", basename(path), "' is not R code: ", sub(paste0(path, ":"), "", conditionMessage(condition), fixed = TRUE))
    }
  )
  for (expression in expressions) eval(expression, script)
  score <- get0("score", envir = script, mode = "function", inherits = FALSE)
  if (is.null(score)) {
    refuse("rscore_bad_script", "'", basename(path), "' defines no function score(model, data)")
  }
  named <- names(formals(args(score)))
  if (length(named) < 2L && !"..." %in% named) {
    refuse("rscore_bad_script", "score() in '", basename(path), "' must take two arguments, (model, data)")
  }
  list(score = score, load = get0("load", envir = script, mode = "function", inherits = FALSE))
}

# Package that has predict() for a class, for models without a scoring script.
CLASS_PACKAGES <- c(
  randomForest = "randomForest", ranger = "ranger", gbm = "gbm", rpart = "rpart", nnet = "nnet", multinom = "nnet",
  polr = "MASS", lda = "MASS", qda = "MASS", rlm = "MASS", lqs = "MASS", negbin = "MASS", gam = "mgcv", bam = "mgcv",
  Gam = "gam", lme = "nlme", gls = "nlme", nlme = "nlme", coxph = "survival", survreg = "survival", svm = "e1071",
  naiveBayes = "e1071", glmnet = "glmnet", cv.glmnet = "glmnet", earth = "earth", train = "caret", C5.0 = "C50",
  cubist = "Cubist", xgb.Booster = "xgboost", lgb.Booster = "lightgbm", rfsrc = "randomForestSRC", tree = "tree",
  workflow = "workflows", model_fit = "parsnip", model_stack = "stacks", ets = "forecast", forecast = "forecast"
)

# Packages of functions that formulas call and that are not attached by default.
FORMULA_PACKAGES <- c(bs = "splines", ns = "splines", Surv = "survival", pspline = "survival", rcs = "rms")

model_packages <- function(model) {
  owner <- attr(class(model), "package")
  known <- CLASS_PACKAGES[class(model)]
  functions <- setdiff(formula_functions(model), CLASS_INTERNAL)
  found <- functions[vapply(functions, exists, NA, envir = formula_environment(model), mode = "function")]
  needed <- c(known, if (!identical(owner, ".GlobalEnv")) owner, FORMULA_PACKAGES[setdiff(functions, found)])
  unique(unname(needed[!is.na(needed)]))
}

require_predict <- function(model) {
  classes <- class(model)
  has_s3 <- function(class) !is.null(utils::getS3method("predict", class, optional = TRUE, envir = globalenv()))
  has_s4 <- function(class) methods::isGeneric("predict", where = globalenv()) && methods::hasMethod("predict", class, where = globalenv())
  for (class in c(classes, if (isS4(model)) methods::is(model))) {
    if (has_s3(class) || has_s4(class)) return(invisible())
  }
  refuse(
    "rscore_no_predict",
    "no predict() method was found for class ", paste0("'", classes, "'", collapse = ", "),
    ": name the package that has it under `packages` in rscore.toml, or write a score.R with score(model, data)"
  )
}

# A formula may call what only the training session had; say so now rather than at
# the first request.
require_formula_functions <- function(model) {
  functions <- setdiff(formula_functions(model), CLASS_INTERNAL)
  missing <- functions[!vapply(functions, exists, NA, envir = formula_environment(model), mode = "function")]
  if (length(missing) == 0L) return(invisible())
  refuse(
    "rscore_missing_function",
    "the model's formula calls ", paste0(missing, "()", collapse = ", "),
    ", which this process does not have: name its package under `packages` in rscore.toml, or define it in a score.R"
  )
}

# score(model, data) by predict(). It is built as a call of symbols, so that a
# condition's call stays short, and `predict` is looked up on the search path,
# where S4 packages put generics of their own.
plain_score <- function(model, extra) {
  arguments <- list(newdata = quote(data))
  if (inherits(model, "ranger")) arguments <- list(data = quote(data), num.threads = 1)
  if (inherits(model, "gbm")) arguments$n.trees <- model$n.trees
  if (inherits(model, c("glmnet", "cv.glmnet"))) arguments <- list(newx = quote(as.matrix(data)))
  arguments[names(extra)] <- extra
  call <- as.call(c(list(quote(predict), quote(model)), arguments))
  if (inherits(model, "ranger")) call <- bquote(.(call)$predictions)
  predictor <- function(model, data) NULL
  body(predictor) <- call
  environment(predictor) <- globalenv()
  function(model, data) keep_row(predictor(model, data), data)
}

# Some methods drop a one-row matrix to a vector with the columns' names
# (multinom and polr with type = "probs"); this gives the row its shape back.
keep_row <- function(value, data) {
  if (is.atomic(value) && is.null(dim(value)) && length(value) > 1L && !is.null(names(value)) && nrow(data) == 1L) {
    value <- matrix(value, nrow = 1L, dimnames = list(NULL, names(value)))
  }
  value
}

# Versions of the packages that a model brought along, by name.
attached_packages <- function(model) {
  attached <- sub("^package:", "", grep("^package:", search(), value = TRUE))
  packages <- unique(c(attached, intersect(model_packages(model), loadedNamespaces())))
  base <- c("base", "stats", "graphics", "grDevices", "utils", "datasets", "methods")
  packages <- sort(setdiff(packages, base))
  vapply(packages, function(package) as.character(getNamespaceVersion(package)), "")
}
