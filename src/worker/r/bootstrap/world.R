# What a call may change in its process for the calls after it, and putting that right. The looks are
# cheap, since they are part of every call: what is dear is done only where something changed.
#
# Not put right: variables that existed before the call (a script's caches are its own), namespaces that were
# loaded, S4 classes and methods, and whatever compiled code keeps. docs/bundles.md says so to authors.

# Remembers how things are now. In the zygote after loading, and in each worker.
take_world <- function() {
  kind <- RNGkind()
  state$generator <- generator_code()
  state$world <- list(
    options = as.pairlist(as.list(.Options)),
    directory = getwd(),
    search = search(),
    connections = getAllConnections(),
    device = .Device,
    globals = names(globalenv()),
    namespaces = length(loadedNamespaces()),
    environment = Sys.getenv(),
    locale = Sys.getlocale(),
    kind = kind
  )
  invisible(NULL)
}

# What .Random.seed begins with for the present kinds of generators.
generator_code <- function() {
  set.seed(0L)
  on.exit(forget_seed())
  globalenv()[[".Random.seed"]][1L]
}

forget_seed <- function() {
  if (!is.null(globalenv()[[".Random.seed"]])) rm(list = ".Random.seed", envir = globalenv())
}

# After each call. An error means that the process is beyond repair.
tidy_world <- function() {
  world <- state$world
  if (is.null(world)) return(NULL)
  # Lifting a limit costs less than looking for one.
  .Internal(setTimeLimit(Inf, Inf, FALSE))
  .Internal(setSessionTimeLimit(Inf, Inf))
  if (.Internal(sink.number(TRUE)) != 0L || .Internal(sink.number(FALSE)) != 2L) end_sinks()
  if (!identical(getAllConnections(), world$connections)) close_connections(world)
  if (!identical(.Device, world$device)) close_devices(world)
  if (!identical(.Options, world$options)) restore_options(world)
  if (!identical(getwd(), world$directory)) restore_directory(world)
  if (!identical(search(), world$search)) restore_search(world)
  seed <- globalenv()[[".Random.seed"]]
  if (!is.null(seed)) restore_generator(world, seed)
  if (length(globalenv()) != length(world$globals)) remove_globals(world)
  NULL
}

# Said once per process: a script that does it does it in every call.
note_left <- function(what, advice = NULL) {
  if (what %in% state$noted) return(invisible())
  state$noted <- c(state$noted, what)
  advice <- if (!is.null(advice)) paste0(" (", advice, ")")
  cat("a call left ", what, " behind, which was undone, as after every call", advice, "\n", sep = "", file = stderr())
}

end_sinks <- function() {
  while (.Internal(sink.number(TRUE)) > 0L) sink()
  if (.Internal(sink.number(FALSE)) != 2L) sink(type = "message")
  note_left("a diversion of output (sink)")
}

close_connections <- function(world) {
  for (number in setdiff(getAllConnections(), world$connections)) close(getConnection(number))
  note_left("an open connection")
}

close_devices <- function(world) {
  if (identical(world$device, "null device")) grDevices::graphics.off()
  note_left("an open graphics device")
}

restore_options <- function(world) {
  now <- names(as.list(.Options))
  added <- setdiff(now, names(world$options))
  # What a namespace set when it was loaded belongs to it from then on.
  if (length(loadedNamespaces()) > world$namespaces) {
    state$world$namespaces <- length(loadedNamespaces())
    kept <- added
  } else {
    options(stats::setNames(vector("list", length(added)), added))
    kept <- character()
  }
  options(as.list(world$options))
  # In the order that they have now.
  state$world$options <- as.pairlist(as.list(.Options))
  if (length(kept) == 0L) note_left("other options")
}

restore_directory <- function(world) {
  setwd(world$directory)
  note_left("another working directory")
}

restore_search <- function(world) {
  repeat {
    now <- search()
    added <- which(!now %in% world$search | duplicated(now, fromLast = TRUE))
    if (length(added) == 0L) break
    detach(pos = added[1L])
  }
  if (!identical(search(), world$search)) stop("the search path can't be put right")
  note_left("an attached package or data.frame", "library() belongs at the top of a script")
}

# Each call that draws is seeded afresh, so that none sees another's stream.
restore_generator <- function(world, seed) {
  if (!identical(seed[1L], state$generator)) {
    suppressWarnings(RNGkind(world$kind[1L], world$kind[2L], world$kind[3L]))
    note_left("another kind of random generator")
  }
  forget_seed()
}

remove_globals <- function(world) {
  rm(list = setdiff(names(globalenv()), world$globals), envir = globalenv())
  note_left("a variable in the global environment", "a cache belongs into a variable of the script")
}

# After a call that changed the environment of the process or its locale, which Rust sees at less cost.
restore_surroundings <- function() {
  world <- state$world
  if (is.null(world)) return(NULL)
  now <- Sys.getenv()
  added <- setdiff(names(now), names(world$environment))
  if (length(added) > 0L) Sys.unsetenv(added)
  present <- now[names(world$environment)]
  changed <- names(world$environment)[is.na(present) | present != world$environment]
  if (length(changed) > 0L) do.call(Sys.setenv, as.list(world$environment[changed]))
  if (length(added) + length(changed) > 0L) note_left("other environment variables")
  if (!identical(Sys.getlocale(), world$locale)) {
    for (entry in strsplit(world$locale, ";", fixed = TRUE)[[1L]]) {
      parts <- strsplit(entry, "=", fixed = TRUE)[[1L]]
      if (parts[1L] %in% LOCALE_CATEGORIES) suppressWarnings(Sys.setlocale(parts[1L], if (length(parts) > 1L) parts[2L] else ""))
    }
    note_left("another locale")
  }
  NULL
}

# Those that R can set one by one.
LOCALE_CATEGORIES <- c("LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES", "LC_PAPER", "LC_MEASUREMENT")
