//! Rotation: another key takes the place of the one before, and when which of them is accepted.

mod delivered;
mod digest;
mod grace;
mod never_without;
mod refused;
mod sealed;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use keyplane_core::readiness::Status as _;
use keyplane_crds::KeyVersion;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use crate::delivery::digest_of;

/// A time as a spec names it.
fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A spec with this rotation.
fn rotating(mut spec: Value, rotation: Value) -> Value {
    if let Value::Object(fields) = &mut spec {
        fields.insert("rotation".to_owned(), rotation);
    }
    spec
}

/// Asks for another key, of a key that Keyplane makes.
async fn request_rotation(own: &Tenant, name: &str, at: DateTime<Utc>) -> Result<()> {
    let spec = json!({"rotation": {"requestedAt": stamp(at)}});
    own.patch_key(name, &spec.to_string()).await.map(drop)
}

/// Declares another digest, with the grace period that the one before gets.
async fn declare_digest(own: &Tenant, name: &str, key: &HeldKey, grace_seconds: u32) -> Result<()> {
    let spec = json!({"digest": digest_of(key)?, "rotation": {"gracePeriodSeconds": grace_seconds}});
    own.patch_key(name, &spec.to_string()).await.map(drop)
}

/// Waits until this version of the key verifies.
pub(super) async fn until_version(own: &Tenant, name: &str, number: u32) -> Result<KeyVersion> {
    until(&format!("version {number} of {name}"), PATIENCE, || async {
        let key = own.stored_key(name).await?;
        let status = key.status.unwrap_or_default();
        let is_current = status.is_ready_at(key.metadata.generation);
        Ok(match status.version {
            Some(version) if is_current && version.number == number => Seen::Done(version),
            other => Seen::NotYet(format!("{other:?}, {:?}", status.conditions)),
        })
    })
    .await
}

/// A key as it was presented once.
#[derive(Debug, Clone, Copy)]
struct Use {
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    status: u16,
}

/// Presents a key again and again, at least once, until it is told to stop.
async fn present(own: &Tenant, key: &HeldKey, stop: &AtomicBool) -> Result<Vec<Use>> {
    let mut uses = Vec::new();
    loop {
        let began = Utc::now();
        let status = own.exchange(key).await?.status;
        uses.push(Use { began, ended: Utc::now(), status });
        if stop.load(Ordering::Relaxed) {
            return Ok(uses);
        }
    }
}

/// When the first use that was answered so was answered.
fn first(uses: &[Use], status: u16) -> Option<DateTime<Utc>> {
    uses.iter().filter(|use_| use_.status == status).map(|use_| use_.ended).min()
}
