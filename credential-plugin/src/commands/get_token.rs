//! `get-token`: the cached token when it lives long enough, else a fresh one; how is the rule of
//! [`token::obtain`](crate::token::obtain).

use std::cell::{Cell, OnceCell, RefCell};
use std::env;
use std::io::Write;
use std::time::{Duration, Instant};

use chrono::Utc;
use clap::Args;
use zeroize::Zeroizing;

use crate::environment;
use crate::exchange::allowed::AllowedExchange;
use crate::exchange::arguments::ExchangeArgs;
use crate::exchange::client;
use crate::exchange::proxy;
use crate::exec_protocol::{ApiVersion, Credential, EXEC_INFO_VARIABLE, ExecInfo};
use crate::failure::{Failure, FailureKind};
use crate::key_source::shared_run::SharedRun;
use crate::key_source::{self, FirstRun, FoundKey, KeyArgs, KeyCommand, Source};
use crate::token::BearerToken;
use crate::token::cache::{Slot, TokenCache};
use crate::token::cache_folder::CacheArgs;
use crate::token::dead_slots;
use crate::token::hand_out::Client;
use crate::token::life::TokenLife;
use crate::token::obtain::{self, Asking, KeyTime, TokenSource};
use crate::verbose;

const HELP: &str = "\
The exchange is --server; else the `server` in the cluster's extension client.authentication.k8s.io/exec, which the \
client passes on with `provideClusterInfo: true`; else KEYPLANE_URL. The extension's is used only when an \
--allow-server is the same address, and only over https.
The CA is --certificate-authority; else, for the extension's address, the extension's, and only when --allow-server \
holds its SHA-256 (sha256sum ca.pem); for --server and KEYPLANE_URL it is KEYPLANE_CA_FILE. Without a CA, the \
operating system's roots are trusted. An empty variable counts as unset.
The proxy is --proxy-url; else, for the extension's address, the cluster's proxy-url; else HTTPS_PROXY or ALL_PROXY, \
unless NO_PROXY names the exchange (hosts, domains, networks, ports). It may be http, https or socks5.
The key is read from --key-file, else from the environment variable KEYPLANE_API_KEY, else it is the one that login \
keeps for the exchange, else the first line that --key-command prints; it is never an argument. Of several kept keys \
--key-name says which, whatever the variable holds.
The key command is started without a shell: its words are split at blanks, quotes hold a word together, and nothing \
else has a meaning. For a pipe give 'sh -c \"...\"'. Its program is on PATH or a whole path, for a client may start \
this anywhere. It runs only when the exchange is asked, so one command text must always mean one identity: \
put what distinguishes them into the text, such as sh -c 'AWS_PROFILE=prod exec aws ...'.
Of many starts without a cached token one runs the key command and asks the exchange, and the others wait for its \
answer. In the last quarter \
of a token's time one start asks for the next. A failure counts for a short time, 1 s to 10 s and with a Retry-After up \
to 30 s, also for other starts; one on the way to the exchange only for starts with the same proxy and no longer \
--timeout, one of the key command only for starts with the same environment and folder that give it no longer; \
--no-cache asks at once.
A client that asks again within 10 s was refused by the API server: then the exchange is asked about the cached token \
before it is given again.

Examples:
  kubectl-keyplane get-token --server https://keyplane.example.com \\
    --key-file ~/.config/keyplane/key
  KEYPLANE_URL=https://keyplane.example.com \\
    kubectl-keyplane get-token --no-cache
  kubectl-keyplane get-token --key-command 'pass show keyplane' \\
    --allow-server https://one.example.com
  kubectl-keyplane get-token --key-file ~/.config/keyplane/key \\
    --allow-server \"https://two.example.com#sha256:$(\\
      sha256sum two-ca.pem | cut -d' ' -f1)\"";

/// The arguments of `get-token`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct GetTokenArgs {
    /// Which exchange.
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// An exchange that the cluster's extension may name, with the SHA-256 of the CA it brings; may be repeated
    #[arg(long = "allow-server", value_name = "URL[#sha256:HEX]")]
    pub allow_servers: Vec<String>,
    /// Which key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Which cache.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Writes an `ExecCredential` to `out`, and nothing else.
///
/// # Errors
/// Any kind of failure; then nothing was written.
pub fn run(args: &GetTokenArgs, out: &mut impl Write) -> Result<(), Failure> {
    let started = Instant::now();
    let request = exec_info()?;
    let cluster = request.cluster.as_ref();
    let allowed =
        args.allow_servers.iter().map(|text| AllowedExchange::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let exchange = args.exchange.locate(cluster, &allowed)?;
    let folder = args.cache.folder();
    let timeout = args.exchange.timeout();
    let held = RefCell::new(None);
    let shared_run = OnceCell::new();
    let shared = |command: &KeyCommand| {
        shared_run.get_or_init(|| SharedRun::of(command, folder.as_deref(), &exchange, cluster)).as_ref()
    };
    let key =
        FoundKey::find_for_client(&args.key, &exchange.base, folder.as_deref(), |command| {
            match shared(command) {
                Some(shared) => shared.first(command, timeout, &held),
                None => command.first_read().map(FirstRun::Key),
            }
        })?;
    let command = match key.source() {
        Source::Command(command) => Some(command),
        _ => None,
    };
    let shared = || command.and_then(shared);
    // Which key's slot is filled. Some sources only say which key they had the last time.
    let slots_key = Cell::new(key.digest());
    // When this start ran the key command, if it did: for the first time, or now that its key is needed.
    let own_run = Cell::new(command.filter(|_| key.is_read()).map(|_| Instant::now()));
    let read_key = |time: KeyTime| {
        let was_read = key.is_read();
        match (shared(), time) {
            (Some(shared), time) => shared.read(&key, time)?,
            (None, KeyTime::Whole) => key.read()?,
            (None, KeyTime::Early(limit)) => key.read_within(limit)?,
        };
        if command.is_some() && !was_read {
            own_run.set(Some(Instant::now()));
        }
        if key.digest() == slots_key.get() { Ok(()) } else { Err(key_source::is_another()) }
    };
    let ask = |asking: Asking<'_>| {
        client::swap(&exchange, key.read()?, request.api_version, asking.limit, asking.held)
            .map_err(|failure| with_the_keys_name(failure, &key))
    };
    let Some(folder) = &folder else {
        verbose::note("without a cache: asking the exchange");
        key.read()?;
        let asked = ask(Asking { limit: timeout, held: None })?;
        let (token, life) = obtain::long_enough(asked, exchange.base.as_str())?;
        return print(request.api_version, &token, life, out);
    };
    let choose_proxy = || proxy::choose(&exchange, environment::text);
    let slot = || Slot::of(&exchange, slots_key.get(), cluster);
    let cache = || TokenCache::new(folder.clone(), slot());
    let flight = || shared().map_or_else(|| cache().flight(), SharedRun::locks);
    // Another start's run may have failed, or given another key.
    let key_news = || {
        let shared = shared().filter(|_| !key.is_read())?;
        let changed = key.latest_digest() != slots_key.get();
        if changed { Some(key_source::is_another()) } else { shared.told_again() }
    };
    let source = || TokenSource {
        cache: cache(),
        client: request.from_client.then(Client::asking),
        started,
        timeout,
        key_time: command.map_or(Duration::ZERO, KeyCommand::limit),
        flight: &flight,
        own_run: &own_run,
        held: &held,
        key_news: &key_news,
        base: exchange.base.as_str(),
        read_key: &read_key,
        ask: &ask,
        proxy: &choose_proxy,
    };
    let mut of_slot = source();
    let mut obtained = of_slot.obtain();
    if obtained.is_err() && key.latest_digest() != slots_key.get() {
        // The source has another key by now: its token goes into its own slot.
        slots_key.set(key.latest_digest());
        if shared().is_none() {
            // That was the other slot's.
            held.take();
        }
        of_slot = source();
        obtained = of_slot.obtain();
    }
    // Before the output, which somebody may read slowly.
    if let Some(flight) = held.take()
        && let Some(shared) = shared()
    {
        shared.release(flight, &key);
    }
    let obtained = obtained?;
    print(request.api_version, &obtained.token, obtained.life, out)?;
    if obtained.is_new {
        dead_slots::remove(folder, &slot(), Utc::now());
    }
    of_slot.remember(obtained);
    Ok(())
}

/// A refusal's line says by which name its owner finds the key.
fn with_the_keys_name(failure: Failure, key: &FoundKey) -> Failure {
    match key.read() {
        Ok(key) if failure.kind() == FailureKind::Refused => failure.or_else_do(&format!(
            "or ask who declared it: kubectl get apikeys -A shows PREFIX {}",
            key.prefix()
        )),
        _ => failure,
    }
}

fn exec_info() -> Result<ExecInfo, Failure> {
    match env::var_os(EXEC_INFO_VARIABLE) {
        Some(text) if !text.is_empty() => ExecInfo::parse(&text.to_string_lossy()),
        _ => Ok(ExecInfo::default()),
    }
}

fn print(
    version: ApiVersion,
    token: &BearerToken,
    life: TokenLife,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let credential = Credential::new(version, token, life.expires_at());
    let mut json = serde_json::to_vec(&credential)
        .map(Zeroizing::new)
        .map_err(|error| Failure::output(&error.into()))?;
    json.push(b'\n');
    out.write_all(&json).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
