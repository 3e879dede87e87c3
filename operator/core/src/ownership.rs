//! Which objects are Keyplane's, and whose: labels, names derived from UIDs, and what counts as an account's own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_crds::{Account, Namespace};

/// Says that Keyplane made the object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "keyplane";
/// The account an object serves, by name.
pub const ACCOUNT_LABEL: &str = "keyplane.dev/account";
/// The kind of the resource that an object was made for.
pub const OWNER_KIND_LABEL: &str = "keyplane.dev/owner-kind";
/// The UID of the resource that an object was made for. The UID, not the name: a resource deleted and made
/// again under the same name is another one.
pub const OWNER_UID_LABEL: &str = "keyplane.dev/owner-uid";
/// The resource that an object was made for, as `<namespace>/<name>`, for people.
pub const OWNER_ANNOTATION: &str = "keyplane.dev/owner";
/// The digest of the key that an object is for: on a version's anchor, and on a delivered Secret.
pub const DIGEST_ANNOTATION: &str = "keyplane.dev/digest";
/// Keeps a resource until what it made has been taken away.
pub const FINALIZER: &str = "keyplane.dev/cleanup";

/// The ServiceAccount of a key: this and its UID. The anchor Secret of one of its versions: besides, a dot and the
/// beginning of the version's digest.
const IDENTITY_PREFIX: &str = "key-";
/// The `RoleBinding`s of a key: this and its UID.
const KEY_BINDING_PREFIX: &str = "keyplane-key-";
/// The RoleBinding of an account's owners in the home namespace.
pub const OWNERS_BINDING: &str = "keyplane-owners";
/// The RoleBinding in a home namespace by which the controller writes the keys that are delivered there.
pub const DELIVERY_BINDING: &str = "keyplane-delivery";
/// The ResourceQuota and LimitRange of a namespace.
pub const NAMESPACE_CHILD: &str = "keyplane";
/// The NetworkPolicy of a namespace.
pub const ISOLATION_POLICY: &str = "keyplane-isolation";

/// The kinds of resource that make objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// An Account.
    Account,
    /// A Namespace of ours.
    Namespace,
    /// An `ApiKey`.
    ApiKey,
}

impl OwnerKind {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Namespace => "Namespace",
            Self::ApiKey => "ApiKey",
        }
    }
}

/// The resource that objects are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its UID.
    pub uid: String,
    /// Its account's name.
    pub account: String,
    /// Where it stands, as `<namespace>/<name>` or `<name>`.
    pub reference: String,
}

impl Owner {
    /// The owner with this metadata.
    #[must_use]
    pub fn new(kind: OwnerKind, metadata: &ObjectMeta, account: &str) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        Self {
            kind,
            uid: metadata.uid.clone().unwrap_or_default(),
            account: account.to_owned(),
            reference: metadata
                .namespace
                .as_ref()
                .map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}")),
        }
    }

    /// The metadata of an object made for this owner.
    #[must_use]
    pub fn child_metadata(&self, namespace: Option<&str>, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(ToOwned::to_owned),
            labels: Some(BTreeMap::from([
                (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
                (ACCOUNT_LABEL.to_owned(), self.account.clone()),
                (OWNER_KIND_LABEL.to_owned(), self.kind.as_str().to_owned()),
                (OWNER_UID_LABEL.to_owned(), self.uid.clone()),
            ])),
            annotations: Some(BTreeMap::from([(OWNER_ANNOTATION.to_owned(), self.reference.clone())])),
            ..ObjectMeta::default()
        }
    }
}

/// The name of a key's ServiceAccount.
#[must_use]
pub fn identity_name(key_uid: &str) -> String {
    format!("{IDENTITY_PREFIX}{key_uid}")
}

/// The name of the anchor Secret of a key's version.
#[must_use]
pub fn anchor_name(key_uid: &str, digest: &str) -> String {
    format!("{}.{}", identity_name(key_uid), digest_mark(digest))
}

/// The first 32 digits of a digest: enough to tell versions apart.
fn digest_mark(digest: &str) -> String {
    digest.rsplit(':').next().unwrap_or_default().chars().take(32).collect()
}

/// The name of a key's `RoleBinding`s.
#[must_use]
pub fn key_binding_name(key_uid: &str) -> String {
    format!("{KEY_BINDING_PREFIX}{key_uid}")
}

/// Whether a RoleBinding's name is one that Keyplane gives. Names cannot be edited, labels can: a key of role
/// admin that strips our labels from its own RoleBinding does not hide it from revocation.
#[must_use]
pub fn is_binding_name(name: &str) -> bool {
    name == OWNERS_BINDING || name == DELIVERY_BINDING || name.starts_with(KEY_BINDING_PREFIX)
}

/// The UID of the owner of an object: what its name says where the name is derived from a UID, else its label.
#[must_use]
pub fn owner_uid(metadata: &ObjectMeta) -> Option<&str> {
    let name = metadata.name.as_deref().unwrap_or_default();
    name.strip_prefix(KEY_BINDING_PREFIX)
        .or_else(|| {
            let in_identities = metadata.namespace.as_deref() == Some(keyplane_crds::IDENTITIES_NAMESPACE);
            // A UID holds no dot.
            name.strip_prefix(IDENTITY_PREFIX)
                .filter(|_| in_identities)
                .map(|rest| rest.split_once('.').map_or(rest, |(uid, _)| uid))
        })
        .or_else(|| owner_uid_label(metadata))
}

/// The owner's UID as the label says it.
#[must_use]
pub fn owner_uid_label(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(OWNER_UID_LABEL).map(String::as_str)
}

/// The account that a core Namespace says it serves, by name.
#[must_use]
pub fn account_label(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(ACCOUNT_LABEL).map(String::as_str)
}

/// Whether a core Namespace was made for the resource with this UID. Only Keyplane and cluster administrators
/// can write labels of core Namespaces.
#[must_use]
pub fn is_made_for(core: &CoreNamespace, uid: Option<&str>) -> bool {
    uid.is_some_and(|uid| !uid.is_empty() && owner_uid_label(&core.metadata) == Some(uid))
}

/// The account whose home namespace this is: the live Account of the same name for whose UID the core Namespace
/// was made. Anything else (a namespace that only has the name, an Account being deleted) is nobody's home.
#[must_use]
pub fn account_of_home<'a>(
    home: Option<&CoreNamespace>,
    account: Option<&'a Account>,
) -> Option<&'a Account> {
    let (home, account) = (home?, account?);
    (home.metadata.name == account.metadata.name
        && is_made_for(home, account.metadata.uid.as_deref())
        && account.metadata.deletion_timestamp.is_none())
    .then_some(account)
}

/// The name of the core Namespace of a Namespace of ours.
#[must_use]
pub fn kubernetes_name(namespace: &Namespace) -> String {
    format!(
        "{}-{}",
        namespace.metadata.namespace.as_deref().unwrap_or_default(),
        namespace.metadata.name.as_deref().unwrap_or_default()
    )
}
