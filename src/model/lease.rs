//! A hold on the folder of a version, kept by whoever loads or serves what lies
//! in it. The mirror of a store removes only folders that nobody holds. It is a
//! lock of the system, so that processes see each other's, and none outlives its
//! process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

/// The folder is held while this or a clone of it lives.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    _folder: Arc<File>,
}

impl Lease {
    /// Holds a folder, together with others.
    ///
    /// # Errors
    /// It is no folder, can't be read, or is about to be removed.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let opened = open_folder(folder)?;
        match flock(&opened, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Err(io::Error::other("the folder is being removed")),
            // Some file systems have no locks; no mirror removes anything there.
            Ok(()) | Err(_) => Ok(Self { _folder: Arc::new(opened) }),
        }
    }
}

/// Holds a folder that nobody else holds, to remove it.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] while somebody does; it is no folder, or its file
/// system has no locks.
pub(super) fn take_alone(folder: &Path) -> io::Result<File> {
    let opened = open_folder(folder)?;
    flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    Ok(opened)
}

fn open_folder(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(open(folder, flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn many_may_hold_a_folder_and_the_last_one_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Lease::take(folder.path()).unwrap(), Lease::take(folder.path()).unwrap());
        let copy = one.clone();
        let held = || take_alone(folder.path()).unwrap_err().kind();
        assert_eq!(held(), io::ErrorKind::WouldBlock);
        drop((one, other));
        assert_eq!(held(), io::ErrorKind::WouldBlock, "a clone holds it too");
        drop(copy);
        let alone = take_alone(folder.path()).unwrap();
        let late = Lease::take(folder.path()).unwrap_err();
        assert!(late.to_string().contains("being removed"), "{late}");
        drop(alone);
        Lease::take(folder.path()).unwrap();
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.rds");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(Lease::take(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
