//! `keyplane-dev`: Keyplane on a Kubernetes of its own, on this machine. See `make help`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use keyplane_tests::dev::{demo, down, hold, scan, up};
use keyplane_tests::programs::{self, Programs};
use keyplane_tests::progress::say;
use keyplane_tests::workspace;

/// Runs Keyplane on a Kubernetes of its own, on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and Keyplane and leave them running
    Up {
        /// Use this context of KUBECONFIG instead of a control plane of our own
        #[arg(long)]
        context: Option<String>,
    },
    /// Stop what `up` started
    Down,
    /// Walk through the main job on a control plane that comes and goes with it
    Demo,
    /// Find or build the control plane's programs and say where they are
    Programs,
    /// Look through a test run for keys and tokens, and remove it when there are none
    Scan {
        /// The run's directory (default: that of `make test`)
        run: Option<PathBuf>,
    },
    /// Hold a control plane until standard input ends
    #[command(hide = true)]
    HoldControlPlane,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("keyplane-dev: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { context } => up::up(context.as_deref()).await,
        Command::Down => down::down().await,
        Command::Demo => demo::demo().await,
        Command::Programs => {
            let (programs, _) =
                tokio::task::spawn_blocking(|| anyhow::Ok((Programs::find()?, programs::supervise()?)))
                    .await??;
            say(format!("keyplane: using {} ({:?})", programs.kube_apiserver.display(), programs.found));
            // For tests that need a kubectl and no control plane.
            let tools = workspace::target().join("tools");
            std::fs::create_dir_all(&tools)?;
            let link = tools.join("kubectl");
            if link.is_symlink() {
                std::fs::remove_file(&link)?;
            }
            std::os::unix::fs::symlink(&programs.kubectl, &link)?;
            Ok(())
        }
        Command::Scan { run } => scan::scan(run).await,
        Command::HoldControlPlane => hold::hold().await,
    }
}
