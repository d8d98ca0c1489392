//! Descriptors: every connection takes one, and systems give a process few
//! unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but callers' connections: files, workers' sockets
/// and output, the operator.
const RESERVE: u64 = 512;

/// Asks for as many descriptors as the system allows; gives the number of
/// connections that there is room for, at most as many as are wanted.
pub(super) fn make_room(wanted: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        // Some systems refuse numbers that they announce themselves.
        Err(_) => limits.current,
    };
    let room = room(limit, wanted);
    if room < wanted {
        tracing::warn!(
            "server.max_connections is {wanted}, and this process may have {} descriptors: {room} connections are \
             accepted at once; raise the limit (ulimit -Hn, LimitNOFILE)",
            limit.unwrap_or_default()
        );
    }
    room
}

fn room(limit: Option<u64>, wanted: usize) -> usize {
    let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVE).max(limit / 2).max(1));
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(room(None, 10_000), 10_000);
        assert_eq!(room(Some(20_000), 10_000), 10_000);
        assert_eq!(room(Some(4_096), 10_000), 4_096 - 512);
        assert_eq!(room(Some(100), 10_000), 50);
    }
}
