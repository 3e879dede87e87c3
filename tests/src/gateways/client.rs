//! A gateway's client: it chooses its own address of the loopback device, and writes headers that a library would not.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::HOST;
use super::api::Received;
use crate::waiting::PATIENCE;

/// A request of HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Request {
    /// The address that the client connects from.
    pub from: Ipv4Addr,
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: &'static str,
    /// Header lines besides `Host`, `Connection: close` (unless there is another) and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a client got back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, as far as it is text.
    pub body: String,
}

impl Answer {
    /// What the API behind the gateway says that it was asked.
    ///
    /// # Errors
    /// When the answer is not the API's.
    pub fn received(&self) -> Result<Received> {
        serde_json::from_str(&self.body).with_context(|| format!("not the API's answer: {self:?}"))
    }
}

impl Request {
    /// Sends it on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, gateway: SocketAddr) -> Result<Answer> {
        let exchanged = tokio::time::timeout(PATIENCE, self.exchange(gateway)).await;
        let bytes = exchanged.with_context(|| format!("no answer from {gateway}"))??;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
        let status = head.split(' ').nth(1).context("an answer has a status")?.parse()?;
        Ok(Answer { status, body: body.to_owned() })
    }

    async fn exchange(&self, gateway: SocketAddr) -> Result<Vec<u8>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let mut connection = socket.connect(gateway).await?;
        connection.write_all(self.head()?.as_bytes()).await?;
        connection.write_all(&self.body).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    fn head(&self) -> Result<String> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
            head.push_str("Connection: close\r\n");
        }
        if !self.body.is_empty() {
            write!(head, "Content-Length: {}\r\n", self.body.len())?;
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        head.push_str("\r\n");
        Ok(head)
    }
}
