//! `generate`: a new key, shown once, and the `ApiKey` manifest with its digest.

mod declaration;

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::declaration::{declare, until_ready};
use crate::argument_values::{display_name, key_name, namespace_name, patience, time, uuid};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::KubectlArgs;
use crate::new_key::{self, Handover};
use crate::private_file;

/// Hexadecimal digits of the digest that name a key which was given no name.
const NAME_DIGITS: usize = 10;

const NO_NAMESPACE: &str = "warning: no --namespace: the manifest goes to kubectl's current namespace; \
                            a key must stand in an account's home namespace";

const HELP: &str = "\
The manifest goes to standard output, or with --apply to the cluster. The key
goes to standard error, or with --key-out into a new file of mode 0600.

The cluster only ever sees the digest: printf %s \"$KEY\" | sha256sum

With --apply the command ends well only when the key works, unless --no-wait is
given.

Examples:
  kubectl-keyplane generate --name ci --namespace acme \\
    --kubernetes-namespace web > ci.yaml
  kubectl-keyplane generate --name laptop --namespace acme \\
    --all-namespaces --role admin --key-out laptop.key --apply
  kubectl-keyplane generate --name images --namespace acme \\
    --scope inference --expires-at 2030-01-01T00:00:00Z > images.yaml";

/// The arguments of `generate`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct GenerateArgs {
    /// Name of the `ApiKey` [default: from the digest]
    #[arg(long, value_parser = key_name)]
    pub name: Option<String>,
    /// Which cluster, and the account's home namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// Declare the key at once, with kubectl, in place of printing the manifest
    #[arg(long)]
    pub apply: bool,
    /// What people call the key, up to 64 characters
    #[arg(long, value_name = "TEXT", value_parser = display_name)]
    pub display_name: Option<String>,
    /// When the key ends, such as 2030-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires_at: Option<DateTime<Utc>>,
    /// What the key may do; kubernetes when a namespace is named
    #[arg(long)]
    pub scope: Option<ScopeArg>,
    /// Every namespace of the account, later ones included
    #[arg(long)]
    pub all_namespaces: bool,
    /// A namespace by the name of its Namespace resource; may be repeated
    #[arg(long = "kubernetes-namespace", value_name = "NAME", value_parser = namespace_name)]
    pub kubernetes_namespaces: Vec<String>,
    /// A namespace by its id; may be repeated
    #[arg(long = "namespace-id", value_name = "UUID", value_parser = uuid)]
    pub namespace_ids: Vec<String>,
    /// What the key may do in the namespaces [default: edit]
    #[arg(long)]
    pub role: Option<RoleArg>,
    /// New file for the key, mode 0600, in place of standard error
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,
    /// With --apply, how long to wait for Keyplane, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience, requires = "apply")]
    pub timeout: u64,
    /// With --apply, do not wait until the key works
    #[arg(long, requires = "apply")]
    pub no_wait: bool,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// Everything the account has.
    All,
    /// The inference API only.
    Inference,
    /// The SSH key API only.
    SshKeys,
    /// kubectl in the named namespaces.
    Kubernetes,
}

/// What a key may do in its namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleArg {
    /// Read most objects, not Secrets.
    View,
    /// Deploy and change workloads.
    #[default]
    Edit,
    /// Besides, give rights within the namespace.
    Admin,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    annotations: Annotations,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "keyplane.dev/key-prefix")]
    key_prefix: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    scope: Scope<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    digest: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Scope<'a> {
    All(bool),
    Inference(bool),
    SshKeys(bool),
    KubernetesExec(KubernetesExec<'a>),
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesExec<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    namespace_ids: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    namespaces: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    all_namespaces: Option<bool>,
    role: RoleArg,
}

/// Makes a key, writes its manifest to `out` (or has kubectl declare it) and the key, once, to `terminal` or into the file `--key-out`.
///
/// # Errors
/// [`FailureKind::Usage`] for what admission would reject, [`FailureKind::File`] for the key's file,
/// [`FailureKind::Local`] when the output or the randomness fails, [`FailureKind::Kubectl`] with `--apply`, also when the key
/// does not work in the end. The file of a key that is certainly not declared is removed.
pub fn run(args: &GenerateArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let handover = Handover::of(args.key_out.as_deref())?;
    let scope = scope(args)?;
    let expires_at = args.expires_at.map(still_to_come).transpose()?;
    let key = new_key::make()?;
    let digest = key.digest().to_string();
    let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
    let given_name = args.name.clone();
    let name = given_name.unwrap_or_else(|| format!("key-{}", hex.get(..NAME_DIGITS).unwrap_or(hex)));
    let namespace = args.kubectl.namespace.as_deref();
    let manifest = Manifest {
        api_version: "keyplane.dev/v1alpha1",
        kind: "ApiKey",
        metadata: Metadata {
            name: &name,
            namespace,
            annotations: Annotations { key_prefix: key.prefix().to_string() },
        },
        spec: Spec { display_name: args.display_name.as_deref(), scope, expires_at, digest },
    };
    let mut lines = Vec::new();
    if namespace.is_none() && !args.apply {
        lines.push(NO_NAMESPACE.to_owned());
    }
    let shown = match handover {
        Handover::File(path) => {
            new_key::keep(&key, path)?;
            lines.push(format!("The key of ApiKey {name} is in {}.", path.display()));
            None
        }
        Handover::Shown => {
            lines.push(format!(
                "Keep the key of ApiKey {name} in a file that only you can read; it is shown this once and kept nowhere:"
            ));
            Some(&key)
        }
    };
    if args.apply {
        // Shown first: a key that is declared and that nobody has would stand in the way.
        if shown.is_some() {
            new_key::tell(terminal, &lines, shown)?;
        }
        let created = declare(args, &manifest, &key, handover)?;
        until_ready(args, (&name, &created), &handover.whose(), out, terminal)?;
        if shown.is_some() {
            return Ok(());
        }
    } else {
        // A key without a manifest is of no use, and its file would be in the way of the next attempt.
        print(&manifest, out).inspect_err(|_| {
            if let Handover::File(path) = handover {
                private_file::remove(path);
            }
        })?;
    }
    new_key::tell(terminal, &lines, shown)
}

fn print(manifest: &Manifest<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let text = serde_saphyr::to_string(manifest)
        .map_err(|error| Failure::output(&io::Error::other(error.to_string())))?;
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// The scope, by the rules of admission and in its words.
fn scope(args: &GenerateArgs) -> Result<Scope<'_>, Failure> {
    let usage = |what: &str, remedy: &str| Failure::new(FailureKind::Usage, what, "generate", remedy);
    let lists = !args.kubernetes_namespaces.is_empty() || !args.namespace_ids.is_empty();
    let kubernetes = lists || args.all_namespaces || args.role.is_some();
    let scope = match (args.scope, kubernetes) {
        (Some(ScopeArg::All | ScopeArg::Inference | ScopeArg::SshKeys), true)
            if !lists && !args.all_namespaces =>
        {
            return Err(usage(
                "--role is for Kubernetes scopes",
                "leave out --role, or name namespaces and leave out --scope",
            ));
        }
        (None, false) => {
            return Err(usage(
                "At least one explicit scope is required",
                "give --scope, --all-namespaces, --kubernetes-namespace or --namespace-id",
            ));
        }
        (Some(ScopeArg::All), true) => {
            return Err(usage(
                "all cannot be combined with other scope fields",
                "leave out --scope all or what names namespaces and a role",
            ));
        }
        (Some(ScopeArg::Inference | ScopeArg::SshKeys), true) => {
            return Err(usage(
                "Explicit mixed scopes are not supported",
                "make a key for each, or one with --scope all",
            ));
        }
        (Some(ScopeArg::All), false) => return Ok(Scope::All(true)),
        (Some(ScopeArg::Inference), false) => return Ok(Scope::Inference(true)),
        (Some(ScopeArg::SshKeys), false) => return Ok(Scope::SshKeys(true)),
        (Some(ScopeArg::Kubernetes) | None, _) => KubernetesExec {
            namespace_ids: &args.namespace_ids,
            namespaces: &args.kubernetes_namespaces,
            all_namespaces: args.all_namespaces.then_some(true),
            role: args.role.unwrap_or_default(),
        },
    };
    match (args.all_namespaces, lists) {
        (false, false) => Err(usage(
            "At least one namespace ID is required unless all_namespaces is true",
            "give --all-namespaces, --kubernetes-namespace or --namespace-id",
        )),
        (true, true) => Err(usage(
            "all_namespaces cannot be combined with a list of namespaces",
            "leave out --all-namespaces or the list",
        )),
        _ => Ok(Scope::KubernetesExec(scope)),
    }
}

fn still_to_come(time: DateTime<Utc>) -> Result<String, Failure> {
    if time > Utc::now() {
        Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
    } else {
        Err(Failure::new(
            FailureKind::Usage,
            "Expiration must be in the future",
            "--expires-at",
            "give a later time, such as 2030-01-01T00:00:00Z",
        ))
    }
}
