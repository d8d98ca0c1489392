# The input schema that a model carries, class by class.

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
