//! What the API server makes of an object: canonical quantities, defaults, and what a forced apply replaces.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::child::Child;

use crate::quantity_rows::STORED_AS;

type Amounts = BTreeMap<String, Quantity>;

/// The object as it is read back after it was created.
pub fn stored_form(desired: &Child) -> Child {
    let mut child = desired.clone();
    match &mut child {
        Child::ResourceQuota(quota) => canonical_quota(quota),
        Child::LimitRange(range) => canonical_range(range),
        _ => {}
    }
    child
}

/// The stored object after a forced apply of the desired one; nothing where the server refuses that. Labels and
/// annotations of others stay; lists and selectors are atomic, and a quota's amounts are all Keyplane's.
pub fn mended(found: &Child, desired: &Child) -> Option<Child> {
    let mut child = found.clone();
    let wanted = desired.metadata();
    let metadata = metadata_mut(&mut child);
    let entries = |map: &Option<BTreeMap<String, String>>| map.clone().into_iter().flatten();
    metadata.labels.get_or_insert_default().extend(entries(&wanted.labels));
    metadata.annotations.get_or_insert_default().extend(entries(&wanted.annotations));
    match (&mut child, desired) {
        (Child::Namespace(_), Child::Namespace(_)) => {}
        (Child::ServiceAccount(found), Child::ServiceAccount(desired)) => {
            found.automount_service_account_token = desired.automount_service_account_token;
        }
        (Child::Secret(found), Child::Secret(desired)) => {
            if found.type_ != desired.type_ {
                return None;
            }
            found.immutable = desired.immutable;
        }
        (Child::RoleBinding(found), Child::RoleBinding(desired)) => {
            if found.role_ref != desired.role_ref {
                return None;
            }
            found.subjects.clone_from(&desired.subjects);
        }
        (Child::ResourceQuota(found), Child::ResourceQuota(desired)) => {
            found.spec.clone_from(&desired.spec);
            canonical_quota(found);
        }
        (Child::LimitRange(found), Child::LimitRange(desired)) => {
            found.spec.clone_from(&desired.spec);
            canonical_range(found);
        }
        (Child::NetworkPolicy(found), Child::NetworkPolicy(desired)) => {
            let egress = found.spec.as_ref().and_then(|spec| spec.egress.clone());
            found.spec.clone_from(&desired.spec);
            if let Some(spec) = &mut found.spec {
                spec.egress = egress;
            }
        }
        _ => return None,
    }
    Some(child)
}

fn canonical_quota(quota: &mut ResourceQuota) {
    let Some(spec) = &mut quota.spec else { return };
    if let Some(hard) = &mut spec.hard {
        canonical_amounts(hard);
    }
    spec.hard = spec.hard.take().filter(|hard| !hard.is_empty());
}

fn canonical_range(range: &mut LimitRange) {
    for item in range.spec.iter_mut().flat_map(|spec| &mut spec.limits) {
        for amounts in [&mut item.default, &mut item.default_request, &mut item.max].into_iter().flatten() {
            canonical_amounts(amounts);
        }
        fill_in(item);
    }
}

/// `SetDefaults_LimitRangeItem`, read from its source and written again here.
fn fill_in(item: &mut LimitRangeItem) {
    let below = |amounts: &mut Option<Amounts>, above: Option<Amounts>| {
        let mut filled = above.unwrap_or_default();
        filled.extend(amounts.take().unwrap_or_default());
        *amounts = (!filled.is_empty()).then_some(filled);
    };
    below(&mut item.default, item.max.clone());
    let limits = item.default.clone();
    below(&mut item.default_request, limits);
}

fn canonical_amounts(amounts: &mut Amounts) {
    for quantity in amounts.values_mut() {
        if let Some((_, stored)) = STORED_AS.iter().find(|(written, _)| *written == quantity.0) {
            quantity.0 = (*stored).to_owned();
        }
    }
}

pub fn metadata_mut(child: &mut Child) -> &mut ObjectMeta {
    match child {
        Child::Namespace(object) => &mut object.metadata,
        Child::ServiceAccount(object) => &mut object.metadata,
        Child::Secret(object) => &mut object.metadata,
        Child::RoleBinding(object) => &mut object.metadata,
        Child::ResourceQuota(object) => &mut object.metadata,
        Child::LimitRange(object) => &mut object.metadata,
        Child::NetworkPolicy(object) => &mut object.metadata,
    }
}
