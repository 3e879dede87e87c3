//! A healthy setup, of which a test makes one thing ill: programs, a kubeconfig, an exchange and an API server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::kept_key::{accepted, shows_no_key, text, token};
use crate::played::{Play, install, program};
use crate::stage::Stage;
use crate::stand_in::{Asked, Identity, Reply, StandIn, TOKEN, http_date, now};

pub(super) struct Patient {
    pub stage: Stage,
    pub exchange: StandIn,
    pub api_server: StandIn,
    /// The kubeconfig, as kubectl says it.
    pub config: Value,
    /// The mode of its file.
    pub mode: u32,
    /// What kubectl says its version is.
    pub kubectl: &'static str,
    pub environment: Vec<(&'static str, String)>,
    pub timeout: &'static str,
}

/// What doctor came to.
pub(super) struct Report {
    pub code: Option<i32>,
    pub terminal: String,
    pub findings: Vec<Value>,
}

/// The exchange's refusal of a request without a key, on a clock that is this far ahead.
pub(super) fn refusal(ahead: TimeDelta) -> Reply {
    Reply::problem(401, "Missing, invalid, revoked, or expired API key")
        .with("date", http_date(now() + ahead))
}

/// How a sound exchange answers.
pub(super) fn sound(asked: &Asked) -> Reply {
    match (asked.header("x-api-key"), asked.path()) {
        (None, _) => refusal(TimeDelta::zero()),
        (Some(_), "/v1/whoami") => accepted(),
        (Some(_), _) => token(),
    }
}

pub(super) fn exchange(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> StandIn {
    exchange_of(&Identity::default(), answer)
}

pub(super) fn exchange_of(
    identity: &Identity,
    answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> StandIn {
    StandIn::scripted(identity, Arc::new(move |_, asked| answer(asked)))
}

/// A server that reads and never answers.
pub(super) fn silent() -> StandIn {
    StandIn::handled(&Identity::default(), |stream| {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    })
}

pub(super) fn review(allowed: bool) -> Reply {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": {"allowed": allowed},
    });
    Reply::new(201, review.to_string()).with("content-type", "application/json")
}

/// What `kubectl version` prints.
pub(super) fn kubectl_version(version: &str) -> String {
    json!({"clientVersion": {"gitVersion": version}}).to_string()
}

impl Patient {
    pub(super) fn healthy() -> Self {
        Self::of(exchange(sound), StandIn::tls(|_| review(true)))
    }

    pub(super) fn with_exchange(exchange: StandIn) -> Self {
        Self::of(exchange, StandIn::tls(|_| review(true)))
    }

    pub(super) fn with_api_server(api_server: StandIn) -> Self {
        Self::of(exchange(sound), api_server)
    }

    fn of(exchange: StandIn, api_server: StandIn) -> Self {
        let stage = Stage::new();
        let key = stage.file("key", &stage.key, 0o600);
        let digest = base16ct::HexDisplay(&Sha256::digest(exchange.ca.as_bytes())).to_string().to_lowercase();
        let allowed = format!("{}#sha256:{digest}", exchange.url);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod-web",
            "contexts": [{"name": "prod-web", "context": {
                "cluster": "prod", "user": "key plane", "namespace": "acme-web",
            }}],
            "clusters": [{"name": "prod", "cluster": {
                "server": api_server.url, "certificate-authority-data": STANDARD.encode(&api_server.ca),
                "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {
                    "server": exchange.url, "certificateAuthorityData": STANDARD.encode(&exchange.ca),
                }}],
            }}],
            "users": [{"name": "key plane", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-keyplane",
                "args": ["get-token", "--allow-server", allowed, "--key-file", key],
                "interactiveMode": "Never", "provideClusterInfo": true,
            }}}],
        });
        let this = Self {
            stage,
            exchange,
            api_server,
            config,
            mode: 0o600,
            kubectl: "v1.36.3",
            environment: Vec::new(),
            timeout: "30",
        };
        fs::create_dir(this.bin()).unwrap();
        install(&assert_cmd::cargo::cargo_bin("kubectl-keyplane"), &this.program("kubectl-keyplane"));
        this.play("kubectl_complete-keyplane", &[Play::default()]);
        this
    }

    /// The only folder on PATH.
    fn bin(&self) -> PathBuf {
        self.stage.path("bin")
    }

    /// A program in it.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin().join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    pub(super) fn play(&self, name: &str, plays: &[Play]) {
        program(&self.bin(), name, plays);
    }

    pub(super) fn exec(&mut self) -> &mut Value {
        &mut self.config["users"][0]["user"]["exec"]
    }

    pub(super) fn cluster(&mut self) -> &mut Value {
        &mut self.config["clusters"][0]["cluster"]
    }

    /// A kuberc with these lines.
    pub(super) fn kuberc(&mut self, lines: &str) {
        let head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n";
        let path = self.stage.file("kuberc", &format!("{head}{lines}\n"), 0o644);
        self.environment.push(("KUBERC", path));
    }

    /// doctor, with a kubectl that says what the kubeconfig holds; one that a test made stays.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let config = self.stage.file("config", &self.config.to_string(), self.mode);
        if !self.program("kubectl").exists() {
            let version = kubectl_version(self.kubectl);
            let says_it = Play { first: Some("version"), prints: &version, ..Play::default() };
            self.play("kubectl", &[says_it, Play { shows: Some(Path::new(&config)), ..Play::default() }]);
        }
        let mut command = self.stage.plugin();
        command.env("PATH", self.bin()).env("KUBECONFIG", &config);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["doctor", "--timeout", self.timeout]).args(args);
        command
    }

    pub(super) fn examine(&self) -> Report {
        self.examine_with(&[])
    }

    pub(super) fn examine_with(&self, args: &[&str]) -> Report {
        let output = self.command(&[&["--output", "json"], args].concat()).output().unwrap();
        shows_no_key(&output, &self.stage.key);
        let (report, terminal) = (text(&output.stdout), text(&output.stderr));
        assert!(!report.contains(TOKEN) && !terminal.contains(TOKEN), "{report}{terminal}");
        let findings = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{terminal}"));
        Report { code: output.status.code(), terminal, findings }
    }
}

impl Report {
    pub(super) fn finding(&self, check: &str) -> &Value {
        let mut findings = self.findings.iter().filter(|finding| finding["check"] == check);
        findings.next().unwrap_or_else(|| panic!("{check}: {:?}", self.findings))
    }

    pub(super) fn outcome(&self, check: &str) -> &str {
        self.finding(check)["outcome"].as_str().unwrap()
    }

    /// The only problem is this check's; what was found, and what to do.
    pub(super) fn only_problem(&self, check: &str) -> (&str, &str) {
        let problems: Vec<&Value> =
            self.findings.iter().filter(|finding| finding["outcome"] == "problem").collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0]["check"], check, "{problems:?}");
        assert_eq!(self.code, Some(1));
        assert_eq!(self.terminal.matches('\n').count(), 1, "one line: {}", self.terminal);
        assert!(self.terminal.contains(&format!("doctor found 1 problem ({check})")), "{}", self.terminal);
        (problems[0]["found"].as_str().unwrap(), problems[0]["remedy"].as_str().unwrap())
    }

    /// The only problem is this check's, and says these words; the remedy these.
    pub(super) fn is_ill(&self, check: &str, found: &str, remedy: &str) {
        let (said, advised) = self.only_problem(check);
        assert!(said.contains(found), "{said}");
        assert!(advised.contains(remedy), "{advised}");
    }
}
