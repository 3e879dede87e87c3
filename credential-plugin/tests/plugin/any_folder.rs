//! A client starts the plugin in whatever folder: what the user's entry says means the same in each, also where a command
//! of a person looks into that entry. A checkout of somebody else's says nothing.

use serde_json::Value;

use crate::kept_key::accepting;
use crate::played::{Play, calls, program};
use crate::stage::{Stage, credential, failure};
use crate::whoami::{allowed, kubeconfig};

const INFO: &str = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#;

#[test]
fn get_token_takes_no_relative_path_whoever_starts_it() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.file("ca.pem", &exchange.ca, 0o644);
    let key = stage.file("key", &stage.key, 0o600);
    let ca = stage.path("ca.pem").display().to_string();
    let run = |ca: &str, key: &str, ca_is_argument: bool, says_that_it_is_a_client: bool| {
        let mut command = stage.plugin();
        command.args(["get-token", "--no-cache", "--server", &exchange.url, "--key-file", key]);
        if ca_is_argument {
            command.args(["--certificate-authority", ca]);
        } else {
            command.env("KEYPLANE_CA_FILE", ca);
        }
        if says_that_it_is_a_client {
            command.env("KUBERNETES_EXEC_INFO", INFO);
        }
        command.output().unwrap()
    };
    for (ca, key, what) in [("ca.pem", key.as_str(), "the exchange's CA"), (&ca, "key", "the key file")] {
        for (ca_is_argument, is_client) in [(true, true), (true, false), (false, true), (false, false)] {
            let line = failure(&run(ca, key, ca_is_argument, is_client), 2);
            assert!(line.contains(what) && line.contains("is relative: kubectl would"), "{line}");
            assert!(line.contains("give its whole path"), "{line}");
        }
    }
    assert!(exchange.asked().is_empty());
    credential(&run(&ca, &key, true, true));
}

#[test]
fn no_key_and_no_token_is_kept_in_a_relative_folder() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let theirs = stage.path("theirs");
    std::fs::rename(stage.kept_folder().parent().unwrap(), &theirs).unwrap();
    let run = |folder: &str| {
        let mut command = stage.command("get-token", &exchange);
        command.env("KEYPLANE_CONFIG_DIR", folder).output().unwrap()
    };
    assert!(failure(&run("theirs"), 3).contains("there is no API key"));
    credential(&run(&theirs.display().to_string()));

    let mut command = stage.get_token(&exchange);
    let line = failure(&command.args(["--cache-dir", "cached"]).output().unwrap(), 2);
    assert!(line.contains("--cache-dir") && line.contains("give the whole path"), "{line}");
    credential(&stage.get_token(&exchange).env("KEYPLANE_CACHE_DIR", "cached").output().unwrap());
    assert!(!stage.path("cached").exists());
}

#[test]
fn whoami_runs_no_program_of_the_folder_that_a_context_would_run() {
    let (stage, exchange) = (Stage::new(), accepting());
    let folder = stage.path("tools");
    std::fs::create_dir(&folder).unwrap();
    let played = program(&folder, "getkey", &[Play { prints: &stage.key, ..Play::default() }]);
    let entry = ["--allow-server", &allowed(&exchange), "--key-command", "tools/getkey"];
    let config = kubeconfig(&stage, &exchange, &entry, &Value::Null);
    let whoami = |args: &[&str]| {
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", &config);
        command.arg("whoami").args(args).output().unwrap()
    };
    let line = failure(&whoami(&[]), 2);
    assert!(line.contains("is a relative path") && line.contains("PATH"), "{line}");
    assert_eq!(calls(&played), "");
    // What a person types is meant here.
    let typed = whoami(&["--key-command", "tools/getkey"]);
    assert!(typed.status.success(), "{typed:?}");
}
