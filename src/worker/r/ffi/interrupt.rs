//! Interrupting R: SIGINT sets a flag that R looks at wherever it is safe to
//! stop, and R then raises its `interrupt` condition ('Writing R Extensions',
//! 'Allowing interrupts').
//!
//! A signal that comes when the call it was meant for has just ended must not
//! stop the next one. The front end sends the signal before it sends anything
//! else on the worker's socket, and a signal is pending from the moment that
//! `kill` returns and delivered no later than when the process next returns
//! from the kernel. So by the time that the worker has read the next request the
//! handler has run, and what [`expect`] clears there is everything old.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

unsafe extern "C" {
    static mut R_interrupts_pending: c_int;
}

/// Whether a signal came since [`expect`]; R clears its own flag when it acts.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether signals count at present.
static EXPECTED: AtomicBool = AtomicBool::new(false);

/// Prepares for a call that may be interrupted: forgets earlier signals, and
/// installs the handler, which code of a package may have replaced.
pub(super) fn expect() {
    install();
    EXPECTED.store(true, Ordering::Relaxed);
    forget();
}

/// From now on signals do nothing, until the next [`expect`]: none can be meant for
/// what goes on outside of calls, and that must not be left half done.
pub(super) fn ignore() {
    install();
    EXPECTED.store(false, Ordering::Relaxed);
    forget();
}

fn forget() {
    INTERRUPTED.store(false, Ordering::Relaxed);
    pending().store(0, Ordering::Relaxed);
}

fn install() {
    // SAFETY: all zero bytes are a valid `sigaction`: no flags, an empty mask, the
    // default handler; the fields that matter are set next.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_interrupt as extern "C" fn(c_int) as libc::sighandler_t;
    // Reads and writes that the model is in the middle of go on, as R's own do.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is complete and lives during the call; the handler is a
    // function of the signature that a handler without SA_SIGINFO has, and does
    // only what is allowed in one (see there).
    let installed = unsafe { libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut()) };
    debug_assert_eq!(installed, 0, "SIGINT can be caught");
}

/// Whether a signal came since [`expect`].
pub(super) fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Runs on any thread, between any two instructions: it reads a word and stores
/// two, each at once, and calls nothing.
extern "C" fn on_interrupt(_signal: c_int) {
    if !EXPECTED.load(Ordering::Relaxed) {
        return;
    }
    INTERRUPTED.store(true, Ordering::Relaxed);
    pending().store(1, Ordering::Relaxed);
}

fn pending() -> &'static AtomicI32 {
    // SAFETY: libR's variable lives as long as the process and is aligned as an int.
    // R's own handler stores to it in the same way, and R reads and writes it with
    // plain accesses on the main thread only, where the handler runs as well unless
    // model code started threads; a word is never torn.
    unsafe { AtomicI32::from_ptr(&raw mut R_interrupts_pending) }
}
