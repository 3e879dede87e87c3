//! JSON that holds a secret: it is written into a vector that has room for all of it, since one that grows leaves copies
//! of what it held behind, unwiped.

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

/// The value as JSON, with room for a line end.
///
/// # Errors
/// What the value's own serialization says.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    // How much there is depends on what must be escaped: so it is written twice, at first to nowhere.
    let mut len = Len(1);
    serde_json::to_writer(&mut len, value)?;
    let mut json = Zeroizing::new(Vec::with_capacity(len.0));
    serde_json::to_writer(&mut *json, value)?;
    Ok(json)
}

/// Counts bytes.
struct Len(usize);

impl Write for Len {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::to_vec;

    proptest! {
        #[test]
        fn the_vector_has_never_grown_whatever_is_escaped(
            token in "[!-~]{0,3000}|[\"\\\\]{0,300}|\\PC{0,40}",
            count in any::<u64>(),
        ) {
            let value = serde_json::json!({"token": token, "count": count});
            let mut json = to_vec(&value).unwrap();
            prop_assert_eq!(&*json, &serde_json::to_vec(&value).unwrap());
            json.push(b'\n');
            prop_assert_eq!(json.len(), json.capacity());
        }
    }
}
