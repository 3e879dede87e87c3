//! The type, the base64 and the frame of the blob in it.

use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey};

use crate::ssh_keygen::{self, KEYS};
use crate::verdict::{Row, accepted, check, refused, stricter};
use crate::wire::{base64_of, blob, blob_of, fields, line, line_of};

#[test]
fn generated_keys_have_the_type_and_fingerprint_that_ssh_keygen_gives() {
    let rows = [
        accepted("ed25519", KEYS.ed25519.line.clone(), SshKeyType::Ed25519),
        accepted("rsa 2048", KEYS.rsa2048.line.clone(), SshKeyType::Rsa),
        accepted("rsa 4096", KEYS.rsa4096.line.clone(), SshKeyType::Rsa),
        accepted("ecdsa 256", KEYS.nistp256.line.clone(), SshKeyType::EcdsaNistP256),
        accepted("ecdsa 384", KEYS.nistp384.line.clone(), SshKeyType::EcdsaNistP384),
        accepted("ecdsa 521", KEYS.nistp521.line.clone(), SshKeyType::EcdsaNistP521),
    ];
    check(&rows);
    for Row { text, .. } in &rows {
        let key = SshPublicKey::parse(text).unwrap();
        assert_eq!(format!("{} ada@example.com\n", key.canonical()), *text);
        assert_eq!(key.comment(), Some("ada@example.com"));
        assert_eq!(key.blob(), blob_of(text));
        assert_eq!(key.warning(), None);
    }
}

#[test]
fn the_blob_decides_the_type_and_only_listed_types_pass() {
    let ed25519 = blob_of(&KEYS.ed25519.line);
    let point = fields(&ed25519).remove(1);
    let mismatch = |said, is| Fault::TypeMismatch { said, is };
    let sk = "sk-ssh-ed25519@openssh.com";
    let sk_line = line_of(sk, &[&point, b"ssh:"]);
    let sk_ecdsa = "sk-ecdsa-sha2-nistp256@openssh.com";
    let nistp256 = fields(&blob_of(&KEYS.nistp256.line));
    let sk_ecdsa_line = line_of(sk_ecdsa, &[&nistp256[1], &nistp256[2], b"ssh:"]);
    let cert = "ssh-ed25519-cert-v01@openssh.com";
    let certificate = ssh_keygen::certificate(&KEYS.ed25519.line);
    check(&[
        refused(
            "an Ed25519 key that says RSA",
            line("ssh-rsa", &ed25519),
            mismatch("ssh-rsa", "ssh-ed25519"),
        ),
        stricter("a hardware key", sk_line.clone(), Fault::HardwareKey(sk)),
        stricter("a hardware key of P-256", sk_ecdsa_line, Fault::HardwareKey(sk_ecdsa)),
        refused(
            "a hardware key that says Ed25519",
            line("ssh-ed25519", &blob_of(&sk_line)),
            mismatch("ssh-ed25519", sk),
        ),
        refused("a certificate by its text", line(cert, &ed25519), Fault::Certificate(cert)),
        stricter("a certificate", certificate.clone(), Fault::Certificate(cert)),
        refused(
            "a certificate that says it is a key",
            certificate.replacen(cert, "ssh-ed25519", 1),
            mismatch("ssh-ed25519", cert),
        ),
        refused(
            "a certificate by its blob",
            line("ssh-ed25519", &blob(&[cert.as_bytes(), &point])),
            mismatch("ssh-ed25519", cert),
        ),
        stricter(
            "a name of an RSA signature",
            line("rsa-sha2-256", &blob_of(&KEYS.rsa2048.line)),
            Fault::SignatureName("rsa-sha2-256"),
        ),
        refused(
            "a type of no OpenSSH",
            line_of("ssh-ed448", &[&[9; 57]]),
            Fault::UnsupportedType("ssh-ed448"),
        ),
        refused(
            "an unknown type in the blob",
            line("ssh-ed25519", &blob(&[b"ssh-ed25520", &point])),
            Fault::Damaged,
        ),
        refused(
            "a P-256 key that says P-384",
            line("ecdsa-sha2-nistp384", &blob_of(&KEYS.nistp256.line)),
            mismatch("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256"),
        ),
    ]);
}

#[test]
fn a_refused_type_is_told_why_and_what_to_paste() {
    let told = |name: &str| SshPublicKey::parse(&format!("{name} AAAA")).unwrap_err().to_string();
    let cases = [
        ("sk-ssh-ed25519@openssh.com", "is a key of a hardware token", "ssh-keygen -t ed25519"),
        ("sk-ssh-ed25519-cert-v01@openssh.com", "is a certificate, not a key", "no -cert in its name"),
        ("ssh-rsa-cert-v01@openssh.com", "is a certificate, not a key", "no -cert in its name"),
        ("rsa-sha2-512", "is a way to sign", "such as ssh-rsa"),
        ("ssh-xmss@openssh.com", "are not accepted: only ssh-ed25519,", "ssh-keygen -t ed25519"),
    ];
    for (name, why, advice) in cases {
        let told = told(name);
        assert!(told.contains(name) && told.contains(why) && told.contains(advice), "{told}");
    }
}

#[test]
fn base64_and_blob_must_be_whole_and_nothing_more() {
    let mut blob = blob_of(&KEYS.ed25519.line);
    let rsa = blob_of(&KEYS.rsa2048.line);
    let base64 = base64_of(&KEYS.ed25519.line).to_owned();
    let cut = line("ssh-ed25519", &blob[..blob.len() - 1]);
    blob.push(0);
    let longer = line("ssh-ed25519", &blob);
    let nistp256 = base64_of(&KEYS.nistp256.line).trim_end_matches('=').to_owned();
    // The last character of such base64 carries 2 or 4 bits that belong to no byte, and are zero.
    let (whole, last) = nistp256.split_at(nistp256.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let spare_bits = base64_of(&KEYS.nistp256.line).replace(&nistp256, &format!("{whole}{next}"));
    assert!(nistp256.len() < base64_of(&KEYS.nistp256.line).len(), "a P-256 blob needs padding");
    check(&[
        refused("no base64", "ssh-ed25519".to_owned(), Fault::Base64),
        refused("no base64 but a comment", "ssh-ed25519 ada@example.com".to_owned(), Fault::Base64),
        refused("bits that no byte takes up", format!("ecdsa-sha2-nistp256 {spare_bits}"), Fault::Base64),
        refused("no padding", format!("ecdsa-sha2-nistp256 {nistp256}"), Fault::Base64),
        refused("too much padding", format!("ssh-ed25519 {base64}===="), Fault::Base64),
        refused(
            "the other alphabet",
            format!("ssh-ed25519 {}-_", &base64[..base64.len() - 2]),
            Fault::Base64,
        ),
        refused("a blob cut off", cut, Fault::Damaged),
        refused(
            "a blob cut in two by a blank",
            format!("ssh-ed25519 {} {}", &base64[..40], &base64[40..]),
            Fault::Damaged,
        ),
        refused("an empty blob", "ssh-ed25519 ====".to_owned(), Fault::Base64),
        refused(
            "padding in the middle",
            format!("ssh-ed25519 {}=={}", &base64[..38], &base64[40..]),
            Fault::Base64,
        ),
        refused("a quote around the base64", format!("ssh-ed25519 \"{base64}\""), Fault::Base64),
        refused("only the type in the blob", line_of("ssh-ed25519", &[]), Fault::Damaged),
        refused("a length of 4 GiB", line("ssh-rsa", &[&rsa[..11], &[0xFF; 8]].concat()), Fault::Damaged),
        refused("a trailing byte", longer, Fault::TrailingBytes),
        refused(
            "a trailing number",
            line("ssh-rsa", &[&rsa[..], &[0, 0, 0, 1, 3]].concat()),
            Fault::TrailingBytes,
        ),
    ]);
}
