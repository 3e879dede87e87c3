//! `login`: checks a key with the exchange and keeps it on this machine.

use std::io::{self, IsTerminal as _, Write};
use std::path::{self, PathBuf};

use chrono::Utc;
use clap::{ArgGroup, Args};
use keyplane_core::key_format::{KeyDigest, PlaintextKey};

use crate::commands::whoami::Identity;
use crate::environment::{self, KEY_VARIABLE};
use crate::exchange::address::BaseUrl;
use crate::exchange::arguments::ExchangeArgs;
use crate::failure::{Failure, FailureKind};
use crate::hidden_prompt;
use crate::key_source::{
    self, KeptKey, KeyArgs, KeyCommand, Store, StoreChoice, kept_key_name, read_file, read_input,
    read_variable,
};
use crate::kubeconfig::current::ContextArgs;
use crate::output;
use crate::secret_text::without_keys;
use crate::target::{Target, context_for};
use crate::token::cache_folder::CacheArgs;
use crate::token::slot_family::SlotFamily;
use crate::typed_command::word;
use crate::verbose;

const HELP: &str = "\
The key is asked for at the terminal, without showing it; without a terminal it is the one line of standard input. It is \
kept only when the exchange accepts it: in the operating system's keyring, else in a file of mode 0600 below \
KEYPLANE_CONFIG_DIR, $XDG_CONFIG_HOME/keyplane or ~/.config/keyplane, on Windows %LOCALAPPDATA%\\keyplane.
One key is kept for each exchange; for more, give each a --key-name, and get-token the same one.
The exchange is --server, else KEYPLANE_URL, else the one of the kubeconfig's current context, when its user calls this \
plugin. get-token uses the kept key where neither --key-file nor KEYPLANE_API_KEY gives one.

Examples:
  kubectl-keyplane login --server https://keyplane.example.com
  pass show keyplane | kubectl-keyplane login
  kubectl-keyplane login --key-name acme --key-file acme-key \\
    --server https://keyplane.example.com";

/// Whether this program can ask a keyring at all.
const KEYRING_IS_BUILT_IN: bool = cfg!(any(feature = "keyring", target_os = "macos", windows));

/// The arguments of `login`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("given"), after_help = HELP)]
pub struct LoginArgs {
    /// Which exchange.
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Which context.
    #[command(flatten)]
    pub context: ContextArgs,
    /// Keep the key in this file, readable by nobody but you
    #[arg(long, value_name = "FILE", group = "given")]
    pub key_file: Option<PathBuf>,
    /// Keep the key that is the first line of this command's output
    #[arg(long, value_name = "COMMAND", group = "given")]
    pub key_command: Option<String>,
    /// Keep the key in the environment variable `KEYPLANE_API_KEY`
    #[arg(long, group = "given")]
    pub from_env: bool,
    /// Name to keep it under, when the exchange shall have several [default: none, or the context's]
    #[arg(long, value_name = "NAME", value_parser = kept_key_name)]
    pub key_name: Option<String>,
    /// Where to keep it
    #[arg(long, value_enum, default_value_t)]
    pub store: StoreChoice,
    /// Which cache.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Checks the key, keeps it, and writes to `out` what it may do; what to know besides goes to `terminal`.
///
/// # Errors
/// [`FailureKind::NoKey`] for a key that is none, what the exchange says against it, [`FailureKind::File`] when it cannot
/// be kept. Then what was kept before is still there, unless the last one says otherwise.
pub fn run(args: &LoginArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let target = Target::find(&args.exchange, &args.context, &KeyArgs::default(), &args.cache)?;
    if args.store == StoreChoice::Keyring && !KEYRING_IS_BUILT_IN {
        return Err(no_keyring());
    }
    let base = &target.exchange.base;
    let name = args.key_name.as_deref().or(target.key.key_name.as_deref());
    let place = KeptKey::of(base, name).ok_or_else(no_folder)?;
    let key = given_key(args, &target)?;
    let identity = Identity::ask(&target.exchange, &key, args.exchange.timeout())?;
    let before = place.record();
    let kept = place.keep(&key, args.store)?;
    output::list(&identity.lines(Utc::now()), out)?;

    let mut tell = |text: String| output::line(terminal, &without_keys(&text));
    tell(format!("Kept for {} in {}", base.as_str(), kept.place))?;
    if let (Store::File, Some(why)) = (kept.store, &kept.no_keyring) {
        tell(format!("No keyring is used: {why}. Who can read your files has the key (mode 0600)"))?;
    }
    if let Some(before) = before.filter(|before| before.digest() != Some(key.digest())) {
        forget_tokens(&target, before.digest());
        tell(format!("It replaces the key {}, which still works until it is revoked", before.prefix()))?;
    }
    if !identity.gives_kubernetes_access() {
        tell("warning: this key gives no access with kubectl".to_owned())?;
    }
    for source in sources_before(&target.key, name) {
        tell(format!("warning: {source} comes before the kept key"))?;
    }
    let context = target.context.clone().or_else(|| context_for(base, name, &args.context));
    match context {
        Some(context) => tell(format!("kubectl uses it from now on in context {context}")),
        None => tell(next_step(base, &target.arguments, name)),
    }
}

fn given_key(args: &LoginArgs, target: &Target) -> Result<PlaintextKey, Failure> {
    if let Some(path) = &args.key_file {
        return read_file(path);
    }
    if let Some(text) = &args.key_command {
        let limit = KeyArgs::default().command_limit();
        return KeyCommand::parse(text, limit, &target.exchange.base, None)?.run();
    }
    if args.from_env {
        return environment::value(KEY_VARIABLE).ok_or_else(no_variable).and_then(read_variable);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return read_input(stdin.lock(), "standard input");
    }
    let prompt = format!("API key for {}: ", target.exchange.base.as_str());
    let typed = hidden_prompt::ask(&prompt).map_err(|error| {
        Failure::new(
            FailureKind::NoKey,
            format!("the key cannot be asked for: {error}"),
            "the terminal",
            "give the key on standard input, or with --key-file FILE",
        )
    })?;
    read_input(typed.trim().as_bytes(), "the terminal")
}

/// What get-token would use in place of the kept key.
fn sources_before(context: &KeyArgs, name: Option<&str>) -> Vec<String> {
    let file = context.key_file.as_deref();
    let mut sources: Vec<String> =
        file.iter().map(|path| format!("the context's --key-file {}", path.display())).collect();
    if name.is_none() && environment::value(KEY_VARIABLE).is_some() {
        sources.push(format!("the environment variable {KEY_VARIABLE}"));
    }
    sources
}

/// The command that makes kubectl use the key, word for word, with what was said about the exchange; or, where no
/// kubeconfig can name the exchange, the one that prints a token.
fn next_step(base: &BaseUrl, given: &ExchangeArgs, name: Option<&str>) -> String {
    let ca = given.certificate_authority.as_ref();
    let ca = ca.map(|path| path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string());
    let arguments = [
        ("--certificate-authority", ca.as_deref()),
        ("--tls-server-name", given.tls_server_name.as_deref()),
        ("--proxy-url", given.proxy_url.as_deref()),
        ("--key-name", name),
    ];
    let arguments =
        arguments.into_iter().filter_map(|(argument, value)| Some(format!(" {argument} {}", word(value?))));
    let words = format!("--server {}{}", base.as_str(), arguments.collect::<String>());
    if base.is_https() {
        format!("Next: kubectl keyplane kubeconfig --merge {words}")
    } else {
        format!(
            "No kubeconfig can name an exchange of plain http; for a token: kubectl keyplane get-token {words}"
        )
    }
}

pub(super) fn forget_tokens(target: &Target, digest: Option<KeyDigest>) {
    if let (Some(folder), Some(digest)) = (&target.cache, digest) {
        verbose::note(format_args!("looking for the key's tokens in {}", folder.display()));
        SlotFamily::of(&target.exchange.base, digest).forget(folder);
    }
}

fn no_variable() -> Failure {
    Failure::new(
        FailureKind::NoKey,
        format!("the environment variable {KEY_VARIABLE} is not set"),
        "--from-env",
        format!("set {KEY_VARIABLE}, or leave out --from-env to be asked for the key"),
    )
}

fn no_keyring() -> Failure {
    Failure::new(
        FailureKind::File,
        "this kubectl-keyplane is built without a keyring",
        "--store keyring",
        "keep the key in a private file with --store file, or build kubectl-keyplane with the feature keyring",
    )
}

pub(super) fn no_folder() -> Failure {
    Failure::new(
        FailureKind::File,
        "the system names no folder in which keys could be kept",
        key_source::NONE_IS_NAMED,
        "set KEYPLANE_CONFIG_DIR to a folder of yours",
    )
}
