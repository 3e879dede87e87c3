//! `make up`: a control plane and Keyplane that stay until `make down`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};

use super::detached;
use super::environment;
use super::state::{self, State};
use crate::access::Access;
use crate::components::{Components, ControlPlanePorts};
use crate::install::{self, Installation};
use crate::keyplane_process::{KeyplaneOptions, KeyplanePorts, answers_ready, until_ready};
use crate::kubectl::Kubectl;
use crate::ports::PortTaken;
use crate::programs::{self, Programs};
use crate::progress::say;
use crate::{private_file, readiness, workspace};

/// The programs in the order in which they are stopped.
pub(super) const STOP_ORDER: [&str; 4] = [KEYPLANE, "kube-controller-manager", "kube-apiserver", "etcd"];
const KEYPLANE: &str = "keyplane";

/// How often other ports are tried when a remembered one has been taken since.
const ATTEMPTS: u32 = 4;

/// Starts what is not running: a control plane of our own (or none, when `context` names an existing cluster of
/// `KUBECONFIG`) and `keyplane all`. Installs the resource definitions and the RBAC, renews Keyplane's tokens,
/// and writes `target/dev/env`. What runs already is left alone; a Keyplane built since is restarted.
///
/// # Errors
/// When something does not start, with the end of its log; or when an environment on another cluster runs.
pub async fn up(context: Option<&str>) -> Result<()> {
    let _alone = tokio::task::spawn_blocking(state::lock).await??;
    let dir = state::dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut state = match State::load(&dir)? {
        Some(state) if state.context.as_deref() == context => state,
        Some(state) => {
            let on = state
                .context
                .map_or_else(|| "a control plane of its own".to_owned(), |c| format!("the context {c}"));
            bail!("the development environment is up on {on}: run `make down` first");
        }
        None => State { context: context.map(str::to_owned), ..State::default() },
    };
    let supervise = tokio::task::spawn_blocking(programs::supervise).await??;
    let mut started = Vec::new();

    let (access, kubectl) = match context {
        Some(context) => existing_cluster(&dir, context).await?,
        None => own_cluster(&dir, &supervise, &mut state, &mut started).await?,
    };
    let kubectl = Kubectl::new(&kubectl, &access, &dir.join("kubectl-cache"));
    let installation = install::install(&kubectl, &access, &dir).await?;
    let options = KeyplaneOptions::all(&installation);
    let ports = keyplane(&dir, &supervise, &options, &mut state, &mut started).await?;
    let url = ports.url();
    let tools = environment::tools(&dir, kubectl.program())?;
    let cache = dir.join("kubectl-cache");
    let ca_file = options.ca_file(&dir);
    let internal_url = ports.internal_url();
    let variables: [(&str, &OsStr); 5] = [
        ("KUBECONFIG", access.kubeconfig()),
        ("KUBECACHEDIR", cache.as_os_str()),
        ("KEYPLANE_URL", OsStr::new(&url)),
        ("KEYPLANE_CA_FILE", ca_file.as_os_str()),
        ("KEYPLANE_INTERNAL_URL", OsStr::new(&internal_url)),
    ];
    let env = environment::write(&dir, &variables, &tools)?;
    tell(&started, &url, &env, &installation);
    Ok(())
}

fn tell(started: &[String], url: &str, env: &Path, installation: &Installation) {
    if started.is_empty() {
        say("Keyplane is running already; its resource definitions, RBAC and tokens are up to date.");
    } else {
        say(format!("Started: {}.", started.join(", ")));
    }
    let env = env.strip_prefix(workspace::root()).unwrap_or(env).display();
    let logs = installation.kubeconfig.parent().unwrap_or(Path::new("")).join("keyplane.log");
    say(format!(
        "Keyplane answers at {url}\n\n  . {env}                      # this terminal: kubectl, as the cluster's administrator\n  \
         kubectl get accounts\n  tail -f {}\n  make down",
        logs.display()
    ));
}

/// A kubeconfig of that context alone, so that nothing we start can reach another one.
async fn existing_cluster(dir: &Path, context: &str) -> Result<(Access, PathBuf)> {
    let kubeconfig = existing_kubeconfig()?;
    let program =
        programs::on_path("kubectl").context("an existing cluster is used with the kubectl on PATH")?;
    let theirs =
        Kubectl::new(&program, &Access::of_context(&kubeconfig, context), &dir.join("kubectl-cache"));
    let minimal = theirs.run(["config", "view", "--minify", "--flatten", "--raw"]).await?;
    let file = dir.join("admin.kubeconfig");
    private_file::write(&file, minimal)?;
    let access = Access::of_file(&file);
    readiness::cluster_uid(&access.client().await?)
        .await
        .with_context(|| format!("the cluster of the context {context} does not answer"))?;
    Ok((access, program))
}

fn existing_kubeconfig() -> Result<OsString> {
    if let Some(value) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        return Ok(value);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
    Ok(Path::new(&home).join(".kube/config").into())
}

async fn own_cluster(
    dir: &Path,
    supervise: &Path,
    state: &mut State,
    started: &mut Vec<String>,
) -> Result<(Access, PathBuf)> {
    let programs = tokio::task::spawn_blocking(Programs::find).await??;
    let mut attempt = 1;
    loop {
        let ports = match state.cluster_ports {
            Some(ports) => ports,
            None => ControlPlanePorts::choose()?,
        };
        state.cluster_ports = Some(ports);
        state.save(dir)?;
        let components = Components::prepare(dir, ports, &programs)?;
        match start_cluster(&components, supervise, started).await {
            Ok(access) => return Ok((access, programs.kubectl)),
            Err(error) if error.is::<PortTaken>() && attempt < ATTEMPTS => {
                say(format!("keyplane: {error}; starting again on other ports"));
                for name in STOP_ORDER {
                    detached::stop(dir, name).await?;
                }
                state.cluster_ports = None;
                started.clear();
                attempt += 1;
            }
            Err(error) => {
                return Err(error.context("the control plane is not up: try `make down`, then `make up`"));
            }
        }
    }
}

async fn start_cluster(
    components: &Components,
    supervise: &Path,
    started: &mut Vec<String>,
) -> Result<Access> {
    let access = Access::of_file(&components.admin_kubeconfig());
    let client = access.client().await?;
    let [etcd, server, controllers] =
        [components.etcd(), components.kube_apiserver(), components.kube_controller_manager()];
    for launch in [&etcd, &server] {
        if detached::ensure(supervise, launch)? {
            started.push(launch.name.clone());
        }
    }
    readiness::api_server(&client, || detached::check_running(&[&etcd, &server])).await?;
    if detached::ensure(supervise, &controllers)? {
        started.push(controllers.name.clone());
    }
    readiness::controllers(&client, || detached::check_running(&[&etcd, &server, &controllers])).await?;
    Ok(access)
}

async fn keyplane(
    dir: &Path,
    supervise: &Path,
    options: &KeyplaneOptions,
    state: &mut State,
    started: &mut Vec<String>,
) -> Result<KeyplanePorts> {
    let program = workspace::binary("keyplane")?;
    let build = build_of(&program)?;
    if let Some(ports) = state.keyplane_ports {
        let runs = detached::running(&options.launch(&program, dir, ports)).is_some();
        if runs && state.keyplane_build.as_deref() == Some(&build) && answers_ready(ports).await.is_ok() {
            return Ok(ports);
        }
    }
    detached::stop(dir, KEYPLANE).await?;
    let mut attempt = 1;
    loop {
        let ports = match state.keyplane_ports {
            Some(ports) => ports,
            None => KeyplanePorts::choose()?,
        };
        state.keyplane_ports = Some(ports);
        state.keyplane_build = Some(build.clone());
        state.save(dir)?;
        let launch = options.launch(&program, dir, ports);
        detached::ensure(supervise, &launch)?;
        match until_ready(ports, || detached::check_running(&[&launch])).await {
            Ok(()) => {
                started.push(launch.name);
                return Ok(ports);
            }
            Err(error) if error.is::<PortTaken>() && attempt < ATTEMPTS => {
                state.keyplane_ports = None;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells one build of a binary from the next.
fn build_of(program: &Path) -> Result<String> {
    let metadata = program.metadata()?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH)?;
    Ok(format!("{} {} {}", program.display(), changed.as_nanos(), metadata.len()))
}
