//! The harness itself: a control plane is its own, is complete, and leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use keyplane_tests::access::Access;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::dev::hold::Held;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::processes;
use keyplane_tests::shared::{shared_cluster, shared_keyplane};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Api;

#[tokio::test]
async fn two_control_planes_side_by_side_do_not_meet() -> Result<()> {
    let (one, two) = tokio::try_join!(ControlPlane::start(), ControlPlane::start())?;
    ensure!(one.uid() != two.uid());

    one.kubectl().run(["create", "namespace", "only-in-one"]).await?;
    let namespaces: Api<Namespace> = Api::all(two.client().await?);
    ensure!(namespaces.get_opt("only-in-one").await?.is_none());

    // The administrator of the one, sent to the address of the other: neither knows the other's authority.
    let mixed =
        std::fs::read_to_string(one.access().kubeconfig())?.replace(&one.server_url()?, &two.server_url()?);
    let file = one.dir().join("mixed.kubeconfig");
    std::fs::write(&file, mixed)?;
    let refused = one
        .kubectl()
        .with_access(&Access::of_file(&file))
        .capture(["get", "namespaces"], "")
        .await?
        .failure()?;
    ensure!(refused.contains("certificate signed by unknown authority"), "{refused}");

    one.verify().await?;
    two.verify().await
}

#[tokio::test]
async fn nothing_is_left_of_a_control_plane_whose_test_panicked() -> Result<()> {
    let (sender, started) = mpsc::channel();
    let test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let control_plane = ControlPlane::start().await.unwrap();
            sender.send(Held { dir: control_plane.dir().to_path_buf(), pids: control_plane.pids() }).unwrap();
            panic!("as a failing assertion does");
        });
    });
    let held = started.recv().context("the control plane did not start")?;
    ensure!(test.join().is_err(), "the test should have panicked");
    nothing_is_left(&held).await
}

#[tokio::test]
async fn nothing_is_left_of_a_control_plane_whose_owner_was_killed() -> Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_keyplane-dev"))
        .arg("hold-control-plane")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("no standard output")?).read_line(&mut line)?;
    let held: Held = serde_json::from_str(&line).with_context(|| format!("the owner printed {line:?}"))?;
    ensure!(
        held.pids.iter().all(|&pid| processes::runs_for(pid, &held.dir)),
        "something does not run: {held:?}"
    );

    processes::kill_9(owner.id())?;
    owner.wait()?;
    nothing_is_left(&held).await
}

#[tokio::test]
async fn a_control_plane_whose_server_was_killed_says_so_and_names_the_log() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.verify().await?;
    let server = *control_plane.pids().get(1).context("no API server")?;
    processes::kill_9(server)?;
    until("the end of the API server to be noticed", PATIENCE, || async {
        // In the moments while the kernel takes it down, all there is to say is that nothing answers.
        let error =
            control_plane.verify().await.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        let told = error.contains("kube-apiserver has ended") && error.contains("kube-apiserver.log");
        Ok(if told { Seen::Done(()) } else { Seen::NotYet(error) })
    })
    .await
}

#[tokio::test]
async fn the_audit_log_holds_each_answered_request_and_who_made_it() -> Result<()> {
    let cluster = shared_cluster().await?;
    let audit_log = cluster.audit_log()?;
    let mark = audit_log.mark()?;
    let answer = cluster.kubectl().capture(["get", "configmap", "this-one-is-asked-for"], "").await?;
    answer.failure()?;

    let event = until("the request in the audit log", PATIENCE, || async {
        let events = audit_log.since(mark)?;
        let asked = |name: &str| name == "this-one-is-asked-for";
        let found = events
            .into_iter()
            .find(|event| event.object_ref.as_ref().is_some_and(|object| asked(&object.name)));
        Ok(found.map_or_else(|| Seen::NotYet("no such request".to_owned()), Seen::Done))
    })
    .await?;
    ensure!(event.verb == "get" && !event.is_write(), "{event:?}");
    ensure!(event.user.username == "keyplane-test-admin", "{event:?}");
    ensure!(event.response_status.is_some_and(|status| status.code == 404), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn the_shared_control_plane_has_aggregated_roles_and_is_the_one_that_was_started() -> Result<()> {
    let cluster = shared_cluster().await?;
    cluster.verify().await?;
    let cluster_roles: Api<ClusterRole> = Api::all(cluster.client().await?);
    for role in ["view", "edit", "admin"] {
        let rules = cluster_roles.get(role).await?.rules.unwrap_or_default();
        ensure!(!rules.is_empty(), "{role} grants nothing");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_keyplane_comes_back_at_the_same_address() -> Result<()> {
    let shared = shared_keyplane().await?;
    let options = KeyplaneOptions::of(Mode::Api, "killed-and-restarted", &shared.installation);
    let keyplane = Keyplane::start(shared.cluster.supervise(), shared.cluster.dir(), &options).await?;
    let (url, first) = (keyplane.url(), keyplane.pid());
    keyplane.kill_9()?;
    ensure!(!processes::runs(first), "it survived SIGKILL");
    ensure!(keyplane.kill_9().is_err(), "killed twice");
    keyplane.restart().await?;
    ensure!(keyplane.url() == url && keyplane.pid() != first);
    ensure!(!keyplane.log().is_empty());
    Ok(())
}

/// No process mentions the directory any more, and the directory is gone.
async fn nothing_is_left(held: &Held) -> Result<()> {
    until("everything to be gone", PATIENCE, || async {
        let running = processes::running_for(&held.dir)?;
        Ok(match (running.is_empty(), held.dir.exists()) {
            (true, false) => Seen::Done(()),
            (false, _) => Seen::NotYet(format!("still running: {}", describe(&running))),
            (true, true) => Seen::NotYet(format!("{} is still there", held.dir.display())),
        })
    })
    .await
}

fn describe(pids: &[u32]) -> String {
    let name =
        |pid| std::fs::read_to_string(Path::new("/proc").join(format!("{pid}/comm"))).unwrap_or_default();
    pids.iter().map(|&pid| format!("{pid} {}", name(pid).trim())).collect::<Vec<_>>().join(", ")
}
