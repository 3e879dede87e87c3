//! kubectl-keyplane, warm and cold.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use keyplane_core::key_format::{KeyType, PlaintextKey};
use serde_json::json;
use tempfile::TempDir;

use crate::http_server::HttpServer;
use crate::start::Program;

/// What it is called in the table.
pub(crate) const NAME: &str = "kubectl-keyplane";
/// How long the exchange takes to answer clients that come all at once.
const EXCHANGE_TAKES: Duration = Duration::from_millis(300);

/// The plugin with a home of its own.
pub(crate) struct Plugin {
    path: PathBuf,
    key: String,
    home: TempDir,
}

impl Plugin {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let missing = || format!("{} is not there; make bench-plugin builds it", path.display());
        let path = path.canonicalize().with_context(missing)?;
        let key = PlaintextKey::generate(&KeyType::account(), getrandom::fill)?;
        Ok(Self { path, key: key.expose().to_owned(), home: TempDir::new()? })
    }

    /// With a token in its cache.
    pub(crate) fn warm(&self) -> Result<Program> {
        let exchange = exchange(Duration::ZERO)?;
        let program = self.get_token(&exchange.url);
        program.once()?;
        program.once()?;
        ensure!(exchange.asked() == 1, "the token is not cached");
        Ok(program)
    }

    /// Many clients at once without a token in the cache: the sentence that says how it went.
    pub(crate) fn herd(&self, clients: usize) -> Result<String> {
        let exchange = exchange(EXCHANGE_TAKES)?;
        let program = self.get_token(&exchange.url);
        let commands: Vec<Command> = (0..clients).map(|_| program.command()).collect();
        let began = Instant::now();
        let children =
            commands.into_iter().map(|mut command| command.spawn()).collect::<Result<Vec<_>, _>>()?;
        for mut child in children {
            ensure!(child.wait()?.success(), "a client got no token");
        }
        let took = began.elapsed().as_millis();
        Ok(format!(
            "{clients} cold starts at once, an exchange that takes {} ms: {} request(s), all done after {took} ms.",
            EXCHANGE_TAKES.as_millis(),
            exchange.asked(),
        ))
    }

    fn get_token(&self, exchange: &str) -> Program {
        Program::named(NAME, &self.path)
            .with_args(["get-token", "--server", exchange])
            .with_env("HOME", self.home.path())
            .with_env("KEYPLANE_API_KEY", &self.key)
    }
}

fn exchange(takes: Duration) -> Result<HttpServer> {
    Ok(HttpServer::start(move |_, _| {
        thread::sleep(takes);
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": "x".repeat(900), "expirationTimestamp": "2999-01-01T00:00:00Z"},
        })
    })?)
}
