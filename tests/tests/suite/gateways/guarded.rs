//! An API, a gateway in front of it, the Keyplane that the gateway asks, and keys.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::gateways::{Gateway, GuardedApi, Proxy, Received, Request};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;

use crate::replicas::replica;

/// Where clients are. None is the proxy's own address, which is the only one whose word Keyplane takes.
pub(super) const HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// An address that no key's list has.
pub(super) const AWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The shipped files ask for this scope.
pub(super) const SCOPE: &str = "inference";
/// What Keyplane says of a key, and no client.
pub(super) const IDENTITY: [&str; 3] = ["x-keyplane-account", "x-keyplane-key-id", "x-keyplane-scope"];

pub(super) struct Guarded {
    pub(super) proxy: Proxy,
    pub(super) own: Tenant,
    pub(super) keyplane: Keyplane,
    /// Keyplane's listener for proxies.
    pub(super) internal: SocketAddr,
    pub(super) gateway: Gateway,
    api: GuardedApi,
    /// A key of the scope that is asked for.
    pub(super) key: HeldKey,
    /// Another one.
    pub(super) other: HeldKey,
    /// One that may be used from [`HOME`] only.
    pub(super) at_home: HeldKey,
    /// One of another scope.
    pub(super) ssh_keys: HeldKey,
    /// One that nobody declared.
    pub(super) unknown: HeldKey,
}

impl Guarded {
    pub(super) async fn start(proxy: Proxy) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let own = Tenant::create(shared.cluster, &shared.keyplane, proxy.name()).await?;
        let of_scope = ["--scope", SCOPE];
        let (unknown, _) = own.generate("unknown", &of_scope).await?;
        let ssh_keys = own.key("ssh-keys", &["--scope", "ssh-keys"]).await?;
        let at_home = Self::key_at_home(&own).await?;
        let other = own.key("other", &of_scope).await?;
        let key = own.key("key", &of_scope).await?;

        // So many denials lock no key.
        let arguments = ["--trusted-proxy", "127.0.0.1/32", "--lock-after-denials", "20"];
        let keyplane = replica(&format!("behind-{}", proxy.name()), &arguments).await?;
        let internal = keyplane.internal_url().trim_start_matches("http://").parse()?;
        let api = GuardedApi::start().await?;
        let name = format!("gateway-{}-{}", proxy.name(), std::process::id());
        let cluster = shared.cluster;
        let gateway =
            Gateway::start(proxy, cluster.supervise(), cluster.dir(), &name, internal, &api).await?;
        let guarded =
            Self { proxy, own, keyplane, internal, gateway, api, key, other, at_home, ssh_keys, unknown };
        guarded.until_known().await?;
        Ok(guarded)
    }

    async fn key_at_home(own: &Tenant) -> Result<HeldKey> {
        let (key, manifest) = own.generate("at-home", &["--scope", SCOPE]).await?;
        let list = format!("spec:\n  allowedCidrs: [\"{HOME}/32\"]\n");
        own.kubectl.apply(&manifest.replacen("spec:\n", &list, 1)).await?;
        own.wait_ready("apikey/at-home").await?;
        Ok(key)
    }

    /// Who knows of the newest key knows of all: they come through one watch, in their order.
    async fn until_known(&self) -> Result<()> {
        let request = Self::with_key(&self.key)?;
        until("the newest key to be accepted", PATIENCE, || async {
            let answer = request.send(self.address()).await?;
            Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
        })
        .await
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// A request that shows this key, from [`HOME`].
    pub(super) fn with_key(key: &HeldKey) -> Result<Request> {
        Ok(Self::with_headers(vec![("x-api-key", key.plaintext()?)]))
    }

    /// A request with these headers, from [`HOME`].
    pub(super) fn with_headers(headers: Vec<(&'static str, String)>) -> Request {
        Request { from: HOME, method: "GET", target: "/v1/models", headers, body: Vec::new() }
    }

    /// Sends a request that the API must get, with the identity of this key and without the key itself.
    pub(super) async fn ensure_accepted(
        &self,
        what: &str,
        request: &Request,
        key: &HeldKey,
    ) -> Result<Received> {
        let proxy = self.proxy.name();
        let before = self.api.requests();
        let answer = request.send(self.address()).await?;
        ensure!(answer.status == 200, "{proxy}, {what}: {answer:?}");
        ensure!(self.api.requests() == before + 1, "{proxy}, {what}: the API was not asked once");
        let received = answer.received()?;
        let key_id = self.own.stored_key(&key.name).await?.uid().context("a stored object has a UID")?;
        for (name, expected) in IDENTITY.into_iter().zip([self.own.account.as_str(), &key_id, SCOPE]) {
            let values = received.values_taken_for(name);
            ensure!(values == [expected], "{proxy}, {what}: {name} is {values:?}, not {expected}");
        }
        for name in ["x-api-key", "authorization", "x-keyplane-require-scope"] {
            let values = received.values_taken_for(name);
            ensure!(values.is_empty(), "{proxy}, {what}: the API sees {name}");
        }
        Ok(received)
    }

    /// Sends a request that must not reach the API, and be answered with one of these statuses.
    pub(super) async fn ensure_refused(&self, what: &str, request: &Request, statuses: &[u16]) -> Result<()> {
        let proxy = self.proxy.name();
        let before = self.api.requests();
        let answer = request.send(self.address()).await?;
        ensure!(statuses.contains(&answer.status), "{proxy}, {what}: {answer:?}");
        ensure!(self.api.requests() == before, "{proxy}, {what}: the API was asked");
        Ok(())
    }
}
