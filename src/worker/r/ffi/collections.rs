//! How far R is on its way to a full garbage collection, which R tells nobody. An
//! object that nothing refers to is gone after the next collection that looks at its
//! generation; its finalizer takes note and leaves another one ('Writing R Extensions',
//! 'External pointers and weak references'). One object is always young, so that
//! each collection is noted. Another one survives a collection before it is let go, and
//! tells of those that look at the generation after the young.
//!
//! R forgets what a finalizer registers when another finalizer runs right after it (memory.c,
//! 'RunFinalizers', on the list's first entries). So the second one makes both objects anew,
//! and objects have numbers: a finalizer whose object is not the last of its kind does nothing.
//!
//! R collects that generation with every 21st collection, and all of its heap with the
//! sixth of these; sooner where collecting the young frees too little (memory.c of R's
//! sources, 'RunGenCollect').

use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::{Condition, guarded, r};

/// A collection of the second generation brings the full one nearer by so many.
const OLDER_PERIOD: u32 = 21;

static COLLECTIONS: AtomicU32 = AtomicU32::new(0);
static OLDER: AtomicU32 = AtomicU32::new(0);
static POSITION: AtomicU32 = AtomicU32::new(0);

/// Numbers of the last object of either kind.
static YOUNG: AtomicUsize = AtomicUsize::new(0);
static MIDDLE: AtomicUsize = AtomicUsize::new(0);

/// What is kept until it has survived a collection, or null; and the collection that it
/// was made in.
static KEPT: AtomicPtr<r::SEXPREC> = AtomicPtr::new(null_mut());
static KEPT_SINCE: AtomicU32 = AtomicU32::new(0);

/// Begins to count, from none.
///
/// # Errors
/// R is out of memory.
pub(super) fn begin() -> Result<(), Condition> {
    for counter in [&COLLECTIONS, &OLDER, &POSITION] {
        counter.store(0, Ordering::Relaxed);
    }
    guarded(|| {
        watch(&YOUNG, note);
        keep();
    })
}

/// How far R has come since [`begin`] on its way to a full collection, in collections.
pub(super) fn position() -> u32 {
    POSITION.load(Ordering::Relaxed)
}

/// Leaves an object whose finalizer is run after the next collection that looks at it.
fn watch(last: &AtomicUsize, finalizer: extern "C" fn(r::SEXP)) -> r::SEXP {
    let number = last.fetch_add(1, Ordering::Relaxed) + 1;
    // SAFETY: R runs on this thread, and calls its finalizers on it; it keeps the address, which
    // is only a number, and never follows it. The object is protected while its finalizer is
    // registered, which allocates. When that fails, R jumps to where finalizers are called from or
    // to `guarded`, across this frame and those of `keep`, `note` and `note_older`, which own
    // nothing; nothing is counted from then on.
    unsafe {
        let address = without_provenance_mut(number);
        let object = r::Rf_protect(r::R_MakeExternalPtr(address, r::R_NilValue, r::R_NilValue));
        r::R_RegisterCFinalizerEx(object, Some(finalizer), r::Rboolean::FALSE);
        r::Rf_unprotect(1);
        object
    }
}

/// Whether an object is the last of its kind.
fn is_last(object: r::SEXP, last: &AtomicUsize) -> bool {
    // SAFETY: R calls with an object of `watch`, an external pointer.
    let number = unsafe { r::R_ExternalPtrAddr(object) }.addr();
    number == last.load(Ordering::Relaxed)
}

/// Leaves an object that survives the next collection.
fn keep() {
    let object = watch(&MIDDLE, note_older);
    // SAFETY: nothing is allocated between the object's creation and its protection, which
    // is balanced; a jump resets it and crosses frames that own nothing.
    unsafe {
        r::Rf_protect(object);
        r::R_PreserveObject(object);
        r::Rf_unprotect(1);
    }
    KEPT_SINCE.store(COLLECTIONS.load(Ordering::Relaxed), Ordering::Relaxed);
    KEPT.store(object, Ordering::Relaxed);
}

/// Called by R after a collection, with what it is about to free. Finalizers are called
/// youngest first, so this one before [`note_older`].
extern "C" fn note(object: r::SEXP) {
    if !is_last(object, &YOUNG) {
        return;
    }
    let collections = COLLECTIONS.fetch_add(1, Ordering::Relaxed) + 1;
    POSITION.fetch_add(1, Ordering::Relaxed);
    if collections > KEPT_SINCE.load(Ordering::Relaxed) {
        let kept = KEPT.swap(null_mut(), Ordering::Relaxed);
        if !kept.is_null() {
            // SAFETY: `keep` has preserved it, once.
            unsafe { r::R_ReleaseObject(kept) }
        }
    }
    watch(&YOUNG, note);
}

/// Called by R after a collection of more than the young.
extern "C" fn note_older(object: r::SEXP) {
    if !is_last(object, &MIDDLE) {
        return;
    }
    let older = OLDER.fetch_add(1, Ordering::Relaxed) + 1;
    POSITION.fetch_max(OLDER_PERIOD.saturating_mul(older), Ordering::Relaxed);
    keep();
    watch(&YOUNG, note);
}
