//! Private keys that are pasted by mistake.

use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;

use crate::ssh_keygen::{self, KEYS};
use crate::verdict::{check, refused, stricter};

/// A private key without its first and last line, as one word.
fn body(private: &str) -> String {
    private.lines().filter(|line| !line.starts_with('-') && !line.contains(':')).collect()
}

#[test]
fn a_private_key_that_ssh_keygen_made_is_refused_by_name_and_never_repeated() {
    let made = |arguments: &[&str]| ssh_keygen::generate(arguments).private;
    let openssh = &KEYS.ed25519.private;
    let rsa = made(&["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let ec = made(&["-t", "ecdsa", "-b", "256", "-m", "PEM"]);
    let pkcs8 = made(&["-t", "ecdsa", "-b", "256", "-m", "PKCS8"]);
    let fault = Fault::PrivateKey;
    check(&[
        stricter("OpenSSH", openssh.clone(), fault),
        stricter("OpenSSH, encrypted", made(&["-t", "ed25519", "-N", "correct horse"]), fault),
        stricter("OpenSSH, RSA", KEYS.rsa2048.private.clone(), fault),
        stricter("PEM, RSA", rsa.clone(), fault),
        stricter("PEM, EC", ec.clone(), fault),
        refused("PEM, encrypted", made(&["-t", "rsa", "-m", "PEM", "-N", "correct horse"]), fault),
        stricter("PKCS #8", pkcs8.clone(), fault),
        refused("PKCS #8, encrypted", made(&["-t", "rsa", "-m", "PKCS8", "-N", "correct horse"]), fault),
        refused("with Windows line ends", openssh.replace('\n', "\r\n"), fault),
        refused("on one line", openssh.replace('\n', " "), fault),
        refused("as JSON writes it", openssh.replace('\n', "\\n"), fault),
        refused("indented", openssh.replace('\n', "\n    "), fault),
        stricter("behind its public key", format!("{}{openssh}", KEYS.ed25519.line), fault),
        refused("behind much else", format!("{}{openssh}", "# mine\n".repeat(5000)), fault),
        refused("OpenSSH without its frame", body(openssh), fault),
        refused("OpenSSH without its frame, behind a type", format!("ssh-ed25519 {}", body(openssh)), fault),
        refused("RSA without its frame", body(&rsa), fault),
        refused("RSA without its frame, behind a type", format!("ssh-rsa {} ada", body(&rsa)), fault),
        refused("EC without its frame", body(&ec), fault),
        refused("PKCS #8 without its frame", body(&pkcs8), fault),
    ]);
}

#[test]
fn a_private_key_of_another_program_is_refused_by_name_and_never_repeated() {
    // Nobody's keys: what is looked at stands around the secret, not in it.
    let secret = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo".repeat(2);
    let framed = |name: &str| format!("-----BEGIN {name}-----\n{secret}\n-----END {name}-----\n");
    let putty = |version: u8| {
        format!(
            "PuTTY-User-Key-File-{version}: ssh-ed25519\r\nEncryption: none\r\nComment: ada\r\nPublic-Lines: 2\r\n\
             {}\r\nPrivate-Lines: 1\r\n{secret}\r\nPrivate-MAC: {secret}\r\n",
            "AAAAC3NzaC1lZDI1NTE5AAAAI"
        )
    };
    let whole = putty(3);
    let (_, putty_tail) = whole.split_at(whole.find("Private-Lines").unwrap());
    let fault = Fault::PrivateKey;
    check(&[
        refused("DSA", framed("DSA PRIVATE KEY"), fault),
        refused("any algorithm", framed("ANY PRIVATE KEY"), fault),
        refused("PGP", framed("PGP PRIVATE KEY BLOCK"), fault),
        refused("ssh.com", framed("SSH2 ENCRYPTED PRIVATE KEY"), fault),
        refused("SSH 1", format!("SSH PRIVATE KEY FILE FORMAT 1.1\n{secret}"), fault),
        refused("PuTTY 2", putty(2), fault),
        refused("PuTTY 3", putty(3), fault),
        refused("PuTTY, the second half", putty_tail.to_owned(), fault),
        refused("age", format!("AGE-SECRET-KEY-1{}", "Q".repeat(58)), fault),
        refused(
            "age, as its file has it",
            format!("# created: now\nAGE-SECRET-KEY-1{}\n", "Q".repeat(58)),
            fault,
        ),
        refused("age, in lower case", format!("age-secret-key-1{}", "q".repeat(58)), fault),
        refused("age, against quantum computers", format!("AGE-SECRET-KEY-PQ-1{}", "Q".repeat(58)), fault),
        refused("age, of a plugin", format!("AGE-PLUGIN-YUBIKEY-1{}", "Q".repeat(58)), fault),
        refused("Ed25519 in PKCS #8 without its frame", format!("MC4CAQAwBQYDK2VwBCIEI{secret}"), fault),
        refused("PKCS #12", format!("MIIJqQIBAzCCCW8GCSqG{secret}"), fault),
    ]);
    assert!(fault.to_string().contains("this is a private key"));
}

#[test]
fn what_is_public_is_not_taken_for_a_private_key() {
    let texts = [
        (
            "a public key in PEM without its frame",
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        ),
        (
            "a certificate in PEM without its frame",
            "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ",
        ),
        ("an age recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
    ];
    for (what, text) in texts {
        check(&[refused(what, text.to_owned(), Fault::UnknownType)]);
    }
}
