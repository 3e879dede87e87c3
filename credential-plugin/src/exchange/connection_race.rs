//! Which of an exchange's addresses is connected to: whichever answers first, in a fair order ("happy eyeballs").

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long one address may take before the next one is tried as well (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses with the two families in turns, the first one's first (RFC 8305, section 4).
#[must_use]
pub fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv6() == preferred);
    let mut second = second.into_iter();
    let mut turns: Vec<_> =
        first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    turns.extend(second);
    turns
}

/// A connection to whichever address takes it first. Each has a short time alone before the next is tried as well; one
/// that refuses gives way at once.
///
/// # Errors
/// The last one's when all refuse, and [`io::ErrorKind::TimedOut`] after the `limit`.
pub fn first_to_connect<C: Send + 'static>(
    addresses: &[SocketAddr],
    limit: Duration,
    connect: fn(&SocketAddr, Duration) -> io::Result<C>,
) -> io::Result<C> {
    let until = Instant::now() + limit;
    let mut addresses = addresses.iter().copied().peekable();
    let (sender, outcomes) = mpsc::channel();
    let mut under_way = 0_usize;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match addresses.next() {
            // Nothing to race with: no thread is needed.
            Some(address) if under_way == 0 && addresses.peek().is_none() => return connect(&address, left),
            Some(address) => {
                let sender = sender.clone();
                // Nobody waits for who comes too late.
                thread::spawn(move || sender.send(connect(&address, left)));
                under_way += 1;
            }
            None if under_way == 0 => return Err(last),
            None => {}
        }
        let pause = if addresses.peek().is_some() { left.min(HEAD_START) } else { left };
        match outcomes.recv_timeout(pause) {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => {
                under_way -= 1;
                last = error;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{first_to_connect, in_turns};
    use std::io::{self, ErrorKind};
    use std::net::SocketAddr;
    use std::thread;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_mins(1);
    const OPEN: &str = "[::1]:1";
    const SILENT: &str = "192.0.2.1:2";
    const CLOSED: &str = "192.0.2.1:3";

    fn read(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// Gives the address that was reached.
    fn connect(address: &SocketAddr, limit: Duration) -> io::Result<SocketAddr> {
        match address.port() {
            1 => Ok(*address),
            2 => {
                thread::sleep(limit);
                Err(ErrorKind::TimedOut.into())
            }
            _ => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    #[test]
    fn an_address_that_answers_is_reached_past_silent_and_closed_ones() {
        for list in
            [vec![OPEN], vec![SILENT, OPEN], vec![CLOSED, OPEN], vec![SILENT, CLOSED, SILENT, OPEN, CLOSED]]
        {
            let began = Instant::now();
            let reached = first_to_connect(&read(&list), LIMIT, connect).unwrap();
            assert_eq!(reached.to_string(), OPEN);
            assert!(began.elapsed() < LIMIT / 4, "{list:?}: {:?}", began.elapsed());
        }
    }

    #[test]
    fn where_all_refuse_it_ends_at_once_and_where_one_is_silent_in_time() {
        let began = Instant::now();
        let error = first_to_connect(&read(&[CLOSED, CLOSED]), LIMIT, connect).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        for list in [vec![SILENT], vec![SILENT, SILENT], vec![CLOSED, SILENT, CLOSED], vec![]] {
            let error = first_to_connect(&read(&list), Duration::from_millis(400), connect).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{list:?}");
        }
        assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    }

    #[test]
    fn the_families_take_turns_and_none_is_lost() {
        let six = ["[::1]:1", "[::2]:1", "[::3]:1"];
        let four = ["192.0.2.1:1", "192.0.2.2:1"];
        for (given, turns) in [
            (vec![six[0], six[1], six[2], four[0], four[1]], vec![six[0], four[0], six[1], four[1], six[2]]),
            (vec![four[0], six[0], six[1], six[2]], vec![four[0], six[0], six[1], six[2]]),
            (vec![four[1], four[0]], vec![four[1], four[0]]),
            (vec![], vec![]),
        ] {
            assert_eq!(in_turns(&read(&given)), read(&turns));
        }
    }
}
