//! R's C interface behind safe types. This file and those in `ffi/` are,
//! with `worker/fork.rs`, the only ones that may be unsafe.
//!
//! Three rules make the rest of the engine safe:
//!
//! 1. A [`Runtime`] exists only on the main thread of a process in which R was
//!    started, and it can't leave that thread. Objects are made by it and are
//!    bound to the thread as well, so R is never entered from another.
//! 2. An [`Object`] keeps its R value on R's list of precious objects until it is
//!    dropped, so the collector can't free what Rust still holds.
//! 3. R reports errors with a `longjmp`, which must not cross Rust frames that
//!    own anything. Every call that can raise one runs in [`guarded`]: inside
//!    `R_ToplevelExec`, in a closure that is `Copy` and so owns nothing to drop.
//!    Writing R Extensions, 'Interface functions R to C' and 'Embedding R', is
//!    the source for which calls can.

#![expect(unsafe_code, reason = "R's interface is C")]

mod collections;
mod interrupt;
mod object;
mod surroundings;

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Write;
use std::marker::PhantomData;

use extendr_ffi as r;
use extendr_ffi::{SEXP, SEXPTYPE};

pub use self::object::{Kind, Object};
pub use self::surroundings::Surroundings;
use crate::error::Condition;

unsafe extern "C" {
    static mut R_SignalHandlers: c_int;
    static mut R_TempDir: *mut c_char;
    fn R_ToplevelExec(function: extern "C" fn(*mut c_void), data: *mut c_void) -> c_int;
}

/// R, running on this thread.
pub struct Runtime {
    _this_thread_only: PhantomData<*const ()>,
}

/// R's NA of type integer (and, as an integer, of type logical).
pub const NA_INTEGER: i32 = i32::MIN;

/// The low word of the NaN that is R's `NA_real_` (`R_ValueOfNA` in arithmetic.c).
const NA_REAL_LOW_WORD: u32 = 1954;

/// Most of the C stack that R may use, in bytes, where the system sets no limit:
/// what R itself takes then.
const LARGEST_STACK: u64 = 16 * 1024 * 1024;

/// R's `NA_real_`.
pub const NA_REAL: f64 = f64::from_bits(0x7FF0_0000_0000_07A2);

/// Whether a double is R's NA, and not another NaN.
pub fn is_na(value: f64) -> bool {
    value.is_nan() && value.to_bits() as u32 == NA_REAL_LOW_WORD
}

impl Runtime {
    /// Starts R.
    ///
    /// # Panics
    /// On any thread but the main one: R checks its stack against the main
    /// thread's and would crash.
    pub fn start() -> Self {
        let process = rustix::process::getpid();
        let thread = rustix::thread::gettid();
        assert!(process == thread, "R must be started on the process's main thread");
        // SAFETY: R reads this variable once, while it starts, which is next; no
        // other thread runs R code that could look at it. Zero keeps R from
        // installing its handlers for signals.
        unsafe {
            R_SignalHandlers = 0;
        }
        extendr_engine::start_r();
        // extendr switches R's check of the C stack off, since it may run R on any
        // thread. This is the main one, where the check is right and turns endless
        // recursion into an R error instead of a crash.
        let stack = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
        let usable = stack.map_or(LARGEST_STACK, |bytes| bytes.min(LARGEST_STACK)) / 100 * 90;
        // SAFETY: a plain number that R compares with its use of the stack; R runs on
        // this thread alone, and nothing of R is running now.
        unsafe {
            r::R_CStackLimit = usize::try_from(usable).unwrap_or(usize::MAX);
        }
        Self { _this_thread_only: PhantomData }
    }

    /// Begins to count garbage collections.
    ///
    /// # Errors
    /// R is out of memory.
    pub fn count_collections(&self) -> Result<(), Condition> {
        collections::begin()
    }

    /// How far R has come since [`Runtime::count_collections`] on its way to its next full
    /// collection, in collections: about 126 lead to one.
    pub fn collections(&self) -> u32 {
        collections::position()
    }

    /// Gives the kernel back what R freed and the allocator kept: after a load that are
    /// megabytes between what is used. Forks would carry them along.
    pub fn give_back_memory(&self) {
        // SAFETY: it takes the allocator's locks as `malloc` does, and touches only what is free.
        unsafe { libc::malloc_trim(0) };
    }

    /// Prepares for a call that SIGINT may interrupt.
    pub fn expect_interrupt(&self) {
        interrupt::expect();
    }

    /// From now on SIGINT does nothing, until [`Runtime::expect_interrupt`].
    pub fn ignore_interrupts(&self) {
        interrupt::ignore();
    }

    /// What the process looks like outside of R.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings::take()
    }

    /// Whether SIGINT came since [`Runtime::expect_interrupt`].
    pub fn was_interrupted(&self) -> bool {
        interrupt::happened()
    }

    /// Runs R code that gives this process a temporary folder of its own, by asking
    /// R for one that can be written to (`tempdir(check = TRUE)`). On success R
    /// forgets the folder that it had, and will not remove it when it ends.
    ///
    /// # Errors
    /// The error that was raised; R then keeps the folder that it had.
    pub fn replace_temporary_folder<T>(&self, code: impl FnOnce() -> Result<T, Condition>) -> Result<T, Condition> {
        // SAFETY: R's pointer to the name of its folder, NUL-terminated, which R reads
        // on this thread only and never writes through. An empty name is no folder, so
        // R makes another one; the old name is not freed and can be put back.
        let old = unsafe { (&raw mut R_TempDir).replace(c"".as_ptr().cast_mut()) };
        let outcome = code();
        if outcome.is_err() {
            // SAFETY: as above.
            unsafe { (&raw mut R_TempDir).write(old) };
        }
        outcome
    }

    /// Evaluates R source text in a new environment below the base package.
    ///
    /// # Errors
    /// The text does not parse, or raised an error.
    pub fn evaluate_source(&self, source: &str) -> Result<Object, Condition> {
        let text = self.character(&[source])?;
        let text = text.value;
        let environment = guarded(move || {
            // SAFETY: allocates an environment; both arguments are live R values.
            unsafe { Object::preserving(r::R_NewEnv(r::R_BaseEnv, 1, 128)) }
        })?;
        let environment = Object::adopt(environment);
        let expressions = guarded(move || {
            let mut status = r::ParseStatus::PARSE_NULL;
            // SAFETY: `text` is a character vector that its owner keeps alive during
            // this call; the status is a local that outlives it.
            let parsed = unsafe { r::R_ParseVector(text, -1, &mut status, r::R_NilValue) };
            let complete = matches!(status, r::ParseStatus::PARSE_OK);
            // SAFETY: `parsed` was just returned and nothing was allocated since.
            (unsafe { Object::preserving(parsed) }, complete)
        })?;
        let (expressions, complete) = (Object::adopt(expressions.0), expressions.1);
        if !complete {
            return Err(condition("rscore_parse_error", "R source text does not parse".to_owned()));
        }
        for index in 0..expressions.len() {
            // SAFETY: `index` is below the length of a live expression vector, whose
            // elements live as long as it does.
            let expression = unsafe { r::VECTOR_ELT(expressions.value, index as r::R_xlen_t) };
            self.evaluate(expression, environment.value)?;
        }
        Ok(environment)
    }

    /// Calls a function that an environment holds.
    ///
    /// # Errors
    /// The function does not exist or raised an error that it did not catch.
    pub fn call(&self, environment: &Object, function: &str, arguments: &[&Object]) -> Result<Object, Condition> {
        let name = CString::new(function).map_err(|_| condition("rscore_bad_name", "a name with a NUL".to_owned()))?;
        let name_pointer = name.as_ptr();
        // Built from the last argument to the first; each step is kept alive by the
        // object that replaces the one before.
        let mut call = self.null();
        for argument in arguments.iter().rev() {
            let (head, tail) = (argument.value, call.value);
            // SAFETY: both are live values that their owners keep.
            call = Object::adopt(guarded(move || unsafe { Object::preserving(r::Rf_cons(head, tail)) })?);
        }
        let tail = call.value;
        call = Object::adopt(guarded(move || {
            // SAFETY: the name is NUL-terminated and outlives the call; symbols are
            // never collected; `tail` is kept by `call`.
            unsafe { Object::preserving(r::Rf_lcons(r::Rf_install(name_pointer), tail)) }
        })?);
        self.evaluate(call.value, environment.value)
    }

    fn evaluate(&self, expression: SEXP, environment: SEXP) -> Result<Object, Condition> {
        let mut failed: c_int = 0;
        // SAFETY: both values are kept alive by the caller. R_tryEvalSilent is itself
        // a top-level context: no jump leaves it.
        let value = unsafe { r::R_tryEvalSilent(expression, environment, &mut failed) };
        if failed != 0 {
            return Err(condition(
                "rscore_uncaught",
                "R raised an error outside of the model's own code; its message is in the log".to_owned(),
            ));
        }
        Ok(Object::adopt(guarded(move || {
            // SAFETY: just returned by R, nothing was allocated since.
            unsafe { Object::preserving(value) }
        })?))
    }

    /// `NULL`.
    pub fn null(&self) -> Object {
        Object::null()
    }

    /// A double vector.
    ///
    /// # Errors
    /// R is out of memory.
    pub fn double(&self, values: &[f64]) -> Result<Object, Condition> {
        let mut vector = self.allocate(SEXPTYPE::REALSXP, values.len())?;
        vector.doubles_mut().copy_from_slice(values);
        Ok(vector)
    }

    /// An integer vector of that length, to be filled by [`Object::integers_mut`].
    ///
    /// # Errors
    /// R is out of memory.
    pub fn integer_of_length(&self, length: usize) -> Result<Object, Condition> {
        self.allocate(SEXPTYPE::INTSXP, length)
    }

    /// A double vector of that length, to be filled by [`Object::doubles_mut`].
    ///
    /// # Errors
    /// R is out of memory.
    pub fn double_of_length(&self, length: usize) -> Result<Object, Condition> {
        self.allocate(SEXPTYPE::REALSXP, length)
    }

    /// A logical vector; `None` is NA.
    ///
    /// # Errors
    /// R is out of memory.
    pub fn logical(&self, values: &[Option<bool>]) -> Result<Object, Condition> {
        let mut vector = self.allocate(SEXPTYPE::LGLSXP, values.len())?;
        for (slot, value) in vector.integers_mut().iter_mut().zip(values) {
            *slot = value.map_or(NA_INTEGER, i32::from);
        }
        Ok(vector)
    }

    /// A character vector without NA.
    ///
    /// # Errors
    /// R is out of memory, or a string holds a NUL, which R can't.
    pub fn character<S: AsRef<str>>(&self, values: &[S]) -> Result<Object, Condition> {
        self.optional_character(values.iter().map(|value| Some(value.as_ref())))
    }

    /// A character vector; `None` is NA.
    ///
    /// # Errors
    /// As [`Runtime::character`].
    pub fn optional_character<'a>(
        &self,
        values: impl ExactSizeIterator<Item = Option<&'a str>>,
    ) -> Result<Object, Condition> {
        let vector = self.allocate(SEXPTYPE::STRSXP, values.len())?;
        let mut parts: Vec<(*const c_char, c_int)> = Vec::with_capacity(values.len());
        for value in values {
            let Some(text) = value else {
                parts.push((std::ptr::null(), 0));
                continue;
            };
            if text.contains('\0') {
                return Err(condition("rscore_bad_string", "R's strings can't hold a NUL character".to_owned()));
            }
            let length = c_int::try_from(text.len())
                .map_err(|_| condition("rscore_bad_string", "a string of more than 2 GiB".to_owned()))?;
            parts.push((text.as_ptr().cast(), length));
        }
        // One guard for the whole vector: entering R's top level costs more than a string.
        let (target, parts) = (vector.value, parts.as_slice());
        guarded(move || {
            for (index, &(bytes, length)) in parts.iter().enumerate() {
                // SAFETY: `index` is below the length of the live vector that was allocated
                // for these parts. Pointers and lengths are those of strings that the caller
                // keeps during this call; a new element is stored before anything else is
                // allocated.
                unsafe {
                    let element = if bytes.is_null() {
                        r::R_NaString
                    } else {
                        r::Rf_mkCharLenCE(bytes, length, r::cetype_t::CE_UTF8)
                    };
                    r::SET_STRING_ELT(target, index as r::R_xlen_t, element);
                }
            }
        })?;
        Ok(vector)
    }

    /// A list with names.
    ///
    /// # Errors
    /// R is out of memory.
    pub fn list<S: AsRef<str>>(&self, entries: &[(S, Object)]) -> Result<Object, Condition> {
        let list = self.allocate(SEXPTYPE::VECSXP, entries.len())?;
        for (index, (_, entry)) in entries.iter().enumerate() {
            // SAFETY: `index` is below the length of a live list; the entry is live.
            unsafe { r::SET_VECTOR_ELT(list.value, index as r::R_xlen_t, entry.value) };
        }
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_ref()).collect();
        list.set_attribute(c"names", &self.character(&names)?)?;
        Ok(list)
    }

    fn allocate(&self, kind: SEXPTYPE, length: usize) -> Result<Object, Condition> {
        let length = r::R_xlen_t::try_from(length)
            .map_err(|_| condition("rscore_out_of_memory", "a vector of that length can't exist".to_owned()))?;
        Ok(Object::adopt(guarded(move || {
            // SAFETY: allocates and keeps a vector; a failure jumps to the guard.
            unsafe { Object::preserving(r::Rf_allocVector(kind, length)) }
        })?))
    }
}

/// Runs a closure in a context that catches R's jumps.
///
/// The closure is `Copy`, hence owns nothing that a jump would leak, and so is
/// its result.
fn guarded<F, T>(body: F) -> Result<T, Condition>
where
    F: FnOnce() -> T + Copy,
    T: Copy,
{
    struct Slot<F, T> {
        body: F,
        result: Option<T>,
    }
    extern "C" fn trampoline<F: FnOnce() -> T + Copy, T: Copy>(data: *mut c_void) {
        // SAFETY: `data` is the slot below, which outlives the call and is not
        // touched by anybody else during it.
        let slot = unsafe { &mut *data.cast::<Slot<F, T>>() };
        slot.result = Some((slot.body)());
    }
    let mut slot = Slot { body, result: None };
    // SAFETY: function and data match in their types. A jump out of the body lands
    // in R_ToplevelExec, having crossed only the trampoline and the body, neither of
    // which owns anything.
    let finished = unsafe { R_ToplevelExec(trampoline::<F, T>, (&raw mut slot).cast()) };
    match slot.result {
        Some(result) if finished != 0 => Ok(result),
        _ => Err(condition("rscore_out_of_memory", "R could not allocate memory for the data".to_owned())),
    }
}

/// A condition that the engine itself raises.
pub fn condition(class: &str, message: String) -> Condition {
    Condition { class: vec![class.to_owned(), "error".to_owned(), "condition".to_owned()], message, call: None }
}

/// Writes a line to standard error, which the front end collects.
pub fn write_error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
