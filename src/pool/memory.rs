//! Memory of worker processes, as the kernel counts it: R's own figures leave
//! out what packages allocate.

/// Resident bytes of a process (proc(5), `statm`, second field); 0 when it is gone.
pub fn resident_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_none_has_not() {
        assert!(resident_bytes(std::process::id()) > 1024 * 1024);
        assert_eq!(resident_bytes(0), 0);
    }
}
