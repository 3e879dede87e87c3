//! What a test says about the key that login keeps, and about a key as the exchange knows it.

use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::stage::{Stage, files_in};
use crate::stand_in::{Reply, StandIn};

/// What the exchange says about a key.
pub(crate) fn identity() -> Value {
    json!({
        "account": "acme", "id": "0c7e1f0a-0000-4000-8000-000000000001", "name": "ci", "display_name": "CI",
        "prefix": "kpk_Ab3d",
        "scopes": {"kubernetes_exec": {"all_namespaces": true, "role": "view"}},
        "expires_at": "2099-01-01T00:00:00Z", "allowed_cidrs": ["192.0.2.0/24"],
        "namespaces": [{"id": "0c7e1f0a-0000-4000-8000-000000000002", "name": "web", "kubernetes_name": "acme-web"}],
    })
}

pub(crate) fn accepted() -> Reply {
    Reply::new(200, identity().to_string()).with("content-type", "application/json")
}

pub(crate) fn token() -> Reply {
    Reply::token(TimeDelta::minutes(10), TimeDelta::zero())
}

/// An exchange that accepts any key at `/v1/whoami`, and has a token for it.
pub(crate) fn accepting() -> StandIn {
    StandIn::tls_by_path(|path| if path == "/v1/whoami" { accepted() } else { token() })
}

impl Stage {
    /// A command against this exchange and its CA, with no key in the environment.
    pub(crate) fn command(&self, command: &str, exchange: &StandIn) -> Command {
        let ca = self.file("ca.pem", &exchange.ca, 0o644);
        let mut plugin = self.plugin();
        plugin.args([command, "--server", &exchange.url, "--certificate-authority", &ca]);
        plugin
    }

    /// A login that succeeds, with this key on its standard input.
    pub(crate) fn log_in(&self, exchange: &StandIn, key: &str, args: &[&str]) -> Output {
        let mut command = self.command("login", exchange);
        let output = command.args(args).write_stdin(format!("{key}\n")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        shows_no_key(&output, key);
        output
    }

    /// The kept keys themselves.
    pub(crate) fn kept_keys(&self) -> Vec<PathBuf> {
        files_in(&self.kept_folder()).into_iter().filter(|path| path.extension().unwrap() == "key").collect()
    }
}

/// Nothing that a program prints shows the key.
pub(crate) fn shows_no_key(output: &Output, key: &str) {
    let secret = key.split_once('_').unwrap().1;
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains(&secret[..20]), "{text}");
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
