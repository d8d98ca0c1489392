//! Bounds that a forked worker puts on itself, before any code of the model runs:
//! how much it may grow, and that the kernel, when memory is short, ends it
//! rather than the front end.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Added to the score by which the kernel picks what to end when memory is short:
/// as if half of all memory were used besides (proc(5), `oom_score_adj`).
const SCORE_ADDED: i32 = 500;
const LARGEST_SCORE: i32 = 1000;

/// Bounds the memory of this process at what it has now and so many bytes more;
/// 0 for no bound. Allocations beyond fail, which R reports as an error.
///
/// What is bounded is `RLIMIT_DATA`: private memory that can be written to. The
/// whole address space would count files that are mapped and ranges that are
/// only reserved, which says nothing about memory and differs between packages.
///
/// # Errors
/// `/proc` can't be read or the kernel refuses.
pub fn bound_growth(bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let now = data_bytes(&status).ok_or_else(|| io::Error::other("/proc/self/status has no VmData"))?;
    let present = getrlimit(Resource::Data);
    let bound = now.saturating_add(bytes);
    let bound = present.current.map_or(bound, |present| present.min(bound));
    Ok(setrlimit(Resource::Data, Rlimit { current: Some(bound), maximum: present.maximum })?)
}

/// See proc(5), `status`: in kilobytes.
fn data_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Makes this process a better choice than its parent when memory is short.
///
/// # Errors
/// `/proc` can't be read or written.
pub fn volunteer_when_memory_is_short() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let present: i32 = std::fs::read_to_string(FILE)?.trim().parse().map_err(io::Error::other)?;
    std::fs::write(FILE, (present + SCORE_ADDED).min(LARGEST_SCORE).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        assert_eq!(data_bytes("VmSize:\t  9 kB\nVmData:\t    1234 kB\nVmStk:\t 132 kB\n"), Some(1234 * 1024));
        assert_eq!(data_bytes("VmSize: 9 kB\n"), None);
    }
}
