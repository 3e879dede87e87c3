//! The Keyplane server as a process of its own, as it runs in production.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::install::{API, CONTROLLER, Installation};
use crate::launch::Launch;
use crate::ports::{self, PortTaken};
use crate::supervised::{Ending, Supervised};
use crate::waiting::{PATIENCE, Seen, until};
use crate::workspace;

/// How often other ports are tried when one was taken in the moment between choosing and listening.
const ATTEMPTS: u32 = 4;

/// Which part of Keyplane a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reconcilers and HTTP API in one process.
    All,
    /// The reconcilers.
    Controller,
    /// The HTTP API.
    Api,
}

/// How a Keyplane process is started.
#[derive(Debug, Clone)]
pub struct KeyplaneOptions {
    /// Its name among the processes of a test: its log, pid file and certificate are named after it.
    pub name: String,
    /// Which part it is.
    pub mode: Mode,
    /// The kubeconfig of Keyplane's identities.
    pub kubeconfig: PathBuf,
    /// How long a leader is believed to live without a sign of life; the server's own default when none.
    pub lease_seconds: Option<u32>,
    /// Further arguments.
    pub extra: Vec<String>,
}

impl KeyplaneOptions {
    /// `keyplane all`.
    #[must_use]
    pub fn all(installation: &Installation) -> Self {
        Self::of(Mode::All, "keyplane", installation)
    }

    /// One part, under a name of its own.
    #[must_use]
    pub fn of(mode: Mode, name: &str, installation: &Installation) -> Self {
        Self {
            name: name.to_owned(),
            mode,
            kubeconfig: installation.kubeconfig.clone(),
            lease_seconds: None,
            extra: Vec::new(),
        }
    }

    /// With a short lease: a successor takes over this many seconds after a SIGKILL.
    #[must_use]
    pub fn with_lease_seconds(mut self, seconds: u32) -> Self {
        self.lease_seconds = Some(seconds);
        self
    }

    /// The program and its arguments, with its files in `dir`.
    #[must_use]
    pub fn launch(&self, program: &Path, dir: &Path, ports: KeyplanePorts) -> Launch {
        let (mode, context) = match self.mode {
            Mode::All => ("all", CONTROLLER),
            Mode::Controller => ("controller", CONTROLLER),
            Mode::Api => ("api", API),
        };
        let mut arguments: Vec<OsString> = vec![mode.into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("--kubeconfig", self.kubeconfig.clone().into());
        option("--context", context.into());
        if self.mode == Mode::All {
            option("--api-context", API.into());
        }
        if self.mode != Mode::Controller {
            option("--listen", format!("127.0.0.1:{}", ports.api).into());
            option("--internal-listen", format!("127.0.0.1:{}", ports.internal).into());
            option("--tls-ca-out", self.ca_file(dir).into());
        }
        option("--admin-listen", format!("127.0.0.1:{}", ports.admin).into());
        option("--audit-log", self.audit_log(dir).into());
        if self.mode != Mode::Controller {
            option("--usage-interval-seconds", "1".into());
            // All tests of a run come from one address, and many of them fail to authenticate.
            option("--failed-authentications-per-minute", "100000000".into());
        }
        if self.mode == Mode::All {
            option("--public-url", ports.url().into());
            option("--public-ca-file", self.ca_file(dir).into());
        }
        if let Some(seconds) = self.lease_seconds {
            option("--lease-seconds", seconds.to_string().into());
        }
        arguments.extend(self.extra.iter().map(OsString::from));
        Launch { name: self.name.clone(), program: program.to_path_buf(), arguments, dir: dir.to_path_buf() }
    }

    /// The file that takes the audit log.
    #[must_use]
    pub fn audit_log(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.audit.log", self.name))
    }

    /// The file that takes the authority of the server's self-made certificate.
    #[must_use]
    pub fn ca_file(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-ca.crt", self.name))
    }
}

/// The ports of one Keyplane process.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct KeyplanePorts {
    /// The exchange and the HTTP API, over TLS.
    pub api: u16,
    /// Readiness and metrics.
    pub admin: u16,
    /// Verification for gateways, as plain HTTP.
    pub internal: u16,
}

impl KeyplanePorts {
    /// Chooses free ones.
    ///
    /// # Errors
    /// When the system has no port left.
    pub fn choose() -> Result<Self> {
        let [api, admin, internal] = ports::free()?;
        Ok(Self { api, admin, internal })
    }

    /// The address of the exchange and the HTTP API.
    #[must_use]
    pub fn url(self) -> String {
        format!("https://127.0.0.1:{}", self.api)
    }

    /// Where gateways verify keys.
    #[must_use]
    pub fn internal_url(self) -> String {
        format!("http://127.0.0.1:{}", self.internal)
    }

    /// The address of readiness and metrics.
    #[must_use]
    pub fn admin_url(self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }
}

/// A running Keyplane.
#[derive(Debug)]
pub struct Keyplane {
    process: Supervised,
    ports: KeyplanePorts,
    ca_file: PathBuf,
    audit_log: PathBuf,
}

impl Keyplane {
    /// Starts one with its files in `dir` and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is missing or stale, or the process ends; the message holds the end of its log.
    pub async fn start(supervise: &Path, dir: &Path, options: &KeyplaneOptions) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(supervise, dir, options).await {
                Err(error) if error.is::<PortTaken>() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_once(supervise: &Path, dir: &Path, options: &KeyplaneOptions) -> Result<Self> {
        let ports = KeyplanePorts::choose()?;
        let launch = options.launch(&workspace::binary("keyplane")?, dir, ports);
        let process = Supervised::start(supervise, dir, launch, Ending::InOrder).await?;
        let keyplane =
            Self { process, ports, ca_file: options.ca_file(dir), audit_log: options.audit_log(dir) };
        keyplane.ready().await?;
        Ok(keyplane)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When the process ends, or it takes too long.
    pub async fn ready(&self) -> Result<()> {
        until_ready(self.ports, || self.process.check_running()).await
    }

    /// The address of the exchange and the HTTP API.
    #[must_use]
    pub fn url(&self) -> String {
        self.ports.url()
    }

    /// Where gateways verify keys.
    #[must_use]
    pub fn internal_url(&self) -> String {
        self.ports.internal_url()
    }

    /// The address of readiness and metrics.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.ports.admin_url()
    }

    /// The file with the authority of its certificate, PEM.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The events of its audit log so far.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it is not JSON.
    pub fn audit_events(&self) -> Result<Vec<serde_json::Value>> {
        let text = std::fs::read_to_string(&self.audit_log)?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.launch().log()
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill_9(&self) -> Result<()> {
        self.process.kill_9()
    }

    /// Stops it as Kubernetes does: SIGTERM, and SIGKILL after five seconds.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Starts it again on the same ports, stopping it first if it runs, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Keyplane::start`].
    pub async fn restart(&self) -> Result<()> {
        self.process.restart().await?;
        self.ready().await
    }
}

/// Waits until the Keyplane on these ports says that it is ready. `check` is asked again and again whether it
/// is worth it.
///
/// # Errors
/// When `check` fails, or it takes too long.
pub async fn until_ready(ports: KeyplanePorts, check: impl Fn() -> Result<()>) -> Result<()> {
    until("Keyplane", PATIENCE, || async {
        check()?;
        Ok(match answers_ready(ports).await {
            Ok(()) => Seen::Done(()),
            Err(error) => Seen::NotYet(format!("/readyz: {error}")),
        })
    })
    .await
}

/// One look at `/readyz`.
///
/// # Errors
/// When it does not answer 200.
pub async fn answers_ready(ports: KeyplanePorts) -> Result<()> {
    let url = format!("{}/readyz", ports.admin_url());
    tokio::task::spawn_blocking(move || {
        // Not `http_proxy`: the address is this machine's own.
        let agent =
            ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(5))).build();
        ureq::Agent::from(agent).get(url).call().map(drop)
    })
    .await??;
    Ok(())
}
