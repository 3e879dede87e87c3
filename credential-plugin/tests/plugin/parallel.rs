//! Many starts of the plugin at once, of one identity.

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta};
use serde_json::json;

use crate::stage::Stage;
use crate::stand_in::{Reply, StandIn, now};

/// How the starts are made.
pub(crate) struct Starts<'a> {
    stage: &'a Stage,
    exchange: &'a StandIn,
    ca: String,
    arguments: &'a [&'a str],
    by_this_client: bool,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(stage: &'a Stage, exchange: &'a StandIn, arguments: &'a [&'a str]) -> Self {
        let ca = stage.file("ca.pem", &exchange.ca, 0o644);
        Self { stage, exchange, ca, arguments, by_this_client: false }
    }

    /// Starts as this very process, a client, makes them. It is told apart from others only on Unix.
    #[cfg(unix)]
    pub(crate) fn by_this_client(self) -> Self {
        Self { by_this_client: true, ..self }
    }

    /// One start, as from a person's shell unless [`Self::by_this_client`].
    pub(crate) fn start(&self) -> Child {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("kubectl-keyplane"));
        command
            .args(["get-token", "--server", &self.exchange.url, "--certificate-authority", &self.ca])
            .args(self.arguments)
            .env_clear()
            .envs(self.stage.environment())
            .env("KEYPLANE_API_KEY", &self.stage.key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.by_this_client {
            let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {}});
            command.env("KUBERNETES_EXEC_INFO", info.to_string());
        }
        command.spawn().unwrap()
    }

    pub(crate) fn many(&self, count: usize) -> Vec<Child> {
        (0..count).map(|_| self.start()).collect()
    }
}

/// What the starts said, once all of them have ended.
pub(crate) fn outputs(starts: Vec<Child>) -> Vec<Output> {
    starts.into_iter().map(|start| start.wait_with_output().unwrap()).collect()
}

/// Waits until this is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_mins(1), "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A token of this name that lives this long.
pub(crate) fn token(name: &str, life: TimeDelta) -> Reply {
    let now = now();
    let body = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {
            "token": name,
            "expirationTimestamp": (now + life).to_rfc3339_opts(SecondsFormat::Secs, true),
        },
    });
    Reply::new(200, body.to_string()).with("date", now.to_rfc2822().replace("+0000", "GMT"))
}
