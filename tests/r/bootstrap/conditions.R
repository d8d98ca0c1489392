# Errors, warnings and output of a scoring script.

result <- result_of("helper <- function(z) stop('bad ', z); helper(7)")
check_equal("error message", result$message, "bad 7")
check_equal("error class", result$class, c("simpleError", "error", "condition"))
check_equal("error call", result$call, "helper(7)")
check_equal("an ordinary error keeps the worker", result$retire, FALSE)
check_equal("failure is not ok", result$ok, FALSE)
check_equal("stop(call. = FALSE) has no call", result_of("stop('x', call. = FALSE)")$call, NULL)
check_equal("error in score() itself", result_of("stop('x')")$call, "score(model, data)")
check_equal("custom condition class", result_of("stop(structure(class = c('mine', 'error', 'condition'), list(message = 'm', call = NULL)))")[c("class", "message")],
  list(class = c("mine", "error", "condition"), message = "m"))
check("R's own error", grepl("non-numeric argument", result_of("1 + 'a'")$message))
check_equal("R's own error's call", result_of("1 + 'a'")$call, "1 + \"a\"")
check_equal("condition whose message is no text", result_of("stop(structure(class = c('odd', 'error', 'condition'), list(message = 1:2)))")$message, "1\n2")

long <- result_of(c("f <- function(...) stop(strrep('m', 20000))", sprintf("f(%s)", paste(1:400, collapse = ", "))))
check("long message is cut", nchar(long$message) == 8000L)
check("long call is one line of at most 500", nchar(long$call) <= 500L && !grepl("\n", long$call))
wide <- result_of("f <- function(d) stop('x'); eval(as.call(list(quote(f), data)))", data.frame(x = runif(1e5)))
check("data in a call is cut", nchar(wide$call) <= 500L)
check("invalid UTF-8 in a message is escaped", validUTF8(result_of("stop('\\xff\\xfe')")$message))

result <- result_of("for (i in 1:3) warning('same'); warning('other'); data$x")
check_equal("warnings are counted", result$warnings, c("same (3 times)", "other"))
result <- result_of("for (i in 1:50) warning('w', i); data$x")
check_equal("at most twenty warnings", c(length(result$warnings), result$warnings[c(1, 20, 21)]), c("21", "w1", "w20", "and 30 more warnings"))
check_equal("scoring goes on after a warning", result$columns, list(prediction = c(1, 2, 3)))
check_equal("warnings come with an error", result_of("warning('first'); stop('then')")$warnings, "first")
check_equal("as.numeric's warning is muffled", result_of("as.numeric(c('1', 'x', '3'))")$warnings, "NAs introduced by coercion")

result <- result_of("f <- function(n) f(n + 1); f(1)")
check("endless recursion retires the worker", !result$ok && result$retire && grepl("recursion|stack", result$message))
result <- result_of("old <- options(expressions = 100); on.exit(options(old)); f <- function(n) f(n + 1); f(1)")
check("expressions limit retires the worker", !result$ok && result$retire)
result <- result_of("numeric(1e15)")
check("exhausted memory retires the worker", !result$ok && result$retire && grepl("allocate", result$message))

interrupt <- "tools::pskill(Sys.getpid(), tools::SIGINT); Sys.sleep(60)"
result <- result_of(sprintf("warning('first'); tryCatch({ %s }, error = function(e) 1, warning = function(w) 2)", interrupt))
check_equal("an interrupt is an error of its own class", result$class, c("rscore_interrupted", "error", "condition"))
check_equal("an interrupt keeps the worker", list(result$ok, result$retire, result$warnings), list(FALSE, FALSE, "first"))

output <- utils::capture.output(result <- result_of("print('hello'); data$x"))
check("printing goes to stdout", identical(output, "[1] \"hello\"") && result$ok)
notes <- utils::capture.output(result <- result_of("message('note'); data$x"), type = "message")
check("messages are no warnings", identical(notes, "note") && length(result$warnings) == 0L)

case <- load_case(NULL, script = "score <- function(model, data) runif(nrow(data))")
set.seed(1)
draws <- parallel::mclapply(1:2, function(i) {
  case$bootstrap$fresh_worker()
  case$score(data.frame(x = 1:4))$columns$prediction
}, mc.cores = 2, mc.set.seed = FALSE)
check("workers draw different streams", is.double(draws[[1]]) && !identical(draws[[1]], draws[[2]]))
case$bootstrap$fresh_worker()
check("fresh_worker() without a seed", is.null(case$bootstrap$fresh_worker()))
