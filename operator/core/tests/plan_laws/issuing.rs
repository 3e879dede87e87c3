//! Makes keys and hands them over, as `operator/src/controllers/issue.rs` does: three writes, between any two of which
//! the controller can be killed.

use keyplane_core::api_key::{Issue, KeyRecord, Recipient};
use keyplane_core::key_format::{KeyDigest, KeyPrefix};
use keyplane_crds::{ApiKey, ApiKeyStatus};

use crate::driver::Budget;
use crate::model::{Cluster, Delivered, Refusal};
use crate::resource::Place;
use crate::specs;

/// Carries out what the plan says is to be issued. A controller that is killed on the way has no answer.
pub fn issue(cluster: &mut Cluster, issue: &Issue, budget: &mut Budget) -> Result<(), Refusal> {
    let (mut record, mut version) = stored(cluster, issue)?;
    if record != issue.record {
        return Err(Refusal::Conflict);
    }
    let found = handed_over(cluster, issue)?;
    let pending = issue.record.pending.as_ref().map(|pending| pending.digest.clone());
    if pending.is_none() || found != pending {
        if !budget.spend(|| format!("{} is made", issue.name)) {
            return Err(Refusal::Conflict);
        }
        cluster.issued += 1;
        let digest: KeyDigest = specs::issued_digest(cluster.issued).parse().unwrap();
        let prefix: KeyPrefix = "kpk_Ab3d".parse().unwrap();
        record = issue.record.with_pending(issue.version(&digest, &prefix, cluster.now));
        cluster.write_record(&issue.owner.uid, &record, version.as_deref())?;
        version = stored(cluster, issue)?.1;
        if !budget.spend(|| format!("{} is handed over", issue.name)) {
            return Err(Refusal::Conflict);
        }
        hand_over(cluster, issue, digest.to_string());
    }
    if !budget.spend(|| format!("{} is promoted", issue.name)) {
        return Err(Refusal::Conflict);
    }
    let promoted = record.promoted(issue.grace_seconds, cluster.now);
    cluster.write_record(&issue.owner.uid, &promoted, version.as_deref())
}

/// The record as it is stored, and its version.
fn stored(cluster: &Cluster, issue: &Issue) -> Result<(KeyRecord, Option<String>), Refusal> {
    let found = cluster.identity(&issue.owner.uid).filter(|found| found.uid() == issue.identity_uid);
    let found = found.ok_or(Refusal::Conflict)?.metadata();
    Ok((KeyRecord::of(found).ok_or(Refusal::Conflict)?, found.resource_version.clone()))
}

fn place(issue: &Issue) -> Place {
    Place::within(&issue.home, &issue.name)
}

/// The digest of the key that lies where this one is to be handed over.
fn handed_over(cluster: &Cluster, issue: &Issue) -> Result<Option<String>, Refusal> {
    match &issue.recipient {
        Recipient::Secret(name) => match cluster.deliveries.get(&Place::within(&issue.home, name)) {
            Some(delivered) if delivered.owner != issue.owner.uid => Err(Refusal::Conflict),
            found => Ok(found.map(|delivered| delivered.digest.clone())),
        },
        Recipient::SshPublicKey(_) | Recipient::Gone(_) => Ok(sealed(&cluster.api_keys[&place(issue)])),
    }
}

/// The digest of the key that is sealed in a status.
pub fn sealed(key: &ApiKey) -> Option<String> {
    let status = key.status.as_ref().filter(|status| status.sealed_key.is_some());
    status.and_then(|status| status.digest.clone())
}

fn hand_over(cluster: &mut Cluster, issue: &Issue, digest: String) {
    match &issue.recipient {
        Recipient::Secret(name) => {
            let delivered = Delivered { owner: issue.owner.uid.clone(), digest };
            cluster.deliveries.insert(Place::within(&issue.home, name), delivered);
        }
        Recipient::Gone(_) => {}
        Recipient::SshPublicKey(_) => {
            let place = place(issue);
            let stored = cluster.api_keys[&place].status.clone().unwrap_or_default();
            let status =
                ApiKeyStatus { sealed_key: Some(format!("sealed {digest}")), digest: Some(digest), ..stored };
            cluster.write_status::<ApiKey>(&place, Some(&issue.owner.uid), &status);
        }
    }
}
