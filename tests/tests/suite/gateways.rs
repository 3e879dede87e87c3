//! An API behind nginx, Caddy, Envoy and Traefik is open to keys that Keyplane accepts and to nothing else, with the files
//! of `examples/gateways`.

#![allow(clippy::print_stdout, reason = "its figures are its report")]

mod cases;
mod guarded;

use anyhow::{Result, ensure};
use keyplane_tests::gateways::{Proxy, connections};
use keyplane_tests::waiting::{PATIENCE, Seen, until};

use self::guarded::{AWAY, Guarded, HOME};

/// So many refusals in a row do not cost so many connections to Keyplane.
const REFUSALS: usize = 40;
/// A proxy may open some more than it needs.
const FEW: usize = 5;

#[tokio::test]
async fn nginx_lets_in_whom_keyplane_accepts_and_nobody_else() -> Result<()> {
    behind(Proxy::Nginx).await
}

#[tokio::test]
async fn caddy_lets_in_whom_keyplane_accepts_and_nobody_else() -> Result<()> {
    behind(Proxy::Caddy).await
}

#[tokio::test]
async fn envoy_over_http_lets_in_whom_keyplane_accepts_and_nobody_else() -> Result<()> {
    behind(Proxy::EnvoyHttp).await
}

#[tokio::test]
async fn envoy_over_grpc_lets_in_whom_keyplane_accepts_and_nobody_else() -> Result<()> {
    behind(Proxy::EnvoyGrpc).await
}

#[tokio::test]
async fn traefik_lets_in_whom_keyplane_accepts_and_nobody_else() -> Result<()> {
    behind(Proxy::Traefik).await
}

/// One gateway, everything about it: what it is started with is the most of the time.
async fn behind(proxy: Proxy) -> Result<()> {
    let guarded = Guarded::start(proxy).await?;
    cases::accepted(&guarded).await?;
    cases::refused(&guarded).await?;
    cases::pretended(&guarded).await?;
    cases::by_address(&guarded).await?;
    refusals_keep_the_connection(&guarded).await?;
    a_revoked_key_is_refused(&guarded).await?;
    nothing_is_open_without_keyplane(&guarded).await
}

/// A flood of bad keys must not make the proxy open a connection for each.
async fn refusals_keep_the_connection(guarded: &Guarded) -> Result<()> {
    let request = Guarded::with_key(&guarded.unknown)?;
    let before = connections::peers_of(guarded.internal.port())?;
    for _ in 0..REFUSALS {
        guarded.ensure_refused("one of many", &request, &[401]).await?;
    }
    let after = connections::peers_of(guarded.internal.port())?;
    let opened = after.difference(&before).count();
    ensure!(opened <= FEW, "{}: {opened} connections for {REFUSALS} refusals", guarded.proxy.name());
    Ok(())
}

async fn a_revoked_key_is_refused(guarded: &Guarded) -> Result<()> {
    let request = Guarded::with_key(&guarded.key)?;
    ensure!(request.send(guarded.address()).await?.status == 200, "the key was used before");
    guarded.own.patch_key(&guarded.key.name, r#"{"revoked":true}"#).await?;
    let start = std::time::Instant::now();
    until("the revoked key to be refused", PATIENCE, || async {
        let answer = request.send(guarded.address()).await?;
        Ok(if answer.status == 401 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    println!("{}: a revoked key is refused after {} ms", guarded.proxy.name(), start.elapsed().as_millis());
    guarded.ensure_refused("revoked", &request, &[401]).await.map(drop)
}

/// What a proxy answers then differs; that it lets nobody in, and writes no key into its log, does not.
async fn nothing_is_open_without_keyplane(guarded: &Guarded) -> Result<()> {
    guarded.keyplane.stop();
    for (from, name) in [(HOME, "x-api-key"), (AWAY, "x-api-key"), (HOME, "authorization")] {
        let mut request = Guarded::with_key(&guarded.other)?;
        request.from = from;
        if name == "authorization" {
            request.headers = vec![(name, format!("Bearer {}", guarded.other.plaintext()?))];
        }
        guarded.ensure_refused("without Keyplane", &request, &[500, 502, 503, 504]).await?;
    }
    let log = guarded.gateway.log();
    ensure!(!log.contains(&guarded.other.plaintext()?), "{} logs a key", guarded.proxy.name());
    Ok(())
}
