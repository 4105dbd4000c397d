//! How many files a node may have open: each client connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stage::io::{CLIENTS_MAX, PEER_CONNECTIONS_MAX};

/// Raises the soft limit of this process to what a node may need, or as near to that as the hard limit lets it.
///
/// Gives sentences for the log: what was changed, and whether it is still too low, with what to do; none where it was
/// high enough before.
pub fn raise_limit() -> Vec<String> {
    let mut said = Vec::new();
    let before = getrlimit(Resource::Nofile);
    if let (Some(wanted), Some(soft)) = (wanted(before), before.current) {
        let after = Rlimit {
            current: Some(wanted),
            maximum: before.maximum,
        };
        said.push(match setrlimit(Resource::Nofile, after) {
            Ok(()) => format!("limit on open files raised from {soft} to {wanted}"),
            Err(error) => format!("the limit on open files stays at {soft}: {error}"),
        });
    }
    if let Some(soft) = getrlimit(Resource::Nofile).current
        && soft < FILES_WANTED
    {
        said.push(format!(
            "warning: only {soft} files may be open, and {CLIENTS_MAX} clients need {FILES_WANTED}: raise the hard limit \
             (ulimit -Hn, or LimitNOFILE of the service)"
        ));
    }
    said
}

/// The soft limit to set; `None` where it is high enough or cannot be raised.
fn wanted(limit: Rlimit) -> Option<u64> {
    let soft = limit.current?;
    let wanted = FILES_WANTED.min(limit.maximum.unwrap_or(u64::MAX));
    (wanted > soft).then_some(wanted)
}

/// Journal, sockets of other stages, and room for what is opened for a moment.
const OTHER_FILES: u64 = 256;
/// Files of a node that has as many connections as it takes.
const FILES_WANTED: u64 = CLIENTS_MAX as u64 + PEER_CONNECTIONS_MAX as u64 + OTHER_FILES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_what_is_needed_and_never_lowered() {
        let with = |current, maximum| wanted(Rlimit { current, maximum });
        assert_eq!(with(Some(1024), None), Some(FILES_WANTED));
        assert_eq!(with(Some(1024), Some(1 << 20)), Some(FILES_WANTED));
        assert_eq!(with(Some(1024), Some(4096)), Some(4096));
        assert_eq!(with(Some(4096), Some(4096)), None);
        assert_eq!(with(Some(1 << 20), Some(1 << 20)), None);
        assert_eq!(with(None, None), None);
    }
}
