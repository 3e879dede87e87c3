//! What a change of a resource is told: a line of the audit log before it is written down, and an Event of Kubernetes
//! afterwards, which is for people and may be lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::audit::{Change, Code, Outcome, Source};
use keyplane_core::readiness::{Reason, ResourceKind};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use super::error::ReconcileError;
use crate::audit::AuditLog;
use crate::runtime::cause;

/// The name under which Events are written.
const REPORTER: &str = "keyplane-controller";
/// The longest note of an Event, in bytes: Kubernetes takes 1 kB.
const LONGEST_NOTE: usize = 1000;
/// The longest action of an Event, in bytes, as Kubernetes takes it.
const LONGEST_ACTION: usize = 128;

/// Something that happened to a resource, for an Event of its own.
pub(super) struct Notice {
    /// When.
    pub(super) at: DateTime<Utc>,
    /// What, as one word.
    pub(super) reason: String,
    /// What, for a person.
    pub(super) note: String,
}

/// Tells what changes.
pub(super) struct Announcer {
    audit: AuditLog,
    recorder: Recorder,
    /// The newest notice that was looked at, by the UID of its resource.
    noticed: Mutex<HashMap<String, DateTime<Utc>>>,
    /// The last trouble that was told, by the UID of its resource.
    troubled: Mutex<HashMap<String, Change>>,
}

impl Announcer {
    /// Tells to this audit log, and to the API server.
    pub(super) fn new(client: Client, audit: AuditLog) -> Self {
        let recorder = Recorder::new(client, Reporter { controller: REPORTER.to_owned(), instance: None });
        Self { audit, recorder, noticed: Mutex::default(), troubled: Mutex::default() }
    }

    /// Writes the audit lines of these changes.
    ///
    /// # Errors
    /// When they cannot be written: then what they tell of must not be acknowledged.
    pub(super) async fn record(
        &self,
        kind: ResourceKind,
        metadata: &ObjectMeta,
        changes: &[Change],
    ) -> Result<(), ReconcileError> {
        for change in changes {
            let event = change.event(kind, metadata, Source::controller(), Utc::now());
            let written = self.audit.write(&event).await;
            written.map_err(|error| ReconcileError::Unrecorded(error.to_string()))?;
        }
        Ok(())
    }

    /// Publishes Events of these changes.
    pub(super) async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, changes: &[Change]) {
        for change in changes.iter().filter(|change| is_for_people(change.code)) {
            let note = change.message.clone().unwrap_or_else(|| match change.version {
                Some(version) => format!("version {version}: {}", change.code.meaning()),
                None => change.code.meaning().to_owned(),
            });
            let type_ = match change.code.outcome() {
                Outcome::Success => EventType::Normal,
                Outcome::Failure => EventType::Warning,
            };
            // A lock's own reason is that of the uses which led to it.
            let own = change.reason.clone().filter(|_| change.code != Code::KeyLocked);
            let reason = own.unwrap_or_else(|| match change.code {
                Code::KeyLocked => Reason::Locked.as_str().to_owned(),
                code => format!("{code:?}"),
            });
            self.send(object, type_, reason, note).await;
        }
    }

    /// Tells once of a trouble that each attempt meets anew and that no status tells.
    ///
    /// # Errors
    /// As [`Announcer::record`].
    pub(super) async fn trouble<K: Resource<DynamicType = ()>>(
        &self,
        kind: ResourceKind,
        object: &K,
        change: Change,
    ) -> Result<(), ReconcileError> {
        let uid = object.meta().uid.clone().unwrap_or_default();
        if self.troubled.lock().unwrap_or_else(PoisonError::into_inner).get(&uid) == Some(&change) {
            return Ok(());
        }
        let changes = [change];
        self.record(kind, object.meta(), &changes).await?;
        self.publish(object, &changes).await;
        let [change] = changes;
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, change);
        Ok(())
    }

    /// Publishes Events of what happened since this was last asked. What happened before the first time was told by who
    /// was there then.
    pub(super) async fn notice<K: Resource<DynamicType = ()>>(&self, object: &K, notices: Vec<Notice>) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let newest = notices.iter().map(|notice| notice.at).max().unwrap_or(DateTime::<Utc>::MIN_UTC);
        let before = self.noticed.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, newest);
        let Some(before) = before else { return };
        for notice in notices.into_iter().filter(|notice| notice.at > before) {
            self.send(object, EventType::Warning, notice.reason, notice.note).await;
        }
    }

    /// Forgets a resource that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    async fn send<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: String,
        note: String,
    ) {
        let mut reference = object.object_ref(&());
        reference.resource_version = None;
        // Events that differ in nothing but their notes are counted as one, which keeps the first note: the addresses that
        // came after it would not be told. The action makes them differ.
        let action = shortened(note.clone(), LONGEST_ACTION);
        let note = Some(shortened(note, LONGEST_NOTE));
        let event = Event { type_, action, reason, note, secondary: None };
        if let Err(error) = self.publish_event(&event, &reference).await {
            tracing::debug!(error = cause(&error), "an Event could not be written");
        }
    }

    async fn publish_event(&self, event: &Event, reference: &ObjectReference) -> Result<(), kube::Error> {
        self.recorder.publish(event, reference).await
    }
}

/// Whether people who describe the resource want to see it there: what they did themselves they know.
fn is_for_people(code: Code) -> bool {
    !matches!(code, Code::KeyDeclared | Code::KeyChanged | Code::KeyDeleted | Code::DigestRemembered)
}

fn shortened(mut text: String, longest: usize) -> String {
    let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}
