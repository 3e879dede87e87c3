//! `make bench-plugin`: how long a client waits for a token that is cached, how much memory that takes, and what happens when
//! many clients need one at once.
//!
//! Beside kubectl-keyplane, in the same rounds, stand `/bin/true`, which is what starting any process costs, and two other
//! credential plugins, compiled from their Go modules. Numbers of different machines or runs say little; the ratios in
//! one table do.

mod http_server;
mod openid_provider;
mod peak_memory;
mod peers;
mod plugin;
mod start;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use self::peers::Peer;
use self::plugin::Plugin;
use self::start::{Measured, Program};

/// Measures kubectl-keyplane beside other credential plugins.
#[derive(Debug, Parser)]
struct Arguments {
    /// The kubectl-keyplane to measure
    #[arg(long, default_value = "target/x86_64-unknown-linux-musl/plugin/kubectl-keyplane")]
    plugin: PathBuf,
    /// Where the peers' Go modules are
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// Where the peers' programs go
    #[arg(long, default_value = "target/peers")]
    programs: PathBuf,
    /// How often each program is started
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// How many clients need a token at once
    #[arg(long, default_value_t = 100)]
    clients: usize,
}

fn main() -> Result<()> {
    if let Some(program) = peak_memory::asked_for() {
        return peak_memory::tell(&program);
    }
    let arguments = Arguments::parse();
    ensure!(arguments.runs > 0 && arguments.clients > 0, "--runs and --clients must be at least 1");
    let plugin = Plugin::new(&arguments.plugin)?;
    let mut programs = vec![Program::named("/bin/true", "/bin/true"), plugin.warm()?];
    let mut absent = Vec::new();
    let peers = Peer::all(&arguments.peers, &arguments.programs);
    for peer in &peers {
        match peer {
            Ok(peer) => programs.push(peer.warm()?),
            Err(absence) => absent.push(absence.to_string()),
        }
    }
    let measured = start::measure(&programs, arguments.runs)?;
    print(&measured);
    for line in absent {
        println(&format!("Not measured: {line}"));
    }
    println("");
    println(&plugin.herd(arguments.clients)?);
    Ok(())
}

fn print(measured: &[Measured]) {
    println(
        "| warm start | median ms | fastest ms | 9 of 10 within ms | of kubectl-keyplane | peak KiB | program KiB |",
    );
    println("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ours = measured.iter().find(|measured| measured.name == plugin::NAME).map(Measured::median);
    for row in measured {
        let ratio = ours.map_or(f64::NAN, |ours| row.median().as_secs_f64() / ours.as_secs_f64());
        let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        println(&format!(
            "| {} | {:.2} | {:.2} | {:.2} | {ratio:.2} | {} | {} |",
            row.name,
            millis(row.median()),
            millis(row.fastest()),
            millis(row.slow()),
            row.peak_kib,
            row.program_kib,
        ));
    }
}

#[expect(clippy::print_stdout, reason = "the result is what this program is for")]
fn println(line: &str) {
    println!("{line}");
}
