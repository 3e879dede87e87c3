//! The arguments of the programs that make up a control plane.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::launch::Launch;
use crate::pki::Pki;
use crate::programs::Programs;
use crate::{ports, private_file};

/// Everything that the API server answers is recorded, with who asked but not with what was in it: tests count
/// writes here and follow a token by its id.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
";

/// The ports of one control plane, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ControlPlanePorts {
    etcd: u16,
    etcd_peer: u16,
    kube_apiserver: u16,
}

impl ControlPlanePorts {
    /// Chooses free ones.
    ///
    /// # Errors
    /// When the system has no port left.
    pub fn choose() -> Result<Self> {
        let [etcd, etcd_peer, kube_apiserver] = ports::free()?;
        Ok(Self { etcd, etcd_peer, kube_apiserver })
    }
}

/// The control plane of one directory: where its files are and how its programs are started.
#[derive(Debug, Clone)]
pub struct Components {
    dir: PathBuf,
    ports: ControlPlanePorts,
    programs: Programs,
    pki: Pki,
}

impl Components {
    /// Writes what the programs read: certificates (kept when they are there), kubeconfigs, audit policy.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn prepare(dir: &Path, ports: ControlPlanePorts, programs: &Programs) -> Result<Self> {
        let pki = Pki::in_dir(&dir.join("pki"));
        if !pki.exists() {
            pki.create()?;
        }
        let components = Self { dir: dir.to_path_buf(), ports, programs: programs.clone(), pki };
        components.write_kubeconfig("admin")?;
        components.write_kubeconfig("controller-manager")?;
        private_file::write(&dir.join("audit-policy.yaml"), AUDIT_POLICY)?;
        Ok(components)
    }

    /// The API server's address.
    #[must_use]
    pub fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.kube_apiserver)
    }

    /// The kubeconfig of a cluster administrator.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig("admin")
    }

    /// Where the API server records each answered request, a JSON object a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// The database.
    #[must_use]
    pub fn etcd(&self) -> Launch {
        let client = format!("https://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("https://127.0.0.1:{}", self.ports.etcd_peer);
        self.launch(
            "etcd",
            &self.programs.etcd,
            [
                flag("name", "keyplane"),
                flag("data-dir", self.dir.join("etcd")),
                flag("listen-client-urls", &client),
                flag("advertise-client-urls", &client),
                flag("listen-peer-urls", &peer),
                flag("initial-advertise-peer-urls", &peer),
                flag("initial-cluster", format!("keyplane={peer}")),
                flag("cert-file", self.pki.certificate("etcd")),
                flag("key-file", self.pki.key("etcd")),
                flag("trusted-ca-file", self.pki.etcd_ca()),
                flag("client-cert-auth", "true"),
                flag("peer-cert-file", self.pki.certificate("etcd")),
                flag("peer-key-file", self.pki.key("etcd")),
                flag("peer-trusted-ca-file", self.pki.etcd_ca()),
                flag("peer-client-cert-auth", "true"),
                // A crash of the machine may cost this data; a crash of etcd does not.
                flag("unsafe-no-fsync", "true"),
                flag("log-level", "warn"),
            ],
        )
    }

    /// The API server.
    #[must_use]
    pub fn kube_apiserver(&self) -> Launch {
        self.launch(
            "kube-apiserver",
            &self.programs.kube_apiserver,
            [
                flag("etcd-servers", format!("https://127.0.0.1:{}", self.ports.etcd)),
                flag("etcd-cafile", self.pki.etcd_ca()),
                flag("etcd-certfile", self.pki.certificate("etcd-client")),
                flag("etcd-keyfile", self.pki.key("etcd-client")),
                flag("bind-address", "127.0.0.1"),
                // Else it looks for a default route, which an offline machine lacks; and the loopback
                // address is not allowed in the endpoints of the Service `kubernetes`.
                flag("advertise-address", "127.0.0.1"),
                flag("endpoint-reconciler-type", "none"),
                flag("secure-port", self.ports.kube_apiserver.to_string()),
                flag("tls-cert-file", self.pki.certificate("server")),
                flag("tls-private-key-file", self.pki.key("server")),
                flag("client-ca-file", self.pki.ca()),
                flag("authorization-mode", "RBAC,Node"),
                flag("allow-privileged", "true"),
                flag("service-cluster-ip-range", "10.0.0.0/24"),
                flag("service-account-issuer", "https://kubernetes.default.svc"),
                flag("service-account-signing-key-file", self.pki.service_account_key()),
                flag("service-account-key-file", self.pki.service_account_public_key()),
                flag("audit-policy-file", self.dir.join("audit-policy.yaml")),
                flag("audit-log-path", self.audit_log()),
                flag("audit-log-format", "json"),
            ],
        )
    }

    /// The controllers of Kubernetes itself.
    #[must_use]
    pub fn kube_controller_manager(&self) -> Launch {
        self.launch(
            "kube-controller-manager",
            &self.programs.kube_controller_manager,
            [
                flag("kubeconfig", self.kubeconfig("controller-manager")),
                flag("use-service-account-credentials", "true"),
                flag("leader-elect", "false"),
                flag("root-ca-file", self.pki.ca()),
                // Its own limit of 20 requests a second makes its start last four seconds.
                flag("kube-api-qps", "500"),
                flag("kube-api-burst", "1000"),
                // Nobody asks it anything; a port less that another could hold.
                flag("secure-port", "0"),
            ],
        )
    }

    fn launch(&self, name: &str, program: &Path, arguments: impl IntoIterator<Item = OsString>) -> Launch {
        Launch {
            name: name.to_owned(),
            program: program.to_path_buf(),
            arguments: arguments.into_iter().collect(),
            dir: self.dir.clone(),
        }
    }

    fn kubeconfig(&self, of: &str) -> PathBuf {
        self.dir.join(format!("{of}.kubeconfig"))
    }

    fn write_kubeconfig(&self, of: &str) -> Result<()> {
        let embed = |path: PathBuf| {
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::Ok(BASE64_STANDARD.encode(content))
        };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "keyplane", "cluster": {
                "server": self.server_url(),
                "certificate-authority-data": embed(self.pki.ca())?,
            }}],
            "users": [{"name": of, "user": {
                "client-certificate-data": embed(self.pki.certificate(of))?,
                "client-key-data": embed(self.pki.key(of))?,
            }}],
            "contexts": [{"name": of, "context": {"cluster": "keyplane", "user": of}}],
            "current-context": of,
        });
        private_file::write(&self.kubeconfig(of), serde_json::to_vec_pretty(&kubeconfig)?)
    }
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut argument = OsString::from(format!("--{name}="));
    argument.push(value);
    argument
}
