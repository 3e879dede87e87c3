//! The numbers of RSA and DSA keys.

use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey};

use crate::ssh_keygen::KEYS;
use crate::verdict::{accepted, check, refused, stricter};
use crate::wire::{blob, blob_of, fields, line, line_of, mpint, odd_numbers, times};

/// Made by ssh-keygen of OpenSSH 9.2, which printed the fingerprint; later ones make no such keys.
pub(crate) const DSS: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAOGCOJnwuwCwxHk4OezsxJ9MNmDlRYkv6xdbp6bCQfkIlUTnucnz39XLdsGYJjv79s9kq0eP0jOM7fSbRd3b/+4iZ7nQEp1Z77GHCda0OJGMRl4d3NGa4AeNqmRYqu7gtHUYYv5MsLq+JwipjuCZ0xAHXcd1qgRfZxQUOk90ZV35AAAAFQCXq/czsAVISdEagATm+s3nNppE5QAAAIEAvyR7I4dyCtmpkvPRuatEUJ6CSyUip1oZIqNftEdcTnSplTvbFL/loDXgXHLkUggR7wr6suaQg6+iznziK8M9aWvuSCy6tik/z/MhjQX2DYJD6O+7uL0ni8NRQ4Q2sUagbyeiLR+gJFBdHBm7lzA/J2ukSAlfnh1WpZiZvJ0Oxl4AAACAA6IpIjQftZZC5GMKq7Kb0eEFdbn3DGLazhzrrpfq7+kfKJLd1ly4K0H22A/q0v6b2taqQ0gp1pqEgGS1c092KLwIFb7os52D1scueewkqGinJnryT4vTduK4BZ66a4FPpGCQSVeykjoNe/7I2zeUn6xnNnhhK9f7olUwQr8oHnM= ada@example.com";
const DSS_FINGERPRINT: &str = "SHA256:hKRXeOjITRjmX0P0GBt2zW8UZi5qoFrRwSL1+XqjjbE";

/// The two numbers of a generated RSA key: exponent and modulus, as `mpint`s.
fn rsa_numbers(line: &str) -> (Vec<u8>, Vec<u8>) {
    let fields = fields(&blob_of(line));
    (fields[1].clone(), fields[2].clone())
}

fn rsa(exponent: &[u8], modulus: &[u8]) -> String {
    line_of("ssh-rsa", &[&mpint(exponent), &mpint(modulus)])
}

#[test]
fn rsa_keys_are_measured_in_true_bits_and_weak_numbers_are_refused() {
    let ok = SshKeyType::Rsa;
    let (e, n) = rsa_numbers(&KEYS.rsa2048.line);
    let needless_zeros = line_of("ssh-rsa", &[&[&[0, 0], &e[..]].concat(), &[&[0, 0, 0], &n[..]].concat()]);
    let padded_to = |len| line_of("ssh-rsa", &[&e, &[vec![0; len - n.len()], n.clone()].concat()]);
    let negative = line_of("ssh-rsa", &[&e, &n[1..]]);
    let sized = |bits| {
        let mut candidates = odd_numbers(bits).map(|number| rsa(&e, &number));
        candidates.find(|text| SshPublicKey::parse(text) != Err(Fault::RsaModulus)).unwrap()
    };
    let exponent = |number: &[u8]| rsa(number, &n);
    check(&[
        stricter("1024 bits", KEYS.rsa1024.line.clone(), Fault::RsaSize(1024)),
        stricter("2047 bits", sized(2047), Fault::RsaSize(2047)),
        stricter("2041 bits in 256 bytes", sized(2041), Fault::RsaSize(2041)),
        accepted("2048 bits", sized(2048), ok),
        accepted("8192 bits", sized(8192), ok),
        stricter("8193 bits", sized(8193), Fault::RsaSize(8193)),
        refused("16 bits", rsa(&e, &[0xC3, 0xA7]), Fault::RsaSize(16)),
        refused("a modulus of zero", rsa(&e, &[]), Fault::RsaSize(0)),
        stricter("a factor 2", rsa(&e, &times(&n, 2)), Fault::RsaModulus),
        stricter("a factor 3", rsa(&e, &times(&n, 3)), Fault::RsaModulus),
        stricter("a factor 997, the last that is tried", rsa(&e, &times(&n, 997)), Fault::RsaModulus),
        accepted("a factor 1009, the first that is not", rsa(&e, &times(&n, 1009)), ok),
        stricter("exponent 0", exponent(&[]), Fault::RsaExponent),
        stricter("exponent 1", exponent(&[1]), Fault::RsaExponent),
        stricter("exponent 2", exponent(&[2]), Fault::RsaExponent),
        accepted("exponent 3", exponent(&[3]), ok),
        stricter("exponent 65536", exponent(&[1, 0, 0]), Fault::RsaExponent),
        accepted("an exponent of 64 bits", exponent(&[0xFF; 8]), ok),
        stricter("an exponent of 65 bits", exponent(&[1, 0, 0, 0, 0, 0, 0, 0, 1]), Fault::RsaExponent),
        stricter("an exponent as long as the modulus", rsa(&n, &n), Fault::RsaExponent),
        refused("a negative modulus", negative, Fault::Damaged),
        refused("a negative exponent", line_of("ssh-rsa", &[&[0x83], &n]), Fault::Damaged),
        refused("no modulus", line_of("ssh-rsa", &[&e]), Fault::Damaged),
        accepted("needless zeros", needless_zeros.clone(), ok),
        accepted("as many needless zeros as OpenSSH reads", padded_to(2049), ok),
        refused("a needless zero more", padded_to(2050), Fault::Damaged),
        stricter("16384 bits", sized(16384), Fault::RsaSize(16384)),
        refused("16385 bits", sized(16385), Fault::RsaSize(16385)),
    ]);
    let (generated, padded) = (SshPublicKey::parse(&KEYS.rsa2048.line), SshPublicKey::parse(&needless_zeros));
    assert_eq!(generated, padded, "needless zeros do not make another key");
}

#[test]
fn dss_is_accepted_with_a_warning_and_its_numbers_are_checked() {
    let numbers = fields(&blob_of(DSS));
    let with = |at: usize, number: &[u8]| {
        let mut numbers = numbers.clone();
        numbers[at] = mpint(number);
        line("ssh-dss", &blob(&numbers.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    };
    let less_one = |number: &[u8]| {
        let (last, before) = number.split_last().unwrap();
        [before, &[last - 1]].concat()
    };
    let other_q = odd_numbers(160).find(|q| SshPublicKey::parse(&with(2, q)).is_err()).unwrap();
    let even_q = [&numbers[2][..20], &[0xE4]].concat();
    let fault = Fault::DssNumbers;
    check(&[
        accepted("dss", DSS.to_owned(), SshKeyType::Dss),
        stricter("dss with y = 0", with(4, &[]), fault),
        stricter("dss with y = 1", with(4, &[1]), fault),
        stricter("dss with y = p", with(4, &numbers[1]), fault),
        stricter("dss with g = 1", with(3, &[1]), fault),
        stricter("dss with g = p", with(3, &numbers[1]), fault),
        stricter("dss with y = p - 1, of order 2", with(4, &less_one(&numbers[1])), fault),
        stricter("dss with g = p - 1, of order 2", with(3, &less_one(&numbers[1])), fault),
        stricter("dss with y = 2, outside of the subgroup", with(4, &[2]), fault),
        stricter("dss with g = 2, outside of the subgroup", with(3, &[2]), fault),
        stricter("dss with a q that does not divide p - 1", with(2, &other_q), fault),
        stricter("dss with p = 0", with(1, &[]), fault),
        stricter("dss with q = 0", with(2, &[]), fault),
        stricter("dss with an even p", with(1, &less_one(&numbers[1])), fault),
        stricter("dss with an even q", with(2, &even_q), fault),
        stricter("dss with a q of 1024 bits", with(2, &numbers[1]), fault),
        stricter("dss with a p of 160 bits", with(1, &numbers[2]), fault),
        stricter("dss with a p three times too large", with(1, &times(&numbers[1], 3)), fault),
    ]);
    let key = SshPublicKey::parse(DSS).unwrap();
    assert_eq!(key.fingerprint(), DSS_FINGERPRINT);
    assert!(key.warning().unwrap().contains("no current OpenSSH accepts it"));
}
