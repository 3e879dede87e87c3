//! What those who run Keyplane see of it: whether it is ready, and what it counts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::fault_proxy::FaultProxy;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};

use crate::replicas::replica;

/// A store is stale a minute after it was last heard of, and a watch that is open when it is cut off lives 20 s more.
const STALE_WITHIN: Duration = Duration::from_secs(150);

/// What a process answers on its port for probes.
async fn admin(keyplane: &Keyplane, path: &str) -> Result<(u16, String)> {
    let url = format!("{}{path}", keyplane.admin_url());
    tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder()
            // Not `http_proxy`: the address is this machine's own.
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)));
        let mut answer = ureq::Agent::from(config.build()).get(url).call()?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    })
    .await?
}

/// What a process counts, by series.
async fn metrics(keyplane: &Keyplane) -> Result<BTreeMap<String, f64>> {
    let (status, text) = admin(keyplane, "/metrics").await?;
    ensure!(status == 200 && text.ends_with("# EOF\n"), "{status} {text}");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

/// What was counted between two looks.
fn counted(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, series: &str) -> f64 {
    let at = |metrics: &BTreeMap<String, f64>| metrics.get(series).copied().unwrap_or_default();
    at(after) - at(before)
}

#[tokio::test]
async fn an_api_that_is_cut_off_says_what_is_stale_and_is_ready_again_when_it_hears_of_it() -> Result<()> {
    let shared = shared_keyplane().await?;
    let name = format!("cut-off-{}", std::process::id());
    let proxy = FaultProxy::start(shared.cluster, &shared.installation, &name).await?;
    let options = KeyplaneOptions::of(Mode::Api, &name, proxy.installation());
    let api = Keyplane::start(shared.cluster.supervise(), shared.cluster.dir(), &options).await?;
    ensure!(admin(&api, "/readyz").await? == (200, "ok\n".to_owned()));

    proxy.cut_off();
    let said = until("the API to be unready", STALE_WITHIN, || async {
        let (status, said) = admin(&api, "/readyz").await?;
        Ok(if status == 503 { Seen::Done(said) } else { Seen::NotYet(format!("{status} {said}")) })
    })
    .await?;
    println!("readyz: {said}");
    ensure!(said.starts_with("stale: ") && said.contains(" not heard of for 6"), "{said}");
    until("every store to be stale", STALE_WITHIN, || async {
        let (_, said) = admin(&api, "/readyz").await?;
        let kinds = ["keyplane.dev/ApiKey", "core/Secret", "core/ServiceAccount"];
        let is_named = kinds.iter().all(|kind| said.contains(&format!("{kind} not heard of for ")));
        Ok(if is_named { Seen::Done(()) } else { Seen::NotYet(said) })
    })
    .await?;
    // It lives, and it says how old what it knows is.
    ensure!(admin(&api, "/healthz").await? == (200, "ok\n".to_owned()));
    let age =
        metrics(&api).await?.get(r#"keyplane_watch_age_seconds{part="api",kind="core/Secret"}"#).copied();
    ensure!(age.is_some_and(|age| age > 60.0), "{age:?}");

    proxy.resume();
    until("the API to be ready again", PATIENCE, || async {
        let (status, said) = admin(&api, "/readyz").await?;
        Ok(if status == 200 { Seen::Done(()) } else { Seen::NotYet(said) })
    })
    .await
}

/// A kind of which nothing happens is heard of too: by the renewal of its watch.
#[tokio::test]
async fn every_store_is_heard_of_within_the_life_of_its_watch() -> Result<()> {
    let shared = shared_keyplane().await?;
    // Of each store the last age, and whether it has been heard of anew since the first look.
    let stores: RefCell<BTreeMap<String, (f64, bool)>> = RefCell::default();
    until("every store to be heard of", PATIENCE, || async {
        let now = metrics(&shared.keyplane).await?;
        let mut stores = stores.borrow_mut();
        for (series, age) in now {
            if series.starts_with("keyplane_watch_age_seconds{") {
                ensure!(age < 45.0, "{series}: not heard of for {age} s");
                let (last, is_renewed) = stores.entry(series).or_insert((age, false));
                *is_renewed |= age < *last;
                *last = age;
            }
        }
        ensure!(stores.len() >= 12, "{stores:?}");
        let is_done = stores.values().all(|(_, is_renewed)| *is_renewed);
        Ok(if is_done { Seen::Done(()) } else { Seen::NotYet(format!("{stores:?}")) })
    })
    .await
}

#[tokio::test]
async fn a_use_and_a_refusal_are_counted_and_nothing_of_them_is_told() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "counted").await?;
    let web = own.namespace("web").await?;
    let api = replica("counted", &[]).await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    own.until_exchanged(&api, &key, &[]).await?;

    let before = metrics(&api).await?;
    let answer = own.exchange_at(&api, &key, &[]).await?;
    let token = answer.token().context("a token")?;
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    own.key_with_reason("ci", "Revoked").await?;
    let revoked = r#"keyplane_key_decisions_total{outcome="Revoked"}"#;
    until("the replica to refuse the key", PATIENCE, || async {
        let answer = own.exchange_at(&api, &key, &[]).await?;
        Ok(if answer.status == 401 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    let after = metrics(&api).await?;
    for (series, times) in [
        (r#"keyplane_key_decisions_total{outcome="admitted"}"#, 1.0),
        (revoked, 1.0),
        (r#"keyplane_http_requests_total{surface="exchange",method="POST",status="200"}"#, 1.0),
        (r#"keyplane_http_requests_total{surface="exchange",method="POST",status="401"}"#, 1.0),
        (r#"keyplane_http_request_duration_seconds_count{surface="exchange"}"#, 2.0),
        ("keyplane_audit_failures_total", 0.0),
    ] {
        let found = counted(&before, &after, series);
        // While the watch has not told the replica, the key is still good there.
        ensure!((times..=times + 2.0).contains(&found), "{series}: {found}");
    }
    ensure!(counted(&before, &after, "keyplane_audit_lines_total") >= 2.0, "{after:?}");
    until("the uses to be written down", PATIENCE, || async {
        let now = metrics(&api).await?;
        let pending = now.get("keyplane_uses_pending").copied().context("a count")?;
        let writes = now.get("keyplane_usage_writes_total").copied().context("a count")?;
        let is_written = pending == 0.0 && writes >= 1.0;
        Ok(if is_written {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{pending} wait, {writes} written"))
        })
    })
    .await?;

    let (_, text) = admin(&api, "/metrics").await?;
    let plaintext = key.plaintext()?;
    let digest = own.stored_key("ci").await?.spec.digest.context("a digest")?;
    let signature = token.rsplit('.').next().context("a signature")?;
    for secret in
        [plaintext.as_str(), digest.trim_start_matches("sha256:"), signature, &own.account, &web, "127.0.0.1"]
    {
        ensure!(!text.contains(secret), "something of a key, its account or its client is in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_standby_is_ready_and_says_so_and_the_leader_tells_of_every_store() -> Result<()> {
    let shared = shared_keyplane().await?;
    let name = format!("standby-{}", std::process::id());
    let options = KeyplaneOptions::of(Mode::Controller, &name, &shared.installation);
    let standby = Keyplane::start(shared.cluster.supervise(), shared.cluster.dir(), &options).await?;
    let said = admin(&standby, "/readyz").await?;
    ensure!(said == (200, "ok (standby: waiting for the lease)\n".to_owned()), "{said:?}");
    ensure!(metrics(&standby).await?.get("keyplane_leader") == Some(&0.0));

    let leader = &shared.keyplane;
    let own = Tenant::create(shared.cluster, leader, "led").await?;
    own.namespace("web").await?;
    let now = metrics(leader).await?;
    ensure!(now.get("keyplane_leader") == Some(&1.0), "{now:?}");
    for kind in ["Account", "Namespace"] {
        for series in [
            format!(r#"keyplane_reconciles_total{{kind="{kind}",result="done"}}"#),
            format!(r#"keyplane_reconcile_duration_seconds_count{{kind="{kind}"}}"#),
            format!(r#"keyplane_watch_objects{{part="controller",kind="keyplane.dev/{kind}"}}"#),
        ] {
            ensure!(now.get(&series).is_some_and(|count| *count >= 1.0), "{series}: {now:?}");
        }
    }
    let (status, said) = admin(leader, "/readyz?verbose").await?;
    ensure!(status == 200 && said.starts_with("ok\n"), "{said}");
    for store in [
        "api keyplane.dev/ApiKey: listed, ",
        "api core/Secret: listed, ",
        "api core/ServiceAccount: listed, ",
        "controller keyplane.dev/Account: listed, ",
        "controller keyplane.dev/SshKey: listed, ",
        "controller core/Namespace: listed, ",
        "controller rbac.authorization.k8s.io/RoleBinding: listed, ",
        "controller networking.k8s.io/NetworkPolicy: listed, ",
    ] {
        ensure!(said.lines().any(|line| line.starts_with(store)), "{store} in {said}");
    }
    Ok(())
}
