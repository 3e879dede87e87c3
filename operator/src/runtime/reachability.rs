//! Whether the API server answers: said once when it stops and once when it answers again, for the whole process,
//! however many watches notice.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube::Client;

use super::api_error::cause;

/// How long the API server may take to answer the question whether it answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before it is asked again.
const ASK_EVERY: Duration = Duration::from_secs(1);

static SERVER: OnceLock<String> = OnceLock::new();
static ASKING: AtomicBool = AtomicBool::new(false);
static REPORTED: AtomicBool = AtomicBool::new(false);

/// Tells which API server the lines are about. Both halves of a process talk to the same one.
pub(super) fn server_is(url: &str) {
    // The first client's word stands.
    let _ = SERVER.set(url.to_owned());
}

/// A request got no answer. One that was merely cut off is no news: only when the API server does not answer a
/// question of its own either, it is reported. Returns whether it has been reported already.
pub(crate) fn unanswered(client: &Client) -> bool {
    if !ASKING.swap(true, Ordering::AcqRel) {
        tokio::spawn(ask_until_answered(client.clone()));
    }
    REPORTED.load(Ordering::Acquire)
}

async fn ask_until_answered(client: Client) {
    let began = Instant::now();
    let server = SERVER.get().map_or("", String::as_str);
    while let Err(cause) = ask(&client).await {
        if !REPORTED.swap(true, Ordering::AcqRel) {
            tracing::warn!("the API server {server} does not answer ({cause}); going on with what is known");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    if REPORTED.swap(false, Ordering::AcqRel) {
        tracing::info!("the API server {server} answers again after {} s", began.elapsed().as_secs());
    }
    ASKING.store(false, Ordering::Release);
}

async fn ask(client: &Client) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_LIMIT, client.apiserver_version()).await {
        // A refusal is an answer too.
        Ok(Err(kube::Error::Api(status))) if status.code < 500 => Ok(()),
        Ok(answer) => answer.map(drop).map_err(|error| cause(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}
