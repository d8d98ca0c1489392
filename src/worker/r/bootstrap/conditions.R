# Conditions as data: what R raises, caught and described.

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
      interrupted <- list(message = "the call was interrupted because it took too long", call = NULL)
      failure(structure(class = c("rscore_interrupted", "error", "condition"), interrupted), warnings$report())
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
