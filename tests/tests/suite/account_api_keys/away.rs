//! What people are told while the controller is away, and while the API server is.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_crds::Account;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::processes;
use keyplane_tests::tenant::Tenant;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{KEYS, Own, ensure_problem, id_of, told};

#[tokio::test]
async fn without_a_controller_a_key_is_pending_the_limit_holds_and_a_revocation_too() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let controller = KeyplaneOptions::of(Mode::Controller, "controller", &installation).with_lease_seconds(3);
    let api = KeyplaneOptions::of(Mode::Api, "api", &installation);
    let (controller, api) = tokio::try_join!(
        Keyplane::start(cluster.supervise(), cluster.dir(), &controller),
        Keyplane::start(cluster.supervise(), cluster.dir(), &api)
    )?;
    let tenant = Tenant::create(&cluster, &api, "away").await?;
    tenant.namespace("web").await?;
    let own = Own { token: tenant.owner_token().await?, http: tenant.http()?, tenant };
    let (before, before_id) = own.made_for_web("before").await?;
    let accounts: Api<Account> = Api::all(own.tenant.client());
    let limit = Patch::Merge(json!({"spec": {"limits": {"activeApiKeys": 4}}}));
    accounts.patch(&own.tenant.account, &PatchParams::default(), &limit).await?;

    controller.kill_9()?;
    let scopes = json!({"kubernetes_exec": {"namespaces": ["web"]}});
    let creations = (0..8).map(|at| {
        let body = json!({"name": format!("key-{at}"), "scopes": scopes});
        let own = &own;
        async move { own.post(&body).await }
    });
    let mut made = Vec::new();
    for answer in try_join_all(creations).await? {
        if answer.status == 201 {
            ensure!(answer.json()["status"] == "pending", "{}", told(&answer));
            made.push((own.held(&answer)?, id_of(&answer.json())?));
        } else {
            ensure_problem("one too many", &answer, 409, "active_key_limit_reached")?;
        }
    }
    ensure!(made.len() == 3, "{} made, and there was room for 3", made.len());
    let answer = own.patch(&before_id, &json!({"name": "renamed"})).await?;
    ensure!(answer.status == 200 && answer.json()["name"] == "renamed", "{}", told(&answer));
    ensure!(answer.json()["status"] == "pending", "nobody has looked at it since: {}", told(&answer));
    let answer = own.post_to(&before_id, "revoke", &Value::Null).await?;
    ensure!(answer.status == 200 && answer.json()["status"] == "revoked", "{}", told(&answer));
    own.until_refused(&before).await?;

    controller.restart().await?;
    for (key, id) in &made {
        own.until_shown(id, "the key to be active", |shown| shown["status"] == "active").await?;
        own.tenant.until_exchanged(&api, key, &[]).await?;
    }

    processes::kill_9(*cluster.pids().get(1).context("no API server")?)?;
    let id = &made[0].1;
    for (method, path, body) in [
        (Method::GET, KEYS.to_owned(), Value::Null),
        (Method::POST, KEYS.to_owned(), json!({"name": "new", "scopes": {"inference": true}})),
        (Method::GET, format!("{KEYS}/{id}"), Value::Null),
        (Method::PATCH, format!("{KEYS}/{id}"), json!({"name": "new"})),
        (Method::POST, format!("{KEYS}/{id}/revoke"), Value::Null),
        (Method::DELETE, format!("{KEYS}/{id}"), Value::Null),
    ] {
        let answer = own.call(method.clone(), &path, &body).await?;
        ensure_problem(&format!("{method} {path}"), &answer, 503, "cluster_unavailable")?;
        ensure!(answer.header("retry-after").is_some());
    }
    Ok(())
}
