//! `get-token`: the cached token when it lives long enough, else a fresh one; how is the rule of
//! [`token::obtain`](crate::token::obtain).

mod start;

use std::env;
use std::io::Write;
use std::time::Instant;

use chrono::Utc;
use clap::Args;

use crate::commands::get_token::start::ThisStart;
use crate::exchange::allowed::AllowedExchange;
use crate::exchange::arguments::ExchangeArgs;
use crate::exec_protocol::{ApiVersion, Credential, EXEC_INFO_VARIABLE, ExecInfo};
use crate::failure::Failure;
use crate::key_source::KeyArgs;
use crate::secret_json;
use crate::token::BearerToken;
use crate::token::cache::TokenCache;
use crate::token::cache_folder::CacheArgs;
use crate::token::dead_slots;
use crate::token::hand_out::Client;
use crate::token::life::TokenLife;
use crate::token::obtain::TokenSource;
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
else has a meaning. For a pipe give 'sh -c \"...\"'. Its program is on PATH or a whole path, and so is the \
path of a file that a kubeconfig names, for a client may start this anywhere. It runs only when the exchange is asked, so one command text must always mean one identity: \
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
    // Not every client says that it is one.
    let in_any_folder = true;
    let exchange = ExchangeArgs { in_any_folder, ..args.exchange.clone() }.locate(cluster, &allowed)?;
    let key = KeyArgs { in_any_folder, ..args.key.clone() };
    let folder = args.cache.folder();
    let timeout = args.exchange.timeout();
    let start =
        ThisStart::with_key_of(&key, &exchange, cluster, request.api_version, folder.as_deref(), timeout)?;
    let Some(folder) = &folder else {
        verbose::note("without a cache: asking the exchange");
        let (token, life) = start.ask_without_cache(timeout)?;
        return print(request.api_version, &token, life, out);
    };
    let source = || TokenSource {
        cache: TokenCache::new(folder.clone(), start.slot()),
        client: request.from_client.then(Client::asking),
        started,
        timeout,
        key_time: start.key_time(),
        base: exchange.base.as_str(),
        start: &start,
    };
    let mut of_slot = source();
    let mut obtained = of_slot.obtain();
    if obtained.is_err() && start.turn_to_latest_key() {
        of_slot = source();
        obtained = of_slot.obtain();
    }
    // Before the output, which somebody may read slowly.
    start.release();
    let obtained = obtained?;
    print(request.api_version, &obtained.token, obtained.life, out)?;
    if obtained.is_new {
        dead_slots::remove(folder, &start.slot(), Utc::now());
    }
    of_slot.remember(obtained);
    Ok(())
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
    let mut json = secret_json::to_vec(&credential).map_err(|error| Failure::output(&error.into()))?;
    json.push(b'\n');
    out.write_all(&json).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
