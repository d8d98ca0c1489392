# What score() may return, and what each of it becomes.

columns_of <- function(body) result_of(body)$columns

check_equal("double vector", result_of("data$x / 3"), list(ok = TRUE, columns = list(prediction = c(1, 2, 3) / 3), unnamed = TRUE, rows = 3L, warnings = character()))
check_equal("integer stays integer", columns_of("1:3"), list(prediction = 1:3))
check_equal("logical with NA", columns_of("c(TRUE, NA, FALSE)"), list(prediction = c(TRUE, NA, FALSE)))
check_equal("character", columns_of("c('a', NA, '\u00e9')"), list(prediction = c("a", NA, "\u00e9")))
check_equal("latin1 becomes UTF-8", Encoding(columns_of("rep(`Encoding<-`('\\xe9', 'latin1'), 3)")$prediction), rep("UTF-8", 3))
check_equal("names are dropped", columns_of("c(a = 1, b = 2, c = 3)"), list(prediction = c(1, 2, 3)))
check_equal("other attributes are dropped", columns_of("structure(c(1, 2, 3), note = 'x', class = 'yearmon')"), list(prediction = c(1, 2, 3)))
check_equal("ts is a vector", columns_of("ts(c(1, 2, 3))"), list(prediction = c(1, 2, 3)))
check_equal("NaN and Inf and NA stay themselves", columns_of("c(NaN, Inf, NA_real_)"), list(prediction = c(NaN, Inf, NA_real_)))
check_equal("factor keeps level order", columns_of("factor(c(a = 'b', b = 'a', c = NA), levels = c('b', 'a', 'z'))"),
  list(prediction = factor(c("b", "a", NA), levels = c("b", "a", "z"))))
check_equal("a level may be NA", columns_of("addNA(factor(c('b', NA, 'a')))"), list(prediction = structure(c(2L, 3L, 1L), levels = c("a", "b", NA), class = "factor")))
check_equal("ordered stays ordered", columns_of("factor(c('lo', 'hi', 'lo'), levels = c('lo', 'hi'), ordered = TRUE)"),
  list(prediction = factor(c("lo", "hi", "lo"), levels = c("lo", "hi"), ordered = TRUE)))
check_equal("Date stored as integer becomes double", columns_of("structure(1:3, class = 'Date')"), list(prediction = structure(c(1, 2, 3), class = "Date")))
check_equal("POSIXct keeps its zone", columns_of("as.POSIXct(c('2024-01-01', NA, '2024-06-01'), tz = 'Europe/Oslo')"),
  list(prediction = structure(c(1704063600, NA, 1717192800), class = c("POSIXct", "POSIXt"), tzone = "Europe/Oslo")))
check_equal("POSIXlt becomes POSIXct", class(columns_of("as.POSIXlt(c('2024-01-01', NA, '2024-06-01'), tz = 'UTC')")$prediction), c("POSIXct", "POSIXt"))
check_equal("difftime becomes double", columns_of("as.difftime(c(1, 2, 3), units = 'hours')"), list(prediction = c(1, 2, 3)))
check("difftime warns with its unit", grepl("hours", result_of("as.difftime(c(1, 2, 3), units = 'hours')")$warnings))

check_equal("1-d array", columns_of("array(c(1, 2, 3), 3, list(c('a', 'b', 'c')))"), list(prediction = c(1, 2, 3)))
check_equal("1-d array is unnamed", result_of("array(c(1, 2, 3), 3)")$unnamed, TRUE)
check_equal("matrix with column names", result_of("cbind(a = 1:3, b = 4:6)")[c("columns", "unnamed")], list(columns = list(a = 1:3, b = 4:6), unnamed = FALSE))
check_equal("matrix without column names", columns_of("matrix(as.double(1:6), 3)"), list(V1 = c(1, 2, 3), V2 = c(4, 5, 6)))
check_equal("one-column matrix without name", result_of("matrix(c(1, 2, 3), 3, dimnames = list(c('a', 'b', 'c'), NULL))")[c("columns", "unnamed")],
  list(columns = list(prediction = c(1, 2, 3)), unnamed = TRUE))
check_equal("one-column matrix with name", result_of("cbind(p = c(1, 2, 3))")[c("columns", "unnamed")], list(columns = list(p = c(1, 2, 3)), unnamed = FALSE))
check_equal("n x k x 1 array", columns_of("array(as.double(1:6), c(3, 2, 1), list(NULL, c('a', 'b'), '10'))"), list(a = c(1, 2, 3), b = c(4, 5, 6)))
check_equal("1 x k x 1 array keeps its row", result_of("array(c(1, 2), c(1, 2, 1), list(NULL, c('a', 'b'), '10'))")[c("columns", "rows")], list(columns = list(a = 1, b = 2), rows = 1L))
check_equal("n x 1 x 1 array", columns_of("array(c(1, 2, 3), c(3, 1, 1))"), list(prediction = c(1, 2, 3)))
check_equal("character matrix", columns_of("cbind(a = c('x', 'y', NA))"), list(a = c("x", "y", NA)))

check_equal("data.frame", result_of("data.frame(a = 1:3, `b c` = c('x', NA, 'z'), check.names = FALSE)")[c("columns", "unnamed", "rows")],
  list(columns = list(a = 1:3, `b c` = c("x", NA, "z")), unnamed = FALSE, rows = 3L))
check_equal("data.frame of one column is named", result_of("data.frame(a = 1:3)")[c("columns", "unnamed")], list(columns = list(a = 1:3), unnamed = FALSE))
check_equal("matrix column spreads", columns_of("d <- data.frame(a = 1:3); d$p <- cbind(x = 4:6, y = 7:9); d"), list(a = 1:3, p.x = 4:6, p.y = 7:9))
check_equal("nameless matrix column spreads", columns_of("d <- data.frame(a = 1:3); d$p <- matrix(1:6, 3); d"), list(a = 1:3, p.1 = 1:3, p.2 = 4:6))
check_equal("one-column matrix column keeps its name", columns_of("d <- data.frame(a = 1:3); d$p <- matrix(4:6, 3); d"), list(a = 1:3, p = 4:6))
check_equal("data.frame column spreads", columns_of("d <- data.frame(a = 1:3); d$p <- data.frame(x = 4:6); d"), list(a = 1:3, p.x = 4:6))
check_equal("AsIs column", columns_of("data.frame(a = I(c(1, 2, 3)))"), list(a = c(1, 2, 3)))
check_equal("POSIXlt column", class(columns_of("d <- data.frame(a = 1:3); d$t <- as.POSIXlt(rep('2024-01-01', 3), tz = 'UTC'); d")$t), c("POSIXct", "POSIXt"))

check_equal("zero-row vector", result_of("numeric()")[c("columns", "rows")], list(columns = list(prediction = numeric()), rows = 0L))
check_equal("zero-row data.frame keeps types", columns_of("data.frame(a = integer(), b = character(), f = factor(character(), levels = 'u'), d = structure(integer(), class = 'Date'))"),
  list(a = integer(), b = character(), f = factor(character(), levels = "u"), d = structure(numeric(), class = "Date")))
check_equal("zero-row matrix", columns_of("matrix(0, 0, 2, dimnames = list(NULL, c('a', 'b')))"), list(a = numeric(), b = numeric()))
check_equal("doubles are untouched", columns_of("c(0.1 + 0.2, 1e-310, .Machine$double.xmax)"), list(prediction = c(0.1 + 0.2, 1e-310, .Machine$double.xmax)))

refused <- function(name, body, pattern) {
  result <- result_of(body)
  check(paste("refused:", name), !result$ok && inherits(structure(1, class = result$class), "rscore_bad_result") && grepl(pattern, result$message) && is.null(result$call))
}
refused("list", "list(a = 1, b = 2)", "a list of a, b.*may return")
refused("NULL", "NULL", "NULL")
refused("complex", "complex(real = 1:3)", "complex")
refused("raw", "as.raw(1:3)", "raw")
refused("integer64", "structure(c(1, 2, 3), class = 'integer64')", "integer64")
refused("function", "function(x) x", "function")
refused("S4 object", "methods::setClass('Odd', representation(a = 'numeric'), where = globalenv()); methods::new('Odd', a = 1)", "'Odd'")
refused("list column", "d <- data.frame(a = 1:3); d$l <- list(1, 2, 3); d", "column 'l'.*list")
refused("complex column", "data.frame(a = complex(real = 1:3))", "column 'a'.*complex")
refused("raw matrix", "matrix(as.raw(1:3), 3)", "raw")
refused("list matrix", "matrix(list(1, 2, 3), 3)", "list")
refused("array of two real extents more", "array(1, c(3, 2, 2))", "3 x 2 x 2")
refused("no columns", "data.frame(row.names = 1:3)", "without columns")
refused("duplicate names", "cbind(a = 1:3, a = 4:6)", "two columns named 'a'")
refused("NA among the names of a matrix", "matrix(1:6, 3, dimnames = list(NULL, c(NA, 'yes')))", "column 1 of the matrix.*no name")
refused("only NA for the name of a matrix", "matrix(1:3, 3, dimnames = list(NULL, NA))", "column 1 of the matrix.*no name")
refused("empty name in a matrix", "cbind(a = 1:3, 4:6)", "column 2 of the matrix.*no name")
refused("NA among the names of an array", "array(1, c(3, 2, 1), list(NULL, c('a', NA), 'x'))", "column 2 of the matrix.*no name")
refused("NA in a matrix column", "d <- data.frame(a = 1:3); d$p <- matrix(1:6, 3, dimnames = list(NULL, c(NA, 'yes'))); d", "column 1 of the matrix.*no name")
refused("NA name of a data.frame", "d <- data.frame(a = 1:3, b = 4:6); names(d)[2] <- NA; d", "column 2 of the data.frame.*no name")
refused("data.frame without names", "d <- data.frame(a = 1:3); names(d) <- NULL; d", "column 1 of the data.frame.*no name")
refused("nameless column", "d <- data.frame(1:3); names(d) <- ''; d", "no name")
