# Bundles that must not load. Returns, by name, the regular expression that the reason
# must match.

write_failures <- function(output) {
  model <- lm(mpg ~ wt, mtcars)
  scoring <- "score <- function(model, data) data$x"
  bundle <- function(name, ...) {
    directory <- file.path(output, name, "1")
    dir.create(directory, recursive = TRUE, showWarnings = FALSE)
    files <- list(...)
    for (file in names(files)) {
      path <- file.path(directory, file)
      if (file == "model.rds" && is.raw(files[[file]])) {
        writeBin(files[[file]], path)
      } else if (file == "model.rds") {
        saveRDS(files[[file]], path)
      } else {
        write_lines(files[[file]], path)
      }
    }
  }

  bundle("missing_package", model.rds = model, rscore.toml = "packages = [\"notAPackage1\"]")
  bundle("missing_package_of_class", model.rds = structure(list(), class = "cubist"))
  bundle("no_predict", model.rds = structure(list(), class = "homemade"))
  bundle("not_a_model", model.rds = 1:3)
  bundle("script_syntax", model.rds = model, score.R = c("score <- function(model, data) {", "  data$x +", "}"))
  bundle("script_stops", model.rds = model, score.R = c("stop('weights.bin is not here')", scoring))
  bundle("script_without_score", model.rds = model, score.R = "predictions <- function(model, data) data$x")
  bundle("script_named_not_there", model.rds = model, rscore.toml = "script = \"other.R\"")
  bundle("script_without_model", score.R = scoring)
  bundle("no_model", rscore.toml = "description = \"nothing else\"")
  bundle("load_stops", score.R = c("load <- function(dir) stop('no such weights')", scoring))
  bundle("load_quits", score.R = c("load <- function(dir) quit(status = 7)", scoring))
  bundle("corrupt_model", model.rds = as.raw(0:255))
  whole <- file.path(output, "corrupt_model", "1", "model.rds.whole")
  saveRDS(model, whole)
  bundle("truncated_model", model.rds = readBin(whole, "raw", file.size(whole) %/% 2))
  unlink(whole)
  bundle("manifest_syntax", model.rds = model, rscore.toml = "packages = [\"stats\"")
  bundle("manifest_unknown_key", model.rds = model, rscore.toml = "timout = \"5s\"")
  bundle("manifest_unknown_type", model.rds = model, rscore.toml = c("[columns]", "wt = \"float128\""))
  bundle("expected_mismatch", model.rds = model, sample.json = "[{\"wt\": 3}, {\"wt\": 4}]", expected.json = "[21.25171, 99.5]")
  bundle("expected_row_count", model.rds = model, sample.json = "[{\"wt\": 3}, {\"wt\": 4}]", expected.json = "[21.25171]")
  bundle("sample_does_not_fit", model.rds = model, sample.json = "[{\"wt\": \"heavy\"}]")
  bundle("sample_fails", model.rds = model, score.R = "score <- function(model, data) stop('always fails')",
    rscore.toml = c("[columns]", "wt = \"double\""), sample.json = "[{\"wt\": 3}]")

  c(
    missing_package = "notAPackage1.*install", missing_package_of_class = "Cubist.*install", no_predict = "homemade", not_a_model = "integer",
    script_syntax = "score\\.R", script_stops = "weights\\.bin is not here", script_without_score = "score\\(model, data\\)",
    script_named_not_there = "other\\.R", script_without_model = "model\\.rds", no_model = "model\\.rds", load_stops = "no such weights",
    load_quits = "7|ended|exit|quit", corrupt_model = "model\\.rds", truncated_model = "model\\.rds", manifest_syntax = "rscore\\.toml",
    manifest_unknown_key = "timout", manifest_unknown_type = "float128", expected_mismatch = "expected", expected_row_count = "expected",
    sample_does_not_fit = "sample", sample_fails = "always fails"
  )
}
