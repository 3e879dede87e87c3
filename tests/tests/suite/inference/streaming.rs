//! Nothing is kept back: each part goes on when it comes, in either direction, and nobody works for a client that is gone.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use axum::body::Bytes;
use keyplane_tests::waiting::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use super::service::Happened;
use super::{IMAGE, Stage};

/// A script with `curl`; its parts do not wait for each other.
fn curl(stage: &Stage, wanted: &str, arguments: &str) -> Result<Child> {
    let script = format!(
        "exec curl -sS -N {arguments} -H 'x-test-answer: {{\"kind\": \"{wanted}\"}}' -H \"x-api-key: $YOUR_API_KEY\" $URL{IMAGE}"
    );
    Ok(stage.shell(&script)?.stdin(Stdio::piped()).spawn()?)
}

async fn read(child: &mut Child, expected: &str) -> Result<()> {
    let output = child.stdout.as_mut().context("no output")?;
    let mut seen = vec![0; expected.len()];
    timeout(PATIENCE, output.read_exact(&mut seen)).await.context("nothing came")??;
    ensure!(seen == expected.as_bytes(), "{}", String::from_utf8_lossy(&seen));
    Ok(())
}

async fn happens(stage: &mut Stage) -> Result<Happened> {
    let happened = timeout(PATIENCE, stage.service.happened.recv()).await.context("nothing happened")?;
    happened.context("the service has ended")
}

#[tokio::test]
async fn each_event_of_an_answer_arrives_before_the_next_is_made() -> Result<()> {
    let mut stage = Stage::start("inference-events", "", &[]).await?;
    let mut child = curl(&stage, "parts", "-X POST")?;
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        stage.service.parts.send(Bytes::from(event.clone()))?;
        read(&mut child, &event).await?;
    }
    // Whoever goes away takes the request with them.
    child.kill().await?;
    ensure!(happens(&mut stage).await? == Happened::Dropped);
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_begins_takes_its_request_with_it() -> Result<()> {
    let mut stage = Stage::start("inference-gone", "", &[]).await?;
    let mut child = curl(&stage, "never", "-X POST")?;
    ensure!(happens(&mut stage).await? == Happened::Came(Bytes::new()));
    child.kill().await?;
    ensure!(happens(&mut stage).await? == Happened::Dropped);
    Ok(())
}

#[tokio::test]
async fn each_part_of_a_body_arrives_before_the_next_is_sent() -> Result<()> {
    let mut stage = Stage::start("inference-upload", "", &[]).await?;
    let mut child = curl(&stage, "upload", "-X POST -T . -H 'expect:'")?;
    let mut input = child.stdin.take().context("no input")?;
    for number in 0..5 {
        let part = format!("part {number}");
        input.write_all(part.as_bytes()).await?;
        ensure!(happens(&mut stage).await? == Happened::Came(part.into()));
    }
    drop(input);
    read(&mut child, "received").await
}
