//! Faults in what the exchange answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use serde_json::json;

use super::{Row, Scene, token};
use crate::stand_in::{Identity, Reply, StandIn, http_date, now, read_head};
use crate::stand_in_proxy::drip;

const SENTENCE: &str = "Missing, invalid, revoked, or expired API key";

/// Asked once, and never again.
fn once(reply: fn() -> Reply) -> Scene {
    Scene::counted(StandIn::tls(move |_| reply()), 1)
}

fn credential(kind: &str, token: &str, end: &str) -> Reply {
    let body = json!({"kind": kind, "status": {"token": token, "expirationTimestamp": end}});
    Reply::new(200, body.to_string())
}

const LATE: &str = "2099-01-01T00:00:00Z";

/// A server that answers with this head and then drips.
fn dripping(head: &'static str, body: &'static str) -> Scene {
    Scene::with(StandIn::handled(&Identity::default(), move |stream| {
        read_head(&mut std::io::BufReader::new(&mut *stream))?;
        stream.write_all(head.as_bytes())?;
        stream.flush()?;
        body.bytes().cycle().try_for_each(|byte| drip(stream, byte))
    }))
}

/// 100 MB, told beforehand or in chunks. Who takes more than a part of it fails the row.
fn endless(head: &'static str, chunk: &'static str) -> Scene {
    let sent = Arc::new(AtomicU64::new(0));
    let guard = MostlyUnread(Arc::clone(&sent));
    let exchange = StandIn::handled(&Identity::default(), move |stream| {
        read_head(&mut std::io::BufReader::new(&mut *stream))?;
        stream.write_all(head.as_bytes())?;
        let blanks = format!("{chunk}{}{}", " ".repeat(0x10000), if chunk.is_empty() { "" } else { "\r\n" });
        for _ in 0..1600 {
            stream.write_all(blanks.as_bytes())?;
            sent.fetch_add(blanks.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    });
    Scene::with(exchange).keep(guard)
}

/// What the buffers of both systems may hold: the plugin itself reads 64 KiB.
const UNREAD_MAX: u64 = 20_000_000;

struct MostlyUnread(Arc<AtomicU64>);

impl Drop for MostlyUnread {
    fn drop(&mut self) {
        let sent = self.0.load(Ordering::SeqCst);
        assert!(sent < UNREAD_MAX, "{sent} bytes were taken");
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rows() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    vec![
        row(
            "401 unknown",
            || once(|| Reply::coded(401, "invalid_api_key", SENTENCE)),
            4,
            &[SENTENCE, "--key-file", "shows PREFIX kpk_"],
        ),
        row("401 without a code", || once(|| Reply::problem(401, "")), 4, &[SENTENCE]),
        row(
            "401 revoked",
            || once(|| Reply::coded(401, "api_key_revoked", SENTENCE)),
            4,
            &["the key was revoked", "never works again"],
        ),
        row(
            "401 expired",
            || once(|| Reply::coded(401, "api_key_expired", SENTENCE)),
            13,
            &["the key has expired", "kubectl keyplane generate"],
        ),
        row(
            "401 of an API server",
            || once(|| Reply::new(401, "{\"kind\":\"Status\"}")),
            8,
            &["answered 401, but not as a Keyplane exchange does", "--cluster-server"],
        ),
        row(
            "403 locked",
            || once(|| Reply::coded(403, "key_locked", "locked")),
            12,
            &["the key is locked", "kubectl keyplane apikeys unlock NAME"],
        ),
        row(
            "403 address",
            || once(|| Reply::coded(403, "address_not_allowed", "no")),
            5,
            &["may not be used from this address", "spec.allowedCidrs"],
        ),
        row(
            "403 not ready",
            || once(|| Reply::coded(403, "key_not_ready", "This API key is not ready (OverLimit): too many")),
            5,
            &["(OverLimit): too many", "kubectl describe apikeys"],
        ),
        row(
            "403 scope without Kubernetes",
            || once(|| Reply::coded(403, "scope_without_kubernetes", "no")),
            5,
            &["scope does not include Kubernetes", "use a key with scope kubernetes_exec or all"],
        ),
        row(
            "403 insufficient scope",
            || {
                once(|| {
                    Reply::coded(403, "insufficient_scope", "This API key's scope does not include inference")
                })
            },
            5,
            &["does not include inference", "kubectl get apikeys"],
        ),
        row(
            "403 of another code",
            || once(|| Reply::coded(403, "new", "Not today")),
            5,
            &["does not let this key do this: Not today"],
        ),
        row("403 of a portal", || once(|| Reply::new(403, "<html>")), 8, &["answered 403, but not as"]),
        row(
            "404",
            || once(|| Reply::coded(404, "not_found", "Nothing is served at this path")),
            8,
            &["answered 404: Nothing is served", "--server is a Keyplane exchange"],
        ),
        row("405", || once(|| Reply::problem(405, "not with this method")), 8, &["answered 405"]),
        row(
            "429",
            || once(|| Reply::problem(429, "Slow down").with("retry-after", "7")),
            9,
            &["Slow down", "try again in 7 s"],
        ),
        row(
            "500",
            || once(|| Reply::problem(500, "Keyplane failed to answer; its log says why")),
            8,
            &["answered 500", "its log"],
        ),
        row(
            "502 of a gateway",
            || once(|| Reply::new(502, "<html>Bad gateway</html>")),
            8,
            &["answered 502"],
        ),
        row(
            "503 for an hour",
            || once(|| Reply::problem(503, "Set up").with("retry-after", "3600")),
            9,
            &["not ready: Set up", "try again in 3600 s"],
        ),
        row(
            "503 until a date of the exchange's own clock",
            || {
                once(|| {
                    let theirs = now() - TimeDelta::days(1);
                    Reply::problem(503, "Set up")
                        .with("date", http_date(theirs))
                        .with("retry-after", http_date(theirs + TimeDelta::seconds(100)))
                })
            },
            9,
            &["try again in 100 s"],
        ),
        row(
            "503 until a date in the past, then a token",
            || {
                let past = "Sunday, 06-Nov-94 08:49:37 GMT";
                let reply = move |count| match count {
                    1 => Reply::problem(503, "Set up").with("retry-after", past),
                    _ => token(),
                };
                Scene::counted(StandIn::tls(reply), 2)
            },
            0,
            &[],
        ),
        row(
            "503 forever",
            || Scene::with(StandIn::tls(|_| Reply::problem(503, "Set up"))),
            9,
            &["not ready: Set up", "try again in a moment"],
        ),
        row(
            "a redirect",
            || once(|| Reply::new(307, "").with("location", "https://thief.example/")),
            8,
            &["a redirect to \"https://thief.example/\", which is not followed"],
        ),
        row(
            "HTML instead of JSON",
            || once(|| Reply::new(200, "<html>Sign in</html>")),
            8,
            &["no ExecCredential", "no proxy changes its answers"],
        ),
        row("an empty answer", || once(|| Reply::new(200, "")), 8, &["no ExecCredential"]),
        row("204", || once(|| Reply::new(204, "")), 8, &["answered 204"]),
        row("another kind", || once(|| credential("Status", "tok", LATE)), 8, &["another kind"]),
        row(
            "a token with a line end",
            || once(|| credential("ExecCredential", "t\r\nx-evil: 1", LATE)),
            8,
            &["no ExecCredential"],
        ),
        row("an empty token", || once(|| credential("ExecCredential", "", LATE)), 8, &["no ExecCredential"]),
        row(
            "an end that is no time",
            || once(|| credential("ExecCredential", "tok", "soon")),
            8,
            &["no ExecCredential"],
        ),
        row(
            "a token of a minute",
            || once(|| Reply::token(TimeDelta::minutes(1), TimeDelta::zero())),
            10,
            &["less than 75 s left", "spec.expiresAt"],
        ),
        row(
            "a clock a day ahead",
            || once(|| Reply::token(TimeDelta::minutes(10), TimeDelta::days(1))),
            0,
            &[],
        ),
        row(
            "a clock a day behind",
            || once(|| Reply::token(TimeDelta::minutes(10), TimeDelta::days(-1))),
            0,
            &[],
        ),
        row(
            "100 MB, told beforehand",
            || endless("HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n", ""),
            8,
            &["larger than 64 KiB"],
        ),
        row(
            "100 MB in chunks",
            || endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "10000\r\n"),
            8,
            &["larger than 64 KiB"],
        ),
        row("100 MB of headers", || endless("HTTP/1.1 200 OK\r\nx-more: ", ""), 8, &["cannot be read"]),
        row("a head byte by byte", || dripping("", "HTTP/1.1 200 OK\r\nx: "), 6, &["did not answer in time"]),
        row(
            "a body byte by byte",
            || dripping("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n", " "),
            6,
            &["did not answer in time"],
        ),
        row(
            "half an answer",
            || {
                Scene::with(StandIn::handled(&Identity::default(), |stream| {
                    read_head(&mut std::io::BufReader::new(&mut *stream))?;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{")
                }))
            },
            6,
            &["connection to the exchange broke"],
        ),
        row(
            "another protocol",
            || {
                Scene::with(StandIn::handled(&Identity::default(), |stream| {
                    read_head(&mut std::io::BufReader::new(&mut *stream))?;
                    stream.write_all(b"220 mail.example ESMTP\r\n")
                }))
            },
            8,
            &["cannot be read", "Keyplane exchange"],
        ),
    ]
}
