//! A way to the API server on which Keyplane can be killed between any two of its writes.
//!
//! Keyplane is pointed at a plain HTTP address of this machine; requests go on to the API server with Keyplane's own
//! token, and answers come back as they arrive, watches included. Writes pass one at a time, so that "after the
//! third write" means the same in each run: none is on its way beside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::control_plane::ControlPlane;
use crate::install::Installation;
use crate::waiting::{PATIENCE, Seen, until};
use crate::{exchange, private_file, processes};

/// Bytes of a request: more than the API server itself accepts.
const REQUEST_MAX: usize = 8 << 20;

/// A write that the API server answered with 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The subject of the token it came with; empty when there is none.
    pub user: String,
}

/// When a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The write does not reach the API server.
    Before,
    /// The write is committed; the process never hears of it.
    After,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    moment: Moment,
    number: usize,
    pid: u32,
}

#[derive(Debug, Default)]
struct Progress {
    writes: Vec<Write>,
    fault: Option<Fault>,
    refusing: bool,
    unanswered: Option<String>,
}

struct Shared {
    backend: Client,
    /// Held while a write is on its way.
    one_at_a_time: tokio::sync::Mutex<()>,
    progress: Mutex<Progress>,
}

/// A running proxy; it ends when this is dropped.
pub struct FaultProxy {
    shared: Arc<Shared>,
    installation: Installation,
    stop: Option<oneshot::Sender<()>>,
}

impl FaultProxy {
    /// Starts one in front of a control plane. `name` tells its kubeconfig from others in the control plane's
    /// directory.
    ///
    /// # Errors
    /// When the control plane's authority or the installation's kubeconfig cannot be read.
    pub async fn start(cluster: &ControlPlane, installation: &Installation, name: &str) -> Result<Self> {
        let mut config = Config::new(cluster.server_url()?.parse()?);
        if let Some(pem) = cluster.ca_pem()? {
            config.root_cert = Some(vec![exchange::first_certificate(pem.as_bytes())?]);
        }
        config.default_retry = false;
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        // A thread of its own: a test that waits for a process to end, blocking, must not hold up that process's last
        // requests.
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(serve(config, started, stopped));
                    runtime.shutdown_background();
                }
                Err(error) => drop(started.send(Err(error.into()))),
            }
        })?;
        let (shared, address) = starting.await.context("the proxy ended before it began")??;
        let kubeconfig = cluster.dir().join(format!("{name}.kubeconfig"));
        private_file::write(&kubeconfig, redirected(installation, address)?)?;
        Ok(Self { shared, installation: Installation { kubeconfig }, stop: Some(stop) })
    }

    /// The installation as it is reached through this proxy: the same identities at another address.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The writes since the start, or since a fault was last set or [`FaultProxy::forget_writes`] called, in their
    /// order. The lease and Events are left out: they come by the clock, and nothing is decided by them.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.progress().writes.clone()
    }

    /// Counts from one again.
    pub fn forget_writes(&self) {
        self.progress().writes.clear();
    }

    /// Counts from one again. When the `number`th write is committed, its answer is withheld, the process `pid` gets
    /// SIGKILL, and no further request passes until [`FaultProxy::resume`].
    pub fn kill_after(&self, number: usize, pid: u32) {
        self.set(Fault { moment: Moment::After, number, pid });
    }

    /// As [`FaultProxy::kill_after`], with the `number`th write withheld instead of its answer.
    pub fn kill_before(&self, number: usize, pid: u32) {
        self.set(Fault { moment: Moment::Before, number, pid });
    }

    /// Whether the fault that was set has come about.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.progress().refusing
    }

    /// Waits until the fault that was set has come about and the process is gone.
    ///
    /// # Errors
    /// When no fault was set, or too few writes come.
    pub async fn until_killed(&self) -> Result<()> {
        let pid = self.progress().fault.context("no fault was set")?.pid;
        until("the write to be killed at", PATIENCE, || async {
            let gone = self.has_killed() && !processes::runs(pid);
            Ok(if gone { Seen::Done(()) } else { Seen::NotYet(format!("writes: {:?}", self.writes())) })
        })
        .await
    }

    /// From now on no request passes, until [`FaultProxy::resume`]. Watches that are open go on to their end.
    pub fn cut_off(&self) {
        self.progress().refusing = true;
    }

    /// From now on requests for this path are never answered, until [`FaultProxy::resume`].
    pub fn leave_unanswered(&self, path: &str) {
        self.progress().unanswered = Some(path.to_owned());
    }

    /// Lets everything pass again, with no fault set.
    pub fn resume(&self) {
        let mut progress = self.progress();
        progress.fault = None;
        progress.refusing = false;
        progress.unanswered = None;
    }

    fn set(&self, fault: Fault) {
        *self.progress() = Progress { fault: Some(fault), ..Progress::default() };
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.shared.progress()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

impl Shared {
    /// Each change is made whole under the lock, so a panic elsewhere leaves nothing half-done.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills, when this is the moment that was asked for.
    fn kill_at(&self, moment: Moment, number: usize) -> bool {
        let mut progress = self.progress();
        match progress.fault {
            Some(fault) if fault.moment == moment && fault.number == number => {
                progress.refusing = true;
                // It may have ended by itself meanwhile; it is dead either way.
                let _ = processes::kill_9(fault.pid);
                true
            }
            _ => false,
        }
    }

    async fn forward(&self, request: Request) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        remove_connection_headers(&mut parts.headers);
        parts.headers.remove(HOST);
        let body = to_bytes(body, REQUEST_MAX).await?.to_vec();
        let (mut parts, body) =
            self.backend.send(http::Request::from_parts(parts, body.into())).await?.into_parts();
        remove_connection_headers(&mut parts.headers);
        Ok(Response::from_parts(parts, Body::new(body)))
    }

    async fn write(&self, request: Request) -> Response {
        let _alone = self.one_at_a_time.lock().await;
        if self.progress().refusing {
            return refused();
        }
        let next = self.progress().writes.len() + 1;
        if self.kill_at(Moment::Before, next) {
            return refused();
        }
        let write = Write {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            user: subject(request.headers()).unwrap_or_default(),
        };
        let answer = self.forward(request).await.unwrap_or_else(|error| unreachable(&error));
        if !answer.status().is_success() {
            return answer;
        }
        self.progress().writes.push(write);
        if self.kill_at(Moment::After, next) { refused() } else { answer }
    }
}

async fn serve(
    config: Config,
    started: oneshot::Sender<Result<(Arc<Shared>, SocketAddr)>>,
    stopped: oneshot::Receiver<()>,
) {
    let ready = async {
        let shared = Arc::new(Shared {
            backend: Client::try_from(config)?,
            one_at_a_time: tokio::sync::Mutex::default(),
            progress: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        anyhow::Ok((shared, listener, address))
    };
    match ready.await {
        Ok((shared, listener, address)) => {
            let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
            drop(started.send(Ok((shared, address))));
            // Connections are cut at the end, as those of a process that is gone.
            tokio::select! {
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if shared.progress().refusing {
        return refused();
    }
    if shared.progress().unanswered.as_deref() == Some(request.uri().path()) {
        std::future::pending::<()>().await;
    }
    if !is_counted(request.method(), request.uri().path()) {
        return shared.forward(request).await.unwrap_or_else(|error| unreachable(&error));
    }
    // To its end in any case: a client that hangs up must not leave a write uncounted.
    match tokio::spawn(async move { shared.write(request).await }).await {
        Ok(answer) => answer,
        Err(error) => unreachable(&error.into()),
    }
}

/// Whether a request changes what Keyplane is about.
fn is_counted(method: &Method, path: &str) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
        && !path.split('/').any(|segment| matches!(segment, "leases" | "events"))
}

/// The `sub` of a bearer token; nobody verifies it here, the API server does.
fn subject(headers: &HeaderMap) -> Option<String> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.pointer("/sub")?.as_str().map(ToOwned::to_owned)
}

/// What concerns one connection is not said on the next (RFC 9110, section 7.6.1). The length is the body's own.
fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
}

fn refused() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(CONNECTION, "close")]).into_response()
}

fn unreachable(error: &anyhow::Error) -> Response {
    (StatusCode::BAD_GATEWAY, format!("the API server does not answer: {error:#}")).into_response()
}

/// The installation's kubeconfig with this address as its cluster's.
fn redirected(installation: &Installation, address: SocketAddr) -> Result<Vec<u8>> {
    let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(&installation.kubeconfig)?)?;
    let cluster = kubeconfig.pointer_mut("/clusters/0/cluster").context("the kubeconfig has no cluster")?;
    *cluster = json!({"server": format!("http://{address}")});
    Ok(serde_json::to_vec_pretty(&kubeconfig)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_the_lease_an_event_or_a_read_is_not_counted() {
        let secrets = "/api/v1/namespaces/acme/secrets";
        for (method, path, counted) in [
            (Method::POST, secrets, true),
            (Method::PATCH, "/apis/keyplane.dev/v1alpha1/namespaces/acme/apikeys/ci/status", true),
            (Method::DELETE, "/api/v1/namespaces/keyplane-identities/secrets/key-1", true),
            (Method::GET, secrets, false),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/keyplane-controller", false),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/acme/events", false),
            (Method::POST, "/api/v1/namespaces/events-of-acme/secrets", true),
        ] {
            assert_eq!(is_counted(&method, path), counted, "{method} {path}");
        }
    }

    #[test]
    fn the_user_is_the_subject_of_the_token() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"system:serviceaccount:a:b"}"#);
        let mut headers = HeaderMap::new();
        assert_eq!(subject(&headers), None);
        headers.insert(AUTHORIZATION, format!("Bearer h.{claims}.s").parse().unwrap());
        assert_eq!(subject(&headers).as_deref(), Some("system:serviceaccount:a:b"));
    }
}
