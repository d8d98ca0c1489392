# The model "poison": adds up honest rows, and does what a poisoned row says. Honest
# and poisoned rows share calls, so that the server has to find out who is to blame.

load <- function(dir) {
  dyn.load(file.path(dir, "poison.so"))
  NULL
}

deeds <- list(
  none = function() NULL,
  quit = function() quit(save = "no", status = 3L),
  segfault = function() .Call("chaos_segfault"),
  abort = function() .Call("chaos_abort"),
  error = function() stop("this row is poisoned"),
  recursion = function() (f <- function(n) f(n + 1))(1),
  allocation = function() numeric(2e12),
  output = function() for (line in seq_len(20000L)) cat(strrep("chaos ", 20L), "\n"),
  loop = function() repeat NULL,
  sleep = function() Sys.sleep(60)
)

score <- function(model, data) {
  for (deed in unique(as.character(data$deed))) deeds[[deed]]()
  sin(data$x) * 1000
}
