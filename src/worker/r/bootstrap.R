# The R side of a worker: loads one bundle, says what it is, scores data.frames.
#
# The zygote evaluates this file once, into an environment whose parent is
# baseenv(), and calls load_bundle(); each forked worker calls fresh_worker() and
# then score_inputs() per batch. Rust reads the returned lists by name. Nothing
# here may let an R error escape: whoever calls R from C sees a jump, not a
# message, so every failure is returned as data.
#
# Base R only, and stats::, utils:: and methods:: spelled out, because a model may
# attach anything and mask what it likes.

# What load_bundle() leaves behind for score_inputs(): `model`, and `score`, a
# function of (model, data).
state <- new.env(parent = emptyenv())

# Name of the result's only column when score() gave a plain vector.
UNNAMED_COLUMN <- "prediction"

# Bounds on what one call reports, so that a model that warns per row can't fill a reply.
MAX_WARNINGS <- 20L
MAX_MESSAGE <- 8000L
MAX_CALL <- 500L

# Entry points -------------------------------------------------------------------

# Loads a bundle. `options`: directory, script (or NULL), packages, predict (extra
# arguments of predict()), inputs (names of the inputs).
load_bundle <- function(options) {
  guarded(function() {
    use_utf8()
    setwd(options$directory)
    for (package in options$packages) attach_package(package, "the manifest names it")
    if (is.null(options$script)) {
      model <- read_model()
      for (package in model_packages(model)) attach_package(package, sprintf("a model of class '%s' needs it", class(model)[1L]))
      require_predict(model)
      score <- plain_score(model, options$predict)
    } else {
      script <- source_script(options$script)
      load <- script$load
      directory <- getwd()
      model <- if (is.null(load)) read_model() else load(directory)
      score <- script$score
    }
    state$model <- model
    state$score <- score
    columns <- if (is.null(options$inputs) || identical(as.character(options$inputs), "data")) discover_columns(model)
    if (is.null(options$script)) require_formula_functions(model)
    list(
      ok = TRUE,
      class = as.character(class(model)),
      packages = attached_packages(model),
      r_version = as.character(getRversion()),
      columns = columns
    )
  })
}

# Scores one batch: a data.frame, or a named list of them.
score_inputs <- function(inputs) {
  # Named as a script's author knows them: they show in the call of an error.
  score <- state$score
  model <- state$model
  data <- inputs
  guarded(function() c(list(ok = TRUE), tabulate_result(score(model, data))))
}

# Runs first in each forked worker: without the seed that it shares with its
# siblings, R seeds itself from the clock and the process id at the first draw.
fresh_worker <- function() {
  if (exists(".Random.seed", envir = globalenv(), inherits = FALSE)) {
    rm(list = ".Random.seed", envir = globalenv())
  }
  invisible(NULL)
}

# Conditions as data -------------------------------------------------------------

# Runs `code()`; its value is a list, to which the muffled warnings are added. An
# error becomes list(ok = FALSE, ...).
guarded <- function(code) {
  warnings <- new_warnings()
  tryCatch(
    {
      result <- withCallingHandlers(code(), warning = warnings$add)
      result$warnings <- warnings$report()
      result
    },
    error = function(condition) failure(condition, warnings$report()),
    interrupt = function(condition) {
      failure(simpleError("R was interrupted", NULL), warnings$report())
    }
  )
}

failure <- function(condition, warnings) {
  message <- tryCatch(
    paste(as.character(conditionMessage(condition)), collapse = "\n"),
    error = function(e) "the condition's message could not be read"
  )
  call <- tryCatch(describe_call(conditionCall(condition)), error = function(e) NULL)
  list(
    ok = FALSE,
    class = as.character(class(condition)),
    message = bounded_text(message, MAX_MESSAGE),
    call = call,
    warnings = warnings,
    retire = is_exhaustion(condition, message)
  )
}

# One line of the failing call. Frames of this file and of the machinery under it
# would tell a model's author nothing, so they count as no call.
describe_call <- function(call) {
  if (!is.call(call)) return(NULL)
  head <- call[[1L]]
  if (is.function(head)) return(NULL)
  if (is.symbol(head) && as.character(head) %in% own_frames()) return(NULL)
  if (identical(call, quote(eval(expression, script)))) return(NULL)
  lines <- deparse(call, width.cutoff = 500L, nlines = 20L)
  bounded_text(paste(trimws(lines), collapse = " "), MAX_CALL)
}

own_frames <- function() {
  c(
    ls(environment(own_frames), all.names = TRUE), "code", "tryCatch", "tryCatchList", "tryCatchOne", "doTryCatch",
    "withCallingHandlers", "withVisible", "suppressPackageStartupMessages", "library", "loadNamespace"
  )
}

# Whether R itself ran out: the process lives on, but deep in a used-up stack or
# with a swollen heap, so that it had better be replaced.
is_exhaustion <- function(condition, message) {
  inherits(condition, c("stackOverflowError", "rscore_exhausted")) ||
    grepl(
      paste(
        "infinite recursion", "C stack usage", "evaluation nested too deeply", "cannot allocate vector of",
        "cannot allocate memory", "memory exhausted", "stack overflow", "could not allocate memory", "std::bad_alloc",
        sep = "|"
      ),
      message, ignore.case = TRUE, useBytes = TRUE
    )
}

new_warnings <- function() {
  seen <- integer()
  unlisted <- 0L
  add <- function(condition) {
    message <- bounded_text(paste(conditionMessage(condition), collapse = "\n"), 1000L)
    at <- match(message, names(seen))
    if (!is.na(at)) {
      seen[[at]] <<- seen[[at]] + 1L
    } else if (length(seen) < MAX_WARNINGS) {
      seen[[length(seen) + 1L]] <<- 1L
      names(seen)[length(seen)] <<- message
    } else {
      unlisted <<- unlisted + 1L
    }
    tryInvokeRestart("muffleWarning")
  }
  report <- function() {
    if (length(seen) == 0L) return(character())
    text <- ifelse(seen > 1L, sprintf("%s (%d times)", names(seen), seen), names(seen))
    c(unname(text), if (unlisted > 0L) sprintf("and %d more warnings", unlisted))
  }
  list(add = add, report = report)
}

bounded_text <- function(text, limit) {
  text <- valid_utf8(text)
  if (nchar(text, "chars") > limit) text <- paste0(substr(text, 1L, limit - 3L), "...")
  text
}

valid_utf8 <- function(text) {
  text <- enc2utf8(text)
  bad <- !validUTF8(text)
  if (any(bad)) text[bad] <- iconv(text[bad], "UTF-8", "UTF-8", sub = "byte")
  text
}

# A failure that rscore itself found; `class` tells Rust and tests which.
refuse <- function(class, ...) {
  stop(structure(class = c(class, "rscore_error", "error", "condition"), list(message = paste0(...), call = NULL)))
}

# Loading ------------------------------------------------------------------------

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

# What a result may be -----------------------------------------------------------

# Columns of equal length without names, dimensions or foreign attributes.
tabulate_result <- function(value) {
  if (is.array(value) && length(dim(value)) != 2L) value <- flatten_array(value)
  if (is.data.frame(value)) {
    columns <- expand_frame(value)
  } else if (is.matrix(value) && !(ncol(value) == 1L && is.null(colnames(value)))) {
    columns <- split_matrix(value)
  } else {
    column <- plain_column(if (is.matrix(value)) as.vector(value) else value, NULL)
    return(list(columns = stats::setNames(list(column), UNNAMED_COLUMN), unnamed = TRUE, rows = length(column)))
  }
  if (length(columns) == 0L) refuse("rscore_bad_result", "score() returned a table without columns")
  names(columns) <- valid_utf8(names(columns))
  if (anyDuplicated(names(columns))) {
    refuse("rscore_bad_result", "score() returned two columns named '", names(columns)[duplicated(names(columns))][1L], "'")
  }
  columns <- Map(plain_column, columns, names(columns))
  list(columns = columns, unnamed = FALSE, rows = length(columns[[1L]]))
}

# Arrays keep their rows and lose extents of 1: gbm's n x classes x 1.
flatten_array <- function(value) {
  extent <- dim(value)
  if (length(extent) == 1L) return(as.vector(value))
  keep <- which(extent[-1L] != 1L) + 1L
  if (length(keep) == 0L) keep <- 2L
  if (length(keep) > 1L) {
    refuse("rscore_bad_result", "score() returned an array of ", paste(extent, collapse = " x "), "; at most two extents may differ from 1")
  }
  names <- dimnames(value)[[keep]]
  matrix(as.vector(value), nrow = extent[1L], ncol = extent[keep], dimnames = if (!is.null(names)) list(NULL, names))
}

split_matrix <- function(value, prefix = NULL) {
  names <- colnames(value)
  if (is.null(names)) names <- paste0(if (is.null(prefix)) "V", seq_len(ncol(value)))
  columns <- lapply(seq_len(ncol(value)), function(j) as.vector(value[, j]))
  names(columns) <- if (is.null(prefix)) names else paste(prefix, names, sep = ".")
  columns
}

# The columns of a data.frame, matrix and data.frame columns spread as name.column.
expand_frame <- function(value) {
  expanded <- list()
  for (j in seq_along(value)) {
    name <- names(value)[[j]]
    if (is.na(name) || !nzchar(name)) refuse("rscore_bad_result", "column ", j, " of the data.frame that score() returned has no name")
    column <- .subset2(value, j)
    if (is.array(column) && length(dim(column)) != 2L) column <- flatten_array(column)
    if (is.data.frame(column)) {
      inner <- expand_frame(column)
      names(inner) <- paste(name, names(inner), sep = ".")
    } else if (is.matrix(column) && is.null(colnames(column)) && ncol(column) == 1L) {
      inner <- list(as.vector(column))
      names(inner) <- name
    } else if (is.matrix(column)) {
      inner <- split_matrix(column, name)
    } else {
      inner <- list(column)
      names(inner) <- name
    }
    expanded <- c(expanded, inner)
  }
  expanded
}

# One vector with nothing but its class, levels and time zone. `name` is NULL for
# an unnamed result.
plain_column <- function(x, name) {
  if (is.null(attributes(x)) && (is.double(x) || is.integer(x) || is.logical(x))) return(x)
  if (inherits(x, "POSIXlt")) x <- as.POSIXct(x)
  if (inherits(x, "integer64")) {
    unsupported(name, "an integer64 vector", "as.numeric() makes it double")
  }
  if (is.factor(x)) {
    class <- if (is.ordered(x)) c("ordered", "factor") else "factor"
    return(structure(as.integer(x), levels = valid_utf8(levels(x)), class = class))
  }
  if (inherits(x, "Date")) return(structure(as.double(x), class = "Date"))
  if (inherits(x, "POSIXct")) {
    zone <- attr(x, "tzone")
    return(structure(as.double(x), class = c("POSIXct", "POSIXt"), tzone = if (!is.null(zone)) zone[[1L]]))
  }
  if (inherits(x, "difftime")) {
    warning("difftime", if (!is.null(name)) paste0(" column '", name, "'"), " was returned as a number of ", attr(x, "units"), call. = FALSE)
    return(as.vector(unclass(x), "double"))
  }
  switch(
    typeof(x),
    double = , integer = , logical = {
      attributes(x) <- NULL
      x
    },
    character = {
      attributes(x) <- NULL
      valid_utf8(x)
    },
    `NULL` = unsupported(name, "NULL", "does every branch of score() return a value?"),
    list = unsupported(name, paste0("a list", if (length(names(x))) paste0(" of ", paste(utils::head(names(x), 8L), collapse = ", "))), "return one of its elements, or data.frame() of several"),
    complex = unsupported(name, "a complex vector", "return Re() and Im() as two columns"),
    raw = unsupported(name, "a raw vector", "as.integer() makes it integer"),
    unsupported(name, paste0("an object of class '", class(x)[1L], "'"), "turn it into a vector or a matrix")
  )
}

unsupported <- function(name, what, advice) {
  refuse(
    "rscore_bad_result",
    if (is.null(name)) "score() returned " else paste0("column '", name, "' of what score() returned is "), what, "; ", advice, ". ",
    "score() may return a numeric, logical or character vector, a factor, dates or times, a matrix, or a data.frame of such columns"
  )
}

# The input schema that a model carries ------------------------------------------

# Classes whose predict() gives a result for a row with NA in it, each observed
# with a row alone and among others (tests/r/bootstrap.R repeats that). Formula
# interfaces only, where a class has two.
ACCEPTS_MISSING <- c("lm", "mlm", "glm", "negbin", "rlm", "aov", "loess", "nls", "gam", "rpart", "gbm", "polr", "lqs")
ACCEPTS_MISSING_BY_FORMULA <- c("randomForest", "randomForest.formula", "nnet", "nnet.formula")

# Calls whose numeric value needs numbers as arguments. A variable that occurs
# elsewhere only (factor(x), ifelse(x == "a", 1, 0)) is left untyped.
NUMERIC_CALLS <- c(
  "I", "(", "+", "-", "*", "/", "^", "%%", "%/%", "offset", "log", "log2", "log10", "log1p", "exp", "expm1", "sqrt",
  "abs", "sin", "cos", "tan", "tanh", "poly", "bs", "ns", "scale", "pmin", "pmax", "round", "floor", "ceiling", "sign", "mean",
  "min", "max", "plogis", "qlogis", "rcs", "pspline"
)

# Functions of a formula that belong to the model's own package, which finds them itself.
CLASS_INTERNAL <- c("s", "te", "ti", "t2", "strata", "cluster", "tt", "lo")

# List of list(name, type, nullable, levels), or NULL where the model does not say.
discover_columns <- function(model) {
  columns <- tryCatch(
    columns_of_prototype(model) %or% columns_of_terms(model) %or% columns_of_forest(model) %or%
      columns_of_gbm(model) %or% columns_of_ranger(model) %or% columns_of_matrix_model(model),
    error = function(condition) {
      warning("the model's input columns could not be read: ", conditionMessage(condition), call. = FALSE)
      NULL
    }
  )
  if (length(columns) > 0L) unname(columns)
}

`%or%` <- function(left, right) if (is.null(left)) right else left

new_column <- function(name, type, nullable, levels = character()) {
  list(name = valid_utf8(as.character(name)), type = type, nullable = nullable, levels = valid_utf8(as.character(levels)))
}

accepts_missing <- function(model) {
  class <- class(model)[1L]
  class %in% ACCEPTS_MISSING || (class %in% ACCEPTS_MISSING_BY_FORMULA && !is.null(field(model, "terms")))
}

# `model$name`, exactly, for lists; NULL for anything else.
field <- function(model, name) if (is.list(model) && !isS4(model) && name %in% names(model)) .subset2(model, name)

# tidymodels workflows, hardhat models, vetiver models and caret's train keep
# example data.
columns_of_prototype <- function(model) {
  prototype <- NULL
  if (inherits(model, "workflow")) {
    prototype <- model$pre$mold$blueprint$ptypes$predictors
  } else if (inherits(model, "hardhat_model") || inherits(field(model, "blueprint"), "hardhat_blueprint")) {
    prototype <- model$blueprint$ptypes$predictors
  } else if (inherits(model, "vetiver_model")) {
    prototype <- model$prototype
  } else if (inherits(model, "train")) {
    prototype <- model$trainingData
    prototype <- prototype[setdiff(names(prototype), c(".outcome", ".weights"))]
  }
  if (!is.data.frame(prototype)) return(NULL)
  Map(function(name, x) column_of_vector(name, x), names(prototype), prototype)
}

column_of_vector <- function(name, x) {
  if (is.ordered(x)) return(new_column(name, "ordered", FALSE, levels(x)))
  if (is.factor(x)) return(new_column(name, "factor", FALSE, levels(x)))
  type <- if (inherits(x, "Date")) {
    "date"
  } else if (inherits(x, c("POSIXct", "POSIXlt"))) {
    "timestamp"
  } else if (!is.null(dim(x)) || (is.object(x) && !inherits(x, "AsIs"))) {
    "any"
  } else {
    switch(typeof(x), double = "double", integer = "integer", logical = "logical", character = "character", "any")
  }
  new_column(name, type, FALSE)
}

# Models by formula. The terms' `predvars` are what predict() evaluates on new
# data; a constant that was folded into them is no input.
columns_of_terms <- function(model) {
  terms <- model_terms(model)
  if (is.null(terms)) return(columns_of_data_classes(model))
  # The terms of mixed models leave out the grouping columns.
  if (inherits(model, c("lme", "lmList", "gamm"))) return(NULL)
  variables <- formula_variables(model)
  classes <- attr(terms, "dataClasses")
  nullable <- accepts_missing(model)
  if (any(vapply(variables, uses_extraction, NA))) return(NULL)
  # An expression may use what the training function had at hand, such as a degree.
  constants <- formula_constants(terms)
  bare <- vapply(variables, is.symbol, NA)
  types <- list()
  for (i in which(bare)) {
    name <- as.character(variables[[i]])
    class <- if (length(classes) >= i) classes[[i]] else "other"
    types[[name]] <- column_of_variable(model, name, class, nullable)
  }
  for (i in which(!bare)) {
    numeric <- length(classes) < i || grepl("^(numeric|nmatrix)", classes[[i]])
    inputs <- numeric_inputs(variables[[i]], numeric)
    for (name in setdiff(names(inputs), c(names(types)[bare_names(variables, names(types))], constants))) {
      type <- if (inputs[[name]] && !identical(types[[name]]$type, "any")) "double" else "any"
      types[[name]] <- new_column(name, type, nullable)
    }
  }
  in_order <- unique(unlist(lapply(variables, function(variable) names(numeric_inputs(variable, TRUE)))))
  types[intersect(in_order, names(types))]
}

bare_names <- function(variables, names) names %in% vapply(Filter(is.symbol, variables), as.character, "")

model_terms <- function(model) {
  terms <- field(model, "terms") %or% field(model, "Terms")
  if (!inherits(terms, "terms")) return(NULL)
  # delete.response() leaves the response's entry in dataClasses.
  response <- attr(terms, "response")
  classes <- attr(terms, "dataClasses")
  terms <- stats::delete.response(terms)
  if (length(response) == 1L && response > 0L) attr(terms, "dataClasses") <- classes[-response]
  terms
}

# Expressions that predict() evaluates on new data, the response left out.
formula_variables <- function(model) {
  terms <- model_terms(model)
  if (is.null(terms)) return(list())
  variables <- as.list(attr(terms, "predvars") %or% attr(terms, "variables"))[-1L]
  offset <- field(model, "call")
  offset <- if (is.call(offset) && inherits(model, "lm")) offset$offset
  if (is.null(offset)) variables else c(variables, list(call("offset", offset)))
}

formula_environment <- function(model) {
  environment <- attr(field(model, "terms") %or% field(model, "Terms"), ".Environment")
  if (is.environment(environment)) environment else globalenv()
}

formula_functions <- function(model) {
  # Terms that can't be read are reported by discover_columns().
  tryCatch(unique(unlist(lapply(formula_variables(model), called_functions))), error = function(condition) character())
}

# Functions that an expression calls by a bare name; package::name finds itself.
called_functions <- function(expression) {
  if (!is.call(expression)) return(character())
  head <- expression[[1L]]
  if (is_qualified(head)) return(unlist(lapply(as.list(expression)[-1L], called_functions)))
  c(if (is.symbol(head)) as.character(head), unlist(lapply(as.list(expression)[-1L], called_functions)))
}

is_qualified <- function(head) is.call(head) && (identical(head[[1L]], quote(`::`)) || identical(head[[1L]], quote(`:::`)))

# Names that stand for single values in the environment of a formula made inside a function.
formula_constants <- function(terms) {
  environment <- attr(terms, ".Environment")
  if (!is.environment(environment) || identical(environment, globalenv())) return(character())
  names <- intersect(all.vars(attr(terms, "variables")), ls(environment, all.names = TRUE))
  names[vapply(names, function(name) length(get(name, envir = environment)) == 1L, NA)]
}

uses_extraction <- function(expression) any(all.names(expression) %in% c("$", "@", "[["))

# The variables of an expression; TRUE for those that must be numbers there.
numeric_inputs <- function(expression, numeric) {
  if (is.symbol(expression)) {
    name <- as.character(expression)
    return(if (nzchar(name)) stats::setNames(list(numeric), name) else list())
  }
  if (!is.call(expression)) return(list())
  head <- expression[[1L]]
  if (is_qualified(head)) head <- head[[3L]]
  numeric <- numeric && is.symbol(head) && as.character(head) %in% NUMERIC_CALLS
  arguments <- as.list(expression)[-1L]
  tags <- names(arguments) %or% character(length(arguments))
  found <- list()
  for (k in seq_along(arguments)) {
    argument <- arguments[[k]]
    # pi is a number, and T and F as a named argument are flags.
    if (identical(argument, quote(pi)) || (nzchar(tags[[k]]) && (identical(argument, quote(T)) || identical(argument, quote(F))))) next
    inner <- numeric_inputs(argument, numeric)
    for (name in names(inner)) found[[name]] <- inner[[name]] && !identical(found[[name]], FALSE)
  }
  found
}

# A variable that stands bare in the formula.
column_of_variable <- function(model, name, class, nullable) {
  sample <- field(field(model, "model"), name)
  levels <- levels_of_variable(model, name) %or% levels(sample)
  if (inherits(model, "randomForest") && is.null(levels) && class %in% c("character", "ordered")) {
    warning(coded_column(name, class), call. = FALSE)
    class <- "numeric"
  } else if (is.null(levels) && class %in% c("factor", "ordered")) {
    warning(
      "column '", name, "' was a factor in training and the model does not keep its levels: declare them in rscore.toml, ",
      "[columns] \"", name, "\" = { type = \"", class, "\", levels = [...] }",
      call. = FALSE
    )
  }
  switch(
    class,
    numeric = new_column(name, "double", nullable),
    logical = new_column(name, "logical", nullable),
    character = new_column(name, "character", nullable, levels),
    factor = new_column(name, if (is.null(levels)) "any" else "factor", nullable, levels),
    ordered = new_column(name, if (is.null(levels)) "any" else "ordered", nullable, levels),
    new_column(
      name,
      if (inherits(sample, "Date")) "date" else if (inherits(sample, "POSIXct")) "timestamp" else "any",
      nullable
    )
  )
}

# Some forests keep the codes of such a column and not its levels; a string would
# be coded anew per call, after whatever strings the call has, and predict wrongly.
coded_column <- function(name, class) {
  paste0(
    "column '", name, "' was ", class, " in training and the model keeps only its codes, so codes (1, 2, ...) are expected; to send ",
    "strings, declare its levels (in alphabetical order if it was character) in rscore.toml: ",
    "[columns] \"", name, "\" = { type = \"ordered\", levels = [...] }"
  )
}

levels_of_variable <- function(model, name) {
  quoted <- paste0("`", name, "`")
  for (levels in list(field(model, "xlevels"), attr(model, "xlevels"), field(field(model, "forest"), "xlevels"))) {
    found <- .subset2(as.list(levels), name) %or% .subset2(as.list(levels), quoted)
    if (is.character(found)) return(found)
  }
  coding <- field(field(model, "contrasts"), name)
  if (is.matrix(coding)) return(rownames(coding))
  found <- field(model, "var.levels")[match(name, field(model, "var.names"), nomatch = 0L)]
  if (length(found) == 1L && is.character(found[[1L]])) found[[1L]]
}

# nls keeps classes of its variables and no terms.
columns_of_data_classes <- function(model) {
  classes <- field(model, "dataClasses")
  if (!inherits(model, "nls") || is.null(classes)) return(NULL)
  Map(function(name, class) column_of_variable(model, name, class, accepts_missing(model)), names(classes), classes)
}

# randomForest(x, y).
columns_of_forest <- function(model) {
  if (!inherits(model, "randomForest") || is.null(rownames(model$importance))) return(NULL)
  names <- rownames(model$importance)
  levels <- model$forest$xlevels
  categories <- model$forest$ncat
  Map(function(i, name) {
    own <- if (i <= length(levels)) levels[[i]]
    if (!is.character(own)) return(new_column(name, "double", FALSE))
    ordered <- i <= length(categories) && categories[[i]] == 1 && length(own) > 1L
    new_column(name, if (ordered) "ordered" else "factor", FALSE, own)
  }, seq_along(names), names)
}

# gbm.fit(x, y). A continuous variable has its deciles where a factor has its levels.
columns_of_gbm <- function(model) {
  if (!inherits(model, "gbm") || is.null(model$var.names)) return(NULL)
  Map(function(name, levels, type) {
    if (!is.character(levels)) return(new_column(name, "double", TRUE))
    new_column(name, if (type == 0) "ordered" else "factor", TRUE, levels)
  }, model$var.names, model$var.levels, model$var.type)
}

columns_of_ranger <- function(model) {
  if (!inherits(model, "ranger") || is.null(model$forest$independent.variable.names)) return(NULL)
  names <- model$forest$independent.variable.names
  coded <- model$forest$is.ordered %in% FALSE
  lapply(names, function(name) {
    levels <- model$forest$covariate.levels[[name]]
    if (is.null(levels) && any(coded[match(name, names)])) warning(coded_column(name, "a factor"), call. = FALSE)
    new_column(name, if (is.null(levels)) "double" else "factor", FALSE, levels)
  })
}

# glmnet and xgboost take a numeric matrix and keep its column names.
columns_of_matrix_model <- function(model) {
  names <- if (inherits(model, "xgb.Booster")) {
    field(model, "feature_names")
  } else if (inherits(model, c("glmnet", "cv.glmnet"))) {
    beta <- field(model, "beta") %or% field(field(model, "glmnet.fit"), "beta")
    if (is.list(beta)) beta <- beta[[1L]]
    rownames(beta)
  }
  if (is.null(names)) return(NULL)
  lapply(names, new_column, type = "double", nullable = FALSE)
}
