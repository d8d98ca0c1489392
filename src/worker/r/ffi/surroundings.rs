//! What of this process lies outside of R's heap and a call may change: its
//! environment, its locale, and where its standard streams go. Looking at them
//! takes less than a microsecond, so that it can be done after every call.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::AsFd;

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// How things were at some moment. Strings of the environment are compared by
/// their addresses: changing a variable puts another string in its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Surroundings {
    environment: Vec<usize>,
    locale: Option<CString>,
    streams: [Option<(u64, u64)>; 3],
}

impl Surroundings {
    /// As they are now.
    pub(super) fn take() -> Self {
        Self { environment: environment().collect(), locale: locale().map(CStr::to_owned), streams: streams() }
    }

    /// Whether variables or locale are other ones now.
    pub fn have_changed(&self) -> bool {
        !environment().eq(self.environment.iter().copied()) || locale() != self.locale.as_deref()
    }

    /// Whether a standard stream is closed or goes elsewhere now, which R code can't
    /// do and nobody can put right.
    pub fn lost_a_stream(&self) -> bool {
        streams() != self.streams
    }
}

/// Addresses of the variables' strings.
fn environment() -> impl Iterator<Item = usize> {
    let mut index = 0;
    std::iter::from_fn(move || {
        // SAFETY: `environ` is null or an array of strings that ends with a null, by the
        // C standard library's contract; only the main thread, which this is, changes
        // it, and not while this iterator is used: it runs between two calls of R.
        let entry = unsafe {
            if environ.is_null() {
                return None;
            }
            *environ.add(index)
        };
        index += 1;
        (!entry.is_null()).then_some(entry as usize)
    })
}

fn locale<'a>() -> Option<&'a CStr> {
    // SAFETY: with a null pointer setlocale only asks; its answer is null or a string
    // that stays until the next call of it, and both uses end before that.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }
}

/// Device and inode that standard input, output and error lead to.
fn streams() -> [Option<(u64, u64)>; 3] {
    let identity = |stream: std::os::fd::BorrowedFd<'_>| {
        let status = rustix::fs::fstat(stream).ok()?;
        Some((status.st_dev, status.st_ino))
    };
    [identity(std::io::stdin().as_fd()), identity(std::io::stdout().as_fd()), identity(std::io::stderr().as_fd())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_by_itself() {
        let surroundings = Surroundings::take();
        assert!(!surroundings.environment.is_empty() && surroundings.streams.iter().any(Option::is_some));
        assert!(!surroundings.lost_a_stream());
        assert_eq!(surroundings.locale.as_deref(), locale());
    }
}
