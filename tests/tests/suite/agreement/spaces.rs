//! Namespaces come and go.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_crds::Namespace;
use keyplane_tests::waiting::Seen;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::client::{Client, Way, until};
use super::stage::told;

pub(super) const NAMESPACES: &str = "/v1/account/namespaces";

impl Client {
    pub(super) async fn make_namespace(&mut self) -> Result<()> {
        if !self.spaces.is_empty() {
            return self.delete_namespace().await;
        }
        let name = self.next_name("n");
        let stands = match self.way() {
            Way::Http(replica) => {
                let answer = self.call(replica, Method::POST, NAMESPACES, &json!({"name": name})).await?;
                let is_full = answer.at("/code").as_deref() == Some("namespace_limit_reached");
                ensure!(answer.status == 201 || answer.status == 409 && is_full, "{}", told(&answer));
                let id = answer.at("/id");
                if answer.status == 201 {
                    let stored = self.stored_namespace(&name).await?.context("kubectl has it")?;
                    ensure!(stored.uid() == id, "{stored:?} and {}", told(&answer));
                    self.listed(&name, id.as_deref().context("an id")?).await?;
                }
                answer.status == 201
            }
            Way::Kubectl => {
                let object = Namespace::new(&name, keyplane_crds::NamespaceSpec::default());
                let creating = self.place.namespaces.create(&PostParams::default(), &object).await;
                let made = self.place.by_kubectl("create namespace", creating)?;
                let made = made.map_err(|status| anyhow::anyhow!("kubectl create: {status}"))?;
                self.listed(&name, &made.uid().context("a UID")?).await?;
                true
            }
        };
        self.spaces.extend(stands.then_some(name));
        Ok(())
    }

    /// It is in the lists of both replicas at once, and by its id.
    async fn listed(&self, name: &str, id: &str) -> Result<()> {
        for replica in [0, 1] {
            let list = self.call(replica, Method::GET, NAMESPACES, &Value::Null).await?.json();
            let found = list["data"].as_array().context("data")?.iter().find(|one| one["name"] == name);
            ensure!(found.is_some_and(|one| one["id"] == id), "{name} {id}: {list}");
            let one = self.call(replica, Method::GET, &format!("{NAMESPACES}/{id}"), &Value::Null).await?;
            ensure!(one.status == 200 && one.at("/name").as_deref() == Some(name), "{}", told(&one));
        }
        Ok(())
    }

    async fn stored_namespace(&self, name: &str) -> Result<Option<Namespace>> {
        match self.place.by_kubectl("get namespace", self.place.namespaces.get(name).await)? {
            Ok(found) => Ok(Some(found)),
            Err(404) => Ok(None),
            Err(status) => anyhow::bail!("kubectl get: {status}"),
        }
    }

    pub(super) async fn delete_namespace(&mut self) -> Result<()> {
        let Some(name) = self.spaces.pop() else { return self.make_namespace_first().await };
        let id = self.stored_namespace(&name).await?.context("it stands")?.uid().context("a UID")?;
        match self.way() {
            Way::Http(replica) => {
                let answer =
                    self.call(replica, Method::DELETE, &format!("{NAMESPACES}/{id}"), &Value::Null).await?;
                ensure!(answer.status == 204, "{}", told(&answer));
            }
            Way::Kubectl => {
                let deleting = self.place.namespaces.delete(&name, &DeleteParams::default()).await;
                let deleted = self.place.by_kubectl("delete namespace", deleting)?;
                ensure!(deleted.is_ok(), "kubectl delete: {:?}", deleted.err());
            }
        }
        for replica in [0, 1] {
            let answer = self.call(replica, Method::GET, &format!("{NAMESPACES}/{id}"), &Value::Null).await?;
            let is_going = answer.status == 404 || answer.at("/status").as_deref() == Some("deleting");
            ensure!(is_going, "{}", told(&answer));
        }
        let stored = self.stored_namespace(&name).await?;
        ensure!(stored.is_none_or(|one| one.metadata.deletion_timestamp.is_some()), "kubectl still has it");
        let replica = self.replica();
        until("the namespace to be gone", || async {
            let answer = self.call(replica, Method::GET, &format!("{NAMESPACES}/{id}"), &Value::Null).await?;
            Ok(if answer.status == 404 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
        })
        .await?;
        ensure!(self.stored_namespace(&name).await?.is_none(), "kubectl has it after HTTP had it no more");
        Ok(())
    }

    /// Has one to delete, where it has none.
    async fn make_namespace_first(&mut self) -> Result<()> {
        Box::pin(self.make_namespace()).await
    }
}
