# What score() may return, as columns of plain vectors.

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
  refuse_nameless(names, "matrix")
  columns <- lapply(seq_len(ncol(value)), function(j) as.vector(value[, j]))
  names(columns) <- if (is.null(prefix)) names else paste(prefix, names, sep = ".")
  columns
}

# Values without a name can't be told from each other: some of them would get lost.
refuse_nameless <- function(names, what) {
  nameless <- which(is.na(names) | !nzchar(names))
  if (length(nameless)) {
    refuse("rscore_bad_result", "column ", nameless[1L], " of the ", what, " that score() returned has no name")
  }
}

# The columns of a data.frame, matrix and data.frame columns spread as name.column.
expand_frame <- function(value) {
  expanded <- list()
  names <- names(value)
  if (is.null(names)) names <- character(length(value))
  refuse_nameless(names, "data.frame")
  for (j in seq_along(value)) {
    name <- names[[j]]
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
