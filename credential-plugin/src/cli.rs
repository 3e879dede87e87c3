//! What can be asked of the plugin: the commands, their arguments and their help.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::Serialize;

use crate::failure::{Failure, FailureKind};

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  the output could not be written, or the system gave no randomness
   2  usage: the arguments, the exchange's address or KUBERNETES_EXEC_INFO cannot be used, or the cluster's
      extension names an exchange or a CA that no --allow-server allows
   3  no key: none given, unreadable, open to other users, or mistyped
   4  the exchange refused the key (401)
   5  the key gives no Kubernetes access (403)
   6  the exchange cannot be reached in time
   7  TLS: the exchange's certificate is not trusted, or the handshake failed
   8  the exchange's answer is no token
   9  the exchange asks to come back later (429, 503)
  10  the token's remaining life is under 75 seconds
  11  a file could not be read or written

A failure is one line on standard error; get-token is silent there when it succeeds.";

const GET_TOKEN_HELP: &str = "\
The exchange is --server; else the `server` in the cluster's extension client.authentication.k8s.io/exec, which the \
client passes on with `provideClusterInfo: true`; else KEYPLANE_URL. The extension's is used only when an \
--allow-server is the same address, and only over https.
The CA is --certificate-authority; else, for the extension's address, the extension's, and only when --allow-server \
holds its SHA-256 (sha256sum ca.pem); for --server and KEYPLANE_URL it is KEYPLANE_CA_FILE. Without a CA, the \
operating system's roots are trusted. An empty variable counts as unset.
The key is read from --key-file, else from the environment variable KEYPLANE_API_KEY; it is never an argument.
A client that asks again within 10 s was refused by the API server: then the cached token is not given again, and \
the exchange is asked anew.

Examples:
  kubectl-keyplane get-token --server https://keyplane.example.com \\
    --key-file ~/.config/keyplane/key
  KEYPLANE_URL=https://keyplane.example.com \\
    kubectl-keyplane get-token --no-cache
  kubectl-keyplane get-token --key-file ~/.config/keyplane/key \\
    --allow-server https://one.example.com
  kubectl-keyplane get-token --key-file ~/.config/keyplane/key \\
    --allow-server \"https://two.example.com#sha256:$(\\
      sha256sum two-ca.pem | cut -d' ' -f1)\"";

const GENERATE_HELP: &str = "\
The manifest goes to standard output. The key goes to standard error, or with --key-out into a new file of mode 0600.
The cluster only ever sees the digest: printf %s \"$KEY\" | sha256sum

Examples:
  kubectl-keyplane generate --name ci --namespace acme \\
    --kubernetes-namespace web > ci.yaml
  kubectl-keyplane generate --name laptop --namespace acme \\
    --all-namespaces --role admin --key-out laptop.key | kubectl apply -f -
  kubectl-keyplane generate --name images --namespace acme \\
    --scope inference --expires-at 2030-01-01T00:00:00Z > images.yaml";

const KUBECONFIG_HELP: &str = "\
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

const COMPLETION_HELP: &str = "\
Examples:
  source <(kubectl-keyplane completion bash)
  kubectl-keyplane completion zsh > ~/.zfunc/_kubectl-keyplane";

/// Swaps a Keyplane API key for a short-lived cluster token.
#[derive(Parser, Debug)]
#[command(name = "kubectl-keyplane", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print a cluster token as an exec credential: what kubectl calls
    #[command(after_help = GET_TOKEN_HELP)]
    GetToken(GetTokenArgs),
    /// Make a new key, shown once, and the `ApiKey` manifest with its digest
    #[command(after_help = GENERATE_HELP)]
    Generate(GenerateArgs),
    /// Write a kubeconfig that calls this plugin
    #[command(after_help = KUBECONFIG_HELP)]
    Kubeconfig(Box<KubeconfigArgs>),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETION_HELP)]
    Completion(CompletionArgs),
}

/// The arguments of `get-token`.
#[derive(Args, Debug)]
pub struct GetTokenArgs {
    /// The exchange's URL: https, or http to this machine itself; wins over the cluster's and `KEYPLANE_URL`
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// An exchange that the cluster's extension may name, with the SHA-256 of the CA it brings; may be repeated
    #[arg(long = "allow-server", value_name = "URL[#sha256:HEX]")]
    pub allow_servers: Vec<String>,
    /// PEM file with the exchange's CA; wins over the cluster's and `KEYPLANE_CA_FILE`
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// File with the API key alone, readable by nobody but you
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Folder of the token cache [default: `KEYPLANE_CACHE_DIR`, else keyplane in the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache_dir: Option<PathBuf>,
    /// Neither read nor write the token cache
    #[arg(long)]
    pub no_cache: bool,
    /// Seconds that all attempts together may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
}

/// The arguments of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Name of the `ApiKey` [default: from the digest]
    #[arg(long, value_parser = key_name)]
    pub name: Option<String>,
    /// The account's home namespace
    #[arg(long, value_name = "HOME", value_parser = namespace_name)]
    pub namespace: Option<String>,
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

/// The arguments of `kubeconfig`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("key"))]
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

/// The arguments of `completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// What came of reading the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// A command to run.
    Command(Command),
    /// A text to print: the help or the version.
    Text(String),
    /// There was no command: the help to print instead.
    NothingAsked(String),
}

/// Reads the program's arguments, its own name first.
///
/// # Errors
/// [`FailureKind::Usage`], in one line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => Ok(Parsed::Command(cli.command)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Parsed::Text(error.render().to_string()))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Ok(Parsed::NothingAsked(error.render().to_string()))
        }
        Err(error) => {
            let text = error.render().to_string();
            // The first paragraph says what is wrong; usage and tips follow it.
            let what = text.split("\n\n").next().unwrap_or_default();
            Err(Failure::new(
                FailureKind::Usage,
                what.strip_prefix("error: ").unwrap_or(what).trim(),
                "",
                format!("see kubectl-keyplane {}--help", command_of(&args)),
            ))
        }
    }
}

/// The command among the arguments, with a space after it, or nothing.
fn command_of(args: &[OsString]) -> String {
    let cli = Cli::command();
    let asked = args.get(1).and_then(|arg| arg.to_str());
    let command = asked.and_then(|name| cli.find_subcommand(name));
    command.map_or_else(String::new, |command| format!("{} ", command.get_name()))
}

fn key_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.starts_with('-')
            && !label.ends_with('-')
            && !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.len() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else if text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a name holds lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit".to_owned())
    }
}

fn namespace_name(text: &str) -> Result<String, String> {
    if text.len() > 63 || text.contains('.') {
        Err("a namespace's name has up to 63 lower-case letters, digits and '-'".to_owned())
    } else {
        key_name(text)
    }
}

fn display_name(text: &str) -> Result<String, String> {
    if text.chars().count() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "give a time such as 2030-01-01T00:00:00Z".to_owned())
}

fn uuid(text: &str) -> Result<String, String> {
    let groups: Vec<&str> = text.split('-').collect();
    let sound = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    if sound {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id is a UUID, such as the metadata.uid of the Namespace resource".to_owned())
    }
}
