# When garbage is collected.

bootstrap <- new_bootstrap()
check("the zygote's collector begins anew", bootstrap$settle_collector(seconds = 60))
# The next full collection is as far away as can be: what is old stays until then.
gone <- FALSE
old <- new.env()
reg.finalizer(old, function(environment) gone <<- TRUE)
gc()
gc()
rm(old)
for (i in 1:100) bootstrap$collect_young()
check("no full collection in the hundred after", !gone)
for (i in 1:100) bootstrap$collect_young()
check("the next full collection comes in its time", gone)
check_equal("time for settling is bounded", bootstrap$settle_collector(seconds = -1), FALSE)

check_equal("nothing is printed", capture.output(bootstrap$collect_garbage(), bootstrap$collect_young()), character())
