//! Faults on the way to the exchange: names, connections, proxies, TLS.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;

use super::{LIMIT, Row, Scene, healthy, token};
use crate::stage::Stage;
use crate::stand_in::{Identity, Script, StandIn, now, serve};
use crate::stand_in_proxy::{Play, StandInProxy, drip, until_gone};

/// A certificate of these days, counted from today.
fn valid(from: i64, to: i64) -> Scene {
    let valid = (now() + TimeDelta::days(from), now() + TimeDelta::days(to));
    Scene::with(StandIn::of(&Identity { valid, ..Identity::default() }, |_| token()))
}

/// A server without TLS that is asked for it.
fn no_tls(handler: fn(&mut dyn crate::stand_in::Stream) -> std::io::Result<()>) -> Scene {
    let mut server = StandIn::handled(&Identity { tls: false, ..Identity::default() }, handler);
    server.url = server.url.replace("http:", "https:");
    Scene::with(server)
}

/// A server that closes the first connection and serves the next.
fn closed_once() -> Scene {
    let connections = AtomicUsize::new(0);
    let script: Script = Arc::new(|_, _| token());
    Scene::with(StandIn::handled(&Identity::default(), move |stream| {
        if connections.fetch_add(1, Ordering::SeqCst) == 0 {
            Ok(())
        } else {
            serve(stream, &Mutex::default(), &script)
        }
    }))
}

/// An exchange to which only this proxy leads.
fn proxied(proxy: StandInProxy) -> Scene {
    let url = proxy.server.url.clone();
    to_proxy(&url).keep(proxy)
}

fn to_proxy(url: &str) -> Scene {
    Scene::bare(&["--server", "https://exchange.example", "--timeout", &LIMIT.to_string()])
        .limited()
        .env("HTTPS_PROXY", url)
}

impl Scene {
    fn limited(mut self) -> Self {
        self.limit = std::time::Duration::from_secs(LIMIT);
        self
    }
}

/// An address at which nobody listens.
fn closed() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rows() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    let mut rows = vec![
        row(
            "a name that nobody knows",
            || Scene::bare(&["--server", "https://no-such-name.invalid", "--timeout", "2"]).limited(),
            6,
            &["the exchange's name is not known", "https://no-such-name.invalid"],
        ),
        row(
            "nobody listens",
            || Scene::bare(&["--server", &format!("https://{}", closed()), "--timeout", "2"]).limited(),
            6,
            &["the exchange cannot be reached", "refused", "HTTPS_PROXY"],
        ),
        row(
            "a network without a way",
            || Scene::bare(&["--server", "https://[100::1]", "--timeout", "2"]).limited(),
            6,
            &["the exchange", "https://[100::1]"],
        ),
        row(
            "IPv6 only",
            || {
                let identity = Identity { name: "::1".to_owned(), address: "[::1]:0", ..Identity::default() };
                Scene::with(StandIn::of(&identity, |_| token()))
            },
            0,
            &[],
        ),
        row(
            "IPv4 only, by name",
            || {
                let mut exchange = StandIn::tls_for("localhost", |_| token());
                exchange.url = exchange.url.replace("127.0.0.1", "localhost");
                Scene::with(exchange)
            },
            0,
            &[],
        ),
        row("a server that says nothing", || no_tls(until_gone), 6, &["TLS handshake in time"]),
        row(
            "a handshake that stops",
            || {
                no_tls(|stream| {
                    // The head of a record that never comes.
                    stream.write_all(&[22, 3, 3, 1, 0])?;
                    until_gone(stream)
                })
            },
            6,
            &["did not finish the TLS handshake in time"],
        ),
        row(
            "a handshake byte by byte",
            || {
                no_tls(|stream| {
                    [22, 3, 3, 16, 0].into_iter().chain([2; 4096]).try_for_each(|byte| drip(stream, byte))
                })
            },
            6,
            &["did not finish the TLS handshake in time"],
        ),
        row("a connection that is closed at once, then a healthy one", closed_once, 0, &[]),
        row(
            "a connection that is closed each time",
            || no_tls(|_| Ok(())),
            6,
            &["the exchange broke the TLS"],
        ),
        row(
            "no TLS at all",
            || no_tls(|stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            7,
            &["does not speak TLS", "scheme and the port"],
        ),
        row(
            "a certificate that expired",
            || valid(-9, -2),
            7,
            &["certificate expired at 20", "clock, which says 20", "renews it"],
        ),
        row(
            "a certificate of the day after tomorrow",
            || valid(2, 9),
            7,
            &["not valid before 20", "set this machine's clock, which says 20"],
        ),
        row(
            "a certificate of another name",
            || Scene::with(StandIn::tls_for("elsewhere.example", |_| token())),
            7,
            &["certificate is for elsewhere.example, not for 127.0.0.1", "--tls-server-name"],
        ),
        row(
            "another CA than the one given",
            || {
                let other = Stage::new();
                let ca = other.file("other.pem", &healthy().ca, 0o644);
                let exchange = healthy();
                Scene::bare(&["--server", &exchange.url, "--certificate-authority", &ca])
                    .keep(exchange)
                    .keep(other)
            },
            7,
            &["no CA that is trusted here", "--certificate-authority FILE"],
        ),
        row(
            "a private CA that is not given",
            || {
                let exchange = healthy();
                Scene::bare(&["--server", &exchange.url]).keep(exchange)
            },
            7,
            &["--certificate-authority FILE"],
        ),
        row(
            "the certificate of a CA as the server's own",
            || {
                let ca_itself = Identity { is_ca: true, ..Identity::default() };
                Scene::with(StandIn::of(&ca_itself, |_| token()))
            },
            7,
            &["own certificate is one of a CA", "with one that a CA issued"],
        ),
        row(
            "plain http to a server that speaks TLS",
            || {
                let exchange = healthy();
                let plain = exchange.url.replace("https:", "http:");
                Scene::bare(&["--server", &plain, "--timeout", "2"]).limited().keep(exchange)
            },
            8,
            &["the exchange's answer cannot be read", "https where it speaks TLS"],
        ),
        row(
            "a port that is none",
            || Scene::bare(&["--server", "https://127.0.0.1:65536"]),
            2,
            &["no port from 1 to 65535", "https://127.0.0.1:65536"],
        ),
        row("an empty port", || Scene::bare(&["--server", "https://[::1]:/keyplane"]), 2, &["no port"]),
        row(
            "plain http to elsewhere",
            || Scene::bare(&["--server", "http://exchange.example"]),
            2,
            &["clear text"],
        ),
    ];
    rows.extend(of_proxies());
    rows
}

fn of_proxies() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    vec![
        row(
            "a proxy that is down",
            || to_proxy(&format!("http://{}", closed())),
            6,
            &["the proxy 127.0.0.1:", "cannot be reached", "--proxy-url"],
        ),
        row(
            "a proxy that nobody knows",
            || to_proxy("http://proxy.invalid:3128"),
            6,
            &["the proxy proxy.invalid:3128's name is not known"],
        ),
        row(
            "a proxy that wants a password",
            || {
                proxied(StandInProxy::new(Play::Answer(
                    "HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n",
                )))
            },
            6,
            &["wants a user name and a password (407)", "http://USER:PASSWORD@HOST:PORT"],
        ),
        row(
            "a proxy that refuses",
            || proxied(StandInProxy::new(Play::Answer("HTTP/1.1 403 Forbidden\r\n\r\n"))),
            6,
            &["refuses to lead to the exchange (403)", "NO_PROXY"],
        ),
        row(
            "a proxy that finds no way",
            || proxied(StandInProxy::new(Play::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"))),
            6,
            &["does not lead to the exchange (502)"],
        ),
        row("a proxy that hangs", || proxied(StandInProxy::new(Play::Hang)), 6, &["the proxy", "in time"]),
        row(
            "a proxy that answers byte by byte",
            || proxied(StandInProxy::new(Play::Drip("HTTP/1.1 200 OK\r\nx: "))),
            6,
            &["the proxy", "in time"],
        ),
        row(
            "a SOCKS proxy that is none",
            || {
                let proxy = StandInProxy::new(Play::Answer("HTTP/1.1 400 Bad Request\r\n\r\n"));
                let url = proxy.server.url.replace("http:", "socks5:");
                Scene::bare(&["--server", "https://127.0.0.2:9", "--timeout", "2"])
                    .limited()
                    .args(&["--proxy-url", &url])
                    .keep(proxy)
            },
            6,
            &["the proxy 127.0.0.1:"],
        ),
        row(
            "a proxy's password stays unsaid",
            || to_proxy("http://u:hunter2 @x"),
            2,
            &["no URL of a proxy (HTTPS_PROXY)"],
        ),
        row(
            "a proxy with a port that is none",
            || to_proxy("http://u:secret@127.0.0.1:99999"),
            2,
            &["no URL of a proxy (HTTPS_PROXY)"],
        ),
        row("a proxy of another scheme", || to_proxy("ftp://proxy.example"), 2, &["no URL of a proxy"]),
        row(
            "plain http through a proxy",
            || Scene::bare(&["--server", "http://127.0.0.1:1", "--proxy-url", "http://127.0.0.1:2"]),
            2,
            &["to the proxy in clear text"],
        ),
    ]
}
