//! The fixed lists of reasons, each with what it means and what to do about it. docs/conditions.md is made from them.

/// The kinds of resource that carry conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// An `Account`.
    Account,
    /// A `Namespace` of Keyplane's.
    Namespace,
    /// An `ApiKey`.
    ApiKey,
    /// An `SshKey`.
    SshKey,
}

impl ResourceKind {
    /// The kind as it stands in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Namespace => "Namespace",
            Self::ApiKey => "ApiKey",
            Self::SshKey => "SshKey",
        }
    }
}

/// What becomes of a condition that says a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outlook {
    /// The condition holds: there is nothing to mend.
    Holds,
    /// It does not hold, and will by itself.
    Passes,
    /// It does not hold until somebody mends something.
    AwaitsSomebody,
    /// It does not hold, for good.
    Final,
}

/// A list of reasons: the enum, its words, and what people are told about each, so that none can be left out.
macro_rules! reasons {
    (
        $(#[$about:meta])+
        $name:ident {
            $($reason:ident [$($kind:ident),+] $outlook:ident: $meaning:literal, $remedy:literal;)+
        }
    ) => {
        $(#[$about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(
                #[doc = $meaning]
                $reason
            ),+
        }

        impl $name {
            /// Every reason, as they are declared.
            pub const ALL: [Self; [$(stringify!($reason)),+].len()] = [$(Self::$reason),+];

            /// The reason as it stands in the condition.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason)),+ }
            }

            /// What it means, in Markdown.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$reason => $meaning),+ }
            }

            /// What to do about it, in Markdown.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$reason => $remedy),+ }
            }

            /// The kinds of resource that say it.
            #[must_use]
            pub fn kinds(self) -> &'static [ResourceKind] {
                match self { $(Self::$reason => &[$(ResourceKind::$kind),+]),+ }
            }

            /// What becomes of it.
            #[must_use]
            pub fn outlook(self) -> Outlook {
                match self { $(Self::$reason => Outlook::$outlook),+ }
            }
        }
    };
}

reasons! {
    /// Why a resource is Ready or not: one word, the same for people, metrics and events.
    Reason {
        Provisioned [Account, Namespace] Holds:
            "Everything declared exists: for an Account the home namespace and the owners' RoleBinding, for a Namespace the core Namespace with its quota, limits, isolation and Pod Security level.",
            "Nothing. The message names the namespace to use.";
        Active [ApiKey] Holds:
            "The key can be used. With a Kubernetes scope its identity and all its RoleBindings exist; the column `Access` says where and as what.",
            "Nothing.";
        Registered [SshKey] Holds:
            "The key is well formed, nobody registered it before, and the account's limit has room for it.",
            "Nothing, unless the message warns: an `ssh-dss` key is registered, but no current OpenSSH accepts it for login.";
        Provisioning [Account, Namespace, ApiKey] Passes:
            "What is declared is being made, or made anew: a core Namespace that somebody deleted comes back when the old one is gone.",
            "Wait; the message says for what.";
        NameTaken [Account, Namespace] AwaitsSomebody:
            "A core Namespace of the name exists and was not made for this very resource. Keyplane never takes one over, not even one that it made for a resource of the same name that was deleted since.",
            "Choose another name, or have an administrator remove that namespace.";
        NameTooLong [Namespace] AwaitsSomebody:
            "`<account>-<name>` has more than the 63 characters that Kubernetes allows.",
            "Choose a shorter name.";
        AccountNotFound [Namespace, ApiKey, SshKey] AwaitsSomebody:
            "The resource does not stand in the home namespace of a live Account.",
            "Declare it in the account's home namespace, or create the Account of that name.";
        NamespaceNotOwned [ApiKey] AwaitsSomebody:
            "The scope names ids or names that are not those of the account's Namespaces; the message lists them. Nothing at all is granted, not even what is the account's. Whether another account has them is not said.",
            "Correct `spec.scope.kubernetesExec`: `kubectl get namespaces.keyplane.dev -n ACCOUNT -o wide` lists names and ids.";
        NamespaceNotReady [ApiKey] Passes:
            "The scope names a Namespace of the account that has no core Namespace yet. The key reaches the others that it names, but gets no new token until all are there.",
            "Look at the Namespace: `kubectl get namespaces.keyplane.dev -n ACCOUNT`.";
        DuplicateDigest [ApiKey] AwaitsSomebody:
            "Another ApiKey, of whatever account, has the same digest and had it first: one key cannot be two.",
            "Make a new key: `kubectl-keyplane generate`. If nobody of yours declared it before, the digest was known to somebody else: see [digests](security-model.md#digests).";
        InvalidScope [ApiKey] AwaitsSomebody:
            "The scope names nothing, or more than one thing. Admission refuses such a scope, so this is seen only where the resource definitions are not those of this version.",
            "Set exactly one of `all`, `inference`, `sshKeys` and `kubernetesExec`.";
        InvalidDigest [ApiKey] AwaitsSomebody:
            "The digest is not `sha256:` and 64 lower-case hexadecimal digits. Admission refuses it too.",
            "`kubectl-keyplane generate` makes a key and its digest, which is the SHA-256 of the whole key without a line end.";
        ExpiredAtCreation [ApiKey] AwaitsSomebody:
            "`spec.expiresAt` lay in the past when the key was created. The key was never live; its state is `Invalid`, not `Expired`, so that it can still be mended.",
            "Set a time in the future, or none.";
        Expired [ApiKey] Final:
            "`spec.expiresAt` has passed. Everything that the key was given is gone, and its spec is frozen. A clock that steps back revives nothing.",
            "Make another key.";
        Revoked [ApiKey] Final:
            "`spec.revoked` is true, for ever. Everything that the key was given is gone, and its spec is frozen.",
            "Make another key.";
        DigestRevoked [ApiKey] AwaitsSomebody:
            "The digest was revoked or rotated out before, in this ApiKey or in another that may be gone since. Keyplane remembers such digests, so that neither a manifest that is applied again nor a backup that is restored revives a key.",
            "Make a new key: `kubectl-keyplane generate`, and declare its digest.";
        Locked [ApiKey] AwaitsSomebody:
            "The key was used from addresses outside `spec.allowedCidrs`, by default three times within five minutes. Whoever did so holds the whole key. Everything that the key was given is gone until it is unlocked.",
            "Look at `status.securityEvents`. Were the addresses your own, add them to `spec.allowedCidrs`, then set `spec.unlockedAt` to the present time. Else revoke the key and declare another. `spec.unlockedAt` must be later than `status.lock.lockedAt`. A rotation that is asked for meanwhile happens after the unlock; with `rotation.gracePeriodSeconds` the old key goes on for so long, so set that to 0 first.";
        Issuing [ApiKey] Passes:
            "Keyplane is making a version of the key and handing it over.",
            "Wait. Where it stays, the log of `keyplane controller` tells what refuses.";
        DeliveryConflict [ApiKey] AwaitsSomebody:
            "The key cannot be delivered: a Secret of the name in `spec.delivery.secretName` exists and is not this key's, which Keyplane never overwrites; or the file of `--public-ca-file` cannot be read. The message says which.",
            "If the message names a Secret: delete it, or declare another ApiKey that names another. If it names a file: have the installation mend it.";
        RecipientNotReady [ApiKey] AwaitsSomebody:
            "The SshKey that `spec.delivery.sealedTo` names is not there, or is not Ready.",
            "Register it in the same home namespace, or mend what its own condition says. The key is made and sealed as soon as the SshKey is Ready.";
        RecipientUnsupported [ApiKey] AwaitsSomebody:
            "The SshKey that `spec.delivery.sealedTo` names is of a type that age cannot encrypt to.",
            "Declare another ApiKey that names an SshKey of type `ssh-ed25519` or `ssh-rsa`.";
        InvalidAllowedCidrs [ApiKey] AwaitsSomebody:
            "An entry of `spec.allowedCidrs` is neither an address nor a CIDR; the message names it. The key is refused from everywhere, since an entry that was left out would change whom the list admits. Admission refuses it too.",
            "Correct the entry: `203.0.113.7`, `203.0.113.0/24` and `2001:db8::/32` are such.";
        InvalidPublicKey [SshKey] AwaitsSomebody:
            "`spec.publicKey` is not an SSH public key that Keyplane registers; the message says why. A private key is recognised, and never repeated.",
            "Delete the SshKey and create another with the content of the `.pub` file.";
        DuplicatePublicKey [SshKey] AwaitsSomebody:
            "An older SshKey, of whatever account, holds the same public key, whatever the comments are.",
            "Register another key.";
        LimitReached [Namespace, ApiKey, SshKey] AwaitsSomebody:
            "The account has as many as `spec.limits` of its Account allows (unset: 50 active API keys, 25 SSH keys, 10 namespaces); the oldest stay.",
            "Delete or revoke one that is no longer used, or have the limit raised. It becomes Ready by itself when there is room.";
        ChildConflict [Account, Namespace] AwaitsSomebody:
            "An object of a name that Keyplane needs exists in the account's namespace, and its label `keyplane.dev/owner-uid` names another owner. A key's objects are named after its UID and cannot be claimed so.",
            "Delete the object that the message names; Keyplane makes its own.";
        ApplyFailed [Account, Namespace, ApiKey] Passes:
            "The API server refused an object that is needed; its own words are in the message. It is tried again, after about 50 ms at first and about every 30 s at last.",
            "Mend what the message names: an admission policy, a webhook, a quota, or Keyplane's own rights ([permissions](permissions.md)).";
    }
}

reasons! {
    /// Why an `ApiKey` is `Unused` or not. It takes nothing from the key.
    UnusedReason {
        InUse [ApiKey] Holds:
            "The key was used, or made, within the last 90 days. `status.usage` tells when it was last used.",
            "Nothing.";
        Unused [ApiKey] AwaitsSomebody:
            "The key was not used for 90 days, or was made 90 days ago and never used. It still works.",
            "Revoke or delete the key if nobody needs it: what does not exist cannot be stolen.";
    }
}

reasons! {
    /// Why an Account is `WithinLimits` or not. It takes nothing from the account.
    LimitsReason {
        WithinLimits [Account] Holds:
            "The account has no more live API keys, SSH keys and namespaces than `spec.limits` allows.",
            "Nothing.";
        LimitExceeded [Account] AwaitsSomebody:
            "A limit was lowered below what the account has already; the message says which, and by how many. API keys that are live and namespaces that stand stay so, of SSH keys only the oldest; nothing is added until the account is below the limit.",
            "Delete or revoke what is no longer used, or raise the limit.";
    }
}
