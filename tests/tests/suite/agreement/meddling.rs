//! Keys that everybody changes: whoever is too late is told so, and what ended stays ended.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::HttpAnswer;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::client::{Client, KEYS, Way};
use super::stage::told;

/// How the names of these keys begin.
const COMMON: &str = "common";
/// How many there should be.
const WANTED: usize = 3;

impl Client {
    pub(super) async fn meddle(&mut self) -> Result<()> {
        let replica = self.replica();
        let listed = self.call(replica, Method::GET, KEYS, &Value::Null).await?;
        ensure!(listed.status == 200, "{}", told(&listed));
        let listed = listed.json();
        let common: Vec<(&str, &str)> = listed["data"]
            .as_array()
            .context("data")?
            .iter()
            .filter(|key| key["status"] != "revoked")
            .filter_map(|key| Some((key["id"].as_str()?, key["name"].as_str()?)))
            .filter(|(_, name)| name.starts_with(COMMON))
            .collect();
        let name = self.next_name(COMMON);
        if common.len() < WANTED {
            self.place.names.asked(&name);
            let body = json!({"name": name, "scopes": {"inference": true}});
            let answer = self.call(replica, Method::POST, KEYS, &body).await?;
            self.place.names.answered(&name);
            // One that somebody else deleted while its maker waited is not there any more.
            ensure!([201, 404, 409].contains(&answer.status), "{}", told(&answer));
            return Ok(());
        }
        let (id, _) = self.chance.of(&common);
        match self.chance.below(10) {
            0..5 => self.rename_common(id, &name).await,
            5..7 => {
                self.common_answer(Method::POST, &format!("{KEYS}/{id}/rotate"), &Value::Null).await.map(drop)
            }
            7 => {
                self.common_answer(Method::POST, &format!("{KEYS}/{id}/unlock"), &Value::Null).await.map(drop)
            }
            8 => self.revoke_common(id).await,
            _ => self.delete_common(id).await,
        }
    }

    async fn common_answer(&mut self, method: Method, path: &str, body: &Value) -> Result<HttpAnswer> {
        let replica = self.replica();
        let answer = self.call(replica, method, path, body).await?;
        ensure!([200, 204, 404, 409].contains(&answer.status), "{}", told(&answer));
        Ok(answer)
    }

    /// The name of the resource with this id, where it still is.
    async fn object_of(&self, id: &str) -> Option<String> {
        self.stored_as(id).await.ok()?.metadata.name
    }

    async fn rename_common(&mut self, id: &str, name: &str) -> Result<()> {
        self.place.names.asked(name);
        let is_done = match self.way() {
            Way::Http(_) => {
                let path = format!("{KEYS}/{id}");
                self.common_answer(Method::PATCH, &path, &json!({"name": name})).await?.status == 200
            }
            Way::Kubectl => {
                let Some(object) = self.object_of(id).await else { return Ok(()) };
                let patch = json!({"metadata": {"uid": id}, "spec": {"displayName": name}});
                let status = self.patch_object(&object, &patch).await?;
                ensure!([200, 404, 409, 422].contains(&status), "{status}");
                status == 200
            }
        };
        self.place.names.answered(name);
        for replica in [0, 1] {
            let shown = self.get(replica, id).await?;
            ensure!([200, 404].contains(&shown.status), "{}", told(&shown));
            if is_done && let Some(shown) = shown.at("/name") {
                self.place.names.ensure_after(name, &shown)?;
            }
        }
        Ok(())
    }

    async fn revoke_common(&mut self, id: &str) -> Result<()> {
        let answer = self.common_answer(Method::POST, &format!("{KEYS}/{id}/revoke"), &Value::Null).await?;
        for replica in [0, 1] {
            let shown = self.get(replica, id).await?;
            let is_over = shown.status == 404 || shown.at("/status").as_deref() == Some("revoked");
            ensure!(is_over || answer.status == 409, "{} and then {}", told(&answer), told(&shown));
        }
        Ok(())
    }

    async fn delete_common(&mut self, id: &str) -> Result<()> {
        match self.way() {
            Way::Http(_) => {
                drop(self.common_answer(Method::DELETE, &format!("{KEYS}/{id}"), &Value::Null).await?);
            }
            Way::Kubectl => {
                let Some(object) = self.object_of(id).await else { return Ok(()) };
                let deleting = self.place.keys.delete(&object, &DeleteParams::default()).await;
                let deleted = self.place.by_kubectl("delete apikey", deleting)?;
                ensure!(deleted.as_ref().err().is_none_or(|status| *status == 404), "{:?}", deleted.err());
            }
        }
        for replica in [0, 1] {
            let shown = self.get(replica, id).await?;
            ensure!(shown.status == 404, "{}", told(&shown));
        }
        Ok(())
    }
}
