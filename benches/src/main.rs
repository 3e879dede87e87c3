//! `make bench-verify`: how many keys a second `/v1/verify` decides about, and how long each takes.
//!
//! etcd, the API server and `keyplane api` are real, and so is every object: they are put into etcd as the API server stores
//! them, because making 100,000 keys through the controller takes hours and is not what is measured. Beside Keyplane, in
//! the same rounds and under the same load, stand a server that does nothing (hyper), nginx without any check, nginx that
//! asks Keyplane (`auth_request`) and nginx with the keys in a `map`. Numbers of different machines or runs say little; the
//! ratios in one table do.

mod beside;
mod keys;
mod load;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::progress::say;

use self::keys::Keys;
use self::load::{Load, Measured, Target};

/// Measures `/v1/verify` beside servers that do less.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many keys there are
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// How often each target has its turn; the round in the middle counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long a turn is, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many connections are kept open
    #[arg(long, default_value_t = 32)]
    connections: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cluster = ControlPlane::start().await?;
    let installation = install::install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let rate = keys::rate_of_creation(&cluster.client().await?).await?;
    say(format!("the API server takes {rate:.0} ApiKeys a second; the objects are put into etcd"));
    let began = Instant::now();
    let keys = Keys::make(arguments.keys, cluster.dir())?;
    keys.put_into_etcd(&cluster)?;
    say(format!("{} keys in etcd after {:.1} s", arguments.keys, began.elapsed().as_secs_f64()));

    let options = KeyplaneOptions {
        // nginx tells its client's address.
        extra: ["--trusted-proxy", "127.0.0.1"].map(str::to_owned).to_vec(),
        ..KeyplaneOptions::of(Mode::Api, "keyplane-api", &installation)
    };
    let began = Instant::now();
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    say(format!("ready with {} keys after {:.1} s", arguments.keys, began.elapsed().as_secs_f64()));
    let beside = beside::Beside::start(&cluster, &keyplane, &keys).await?;
    let targets = targets(&keyplane, &beside, &keys);
    let load = Load {
        connections: arguments.connections,
        duration: Duration::from_secs(arguments.seconds),
        script: load::script(cluster.dir())?,
    };
    let mut rounds: Vec<Vec<Measured>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        say(format!("round {round} of {}", arguments.rounds));
        for (target, measured) in targets.iter().zip(&mut rounds) {
            measured.push(load.put_on(target).await.with_context(|| target.name.clone())?);
        }
    }
    let memory = resident_megabytes(keyplane.pid())?;
    print(&targets, rounds);
    say(format!("keyplane api holds {memory} MB"));
    Ok(())
}

fn targets(keyplane: &Keyplane, beside: &beside::Beside, keys: &Keys) -> Vec<Target> {
    let verify = format!("{}/v1/verify?scope=inference", keyplane.internal_url());
    let target = |name: &str, url: &str, file: &PathBuf, refused: f64, processes: &[u32]| Target {
        name: name.to_owned(),
        url: url.to_owned(),
        keys: file.clone(),
        refused,
        processes: processes.to_vec(),
    };
    let (good, bad, mixed) = (&keys.good, &keys.bad, &keys.mixed);
    let (own, hyper, nginx) = ([keyplane.pid()], [beside.hyper_pid()], [beside.nginx_pid()]);
    let both = [own, nginx].concat();
    vec![
        target("hyper that answers nothing", &beside.hyper, good, 0.0, &hyper),
        target("/v1/verify, good keys", &verify, good, 0.0, &own),
        target("/v1/verify, unknown keys", &verify, bad, 1.0, &own),
        target("/v1/verify, half of each", &verify, mixed, 0.5, &own),
        target("nginx without a check", &beside.nginx.open, good, 0.0, &nginx),
        target("nginx, map of the keys", &beside.nginx.map, good, 0.0, &nginx),
        target("nginx auth_request to Keyplane, good keys", &beside.nginx.asking, good, 0.0, &both),
        target("nginx auth_request to Keyplane, unknown keys", &beside.nginx.asking, bad, 1.0, &both),
        target("nginx auth_request to Keyplane, half of each", &beside.nginx.asking, mixed, 0.5, &both),
    ]
}

/// As a table of Markdown: of each target the round in the middle, and its share of what the first one does.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(targets: &[Target], rounds: Vec<Vec<Measured>>) {
    println!("| target | requests a second | of hyper | CPU µs each | p50 µs | p99 µs |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut ceiling = None;
    for (target, mut measured) in targets.iter().zip(rounds) {
        measured.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let Some(middle) = measured.get(measured.len() / 2) else { continue };
        let share = middle.rate / *ceiling.get_or_insert(middle.rate);
        println!(
            "| {} | {:.0} | {share:.2} | {:.1} | {} | {} |",
            target.name, middle.rate, middle.cpu_micros, middle.p50_micros, middle.p99_micros
        );
    }
}

fn resident_megabytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024)
}
