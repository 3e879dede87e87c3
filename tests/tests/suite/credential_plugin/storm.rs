//! Many commands, as a terminal interface starts them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::audit_log::AuditEvent;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::workspace;
use kube::ResourceExt as _;
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::holder;

/// How long the storm is, in seconds.
const SECONDS: u32 = 20;
/// Commands a second.
const RATE: u32 = 50;
/// Every so-many-th is kubectl itself, from its start to the API server's answer. The others are its first step alone, a
/// client process that starts the plugin: 50 whole kubectl a second are more than two processors.
const WHOLE: u32 = 10;

/// What kubectl does first, in a process of its own: it starts the plugin as the kubeconfig says.
fn first_step(own: &Tenant, key: &HeldKey) -> Result<impl Fn() -> Command + use<>> {
    let kubeconfig = Kubeconfig::read_from(own.dir().join(format!("{}.kubeconfig", key.name)))?;
    let user = kubeconfig.auth_infos.iter().find_map(|named| named.auth_info.as_ref());
    let exec = user.and_then(|user| user.exec.as_ref()).context("the kubeconfig calls the plugin")?;
    let args = exec.args.clone().unwrap_or_default();
    let cluster = kubeconfig.clusters.iter().find_map(|named| named.cluster.as_ref()).context("a cluster")?;
    let extension = cluster.extensions.iter().flatten().next().context("the cluster's extension")?;
    let info = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {
            "interactive": false,
            "cluster": {
                "server": cluster.server,
                "certificate-authority-data": cluster.certificate_authority_data,
                "config": extension.extension,
            },
        },
    });
    let plugin = workspace::binary("kubectl-keyplane")?;
    let cache = own.dir().join("token-cache");
    Ok(move || {
        let mut client = Command::new("sh");
        // The second command keeps the shell from becoming the plugin itself.
        client.args(["-c", "\"$@\" > /dev/null; exit $?", "sh"]).arg(&plugin).args(&args).env_clear();
        client.env("KEYPLANE_CACHE_DIR", &cache).env("KUBERNETES_EXEC_INFO", info.to_string());
        client
    })
}

async fn succeed(mut command: Command) -> Result<()> {
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn fifty_commands_a_second_for_twenty_seconds_make_one_exchange() -> Result<()> {
    let shared = shared_keyplane().await?;
    let (own, web, key) = holder("plugin-storm").await?;
    let identity = format!("key-{}", own.stored_key("ci").await?.uid().context("a stored key has a UID")?);
    let kubectl = own.kubectl_of(&key).await?;
    let first_step = first_step(&own, &key)?;
    let audit = shared.cluster.audit_log()?;
    let mark = audit.mark()?;

    let mut commands = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..SECONDS * RATE {
        tick.tick().await;
        if number % WHOLE == 0 {
            let (kubectl, web) = (kubectl.clone(), web.clone());
            commands.spawn(
                async move { kubectl.run(["get", "configmaps", "--namespace", &web]).await.map(drop) },
            );
        } else {
            commands.spawn(succeed(first_step()));
        }
    }
    while let Some(done) = commands.join_next().await {
        done??;
    }
    let minted = |event: &AuditEvent| {
        event
            .object_ref
            .as_ref()
            .is_some_and(|object| object.subresource == "token" && object.name == identity)
    };
    let tokens = audit.since(mark)?.iter().filter(|event| minted(event)).count();
    println!("{} commands: {tokens} TokenRequest(s)", SECONDS * RATE);
    ensure!(tokens == 1, "{tokens} tokens; the cache holds {:?}", files(&own.dir().join("token-cache")));
    Ok(())
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
