//! What each command runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use keyplane_core::audit::Source;
use kube::Client;

use super::admin_server;
use super::arguments::{
    ApiArguments, Arguments, Command, CommonArguments, ControllerArguments, KubeconfigArguments,
};
use super::cluster_client::{self, Connection};
use super::lease::Leadership;
use super::readiness::{Phase, Readiness};
use super::{shutdown, telemetry};
use crate::api;
use crate::audit::{self, AuditLog};
use crate::controllers;
use crate::exchange;
use crate::index::{Freshness, Watching};
use crate::issued_kubeconfig::KubeconfigSettings;
use crate::metrics::Metrics;

/// The parts that readiness waits for.
const CONTROLLER: &str = "controller";
const API: &str = "api";

/// Runs what the arguments ask for, until it fails or a signal ends it.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    if let Command::Completion { shell } = arguments.command {
        clap_complete::generate(shell, &mut Arguments::command(), "keyplane", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    if matches!(arguments.command, Command::OpenApi) {
        return match print_openapi() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "keyplane: {error:#}");
                ExitCode::FAILURE
            }
        };
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

fn print_openapi() -> anyhow::Result<()> {
    let text = api::document().to_pretty_json().context("the OpenAPI document cannot be written")?;
    writeln!(std::io::stdout(), "{text}").context("the OpenAPI document cannot be printed")
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // Another library may have chosen first; either choice is a whole provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let common = arguments.common;
    let connect =
        async |context: Option<&str>| cluster_client::connect(common.kubeconfig.as_deref(), context).await;
    let Connection { client, server, ca } = connect(common.context.as_deref()).await?;
    tracing::info!(%server, "keyplane {} {}", env!("CARGO_PKG_VERSION"), arguments.command.name());
    let freshness = Freshness::default();
    let metrics = Metrics::new(&freshness);
    let audit = AuditLog::counting(&common.audit_log, metrics.audit.clone())?;
    let settings = |arguments: &KubeconfigArguments| kubeconfig_settings(arguments, &server, ca.as_deref());
    match arguments.command {
        Command::All { controller, api, kubeconfigs, api_context } => {
            let settings = settings(&kubeconfigs)?;
            let health = Health::new(&[CONTROLLER, API], &freshness, &metrics);
            let api_client = match &api_context {
                Some(context) => connect(Some(context)).await?.client,
                None => client.clone(),
            };
            let serving = Box::pin(serve_api(&api_client, api, settings.clone(), audit.clone(), &health));
            let reconciling = Box::pin(reconcile(client, &controller, settings, audit.clone(), &health));
            // A failure of one half ends the other; asked to end, each ends in its own time.
            let both = async { tokio::try_join!(reconciling, serving).map(|_| ()) };
            supervise(&common, &health, both).await
        }
        Command::Controller { controller, kubeconfigs } => {
            let health = Health::new(&[CONTROLLER], &freshness, &metrics);
            let reconciling = reconcile(client, &controller, settings(&kubeconfigs)?, audit, &health);
            supervise(&common, &health, reconciling).await
        }
        Command::Api { api, kubeconfigs } => {
            let health = Health::new(&[API], &freshness, &metrics);
            supervise(&common, &health, serve_api(&client, api, settings(&kubeconfigs)?, audit, &health))
                .await
        }
        Command::OpenApi | Command::Completion { .. } => Ok(()),
    }
}

/// How the kubeconfigs that Keyplane makes reach the cluster and Keyplane.
fn kubeconfig_settings(
    arguments: &KubeconfigArguments,
    server: &str,
    ca: Option<&[u8]>,
) -> anyhow::Result<KubeconfigSettings> {
    let read = |path: &Option<PathBuf>, name: &str| {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("{name}: cannot read {}", path.display()))
        };
        path.as_ref().map(read).transpose()
    };
    let cluster_ca = read(&arguments.cluster_ca_file, "--cluster-ca-file")?;
    Ok(KubeconfigSettings {
        cluster_server: arguments.cluster_server.clone().unwrap_or_else(|| server.to_owned()),
        cluster_ca: cluster_ca.or_else(|| ca.map(<[u8]>::to_vec)),
        public_url: arguments.public_url.clone(),
        public_ca_file: arguments.public_ca_file.clone(),
    })
}

/// What the process tells of itself.
struct Health {
    readiness: Readiness,
    freshness: Freshness,
    metrics: Metrics,
}

impl Health {
    fn new(parts: &[&'static str], freshness: &Freshness, metrics: &Metrics) -> Self {
        let readiness = Readiness::starting(parts, freshness);
        Self { readiness, freshness: freshness.clone(), metrics: metrics.clone() }
    }

    /// Watches of one part of the process.
    fn watching(&self, part: &'static str, client: &Client) -> Watching {
        Watching::new(client, &self.freshness.of_part(part))
    }
}

/// Runs `work` beside the probes until it fails or a signal comes.
async fn supervise(
    common: &CommonArguments,
    health: &Health,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        result = work => result,
        result = admin_server::serve(common.admin_listen, health.readiness.clone(), health.metrics.clone()) => result,
    }
}

/// Serves the API.
async fn serve_api(
    client: &Client,
    arguments: ApiArguments,
    settings: KubeconfigSettings,
    audit: AuditLog,
    health: &Health,
) -> anyhow::Result<()> {
    let readiness = health.readiness.clone();
    let on_ready = move || readiness.reached(API, Phase::Running);
    exchange::serve(
        health.watching(API, client),
        arguments,
        settings,
        audit,
        health.metrics.clone(),
        on_ready,
    )
    .await
}

/// Reconciles while the lease is held. A standby is ready too: a rolling update waits for the new pod while the
/// old one still leads.
async fn reconcile(
    client: Client,
    arguments: &ControllerArguments,
    settings: KubeconfigSettings,
    audit: AuditLog,
    health: &Health,
) -> anyhow::Result<()> {
    audit::began(&audit, Source::controller()).await?;
    let gaining = Leadership::gain(client.clone(), &arguments.namespace, arguments.lease_seconds);
    health.readiness.reached(CONTROLLER, Phase::Standby);
    let leadership = tokio::select! {
        gained = gaining => gained,
        ended = shutdown::requested() => return ended,
    };
    health.readiness.reached(CONTROLLER, Phase::Starting);
    health.metrics.leads(true);
    let on_synced = || {
        tracing::info!("all watches are synced");
        health.readiness.reached(CONTROLLER, Phase::Running);
    };
    let watching = health.watching(CONTROLLER, &client);
    let result = tokio::select! {
        result = controllers::run(watching, settings, audit, &health.metrics.reconciles, on_synced) => result,
        lost = leadership.keep() => lost,
        ended = shutdown::requested() => ended,
    };
    health.metrics.leads(false);
    if result.is_ok() {
        leadership.release().await;
    }
    result
}
