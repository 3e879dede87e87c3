//! How the line may be laid out.

use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey};

use crate::ssh_keygen::{self, KEYS};
use crate::verdict::{accepted, check, refused, stricter};
use crate::wire::base64_of;

#[test]
fn layout_is_as_free_as_ssh_keygen_has_it() {
    let base64 = base64_of(&KEYS.ed25519.line);
    let plain = format!("ssh-ed25519 {base64}");
    let ok = SshKeyType::Ed25519;
    check(&[
        accepted("no comment", plain.clone(), ok),
        accepted("a tab between the parts", format!("ssh-ed25519\t{base64}\tada"), ok),
        accepted("several blanks between the parts", format!("ssh-ed25519 \t  {base64}   ada"), ok),
        accepted("blanks around", format!("  \t{plain} ada  "), ok),
        accepted("empty lines around", format!("\n\n{plain} ada\n\n"), ok),
        accepted("a Windows line end", format!("{plain} ada\r\n"), ok),
        accepted("a comment of several words, not ASCII", format!("{plain} Adas Schlüssel 🔑"), ok),
        accepted("a comment of 1024 bytes", format!("{plain} {}", "c".repeat(1024)), ok),
        accepted("a comment with joined emoji", format!("{plain} \u{1f469}\u{200d}\u{1f4bb}\u{fe0f}"), ok),
        accepted("a comment that looks like a type", format!("{plain} ssh-rsa"), ok),
        accepted(
            "16 KiB with the blanks around",
            format!("{plain}{}", " ".repeat(16 * 1024 - plain.len())),
            ok,
        ),
    ]);
}

#[test]
fn only_one_plain_line_that_begins_with_a_type_is_accepted() {
    let base64 = base64_of(&KEYS.ed25519.line);
    let plain = format!("ssh-ed25519 {base64}");
    let other = KEYS.nistp256.line.trim();
    check(&[
        stricter("a comment of 1025 bytes", format!("{plain} {}", "c".repeat(1025)), Fault::CommentTooLong),
        stricter("a comment of 20 KiB", format!("{plain} {}", "c".repeat(20 * 1024)), Fault::TooLong),
        stricter(
            "a byte more than 16 KiB",
            format!("{plain}{}", " ".repeat(16 * 1024 + 1 - plain.len())),
            Fault::TooLong,
        ),
        refused(
            "a key wrapped onto two lines",
            format!("{}\n{}", &plain[..50], &plain[50..]),
            Fault::ManyLines,
        ),
        stricter("two keys on two lines", format!("{plain}\n{other}\n"), Fault::ManyLines),
        refused("two keys, carriage return", format!("{plain}\r{other}"), Fault::ManyLines),
        stricter("a remark on a line before", format!("# mine\n{plain}"), Fault::ManyLines),
        stricter("an escape sequence", format!("{plain} a\u{1b}[31mb"), Fault::HiddenCharacter),
        stricter("a vertical tab at the end", format!("{plain} ada\u{b}"), Fault::HiddenCharacter),
        stricter("a form feed at the end", format!("{plain} ada\u{c}"), Fault::HiddenCharacter),
        stricter("a delete", format!("{plain} a\u{7f}b"), Fault::HiddenCharacter),
        stricter("a control character of Latin-1", format!("{plain} a\u{9b}31mb"), Fault::HiddenCharacter),
        stricter("a NUL in the comment", format!("{plain} a\0b"), Fault::HiddenCharacter),
        stricter("a tab in the comment", format!("{plain} a\tb"), Fault::HiddenCharacter),
        stricter("reversed writing", format!("{plain} a\u{202e}b"), Fault::HiddenCharacter),
        stricter("an Arabic letter mark", format!("{plain} a\u{61c}b"), Fault::HiddenCharacter),
        stricter("a soft hyphen", format!("{plain} a\u{ad}b"), Fault::HiddenCharacter),
        stricter("letters as invisible tags", format!("{plain} a\u{e0061}\u{e0062}"), Fault::HiddenCharacter),
        refused("a no-break space before", format!("\u{a0}{plain}"), Fault::HiddenCharacter),
        refused("a no-break space after the type", plain.replace(' ', "\u{a0}"), Fault::HiddenCharacter),
        refused("an ideographic space after the key", format!("{plain}\u{3000}ada"), Fault::HiddenCharacter),
        refused(
            "a zero-width space in the key",
            plain.replace("AAAAC3", "AAAA\u{200b}C3"),
            Fault::HiddenCharacter,
        ),
        stricter("a line separator", format!("{plain} a\u{2028}b"), Fault::HiddenCharacter),
        refused("a byte order mark", format!("\u{feff}{plain}"), Fault::HiddenCharacter),
        stricter("an option", format!("no-pty {plain}"), Fault::Options),
        stricter("a quoted option", format!("command=\"echo hi\",no-pty {plain}"), Fault::Options),
        stricter("an authority", format!("cert-authority,principals=\"ada\" {plain}"), Fault::Options),
        stricter("an option with a key in it", format!("command=\"{plain}\" {plain}"), Fault::Options),
        refused("a marker of known_hosts", format!("@revoked * {plain}"), Fault::Options),
        refused("a remark", format!("# {plain}"), Fault::Options),
        stricter("a host, as in known_hosts", format!("example.com {plain}"), Fault::Options),
        refused("nothing", String::new(), Fault::Empty),
        refused("blanks", " \t\r\n".to_owned(), Fault::Empty),
        refused("something else", "hello world".to_owned(), Fault::UnknownType),
        refused("an API key", format!("kpk_{}", "a".repeat(49)), Fault::UnknownType),
        refused("a type in capitals", format!("SSH-ED25519 {base64}"), Fault::UnknownType),
    ]);
}

#[test]
fn a_public_key_in_another_format_is_told_how_to_be_converted() {
    let texts = [
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEA\n-----END RSA PUBLIC KEY-----\n",
        "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n",
    ];
    for text in texts {
        let error = SshPublicKey::parse(text).unwrap_err();
        assert_eq!(error, Fault::OtherFormat);
        assert!(error.to_string().contains("ssh-keygen -i"), "{error}");
    }
}

#[test]
fn what_was_not_utf8_is_refused_although_json_readers_replace_it() {
    let latin1 = [KEYS.ed25519.line.trim().as_bytes(), b" Schl\xFCssel\n"].concat();
    assert!(ssh_keygen::fingerprint(&latin1).is_some(), "to ssh-keygen a comment is bytes");
    // As the API server's JSON reader does.
    let replaced = String::from_utf8_lossy(&latin1).into_owned();
    check(&[stricter("a comment that was Latin-1", replaced, Fault::NotUtf8)]);
    // What a redirection in PowerShell writes: refused as well when a form reads it byte by byte.
    let utf16: String = KEYS.ed25519.line.trim().chars().flat_map(|c| [c, '\0']).collect();
    check(&[refused("a file in UTF-16", utf16, Fault::HiddenCharacter)]);
}
