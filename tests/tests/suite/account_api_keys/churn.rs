//! Many clients at once, over HTTP and beside it: afterwards HTTP, the resources and what they were given agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use http::Method;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_crds::{Account, ApiKey, ApiKeyState};
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{KEYS, Own, told};
use crate::replicas::replica;

const CLIENTS: usize = 50;
const FOR: Duration = Duration::from_secs(20);

/// How often each request was answered how.
type Answers = Mutex<BTreeMap<(&'static str, u16), usize>>;

struct Churn<'a> {
    own: &'a Own,
    other: &'a HttpApi,
    answers: Answers,
    end: Instant,
}

impl Churn<'_> {
    async fn ask(
        &self,
        client: usize,
        what: &'static str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value> {
        let http = if client.is_multiple_of(2) { &self.own.http } else { self.other };
        let bearer = format!("Bearer {}", self.own.token);
        let answer = http.json(method, path, &[("authorization", &bearer)], body).await?;
        // Somebody else revokes and deletes too; and a machine with more to do than it can may answer late, with 504.
        ensure!([200, 201, 204, 404, 409, 504].contains(&answer.status), "{what}: {}", told(&answer));
        let mut answers = self.answers.lock().map_err(|_| anyhow::anyhow!("another client failed"))?;
        *answers.entry((what, answer.status)).or_default() += 1;
        Ok(answer.json())
    }

    /// Keys come, change and go.
    async fn client(&self, client: usize) -> Result<()> {
        let scopes = [
            json!({"kubernetes_exec": {"namespaces": ["web"]}}),
            json!({"inference": true}),
            json!({"all": true}),
        ];
        let mut round = client;
        while Instant::now() < self.end {
            let [scope, other] = [round, round + 1].map(|at| scopes.get(at % scopes.len()));
            let body = json!({"name": format!("client {client}, {round}"), "scopes": scope});
            let made = self.ask(client, "create", Method::POST, KEYS, &body).await?;
            let Some(id) = made.get("id").and_then(Value::as_str) else { continue };
            let path = format!("{KEYS}/{id}");
            let change = json!({"scopes": other, "name": "changed"});
            self.ask(client, "patch", Method::PATCH, &path, &change).await?;
            match round % 4 {
                0 => drop(
                    self.ask(client, "revoke", Method::POST, &format!("{path}/revoke"), &Value::Null).await?,
                ),
                1 => drop(self.ask(client, "delete", Method::DELETE, &path, &Value::Null).await?),
                2 => drop(
                    self.ask(client, "rotate", Method::POST, &format!("{path}/rotate"), &Value::Null).await?,
                ),
                _ => drop(self.ask(client, "get", Method::GET, &path, &Value::Null).await?),
            }
            round += 1;
        }
        Ok(())
    }

    /// Somebody with kubectl renames, revokes and deletes whatever there is.
    async fn beside(&self) -> Result<()> {
        let keys: Api<ApiKey> = Api::namespaced(self.own.tenant.client(), &self.own.tenant.account);
        let mut round = 0;
        while Instant::now() < self.end {
            for key in keys.list(&ListParams::default()).await?.items.into_iter().step_by(3) {
                let name = key.name_any();
                round += 1;
                let done = match round % 3 {
                    0 => keys.delete(&name, &DeleteParams::default()).await.map(drop),
                    at => {
                        let spec = if at == 1 {
                            json!({"displayName": "by kubectl"})
                        } else {
                            json!({"revoked": true})
                        };
                        keys.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec })))
                            .await
                            .map(drop)
                    }
                };
                match done {
                    Ok(()) => {}
                    // It ended or went meanwhile.
                    Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {}
                    Err(error) => bail!(error),
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// What is shown over HTTP, by id: the state and whether the key reaches `web`.
async fn over_http(own: &Own) -> Result<BTreeMap<String, (String, bool)>> {
    let listed = own.call(Method::GET, KEYS, &Value::Null).await?;
    ensure!(listed.status == 200, "{}", told(&listed));
    let listed = listed.json();
    let data = listed.get("data").and_then(Value::as_array).context("data")?.iter();
    let text = |key: &Value, field: &str| {
        key.get(field).and_then(Value::as_str).map(ToOwned::to_owned).context("a text")
    };
    let reaches =
        |key: &Value| ["/scopes/all", "/scopes/kubernetes_exec"].iter().any(|at| key.pointer(at).is_some());
    data.map(|key| Ok((text(key, "id")?, (text(key, "status")?, reaches(key))))).collect()
}

/// What the resources say, by UID: the state in lower case, and whether the key reaches `web`.
fn stored(keys: &[ApiKey]) -> BTreeMap<String, (String, bool)> {
    let state =
        |key: &ApiKey| key.status.as_ref().and_then(|status| status.state).unwrap_or(ApiKeyState::Pending);
    let reaches = |key: &ApiKey| key.spec.scope.all == Some(true) || key.spec.scope.kubernetes_exec.is_some();
    let told = |key: &ApiKey| (format!("{:?}", state(key)).to_lowercase(), reaches(key));
    keys.iter().map(|key| (key.uid().unwrap_or_default(), told(key))).collect()
}

#[tokio::test]
async fn after_many_clients_at_once_http_resources_and_bindings_agree() -> Result<()> {
    let own = Own::create("churn").await?;
    let replica = replica("churn", &[]).await?;
    let other = HttpApi::at(&replica.url(), Some(replica.ca_file()))?;
    let accounts: Api<Account> = Api::all(own.tenant.client());
    let limit = Patch::Merge(json!({"spec": {"limits": {"activeApiKeys": 60}}}));
    accounts.patch(&own.tenant.account, &PatchParams::default(), &limit).await?;

    let churn = Churn { own: &own, other: &other, answers: Mutex::default(), end: Instant::now() + FOR };
    let clients = try_join_all((0..CLIENTS).map(|client| churn.client(client)));
    tokio::try_join!(clients, churn.beside())?;
    println!("{:?}", churn.answers);

    let bindings: Api<RoleBinding> =
        Api::namespaced(own.tenant.client(), &format!("{}-web", own.tenant.account));
    until("HTTP, resources and bindings to agree", PATIENCE, || async {
        let (shown, resources) = (over_http(&own).await?, stored(&own.stored().await?));
        let mut entitled: BTreeSet<String> = BTreeSet::new();
        for (id, (state, reaches)) in &shown {
            if state == "active" && *reaches {
                entitled.insert(format!("keyplane-key-{id}"));
            }
        }
        let found = bindings.list(&ListParams::default()).await?.items;
        let found =
            found.iter().map(kube::ResourceExt::name_any).filter(|name| name.starts_with("keyplane-key-"));
        let found: BTreeSet<String> = found.collect();
        let is_settled = shown.values().all(|(state, _)| ["active", "revoked"].contains(&state.as_str()));
        let differing: Vec<&String> =
            shown.keys().filter(|id| shown.get(*id) != resources.get(*id)).collect();
        let agree = is_settled && shown == resources && found == entitled;
        Ok(if agree {
            println!("{} keys are left, and {} bindings", shown.len(), found.len());
            Seen::Done(())
        } else {
            Seen::NotYet(format!(
                "{differing:?} of {}; {} of {} bindings",
                shown.len(),
                found.len(),
                entitled.len()
            ))
        })
    })
    .await
}
