//! What somebody asks the HTTP API to change, as one word.

use crate::readiness::ResourceKind;

/// Declares the changes.
macro_rules! changes {
    ($($change:ident $kind:ident: $meaning:literal;)+) => {
        /// A change that the HTTP API makes for somebody.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RequestedChange {
            $(
                #[doc = $meaning]
                $change
            ),+
        }

        impl RequestedChange {
            /// Every change.
            pub const ALL: [Self; [$(stringify!($change)),+].len()] = [$(Self::$change),+];

            /// The word in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$change => stringify!($change)),+ }
            }

            /// What it means, in Markdown.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$change => $meaning),+ }
            }

            /// The kind of resource that is changed.
            #[must_use]
            pub fn kind(self) -> ResourceKind {
                match self { $(Self::$change => ResourceKind::$kind),+ }
            }
        }
    };
}

changes! {
    CreateApiKey ApiKey: "An API key is to be made.";
    UpdateApiKey ApiKey: "A key's name, scopes, expiry or addresses are to be changed.";
    RevokeApiKey ApiKey: "A key is to be revoked.";
    RotateApiKey ApiKey: "Another version of a key is to be made.";
    UnlockApiKey ApiKey: "A key's lock is to be lifted.";
    DeleteApiKey ApiKey: "An ApiKey is to be deleted.";
    CreateNamespace Namespace: "A namespace is to be made.";
    DeleteNamespace Namespace: "A namespace is to be deleted.";
    CreateSshKey SshKey: "An SSH key is to be registered.";
    MakeSshKeyDefault SshKey: "An SSH key is to be the account's default.";
    DeleteSshKey SshKey: "An SSH key is to be deleted.";
}
