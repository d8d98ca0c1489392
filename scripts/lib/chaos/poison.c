/* Faults that no R code can make: loaded into the model "poison" by its score.R. */

#include <stdlib.h>

#include <R.h>
#include <Rinternals.h>

SEXP chaos_segfault(void) {
  volatile int *nowhere = (int *)8;
  *nowhere = 1;
  return R_NilValue;
}

SEXP chaos_abort(void) {
  abort();
}
