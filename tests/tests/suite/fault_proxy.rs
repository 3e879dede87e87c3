//! The harness for faults itself: writes are counted exactly, a kill comes at the write that was asked for, and a
//! scenario is killed at each of its writes.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use keyplane_crds::ConditionStatus;
use keyplane_tests::access::Access;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::fault_proxy::FaultProxy;
use keyplane_tests::install::Installation;
use keyplane_tests::keyplane_process::Mode;
use keyplane_tests::shared::shared_cluster;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

/// A ServiceAccount that may write in a namespace of its own, and a proxy on its way.
struct Stage {
    proxy: FaultProxy,
    through: Api<ConfigMap>,
    direct: Api<ConfigMap>,
    namespace: String,
    _dir: tempfile::TempDir,
}

async fn stage() -> Result<Stage> {
    let cluster = shared_cluster().await?;
    let namespace = format!("proxy-{}", uuid::Uuid::new_v4().simple());
    let kubectl = cluster.kubectl();
    let within = format!("--namespace={namespace}");
    kubectl.run(["create", "namespace", &namespace]).await?;
    kubectl.run(["create", "serviceaccount", "writer", &within]).await?;
    let writer = format!("--serviceaccount={namespace}:writer");
    kubectl.run(["create", "rolebinding", "writer", "--clusterrole=edit", &writer, &within]).await?;
    let token = kubectl.run(["create", "token", "writer", &within]).await?;
    let dir = tempfile::tempdir()?;
    let installation = installation_of(cluster, dir.path().join("kubeconfig"), token.trim())?;
    let proxy = FaultProxy::start(cluster, &installation, &namespace).await?;
    let client = Access::of_file(&proxy.installation().kubeconfig).client().await?;
    Ok(Stage {
        proxy,
        through: Api::namespaced(client, &namespace),
        direct: Api::namespaced(cluster.client().await?, &namespace),
        namespace,
        _dir: dir,
    })
}

fn installation_of(cluster: &ControlPlane, kubeconfig: PathBuf, token: &str) -> Result<Installation> {
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "writer",
        "clusters": [{"name": "cluster", "cluster": cluster.access().cluster()?}],
        "users": [{"name": "writer", "user": {"token": token}}],
        "contexts": [{"name": "writer", "context": {"cluster": "cluster", "user": "writer"}}],
    });
    std::fs::write(&kubeconfig, serde_json::to_vec(&content)?)?;
    Ok(Installation { kubeconfig })
}

fn named(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

/// A process that does nothing until it is killed.
fn victim() -> Result<Child> {
    Command::new("sleep").arg("600").spawn().context("sleep does not start")
}

#[tokio::test]
async fn each_committed_write_is_counted_once_in_order_and_nothing_else_is() -> Result<()> {
    let stage = stage().await?;
    let create = PostParams::default();
    stage.through.create(&create, &named("one")).await?;
    ensure!(stage.through.create(&create, &named("one")).await.is_err(), "created twice");
    stage.through.get("one").await?;
    stage.through.list(&ListParams::default()).await?;
    let patch = Patch::Merge(json!({"data": {"a": "b"}}));
    stage.through.patch("one", &PatchParams::default(), &patch).await?;
    stage.through.delete("one", &DeleteParams::default()).await?;
    ensure!(stage.through.delete("one", &DeleteParams::default()).await.is_err(), "deleted twice");

    let writes = stage.proxy.writes();
    let maps = format!("/api/v1/namespaces/{}/configmaps", stage.namespace);
    let seen: Vec<(&str, &str)> =
        writes.iter().map(|write| (write.method.as_str(), write.path.as_str())).collect();
    let one = format!("{maps}/one");
    ensure!(seen == [("POST", &*maps), ("PATCH", &*one), ("DELETE", &*one)], "{writes:?}");
    let user = format!("system:serviceaccount:{}:writer", stage.namespace);
    ensure!(writes.iter().all(|write| write.user == user), "{writes:?}");
    stage.proxy.forget_writes();
    ensure!(stage.proxy.writes().is_empty());
    Ok(())
}

/// The watch stays open for a minute: events that come before its end were not held back.
#[tokio::test]
async fn a_watch_streams_through_it() -> Result<()> {
    let stage = stage().await?;
    let params = WatchParams::default().timeout(60);
    let mut events = stage.through.watch(&params, "0").await?.boxed();
    for name in ["first", "second"] {
        stage.direct.create(&PostParams::default(), &named(name)).await?;
        let seen = async {
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(map) = event?
                    && map.name_any() == name
                {
                    return Ok(());
                }
            }
            anyhow::bail!("the watch ended")
        };
        // Less than the life of the watch.
        tokio::time::timeout(PATIENCE / 3, seen).await.with_context(|| format!("no event for {name}"))??;
    }
    Ok(())
}

#[tokio::test]
async fn a_kill_after_a_write_leaves_it_committed_unanswered_and_the_process_dead() -> Result<()> {
    let stage = stage().await?;
    let mut victim = victim()?;
    let create = PostParams::default();
    stage.proxy.kill_after(2, victim.id());
    stage.through.create(&create, &named("one")).await?;
    ensure!(!stage.proxy.has_killed() && victim.try_wait()?.is_none(), "killed too early");
    ensure!(stage.through.create(&create, &named("two")).await.is_err(), "the answer was passed on");
    stage.proxy.until_killed().await?;
    ensure!(victim.wait()?.signal() == Some(9));
    stage.direct.get("two").await.context("the write was not committed")?;
    ensure!(stage.through.create(&create, &named("three")).await.is_err(), "a write passed after the kill");
    ensure!(stage.through.get("one").await.is_err(), "a read passed after the kill");
    ensure!(stage.proxy.writes().len() == 2, "{:?}", stage.proxy.writes());

    stage.proxy.resume();
    stage.through.create(&create, &named("three")).await?;
    Ok(())
}

#[tokio::test]
async fn a_kill_before_a_write_keeps_it_from_the_server() -> Result<()> {
    let stage = stage().await?;
    let mut victim = victim()?;
    stage.proxy.kill_before(2, victim.id());
    stage.through.create(&PostParams::default(), &named("one")).await?;
    ensure!(stage.through.create(&PostParams::default(), &named("two")).await.is_err());
    stage.proxy.until_killed().await?;
    ensure!(victim.wait()?.signal() == Some(9));
    ensure!(stage.direct.get_opt("two").await?.is_none(), "the write was forwarded");
    ensure!(stage.proxy.writes().len() == 1, "{:?}", stage.proxy.writes());
    Ok(())
}

/// Of many writes at once exactly as many are committed as were asked for.
#[tokio::test]
async fn writes_at_once_pass_one_at_a_time() -> Result<()> {
    let stage = stage().await?;
    let mut victim = victim()?;
    stage.proxy.kill_after(5, victim.id());
    let through = &stage.through;
    let all = (0..20).map(|number| async move {
        through.create(&PostParams::default(), &named(&format!("map-{number}"))).await.is_ok()
    });
    let answered = futures::future::join_all(all).await.into_iter().filter(|ok| *ok).count();
    victim.wait()?;
    let listed = stage.direct.list(&ListParams::default()).await?;
    let stored = listed.items.iter().filter(|map| map.name_any().starts_with("map-")).count();
    ensure!((answered, stored) == (4, 5), "{answered} answered, {stored} stored");
    Ok(())
}

/// Giving a key: the simplest change with several writes.
struct GivingAKey;

impl Scenario for GivingAKey {
    type Prepared = (Tenant, String);

    fn name(&self) -> &'static str {
        "giving a key"
    }

    async fn prepare(&self, stage: &CrashStage) -> Result<Self::Prepared> {
        let tenant = Tenant::create(stage.cluster(), stage.keyplane(), "crash").await?;
        tenant.namespace("web").await?;
        let (_, manifest) = tenant.generate("ci", &["--kubernetes-namespace", "web"]).await?;
        Ok((tenant, manifest))
    }

    async fn change(&self, _: &CrashStage, (tenant, manifest): &Self::Prepared) -> Result<()> {
        tenant.kubectl.apply(manifest).await.map(drop)
    }

    async fn done(&self, _: &CrashStage, (tenant, _): &Self::Prepared) -> Result<Seen<()>> {
        let status = tenant.stored_key("ci").await?.status.unwrap_or_default();
        let ready = status.conditions.iter().any(|condition| condition.status == ConditionStatus::True);
        Ok(if ready { Seen::Done(()) } else { Seen::NotYet(format!("{:?}", status.conditions)) })
    }

    async fn check(&self, _: &CrashStage, (tenant, _): &Self::Prepared) -> Result<()> {
        let uid = tenant.stored_key("ci").await?.uid().context("a stored object has a UID")?;
        let within = "--namespace=keyplane-identities";
        let found = tenant.kubectl.run(["get", "serviceaccounts", within, "--output=name"]).await?;
        ensure!(found.matches(&uid).count() == 1, "{found}");
        Ok(())
    }
}

#[tokio::test]
async fn a_scenario_is_killed_at_each_of_its_writes_and_comes_to_the_same_end() -> Result<()> {
    let stage = CrashStage::start(Mode::All, |_| {}).await?;
    let tried = stage.at_every_write(&GivingAKey).await?;
    // ServiceAccount, anchor, RoleBinding, status; and once before the first.
    ensure!(tried.writes.len() >= 4 && tried.kills > tried.writes.len(), "{tried:?}");
    Ok(())
}
