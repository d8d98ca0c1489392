//! Counting R's garbage collections, which R tells nobody. An object that nothing
//! refers to is gone after the next collection, however partial, since it is
//! young; its finalizer counts and leaves another one ('Writing R Extensions',
//! 'External pointers and weak references').

use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Condition, guarded, r};

static COLLECTIONS: AtomicU32 = AtomicU32::new(0);

/// Begins to count, from none.
///
/// # Errors
/// R is out of memory.
pub(super) fn begin() -> Result<(), Condition> {
    COLLECTIONS.store(0, Ordering::Relaxed);
    guarded(watch)
}

/// How many there were since [`begin`].
pub(super) fn counted() -> u32 {
    COLLECTIONS.load(Ordering::Relaxed)
}

/// Leaves an object whose finalizer is run after the next collection.
fn watch() {
    // SAFETY: R runs on this thread, and calls its finalizers on it. The object is
    // protected while its finalizer is registered, which allocates. When that fails, R jumps to
    // where finalizers are called from or to `guarded`, across this frame and that of
    // `note`, which own nothing; nothing is counted from then on.
    unsafe {
        let object = r::Rf_protect(r::R_MakeExternalPtr(null_mut(), r::R_NilValue, r::R_NilValue));
        r::R_RegisterCFinalizerEx(object, Some(note), r::Rboolean::FALSE);
        r::Rf_unprotect(1);
    }
}

/// Called by R after a collection, with what it is about to free.
extern "C" fn note(_object: r::SEXP) {
    COLLECTIONS.fetch_add(1, Ordering::Relaxed);
    watch();
}
