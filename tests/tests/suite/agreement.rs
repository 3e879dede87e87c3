//! Fifty clients at once, over HTTP at either replica and as kubectl: every answer is true, what one way changed the next look
//! by another shows, and in the end HTTP, the resources and what was made for them agree.

#![allow(
    clippy::indexing_slicing,
    reason = "a field that is not there reads as null; of replicas there are two, and a client's keys are its own"
)]

mod afterwards;
mod chance;
mod changing;
mod client;
mod making;
mod meddling;
mod names;
mod reach;
mod spaces;
mod stage;
mod tally;
mod witness;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;

use self::client::Client;
use self::stage::{KEYS, Stage};

const ACCOUNTS: usize = 3;
const CLIENTS: usize = 50;
/// For how long the clients begin something new.
const LOAD: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fifty_clients_do_over_http_and_as_kubectl_every_answer_is_true_and_all_agree() -> Result<()>
{
    let mut stage = Stage::start(ACCOUNTS).await?;
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|number| {
        let place = stage.places[number % ACCOUNTS].clone();
        Ok(Client::new(number, place, stage.https()?))
    });
    let clients: Vec<Client> = clients.collect::<Result<_>>()?;
    let ran = try_join_all(clients.into_iter().map(|client| client.run(start + LOAD))).await;
    let (told, requests) = stage.tally.told();
    println!("agreement: {requests} answers in {} s:\n{told}", start.elapsed().as_secs());
    let clients = ran?;

    let admin = stage.cluster.client().await?;
    let https = stage.https()?;
    for (number, place) in stage.places.iter().enumerate() {
        let found = afterwards::until_agreed(place, &https, &admin).await?;
        println!(
            "agreement: {}: {} keys, {} of them live, {} bindings",
            place.account,
            found.keys,
            found.live.len(),
            found.bindings
        );
        for client in clients.iter().filter(|client| client.number % ACCOUNTS == number) {
            for key in &client.keys {
                ensure!(found.live.contains(&key.id) != key.is_revoked, "{}: {}", key.name, key.is_revoked);
                for replica in [0, 1] {
                    let status = client.verify(replica, &key.plaintext).await?;
                    ensure!(status == if key.is_revoked { 401 } else { 200 }, "{}: {status}", key.name);
                }
            }
            for key in &client.ended {
                ensure!(
                    client.verify(0, key).await? == 401 && client.verify(1, key).await? == 401,
                    "it is back"
                );
            }
        }
    }
    for witness in stage.witnesses.drain(..) {
        let most = witness.most().await?;
        println!("agreement: at most {most} live keys at once, of {KEYS}");
        ensure!(most <= KEYS, "{most} live keys where {KEYS} may be");
    }
    let steps: u64 = clients.iter().map(|client| client.steps).sum();
    println!("agreement: {steps} steps of {CLIENTS} clients, {} s in all", start.elapsed().as_secs());
    Ok(())
}
