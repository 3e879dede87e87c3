//! People whom the cluster does not know, owners who are none any more, accounts that are going.

use anyhow::{Result, ensure};
use http::Method;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::Neighbours;
use crate::authorization_matrix::operations::{KEYS, NAMESPACES, PANEL, public_key};
use crate::authorization_matrix::outcome::told;

#[tokio::test]
async fn whom_the_cluster_does_not_know_owns_nothing() -> Result<()> {
    let all = Neighbours::meet("going").await?;
    let account = all.own.account.as_str();
    // The names that Kubernetes gives to those who say nothing of who they are.
    let owners = json!({"spec": {"owners": [
        {"kind": "User", "name": "system:anonymous"},
        {"kind": "Group", "name": "system:unauthenticated"},
    ]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    all.own.wait_ready(&format!("account/{account}")).await?;
    let naming = [("x-keyplane-account", account)];
    for path in [KEYS, NAMESPACES, PANEL] {
        let answer = all.http.send(Method::GET, path, &naming, b"").await?;
        all.ensure_nothing(path, &answer, &[401])?;
        let headers = [naming[0], ("authorization", "Bearer system:anonymous")];
        let answer = all.http.send(Method::GET, path, &headers, b"").await?;
        all.ensure_nothing(path, &answer, &[401])?;
    }
    Ok(())
}

#[tokio::test]
async fn an_owner_who_is_taken_away_is_refused() -> Result<()> {
    let all = Neighbours::meet("going-owner").await?;
    let account = all.own.account.as_str();
    let person = format!("{account}-person");
    let naming = [("x-keyplane-account", account)];
    let answer = all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?;
    ensure!(answer.status == 200, "{}", told(&answer));
    let owners = json!({"spec": {"owners": [{"kind": "User", "name": all.own.owner()}]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    until("the former owner to be refused", PATIENCE, || async {
        let (unnamed, named) = (
            all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?.status,
            all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?.status,
        );
        Ok(if (unnamed, named) == (400, 403) {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{unnamed} {named}"))
        })
    })
    .await?;
    let owners =
        json!({"spec": {"owners": [{"kind": "ServiceAccount", "name": person, "namespace": "default"}]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    until("the owner to be back", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await
}

#[tokio::test]
async fn an_account_that_goes_is_nobodys_choice_and_nothing_new_comes_to_it() -> Result<()> {
    let all = Neighbours::meet("going").await?;
    let account = all.own.account.as_str();
    let naming = [("x-keyplane-account", account)];
    let ssh = all.own.key("ssh", &["--scope", "ssh-keys"]).await?.plaintext()?;
    // Its home namespace is held up.
    let home = format!("--namespace={account}");
    let held = r#"{"metadata":{"finalizers":["example.com/held"]}}"#;
    all.own.kubectl.run(["create", "configmap", "held", &home]).await?;
    all.own.kubectl.run(["patch", "configmap", "held", &home, "--type=merge", "-p", held]).await?;
    all.own.kubectl.run(["delete", "account", account, "--wait=false"]).await?;
    until("the account to be nobody's choice", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?;
        Ok(if answer.status == 400 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await?;
    let new = json!({"name": "late", "scopes": {"all": true}});
    let late = json!({"name": "late", "publicKey": public_key()});
    until("nothing new to come to it", PATIENCE, || async {
        let key = all.ask(&all.owner, Method::POST, KEYS, &naming, &new).await?;
        let namespace =
            all.ask(&all.owner, Method::POST, NAMESPACES, &naming, &json!({"name": "late"})).await?;
        let by_owner = all.ask(&all.owner, Method::POST, PANEL, &naming, &late).await?;
        let bearer = format!("Bearer {ssh}");
        let by_key = all.http.json(Method::POST, PANEL, &[("authorization", &bearer)], &late).await?;
        let statuses = [key.status, namespace.status, by_owner.status, by_key.status];
        ensure!(!statuses.contains(&500), "{statuses:?}");
        let is_refused = statuses.iter().all(|status| *status >= 400) && by_key.status == 401;
        Ok(if is_refused { Seen::Done(()) } else { Seen::NotYet(format!("{statuses:?}")) })
    })
    .await?;
    let freed = r#"{"metadata":{"finalizers":null}}"#;
    all.own.kubectl.run(["patch", "configmap", "held", &home, "--type=merge", "-p", freed]).await?;
    until("the former owner to be told as of any other account", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?;
        Ok(if answer.status == 403 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await
}
