//! The TLS server that the API's surfaces stand on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum_server::Handle;
use chrono::Utc;
use futures::FutureExt;
use futures::future;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use keyplane_core::api_key::LockPolicy;
use keyplane_core::audit::Source;
use keyplane_crds::Account;
use kube::Api;
use kube::runtime::watcher::Config;
use secrecy::ExposeSecret;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::failed_authentications::FailedAuthentications;
use super::held_token::HeldTokens;
use super::key_index::{KeyIndex, KeySeen};
use super::peer::{self, Forwarding};
use super::proxy_protocol::PeerAcceptor;
use super::tls;
use super::token::TokenIssuer;
use crate::api;
use crate::api::account::AccountApi;
use crate::api::inference::{Inference, Upstream};
use crate::api::kubernetes_exec_credential::Exchange;
use crate::api::{Surfaces, internal_router, public_router};
use crate::audit::{self, AuditLog, RefusalLog};
use crate::caller::{AccountChoice, Authorizer, KeyCheck, Sessions};
use crate::index::{Indexed, Watching, watch_into};
use crate::issued_kubeconfig::KubeconfigSettings;
use crate::key_use::{self, KeyUse};
use crate::metrics::{self, Metrics, UseCounts};
use crate::runtime::{ApiArguments, shutdown_requested};

/// The largest body that is read. An ExecCredential with a cluster's CA bundle in it is a few kilobytes.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a connection may take to send a request's head, and how long one may be idle.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How large a request's head may be, and of how many lines. Access tokens with many groups in them are some 20 kilobytes.
const HEAD_BYTES: usize = 64 * 1024;
const HEAD_LIST_BYTES: u32 = 64 * 1024;
const HEADERS: usize = 64;
/// How many requests one HTTP/2 connection may make at once.
const STREAMS: u32 = 64;
/// How long requests under way may take to end when the process is asked to.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves the API until the process is asked to end. `on_ready` is called when keys are known and the port is open.
///
/// # Errors
/// When the port, the certificate or a watch fails.
pub(crate) async fn serve(
    watching: Watching,
    arguments: ApiArguments,
    kubeconfigs: KubeconfigSettings,
    audit: AuditLog,
    metrics: Metrics,
    on_ready: impl FnOnce() + Send + 'static,
) -> anyhow::Result<()> {
    let client = watching.client().clone();
    let mut watches = JoinSet::new();
    let key_use = Arc::new(KeyUse::new(client.clone(), &key_use_settings(&arguments)?)?);
    metrics.uses.ask({
        let key_use = key_use.clone();
        move || UseCounts { pending: key_use.pending(), writes: key_use.writes() }
    });
    let index = KeyIndex::watching(&watching, &mut watches, telling(key_use.clone()));
    let accounts = Arc::new(Indexed::new(AccountChoice::keys));
    let all = Config::default();
    watches.spawn(watch_into(&watching, Api::all, all, accounts.clone(), |_: &Account| true, |_| {}));
    let source = Source::api(&instance());
    audit::began(&audit, source.clone()).await?;
    let refusals = RefusalLog::start(audit.clone(), source.clone());
    let failures = FailedAuthentications::new(&arguments);
    let keys = Arc::new(KeyCheck {
        index,
        key_use: key_use.clone(),
        refusals: refusals.clone(),
        failures: failures.clone(),
        decisions: metrics.keys.clone(),
    });
    let surfaces = Surfaces {
        exchange: Arc::new(Exchange {
            keys: keys.clone(),
            issuer: TokenIssuer::new(client.clone(), arguments.token_seconds),
            held: HeldTokens::new(client.clone()),
            audit: audit.clone(),
            source: source.clone(),
        }),
        account: AccountApi {
            sessions: Sessions::new(client.clone(), refusals.clone(), failures),
            accounts: AccountChoice::new(accounts.clone()),
            authorizer: Authorizer::new(client.clone()),
            client,
            audit,
            refusals: refusals.clone(),
            source,
        },
        keys: keys.clone(),
        kubeconfigs: Arc::new(kubeconfigs),
        inference: Arc::new(Inference { keys: keys.clone(), upstream: Upstream::of(&arguments.inference)? }),
        forwarding: Forwarding::new(&arguments),
        disabled: arguments.disable_surface.iter().copied().collect(),
    };
    let certificate = tls::certificate(&arguments).await?;
    let with_limits = |router: Router| {
        router
            .layer(middleware::from_fn_with_state(Forwarding::new(&arguments), peer::learn))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::from_fn(api::unread_body::discard))
            .layer(middleware::from_fn_with_state(metrics.http.clone(), metrics::measure))
            .layer(api::request_id::layers())
    };
    // Answering before the keys are known would refuse good ones.
    tokio::select! {
        synced = async { tokio::try_join!(keys.index.synced(), listed(&accounts)) } => drop(synced?),
        ended = shutdown_requested() => return ended,
    }
    let connections = Connections::new(&arguments, metrics.connections.clone());
    let handle = Handle::new();
    tokio::spawn(end_gracefully(handle.clone()));
    let listener = listen(arguments.listen, "--listen")?;
    // The port may have been left to the system.
    tracing::info!(address = %listener.local_addr()?, "the API is served");
    let mut public = axum_server::from_tcp_rustls(listener, certificate)?
        .map(|tls| tls.acceptor(connections.acceptor(PeerAcceptor::new(&arguments))))
        .handle(handle.clone());
    limit_connections(public.http_builder());
    let public = public.serve(with_limits(public_router(&surfaces)?).into_make_service());
    let internal = match arguments.internal_listen {
        Some(address) => {
            let listener = listen(address, "--internal-listen")?;
            tracing::info!(address = %listener.local_addr()?, "verification is served to gateways, as plain HTTP");
            let mut internal = axum_server::from_tcp(listener)?
                .acceptor(connections.acceptor(PeerAcceptor::direct()))
                .handle(handle);
            limit_connections(internal.http_builder());
            internal.serve(with_limits(internal_router(&surfaces)).into_make_service()).boxed()
        }
        None => future::pending().boxed(),
    };
    on_ready();
    let (serving_ended, end) = oneshot::channel::<()>();
    let writing = tokio::spawn(async move { key_use.run(async { drop(end.await) }).await });
    let result = tokio::select! {
        result = public => result.context("the API's server failed"),
        result = internal => result.context("the server for gateways failed"),
        _ = watches.join_next() => Err(anyhow!("a watch of the exchange ended")),
    };
    // Nothing is answered any more: what was counted is written down.
    drop(serving_ended);
    if writing.await.is_err() {
        tracing::warn!("uses could not be written down at the end");
    }
    if let Err(error) = refusals.flush().await {
        tracing::warn!(%error, "refusals could not be written down at the end");
    }
    result
}

/// Tells who writes down how keys are used what becomes of them.
fn telling(key_use: Arc<KeyUse>) -> impl Fn(KeySeen<'_>) + Send + 'static {
    move |seen| match seen {
        KeySeen::Known(key) => key_use.observed(key, Utc::now()),
        KeySeen::Revoked(key) => {
            key_use.observed(key, Utc::now());
            key_use.revocation_seen(key, Utc::now());
        }
        KeySeen::Deleted(uid) => key_use.deleted(uid),
    }
}

/// Listens on an address.
fn listen(address: SocketAddr, argument: &str) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}: choose another {argument}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A client that sends its request's head by the byte, or nothing at all, is not waited for.
fn limit_connections(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_LIMIT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_LIST_BYTES);
}

/// Waits until the accounts have been listed once.
async fn listed(accounts: &Indexed<Account>) -> anyhow::Result<()> {
    accounts.store().wait_until_ready().await.context("the watch of Accounts ended before it had listed them")
}

/// How uses are written down.
fn key_use_settings(arguments: &ApiArguments) -> anyhow::Result<key_use::Settings> {
    Ok(key_use::Settings {
        interval: Duration::from_secs(arguments.usage_interval_seconds),
        writes_per_second: arguments.usage_writes_per_second,
        drain: DRAIN,
        lock: LockPolicy {
            denials: arguments.lock_after_denials,
            window_seconds: arguments.lock_window_seconds,
        },
        store: arguments.usage_store.expose_secret().parse()?,
    })
}

/// This replica, as the audit log names it.
fn instance() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| format!("process-{}", std::process::id()))
}

/// Lets requests under way end when the process is asked to.
async fn end_gracefully(handle: Handle<std::net::SocketAddr>) {
    if shutdown_requested().await.is_err() {
        return;
    }
    handle.graceful_shutdown(Some(DRAIN));
}
