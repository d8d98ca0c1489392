# Tests of src/worker/r/bootstrap.R in plain Rscript, without the server.
#
#   Rscript tests/r/bootstrap.R [PATTERN]
#
# A check is a name and an expression that must be TRUE; the run ends with
# "N passed, M failed" and exits 1 when any failed. PATTERN runs only the groups
# (files of tests/r/bootstrap/) whose name matches.

here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])))
source_folder <- file.path(here, "..", "..", "src", "worker", "r")
bootstrap_files <- c(
  file.path(source_folder, "bootstrap.R"),
  list.files(file.path(source_folder, "bootstrap"), pattern = "[.]R$", full.names = TRUE)
)

passed <- 0L
failed <- 0L

check <- function(name, expression) {
  outcome <- tryCatch(if (isTRUE(expression)) NULL else paste("gave", paste(utils::capture.output(utils::str(expression)), collapse = " ")),
    error = function(e) paste("raised:", conditionMessage(e))
  )
  if (is.null(outcome)) {
    passed <<- passed + 1L
  } else {
    failed <<- failed + 1L
    cat("FAILED", name, "-", outcome, "\n")
  }
}

check_equal <- function(name, got, expected) {
  same <- tryCatch(identical(got, expected), error = function(e) FALSE)
  if (!same) cat("  got:", deparse1(got), "\n  expected:", deparse1(expected), "\n")
  check(name, same)
}

# A fresh copy of the code under test, as the zygote evaluates it.
new_bootstrap <- function() {
  environment <- new.env(parent = baseenv())
  for (file in bootstrap_files) sys.source(file, envir = environment, keep.source = FALSE)
  environment
}

# Writes a bundle and loads it. `model` is saved unless missing; `script` is the
# text of score.R.
load_case <- function(model, script = NULL, packages = character(), predict = list(), inputs = "data") {
  directory <- tempfile("bundle")
  dir.create(directory)
  if (!missing(model)) saveRDS(model, file.path(directory, "model.rds"))
  if (!is.null(script)) writeLines(enc2utf8(script), file.path(directory, "score.R"), useBytes = TRUE)
  load_directory(directory, if (!is.null(script)) file.path(directory, "score.R"), packages, predict, inputs)
}

load_directory <- function(directory, script = NULL, packages = character(), predict = list(), inputs = "data") {
  bootstrap <- new_bootstrap()
  working <- getwd()
  on.exit(setwd(working))
  options <- list(directory = directory, packages = packages, predict = predict, inputs = inputs)
  options["script"] <- list(script)
  loaded <- bootstrap$load_bundle(options)
  list(loaded = loaded, score = bootstrap$score_inputs, bootstrap = bootstrap)
}

# What a script with this body of score() answers for `data`.
result_of <- function(body, data = data.frame(x = c(1, 2, 3))) {
  case <- load_case(NULL, script = c("score <- function(model, data) {", body, "}"))
  if (!isTRUE(case$loaded$ok)) stop("load failed: ", case$loaded$message)
  case$score(data)
}

groups <- list.files(file.path(here, "bootstrap"), pattern = "[.]R$", full.names = TRUE)
arguments <- commandArgs(TRUE)
if (length(arguments) > 0L) groups <- grep(arguments[[1L]], groups, value = TRUE)
if (length(groups) == 0L) stop("no test group matches")
for (group in groups) sys.source(group, envir = new.env(parent = globalenv()))

cat(sprintf("%d passed, %d failed\n", passed, failed))
if (failed > 0L) quit(status = 1L)
