//! A lock as its owner sees and lifts it.

use anyhow::{Result, ensure};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::{Own, id_of, told};

#[tokio::test]
async fn a_locked_key_tells_why_and_works_again_when_it_is_unlocked() -> Result<()> {
    let own = Own::create("unlock").await?;
    let scopes = json!({"kubernetes_exec": {"namespaces": ["web"]}});
    let (key, made) =
        own.made(&json!({"name": "ci", "scopes": scopes, "allowed_cidrs": ["192.0.2.0/24"]})).await?;
    let id = id_of(&made)?;
    for _ in 0..3 {
        ensure!(own.tenant.exchange(&key).await?.status == 403);
    }
    let locked = own.get(&id).await?;
    ensure!(locked["status"] == "locked", "{locked}");
    ensure!(
        locked["lock"]["reason"] == "AddressDenied" && locked["lock"]["address"] == "127.0.0.1",
        "{locked}"
    );
    ensure!(locked["lock"]["locked_at"].is_string(), "{locked}");
    let events = locked["security_events"].as_array().map_or(0, Vec::len);
    ensure!(events == 3 && locked["security_events"][0]["reason"] == "AddressDenied", "{locked}");

    // A locked key can be changed; it stays locked.
    let answer = own.patch(&id, &json!({"allowed_cidrs": ["127.0.0.1"]})).await?;
    ensure!(answer.status == 200 && answer.json()["status"] == "locked", "{}", told(&answer));
    ensure!(answer.json()["reason"] == "Locked" && answer.json()["message"].is_string(), "{}", told(&answer));
    ensure!(own.tenant.exchange(&key).await?.code().as_deref() == Some("key_locked"));

    let answer = own.post_to(&id, "unlock", &Value::Null).await?;
    ensure!(answer.status == 200, "{}", told(&answer));
    let unlocked = answer.json();
    ensure!(unlocked["status"] == "active" && unlocked["lock"].is_null(), "{unlocked}");
    until("the key to be taken", PATIENCE, || async {
        let answer = own.tenant.exchange(&key).await?;
        Ok(match answer.status {
            200 => Seen::Done(()),
            _ => Seen::NotYet(format!("{answer:?}")),
        })
    })
    .await?;

    // A key that is not locked is none the worse for it.
    let before = own.stored_as(&id).await?.metadata.generation;
    let answer = own.post_to(&id, "unlock", &Value::Null).await?;
    ensure!(answer.status == 200 && answer.json()["status"] == "active", "{}", told(&answer));
    ensure!(own.stored_as(&id).await?.metadata.generation == before, "nothing changes");
    Ok(())
}
