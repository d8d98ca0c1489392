# The R side of a worker: loads one bundle, says what it is, scores data.frames.
#
# The zygote evaluates this file and those in bootstrap/ once, into an environment whose parent is
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

# Loads a bundle. `options`: directory, script (or NULL), packages, predict (extra
# arguments of predict()), inputs (names of the inputs), seed (or NULL).
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
    state$seed <- options$seed
    columns <- if (is.null(options$inputs) || identical(as.character(options$inputs), "data")) discover_columns(model)
    if (is.null(options$script)) require_formula_functions(model)
    list(
      ok = TRUE,
      class = as.character(class(model)),
      packages = attached_packages(model),
      temporary_folder = normalizePath(tempdir()),
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
  # The same rows give the same numbers, whichever worker draws them.
  if (!is.null(state$seed)) set.seed(state$seed)
  guarded(function() c(list(ok = TRUE), tabulate_result(score(model, data))))
}

# Has R make a temporary folder in `folder`, which it may remove when it ends; the
# zygote's is shared and stays. Rust has R forget that one first.
own_temporary_folder <- function(folder) {
  guarded(function() {
    before <- Sys.getenv("TMPDIR", unset = NA)
    on.exit(if (is.na(before)) Sys.unsetenv("TMPDIR") else Sys.setenv(TMPDIR = before))
    Sys.setenv(TMPDIR = folder)
    made <- tempdir(check = TRUE)
    if (!startsWith(made, folder)) stop("R made '", made, "' instead")
    list(ok = TRUE)
  })
}

# Puts the random generator into a state of L'Ecuyer-CMRG, given as the six numbers
# that .Random.seed has behind its code, here that of normal numbers by inversion and
# sampling by rejection.
use_stream <- function(stream) {
  code <- 10407L
  assign(".Random.seed", c(code, stream), envir = globalenv())
  # This kind is no trace that a call left.
  state$generator <- code
  list(ok = TRUE)
}

# Runs first in each forked worker: without the seed that it shares with its
# siblings, R seeds itself from the clock and the process id at the first draw.
fresh_worker <- function() {
  forget_seed()
  invisible(NULL)
}
