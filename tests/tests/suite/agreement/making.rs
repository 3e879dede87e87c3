//! Keys come and go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_crds::{ApiKey, KEY_PREFIX_ANNOTATION};
use keyplane_tests::http_api::HttpAnswer;
use keyplane_tests::waiting::Seen;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::client::{Client, Held, KEYS, Way, new_key, until};
use super::reach::Reach;
use super::stage::told;

/// How many keys a client has at most.
const MOST: usize = 3;
/// How long after a key was made as kubectl does its place is certain: of those that are made in one second any may come
/// first, and one that came first takes the place of one that was seen first. Over HTTP the answer waits for that.
const CERTAIN_AFTER: Duration = Duration::from_secs(3);

impl Client {
    pub(super) async fn make_key(&mut self) -> Result<()> {
        if self.keys.len() >= MOST {
            return self.delete_key().await;
        }
        let (name, reach) = (self.next_name("own"), Reach::any(&mut self.chance));
        let made = match self.way() {
            Way::Http(replica) => self.make_over_http(replica, &name, reach).await?,
            Way::Kubectl => self.make_by_kubectl(&name, reach).await?,
        };
        self.keys.extend(made);
        Ok(())
    }

    async fn make_over_http(&mut self, replica: usize, name: &str, reach: Reach) -> Result<Option<Held>> {
        let body = json!({"name": name, "scopes": reach.http()});
        let Some(answer) = self.created(replica, name, &body).await? else { return Ok(None) };
        let made = answer.json();
        ensure!(made["name"] == name && made["scopes"] == reach.http(), "{}", told(&answer));
        ensure!(
            ["active", "pending"].contains(&made["status"].as_str().unwrap_or_default()),
            "{}",
            told(&answer)
        );
        let id = answer.at("/id").context("an id")?;
        let plaintext = answer.at("/key").context("a key")?;
        if made["status"] == "active" {
            let status = self.verify(replica, &plaintext).await?;
            ensure!(status == 200, "an active key at the replica that made it: {status}");
        }
        let stored = self.stored_as(&id).await?;
        let key = Held {
            id,
            object: stored.name_any(),
            name: name.to_owned(),
            reach,
            plaintext,
            is_revoked: false,
        };
        self.shown(&key, |shown, stored| is_as_held(&key, shown, stored)).await?;
        self.until_works(&key).await?;
        Ok(Some(key))
    }

    /// Sometimes asks twice at once, as one who has no answer: with a name for the creation, at both replicas.
    async fn created(&mut self, replica: usize, name: &str, body: &Value) -> Result<Option<HttpAnswer>> {
        let answers = if self.chance.once_in(5) {
            let name = [("idempotency-key", name)];
            let call =
                |replica: usize| self.place.call(&self.https[replica], Method::POST, KEYS, &name, body);
            let (one, other) = tokio::try_join!(call(replica), call(1 - replica))?;
            vec![one, other]
        } else {
            vec![self.call(replica, Method::POST, KEYS, body).await?]
        };
        let is_full = |answer: &HttpAnswer| {
            answer.status == 409 && answer.at("/code").as_deref() == Some("active_key_limit_reached")
        };
        let all: Vec<String> = answers.iter().map(told).collect();
        match answers.iter().filter(|answer| answer.status == 201).count() {
            0 => ensure!(answers.iter().any(is_full), "{all:?}"),
            1 => {
                let made =
                    answers.iter().find(|answer| answer.status == 201).and_then(|answer| answer.at("/id"));
                let is_same = |answer: &HttpAnswer| answer.status == 200 && answer.at("/id") == made;
                // One that was too early for a place that became free is told so.
                let is_right =
                    |answer: &HttpAnswer| answer.status == 201 || is_same(answer) || is_full(answer);
                ensure!(answers.iter().all(is_right), "{all:?}");
            }
            _ => anyhow::bail!("a key was made twice: {all:?}"),
        }
        let made = answers.into_iter().find(|answer| answer.status == 201);
        Ok(made)
    }

    async fn make_by_kubectl(&mut self, name: &str, reach: Reach) -> Result<Option<Held>> {
        let plaintext = new_key()?;
        let prefix = plaintext.prefix().to_string();
        let object: ApiKey = serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": name, "annotations": {KEY_PREFIX_ANNOTATION: prefix}},
            "spec": {"displayName": name, "digest": plaintext.digest().to_string(), "scope": reach.spec()},
        }))?;
        let creating = self.place.keys.create(&PostParams::default(), &object).await;
        let made = self.place.by_kubectl("create apikey", creating)?;
        let made = made.map_err(|status| anyhow::anyhow!("kubectl create: {status}"))?;
        let key = Held {
            id: made.uid().context("a UID")?,
            object: made.name_any(),
            name: name.to_owned(),
            reach,
            plaintext: plaintext.expose().to_owned(),
            is_revoked: false,
        };
        self.shown(&key, |shown, stored| is_as_held(&key, shown, stored) && shown["prefix"] == prefix)
            .await?;
        let (replica, made_at) = (self.replica(), Instant::now());
        let decided = until("a key to be decided about", || async {
            let answer = self.get(replica, &key.id).await?;
            let status = answer.at("/status").unwrap_or_default();
            let is_certain = made_at.elapsed() > CERTAIN_AFTER;
            Ok(match status.as_str() {
                "active" if is_certain => Seen::Done(answer),
                "invalid" => Seen::Done(answer),
                _ => Seen::NotYet(told(&answer)),
            })
        })
        .await?;
        if decided.at("/status").as_deref() == Some("active") {
            self.until_works(&key).await?;
            return Ok(Some(key));
        }
        ensure!(decided.at("/reason").as_deref() == Some("LimitReached"), "{}", told(&decided));
        self.delete(key).await.map(|()| None)
    }

    /// Waits until both replicas take a key; where it is for kubectl, one of them gives it a token.
    async fn until_works(&mut self, key: &Held) -> Result<()> {
        for replica in [0, 1] {
            self.until_taken(replica, &key.plaintext).await?;
        }
        if !key.reach.has_kubernetes() || !self.chance.once_in(2) {
            return Ok(());
        }
        let replica = self.replica();
        until("a token", || async {
            match self.exchange(replica, &key.plaintext).await? {
                200 => Ok(Seen::Done(())),
                503 => Ok(Seen::NotYet("503".to_owned())),
                other => anyhow::bail!("the exchange: {other}"),
            }
        })
        .await
    }

    pub(super) async fn delete_key(&mut self) -> Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let at = self.chance.below(self.keys.len());
        let key = self.keys.remove(at);
        self.delete(key).await
    }

    async fn delete(&mut self, key: Held) -> Result<()> {
        match self.way() {
            Way::Http(replica) => {
                let answer =
                    self.call(replica, Method::DELETE, &format!("{KEYS}/{}", key.id), &Value::Null).await?;
                ensure!(answer.status == 204, "{}", told(&answer));
                let status = self.verify(replica, &key.plaintext).await?;
                ensure!(status == 401, "a deleted key at the replica that deleted it: {status}");
            }
            Way::Kubectl => {
                let deleting = self.place.keys.delete(&key.object, &DeleteParams::default()).await;
                let deleted = self.place.by_kubectl("delete apikey", deleting)?;
                ensure!(deleted.is_ok(), "kubectl delete: {:?}", deleted.err());
            }
        }
        for replica in [0, 1] {
            let answer = self.get(replica, &key.id).await?;
            ensure!(answer.status == 404, "{}", told(&answer));
        }
        let stored = self.stored(&key.object).await?;
        ensure!(stored.is_none_or(|key| key.metadata.deletion_timestamp.is_some()), "kubectl still has it");
        self.until_refused(key.plaintext.clone()).await?;
        until("the resource to be gone", || async {
            let stored = self.stored(&key.object).await?;
            Ok(if stored.is_none() { Seen::Done(()) } else { Seen::NotYet(format!("{stored:?}")) })
        })
        .await
    }
}

/// Whether HTTP and the resource show a key as its holder knows it.
pub(super) fn is_as_held(key: &Held, shown: &Value, stored: &ApiKey) -> bool {
    shown["id"] == *key.id
        && stored.uid().as_ref() == Some(&key.id)
        && shown["name"] == *key.name
        && stored.spec.display_name.as_ref() == Some(&key.name)
        && shown["scopes"] == key.reach.http()
        && key.reach.is(&stored.spec.scope)
        && (shown["status"] == "revoked") == key.is_revoked
        && stored.spec.revoked.unwrap_or_default() == key.is_revoked
}
