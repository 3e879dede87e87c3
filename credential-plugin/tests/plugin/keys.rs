//! Where the key comes from, and that a bad one is told before any network.

use std::fs;

use chrono::TimeDelta;

use crate::kept_key::accepting;
use crate::stage::{Stage, credential, failure, new_key};
use crate::stand_in::{Reply, StandIn};

fn healthy() -> StandIn {
    StandIn::tls(|_| Reply::token(TimeDelta::minutes(10), TimeDelta::zero()))
}

#[test]
fn a_private_file_gives_the_key_and_wins_over_the_environment() {
    let (stage, exchange) = (Stage::new(), healthy());
    let ends = ["", "\n", "\r\n", "\n\n", " \t\r\n \n\r\n"];
    for end in ends {
        let key = new_key();
        let file = stage.file("key", &format!("{key}{end}"), 0o600);
        let output = stage.get_token(&exchange).args(["--key-file", &file]).output().unwrap();
        credential(&output);
        assert_eq!(exchange.asked().last().unwrap().header("x-api-key"), Some(key.as_str()));
    }
    assert_eq!(exchange.asked().len(), ends.len());
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_or_change_is_refused() {
    let (stage, exchange) = (Stage::new(), healthy());
    for mode in [0o644, 0o640, 0o604, 0o620, 0o666] {
        let file = stage.file("key", &stage.key, mode);
        let output = stage.get_token(&exchange).args(["--key-file", &file]).output().unwrap();
        let line = failure(&output, 3);
        assert!(line.contains(&format!("chmod 600 {file}")), "{line}");
    }
    assert!(exchange.asked().is_empty());
}

#[test]
fn a_folder_or_an_empty_file_is_told_as_what_it_is() {
    let (stage, exchange) = (Stage::new(), healthy());
    let folder = stage.path("folder");
    fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    let empty = stage.file("key", "\n", 0o600);
    let is_folder = format!("is a folder ({folder}); give the file in it");
    for (file, words) in [(&folder, is_folder.as_str()), (&empty, "is empty")] {
        let output = stage.get_token(&exchange).args(["--key-file", file]).output().unwrap();
        let line = failure(&output, 3);
        assert!(line.contains(words) && !line.contains("chmod"), "{line}");
    }
}

#[test]
fn a_key_file_that_holds_no_single_key_is_told() {
    let (stage, exchange) = (Stage::new(), healthy());
    let two = format!("{}\n{}\n", stage.key, stage.key);
    let long = "x".repeat(10_000);
    for content in ["", "\n", &two, &long] {
        let file = stage.file("key", content, 0o600);
        let output = stage.get_token(&exchange).args(["--key-file", &file]).output().unwrap();
        let line = failure(&output, 3);
        assert!(line.contains(&file) && !line.contains(&stage.key), "{line}");
    }
    fs::remove_file(stage.path("key")).unwrap();
    let gone = stage.path("key").display().to_string();
    let output = stage.get_token(&exchange).args(["--key-file", &gone]).output().unwrap();
    failure(&output, 3);
    assert!(exchange.asked().is_empty());
}

#[test]
fn a_file_or_input_that_holds_more_than_a_key_is_told_as_what_it_is() {
    let (stage, exchange) = (Stage::new(), accepting());
    let key = &stage.key;
    let pem =
        |label: &str| format!("-----BEGIN {label}-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END {label}-----\n");
    let lines = "holds more than one line";
    let private = "holds a private key of SSH or TLS, which is not an API key";
    for (content, words) in [
        (format!("{key}\n{}\n", new_key()), lines),
        (format!("{key}\n\n{key}"), lines),
        (format!("{key}\r{key}\r"), lines),
        (format!("# the key of acme\n{key}\n"), lines),
        (format!("\n{key}\n"), lines),
        (pem("OPENSSH PRIVATE KEY"), private),
        (pem("PRIVATE KEY").replace('\n', "\r\n"), private),
        (format!("\n{}", pem("EC PRIVATE KEY")), private),
        (pem("CERTIFICATE"), "holds PEM, such as a certificate, which is not an API key"),
    ] {
        let file = stage.file("key", &content, 0o600);
        let of_file = stage.get_token(&exchange).args(["--key-file", &file]).output().unwrap();
        let line = failure(&of_file, 3);
        assert!(line.contains(&format!("the key file {words} ({file})")), "{line}");
        let of_input = stage.command("login", &exchange).write_stdin(content.clone()).output().unwrap();
        let told = failure(&of_input, 3);
        assert!(told.contains(&format!("the input {words}")), "{told}");
        for secret in [&key[4..], "b3BlbnNzaC1rZXktdjEAAAAA", "acme"] {
            assert!(!line.contains(secret) && !told.contains(secret), "{line}{told}");
        }
    }
    assert!(exchange.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn a_pipe_whose_length_nobody_knows_gives_the_key() {
    use std::process::{Command, Stdio};
    let (stage, exchange) = (Stage::new(), healthy());
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let key = stage.file("key", &stage.key, 0o600);
    let output = Command::new("bash")
        .args([
            "-c",
            "\"$0\" get-token --server \"$1\" --certificate-authority \"$2\" --key-file <(cat \"$3\")",
        ])
        .arg(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
        .args([&exchange.url, &ca, &key])
        .env_clear()
        .envs(stage.environment())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    credential(&output);
    assert_eq!(exchange.asked()[0].header("x-api-key"), Some(stage.key.as_str()));
}

#[test]
fn a_typing_error_in_the_key_is_told_before_the_network() {
    let (stage, exchange) = (Stage::new(), healthy());
    let digest = format!("sha256:{}", "a".repeat(64));
    let last = stage.key.chars().last().unwrap();
    let changed = format!("{}{}", &stage.key[..stage.key.len() - 1], if last == 'a' { 'b' } else { 'a' });
    for wrong in [&changed, &stage.key[1..], &stage.key[..20], &digest, "secret"] {
        let output = stage.get_token(&exchange).env("KEYPLANE_API_KEY", wrong).output().unwrap();
        let line = failure(&output, 3);
        assert!(!line.contains(wrong), "{line}");
    }
    assert!(exchange.asked().is_empty());
}

#[test]
fn no_key_is_told_with_where_to_put_one() {
    let (stage, exchange) = (Stage::new(), healthy());
    for value in [None, Some("")] {
        let mut command = stage.get_token(&exchange);
        match value {
            None => command.env_remove("KEYPLANE_API_KEY"),
            Some(value) => command.env("KEYPLANE_API_KEY", value),
        };
        let line = failure(&command.output().unwrap(), 3);
        assert!(line.contains("--key-file") && line.contains("KEYPLANE_API_KEY"), "{line}");
    }
}

#[test]
fn the_first_of_file_variable_kept_key_and_command_that_has_a_key_gives_it() {
    let exchange = accepting();
    // Every choice of the four sources, as bits: file, variable, kept, command.
    for present in 0..16_u8 {
        let stage = Stage::new();
        let [file, variable, kept, command] = [(); 4].map(|()| new_key());
        let has = |bit: u8| present & (1 << bit) != 0;
        if has(2) {
            stage.log_in(&exchange, &kept, &["--store", "file"]);
        }
        let mut plugin = stage.command("get-token", &exchange);
        if has(0) {
            plugin.args(["--key-file", &stage.file("key", &file, 0o600)]);
        }
        if has(1) {
            plugin.env("KEYPLANE_API_KEY", &variable);
        }
        if has(3) {
            let text = Stage::prints(&stage.file("command-key", &command, 0o600));
            // The argument and the variable are the same source.
            if present % 2 == 0 {
                plugin.args(["--key-command", &text])
            } else {
                plugin.env("KEYPLANE_KEY_COMMAND", &text)
            };
        }
        let output = plugin.output().unwrap();
        let used = [file, variable, kept, command].into_iter().zip(0..4).find(|(_, bit)| has(*bit));
        match used {
            Some((key, _)) => {
                credential(&output);
                assert_eq!(
                    exchange.asked().last().unwrap().header("x-api-key"),
                    Some(key.as_str()),
                    "{present:04b}"
                );
            }
            None => drop(failure(&output, 3)),
        }
    }
}

#[test]
fn a_source_that_has_no_good_key_is_told_and_the_next_is_not_tried() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let count = exchange.asked().len();
    let mut command = stage.get_token(&exchange);
    let nowhere = stage.path("no-such-file").display().to_string();
    failure(&command.args(["--key-file", &nowhere]).output().unwrap(), 3);
    let mut command = stage.command("get-token", &exchange);
    failure(&command.env("KEYPLANE_API_KEY", "mistyped").output().unwrap(), 3);
    assert_eq!(exchange.asked().len(), count);
}

#[test]
fn two_sources_asked_for_by_name_are_a_usage_error() {
    let (stage, exchange) = (Stage::new(), accepting());
    for args in [["--key-file", "key"], ["--key-command", "pass"]] {
        let mut command = stage.command("get-token", &exchange);
        failure(&command.args(["--key-name", "acme"]).args(args).output().unwrap(), 2);
    }
}
