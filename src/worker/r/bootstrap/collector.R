# When R collects garbage. A forked worker shares its model's pages with its siblings until it writes to
# them, and two habits of R's collector write: it marks all objects in about every hundredth collection,
# which unshares them all and takes tens of milliseconds, and between collections it fills what room it
# has. So the zygote is forked when such a full collection is furthest away, and a worker counts its
# collections, to be replaced before the next one, and collects what died young between calls.
# For the generations and their counters see memory.c of R's sources, 'RunGenCollect'.

# A full collection is due after about so many partial ones, 21 times 6 of them.
FULL_COLLECTION_PERIOD <- 126L

# In the zygote. Once marks what lives as old or frees it, twice leaves nothing to move.
# `verbose` is FALSE whatever the model's options say.
collect_garbage <- function() {
  gc(verbose = FALSE)
  gc(verbose = FALSE)
  settle_collector()
  invisible(NULL)
}

# Collects until R has made a full collection by its own count, which then begins anew: only then does an
# object go that is old and unreachable. `seconds` bounds the time that this takes.
settle_collector <- function(seconds = 0.5) {
  settled <- FALSE
  old <- new.env(parent = emptyenv())
  reg.finalizer(old, function(environment) settled <<- TRUE)
  gc(verbose = FALSE)
  gc(verbose = FALSE)
  old <- NULL
  until <- proc.time()[[3L]] + seconds
  for (collection in seq_len(2L * FULL_COLLECTION_PERIOD)) {
    if (settled || proc.time()[[3L]] > until) break
    collect_young()
  }
  settled
}

# In a worker, between two calls.
collect_young <- function() {
  gc(verbose = FALSE, full = FALSE)
  invisible(NULL)
}
