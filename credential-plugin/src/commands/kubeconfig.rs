//! `kubeconfig`: writes or merges a kubeconfig that calls this plugin.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use ureq::http::Uri;
use zeroize::Zeroizing;

use crate::argument_values::namespace_name;
use crate::environment::{self, CA_VARIABLE, URL_VARIABLE};
use crate::exchange::address::{BaseUrl, read_pem};
use crate::exchange::allowed::{ALLOW_SERVER, AllowedExchange};
use crate::exec_protocol::ApiVersion;
use crate::failure::{Failure, FailureKind};
use crate::key_source::{self, KEY_VARIABLE};
use crate::kubeconfig::merge::{Entries, Permission, merge};
use crate::private_file::{self, Durability};

/// What kubectl prints when the plugin is not installed.
const INSTALL_HINT: &str = "kubectl-keyplane is not on PATH. Build it with: cargo build --release \
                            -p keyplane-credential-plugin, and put target/release/kubectl-keyplane on PATH";

const HELP: &str = "\
Without --output the whole kubeconfig of this one cluster goes to standard output, and no file is touched.
With --output FILE it is merged into that file, or makes it (mode 0600): other entries and unknown fields stay, \
comments do not. An entry of the same name for another server, key or cluster is left alone and is an error, \
unless --replace is given. current-context is set only when there is none, or with --set-current.
One user serves many clusters: give each cluster the same --user and key. The user's exec args say to which exchanges \
its key may go (--allow-server, with the SHA-256 of the CA), and each merge adds its own.

Examples:
  kubectl-keyplane kubeconfig --cluster prod \\
    --server https://keyplane.example.com \\
    --cluster-server https://prod.example.com:6443 \\
    --cluster-certificate-authority prod-ca.pem \\
    --key-file ~/.config/keyplane/key --namespace acme-web \\
    --output ~/.kube/config
  kubectl-keyplane kubeconfig --cluster prod \\
    --server https://keyplane.example.com \\
    --cluster-server https://prod.example.com:6443 > prod.kubeconfig";

/// The arguments of `kubeconfig`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("key"), after_help = HELP)]
pub struct KubeconfigArgs {
    /// The exchange's URL, https [default: `KEYPLANE_URL`]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// PEM file with the exchange's CA; its content goes into the kubeconfig [default: `KEYPLANE_CA_FILE`]
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Name of the cluster's entry
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// The API server's URL
    #[arg(long, value_name = "URL")]
    pub cluster_server: String,
    /// PEM file with the API server's CA; its content goes into the kubeconfig
    #[arg(long, value_name = "FILE")]
    pub cluster_certificate_authority: Option<PathBuf>,
    /// File from which the plugin shall read the key
    #[arg(long, value_name = "FILE", group = "key")]
    pub key_file: Option<PathBuf>,
    /// Write the key in `KEYPLANE_API_KEY` into the kubeconfig: who reads the file has the key
    #[arg(long, group = "key")]
    pub embed_key_env: bool,
    /// Name of the user's entry
    #[arg(long, value_name = "NAME", default_value = "keyplane")]
    pub user: String,
    /// Name of the context's entry [default: CLUSTER or CLUSTER-NAMESPACE]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The context's namespace
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace_name)]
    pub namespace: Option<String>,
    /// File to merge into, or to make
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Make the context the current one
    #[arg(long)]
    pub set_current: bool,
    /// Replace entries of the same names, whatever they were for
    #[arg(long)]
    pub replace: bool,
}

/// Writes the kubeconfig to `out`, or merges it into `--output`; warnings go to `terminal`.
///
/// # Errors
/// [`FailureKind::Usage`] for an address, [`FailureKind::NoKey`] for a key that is not one, [`FailureKind::File`] for
/// a file or an entry that may not be replaced, [`FailureKind::Local`] for the output.
pub fn run(args: &KubeconfigArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let entries = entries(args)?;
    let permission = Permission { replace: args.replace, set_current: args.set_current };
    let mut tell = |line: String| {
        terminal
            .write_all(line.as_bytes())
            .and_then(|()| terminal.write_all(b"\n"))
            .map_err(|error| Failure::output(&error))
    };
    if args.embed_key_env {
        tell("warning: the kubeconfig holds the API key itself; keep it as secret as the key".to_owned())?;
    }
    if let Some(path) = args.key_file.as_deref().filter(|path| !path.exists()) {
        tell(format!("warning: there is no key file at {} yet", path.display()))?;
    }
    let Some(path) = &args.output else {
        let text = to_yaml(&merge(Value::Null, &entries, permission)?)?;
        return out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error));
    };
    merge_into(path, &entries, permission)?;
    tell(format!("Wrote context {} to {}", entries.context_name, path.display()))
}

fn entries(args: &KubeconfigArgs) -> Result<Entries, Failure> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => environment::text(URL_VARIABLE)?.ok_or_else(unknown_server)?,
    };
    let base = BaseUrl::parse(&server)?;
    let mut exchange = json!({"server": base.as_str()});
    let ca_file = args.certificate_authority.clone();
    let ca_file = ca_file.or_else(|| environment::path(CA_VARIABLE));
    let ca = ca_file.as_deref().map(read_pem).transpose()?;
    if let (Some(pem), Some(exchange)) = (&ca, exchange.as_object_mut()) {
        exchange.insert("certificateAuthorityData".to_owned(), json!(STANDARD.encode(pem)));
    }
    let allowed = AllowedExchange::new(base, ca.as_deref())?;
    let cluster_ca = args.cluster_certificate_authority.as_deref().map(read_pem).transpose()?;
    let context_name = args.context.clone().unwrap_or_else(|| match &args.namespace {
        Some(namespace) => format!("{}-{namespace}", args.cluster),
        None => args.cluster.clone(),
    });
    Ok(Entries {
        cluster_name: args.cluster.clone(),
        cluster_server: cluster_server(&args.cluster_server)?,
        cluster_ca: cluster_ca.map(|pem| STANDARD.encode(pem)),
        exchange,
        user_name: args.user.clone(),
        exec: exec(args, &allowed)?,
        context_name,
        namespace: args.namespace.clone(),
    })
}

fn unknown_server() -> Failure {
    Failure::new(
        FailureKind::Usage,
        "the exchange's address is not known",
        format!("neither --server nor {URL_VARIABLE} names it"),
        "give --server URL; see kubectl-keyplane kubeconfig --help",
    )
}

fn cluster_server(text: &str) -> Result<String, Failure> {
    let sound = text
        .parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some());
    if sound {
        Ok(text.to_owned())
    } else {
        Err(Failure::new(
            FailureKind::Usage,
            "the API server's address is no URL",
            text,
            "give it as https://HOST[:PORT] with --cluster-server",
        ))
    }
}

/// The user's `exec` section. The cluster's extension says which exchange is the cluster's, so that one user serves
/// many clusters; the user's section says to which exchanges its key may go at all.
fn exec(args: &KubeconfigArgs, allowed: &AllowedExchange) -> Result<Value, Failure> {
    let mut command_args = vec!["get-token".to_owned()];
    let mut environment = Vec::new();
    if let Some(path) = &args.key_file {
        command_args.push("--key-file".to_owned());
        command_args.push(key_file(path)?);
    }
    command_args.extend([ALLOW_SERVER.to_owned(), allowed.to_string()]);
    if args.embed_key_env {
        let key = key_source::read(None, env::var_os(KEY_VARIABLE))?;
        environment.push(json!({"name": KEY_VARIABLE, "value": key.expose()}));
    }
    let mut exec = json!({
        "apiVersion": ApiVersion::V1.as_str(),
        "command": "kubectl-keyplane",
        "args": command_args,
        "interactiveMode": "Never",
        "provideClusterInfo": true,
        "installHint": INSTALL_HINT,
    });
    if let (false, Some(exec)) = (environment.is_empty(), exec.as_object_mut()) {
        exec.insert("env".to_owned(), Value::Array(environment));
    }
    Ok(exec)
}

/// The key file as an absolute path: kubectl starts the plugin in the user's current folder. When the file is there
/// already, its key is checked; a kubeconfig may also be made for another machine.
fn key_file(path: &Path) -> Result<String, Failure> {
    if path.exists() {
        key_source::read_file(path)?;
    }
    let unusable = || {
        Failure::new(
            FailureKind::Usage,
            "the key file's path cannot be written into a kubeconfig",
            path.display().to_string(),
            "give an absolute path of plain text",
        )
    };
    let absolute = path::absolute(path).map_err(|_| unusable())?;
    absolute.into_os_string().into_string().map_err(|_| unusable())
}

/// A kubeconfig as text, in the manner of kubectl: certificates on one line, and in quotes what YAML 1.1 would read
/// as something else than text.
///
/// # Errors
/// [`FailureKind::Local`]; no JSON value is known that gives it.
pub fn to_yaml(config: &Value) -> Result<Zeroizing<String>, Failure> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(config, options)
        .map(Zeroizing::new)
        .map_err(|error| Failure::output(&io::Error::other(error.to_string())))
}

fn merge_into(path: &Path, entries: &Entries, permission: Permission) -> Result<(), Failure> {
    let failed = |what: &str, error: &io::Error| {
        Failure::new(
            FailureKind::File,
            format!("the kubeconfig cannot be {what}: {error}"),
            path.display().to_string(),
            "give --output a file you may read and write",
        )
    };
    // A link stays a link, and what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| failed("made", &error))?;
    }
    let _lock = Lock::take(&target)?;
    let old = match fs::read_to_string(&target) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::new(String::new()),
        Err(error) => return Err(failed("read", &error)),
    };
    let merged = merge(parse(&old, path)?, entries, permission)?;
    private_file::replace(&target, to_yaml(&merged)?.as_bytes(), Durability::Durable)
        .map_err(|error| failed("written", &error))
}

fn parse(text: &str, path: &Path) -> Result<Value, Failure> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| {
        // The parser's own words quote the file, which holds secrets; its position is enough.
        let place = error.location().map_or_else(String::new, |location| {
            format!(" at line {} column {}", location.line(), location.column())
        });
        Failure::new(
            FailureKind::File,
            format!("the kubeconfig is not YAML{place}"),
            path.display().to_string(),
            "mend it by hand, or give another file with --output",
        )
    })
}

/// kubectl's own lock on a kubeconfig: a file of the same name and `.lock`, gone when this is dropped.
struct Lock(PathBuf);

impl Lock {
    fn take(config: &Path) -> Result<Self, Failure> {
        let mut name = config.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        private_file::create_new(&path).map_err(|error| {
            Failure::new(
                FailureKind::File,
                format!("the kubeconfig cannot be locked: {error}"),
                path.display().to_string(),
                "wait for the other command to end; if there is none, remove this file",
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
