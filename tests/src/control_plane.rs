//! A Kubernetes control plane: one of our own, or an existing one that was asked for by name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;

use crate::access::Access;
use crate::audit_log::AuditLog;
use crate::components::{Components, ControlPlanePorts};
use crate::instance_dir::InstanceDir;
use crate::kubectl::Kubectl;
use crate::metrics_record::MetricsRecord;
use crate::ports::PortTaken;
use crate::programs::{self, Programs};
use crate::progress::say;
use crate::supervised::{Ending, Supervised, check_all_running};
use crate::{readiness, test_run};

/// How often other ports are tried when one was taken in the moment between choosing and listening.
const ATTEMPTS: u32 = 4;

/// A control plane and its administrator's access. Dropping it stops what it started and removes its directory;
/// when this process is killed instead, `supervise` does both.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: a last look at the metrics, the programs, the directory when nobody writes to it any more.
    _metrics: Option<MetricsRecord>,
    own: Option<OwnPrograms>,
    dir: InstanceDir,
    access: Access,
    kubectl: Kubectl,
    supervise: PathBuf,
    uid: String,
}

#[derive(Debug)]
struct OwnPrograms {
    kube_controller_manager: Supervised,
    kube_apiserver: Supervised,
    etcd: Supervised,
    audit_log: PathBuf,
}

impl OwnPrograms {
    fn all(&self) -> [&Supervised; 3] {
        [&self.kube_controller_manager, &self.kube_apiserver, &self.etcd]
    }
}

impl Drop for OwnPrograms {
    fn drop(&mut self) {
        for program in self.all() {
            program.begin_stop();
        }
    }
}

impl ControlPlane {
    /// Starts one with its own directory, ports and certificates, and waits until it is fit to be used.
    ///
    /// # Errors
    /// When the programs are missing or one of them fails; the message names its log and holds the end of it.
    pub async fn start() -> Result<Self> {
        let (programs, supervise) =
            tokio::task::spawn_blocking(|| anyhow::Ok((Programs::find()?, programs::supervise()?))).await??;
        let mut attempt = 1;
        loop {
            match Self::start_with(&programs, &supervise).await {
                Err(error) if error.is::<PortTaken>() && attempt < ATTEMPTS => {
                    say(format!("keyplane: {error}; trying other ports"));
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_with(programs: &Programs, supervise: &Path) -> Result<Self> {
        let dir = InstanceDir::create(supervise)?;
        let outcome = Self::start_in(dir.path(), programs, supervise).await;
        match outcome {
            Ok((own, access, uid)) => {
                let kubectl = Kubectl::new(&programs.kubectl, &access, &dir.path().join("kubectl-cache"));
                let metrics = match test_run::dir() {
                    Some(_) => Some(MetricsRecord::begin(&access, dir.path())?),
                    None => None,
                };
                let supervise = supervise.to_path_buf();
                Ok(Self { _metrics: metrics, own: Some(own), dir, access, kubectl, supervise, uid })
            }
            Err(error) => {
                if !error.is::<PortTaken>() {
                    // The message names a log in it.
                    dir.keep();
                }
                Err(error)
            }
        }
    }

    async fn start_in(
        dir: &Path,
        programs: &Programs,
        supervise: &Path,
    ) -> Result<(OwnPrograms, Access, String)> {
        let components = Components::prepare(dir, ControlPlanePorts::choose()?, programs)?;
        let etcd = Supervised::start(supervise, dir, components.etcd(), Ending::AtOnce).await?;
        let kube_apiserver =
            Supervised::start(supervise, dir, components.kube_apiserver(), Ending::AtOnce).await?;
        let access = Access::of_file(&components.admin_kubeconfig());
        let client = access.client().await?;
        // The client trusts the authority made for this start alone, so whoever answers is ours.
        readiness::api_server(&client, || check_all_running([&etcd, &kube_apiserver])).await?;
        let kube_controller_manager =
            Supervised::start(supervise, dir, components.kube_controller_manager(), Ending::AtOnce).await?;
        let own =
            OwnPrograms { kube_controller_manager, kube_apiserver, etcd, audit_log: components.audit_log() };
        readiness::controllers(&client, || check_all_running(own.all())).await?;
        let uid = readiness::cluster_uid(&client).await?;
        Ok((own, access, uid))
    }

    /// An existing cluster. `kubeconfig` is what `KUBECONFIG` may hold. Nothing of it is started or stopped.
    ///
    /// # Errors
    /// When the context is unknown or its server does not answer.
    pub async fn existing(kubeconfig: &OsStr, context: &str) -> Result<Self> {
        let supervise = tokio::task::spawn_blocking(programs::supervise).await??;
        let program = match programs::on_path("kubectl") {
            Ok(program) => program,
            Err(_) => tokio::task::spawn_blocking(Programs::find).await??.kubectl,
        };
        let access = Access::of_context(kubeconfig, context);
        let client = access.client().await?;
        let uid = readiness::cluster_uid(&client)
            .await
            .with_context(|| format!("the cluster of the context {context} does not answer"))?;
        let dir = InstanceDir::create(&supervise)?;
        let kubectl = Kubectl::new(&program, &access, &dir.path().join("kubectl-cache"));
        Ok(Self { _metrics: None, own: None, dir, access, kubectl, supervise, uid })
    }

    /// The existing cluster that `KEYPLANE_TEST_CONTEXT` names (a context of `KUBECONFIG`), or one of our own.
    /// Never an existing one merely because `KUBECONFIG` is set: that may be somebody's production.
    ///
    /// # Errors
    /// As [`ControlPlane::existing`] and [`ControlPlane::start`].
    pub async fn from_environment() -> Result<Self> {
        let Some(context) = std::env::var_os("KEYPLANE_TEST_CONTEXT").filter(|context| !context.is_empty())
        else {
            return Self::start().await;
        };
        let context = context.to_str().context("KEYPLANE_TEST_CONTEXT is not UTF-8")?.to_owned();
        let Some(kubeconfig) = std::env::var_os("KUBECONFIG") else {
            bail!(
                "KEYPLANE_TEST_CONTEXT is set and KUBECONFIG is not: set it to the file with the context {context}"
            );
        };
        Self::existing(&kubeconfig, &context).await
    }

    /// Fails unless this control plane runs and the server that answers is still the one that was started.
    ///
    /// # Errors
    /// When a program has ended, or another cluster answers.
    pub async fn verify(&self) -> Result<()> {
        if let Some(own) = &self.own {
            check_all_running(own.all())?;
        }
        let uid = readiness::cluster_uid(&self.client().await?).await?;
        ensure!(
            uid == self.uid,
            "another cluster answers: its UID is {uid}, and this one's was {}",
            self.uid
        );
        Ok(())
    }

    /// The directory of this run: logs, kubeconfigs, certificates.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the directory after the end, for its logs.
    pub fn keep_dir(&self) {
        self.dir.keep();
    }

    /// The administrator's access.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// kubectl as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A client as the administrator, for the calling runtime.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        self.access.client().await
    }

    /// The API server's address.
    ///
    /// # Errors
    /// When the kubeconfig names none.
    pub fn server_url(&self) -> Result<String> {
        self.access.cluster()?.server.context("the kubeconfig names no server")
    }

    /// The authority of the API server's certificate, as PEM; none when the system's own are meant.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub fn ca_pem(&self) -> Result<Option<String>> {
        self.access.ca_pem()
    }

    /// What tells this cluster from every other: the UID of its namespace `kube-system`.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The API server's audit log.
    ///
    /// # Errors
    /// For an existing cluster, whose audit log is not ours to read.
    pub fn audit_log(&self) -> Result<AuditLog> {
        let own = self.own.as_ref().context(
            "this test reads the API server's audit log, and an existing cluster has none for us: \
             run it without KEYPLANE_TEST_CONTEXT",
        )?;
        Ok(AuditLog::at(&own.audit_log))
    }

    /// The process ids of etcd, the API server and the controller manager; none for an existing cluster.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.own.iter().flat_map(OwnPrograms::all).map(Supervised::pid).collect()
    }

    /// Where its etcd is; the certificate `etcd-client` of its [`crate::pki`] opens it.
    ///
    /// # Errors
    /// When it is an existing one.
    pub fn etcd_url(&self) -> Result<String> {
        let own = self.own.as_ref().context("an existing control plane's etcd is nobody's business")?;
        let arguments = own.kube_apiserver.launch().arguments.iter();
        let url = arguments.filter_map(|argument| argument.to_str()?.strip_prefix("--etcd-servers="));
        url.map(str::to_owned).next().context("the API server is told where etcd is")
    }

    /// The program that keeps others from outliving us.
    #[must_use]
    pub fn supervise(&self) -> &Path {
        &self.supervise
    }
}
