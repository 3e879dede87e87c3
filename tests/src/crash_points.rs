//! One change, killed once at each of its writes.
//!
//! A scenario is run first without a fault, to learn how many writes it has; then once for each of them: Keyplane is
//! killed right before the first write, then after the first, the second and so on, started again, and must come to
//! the same end each time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::control_plane::ControlPlane;
use crate::fault_proxy::{FaultProxy, Write};
use crate::install::{CONTROLLER, Installation, install};
use crate::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use crate::progress::say;
use crate::waiting::{PATIENCE, Seen, until};

/// How long no write must have come for a change to count as over. The only thing here that goes by the clock.
const QUIET: Duration = Duration::from_millis(700);
/// How long a write is waited for when the change is done already: a status that is written last.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// A change that needs more writes than this does not come to an end.
const WRITES_MAX: usize = 100;

/// A control plane, a Keyplane that reaches it through a proxy, and nobody else.
pub struct CrashStage {
    // Keyplane goes first: it should not see its control plane end.
    keyplane: Keyplane,
    proxy: FaultProxy,
    installation: Installation,
    cluster: ControlPlane,
}

/// A change that must survive a crash. The functions may be written as `async fn`.
pub trait Scenario {
    /// What one run is about: names, keys.
    type Prepared;

    /// What it is called in messages.
    fn name(&self) -> &str;

    /// Makes what the change needs, under names that no run before had, and waits until it stands.
    fn prepare(&self, stage: &CrashStage) -> impl Future<Output = Result<Self::Prepared>>;

    /// Makes the change. Keyplane may be killed meanwhile: what then fails, because it asks Keyplane itself, is no
    /// error.
    fn change(&self, stage: &CrashStage, prepared: &Self::Prepared) -> impl Future<Output = Result<()>>;

    /// What its user does again when Keyplane is back. Nothing, unless asked for: what was declared stays declared.
    fn again(&self, _stage: &CrashStage, _prepared: &Self::Prepared) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Whether the change is complete.
    fn done(&self, stage: &CrashStage, prepared: &Self::Prepared) -> impl Future<Output = Result<Seen<()>>>;

    /// What must hold at the end, however it came about.
    fn check(&self, stage: &CrashStage, prepared: &Self::Prepared) -> impl Future<Output = Result<()>>;
}

/// What was tried.
#[derive(Debug)]
pub struct CrashPoints {
    /// The writes of the run without a fault.
    pub writes: Vec<Write>,
    /// How many runs were killed.
    pub kills: usize,
}

impl CrashStage {
    /// Starts a control plane of its own and Keyplane on it: `all` or `controller`. `adjust` may change
    /// the options.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(mode: Mode, adjust: impl FnOnce(&mut KeyplaneOptions)) -> Result<Self> {
        let cluster = ControlPlane::start().await?;
        let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
        let proxy = FaultProxy::start(&cluster, &installation, "fault-proxy").await?;
        let mut options =
            KeyplaneOptions::of(mode, "keyplane-to-kill", proxy.installation()).with_lease_seconds(15);
        if mode != Mode::Api {
            // What is delivered with a key must not name the proxy.
            let authority = cluster.dir().join("cluster-ca.crt");
            std::fs::write(&authority, cluster.ca_pem()?.unwrap_or_default())?;
            options.extra.push(format!("--cluster-server={}", cluster.server_url()?));
            options.extra.push(format!("--cluster-ca-file={}", authority.display()));
        }
        adjust(&mut options);
        let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
        Ok(Self { keyplane, proxy, installation, cluster })
    }

    /// The control plane.
    #[must_use]
    pub fn cluster(&self) -> &ControlPlane {
        &self.cluster
    }

    /// Keyplane's identities, with the API server's own address: for a further Keyplane that nobody kills.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The Keyplane that is killed.
    #[must_use]
    pub fn keyplane(&self) -> &Keyplane {
        &self.keyplane
    }

    /// The proxy before it.
    #[must_use]
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// Runs the scenario once without a fault, once killed before the first write, and once for each write killed
    /// right after it.
    ///
    /// # Errors
    /// When one run does not come to its end or a check fails; the message names the write.
    pub async fn at_every_write(&self, scenario: &impl Scenario) -> Result<CrashPoints> {
        let name = scenario.name();
        let writes =
            self.without_fault(scenario).await.with_context(|| format!("{name}, without a fault"))?;
        ensure!(!writes.is_empty(), "{name} writes nothing: there is nothing to be killed at");
        let mut kills = 0;
        for number in 0..=WRITES_MAX {
            ensure!(number < WRITES_MAX, "{name} does not come to an end within {WRITES_MAX} writes");
            let killed = self.killed_after(scenario, number).await;
            let killed = killed.with_context(|| {
                let last = self.proxy.writes();
                let last = number.checked_sub(1).and_then(|index| last.get(index));
                format!("{name}, killed after write {number} of {} ({last:?})", writes.len())
            })?;
            kills += usize::from(killed);
            // A run may need more writes than the first (a conflict, for instance): on until one is over before.
            if !killed && number >= writes.len() {
                break;
            }
        }
        // Some runs may need fewer writes; killed at every second point at least, or little was shown.
        ensure!(kills * 2 > writes.len(), "{name}: of {} writes only {kills} were killed at", writes.len());
        say(format!("{name}: {} writes, {kills} kills", writes.len()));
        Ok(CrashPoints { writes, kills })
    }

    async fn without_fault(&self, scenario: &impl Scenario) -> Result<Vec<Write>> {
        let prepared = scenario.prepare(self).await?;
        self.until_quiet().await?;
        self.proxy.forget_writes();
        scenario.change(self, &prepared).await?;
        self.until_done(scenario, &prepared).await?;
        self.until_quiet().await?;
        let writes = self.proxy.writes();
        scenario.check(self, &prepared).await?;
        Ok(writes)
    }

    /// One run, killed after this many writes (before the first when none). Says whether it came to that.
    async fn killed_after(&self, scenario: &impl Scenario, number: usize) -> Result<bool> {
        let prepared = scenario.prepare(self).await?;
        self.until_quiet().await?;
        match number {
            0 => self.proxy.kill_before(1, self.keyplane.pid()),
            _ => self.proxy.kill_after(number, self.keyplane.pid()),
        }
        scenario.change(self, &prepared).await?;
        let killed = self.until_killed_or_over(scenario, &prepared).await?;
        if killed {
            self.proxy.until_killed().await?;
            self.forget_lease().await?;
            self.proxy.resume();
            self.keyplane.restart().await?;
            scenario.again(self, &prepared).await?;
            self.until_done(scenario, &prepared).await?;
            self.until_quiet().await?;
        } else {
            self.proxy.resume();
        }
        scenario.check(self, &prepared).await?;
        Ok(killed)
    }

    async fn until_killed_or_over<S: Scenario>(&self, scenario: &S, prepared: &S::Prepared) -> Result<bool> {
        let done_since: Cell<Option<Instant>> = Cell::new(None);
        until("the kill, or the end of the change", PATIENCE, || async {
            let seen = scenario.done(self, prepared).await;
            if self.proxy.has_killed() {
                return Ok(Seen::Done(true));
            }
            match seen? {
                Seen::NotYet(last) => {
                    done_since.set(None);
                    Ok(Seen::NotYet(last))
                }
                Seen::Done(()) => {
                    let since = done_since.get().unwrap_or_else(Instant::now);
                    done_since.set(Some(since));
                    let over = since.elapsed() > LAST_WRITES;
                    Ok(if over { Seen::Done(false) } else { Seen::NotYet("done, and not killed".to_owned()) })
                }
            }
        })
        .await
    }

    async fn until_done<S: Scenario>(&self, scenario: &S, prepared: &S::Prepared) -> Result<()> {
        until("the end of the change", PATIENCE, || scenario.done(self, prepared)).await.inspect_err(|_| {
            // The error says what was seen; the log says why.
            say(format!("the log of Keyplane:\n{}", self.keyplane.log()));
        })
    }

    /// Waits until Keyplane has written nothing for a while.
    async fn until_quiet(&self) -> Result<()> {
        let seen = Cell::new((self.proxy.writes().len(), Instant::now()));
        until("Keyplane to come to rest", PATIENCE, || async {
            let writes = self.proxy.writes().len();
            let (before, since) = seen.get();
            if writes != before {
                seen.set((writes, Instant::now()));
                return Ok(Seen::NotYet(format!("write {writes}")));
            }
            let quiet = since.elapsed() > QUIET;
            Ok(if quiet { Seen::Done(()) } else { Seen::NotYet("a write just now".to_owned()) })
        })
        .await
    }

    /// Takes the lease from the process that was killed: the next one need not wait for its end.
    async fn forget_lease(&self) -> Result<()> {
        let arguments = ["delete", "lease", CONTROLLER, "--namespace=keyplane-system", "--ignore-not-found"];
        self.cluster.kubectl().run(arguments).await?;
        Ok(())
    }
}
