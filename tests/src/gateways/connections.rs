//! The connections of a port of this machine, as the kernel lists them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

/// `LISTEN`, of the states in the kernel's `include/net/tcp_states.h`.
const LISTENING: &str = "0A";

/// The ports that connections to this port of the loopback address come from. Those that were closed within the last
/// minute are among them: the kernel remembers them for so long (`TIME_WAIT`).
///
/// # Errors
/// When the kernel's list cannot be read.
pub fn peers_of(port: u16) -> Result<BTreeSet<u16>> {
    let list = std::fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    Ok(peers_in(&list, port))
}

/// Both ends of a connection are in the list, and only one of them remains when it was closed.
fn peers_in(list: &str, port: u16) -> BTreeSet<u16> {
    let connection = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let mut port = || u16::from_str_radix(columns.next()?.rsplit_once(':')?.1, 16).ok();
        let ends = (port()?, port()?);
        (columns.next()? != LISTENING).then_some(ends)
    };
    list.lines()
        .skip(1)
        .filter_map(connection)
        .filter_map(|ends| match ends {
            (local, remote) if local == port => Some(remote),
            (local, remote) if remote == port => Some(local),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_one_and_a_closed_one_counts() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
                    \x20  0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000\n\
                    \x20  1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000\n\
                    \x20  2: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000\n\
                    \x20  3: 0100007F:1F91 0100007F:C351 06 00000000:00000000 03:00000d4c\n\
                    \x20  4: 0100007F:C352 0100007F:0050 01 00000000:00000000 00:00000000\n";
        assert_eq!(peers_in(list, 8081), [50000, 50001].into());
    }
}
