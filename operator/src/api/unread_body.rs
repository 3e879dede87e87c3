//! Bodies that nobody reads, because the request was refused before: a client that still sends when the connection ends may
//! lose the answer with it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use http::header::EXPECT;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much is read of what is left, in bytes, and for how long.
const DISCARDED: usize = 1024 * 1024;
const DISCARD_LIMIT: Duration = Duration::from_secs(1);

/// A body that is given back when its reader is done with it.
struct Lent {
    body: Body,
    to: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(to) = self.to.take()
            && !self.body.is_end_stream()
        {
            // Nobody waits for it where the answer came first.
            let _ = to.send(std::mem::take(&mut self.body));
        }
    }
}

/// Middleware: reads what an answered request's body still holds, where that is little. Who asks first whether to send
/// (`Expect`) is not told to.
pub(crate) async fn discard(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (to, mut given_back) = oneshot::channel();
    let response = next.run(request.map(|body| Body::new(Lent { body, to: Some(to) }))).await;
    if let Ok(body) = given_back.try_recv() {
        // Whoever takes longer has had their chance.
        drop(timeout(DISCARD_LIMIT, read(body)).await);
    }
    response
}

async fn read(body: Body) {
    let mut left = DISCARDED;
    let mut parts = body.into_data_stream();
    while let (1.., Some(Ok(part))) = (left, parts.next().await) {
        left = left.saturating_sub(part.len());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use axum::{Router, middleware};
    use http::StatusCode;
    use tokio::net::TcpListener;

    use super::*;

    /// The status that a client reads when it has sent all of a body of this length, and of a second request of the same
    /// connection.
    async fn statuses(length: usize) -> Vec<String> {
        let router = Router::new()
            .route("/refused", post(async || StatusCode::UNAUTHORIZED))
            .route("/limited", post(async |_: Bytes| ()))
            .layer(DefaultBodyLimit::max(64 * 1024))
            .layer(middleware::from_fn(discard));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let asking = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            for (path, rest) in [("/refused", ""), ("/limited", "connection: close\r\n")] {
                let head =
                    format!("POST {path} HTTP/1.1\r\nhost: here\r\n{rest}content-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&vec![b'a'; length]).unwrap();
            }
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            let lines = answers.lines().filter(|line| line.starts_with("HTTP/1.1 "));
            lines.map(|line| line[9..12].to_owned()).collect()
        };
        let statuses = tokio::task::spawn_blocking(asking).await.unwrap();
        serving.abort();
        statuses
    }

    #[tokio::test]
    async fn whoever_sends_all_of_a_body_reads_the_answer_and_keeps_the_connection() {
        assert_eq!(statuses(10).await, ["401", "200"]);
        assert_eq!(statuses(900_000).await, ["401", "413"]);
    }
}
