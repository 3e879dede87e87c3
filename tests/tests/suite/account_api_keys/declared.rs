//! Keys that were declared with kubectl are shown like any other.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{KEYS, Own, told};

#[tokio::test]
async fn keys_that_kubectl_declared_are_shown_and_changed_like_any_other() -> Result<()> {
    let own = Own::create("declared").await?;
    let generated = own.tenant.key("generated", &["--kubernetes-namespace", "web"]).await?;
    let delivered = json!({
        "scope": {"kubernetesExec": {"allNamespaces": true, "role": "view"}}, "delivery": {"secretName": "delivered"},
    });
    own.tenant.declare("delivered", &delivered).await?;
    own.tenant.wait_ready("apikey/delivered").await?;
    let foreign = json!({
        "scope": {"kubernetesExec": {"namespaces": ["nowhere"]}}, "delivery": {"secretName": "invalid"},
        "displayName": "names what is not there",
    });
    own.tenant.declare("invalid", &foreign).await?;
    own.tenant.key_with_reason("invalid", "NamespaceNotOwned").await?;

    let listed = own.call(Method::GET, KEYS, &Value::Null).await?.json();
    let find = |name: &str| {
        let all = listed["data"].as_array().into_iter().flatten();
        all.into_iter()
            .find(|key| key["name"] == name)
            .cloned()
            .with_context(|| format!("{name} in {listed}"))
    };
    let shown = find("generated")?;
    ensure!(
        shown["status"] == "active"
            && shown["scopes"] == json!({"kubernetes_exec": {"namespaces": ["web"], "role": "edit"}}),
        "{shown}"
    );
    ensure!(generated.plaintext()?.starts_with(shown["prefix"].as_str().context("a prefix")?));
    let shown = find("delivered")?;
    let scopes = json!({"kubernetes_exec": {"all_namespaces": true, "role": "view"}});
    ensure!(shown["status"] == "active" && shown["scopes"] == scopes, "{shown}");
    let delivered = own.tenant.delivered_key("delivered").await?.plaintext()?;
    ensure!(delivered.starts_with(shown["prefix"].as_str().context("a prefix")?));

    let id = own.tenant.stored_key("invalid").await?.uid().context("a UID")?;
    let shown = own.get(&id).await?;
    ensure!(shown["name"] == "names what is not there" && shown["status"] == "invalid", "{shown}");
    ensure!(shown["reason"] == "NamespaceNotOwned", "{shown}");
    ensure!(shown["message"].as_str().is_some_and(|message| message.contains("nowhere")), "{shown}");
    // It is mended over HTTP.
    let answer = own.patch(&id, &json!({"scopes": {"inference": true}})).await?;
    ensure!(answer.status == 200, "{}", told(&answer));
    let mended = own.until_shown(&id, "the mended key", |shown| shown["status"] == "active").await?;
    ensure!(mended.get("reason").is_none() && mended["scopes"] == json!({"inference": true}), "{mended}");
    own.tenant.delivered_key("invalid").await.map(drop)
}
