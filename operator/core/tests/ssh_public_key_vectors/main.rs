//! SSH public keys: for each row our verdict, and beside it the verdict of the `ssh-keygen` that is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod laws;
mod ssh_keygen;
mod wire;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey};

use ssh_keygen::KEYS;
use wire::{blob, blob_of, fields, line, line_of, mpint, odd_numbers, times};

/// Made by ssh-keygen of OpenSSH 9.2, which printed the fingerprint; later ones make no such keys.
const DSS: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAOGCOJnwuwCwxHk4OezsxJ9MNmDlRYkv6xdbp6bCQfkIlUTnucnz39XLdsGYJjv79s9kq0eP0jOM7fSbRd3b/+4iZ7nQEp1Z77GHCda0OJGMRl4d3NGa4AeNqmRYqu7gtHUYYv5MsLq+JwipjuCZ0xAHXcd1qgRfZxQUOk90ZV35AAAAFQCXq/czsAVISdEagATm+s3nNppE5QAAAIEAvyR7I4dyCtmpkvPRuatEUJ6CSyUip1oZIqNftEdcTnSplTvbFL/loDXgXHLkUggR7wr6suaQg6+iznziK8M9aWvuSCy6tik/z/MhjQX2DYJD6O+7uL0ni8NRQ4Q2sUagbyeiLR+gJFBdHBm7lzA/J2ukSAlfnh1WpZiZvJ0Oxl4AAACAA6IpIjQftZZC5GMKq7Kb0eEFdbn3DGLazhzrrpfq7+kfKJLd1ly4K0H22A/q0v6b2taqQ0gp1pqEgGS1c092KLwIFb7os52D1scueewkqGinJnryT4vTduK4BZ66a4FPpGCQSVeykjoNe/7I2zeUn6xnNnhhK9f7olUwQr8oHnM= ada@example.com";
const DSS_FINGERPRINT: &str = "SHA256:hKRXeOjITRjmX0P0GBt2zW8UZi5qoFrRwSL1+XqjjbE";

/// What `ssh-keygen -l` says to the same text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SshKeygen {
    Accepts,
    Refuses,
}
use SshKeygen::{Accepts, Refuses};

struct Row {
    what: &'static str,
    text: String,
    ours: Result<SshKeyType, Fault>,
    theirs: SshKeygen,
}

fn row(what: &'static str, text: String, ours: Result<SshKeyType, Fault>, theirs: SshKeygen) -> Row {
    Row {
        what,
        text,
        ours,
        theirs,
    }
}

/// Holds our verdict and theirs against the rows; where both accept, the fingerprints must agree.
fn check(rows: &[Row]) {
    for Row {
        what,
        text,
        ours,
        theirs,
    } in rows
    {
        let read = SshPublicKey::parse(text);
        assert_eq!(
            read.as_ref().map(SshPublicKey::key_type),
            ours.as_ref().copied(),
            "our verdict on {what}"
        );
        let listed = ssh_keygen::fingerprint(text);
        let verdict = if listed.is_some() { Accepts } else { Refuses };
        assert_eq!(verdict, *theirs, "ssh-keygen's verdict on {what}");
        if let (Ok(key), Some(listed)) = (read, listed) {
            assert_eq!(key.fingerprint(), listed, "fingerprint of {what}");
        }
    }
}

fn base64_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap()
}

/// The two numbers of a generated RSA key: exponent and modulus, as `mpint`s.
fn rsa_numbers(line: &str) -> (Vec<u8>, Vec<u8>) {
    let fields = fields(&blob_of(line));
    (fields[1].clone(), fields[2].clone())
}

fn rsa(exponent: &[u8], modulus: &[u8]) -> String {
    line_of("ssh-rsa", &[&mpint(exponent), &mpint(modulus)])
}

#[test]
fn generated_keys_have_the_type_and_fingerprint_that_ssh_keygen_gives() {
    let rows = [
        row(
            "ed25519",
            KEYS.ed25519.line.clone(),
            Ok(SshKeyType::Ed25519),
            Accepts,
        ),
        row(
            "rsa 2048",
            KEYS.rsa2048.line.clone(),
            Ok(SshKeyType::Rsa),
            Accepts,
        ),
        row(
            "rsa 4096",
            KEYS.rsa4096.line.clone(),
            Ok(SshKeyType::Rsa),
            Accepts,
        ),
        row(
            "ecdsa 256",
            KEYS.nistp256.line.clone(),
            Ok(SshKeyType::EcdsaNistP256),
            Accepts,
        ),
        row(
            "ecdsa 384",
            KEYS.nistp384.line.clone(),
            Ok(SshKeyType::EcdsaNistP384),
            Accepts,
        ),
        row(
            "ecdsa 521",
            KEYS.nistp521.line.clone(),
            Ok(SshKeyType::EcdsaNistP521),
            Accepts,
        ),
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
fn dss_is_accepted_with_a_warning_and_its_numbers_are_checked() {
    let theirs = |verdict| if ssh_keygen::knows_dss() { verdict } else { Refuses };
    let numbers = fields(&blob_of(DSS));
    let with = |at: usize, number: &[u8]| {
        let mut numbers = numbers.clone();
        numbers[at] = mpint(number);
        line(
            "ssh-dss",
            &blob(&numbers.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        )
    };
    let even_q = [&numbers[2][..20], &[0xE4]].concat();
    let fault = Err(Fault::DssNumbers);
    check(&[
        row("dss", DSS.to_owned(), Ok(SshKeyType::Dss), theirs(Accepts)),
        row("dss with y = 0", with(4, &[]), fault, theirs(Accepts)),
        row("dss with y = 1", with(4, &[1]), fault, theirs(Accepts)),
        row("dss with y = p", with(4, &numbers[1]), fault, theirs(Accepts)),
        row("dss with g = 1", with(3, &[1]), fault, theirs(Accepts)),
        row("dss with g = p", with(3, &numbers[1]), fault, theirs(Accepts)),
        row("dss with an even q", with(2, &even_q), fault, theirs(Accepts)),
        row(
            "dss with a q of 1024 bits",
            with(2, &numbers[1]),
            fault,
            theirs(Accepts),
        ),
        row(
            "dss with a p of 160 bits",
            with(1, &numbers[2]),
            fault,
            theirs(Accepts),
        ),
        row(
            "dss with a p three times too large",
            with(1, &times(&numbers[1], 3)),
            fault,
            theirs(Accepts),
        ),
    ]);
    let key = SshPublicKey::parse(DSS).unwrap();
    assert_eq!(key.fingerprint(), DSS_FINGERPRINT);
    assert!(key.warning().unwrap().contains("no current OpenSSH accepts it"));
}

#[test]
fn layout_is_as_free_as_ssh_keygen_has_it_but_for_one_plain_line() {
    let base64 = base64_of(&KEYS.ed25519.line);
    let other = KEYS.nistp256.line.trim();
    let plain = format!("ssh-ed25519 {base64}");
    let ok = Ok(SshKeyType::Ed25519);
    check(&[
        row("no comment", plain.clone(), ok, Accepts),
        row(
            "a tab between the parts",
            format!("ssh-ed25519\t{base64}\tada"),
            ok,
            Accepts,
        ),
        row(
            "several blanks between the parts",
            format!("ssh-ed25519 \t  {base64}   ada"),
            ok,
            Accepts,
        ),
        row("blanks around", format!("  \t{plain} ada  "), ok, Accepts),
        row("empty lines around", format!("\n\n{plain} ada\n\n"), ok, Accepts),
        row("a Windows line end", format!("{plain} ada\r\n"), ok, Accepts),
        row(
            "a comment of several words, not ASCII",
            format!("{plain} Adas Schlüssel 🔑"),
            ok,
            Accepts,
        ),
        row(
            "a comment of 1024 bytes",
            format!("{plain} {}", "c".repeat(1024)),
            ok,
            Accepts,
        ),
        row(
            "a comment of 1025 bytes",
            format!("{plain} {}", "c".repeat(1025)),
            Err(Fault::CommentTooLong),
            Accepts,
        ),
        row(
            "a comment of 20 KiB",
            format!("{plain} {}", "c".repeat(20 * 1024)),
            Err(Fault::TooLong),
            Accepts,
        ),
        row(
            "two keys on two lines",
            format!("{plain}\n{other}\n"),
            Err(Fault::ManyLines),
            Accepts,
        ),
        row(
            "two keys, carriage return",
            format!("{plain}\r{other}"),
            Err(Fault::ManyLines),
            Accepts,
        ),
        row(
            "a remark on a line before",
            format!("# mine\n{plain}"),
            Err(Fault::ManyLines),
            Accepts,
        ),
        row(
            "an escape sequence",
            format!("{plain} a\u{1b}[31mb"),
            Err(Fault::HiddenCharacter),
            Accepts,
        ),
        row(
            "a NUL in the comment",
            format!("{plain} a\0b"),
            Err(Fault::HiddenCharacter),
            Accepts,
        ),
        row(
            "a tab in the comment",
            format!("{plain} a\tb"),
            Err(Fault::HiddenCharacter),
            Accepts,
        ),
        row(
            "reversed writing",
            format!("{plain} a\u{202e}b"),
            Err(Fault::HiddenCharacter),
            Accepts,
        ),
        row(
            "a line separator",
            format!("{plain} a\u{2028}b"),
            Err(Fault::HiddenCharacter),
            Accepts,
        ),
        row(
            "a byte order mark",
            format!("\u{feff}{plain}"),
            Err(Fault::HiddenCharacter),
            Refuses,
        ),
        row(
            "an option",
            format!("no-pty {plain}"),
            Err(Fault::Options),
            Accepts,
        ),
        row(
            "a quoted option",
            format!("command=\"echo hi\",no-pty {plain}"),
            Err(Fault::Options),
            Accepts,
        ),
        row(
            "a host, as in known_hosts",
            format!("example.com {plain}"),
            Err(Fault::Options),
            Accepts,
        ),
        row("nothing", String::new(), Err(Fault::Empty), Refuses),
        row("blanks", " \t\r\n".to_owned(), Err(Fault::Empty), Refuses),
        row(
            "something else",
            "hello world".to_owned(),
            Err(Fault::UnknownType),
            Refuses,
        ),
        row(
            "an API key",
            format!("kpk_{}", "a".repeat(49)),
            Err(Fault::UnknownType),
            Refuses,
        ),
        row(
            "a type in capitals",
            format!("SSH-ED25519 {base64}"),
            Err(Fault::UnknownType),
            Refuses,
        ),
    ]);
}

#[test]
fn the_blob_decides_the_type_and_only_listed_types_pass() {
    let ed25519 = blob_of(&KEYS.ed25519.line);
    let point = fields(&ed25519).remove(1);
    let mismatch = |said, is| Err(Fault::TypeMismatch { said, is });
    let sk = "sk-ssh-ed25519@openssh.com";
    let sk_line = line_of(sk, &[&point, b"ssh:"]);
    let cert = "ssh-ed25519-cert-v01@openssh.com";
    check(&[
        row(
            "an Ed25519 key that says RSA",
            line("ssh-rsa", &ed25519),
            mismatch("ssh-rsa", "ssh-ed25519"),
            Refuses,
        ),
        row(
            "a hardware key",
            sk_line.clone(),
            Err(Fault::UnsupportedType(sk)),
            Accepts,
        ),
        row(
            "a hardware key that says Ed25519",
            line("ssh-ed25519", &blob_of(&sk_line)),
            mismatch("ssh-ed25519", sk),
            Refuses,
        ),
        row(
            "a certificate by its text",
            line(cert, &ed25519),
            Err(Fault::UnsupportedType(cert)),
            Refuses,
        ),
        row(
            "a certificate by its blob",
            line("ssh-ed25519", &blob(&[cert.as_bytes(), &point])),
            mismatch("ssh-ed25519", cert),
            Refuses,
        ),
        row(
            "a name of an RSA signature",
            line("rsa-sha2-256", &blob_of(&KEYS.rsa2048.line)),
            Err(Fault::UnsupportedType("rsa-sha2-256")),
            Refuses,
        ),
        row(
            "an unknown type in the blob",
            line("ssh-ed25519", &blob(&[b"ssh-ed25520", &point])),
            Err(Fault::Damaged),
            Refuses,
        ),
        row(
            "a P-256 key that says P-384",
            line("ecdsa-sha2-nistp384", &blob_of(&KEYS.nistp256.line)),
            mismatch("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256"),
            Refuses,
        ),
    ]);
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
    assert!(
        nistp256.len() < base64_of(&KEYS.nistp256.line).len(),
        "a P-256 blob needs padding"
    );
    check(&[
        row("no base64", "ssh-ed25519".to_owned(), Err(Fault::Base64), Refuses),
        row(
            "no base64 but a comment",
            "ssh-ed25519 ada@example.com".to_owned(),
            Err(Fault::Base64),
            Refuses,
        ),
        row(
            "bits that no byte takes up",
            format!("ecdsa-sha2-nistp256 {spare_bits}"),
            Err(Fault::Base64),
            Refuses,
        ),
        row(
            "no padding",
            format!("ecdsa-sha2-nistp256 {nistp256}"),
            Err(Fault::Base64),
            Refuses,
        ),
        row(
            "too much padding",
            format!("ssh-ed25519 {base64}===="),
            Err(Fault::Base64),
            Refuses,
        ),
        row(
            "the other alphabet",
            format!("ssh-ed25519 {}-_", &base64[..base64.len() - 2]),
            Err(Fault::Base64),
            Refuses,
        ),
        row("a blob cut off", cut, Err(Fault::Damaged), Refuses),
        row(
            "a blob cut in two by a blank",
            format!("ssh-ed25519 {} {}", &base64[..40], &base64[40..]),
            Err(Fault::Damaged),
            Refuses,
        ),
        row(
            "an empty blob",
            "ssh-ed25519 ====".to_owned(),
            Err(Fault::Base64),
            Refuses,
        ),
        row(
            "only the type in the blob",
            line_of("ssh-ed25519", &[]),
            Err(Fault::Damaged),
            Refuses,
        ),
        row(
            "a length of 4 GiB",
            line("ssh-rsa", &[&rsa[..11], &[0xFF; 8]].concat()),
            Err(Fault::Damaged),
            Refuses,
        ),
        row("a trailing byte", longer, Err(Fault::TrailingBytes), Refuses),
        row(
            "a trailing number",
            line("ssh-rsa", &[&rsa[..], &[0, 0, 0, 1, 3]].concat()),
            Err(Fault::TrailingBytes),
            Refuses,
        ),
    ]);
}

#[test]
fn rsa_keys_are_measured_in_true_bits_and_weak_numbers_are_refused() {
    let ok = Ok(SshKeyType::Rsa);
    let (e, n) = rsa_numbers(&KEYS.rsa2048.line);
    let even_n = [&n[..n.len() - 1], &[n[n.len() - 1] - 1]].concat();
    let needless_zeros = line_of(
        "ssh-rsa",
        &[&[&[0, 0], &e[..]].concat(), &[&[0, 0, 0], &n[..]].concat()],
    );
    let negative = line_of("ssh-rsa", &[&e, &n[1..]]);
    let sized = |bits| {
        let mut candidates = odd_numbers(bits).map(|number| rsa(&e, &number));
        candidates
            .find(|text| SshPublicKey::parse(text) != Err(Fault::RsaModulus))
            .unwrap()
    };
    let exponent = |number: &[u8]| rsa(number, &n);
    check(&[
        row(
            "1024 bits",
            KEYS.rsa1024.line.clone(),
            Err(Fault::RsaSize(1024)),
            Accepts,
        ),
        row("2047 bits", sized(2047), Err(Fault::RsaSize(2047)), Accepts),
        row(
            "2041 bits in 256 bytes",
            sized(2041),
            Err(Fault::RsaSize(2041)),
            Accepts,
        ),
        row("2048 bits", sized(2048), ok, Accepts),
        row("8192 bits", sized(8192), ok, Accepts),
        row("8193 bits", sized(8193), Err(Fault::RsaSize(8193)), Accepts),
        row(
            "16 bits",
            rsa(&e, &[0xC3, 0xA7]),
            Err(Fault::RsaSize(16)),
            Refuses,
        ),
        row("a modulus of zero", rsa(&e, &[]), Err(Fault::RsaSize(0)), Refuses),
        row(
            "an even modulus",
            rsa(&e, &even_n),
            Err(Fault::RsaModulus),
            Accepts,
        ),
        row(
            "a factor 3",
            rsa(&e, &times(&n, 3)),
            Err(Fault::RsaModulus),
            Accepts,
        ),
        row(
            "a factor 997, the last that is tried",
            rsa(&e, &times(&n, 997)),
            Err(Fault::RsaModulus),
            Accepts,
        ),
        row(
            "a factor 1009, the first that is not",
            rsa(&e, &times(&n, 1009)),
            ok,
            Accepts,
        ),
        row("exponent 0", exponent(&[]), Err(Fault::RsaExponent), Accepts),
        row("exponent 1", exponent(&[1]), Err(Fault::RsaExponent), Accepts),
        row("exponent 2", exponent(&[2]), Err(Fault::RsaExponent), Accepts),
        row("exponent 3", exponent(&[3]), ok, Accepts),
        row(
            "exponent 65536",
            exponent(&[1, 0, 0]),
            Err(Fault::RsaExponent),
            Accepts,
        ),
        row("an exponent of 64 bits", exponent(&[0xFF; 8]), ok, Accepts),
        row(
            "an exponent of 65 bits",
            exponent(&[1, 0, 0, 0, 0, 0, 0, 0, 1]),
            Err(Fault::RsaExponent),
            Accepts,
        ),
        row("a negative modulus", negative, Err(Fault::Damaged), Refuses),
        row("needless zeros", needless_zeros.clone(), ok, Accepts),
    ]);
    let (generated, padded) = (
        SshPublicKey::parse(&KEYS.rsa2048.line),
        SshPublicKey::parse(&needless_zeros),
    );
    assert_eq!(generated, padded, "needless zeros do not make another key");
}

#[test]
fn ecdsa_points_must_be_uncompressed_and_on_their_curve() {
    let curves = [(&KEYS.nistp256, 32), (&KEYS.nistp384, 48), (&KEYS.nistp521, 66)];
    for (key, coordinate) in curves {
        let parts = fields(&blob_of(&key.line));
        let name = std::str::from_utf8(&parts[0]).unwrap();
        let (curve, point) = (&parts[1], &parts[2]);
        assert_eq!(point.len(), 1 + 2 * coordinate);
        let with = |point: &[u8]| line_of(name, &[curve, point]);
        let is_odd = point[point.len() - 1] & 1;
        let compressed = [&[2 + is_odd], &point[1..=coordinate]].concat();
        let hybrid = [&[6 + is_odd], &point[1..]].concat();
        let off_curve = [&point[..point.len() - 1], &[point[point.len() - 1] ^ 2]].concat();
        let origin = [&[4][..], &vec![0; 2 * coordinate]].concat();
        let too_large = [&[4][..], &vec![0xFF; 2 * coordinate]].concat();
        let fault = Err(Fault::EcdsaPoint);
        check(&[
            row("a compressed point", with(&compressed), fault, Refuses),
            row("a hybrid point", with(&hybrid), fault, Refuses),
            row("a point off the curve", with(&off_curve), fault, Refuses),
            row("infinity", with(&[0]), fault, Refuses),
            row("the origin", with(&origin), fault, Refuses),
            row("coordinates above the prime", with(&too_large), fault, Refuses),
            row("a short point", with(&point[..point.len() - 1]), fault, Refuses),
            row("an empty point", with(&[]), fault, Refuses),
            row(
                "another curve's name",
                line_of(name, &[b"nistp255", point]),
                fault,
                Refuses,
            ),
        ]);
    }
}

#[test]
fn ed25519_points_must_be_canonical_and_of_large_order() {
    let fault = Err(Fault::Ed25519Point);
    let with = |point: &[u8]| line_of("ssh-ed25519", &[point]);
    for point in EIGHT_TORSION {
        check(&[row(
            "a point of small order",
            with(point.compress().as_bytes()),
            fault,
            Accepts,
        )]);
    }
    // 2²⁵⁵ - 19 + k for k below 19: the same points as k, written another way, with either sign.
    let mut decodable = 0;
    for low in 0xED..=0xFF_u8 {
        for high in [0x7F, 0xFF] {
            let mut point = [0xFF; 32];
            (point[0], point[31]) = (low, high);
            decodable += usize::from(
                CompressedEdwardsY(point)
                    .decompress()
                    .is_some_and(|p| !p.is_small_order()),
            );
            assert_eq!(
                SshPublicKey::parse(&with(&point)),
                Err(Fault::Ed25519Point),
                "{point:?}"
            );
        }
    }
    assert!(decodable > 4, "without the rule, {decodable} of these would pass");
    let off_curve = (2..=255).map(|y| {
        let mut point = [0; 32];
        point[0] = y;
        point
    });
    let off_curve = off_curve
        .into_iter()
        .find(|point| CompressedEdwardsY(*point).decompress().is_none())
        .unwrap();
    check(&[
        row("a point off the curve", with(&off_curve), fault, Accepts),
        row("31 bytes", with(&[9; 31]), fault, Refuses),
        row("33 bytes", with(&[9; 33]), fault, Refuses),
        row("no bytes", with(&[]), fault, Refuses),
    ]);
}

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
        assert!(
            pieces.into_iter().all(|piece| !told.contains(piece)),
            "the message repeats the text"
        );
    }
}

#[test]
fn a_public_key_in_another_format_is_told_how_to_be_converted() {
    let texts = [
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n",
    ];
    for text in texts {
        let error = SshPublicKey::parse(text).unwrap_err();
        assert_eq!(error, Fault::OtherFormat);
        assert!(error.to_string().contains("ssh-keygen -i"), "{error}");
    }
}
