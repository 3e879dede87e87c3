//! `logout`: removes a kept key and its cached tokens from this machine.

use std::io::Write;

use clap::Args;

use crate::commands::login::{forget_tokens, no_folder};
use crate::exchange::arguments::ExchangeArgs;
use crate::failure::Failure;
use crate::key_source::{KeptKey, KeyArgs, Record, kept_key_name};
use crate::kubeconfig::current::ContextArgs;
use crate::target::Target;
use crate::token::cache_folder::CacheArgs;
use crate::verbose;

const HELP: &str = "\
The exchange is found as login finds it, and is not asked. The key itself still works for whoever has a copy: revoke it \
with kubectl keyplane apikeys revoke. To log out twice is no error.

Examples:
  kubectl-keyplane logout
  kubectl-keyplane logout --server https://keyplane.example.com \\
    --key-name acme";

/// The arguments of `logout`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct LogoutArgs {
    /// Which exchange.
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Which context.
    #[command(flatten)]
    pub context: ContextArgs,
    /// The name that the key is kept under [default: none, or the context's]
    #[arg(long, value_name = "NAME", value_parser = kept_key_name)]
    pub key_name: Option<String>,
    /// Which cache.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Removes the kept key, its record and its tokens, and tells so on `terminal`.
///
/// # Errors
/// Those of finding the exchange, and [`FailureKind::File`](crate::failure::FailureKind::File) when something cannot be
/// removed.
pub fn run(args: &LogoutArgs, _out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let target = Target::find(&args.exchange, &args.context, &KeyArgs::default(), &args.cache)?;
    let name = args.key_name.as_deref().or(target.key.key_name.as_deref());
    verbose::note(format_args!("the exchange is {}; it is not asked", target.exchange.base.as_str()));
    let place = KeptKey::of(&target.exchange.base, name).ok_or_else(no_folder)?;
    let forgotten = place.forget()?;
    forget_tokens(&target, forgotten.record.as_ref().and_then(Record::digest));
    let server = target.exchange.base.as_str();
    let server = name.map_or_else(|| server.to_owned(), |name| format!("{server} under the name {name}"));
    let line = match (&forgotten.record, forgotten.found) {
        (Some(record), _) => format!(
            "Removed the key {} for {server} from {}; it still works elsewhere until it is revoked",
            record.prefix(),
            record.store()
        ),
        (None, true) => format!("Removed what was left of a key for {server}"),
        (None, false) => match KeptKey::names(&target.exchange.base).join(", ") {
            names if names.is_empty() => format!("No key is kept for {server}"),
            names => format!("No key is kept for {server}; kept under names: {names}; give --key-name"),
        },
    };
    writeln!(terminal, "{line}").map_err(|error| Failure::output(&error))
}
