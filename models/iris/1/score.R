# Species of an iris flower and the share of trees that voted for each.

score <- function(model, data) {
  votes <- predict(model, newdata = data, type = "prob")
  # predict(type = "class") breaks ties at random; the first of equals is repeatable.
  best <- max.col(votes, ties.method = "first")
  data.frame(
    class = factor(colnames(votes)[best], levels = colnames(votes)),
    unclass(votes),
    row.names = NULL
  )
}
