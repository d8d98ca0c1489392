# What a call changed for those after it, and undoing that.

# Runs code as a call of score() would, then tidies; gives what was noted.
after <- function(case, code) {
  force(code)
  case$bootstrap$tidy_world()
  case$bootstrap$state$noted
}

fresh <- function(seed = NULL) {
  case <- load_case(NULL, script = c("score <- function(model, data) 2 * data$x"))
  case$bootstrap$state$seed <- seed
  case$bootstrap$take_world()
  case
}

case <- fresh()
check_equal("nothing is said when nothing changed", after(case, NULL), NULL)

case <- fresh()
before <- options()
noted <- after(case, options(digits = 3L, OutDec = ",", rscore.test = TRUE, scipen = NULL))
check_equal("options are back", options()[names(before)], before)
check("an option that was added is gone", is.null(getOption("rscore.test")))
check_equal("and that is said", noted, "other options")
check_equal("then nothing is different any more", identical(.Options, case$bootstrap$state$world$options), TRUE)

case <- fresh()
directory <- getwd()
after(case, setwd(tempdir()))
check_equal("the directory is back", getwd(), directory)

case <- fresh()
path <- search()
after(case, { attach(data.frame(mpg = 1), name = "attached"); attach(list(a = 1)); library(splines); library(stats4) })
check_equal("the search path is back", search(), path)
case <- fresh()
result <- tryCatch({ detach("package:datasets"); case$bootstrap$tidy_world(); "tidied" }, error = function(e) conditionMessage(e))
check_equal("what was taken off the path can't be put back", result, "the search path can't be put right")
suppressPackageStartupMessages(library(datasets, pos = which(path == "package:datasets")))

case <- fresh()
open <- getAllConnections()
after(case, { sink(tempfile()); sink(tempfile()); file(tempfile(), "w"); textConnection("x") })
check_equal("sinks are ended", c(sink.number(), sink.number(type = "message")), c(0L, 2L))
check_equal("connections are closed", getAllConnections(), open)

case <- fresh()
after(case, { grDevices::pdf(NULL); grDevices::pdf(NULL) })
check_equal("devices are closed", .Device[1L], "null device")

case <- fresh()
kind <- RNGkind()
after(case, { RNGkind("Wichmann-Hill", "Box-Muller"); set.seed(1L) })
check_equal("the generator is back", RNGkind(), kind)
check("its state is forgotten", !exists(".Random.seed", envir = globalenv(), inherits = FALSE))
set.seed(1L)
first <- runif(3)
case$bootstrap$tidy_world()
check("a call does not go on with the stream of the one before", !identical(runif(3), first))
case$bootstrap$tidy_world()

case <- fresh()
globals <- ls(globalenv(), all.names = TRUE)
after(case, { assign("left_behind", 1, envir = globalenv()); assign(".hidden", 2, envir = globalenv()) })
check_equal("new variables are gone", ls(globalenv(), all.names = TRUE), globals)

case <- fresh()
Sys.setenv(RSCORE_TEST_KEPT = "before")
case$bootstrap$take_world()
locale <- Sys.getlocale()
Sys.setenv(RSCORE_TEST_KEPT = "after", RSCORE_TEST_NEW = "1")
Sys.unsetenv("HOME")
Sys.setlocale("LC_COLLATE", "C")
Sys.setlocale("LC_TIME", "C")
case$bootstrap$restore_surroundings()
check_equal("variables are back", Sys.getenv(c("RSCORE_TEST_KEPT", "RSCORE_TEST_NEW"), names = FALSE), c("before", ""))
check("a variable that was unset is back", nzchar(Sys.getenv("HOME")))
check_equal("the locale is back", Sys.getlocale(), locale)

case <- fresh()
setTimeLimit(elapsed = 1e-3)
case <- tryCatch({ case$bootstrap$tidy_world(); case }, error = function(e) { setTimeLimit(); case })
Sys.sleep(0.01)
check("a time limit is lifted", { for (i in 1:1000) sqrt(i); TRUE })

# Each call with a seed draws the same numbers; without one it doesn't.
draws <- function(seed) {
  case <- load_case(NULL, script = "score <- function(model, data) stats::runif(nrow(data))")
  case$bootstrap$state$seed <- seed
  case$bootstrap$take_world()
  lapply(1:2, function(call) {
    on.exit(case$bootstrap$tidy_world())
    case$score(data.frame(x = 1:3))$columns$prediction
  })
}
seeded <- draws(42)
check_equal("a seed makes calls equal", seeded[[1L]], seeded[[2L]])
set.seed(42)
check_equal("to what R draws", seeded[[1L]], stats::runif(3))
free <- draws(NULL)
check("without a seed they differ", !identical(free[[1L]], free[[2L]]))

# What a call pays for this when it changed nothing: to be read, since machines are noisy.
case <- fresh()
tidy <- case$bootstrap$tidy_world
for (i in 1:10) tidy()
took <- min(vapply(1:5, function(run) system.time(for (i in 1:2000) tidy())[["elapsed"]], 0)) / 2000
cat(sprintf("  looking at an unchanged process takes %.1f us\n", took * 1e6))
