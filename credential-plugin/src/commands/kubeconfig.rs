//! `kubeconfig`: writes or merges a kubeconfig that calls this plugin.

use std::io::Write;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::Value;

use crate::argument_values::namespace_name;
use crate::exchange::arguments::ExchangeArgs;
use crate::failure::Failure;
use crate::key_source::KeyArgs;
use crate::kubeconfig::assembly;
use crate::kubeconfig::destination::{FileChange, Files};
use crate::kubeconfig::document::to_yaml;
use crate::kubeconfig::entries::Entries;
use crate::kubeconfig::file::backup_path;
use crate::kubeconfig::merge::{Permission, merge};
use crate::kubeconfig::shown::shown;
use crate::output;
use crate::typed_command::word;

const HELP: &str = "\
The exchange is --server, else KEYPLANE_URL, else the one of the current context, when its user calls this plugin; then \
the key, CA, TLS name and proxy are that user's too, unless arguments name others; a relative path of that user's is \
refused.
Without --cluster-server the exchange is asked, with your key, for the API server's address and CA and for the \
namespaces that the key reaches; each gets a context. Nothing else is taken from its answer. The contexts are called \
CLUSTER-NAMESPACE, or CLUSTER where there is no namespace.

Without --merge or --merge-into the whole kubeconfig of this one cluster goes to standard output, and no file is touched.
--merge puts the entries where kubectl config would: an entry that exists is changed in the file of KUBECONFIG in which \
it stands; a new one goes into the first of these files that exists, else into the last; without KUBECONFIG all is in \
~/.kube/config. --merge-into FILE merges into that file, or makes it (mode 0600). All other lines stay as they are. \
An entry of the same name for another server, key or cluster is left alone and is an error, unless --replace is given. \
current-context is set only when there is none, or with --set-current.
Before a file is changed, what it held goes to FILE.keyplane-backup (mode 0600), which keeps the last change only. \
kubectl's lock FILE.lock is waited for up to 5 s.
The key is found when kubectl calls the plugin: in --key-file, by --key-command, or else as get-token finds it \
(KEYPLANE_API_KEY, or the key that login keeps). A command that asks a person must do so without standard input.
One user serves many clusters: give each cluster the same --user and key, and the same --tls-server-name, --proxy-url \
and --key-command-timeout, if any: these stand in the user's entry too, and with others it is another user. The user's \
exec args say to which exchanges its key may go (--allow-server, with the SHA-256 of the CA), and each merge adds its own.

Examples:
  kubectl-keyplane kubeconfig --merge \\
    --server https://keyplane.example.com
  kubectl-keyplane kubeconfig --merge
  kubectl-keyplane kubeconfig --merge --dry-run \\
    --server https://keyplane.example.com \\
    --cluster prod --namespace acme-web --namespace acme-db
  kubectl-keyplane kubeconfig --cluster prod \\
    --server https://keyplane.example.com \\
    --cluster-server https://prod.example.com:6443 \\
    --cluster-certificate-authority prod-ca.pem \\
    --key-file ~/.config/keyplane/key --namespace acme-web \\
    --merge-into ~/.kube/prod
  kubectl-keyplane kubeconfig --cluster prod \\
    --server https://keyplane.example.com \\
    --cluster-server https://prod.example.com:6443 > prod.kubeconfig";

/// Elsewhere it may be plain http to this machine itself, which no kubeconfig can name.
const SERVER_HELP: &str = "The exchange's URL, https; wins over KEYPLANE_URL and the current context's";

/// The arguments of `kubeconfig`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP, mut_arg("server", |server| server.help(SERVER_HELP)))]
pub struct KubeconfigArgs {
    /// Which exchange.
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Name of the cluster's entry [default: what the exchange calls it]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The API server's URL [default: what the exchange says]
    #[arg(long, value_name = "URL", requires = "cluster")]
    pub cluster_server: Option<String>,
    /// PEM file with the API server's CA; its content goes into the kubeconfig
    #[arg(long, value_name = "FILE")]
    pub cluster_certificate_authority: Option<PathBuf>,
    /// Which key, for asking the exchange now, and for the plugin later.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Write the key in `KEYPLANE_API_KEY` into the kubeconfig: who reads the file has the key
    #[arg(long, conflicts_with_all = ["key_file", "key_name", "key_command"])]
    pub embed_key_env: bool,
    /// Name of the user's entry
    #[arg(long, value_name = "NAME", default_value = "keyplane")]
    pub user: String,
    /// Name of the only context's entry
    #[arg(long, value_name = "NAME", conflicts_with = "context_prefix")]
    pub context: Option<String>,
    /// What each context's name begins with, in the place of CLUSTER-
    #[arg(long, value_name = "TEXT")]
    pub context_prefix: Option<String>,
    /// A namespace to make a context for; may be repeated
    #[arg(long = "namespace", short, value_name = "NAMESPACE", value_parser = namespace_name)]
    pub namespaces: Vec<String>,
    /// A context for each namespace that the key reaches: asks the exchange, as without --cluster-server
    #[arg(long, conflicts_with = "namespaces")]
    pub all_namespaces: bool,
    /// Where to.
    #[command(flatten)]
    pub destination: DestinationArgs,
    /// Make the first context the current one
    #[arg(long, requires = "destination")]
    pub set_current: bool,
}

/// Where the entries go to.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("destination"))]
pub struct DestinationArgs {
    /// Merge into your own kubeconfig: KUBECONFIG, else ~/.kube/config
    #[arg(long, group = "destination")]
    pub merge: bool,
    /// File to merge into, or to make
    #[arg(long, value_name = "FILE", group = "destination")]
    pub merge_into: Option<PathBuf>,
    /// Print what would change, and the entries as they would be; write nothing
    #[arg(long, requires = "destination")]
    pub dry_run: bool,
    /// Replace entries of the same names, whatever they were for
    #[arg(long, requires = "destination")]
    pub replace: bool,
}

impl DestinationArgs {
    fn files(&self) -> Option<Result<Files, Failure>> {
        match &self.merge_into {
            Some(path) => Some(Ok(Files::one(path))),
            None => self.merge.then(Files::own),
        }
    }
}

/// Writes the kubeconfig to `out`, or merges it into files; warnings, and what was done, go to `terminal`.
///
/// # Errors
/// As [`assembly::entries`] and [`Files::merge`], and [`FailureKind::Local`](crate::failure::FailureKind::Local) for the
/// output.
pub fn run(args: &KubeconfigArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let entries = assembly::entries(args, terminal)?;
    let permission = Permission { replace: args.destination.replace, set_current: args.set_current };
    let mut tell = |line: String| writeln!(terminal, "{line}").map_err(|error| Failure::output(&error));
    if args.embed_key_env {
        tell("warning: the kubeconfig holds the API key itself; keep it as secret as the key".to_owned())?;
    }
    if let Some(path) = args.key.key_file.as_deref().filter(|path| !path.exists()) {
        tell(format!("warning: there is no key file at {} yet", path.display()))?;
    }
    let Some(files) = args.destination.files().transpose()? else {
        return print(&entries, out);
    };
    let changes = if args.destination.dry_run {
        files.preview(&entries, permission)?
    } else {
        files.merge(&entries, permission, args.embed_key_env)?
    };
    if args.destination.dry_run {
        show(&changes, out)?;
        writeln!(out).map_err(|error| Failure::output(&error))?;
        let current = changes.iter().find_map(FileChange::new_current_context);
        write(&shown(changes.iter().flat_map(FileChange::merged), current), out)?;
    }
    for change in &changes {
        for line in told(change, args.destination.dry_run) {
            tell(line)?;
        }
    }
    match &entries.current_context {
        Some(wanted) if args.destination.merge && !args.destination.dry_run => {
            tell(current_context(&changes, wanted))
        }
        _ => Ok(()),
    }
}

fn print(entries: &Entries, out: &mut impl Write) -> Result<(), Failure> {
    write(&merge(Value::Null, entries, Permission::default(), "standard output")?, out)
}

fn write(config: &Value, out: &mut impl Write) -> Result<(), Failure> {
    let text = to_yaml(config)?;
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// A table of what becomes of each entry; nothing of anybody else's is in it.
fn show(changes: &[FileChange], out: &mut impl Write) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for change in changes {
        let file = change.path().display().to_string();
        for (section, name, effect) in change.effects() {
            rows.push([&*file, section.content(), name, effect.as_str()].map(str::to_owned).to_vec());
        }
        if let Some(current) = change.new_current_context() {
            rows.push([&*file, "current-context", current, "set"].map(str::to_owned).to_vec());
        }
    }
    output::table(&["FILE", "ENTRY", "NAME", "CHANGE"], &rows, out)
}

/// Whether kubectl uses the first of the contexts now, or how it does.
fn current_context(changes: &[FileChange], wanted: &str) -> String {
    if changes.iter().any(|change| change.current_context() == Some(wanted)) {
        return format!("The current context is {wanted}");
    }
    format!("To use it: kubectl config use-context {}", word(wanted))
}

/// What a person is told about a file.
fn told(change: &FileChange, dry_run: bool) -> Vec<String> {
    let path = change.path().display();
    let mut lines = Vec::new();
    let (will, backup) = if dry_run {
        ("would", backup_path(change.path()))
    } else {
        ("could", change.backup.clone().unwrap_or_default())
    };
    if change.existed() && !change.keeps_layout() {
        lines.push(format!(
            "warning: {path} {will} not be changed line by line: its comments and layout are lost, and kept in {}",
            backup.display()
        ));
    }
    if change.is_open_to_others {
        lines.push(format!("warning: other users can read {path}; run: chmod 600 {path}"));
    }
    if dry_run {
        return lines;
    }
    let names: Vec<&str> = change.entries.contexts.iter().map(|context| context.name.as_str()).collect();
    let what = match names.as_slice() {
        [] => "entries".to_owned(),
        [name] => format!("context {name}"),
        names => format!("contexts {}", names.join(", ")),
    };
    lines.push(match (change.is_change(), &change.backup) {
        (false, _) => format!("Nothing to change in {path}"),
        (true, None) => format!("Wrote {what} to {path}"),
        (true, Some(backup)) => format!("Wrote {what} to {path}; what it held is in {}", backup.display()),
    });
    lines
}
