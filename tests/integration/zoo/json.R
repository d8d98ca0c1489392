# Text forms shared by zoo.R and expected.R: requests as records, values as strings that
# read back to the same value.

write_lines <- function(text, path) writeLines(enc2utf8(text), path, useBytes = TRUE)

json_string <- function(text) {
  text <- gsub("\\", "\\\\", enc2utf8(text), fixed = TRUE)
  text <- gsub("\"", "\\\"", text, fixed = TRUE)
  text <- gsub("\n", "\\n", text, fixed = TRUE)
  paste0("\"", text, "\"")
}

# A time with microseconds. They are cut out of a whole number, because format() truncates.
iso_time <- function(x) {
  microseconds <- round(as.numeric(x) * 1e6)
  seconds <- microseconds %/% 1e6
  whole <- format(as.POSIXct(seconds, origin = "1970-01-01", tz = "UTC"), "%Y-%m-%dT%H:%M:%S", tz = "UTC")
  text <- sprintf("%s.%06dZ", whole, as.integer(microseconds - seconds * 1e6))
  text[is.na(x)] <- NA
  text
}

# Type names of the request's columns, with the levels of factors as an attribute.
column_types <- function(rows) {
  lapply(rows, function(x) {
    type <- if (is.ordered(x)) "ordered" else if (is.factor(x)) "factor" else if (inherits(x, "Date")) "date" else
      if (inherits(x, "POSIXct")) "timestamp" else typeof(x)
    structure(type, levels = levels(x))
  })
}

cells <- function(x) {
  text <- if (is.factor(x) || is.character(x)) {
    json_string(as.character(x))
  } else if (inherits(x, "Date")) {
    json_string(format(x, "%Y-%m-%d"))
  } else if (inherits(x, "POSIXct")) {
    json_string(iso_time(x))
  } else {
    switch(typeof(x), logical = ifelse(x, "true", "false"), integer = sprintf("%d", x), double = sprintf("%.17g", x))
  }
  ifelse(is.na(x), "null", text)
}

records <- function(rows) {
  members <- Map(function(name, x) paste0(json_string(name), ":", cells(x)), names(rows), rows)
  paste0("[", paste0("{", do.call(paste, c(unname(members), sep = ",")), "}", collapse = ",\n"), "]")
}

# Sixteen hexadecimal digits of each double, big-endian; "NA" for NA_real_.
double_bits <- function(x) {
  bytes <- matrix(as.character(writeBin(as.double(x), raw(), endian = "big")), nrow = 8L)
  bits <- apply(bytes, 2L, paste, collapse = "")
  ifelse(is.na(x) & !is.nan(x), "NA", bits)
}
