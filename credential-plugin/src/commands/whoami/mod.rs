//! `whoami`: whose key is used, what it may do, and until when.

mod identity;

use std::io::Write;

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

pub use self::identity::{Identity, Namespace, until};
use crate::failure::Failure;
use crate::key_source::FoundKey;
use crate::output::{self, OutputFormat};
use crate::target::TargetArgs;
use crate::token::cache::TokenCache;
use crate::token::life::TokenLife;
use crate::token::slot_family::SlotFamily;

const HELP: &str = "\
The exchange is --server, else KEYPLANE_URL, else the one of the kubeconfig's current context, when its user calls this \
plugin; then the key, its CA and the cache are that user's too, unless arguments name others. With --context, the \
kubeconfig's comes before KEYPLANE_URL.
The key is read as get-token reads it. The exchange is asked each time.
JSON has the fields of GET /v1/whoami, named as kubectl names fields (expiresAt), and server, context, keySource and \
cachedTokens.

Examples:
  kubectl-keyplane whoami
  kubectl-keyplane whoami --context prod-acme-web --output json
  kubectl-keyplane whoami --server https://keyplane.example.com \\
    --key-file ~/.config/keyplane/key";

/// The arguments of `whoami`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct WhoamiArgs {
    /// Which exchange, key and cache.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Asks the exchange about the key, and writes what it says to `out`; a warning goes to `terminal`.
///
/// # Errors
/// Any kind of failure but those of a token.
pub fn run(args: &WhoamiArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let target = args.target.find()?;
    let key = FoundKey::find(&target.key, &target.exchange.base, target.cache.as_deref())?;
    if let Some(warning) = key.instead_of_the_command_in(&args.target.key) {
        output::line(terminal, &warning)?;
    }
    let identity = Identity::ask(&target.exchange, key.read()?, args.target.exchange.timeout())?;
    let now = Utc::now();
    let family = SlotFamily::of(&target.exchange.base, key.digest());
    let cached = target.cache.as_deref().map(|folder| TokenCache::lives_of(folder, &family, now));
    let mut ends: Vec<_> = cached.unwrap_or_default().iter().map(TokenLife::expires_at).collect();
    ends.sort_unstable();
    let server = target.exchange.base.as_str();
    if args.output == OutputFormat::Json {
        let mut answer = output::camel_case(json!(identity));
        let ends: Vec<Value> = ends.iter().map(|end| json!({"expiresAt": end})).collect();
        if let Some(fields) = answer.as_object_mut() {
            let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
            add("server", json!(server));
            add("context", json!(target.context));
            add("keySource", json!({"kind": key.source().kind(), "description": key.source().to_string()}));
            add("cachedTokens", Value::Array(ends));
        }
        return output::json(&answer, out);
    }
    let mut lines = identity.lines(now);
    lines.push(("Key from", key.source().to_string()));
    lines.push(("Exchange", server.to_owned()));
    if let Some(context) = target.context {
        lines.push(("Context", context));
    }
    // The one that lives longest is the one that shows what the cache does for kubectl.
    lines.push((
        "Cached token",
        match (ends.last(), ends.len()) {
            (None, _) => "none".to_owned(),
            (Some(end), 1) => until(*end, now),
            (Some(end), count) => format!("{count}, the last until {}", until(*end, now)),
        },
    ));
    output::list(&lines, out)
}
