//! What a gateway's connections live through: refusals do not end them, and under load every use is counted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENT, tenant, until_known};
use crate::replicas::replica;

/// More than comes with the head, and less than is read of what nobody looks at.
const LONG_BODY: usize = 60_000;
/// How long the load lasts.
const LOAD: Duration = Duration::from_secs(5);
/// How many connections carry it, and how many requests each has under way.
const CONNECTIONS: usize = 8;
const UNDER_WAY: usize = 32;

/// A connection to the internal port, as a gateway keeps it.
struct Kept {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Kept {
    async fn to(keyplane: &Keyplane) -> Result<Self> {
        let url = keyplane.internal_url();
        let address = url.strip_prefix("http://").context("plain HTTP")?;
        Ok(Self { stream: TcpStream::connect(address).await?, read: Vec::new() })
    }

    /// Sends the same request so many times without waiting, and returns the heads of the answers.
    async fn ask(&mut self, request: &[u8], times: usize) -> Result<Vec<String>> {
        self.stream.write_all(&request.repeat(times)).await?;
        let mut heads = Vec::new();
        while heads.len() < times {
            let end = self.read.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.read.split_off(end + 4);
                heads.push(String::from_utf8(std::mem::replace(&mut self.read, rest))?);
            } else if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the connection was closed after {} of {times} answers", heads.len());
            }
        }
        Ok(heads)
    }
}

fn request(method: &str, key: Option<&str>, body: &str) -> Vec<u8> {
    let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} /v1/verify HTTP/1.1\r\nhost: keyplane\r\n{key}{length}\r\n{body}").into_bytes()
}

fn status(head: &str) -> Option<&str> {
    head.split(' ').nth(1)
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_open_and_its_answer_without_a_body() -> Result<()> {
    let own = tenant("kept").await?;
    let replica = replica("kept", &PATIENT).await?;
    let key = own.key("good", &["--scope", "inference"]).await?;
    until_known(&replica, &key).await?;
    let plaintext = key.plaintext()?;
    let body = "x".repeat(LONG_BODY);
    for (method, body) in
        [("GET", ""), ("POST", ""), ("HEAD", ""), ("PUT", ""), ("POST", &body), ("PUT", "x")]
    {
        let mut connection = Kept::to(&replica).await?;
        for (key, expected) in
            [(None, "401"), (Some("letmein"), "401"), (Some(plaintext.as_str()), "200"), (None, "401")]
        {
            // A second answer would begin with what is left of the first.
            for head in connection.ask(&request(method, key, body), 2).await? {
                ensure!(head.starts_with("HTTP/1.1 ") && status(&head) == Some(expected), "{method}: {head}");
                let head = head.to_ascii_lowercase();
                ensure!(!head.contains("connection: close"), "{method}: {head}");
                ensure!(method == "HEAD" || head.contains("content-length: 0\r\n"), "{method}: {head}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_use_under_load_is_counted_exactly() -> Result<()> {
    let own = tenant("load").await?;
    let replica = replica("load", &PATIENT).await?;
    let key = own.key("busy", &["--scope", "inference"]).await?;
    until_known(&replica, &key).await?;
    let plaintext = key.plaintext()?;
    let already = 1;

    let began = Instant::now();
    let connections = (0..CONNECTIONS).map(|_| async {
        let mut connection = Kept::to(&replica).await?;
        let request = request("GET", Some(&plaintext), "");
        let mut made = 0;
        while began.elapsed() < LOAD {
            let heads = connection.ask(&request, UNDER_WAY).await?;
            ensure!(heads.iter().all(|head| status(head) == Some("200")), "{heads:?}");
            made += heads.len();
        }
        anyhow::Ok(made)
    });
    let made: usize = try_join_all(connections).await?.into_iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "shown to a person")]
    let rate = made as f64 / seconds;
    println!("verify: {made} uses over HTTP in {seconds:.1} s, {rate:.0} a second");
    let expected = u64::try_from(made)? + already;
    until("every use to be counted", PATIENCE, || async {
        let status = own.stored_key("busy").await?.status.unwrap_or_default();
        let count = status.usage.map_or(0, |usage| usage.count);
        ensure!(count <= expected, "{count} uses of {expected}");
        Ok(if count == expected { Seen::Done(()) } else { Seen::NotYet(format!("{count} of {expected}")) })
    })
    .await
}
