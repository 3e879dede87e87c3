//! A key that lists addresses can be used from there and nowhere else; and whose word is taken for an address.

mod proxy_protocol;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, KeyplanePorts, Mode, until_ready};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::supervised::{Ending, Supervised};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::replicas::replica;

/// What a changed list is promised to take until it counts.
const COUNTS_WITHIN: Duration = Duration::from_secs(1);
/// So many denials lock no key: for replicas that a test is refused by again and again.
const PATIENT: [&str; 2] = ["--lock-after-denials", "20"];

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    tenant.namespace("web").await?;
    Ok(tenant)
}

fn ensure_denied(what: &str, answer: &Answer) -> Result<()> {
    ensure!(answer.status == 403, "{what}: {answer:?}");
    ensure!(answer.content_type == "application/problem+json", "{what}: {answer:?}");
    ensure!(answer.code().as_deref() == Some("address_not_allowed"), "{what}: {answer:?}");
    ensure!(
        answer.at("/detail").is_some_and(|text| text.contains("spec.allowedCidrs")),
        "{what}: {answer:?}"
    );
    ensure!(answer.token().is_none(), "{what}: a token");
    Ok(())
}

fn ensure_answered(what: &str, answer: &Answer, is_allowed: bool) -> Result<()> {
    if !is_allowed {
        return ensure_denied(what, answer);
    }
    ensure!(answer.status == 200 && answer.token().is_some(), "{what}: {answer:?}");
    Ok(())
}

/// The line of a replica's audit log about the last use of a key that has this code.
fn last_line(replica: &Keyplane, uid: &str, code: &str) -> Result<Value> {
    let has = |event: &Value, pointer: &str, wanted: &str| {
        event.pointer(pointer).is_some_and(|found| found == wanted)
    };
    let is_it = |event: &&Value| has(event, "/data/id", uid) && has(event, "/data/code", code);
    replica
        .audit_events()?
        .iter()
        .rfind(is_it)
        .cloned()
        .with_context(|| format!("no line {code} about {uid}"))
}

/// A replica that listens for IPv6 and IPv4 at once, so that IPv4 clients come as IPv4-mapped IPv6.
struct DualStack {
    process: Supervised,
    ports: KeyplanePorts,
    ca_file: PathBuf,
}

impl DualStack {
    async fn start() -> Result<Self> {
        let shared = shared_keyplane().await?;
        let name = format!("dual-stack-{}", std::process::id());
        let options = KeyplaneOptions::of(Mode::Api, &name, &shared.installation);
        let dir = shared.cluster.dir();
        let ports = KeyplanePorts::choose()?;
        let mut launch = options.launch(&workspace::binary("keyplane")?, dir, ports);
        let on_ipv4 = format!("127.0.0.1:{}", ports.api);
        let listen = launch.arguments.iter_mut().find(|argument| **argument == *on_ipv4);
        *listen.context("where to listen is an argument")? = format!("[::]:{}", ports.api).into();
        let process = Supervised::start(shared.cluster.supervise(), dir, launch, Ending::InOrder).await?;
        until_ready(ports, || process.check_running()).await?;
        Ok(Self { process, ports, ca_file: options.ca_file(dir) })
    }

    async fn ask(&self, host: &str, key: &str) -> Result<Answer> {
        let url = format!("https://{host}:{}", self.ports.api);
        let headers = [("x-api-key", key.to_owned())];
        let answer = post(&url, &self.ca_file, &headers, b"").await;
        answer.with_context(|| format!("no answer at {url}; these tests need IPv6 on the loopback device"))
    }
}

#[tokio::test]
async fn a_key_is_used_from_its_addresses_of_either_family_and_from_no_other() -> Result<()> {
    let own = tenant("families").await?;
    let replica = DualStack::start().await?;
    let everywhere = own.key_from("everywhere", "web", &[]).await?;
    // By address list: whether 127.0.0.1 and whether ::1 may use the key.
    let rows: [(&[&str], bool, bool); 11] = [
        (&["127.0.0.1"], true, false),
        (&["127.0.0.1/32"], true, false),
        (&["127.0.0.0/8"], true, false),
        (&["0.0.0.0/0"], true, false),
        (&["127.0.0.2"], false, false),
        (&["::1"], false, true),
        (&["::1/128", "203.0.113.0/24"], false, true),
        (&["::/0"], false, true),
        (&["2001:db8::/32"], false, false),
        (&["127.0.0.1", "::1"], true, true),
        (&["198.51.100.7", "203.0.113.0/24", "2001:db8::/32", "127.0.0.0/30"], true, false),
    ];
    let mut keys = Vec::new();
    for (number, (addresses, _, _)) in rows.iter().enumerate() {
        keys.push(own.key_from(&format!("key-{number}"), "web", addresses).await?);
    }
    // Whoever knows of the newest knows of all: they come through one watch, in their order.
    let newest = own.key_from("newest", "web", &[]).await?;
    until("the replica to know all keys", PATIENCE, || async {
        let answer = replica.ask("127.0.0.1", &newest.plaintext()?).await?;
        replica.process.check_running()?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(answer.text) })
    })
    .await?;
    for host in ["127.0.0.1", "[::1]"] {
        let answer = replica.ask(host, &everywhere.plaintext()?).await?;
        ensure_answered(&format!("no list, {host}"), &answer, true)?;
    }
    for (key, (addresses, v4, v6)) in keys.iter().zip(rows) {
        for (host, is_allowed) in [("127.0.0.1", v4), ("[::1]", v6)] {
            let answer = replica.ask(host, &key.plaintext()?).await?;
            ensure_answered(&format!("{addresses:?}, {host}"), &answer, is_allowed)?;
        }
    }
    let denied = own.stored_key("key-4").await?.status.context("a status")?.security_events;
    let addresses: Vec<&str> = denied.iter().map(|event| event.address.as_str()).collect();
    ensure!(addresses == ["::1", "127.0.0.1"], "an address has one form: {addresses:?}");
    Ok(())
}

#[tokio::test]
async fn a_changed_list_counts_as_soon_as_the_watch_tells_of_it() -> Result<()> {
    let own = tenant("changed").await?;
    let replica = replica("changed", &PATIENT).await?;
    let key = own.key_from("ci", "web", &["127.0.0.0/8"]).await?;
    own.until_exchanged(&replica, &key, &[]).await?;

    own.patch_key("ci", r#"{"allowedCidrs":["203.0.113.0/24"]}"#).await?;
    let start = Instant::now();
    let denied = until("the narrower list to count", COUNTS_WITHIN, || async {
        let answer = own.exchange_at(&replica, &key, &[]).await?;
        Ok(if answer.status == 200 { Seen::NotYet("a token".into()) } else { Seen::Done(answer) })
    })
    .await?;
    println!("addresses: a narrower list counts after {} ms", start.elapsed().as_millis());
    ensure_denied("a narrower list", &denied)?;

    // Both counted the denial as one of three, and neither locks for one.
    own.patch_key("ci", r#"{"allowedCidrs":["203.0.113.0/24","127.0.0.1"]}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    own.patch_key("ci", r#"{"allowedCidrs":null}"#).await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_stranger_says_in_a_header_is_no_address() -> Result<()> {
    let own = tenant("stranger").await?;
    let shared = shared_keyplane().await?;
    // Another proxy is trusted, and it is not who connects.
    let replica = replica("stranger", &["--trusted-proxy", "127.0.0.2", "--trusted-proxy", "::1"]).await?;
    let away = own.key_from("away", "web", &["203.0.113.0/24"]).await?;
    // Whoever knows of this one knows of the other: they come through one watch, in their order.
    let home = own.key_from("home", "web", &["127.0.0.1"]).await?;
    own.until_exchanged(&replica, &home, &[]).await?;
    own.until_exchanged(&shared.keyplane, &home, &[]).await?;
    for (name, value) in
        [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9"), ("x-real-ip", "203.0.113.9")]
    {
        let answer = own.exchange_at(&replica, &home, &[(name, value)]).await?;
        ensure_answered(&format!("home, {name}"), &answer, true)?;
        let answer = own.exchange_at(&shared.keyplane, &home, &[(name, value)]).await?;
        ensure_answered(&format!("home at the shared replica, {name}"), &answer, true)?;
    }
    let headers = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
    for replica in [&replica, &shared.keyplane] {
        ensure_denied("away", &own.exchange_at(replica, &away, &headers).await?)?;
    }
    let uid = own.stored_key("away").await?.uid().context("a UID")?;
    let line = last_line(&replica, &uid, "K1021W")?;
    ensure!(line["data"]["address"] == "127.0.0.1", "{line}");
    ensure!(line["data"]["addressSource"] == "connection", "{line}");
    Ok(())
}

/// A request's headers, and whether a key for `203.0.113.0/24` and `2001:db8::/32` may be used with them.
type Row<'a> = (&'a [(&'a str, &'a str)], bool);

/// Sends them all through a trusted proxy on this machine.
async fn ensure_rows(own: &Tenant, replica: &Keyplane, name: &str, rows: &[Row<'_>]) -> Result<()> {
    let key = own.key_from(name, "web", &["203.0.113.0/24", "2001:db8::/32"]).await?;
    let (first, _) = rows.first().context("a row")?;
    own.until_exchanged(replica, &key, first).await?;
    for (headers, is_allowed) in rows {
        let answer = own.exchange_at(replica, &key, headers).await?;
        ensure_answered(&format!("{headers:?}"), &answer, *is_allowed)?;
    }
    Ok(())
}

#[tokio::test]
async fn of_a_trusted_proxys_list_the_rightmost_address_that_is_no_proxys_counts() -> Result<()> {
    const NAME: &str = "x-forwarded-for";
    let own = tenant("proxied").await?;
    let arguments =
        [&PATIENT[..], &["--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8"]].concat();
    let replica = replica("proxied", &arguments).await?;
    let rows: [Row<'_>; 14] = [
        (&[(NAME, "203.0.113.9")], true),
        (&[(NAME, "203.0.113.9:4711")], true),
        (&[(NAME, "::ffff:203.0.113.9")], true),
        (&[(NAME, "2001:db8::9")], true),
        // What the client wrote itself stands further left.
        (&[(NAME, "198.51.100.1, 203.0.113.9")], true),
        (&[(NAME, "unknown, 203.0.113.9")], true),
        (&[(NAME, "203.0.113.9, 198.51.100.1")], false),
        (&[(NAME, "203.0.113.9"), (NAME, "198.51.100.1")], false),
        // Proxies before the last are walked past.
        (&[(NAME, "203.0.113.9, 10.1.2.3, 127.0.0.3")], true),
        (&[(NAME, "203.0.113.9, 198.51.100.1, 10.1.2.3")], false),
        // Without the header the proxy itself is the client; the other header is not looked at.
        (&[], false),
        (&[("forwarded", "for=203.0.113.9")], false),
        // Where the client's address cannot be read, what stands left of it is not taken for it.
        (&[(NAME, "203.0.113.9, unknown")], false),
        (&[(NAME, "203.0.113.9, ")], false),
    ];
    ensure_rows(&own, &replica, "listed", &rows).await?;
    let stored = own.stored_key("listed").await?;
    let newest = &stored.status.as_ref().context("a status")?.security_events[0];
    ensure!(newest.address == "unknown", "{newest:?}");
    let line = last_line(&replica, &stored.uid().context("a UID")?, "K1020I")?;
    ensure!(line["data"]["address"] == "203.0.113.9", "{line}");
    ensure!(line["data"]["addressSource"] == NAME, "{line}");

    // A key without a list may be used from an address that nobody knows.
    let everywhere = own.key_from("everywhere", "web", &[]).await?;
    own.until_exchanged(&replica, &everywhere, &[(NAME, "203.0.113.9, unknown")]).await?;
    let uid = own.stored_key("everywhere").await?.uid().context("a UID")?;
    let line = last_line(&replica, &uid, "K1020I")?;
    ensure!(line["data"].get("address").is_none(), "{line}");
    Ok(())
}

#[tokio::test]
async fn the_standard_header_counts_where_it_is_configured_and_then_alone() -> Result<()> {
    const NAME: &str = "forwarded";
    let own = tenant("rfc7239").await?;
    let arguments = ["--trusted-proxy", "127.0.0.0/8", "--forwarded-header", "forwarded"];
    let replica = replica("rfc7239", &[&PATIENT[..], &arguments].concat()).await?;
    let rows: [Row<'_>; 11] = [
        (&[(NAME, "for=203.0.113.9")], true),
        (&[(NAME, "For=\"203.0.113.9:4711\";proto=https;by=10.0.0.1")], true),
        (&[(NAME, "for=\"[2001:db8::9]:4711\"")], true),
        (&[(NAME, "for=198.51.100.1, for=203.0.113.9")], true),
        (&[(NAME, "for=203.0.113.9, for=198.51.100.1;proto=http")], false),
        (&[(NAME, "for=203.0.113.9, for=unknown")], false),
        (&[(NAME, "for=203.0.113.9, for=_hidden")], false),
        (&[(NAME, "for=203.0.113.9;for=198.51.100.1")], false),
        // The client opened a quote that would swallow what the proxy adds.
        (&[(NAME, "for=\"203.0.113.9, for=198.51.100.1")], false),
        (&[("x-forwarded-for", "203.0.113.9")], false),
        (&[(NAME, "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.1")], true),
    ];
    ensure_rows(&own, &replica, "listed", &rows).await?;
    let uid = own.stored_key("listed").await?.uid().context("a UID")?;
    let line = last_line(&replica, &uid, "K1020I")?;
    ensure!(line["data"]["addressSource"] == NAME, "{line}");
    Ok(())
}
