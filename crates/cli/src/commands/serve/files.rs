//! How many files the server may have open. A shell gives 1024, and with those all taken by idle
//! clients nobody else would be let in.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use conex_server::Config;

/// A connection is a file, and so is the content that moves over it.
const EACH: u64 = 2;
/// For all else: the folder, its locks, the log, connections to a bucket.
const OWN: u64 = 256;

/// Lets this process open as many files as its connections need, and where the system allows
/// fewer, lets the connections be fewer: others wait.
pub fn allow(config: &mut Config) {
    let connections = &mut config.limits.connections;
    let wanted = u64::try_from(*connections).unwrap_or(u64::MAX).saturating_mul(EACH) + OWN;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current else { return };
    let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum)).max(current);
    let limit = Rlimit { current: Some(raised), maximum };
    let allowed = setrlimit(Resource::Nofile, limit).map_or(current, |()| raised);
    *connections = room(allowed).min(*connections);
}

/// For how many connections there is room.
fn room(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN) / EACH).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shared_out() {
        assert_eq!([room(0), room(256), room(1024), room(20_000)], [1, 1, 384, 9872]);
    }

    #[test]
    fn no_more_connections_than_asked_for() {
        let mut config = Config::new("registry", ([127, 0, 0, 1], 0).into());
        config.limits.connections = 3;
        allow(&mut config);
        assert_eq!(config.limits.connections, 3);
    }
}
