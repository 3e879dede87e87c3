//! Everything that an account is made of, to see whether anything of it changed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::stage::Stage;

/// What the uses of a key write into its status; the version follows.
const USES: [&str; 4] = ["usage", "securityEvents", "lock", "revocation"];

/// The account with everything in its namespaces, by kind and name.
pub(super) async fn of(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    let account = &stage.own.account;
    let mut found = BTreeMap::new();
    let kinds = "apikeys,sshkeys,namespaces.keyplane.dev,secrets,configmaps,rolebindings,roles,serviceaccounts,resourcequotas";
    let core = "secrets,configmaps,rolebindings,roles,serviceaccounts,networkpolicies,limitranges";
    let (home, web) = (format!("--namespace={account}"), format!("--namespace={account}-web"));
    for arguments in [
        vec!["get", kinds, &home],
        vec!["get", core, &web],
        vec!["get", "account", account],
        vec!["get", "namespace", account, &format!("{account}-web")],
    ] {
        let text = stage
            .own
            .kubectl
            .run(arguments.into_iter().chain(["--output=json", "--show-managed-fields"]))
            .await?;
        let read: Value = serde_json::from_str(&text)?;
        let items = read.get("items").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![read]);
        for mut item in items {
            let text =
                |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            let place = text("/metadata/namespace");
            if kind == "ApiKey" && name != "victim" {
                without_uses(&mut item).with_context(|| name.clone())?;
            }
            found.insert(format!("{kind} {place}/{name}"), item);
        }
    }
    ensure!(found.len() > 20, "all there is: {:?}", found.keys());
    Ok(found)
}

/// A key that is presented, without what that writes.
fn without_uses(key: &mut Value) -> Result<()> {
    let metadata = key.pointer_mut("/metadata").and_then(Value::as_object_mut).context("metadata")?;
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    if let Some(status) = key.pointer_mut("/status").and_then(Value::as_object_mut) {
        for field in USES {
            status.remove(field);
        }
    }
    Ok(())
}

/// Ensures that nothing came, went or changed.
pub(super) fn ensure_same(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Result<()> {
    let names = |all: &BTreeMap<String, Value>| all.keys().cloned().collect::<Vec<_>>();
    ensure!(names(before) == names(after), "{:?}\nand afterwards\n{:?}", names(before), names(after));
    for (name, object) in before {
        let now = after.get(name);
        ensure!(now == Some(object), "{name} changed: {object:#}\nto {now:#?}");
    }
    Ok(())
}
