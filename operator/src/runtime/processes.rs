//! What each command runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use keyplane_core::audit::Source;
use kube::Client;

use super::admin_server::{self, Readiness};
use super::arguments::{Arguments, Command, CommonArguments, ControllerArguments};
use super::cluster_client::{self, Connection};
use super::lease::Leadership;
use super::{shutdown, telemetry};
use crate::audit::{self, AuditLog};
use crate::controllers::{self, DeliverySettings};
use crate::exchange;

/// The parts that readiness waits for.
const CONTROLLER: &str = "controller";
const API: &str = "api";

/// Runs what the arguments ask for, until it fails or a signal ends it.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    if let Command::Completion { shell } = arguments.command {
        clap_complete::generate(shell, &mut Arguments::command(), "keyplane", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = telemetry::start(&arguments.common) {
        let _ = writeln!(std::io::stderr(), "keyplane: {error}");
        return ExitCode::from(2);
    }
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(serve(arguments)));
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("keyplane ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // Another library may have chosen first; either choice is a whole provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let common = arguments.common;
    let connect =
        async |context: Option<&str>| cluster_client::connect(common.kubeconfig.as_deref(), context).await;
    let Connection { client, server, ca } = connect(common.context.as_deref()).await?;
    tracing::info!(%server, "keyplane {} {}", env!("CARGO_PKG_VERSION"), arguments.command.name());
    let audit = AuditLog::open(&common.audit_log)?;
    let settings = |controller: &ControllerArguments| delivery_settings(controller, &server, ca.as_deref());
    match arguments.command {
        Command::All { controller, api, api_context } => {
            let readiness = Readiness::awaiting(&[CONTROLLER, API]);
            let api_client = match &api_context {
                Some(context) => connect(Some(context)).await?.client,
                None => client.clone(),
            };
            let serving = Box::pin(exchange::serve(api_client, api, audit.clone(), {
                let readiness = readiness.clone();
                move || readiness.reached(API)
            }));
            let reconciling =
                Box::pin(reconcile(client, &controller, settings(&controller)?, audit.clone(), &readiness));
            // A failure of one half ends the other; asked to end, each ends in its own time.
            let both = async { tokio::try_join!(reconciling, serving).map(|_| ()) };
            supervise(&common, readiness.clone(), both).await
        }
        Command::Controller { controller } => {
            let readiness = Readiness::awaiting(&[CONTROLLER]);
            supervise(
                &common,
                readiness.clone(),
                reconcile(client, &controller, settings(&controller)?, audit.clone(), &readiness),
            )
            .await
        }
        Command::Api { api } => {
            let readiness = Readiness::awaiting(&[API]);
            let ready = readiness.clone();
            supervise(&common, readiness, exchange::serve(client, api, audit, move || ready.reached(API)))
                .await
        }
        Command::Completion { .. } => Ok(()),
    }
}

/// How the kubeconfigs that are delivered with keys reach the cluster and Keyplane.
fn delivery_settings(
    arguments: &ControllerArguments,
    server: &str,
    ca: Option<&[u8]>,
) -> anyhow::Result<DeliverySettings> {
    let read = |path: &Option<PathBuf>, name: &str| {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("{name}: cannot read {}", path.display()))
        };
        path.as_ref().map(read).transpose()
    };
    let cluster_ca = read(&arguments.cluster_ca_file, "--cluster-ca-file")?;
    Ok(DeliverySettings {
        cluster_server: arguments.cluster_server.clone().unwrap_or_else(|| server.to_owned()),
        cluster_ca: cluster_ca.or_else(|| ca.map(<[u8]>::to_vec)),
        public_url: arguments.public_url.clone(),
        public_ca_file: arguments.public_ca_file.clone(),
    })
}

/// Runs `work` beside the probes until it fails or a signal comes.
async fn supervise(
    common: &CommonArguments,
    readiness: Readiness,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        result = work => result,
        result = admin_server::serve(common.admin_listen, readiness) => result,
    }
}

/// Reconciles while the lease is held. A standby is ready too: a rolling update waits for the new pod while the
/// old one still leads.
async fn reconcile(
    client: Client,
    arguments: &ControllerArguments,
    settings: DeliverySettings,
    audit: AuditLog,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    audit::began(&audit, Source::controller()).await?;
    let gaining = Leadership::gain(client.clone(), &arguments.namespace, arguments.lease_seconds);
    readiness.reached(CONTROLLER);
    let leadership = tokio::select! {
        gained = gaining => gained,
        ended = shutdown::requested() => return ended,
    };
    let result = tokio::select! {
        result = controllers::run(client, settings, audit, || tracing::info!("all watches are synced")) => result,
        lost = leadership.keep() => lost,
        ended = shutdown::requested() => ended,
    };
    if result.is_ok() {
        leadership.release().await;
    }
    result
}
