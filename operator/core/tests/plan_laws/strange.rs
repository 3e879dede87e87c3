//! Objects that no admission would let through: texts are arbitrary, metadata is missing, times lie at the ends of what can
//! be held.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace as CoreNamespace, ResourceQuota, ResourceQuotaSpec,
    Secret, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::api_key::{Claim, KeyRecord, RecipientKey, Retired, Version};
use keyplane_core::child::Child;
use keyplane_core::ownership::{
    ACCOUNT_LABEL, FINALIZER, NAMESPACE_CHILD, OWNER_UID_LABEL, identity_name, key_binding_name,
};
use keyplane_core::seniority::Seniority;
use keyplane_crds::{
    Account, AccountSpec, ApiKey, ApiKeySpec, ApiKeyStatus, Condition, ConditionStatus, Delivery,
    IDENTITIES_NAMESPACE, KEY_PREFIX_ANNOTATION, KubernetesExec, Lock, Namespace, NamespaceDefaults,
    NamespaceSpec, Owner, OwnerKind, QuantityText, ResourceQuotaDefaults, Revocation, Rotation, Scope,
    SealedTo, SshKey, SshKeySpec, Usage,
};
use proptest::prelude::*;

/// Any text, and often one of few, so that objects refer to each other.
pub fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "a-b", "uid", NAMESPACE_CHILD, IDENTITIES_NAMESPACE]).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(vec!["uid", "a"]).prop_map(key_binding_name),
        1 => prop::sample::select(vec!["uid", "a"]).prop_map(identity_name),
        1 => ".*",
    ]
}

pub fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![
        Just(DateTime::<Utc>::MIN_UTC),
        Just(DateTime::<Utc>::MAX_UTC),
        (any::<i32>(), 0..1_000_000_000_u32).prop_map(|(seconds, rest)| DateTime::from_timestamp(
            seconds.into(),
            rest
        )
        .unwrap()),
    ]
}

pub fn times() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(Time(Timestamp::MIN)),
        Just(Time(Timestamp::MAX)),
        (any::<i32>(), -999_999_999..999_999_999_i32)
            .prop_map(|(seconds, rest)| Time(Timestamp::new(seconds.into(), rest).unwrap())),
    ]
}

pub fn maps(keys: Vec<&'static str>) -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![3 => prop::sample::select(keys).prop_map(ToOwned::to_owned), 1 => texts()];
    prop::collection::btree_map(key, texts(), 0..3)
}

pub fn metadata() -> BoxedStrategy<ObjectMeta> {
    let text = || prop::option::weighted(0.8, texts());
    let names = (text(), text(), text());
    let flags =
        (prop::option::of(any::<i64>()), prop::option::of(times()), prop::option::weighted(0.2, times()));
    let finalizer = prop_oneof![Just(FINALIZER.to_owned()), texts()];
    let maps = (
        prop::option::of(maps(vec![OWNER_UID_LABEL, ACCOUNT_LABEL])),
        prop::option::of(maps(vec![KEY_PREFIX_ANNOTATION])),
        prop::option::of(prop::collection::vec(finalizer, 0..3)),
    );
    (names, flags, maps)
        .prop_map(
            |((name, namespace, uid), (generation, created, deleted), (labels, annotations, finalizers))| {
                ObjectMeta {
                    name,
                    namespace,
                    uid,
                    generation,
                    creation_timestamp: created,
                    deletion_timestamp: deleted,
                    labels,
                    annotations,
                    finalizers,
                    ..ObjectMeta::default()
                }
            },
        )
        .boxed()
}

pub fn children() -> impl Strategy<Value = Vec<Child>> {
    let child = (metadata(), 0..7_u8, texts(), texts()).prop_map(|(metadata, kind, name, amount)| {
        let amounts = Some(BTreeMap::from([(name, Quantity(amount))]));
        let item =
            LimitRangeItem { default: amounts.clone(), max: amounts.clone(), ..LimitRangeItem::default() };
        match kind {
            0 => Child::from(CoreNamespace { metadata, ..CoreNamespace::default() }),
            1 => Child::from(ServiceAccount { metadata, ..ServiceAccount::default() }),
            2 => Child::from(Secret { metadata, ..Secret::default() }),
            3 => Child::from(RoleBinding { metadata, ..RoleBinding::default() }),
            4 => Child::from(ResourceQuota {
                metadata,
                spec: Some(ResourceQuotaSpec { hard: amounts, ..ResourceQuotaSpec::default() }),
                status: None,
            }),
            5 => Child::from(LimitRange { metadata, spec: Some(LimitRangeSpec { limits: vec![item] }) }),
            _ => Child::from(NetworkPolicy { metadata, ..NetworkPolicy::default() }),
        }
    });
    prop::collection::vec(child, 0..5)
}

pub fn accounts() -> impl Strategy<Value = Account> {
    let kind = prop::sample::select(vec![OwnerKind::User, OwnerKind::Group, OwnerKind::ServiceAccount]);
    let owner = (kind, texts(), prop::option::of(texts())).prop_map(|(kind, name, namespace)| Owner {
        kind,
        name,
        namespace,
    });
    let quota = prop::collection::btree_map(texts(), texts().prop_map(QuantityText::Text), 0..3);
    (metadata(), prop::collection::vec(owner, 0..3), quota, prop::option::of(any::<u32>())).prop_map(
        |(metadata, owners, hard, ssh_keys)| {
            let resource_quota = Some(ResourceQuotaDefaults { hard });
            let namespace_defaults =
                Some(NamespaceDefaults { resource_quota, ..NamespaceDefaults::default() });
            let limits = crate::edits::limits(ssh_keys);
            Account { metadata, spec: AccountSpec { owners, limits, namespace_defaults }, status: None }
        },
    )
}

pub fn scopes() -> impl Strategy<Value = Scope> {
    let list = || prop::collection::vec(texts(), 0..3);
    let exec = (list(), list(), prop::option::of(any::<bool>())).prop_map(
        |(namespace_ids, namespaces, all_namespaces)| KubernetesExec {
            namespace_ids,
            namespaces,
            all_namespaces,
            role: None,
        },
    );
    let flag = || prop::option::weighted(0.2, any::<bool>());
    (flag(), flag(), flag(), prop::option::weighted(0.7, exec)).prop_map(
        |(all, inference, ssh_keys, kubernetes_exec)| Scope { all, inference, ssh_keys, kubernetes_exec },
    )
}

pub fn digests() -> impl Strategy<Value = String> {
    prop_oneof![3 => (0..3_usize).prop_map(crate::specs::digest), 1 => texts()]
}

pub fn versions() -> impl Strategy<Value = Version> {
    let requested_at = prop::option::of(moments());
    (any::<u32>(), digests(), prop::option::of(texts()), moments(), requested_at).prop_map(
        |(number, digest, prefix, since, requested_at)| Version {
            number,
            digest,
            prefix,
            since,
            requested_at,
        },
    )
}

pub fn records() -> BoxedStrategy<KeyRecord> {
    let retired =
        (versions(), moments(), moments()).prop_map(|(version, at, until)| Retired { version, at, until });
    let ended = prop::collection::vec(digests(), 0..10);
    (
        any::<u64>(),
        any::<u32>(),
        prop::option::of(versions()),
        prop::option::of(retired),
        prop::option::of(versions()),
        ended,
    )
        .prop_map(|(sequence, admitted_under, live, previous, pending, ended)| KeyRecord {
            sequence,
            admitted_under,
            live,
            previous,
            pending,
            ended,
        })
        .boxed()
}

pub fn statuses() -> BoxedStrategy<ApiKeyStatus> {
    use keyplane_crds::ApiKeyState as S;
    let states = vec![S::Pending, S::Active, S::Locked, S::Expired, S::Revoked, S::Invalid];
    let condition = (texts(), texts(), moments()).prop_map(|(type_, reason, time)| Condition {
        type_,
        status: ConditionStatus::Unknown,
        reason,
        message: String::new(),
        last_transition_time: time,
        observed_generation: None,
    });
    let lock = (moments(), texts(), texts()).prop_map(|(locked_at, reason, address)| Lock {
        locked_at,
        reason,
        address,
    });
    let usage = prop::option::of(moments()).prop_map(|last_used_at| Usage {
        count: 1,
        last_used_at,
        ..Usage::default()
    });
    let revocation = (moments(), prop::option::of(any::<u64>()), prop::option::of(any::<u64>())).prop_map(
        |(requested_at, refused_after_millis, unbound_after_millis)| Revocation {
            requested_at,
            refused_after_millis,
            unbound_after_millis,
        },
    );
    (
        prop::option::of(prop::sample::select(states)),
        prop::collection::vec(condition, 0..3),
        prop::option::of(lock),
        prop::option::of(usage),
        prop::option::of(revocation),
        prop::option::of(digests()),
        prop::option::of(texts()),
    )
        .prop_map(|(state, conditions, lock, usage, revocation, digest, sealed_key)| ApiKeyStatus {
            state,
            conditions,
            lock,
            usage,
            revocation,
            digest,
            sealed_key,
            ..ApiKeyStatus::default()
        })
        .boxed()
}

pub fn api_keys() -> BoxedStrategy<ApiKey> {
    let delivery =
        (prop::option::of(texts()), prop::option::of(texts())).prop_map(|(secret_name, ssh_key)| Delivery {
            secret_name,
            sealed_to: ssh_key.map(|ssh_key| SealedTo { ssh_key }),
        });
    let rotation = (prop::option::of(any::<u32>()), prop::option::of(moments()))
        .prop_map(|(grace_period_seconds, requested_at)| Rotation { grace_period_seconds, requested_at });
    let who =
        (prop::option::weighted(0.7, digests()), prop::option::of(delivery), prop::option::of(rotation));
    let cidr = prop_oneof![Just("203.0.113.0/24".to_owned()), Just("::ffff:192.0.2.1".to_owned()), texts()];
    let life = (
        prop::option::of(moments()),
        prop::option::of(any::<bool>()),
        prop::option::of(moments()),
        prop::collection::vec(cidr, 0..2),
    );
    (metadata(), scopes(), who, life, prop::option::of(statuses()))
        .prop_map(
            |(
                metadata,
                scope,
                (digest, delivery, rotation),
                (expires_at, revoked, unlocked_at, allowed_cidrs),
                status,
            )| {
                let spec = ApiKeySpec {
                    scope,
                    expires_at,
                    digest,
                    delivery,
                    rotation,
                    revoked,
                    unlocked_at,
                    allowed_cidrs,
                    ..ApiKeySpec::default()
                };
                ApiKey { metadata, spec, status }
            },
        )
        .boxed()
}

pub fn claims() -> impl Strategy<Value = BTreeMap<String, Vec<Claim>>> {
    let claim = (prop::option::of(moments()), metadata())
        .prop_map(|(since, metadata)| Claim { since, seniority: Seniority::of(&metadata) });
    prop::collection::btree_map(digests(), prop::collection::vec(claim, 0..3), 0..3)
}

pub fn recipients() -> impl Strategy<Value = RecipientKey> {
    prop_oneof![
        Just(RecipientKey::Absent),
        texts().prop_map(RecipientKey::Registered),
        texts().prop_map(RecipientKey::Unsupported)
    ]
}

pub fn addresses() -> impl Strategy<Value = Option<IpAddr>> {
    prop::option::of(any::<IpAddr>())
}

pub fn namespaces() -> impl Strategy<Value = Namespace> {
    metadata().prop_map(|metadata| Namespace { metadata, spec: NamespaceSpec {}, status: None })
}

pub fn ssh_keys() -> impl Strategy<Value = SshKey> {
    let line = prop_oneof![2 => (0..crate::specs::PUBLIC_KEYS).prop_map(crate::specs::public_key), 1 => ".*"];
    (metadata(), line, prop::option::of(any::<bool>())).prop_map(|(metadata, public_key, default)| SshKey {
        metadata,
        spec: SshKeySpec { display_name: None, public_key, default },
        status: None,
    })
}

pub fn cores() -> impl Strategy<Value = Option<Arc<CoreNamespace>>> {
    let core = |metadata| Arc::new(CoreNamespace { metadata, ..CoreNamespace::default() });
    prop::option::of(metadata().prop_map(core))
}
