# Reads each request of the zoo back from its text, predicts, and writes the expected
# answer (the form is told in ../zoo.R). Run by zoo.R in a process of its own.

here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L])))
source(file.path(here, "json.R"))
output <- commandArgs(TRUE)[[1L]]

# One cell per record: the records were written one a line, members in one order.
read_request <- function(path, types) {
  lines <- readLines(path, encoding = "UTF-8")
  lines <- sub("^\\[?\\{(.*)\\}[],]*$", "\\1", lines)
  string <- "\"(?:[^\"\\\\]|\\\\.)*\""
  members <- regmatches(lines, gregexpr(paste0(string, ":(?:", string, "|[^,\"]+)"), lines, perl = TRUE))
  stopifnot(all(lengths(members) == length(types)))
  columns <- lapply(seq_along(types), function(j) {
    read_cells(sub(paste0("^", string, ":"), "", vapply(members, `[[`, "", j), perl = TRUE), types[[j]])
  })
  names(columns) <- names(types)
  structure(columns, class = "data.frame", row.names = seq_along(lines))
}

read_cells <- function(text, type) {
  text[text == "null"] <- NA
  quoted <- grepl("^\"", text)
  text[quoted] <- gsub("\\\\(.)", "\\1", substr(text[quoted], 2L, nchar(text[quoted]) - 1L))
  switch(
    as.character(type),
    double = as.double(text),
    integer = as.integer(text),
    logical = text == "true",
    character = text,
    factor = factor(text, levels = attr(type, "levels")),
    ordered = factor(text, levels = attr(type, "levels"), ordered = TRUE),
    date = as.Date(text),
    timestamp = read_time(text)
  )
}

# Whole microseconds divided once, so that the double is the nearest one.
read_time <- function(text) {
  seconds <- as.numeric(as.POSIXct(substr(text, 1L, 19L), format = "%Y-%m-%dT%H:%M:%S", tz = "UTC"))
  as.POSIXct((seconds * 1e6 + as.integer(substr(text, 21L, 26L))) / 1e6, origin = "1970-01-01", tz = "UTC")
}

answer_columns <- function(answer) {
  if (is.data.frame(answer)) return(as.list(answer))
  if (is.matrix(answer)) {
    columns <- lapply(seq_len(ncol(answer)), function(j) as.vector(answer[, j]))
    names(columns) <- if (is.null(colnames(answer))) rep("", ncol(answer)) else colnames(answer)
    return(columns)
  }
  columns <- list(answer)
  names(columns) <- ""
  columns
}

column_json <- function(name, x) {
  type <- if (is.factor(x)) "factor" else if (inherits(x, "Date")) "date" else if (inherits(x, "POSIXct")) "timestamp" else typeof(x)
  text <- switch(type, double = double_bits(x), timestamp = iso_time(x), as.character(x))
  values <- ifelse(is.na(text), "null", json_string(text))
  sprintf("{\"name\": %s, \"type\": \"%s\",\n   \"values\": [%s]}", json_string(name), type, paste(values, collapse = ", "))
}

for (plan_file in list.files(output, "[.]plan[.]rds$", full.names = TRUE)) {
  name <- sub("[.]plan[.]rds$", "", basename(plan_file))
  plan <- readRDS(plan_file)
  for (package in plan$packages) suppressPackageStartupMessages(library(package, character.only = TRUE))
  model <- readRDS(file.path(output, name, "1", "model.rds"))
  rows <- read_request(file.path(output, paste0(name, ".request.json")), plan$types)
  answer <- plan$predict(model, rows)
  columns <- answer_columns(answer)
  stopifnot(all(lengths(columns) == nrow(rows)))
  unnamed <- !is.data.frame(answer) && length(columns) == 1L && names(columns) == ""
  write_lines(
    paste0(
      "{\"unnamed\": ", if (unnamed) "true" else "false", ",\n \"columns\": [",
      paste(mapply(column_json, names(columns), columns), collapse = ",\n  "), "]}"
    ),
    file.path(output, paste0(name, ".expected.json"))
  )
}
