//! One attempt for one resource: observe, plan, execute; and when to try again.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt};
use keyplane_core::audit::{Change, readiness_event};
use keyplane_core::plan::{Action as Step, Plan};
use keyplane_core::readiness::{Readiness, Reason, ResourceKind, Status};
use keyplane_crds::{ConditionStatus, READY};
use kube::runtime::controller::{self, Action, Config, applier};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::announce::{Announcer, Notice};
use super::error::ReconcileError;
use super::execute::{is_current, set_finalizer, write_child, write_status};
use super::issue::issue;
use crate::index::{ClusterView, Indexed};
use crate::issued_kubeconfig::KubeconfigSettings;
use crate::metrics::{AttemptResult, KindMetrics};
use crate::runtime::unanswered;

/// How long one attempt may take.
const ATTEMPT_LIMIT: Duration = Duration::from_mins(1);
/// How many resources of a kind are worked on at once.
const CONCURRENCY: u16 = 8;
/// The first pause after a failure; it doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest wait for a moment that is near. A timer does not notice that the clock was set forward, or that the
/// machine slept; looking again early costs a plan in memory.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The longest wait for a moment that is further away than this. One of years is beyond what the scheduler holds.
const LONGEST_FAR_WAIT: Duration = Duration::from_hours(1);

/// A resource's part in the loop: what is looked at, what is decided, where it is written.
pub(super) trait Reconciler: Send + Sync + 'static {
    /// The resource.
    type Resource: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// Its status.
    type Status: Status + Serialize + Send + Sync;

    /// The resource's kind.
    const KIND: ResourceKind;

    /// What is decided from what is known. Makes no request.
    fn plan(view: &ClusterView, object: &Arc<Self::Resource>, now: DateTime<Utc>) -> Plan<Self::Status>;

    /// The status as it is stored.
    fn stored_status(object: &Self::Resource) -> Option<Self::Status>;

    /// The status when the API server refuses something that the plan needs.
    fn refused_status(object: &Self::Resource, readiness: &Readiness, now: DateTime<Utc>) -> Self::Status {
        let stored = Self::stored_status(object).unwrap_or_default();
        let previous = stored.conditions().to_vec();
        stored.saying(readiness, &previous, object.meta().generation, now)
    }

    /// What is told when the status becomes another.
    fn changes(object: &Self::Resource, before: Option<&Self::Status>, after: &Self::Status) -> Vec<Change> {
        let conditions = before.map(Status::conditions).unwrap_or_default();
        readiness_event(Self::KIND, conditions, after.conditions(), object.meta()).into_iter().collect()
    }

    /// What is told when the resource is gone.
    fn gone() -> Option<Change> {
        None
    }

    /// What others wrote into the status that people should be told of; none where nobody else writes there.
    fn notices(_: &Self::Resource) -> Option<Vec<Notice>> {
        None
    }

    /// Where the resource is written.
    fn api(client: Client, object: &Self::Resource) -> Api<Self::Resource>;
}

struct Context {
    client: Client,
    settings: Arc<KubeconfigSettings>,
    announcer: Arc<Announcer>,
    view: Arc<ClusterView>,
    failures: Mutex<HashMap<String, Failures>>,
    metrics: KindMetrics,
}

impl Context {
    /// Changes what is known of resources that failed, and counts them.
    fn with_failures<T>(&self, change: impl FnOnce(&mut HashMap<String, Failures>) -> T) -> T {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut failures);
        self.metrics.failing(failures.len());
        result
    }
}

/// How a resource failed since it last was as declared.
#[derive(Clone, Default)]
struct Failures {
    /// Where the resource stands.
    place: String,
    count: u32,
    /// Before which nothing that is costly is tried again, whatever wakes the resource.
    not_before: Option<Instant>,
}

/// Works on what is queued, for as long as the queue is open.
pub(super) async fn run<R: Reconciler>(
    client: Client,
    settings: Arc<KubeconfigSettings>,
    announcer: Arc<Announcer>,
    view: Arc<ClusterView>,
    index: Arc<Indexed<R::Resource>>,
    queue: UnboundedReceiver<ObjectRef<R::Resource>>,
    metrics: KindMetrics,
) where
    ObjectRef<R::Resource>: Hash + Eq + Clone,
{
    let context =
        Arc::new(Context { client, settings, announcer, view, failures: Mutex::default(), metrics });
    let of_gone = context.clone();
    applier(
        |object, context| attempt::<R>(object, context).boxed(),
        |object, error, context: Arc<Context>| retry::<R>(&object, error, &context),
        context,
        index.store().clone(),
        queue.map(Ok::<_, std::convert::Infallible>),
        Config::default().concurrency(CONCURRENCY),
    )
    // Failures were reported where they happened. An object that failed is queued again, and noticed here if it is gone.
    .for_each(|result| {
        if let Err(controller::Error::ObjectNotFound(gone)) = result {
            let gone = place_of(gone.namespace.as_deref(), &gone.name);
            of_gone.with_failures(|failures| failures.retain(|_, failed| failed.place != gone));
        }
        std::future::ready(())
    })
    .await;
}

async fn attempt<R: Reconciler>(
    object: Arc<R::Resource>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let result = tokio::time::timeout(ATTEMPT_LIMIT, carry_out::<R>(&object, &context))
        .await
        .unwrap_or(Err(ReconcileError::TimedOut(ATTEMPT_LIMIT.as_secs())));
    context.metrics.attempted(counted_as(&result), began.elapsed());
    result
}

fn counted_as<T>(result: &Result<T, ReconcileError>) -> AttemptResult {
    match result {
        Ok(_) => AttemptResult::Done,
        Err(ReconcileError::Stale(_)) => AttemptResult::Stale,
        Err(ReconcileError::Refused(_)) => AttemptResult::Refused,
        Err(ReconcileError::Undeliverable { .. }) => AttemptResult::Undeliverable,
        Err(ReconcileError::Unrecorded(_)) => AttemptResult::Unrecorded,
        Err(ReconcileError::Unreachable(_)) => AttemptResult::Unreachable,
        Err(ReconcileError::TimedOut(_)) => AttemptResult::TimedOut,
    }
}

async fn carry_out<R: Reconciler>(
    object: &Arc<R::Resource>,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let now = Utc::now();
    if let Some(notices) = R::notices(object) {
        context.announcer.notice(object.as_ref(), notices).await;
    }
    let plan = R::plan(&context.view, object, now);
    let uid = object.uid().unwrap_or_default();
    if plan.is_empty() {
        context.with_failures(|failures| failures.remove(&uid));
    }
    if plan.actions.iter().any(|step| matches!(step, Step::Issue(_))) {
        // What an attempt to issue writes wakes the resource; it must not begin the next attempt.
        let failures = context.with_failures(|failures| failures.get(&uid).cloned());
        let rest = failures
            .and_then(|failures| failures.not_before)
            .map(|moment| moment.saturating_duration_since(Instant::now()));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(Action::requeue(rest));
        }
    }
    let api = R::api(context.client.clone(), object);
    if plan.actions.iter().any(Step::gives) && !is_current(&api, object.as_ref()).await? {
        return Err(ReconcileError::Stale(
            "the resource is newer than the one the plan was made for".to_owned(),
        ));
    }
    for step in &plan.actions {
        let done = match step {
            Step::AddFinalizer => set_finalizer(&api, object.as_ref(), true).await,
            Step::RemoveFinalizer => {
                let gone: Vec<Change> = R::gone().into_iter().collect();
                context.announcer.record(R::KIND, object.meta(), &gone).await?;
                context.announcer.forget(&object.uid().unwrap_or_default());
                set_finalizer(&api, object.as_ref(), false).await
            }
            Step::Remember(tombstone) => {
                let change = Change::digest_remembered(&tombstone.digest, tombstone.version);
                context.announcer.record(R::KIND, object.meta(), &[change]).await?;
                write_child(&context.client, step).instrument(span(object.as_ref())).await
            }
            Step::Issue(issued) => {
                let issuing = issue(&context.client, &context.settings, issued);
                issuing.instrument(span(object.as_ref())).await.map(|version| {
                    tracing::info!(
                        name = place(object.as_ref()),
                        version = version.number,
                        "issued and delivered"
                    );
                })
            }
            other => write_child(&context.client, other).instrument(span(object.as_ref())).await,
        };
        let refusal = match &done {
            Err(ReconcileError::Refused(message)) => {
                let text = format!("the API server refused: {message}");
                Some(Readiness::not_ready(Reason::ApplyFailed, text))
            }
            Err(ReconcileError::Undeliverable { reason, message }) => {
                Some(Readiness::not_ready(*reason, message.clone()))
            }
            _ => None,
        };
        // A key that verifies goes on doing so while its rotation cannot be carried out.
        let keeps_ready = matches!(step, Step::Issue(issued) if issued.record.live.is_some());
        if let Some(refusal) = refusal.as_ref().filter(|_| keeps_ready) {
            let change = Change::rotation_failed(refusal, object.meta());
            context.announcer.trouble(R::KIND, object.as_ref(), change).await?;
        }
        if let Some(refusal) = refusal.filter(|_| !keeps_ready) {
            let status = R::refused_status(object, &refusal, now);
            let stored = R::stored_status(object);
            if let Some(status) = keyplane_core::plan::changed(status, stored.as_ref()) {
                state::<R>(context, &api, object, stored.as_ref(), &status).await?;
            }
        }
        done?;
    }
    if let Some(status) = &plan.status {
        if plan.actions.iter().any(|step| matches!(step, Step::AddFinalizer | Step::RemoveFinalizer)) {
            // The resource is newer now than the one that was seen; the status follows with the next look at it.
            return Ok(Action::requeue(FIRST_PAUSE));
        }
        let stored = R::stored_status(object);
        state::<R>(context, &api, object, stored.as_ref(), status).await?;
    }
    Ok(match plan.wake_at {
        Some(moment) => Action::requeue(wait_for((moment - now).to_std().unwrap_or(FIRST_PAUSE))),
        None => Action::await_change(),
    })
}

/// Writes a status: into the audit log, into the resource, and to people, in this order.
async fn state<R: Reconciler>(
    context: &Context,
    api: &Api<R::Resource>,
    object: &Arc<R::Resource>,
    stored: Option<&R::Status>,
    status: &R::Status,
) -> Result<(), ReconcileError> {
    let changes = R::changes(object, stored, status);
    context.announcer.record(R::KIND, object.meta(), &changes).await?;
    write_status(api, object.as_ref(), stored, status).await?;
    say_readiness(object.as_ref(), stored, status);
    context.announcer.publish(object.as_ref(), &changes).await;
    Ok(())
}

/// How long to wait before a moment that is this far away is looked for again.
fn wait_for(distance: Duration) -> Duration {
    distance.min(if distance > LONGEST_FAR_WAIT { LONGEST_FAR_WAIT } else { LONGEST_WAIT })
}

/// What the lines about a resource's derived objects say it is about.
fn span<K: Resource<DynamicType = ()>>(object: &K) -> tracing::Span {
    tracing::info_span!("resource", kind = %K::kind(&()), name = place(object))
}

/// Where a resource stands, as `namespace/name` or `name`.
fn place<K: Resource<DynamicType = ()>>(object: &K) -> String {
    place_of(object.meta().namespace.as_deref(), &object.name_any())
}

fn place_of(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Says when a resource becomes ready or not, or is not ready for another reason.
fn say_readiness<K: Resource<DynamicType = ()>, S: Status>(object: &K, stored: Option<&S>, status: &S) {
    let ready = |status: &S| {
        let condition = status.conditions().iter().find(|condition| condition.type_ == READY)?;
        Some((condition.status == ConditionStatus::True, condition.reason.clone()))
    };
    let (before, now) = (stored.and_then(ready), ready(status));
    let (kind, name) = (K::kind(&()), place(object));
    match now {
        Some((true, reason)) if before != Some((true, reason.clone())) => {
            tracing::info!(%kind, name, reason, "ready");
        }
        Some((false, reason)) if before != Some((false, reason.clone())) => {
            tracing::info!(%kind, name, reason, "not ready");
        }
        _ => {}
    }
}

fn retry<R: Reconciler>(object: &R::Resource, error: &ReconcileError, context: &Context) -> Action {
    let kind = R::Resource::kind(&());
    let name = place(object);
    let (failures, pause) = context.with_failures(|failures| {
        let failures = failures.entry(object.uid().unwrap_or_default()).or_default();
        failures.place.clone_from(&name);
        failures.count = failures.count.saturating_add(1);
        let pause = pause_after(failures.count);
        failures.not_before = Instant::now().checked_add(pause);
        (failures.count, pause)
    });
    let expected = match error {
        ReconcileError::Stale(_) => failures < 5,
        // That the API server does not answer is said once for all resources.
        ReconcileError::Unreachable(_) => unanswered(&context.client) || failures < 3,
        ReconcileError::Refused(_)
        | ReconcileError::Undeliverable { .. }
        | ReconcileError::Unrecorded(_)
        | ReconcileError::TimedOut(_) => false,
    };
    if expected {
        tracing::debug!(%kind, name, %error, "trying again");
    } else {
        tracing::warn!(%kind, name, %error, failures, pause_ms = pause.as_millis(), "attempt failed");
    }
    Action::requeue(pause)
}

/// Twice as long after each failure in a row, spread so that many failures do not come back at once.
fn pause_after(failures: u32) -> Duration {
    let pause = FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(LONGEST_PAUSE);
    let mut random = [0_u8; 1];
    // Without randomness the pauses are only less well spread.
    let _ = getrandom::fill(&mut random);
    let [spread] = random;
    pause.mul_f64(0.75 + f64::from(spread) / 512.0)
}
