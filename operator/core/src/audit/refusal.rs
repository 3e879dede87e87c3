//! Why a request is refused, as one word: a fixed list, so that no client can put a word of its own into
//! the log, nor open more entries than there are.

use super::code::Code;

/// Declares the reasons.
macro_rules! refusals {
    ($($reason:ident: $meaning:literal;)+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalReason {
            $(
                #[doc = $meaning]
                $reason
            ),+
        }

        impl RefusalReason {
            /// Every reason.
            pub const ALL: [Self; [$(stringify!($reason)),+].len()] = [$(Self::$reason),+];

            /// The word in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason)),+ }
            }

            /// What it means, in Markdown.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$reason => $meaning),+ }
            }
        }
    };
}

refusals! {
    Malformed: "No key was presented, or more than one, or something that is none: its checksum is wrong.";
    Unknown: "A well-formed key was presented whose digest no ApiKey has.";
    Revoked: "The key was revoked.";
    Expired: "The key's time is over.";
    ExpiredAtCreation: "The key's time was over when it was declared.";
    Deleting: "The ApiKey is being deleted.";
    RotatedOut: "The key is a version that another has replaced.";
    Locked: "The key is locked.";
    AddressDenied: "The address is not among the key's `spec.allowedCidrs`.";
    InsufficientScope: "The key's scope does not include what was asked for.";
    ScopeWithoutKubernetes: "The key's scope does not reach Kubernetes.";
    NotReady: "The ApiKey is not Ready; its condition, and `K1003W`, tell why.";
    SettingUp: "The key's access is being set up.";
    InvalidRequest: "The request's body is not an ExecCredential.";
    ClusterUnavailable: "The cluster's API server issued no token.";
    MissingToken: "The account API was called without an access token, or with something that can be none.";
    InvalidToken: "The API server does not accept the access token.";
    NotEntitled: "RBAC does not let the caller do this in the account's home namespace.";
}

impl RefusalReason {
    /// The code of the event that tells of it.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::AddressDenied => Code::AddressDenied,
            Self::MissingToken | Self::InvalidToken | Self::NotEntitled => Code::AccessRefused,
            _ => Code::ExchangeRefused,
        }
    }
}
