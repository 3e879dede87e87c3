//! The command line of `keyplane`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::Uri;
use ipnet::IpNet;
use secrecy::SecretString;

use crate::api::Surface;

const CONNECTION: &str = "Cluster";
const ADMINISTRATION: &str = "Log and probes";

/// What is logged. The client's own lines are left out: what they tell is said once, by those who know what to do.
const LOG: &str = "info,kube_client=off,kube_runtime=off,kube_lease_manager=off";

const EXAMPLES: &str = "\
Examples:
  keyplane all --kubeconfig keyplane.kubeconfig --context keyplane-controller --api-context keyplane-api
      both halves in one process, each with an identity and rights of its own
  keyplane controller
      the reconcilers, in a pod, as the pod's ServiceAccount
  keyplane api --tls-certificate-file /tls/tls.crt --tls-private-key-file /tls/tls.key
      the HTTP API, in a pod, with the certificate of a mounted Secret

Exit codes: 0 ended by a signal, 1 failed (the last line of the log says why), 2 wrong usage.";

const ALL_EXAMPLES: &str = "\
Examples:
  keyplane all --kubeconfig keyplane.kubeconfig --context keyplane-controller --api-context keyplane-api \\
      --listen 127.0.0.1:8443 --tls-ca-out keyplane-ca.pem
      each half with an identity of its own, and a certificate made at start";

const CONTROLLER_EXAMPLES: &str = "\
Examples:
  keyplane controller
      in a pod, as the pod's ServiceAccount
  keyplane controller --kubeconfig keyplane.kubeconfig --context keyplane-controller
      elsewhere, as Keyplane's own identity";

const API_EXAMPLES: &str = "\
Examples:
  keyplane api --tls-certificate-file /tls/tls.crt --tls-private-key-file /tls/tls.key
      in a pod, with the certificate of a mounted Secret
  keyplane api --kubeconfig keyplane.kubeconfig --context keyplane-api \\
      --listen 127.0.0.1:8443 --tls-name localhost --tls-name keyplane.example --tls-ca-out keyplane-ca.pem
      elsewhere, with a certificate made at start";

/// Keyplane: the account access plane of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "keyplane", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the reconcilers and the HTTP API in one process
    #[command(after_help = ALL_EXAMPLES)]
    All {
        #[command(flatten)]
        controller: ControllerArguments,
        #[command(flatten)]
        api: ApiArguments,
        #[command(flatten)]
        kubeconfigs: KubeconfigArguments,
        /// Context for the HTTP API's requests, so that each half keeps its own rights (default: --context)
        #[arg(long, help_heading = CONNECTION)]
        api_context: Option<String>,
    },
    /// Run the reconcilers (leader-elected)
    #[command(after_help = CONTROLLER_EXAMPLES)]
    Controller {
        #[command(flatten)]
        controller: ControllerArguments,
        #[command(flatten)]
        kubeconfigs: KubeconfigArguments,
    },
    /// Run the HTTP API
    #[command(after_help = API_EXAMPLES)]
    Api {
        #[command(flatten)]
        api: ApiArguments,
        #[command(flatten)]
        kubeconfigs: KubeconfigArguments,
    },
    /// Print the OpenAPI document of the HTTP API
    ///
    /// Of every surface, whatever an installation switches off: what it serves is at /openapi.json.
    #[command(name = "openapi")]
    OpenApi,
    /// Print a shell completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of every process.
#[derive(Debug, Args)]
#[command(next_help_heading = CONNECTION)]
pub(crate) struct CommonArguments {
    /// Kubeconfig file (default: $KUBECONFIG or ~/.kube/config, else the pod's ServiceAccount)
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig (default: its current context)
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Where /healthz, /readyz and /metrics are served, as plain HTTP
    #[arg(long, global = true, default_value = "0.0.0.0:8080", value_parser = address, help_heading = ADMINISTRATION)]
    pub(crate) admin_listen: SocketAddr,
    /// How the log is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = ADMINISTRATION)]
    pub(crate) log_format: LogFormat,
    /// What is logged, as tracing filters, such as `info` or `keyplane=debug`
    #[arg(long, global = true, env = "KEYPLANE_LOG", default_value = LOG, help_heading = ADMINISTRATION)]
    pub(crate) log: String,
    /// Where the audit log is written, a JSON line for each event: a file, or - for stdout
    #[arg(long, global = true, value_name = "FILE", default_value = "-", help_heading = ADMINISTRATION)]
    pub(crate) audit_log: PathBuf,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Arguments of the reconcilers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reconcilers")]
pub(crate) struct ControllerArguments {
    /// Namespace of the lease that elects the leader
    #[arg(long, env = "KEYPLANE_NAMESPACE", default_value = "keyplane-system")]
    pub(crate) namespace: String,
    /// How long a leader that vanished keeps the lease, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub(crate) lease_seconds: u64,
}

/// How users reach the cluster and Keyplane: what stands in the kubeconfigs that are delivered with keys, and in those that
/// the HTTP API makes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubeconfigs")]
pub(crate) struct KubeconfigArguments {
    /// URL of the API server in the kubeconfigs that Keyplane makes (default: the one in use here)
    #[arg(long, value_name = "URL")]
    pub(crate) cluster_server: Option<String>,
    /// CA certificate (PEM) of the API server in those kubeconfigs (default: the one in use here)
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_ca_file: Option<PathBuf>,
    /// URL of Keyplane's API, as users reach it; without it no kubeconfig is made
    #[arg(long, value_name = "URL", env = "KEYPLANE_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
    /// CA certificate (PEM) of Keyplane's API in those kubeconfigs (default: users' own roots)
    #[arg(long, value_name = "FILE", requires = "public_url")]
    pub(crate) public_ca_file: Option<PathBuf>,
}

/// Arguments of the HTTP API.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "HTTP API")]
pub(crate) struct ApiArguments {
    /// Where the API is served, over TLS
    #[arg(long, default_value = "0.0.0.0:8443", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Where keys are verified for gateways beside Keyplane, as plain HTTP; without it only on the public port
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) internal_listen: Option<SocketAddr>,
    /// A surface that is not served; may be repeated
    #[arg(long, value_enum, value_name = "SURFACE")]
    pub(crate) disable_surface: Vec<Surface>,
    /// Certificate chain (PEM), such as tls.crt of a mounted Secret; read again when it changes
    #[arg(long, requires = "tls_private_key_file")]
    pub(crate) tls_certificate_file: Option<PathBuf>,
    /// Private key (PEM), such as tls.key of a mounted Secret
    #[arg(long, requires = "tls_certificate_file")]
    pub(crate) tls_private_key_file: Option<PathBuf>,
    /// Names and addresses in the certificate that is made at start when no file is given; may be repeated
    #[arg(long, default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()])]
    pub(crate) tls_name: Vec<String>,
    /// Where to write the CA certificate (PEM) of the certificate that is made at start
    #[arg(long)]
    pub(crate) tls_ca_out: Option<PathBuf>,
    /// Life of a cluster token, in seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(i64).range(600..=86_400))]
    pub(crate) token_seconds: i64,
    /// Address or CIDR of a proxy whose word about its client's address is taken; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) trusted_proxy: Vec<IpNet>,
    /// The header in which trusted proxies name their client; any other is ignored
    #[arg(long, value_enum, default_value_t = ForwardedHeaderName::XForwardedFor)]
    pub(crate) forwarded_header: ForwardedHeaderName,
    /// Expect the PROXY protocol, version 2, on each connection; only trusted proxies may connect then
    #[arg(long, requires = "trusted_proxy")]
    pub(crate) proxy_protocol: bool,
    /// How many uses from addresses outside a key's list lock it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) lock_after_denials: u32,
    /// Within how many seconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) lock_window_seconds: u32,
    /// Where uses are counted: `kubernetes` (in the keys' status) or `redis://HOST[:PORT][/DB]`. A URL with a password
    /// belongs in the environment variable: arguments can be read by every user of the machine
    #[arg(long, env = "KEYPLANE_USAGE_STORE", default_value = "kubernetes", hide_env_values = true)]
    pub(crate) usage_store: SecretString,
    /// How often uses are written down, in seconds: what a crash may lose, unless more keys are in use than can be written
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) usage_interval_seconds: u64,
    /// How many statuses are written a second at most, for uses
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) usage_writes_per_second: u32,
    /// How many connections may be open; one more is closed at once
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// How many of them from one address, or IPv6 /64; trusted proxies may have more
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_address: u32,
    /// How often one address, or IPv6 /64, may fail to authenticate in a minute before it must wait
    #[arg(long, default_value = "60")]
    pub(crate) failed_authentications_per_minute: NonZeroU32,
    #[command(flatten)]
    pub(crate) inference: InferenceArguments,
}

/// Arguments of the inference API.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Inference")]
pub(crate) struct InferenceArguments {
    /// Where requests below /v1/inference are passed on to, once their key is checked: what comes after /v1/inference is
    /// added to this URL's path. Without it they are answered with 503
    #[arg(long = "inference-upstream", value_name = "URL", value_parser = upstream)]
    pub(crate) upstream: Option<Uri>,
    /// CA certificate (PEM) of that server (default: the system's roots)
    #[arg(long = "inference-upstream-ca-file", value_name = "FILE", requires = "upstream")]
    pub(crate) upstream_ca_file: Option<PathBuf>,
    /// How large a request's body may be, in bytes
    #[arg(long = "inference-body-limit-bytes", value_name = "BYTES", default_value_t = 32 * 1024 * 1024)]
    pub(crate) body_limit_bytes: u64,
    /// How long that server may take until its answer begins, in seconds; what it sends then may take any time
    #[arg(long = "inference-answer-seconds", value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) answer_seconds: u64,
}

/// From which header the address of a proxy's client is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForwardedHeaderName {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// An address with a port. What is most often given instead is a port alone.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.trim_start_matches(':').parse::<u16>().unwrap_or(8443);
        format!("an IP address and a port are needed, such as 0.0.0.0:{port} or [::]:{port}")
    })
}

/// The URL of a server that requests are passed on to.
fn upstream(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        // What stands before an @ would be a password in the arguments, and is not sent.
        is_web && uri.query().is_none() && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
    });
    uri.ok_or_else(|| "a URL is needed, without user and query, such as http://inference:8000/v1".to_owned())
}

/// An address or a CIDR.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "an address or a CIDR is needed, such as 10.0.0.0/8".to_owned())
}

impl Command {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::All { .. } => "all",
            Self::Controller { .. } => "controller",
            Self::Api { .. } => "api",
            Self::OpenApi => "openapi",
            Self::Completion { .. } => "completion",
        }
    }
}
