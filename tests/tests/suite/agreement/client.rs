//! One of many clients: what it does next, and what it knows of what it made.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_crds::ApiKey;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::plaintext_registry;
use keyplane_tests::waiting::{PATIENCE, Seen};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::Value;
use tokio::time::sleep;

use super::chance::Chance;
use super::reach::Reach;
use super::stage::{Place, told};

pub(super) const KEYS: &str = "/v1/account/api-keys";
pub(super) const VERIFY: &str = "/v1/verify";
pub(super) const EXCHANGE: &str = "/v1/kubernetes/exec-credential";

/// How long a client does nothing between two steps, at most: milliseconds.
const PAUSE: usize = 2000;

/// A way to the account's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP, at one of the replicas.
    Http(usize),
    Kubectl,
}

/// Half of all clients' requests go over HTTP at either replica, and half as kubectl's do.
const WAYS: [Way; 4] = [Way::Http(0), Way::Http(1), Way::Kubectl, Way::Kubectl];

/// A key that a client made and nobody else changes.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) id: String,
    /// The resource's name.
    pub(super) object: String,
    pub(super) name: String,
    pub(super) reach: Reach,
    pub(super) plaintext: String,
    pub(super) is_revoked: bool,
}

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) place: Arc<Place>,
    pub(super) https: [HttpApi; 2],
    pub(super) chance: Chance,
    pub(super) keys: Vec<Held>,
    /// Keys that it had and that are refused for good.
    pub(super) ended: Vec<String>,
    pub(super) spaces: Vec<String>,
    pub(super) named: usize,
    pub(super) steps: u64,
}

impl Client {
    pub(super) fn new(number: usize, place: Arc<Place>, https: [HttpApi; 2]) -> Self {
        Self {
            number,
            place,
            https,
            chance: Chance::of_client(number),
            keys: Vec::new(),
            ended: Vec::new(),
            spaces: Vec::new(),
            named: 0,
            steps: 0,
        }
    }

    /// Goes on until `end`, and ends what it began then.
    pub(super) async fn run(mut self, end: Instant) -> Result<Self> {
        while Instant::now() < end {
            // As people and their programs do; not all at the same moment.
            sleep(Duration::from_millis(self.chance.below(PAUSE) as u64)).await;
            self.steps += 1;
            let number = self.chance.below(100);
            let step = self.step(number).await;
            step.with_context(|| format!("client {}, step {}: {number}", self.number, self.steps))?;
        }
        Ok(self)
    }

    async fn step(&mut self, number: usize) -> Result<()> {
        match number {
            0..24 => self.make_key().await,
            24..40 => self.rename_key().await,
            40..50 => self.rescope_key().await,
            50..58 => self.rotate_key().await,
            58..66 => self.revoke_key().await,
            66..72 => self.delete_key().await,
            72..76 => self.lock_and_unlock_key().await,
            76..82 => self.make_namespace().await,
            82..87 => self.delete_namespace().await,
            _ => self.meddle().await,
        }
    }

    pub(super) fn way(&mut self) -> Way {
        self.chance.of(&WAYS)
    }

    pub(super) fn replica(&mut self) -> usize {
        self.chance.below(2)
    }

    /// A name that nobody else gives.
    pub(super) fn next_name(&mut self, of_whom: &str) -> String {
        self.named += 1;
        format!("{of_whom}-{}-{}", self.number, self.named)
    }

    /// The place in `keys` of one that it can change, if it has one.
    pub(super) fn any_live(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.keys.len()).filter(|at| !self.keys[*at].is_revoked).collect();
        if live.is_empty() { None } else { Some(self.chance.of(&live)) }
    }

    pub(super) async fn call(
        &self,
        replica: usize,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<HttpAnswer> {
        self.place.call(&self.https[replica], method, path, &[], body).await
    }

    pub(super) async fn get(&self, replica: usize, id: &str) -> Result<HttpAnswer> {
        self.call(replica, Method::GET, &format!("{KEYS}/{id}"), &Value::Null).await
    }

    /// The key as every way shows it at once: both replicas, and the resource.
    pub(super) async fn shown(&self, key: &Held, is_it: impl Fn(&Value, &ApiKey) -> bool) -> Result<()> {
        let resource = self.stored(&key.object).await?.context("the resource")?;
        for replica in [0, 1] {
            let answer = self.get(replica, &key.id).await?;
            ensure!(answer.status == 200, "{}", told(&answer));
            ensure!(is_it(&answer.json(), &resource), "{} and {resource:?}", told(&answer));
        }
        Ok(())
    }

    /// As `kubectl get` has it, by name.
    pub(super) async fn stored(&self, object: &str) -> Result<Option<ApiKey>> {
        match self.place.by_kubectl("get apikey", self.place.keys.get(object).await)? {
            Ok(key) => Ok(Some(key)),
            Err(404) => Ok(None),
            Err(status) => anyhow::bail!("kubectl get: {status}"),
        }
    }

    /// As `kubectl get` has it, by id.
    pub(super) async fn stored_as(&self, id: &str) -> Result<ApiKey> {
        let listed =
            self.place.by_kubectl("list apikeys", self.place.keys.list(&ListParams::default()).await)?;
        let listed = listed.map_err(|status| anyhow::anyhow!("kubectl list: {status}"))?;
        let found = listed.items.into_iter().find(|key| key.uid().as_deref() == Some(id));
        found.with_context(|| format!("no ApiKey with the id {id}"))
    }

    pub(super) async fn verify(&self, replica: usize, key: &str) -> Result<u16> {
        self.place.present(&self.https[replica], Method::GET, VERIFY, key).await
    }

    pub(super) async fn exchange(&self, replica: usize, key: &str) -> Result<u16> {
        self.place.present(&self.https[replica], Method::POST, EXCHANGE, key).await
    }

    /// Waits until a replica takes a key.
    pub(super) async fn until_taken(&self, replica: usize, key: &str) -> Result<()> {
        until("a key to be taken", || async {
            let status = self.verify(replica, key).await?;
            Ok(if status == 200 { Seen::Done(()) } else { Seen::NotYet(status.to_string()) })
        })
        .await
    }

    /// Waits until both replicas refuse a key for good.
    pub(super) async fn until_refused(&mut self, key: String) -> Result<()> {
        for replica in [0, 1] {
            until("a key to be refused", || async {
                let status = self.verify(replica, &key).await?;
                Ok(if status == 401 { Seen::Done(()) } else { Seen::NotYet(status.to_string()) })
            })
            .await?;
            let exchanged = self.exchange(replica, &key).await?;
            ensure!(exchanged == 401, "the exchange: {exchanged}");
        }
        self.ended.push(key);
        Ok(())
    }
}

/// As [`keyplane_tests::waiting::until`], for many that wait at once: they look seldom.
pub(super) async fn until<T, Fut>(what: &str, mut look: impl FnMut() -> Fut) -> Result<T>
where
    Fut: Future<Output = Result<Seen<T>>>,
{
    let (start, mut pause) = (Instant::now(), Duration::from_millis(50));
    loop {
        let last = match look().await? {
            Seen::Done(value) => return Ok(value),
            Seen::NotYet(last) => last,
        };
        ensure!(start.elapsed() < PATIENCE, "waited {} s for {what}; seen last: {last}", PATIENCE.as_secs());
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// A key that a holder makes.
pub(super) fn new_key() -> Result<PlaintextKey> {
    let key = PlaintextKey::generate(&KeyType::account(), |bytes| {
        for chunk in bytes.chunks_mut(16) {
            chunk.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..chunk.len()]);
        }
        Ok::<(), Infallible>(())
    })?;
    plaintext_registry::key(key.expose())?;
    Ok(key)
}
