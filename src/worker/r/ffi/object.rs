//! An R value in Rust's hands: kept from the collector while it is held, read
//! as slices and strings, released when dropped.

use std::ffi::CStr;
use std::marker::PhantomData;

use extendr_ffi as r;
use extendr_ffi::{SEXP, SEXPTYPE};

use super::{NA_INTEGER, guarded};
use crate::error::Condition;

/// An R value that the collector leaves alone while this handle lives.
pub struct Object {
    pub(super) value: SEXP,
    _this_thread_only: PhantomData<*const ()>,
}

/// Kinds of R values that the engine tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `NULL`
    Null,
    /// `logical`
    Logical,
    /// `integer`, factors included
    Integer,
    /// `double`, dates included
    Double,
    /// `character`
    Character,
    /// `list`, data frames included
    List,
    /// Anything else.
    Other,
}

/// A value that is on the precious list and has no owner yet.
#[derive(Clone, Copy)]
pub(super) struct Preserved(SEXP);

impl Object {
    /// Puts a value on the precious list.
    ///
    /// # Safety
    /// R must be running on this thread, inside [`guarded`] or before any other
    /// allocation, and the value must be live.
    pub(super) unsafe fn preserving(value: SEXP) -> Preserved {
        // SAFETY: R_PreserveObject allocates and may collect: protecting the value
        // meanwhile is balanced by the next line. On a failure the jump resets the
        // protection stack.
        unsafe {
            r::Rf_protect(value);
            r::R_PreserveObject(value);
            r::Rf_unprotect(1);
        }
        Preserved(value)
    }

    pub(super) fn adopt(preserved: Preserved) -> Self {
        Self { value: preserved.0, _this_thread_only: PhantomData }
    }

    /// `NULL`.
    pub(super) fn null() -> Self {
        // SAFETY: R_NilValue is set once R runs and is never collected, so releasing it
        // is harmless. Only a `Runtime` calls this.
        Self { value: unsafe { r::R_NilValue }, _this_thread_only: PhantomData }
    }

    /// Sets an attribute such as `class`.
    ///
    /// # Errors
    /// R refuses the attribute or is out of memory.
    pub fn set_attribute(&self, name: &CStr, value: &Object) -> Result<(), Condition> {
        let (target, name, value) = (self.value, name.as_ptr(), value.value);
        guarded(move || {
            // SAFETY: both values are kept by their owners; the name is
            // NUL-terminated and outlives the call.
            unsafe {
                r::Rf_setAttrib(target, r::Rf_install(name), value);
            }
        })
    }

    /// What kind of value this is.
    pub fn kind(&self) -> Kind {
        // SAFETY: reads the type of a live value.
        match unsafe { r::TYPEOF(self.value) } {
            SEXPTYPE::NILSXP => Kind::Null,
            SEXPTYPE::LGLSXP => Kind::Logical,
            SEXPTYPE::INTSXP => Kind::Integer,
            SEXPTYPE::REALSXP => Kind::Double,
            SEXPTYPE::STRSXP => Kind::Character,
            SEXPTYPE::VECSXP | SEXPTYPE::EXPRSXP => Kind::List,
            _ => Kind::Other,
        }
    }

    /// Whether this is `NULL`.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// Number of elements of a vector; 0 for what is not one.
    pub fn len(&self) -> usize {
        match self.kind() {
            Kind::Null | Kind::Other => 0,
            // SAFETY: a live vector.
            _ => usize::try_from(unsafe { r::Rf_xlength(self.value) }).unwrap_or(0),
        }
    }

    /// An attribute, or `NULL`.
    pub fn attribute(&self, name: &CStr) -> Option<Object> {
        let (target, name) = (self.value, name.as_ptr());
        let value = guarded(move || {
            // SAFETY: a live value and a NUL-terminated name; the result is kept at once.
            unsafe { Object::preserving(r::Rf_getAttrib(target, r::Rf_install(name))) }
        })
        .ok()?;
        Some(Self::adopt(value)).filter(|value| !value.is_null())
    }

    /// The `names` attribute: one for each element, NA as `None`, or none at all.
    pub fn names(&self) -> Vec<Option<String>> {
        self.attribute(c"names").map(|names| names.optional_strings()).unwrap_or_default()
    }

    /// The element of a list with that name.
    pub fn get(&self, name: &str) -> Option<Object> {
        let position = self.names().iter().position(|candidate| candidate.as_deref() == Some(name))?;
        self.element(position)
    }

    /// The elements of a list.
    pub fn elements(&self) -> Vec<Object> {
        (0..self.len()).filter_map(|index| self.element(index)).collect()
    }

    fn element(&self, index: usize) -> Option<Object> {
        if self.kind() != Kind::List || index >= self.len() {
            return None;
        }
        let list = self.value;
        let value = guarded(move || {
            // SAFETY: `index` is below the length of a live list, which keeps its
            // element until it is kept by itself.
            unsafe { Object::preserving(r::VECTOR_ELT(list, index as r::R_xlen_t)) }
        })
        .ok()?;
        Some(Self::adopt(value))
    }

    /// The values of a double vector; empty for another kind.
    pub fn doubles(&self) -> &[f64] {
        let value = self.value;
        match self.kind() {
            // SAFETY: the pointer of a live double vector of that length; the vector
            // lives and isn't written to while `self` is borrowed.
            Kind::Double => slice(guarded(move || unsafe { r::REAL(value) }.cast_const()), self.len()),
            _ => &[],
        }
    }

    /// The values of an integer or logical vector; empty for another kind.
    pub fn integers(&self) -> &[i32] {
        let value = self.value;
        let pointer = match self.kind() {
            // SAFETY: as for doubles.
            Kind::Integer => guarded(move || unsafe { r::INTEGER(value) }.cast_const()),
            // SAFETY: as for doubles.
            Kind::Logical => guarded(move || unsafe { r::LOGICAL(value) }.cast_const()),
            _ => return &[],
        };
        slice(pointer, self.len())
    }

    /// The values of a double vector that was just allocated, to be filled.
    pub fn doubles_mut(&mut self) -> &mut [f64] {
        let length = self.len();
        if self.kind() != Kind::Double || length == 0 {
            return &mut [];
        }
        // SAFETY: the data of a live double vector that this module allocated itself,
        // so R has no other reference to it; `self` is borrowed mutably. R returns an
        // invalid pointer for an empty vector, which was excluded.
        unsafe { std::slice::from_raw_parts_mut(r::REAL(self.value), length) }
    }

    /// The values of an integer or logical vector that was just allocated.
    pub fn integers_mut(&mut self) -> &mut [i32] {
        let length = self.len();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: as for doubles_mut.
        unsafe {
            let pointer = match self.kind() {
                Kind::Integer => r::INTEGER(self.value),
                Kind::Logical => r::LOGICAL(self.value),
                _ => return &mut [],
            };
            std::slice::from_raw_parts_mut(pointer, length)
        }
    }

    /// The strings of a character vector, NA as `None`. `bootstrap.R` hands over
    /// UTF-8; anything else is replaced by U+FFFD.
    pub fn optional_strings(&self) -> Vec<Option<String>> {
        if self.kind() != Kind::Character {
            return Vec::new();
        }
        (0..self.len())
            .map(|index| {
                // SAFETY: `index` is below the length of a live character vector; its
                // elements are NUL-terminated and live as long as it does.
                unsafe {
                    let element = r::STRING_ELT(self.value, index as r::R_xlen_t);
                    if element == r::R_NaString {
                        return None;
                    }
                    Some(CStr::from_ptr(r::R_CHAR(element)).to_string_lossy().into_owned())
                }
            })
            .collect()
    }

    /// The strings of a character vector without its NAs.
    pub fn strings(&self) -> Vec<String> {
        self.optional_strings().into_iter().flatten().collect()
    }

    /// The first string.
    pub fn string(&self) -> Option<String> {
        self.strings().into_iter().next()
    }

    /// The first logical value, unless it is NA.
    pub fn flag(&self) -> Option<bool> {
        match (self.kind(), self.integers()) {
            (Kind::Logical, [value, ..]) if *value != NA_INTEGER => Some(*value != 0),
            _ => None,
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: takes the value off the precious list; it doesn't allocate or
        // raise. A value that isn't on the list (NULL) is left alone by R.
        unsafe { r::R_ReleaseObject(self.value) }
    }
}

fn slice<'a, T>(pointer: Result<*const T, Condition>, length: usize) -> &'a [T] {
    match pointer {
        // SAFETY: callers pass the data pointer and the length of one live vector, and
        // bind the lifetime to the handle that keeps it. R returns an invalid pointer
        // for an empty vector, which the guard excludes.
        Ok(pointer) if length > 0 => unsafe { std::slice::from_raw_parts(pointer, length) },
        _ => &[],
    }
}
