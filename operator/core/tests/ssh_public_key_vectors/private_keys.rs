//! Private keys that are pasted by mistake.

use keyplane_core::ssh_public_key::SshPublicKey;
use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;

use crate::ssh_keygen::{self, KEYS};

#[test]
fn a_private_key_is_refused_by_name_and_never_repeated() {
    let openssh = &KEYS.ed25519.private;
    let body: String = openssh.lines().filter(|line| !line.starts_with('-')).collect();
    let pem = ssh_keygen::generate(&["-t", "rsa", "-b", "2048", "-m", "PEM"]).private;
    let pkcs8 = ssh_keygen::generate(&["-t", "ecdsa", "-m", "PKCS8"]).private;
    let texts = [
        openssh.clone(),
        pem,
        pkcs8,
        openssh.replace('\n', " "),
        openssh.replace('\n', "\r\n"),
        body.clone(),
        format!("ssh-ed25519 {body}"),
        format!("{}{openssh}", KEYS.ed25519.line),
        format!("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n{body}"),
        format!("AGE-SECRET-KEY-1{}", "Q".repeat(58)),
    ];
    for text in texts {
        let error = SshPublicKey::parse(&text).unwrap_err();
        assert_eq!(error, Fault::PrivateKey);
        let told = format!("{error} {error:?}");
        assert!(told.contains("this is a private key"), "{told}");
        let pieces = text.split_whitespace().filter(|piece| piece.len() >= 16);
        assert!(pieces.into_iter().all(|piece| !told.contains(piece)), "the message repeats the text");
    }
}
