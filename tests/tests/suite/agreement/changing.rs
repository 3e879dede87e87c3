//! Keys are changed by those who made them: what was changed is read back by every way.

use anyhow::{Context as _, Result, ensure};
use chrono::{SecondsFormat, Utc};
use http::Method;
use keyplane_core::key_format::PlaintextKey;
use keyplane_crds::KEY_PREFIX_ANNOTATION;
use keyplane_tests::http_api::HttpAnswer;
use keyplane_tests::waiting::Seen;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::client::{Client, KEYS, Way, new_key, until};
use super::making::is_as_held;
use super::reach::Reach;
use super::stage::told;

impl Client {
    pub(super) async fn rename_key(&mut self) -> Result<()> {
        let Some(at) = self.any_live() else { return self.make_key().await };
        let name = self.next_name("own");
        self.change(at, &json!({"name": name}), &json!({"spec": {"displayName": name}})).await?;
        self.keys[at].name = name;
        self.is_shown(at).await
    }

    pub(super) async fn rescope_key(&mut self) -> Result<()> {
        let Some(at) = self.any_live() else { return self.make_key().await };
        let reach = Reach::any(&mut self.chance);
        self.change(at, &json!({"scopes": reach.http()}), &json!({"spec": {"scope": reach.patch()}})).await?;
        self.keys[at].reach = reach;
        self.is_shown(at).await
    }

    /// Both replicas and the resource show the key as it is.
    async fn is_shown(&self, at: usize) -> Result<()> {
        let key = &self.keys[at];
        self.shown(key, |shown, stored| is_as_held(key, shown, stored)).await
    }

    /// Makes one of the two changes.
    async fn change(&mut self, at: usize, over_http: &Value, by_kubectl: &Value) -> Result<()> {
        match self.way() {
            Way::Http(replica) => {
                let path = format!("{KEYS}/{}", self.keys[at].id);
                let answer = self.call(replica, Method::PATCH, &path, over_http).await?;
                ensure!(answer.status == 200, "{}", told(&answer));
                Ok(())
            }
            Way::Kubectl => self.patch(at, by_kubectl).await,
        }
    }

    async fn patch(&self, at: usize, patch: &Value) -> Result<()> {
        let status = self.patch_object(&self.keys[at].object, patch).await?;
        ensure!(status == 200, "kubectl patch {patch}: {status}");
        Ok(())
    }

    /// `kubectl patch`, and its status.
    pub(super) async fn patch_object(&self, object: &str, patch: &Value) -> Result<u16> {
        let patching = self.place.keys.patch(object, &PatchParams::default(), &Patch::Merge(patch)).await;
        let patched = self.place.by_kubectl("patch apikey", patching)?;
        Ok(patched.err().unwrap_or(200))
    }

    async fn post_to(&self, replica: usize, at: usize, what: &str) -> Result<HttpAnswer> {
        let answer = self
            .call(replica, Method::POST, &format!("{KEYS}/{}/{what}", self.keys[at].id), &Value::Null)
            .await?;
        ensure!(answer.status == 200, "{}", told(&answer));
        Ok(answer)
    }

    pub(super) async fn rotate_key(&mut self) -> Result<()> {
        let Some(at) = self.any_live() else { return self.make_key().await };
        let plaintext = match self.way() {
            Way::Http(replica) => {
                let answer = self.post_to(replica, at, "rotate").await?;
                let plaintext = answer.at("/key").context("a key")?;
                if answer.at("/status").as_deref() == Some("active") {
                    let status = self.verify(replica, &plaintext).await?;
                    ensure!(status == 200, "a rotated key at the replica that made it: {status}");
                    let status = self.verify(replica, &self.keys[at].plaintext).await?;
                    ensure!(
                        status == 401,
                        "the key before a rotation, at the replica that made it: {status}"
                    );
                }
                plaintext
            }
            Way::Kubectl => {
                let plaintext: PlaintextKey = new_key()?;
                let patch = json!({
                    "metadata": {"annotations": {KEY_PREFIX_ANNOTATION: plaintext.prefix().to_string()}},
                    "spec": {"digest": plaintext.digest().to_string()},
                });
                self.patch(at, &patch).await?;
                plaintext.expose().to_owned()
            }
        };
        let digest = PlaintextKey::parse(&plaintext)?.digest().to_string();
        let key = &self.keys[at];
        self.shown(key, |shown, stored| {
            is_as_held(key, shown, stored)
                && stored.spec.digest.as_ref() == Some(&digest)
                && shown["prefix"].as_str().is_some_and(|prefix| plaintext.starts_with(prefix))
        })
        .await?;
        for replica in [0, 1] {
            self.until_taken(replica, &plaintext).await?;
        }
        let before = std::mem::replace(&mut self.keys[at].plaintext, plaintext);
        self.until_refused(before).await
    }

    pub(super) async fn revoke_key(&mut self) -> Result<()> {
        let Some(at) = self.any_live() else { return self.make_key().await };
        let plaintext = self.keys[at].plaintext.clone();
        match self.way() {
            Way::Http(replica) => {
                self.post_to(replica, at, "revoke").await?;
                let refused =
                    (self.verify(replica, &plaintext).await?, self.exchange(replica, &plaintext).await?);
                ensure!(refused == (401, 401), "a revoked key at the replica that revoked it: {refused:?}");
            }
            Way::Kubectl => self.patch(at, &json!({"spec": {"revoked": true}})).await?,
        }
        self.keys[at].is_revoked = true;
        self.is_shown(at).await?;
        self.until_refused(plaintext).await?;
        // It ended: nobody changes it any more.
        let (path, name) = (format!("{KEYS}/{}", self.keys[at].id), self.next_name("own"));
        let replica = self.replica();
        let answer = self.call(replica, Method::PATCH, &path, &json!({"name": name})).await?;
        ensure!(
            answer.status == 409 && answer.at("/code").as_deref() == Some("api_key_frozen"),
            "{}",
            told(&answer)
        );
        let status =
            self.patch_object(&self.keys[at].object, &json!({"spec": {"displayName": name}})).await?;
        ensure!(status == 422, "kubectl patch of a revoked key: {status}");
        self.is_shown(at).await
    }

    /// Uses from outside the list lock the key; its owner mends the list, and unlocks it.
    pub(super) async fn lock_and_unlock_key(&mut self) -> Result<()> {
        let Some(at) = self.any_live() else { return self.make_key().await };
        let elsewhere = json!(["198.51.100.7/32"]);
        self.change(at, &json!({"allowed_cidrs": elsewhere}), &json!({"spec": {"allowedCidrs": elsewhere}}))
            .await?;
        let replica = self.replica();
        let key = self.keys[at].clone();
        until("a lock", || async {
            let status = self.verify(replica, &key.plaintext).await?;
            let answer = self.get(1 - replica, &key.id).await?;
            Ok(match answer.at("/status").as_deref() {
                Some("locked") => Seen::Done(()),
                _ => Seen::NotYet(format!("{status}, {}", told(&answer))),
            })
        })
        .await?;
        self.change(at, &json!({"allowed_cidrs": []}), &json!({"spec": {"allowedCidrs": null}})).await?;
        match self.way() {
            Way::Http(replica) => {
                let answer = self.post_to(replica, at, "unlock").await?;
                ensure!(answer.json()["lock"].is_null(), "{}", told(&answer));
            }
            Way::Kubectl => {
                let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
                self.patch(at, &json!({"spec": {"unlockedAt": now}})).await?;
            }
        }
        self.shown(&key, |shown, stored| {
            shown["status"] != "locked" && shown["lock"].is_null() && is_as_held(&key, shown, stored)
        })
        .await?;
        for replica in [0, 1] {
            self.until_taken(replica, &key.plaintext).await?;
        }
        Ok(())
    }
}
