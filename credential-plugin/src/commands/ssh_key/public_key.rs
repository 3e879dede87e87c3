//! An SSH public key as it stands in a `.pub` file. Whether it is a good one is Keyplane's to say; what is plainly none is
//! refused here, a private key above all: it never leaves this machine.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use keyplane_core::ssh_private_key::is_private_key;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::verbose;

/// Bytes of a public key: as much as admission takes.
const PUBLIC_KEY_MAX: usize = 16 * 1024;
/// What `ssh-keygen` writes, in the order of `ssh`.
const FILES: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];
/// With what the name of a type begins.
const TYPES: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];
/// Characters of a name that is taken from a comment.
const NAME_MAX: usize = 63;
/// Hexadecimal digits of the digest that name a key without a comment.
const NAME_DIGITS: usize = 10;

/// One line: type, base64 and perhaps a comment.
pub(super) struct PublicKey(String);

impl PublicKey {
    /// The line as it was given.
    pub(super) fn line(&self) -> &str {
        &self.0
    }

    /// A name: the comment in letters that a name may have, or else made from the key itself.
    pub(super) fn default_name(&self) -> String {
        let comment = self.0.split_whitespace().nth(2).unwrap_or_default().to_ascii_lowercase();
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let words: Vec<&str> = comment.split(|c| !is_letter(c)).filter(|word| !word.is_empty()).collect();
        let name: String = words.join("-").chars().take(NAME_MAX).collect();
        let name = name.trim_end_matches('-');
        if !name.is_empty() {
            return name.to_owned();
        }
        let digits: String = format!("{:x}", base16ct::HexDisplay(&Sha256::digest(self.0.as_bytes())));
        format!("ssh-key-{}", digits.get(..NAME_DIGITS).unwrap_or(&digits))
    }
}

/// Reads the public key in the file, on standard input for `-`, or else the user's own.
///
/// # Errors
/// [`FailureKind::File`] when it cannot be read, [`FailureKind::Usage`] when it is plainly no public key. No error repeats
/// a part of it.
pub(super) fn read(file: Option<&Path>) -> Result<PublicKey, Failure> {
    let (bytes, place) = match file {
        Some(path) if path == Path::new("-") => (bounded(io::stdin().lock()), "standard input".to_owned()),
        Some(path) => (File::open(path).and_then(bounded), path.display().to_string()),
        None => {
            let path = own()?;
            (File::open(&path).and_then(bounded), path.display().to_string())
        }
    };
    verbose::note(format_args!("reading the public key from {place}"));
    let bytes = bytes.map_err(|error| {
        Failure::new(
            FailureKind::File,
            format!("the public key cannot be read: {error}"),
            &place,
            "give the file that ends in .pub",
        )
    })?;
    check(&bytes, &place)
}

fn check(bytes: &[u8], place: &str) -> Result<PublicKey, Failure> {
    let refused = |what: &str, remedy: &str| Err(Failure::new(FailureKind::Usage, what, place, remedy));
    if is_private_key(&String::from_utf8_lossy(bytes)) {
        return refused(
            "this is a private key, and was sent nowhere",
            "give the file that ends in .pub, and a private key to nobody",
        );
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    if bytes.len() > PUBLIC_KEY_MAX || text.contains(char::is_control) {
        return refused("a public key is one line of text", "give a file that holds one public key alone");
    }
    if !TYPES.iter().any(|start| text.starts_with(start)) {
        return refused(
            "this is no public key of OpenSSH",
            "give the file that ends in .pub; its line begins with a type such as ssh-ed25519",
        );
    }
    Ok(PublicKey(text.to_owned()))
}

fn bounded(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = u64::try_from(PUBLIC_KEY_MAX).unwrap_or(u64::MAX);
    let mut bytes = Zeroizing::new(Vec::new());
    // More than the limit, so that a longer one is refused and not cut.
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn own() -> Result<PathBuf, Failure> {
    let folder = env::home_dir().unwrap_or_default().join(".ssh");
    FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(
            FailureKind::File,
            format!("there is no public key: none of {}", FILES.join(", ")),
            folder.display().to_string(),
            "make one with ssh-keygen -t ed25519, or give the file that ends in .pub",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument_values::ssh_key_name;
    use proptest::prelude::*;

    #[test]
    fn a_private_key_and_what_is_no_public_key_are_refused_and_not_repeated() {
        for text in [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n",
            "b3BlbnNzaC1rZXktdjEAAAAA",
            "ssh-ed25519 AAAA\nssh-ed25519 BBBB",
            "AAAAC3NzaC1lZDI1NTE5",
            "",
            "\u{0}",
        ] {
            let failure = check(text.as_bytes(), "key").err().unwrap();
            assert_eq!(failure.kind(), FailureKind::Usage);
            assert!(text.is_empty() || !failure.to_string().contains("AAAA"), "{failure}");
        }
        assert!(check(&[0xff; 8], "key").is_err());
        assert!(check(format!("ssh-rsa {}", "A".repeat(PUBLIC_KEY_MAX)).as_bytes(), "key").is_err());
        assert_eq!(check(b" ssh-ed25519 AAAA me\r\n", "key").ok().unwrap().line(), "ssh-ed25519 AAAA me");
    }

    #[test]
    fn a_name_is_made_of_the_comment() {
        let name = |line: &str| PublicKey(line.to_owned()).default_name();
        assert_eq!(name("ssh-ed25519 AAAA Ada@Laptop.example"), "ada-laptop-example");
        assert!(name("ssh-ed25519 AAAA").starts_with("ssh-key-"));
        assert_ne!(name("ssh-ed25519 AAAA"), name("ssh-ed25519 BBBB"));
    }

    proptest! {
        #[test]
        fn a_name_that_is_made_can_be_a_name(comment in "\\PC{0,100}") {
            let name = PublicKey(format!("ssh-ed25519 AAAA {comment}")).default_name();
            prop_assert!(ssh_key_name(&name).is_ok(), "{}", name);
        }
    }
}
