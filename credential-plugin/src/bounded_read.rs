//! Reading what may be a secret: a vector that grows leaves copies of what it held behind, unwiped. So there is room for
//! all of it from the beginning.

use std::io::{self, Read};
use std::mem;

use zeroize::Zeroizing;

/// Reads to the end, at most `limit` bytes, what `probably` has this length. Where there is more, since a file grew or is
/// a pipe, the rest gets room for as much as may come.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::InvalidData`] for more than `limit` bytes.
pub fn read(mut input: impl Read, probably: u64, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // One more than there is, to see that it is the end.
    let room = |len: u64| usize::try_from(len.min(limit).saturating_add(1)).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room(probably)));
    fill(&mut input, &mut bytes)?;
    if bytes.len() == bytes.capacity() && bytes.len() < room(limit) {
        let begun = mem::replace(&mut bytes, Zeroizing::new(Vec::with_capacity(room(limit))));
        bytes.extend_from_slice(&begun);
        fill(&mut input, &mut bytes)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= limit) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("it holds more than {limit} bytes")))
    }
}

/// Reads to the end, or until the vector has no room left.
fn fill(input: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut filled = bytes.len();
    bytes.resize(bytes.capacity(), 0);
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use proptest::prelude::*;

    use super::read;

    /// Gives a few bytes at a time, and is interrupted in between.
    struct Dripping<'a> {
        left: &'a [u8],
        at_once: usize,
        interrupted: bool,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let room_len = room.len();
            self.left.read(&mut room[..self.at_once.min(room_len)])
        }
    }

    proptest! {
        #[test]
        fn all_of_it_is_read_whatever_was_said_of_its_length(
            content in proptest::collection::vec(any::<u8>(), 0..300),
            probably in prop_oneof![0..400_u64, Just(u64::MAX)],
            limit in 0..400_u64,
            at_once in 1..40_usize,
        ) {
            let input = Dripping { left: &content, at_once, interrupted: false };
            let found = read(input, probably, limit);
            if content.len() as u64 <= limit {
                let found = found.unwrap();
                prop_assert_eq!(&*found, &content);
                // It has never grown: a vector of bytes gets exactly the room that it is made with.
                let room = [probably.min(limit) + 1, limit + 1].map(|room| usize::try_from(room).unwrap());
                prop_assert!(room.contains(&found.capacity()), "{} of {:?}", found.capacity(), room);
            } else {
                prop_assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData);
            }
        }
    }

    #[test]
    fn a_length_that_is_true_needs_no_second_vector() {
        let bytes = read(&[7_u8; 100][..], 100, 4096).unwrap();
        assert_eq!((bytes.len(), bytes.capacity()), (100, 101));
    }
}
