//! A small HTTP server on this machine, one thread a connection: the stand-in for what plugins ask over the network.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The longest body that is read.
const BODY_MAX: usize = 64 * 1024;

/// A server that answers every request with JSON, until the process ends.
pub(crate) struct HttpServer {
    /// Where it is: `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
}

impl HttpServer {
    /// Starts one; `answer` has the server's own address and the path that is asked for.
    pub(crate) fn start(
        answer: impl Fn(&str, &str) -> serde_json::Value + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Arc::new((url.clone(), answer, Arc::clone(&asked)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let (url, answer, asked) = &*server;
                    serve(&stream, |path| {
                        asked.fetch_add(1, Ordering::SeqCst);
                        answer(url, path)
                    })
                });
            }
        });
        Ok(Self { url, asked })
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, answer: impl Fn(&str) -> serde_json::Value) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0).min(BODY_MAX),
            Some(_) => {}
            None => break,
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let body = answer(&path).to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
