//! What is written to the audit log: each event's stable code and `CloudEvents` type, when it is written, and with what.
//!
//! A code is a letter for what it is about, a number, and `I` for a success or `W` for a failure, as Teleport's are.
//! Codes are never given a new meaning.

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done; the code ends in `I`.
    Success,
    /// It was refused or failed; the code ends in `W`.
    Failure,
}

impl Outcome {
    /// The word in the documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// Declares the fields of `data`.
macro_rules! fields {
    ($($field:ident $name:literal: $meaning:literal;)+) => {
        /// A field of an event's `data`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(
                #[doc = $meaning]
                $field
            ),+
        }

        impl Field {
            /// Every field.
            pub const ALL: [Self; [$(stringify!($field)),+].len()] = [$(Self::$field),+];

            /// Its name in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$field => $name),+ }
            }

            /// What it holds, in Markdown.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$field => $meaning),+ }
            }
        }
    };
}

fields! {
    Account "account": "The account's name.";
    Id "id": "The resource's `metadata.uid`; a key's id.";
    Name "name": "The resource's name.";
    Reason "reason": "Why, as one word: of a refusal, a requested change or a lock from the lists below, else a reason of [conditions](conditions.md).";
    Message "message": "Why, for a person; at most 1024 characters.";
    Actor "actor": "Who asked for it, as far as the resource tells: `manager`, the field manager that last wrote its `spec`, `user`, where Keyplane's API authenticated one, and `key`, the id of the ApiKey that was presented to it for the change.";
    Address "address": "The client's address. In a repeated event of an IPv6 client, its network of 64 bits.";
    AddressSource "addressSource": "How the address was learnt: `connection`, `x-forwarded-for`, `forwarded`, `proxy-protocol` or `ext-authz` (Envoy's word).";
    TokenId "tokenId": "The `jti` of the token that was issued.";
    Version "version": "Which version of the key, from 1; each rotation makes another.";
    Generation "generation": "`from` and `to`: the generations of the resource's `spec`.";
    Repeated "repeated": "`count` and `since`: how many such failures this line stands for, and since when.";
}

/// Declares the codes.
macro_rules! codes {
    ($($code:ident $text:literal $type_:literal $outcome:ident [$($field:ident),*]: $meaning:literal;)+) => {
        /// What an event is about, and how it ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(
                #[doc = $meaning]
                $code
            ),+
        }

        impl Code {
            /// Every code, as they are declared.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$code),+];

            /// The stable code, such as `K1020I`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text),+ }
            }

            /// The `CloudEvents` `type`, such as `dev.keyplane.apikey.exchanged`.
            #[must_use]
            pub fn event_type(self) -> &'static str {
                match self { $(Self::$code => concat!("dev.keyplane.", $type_)),+ }
            }

            /// How it ended.
            #[must_use]
            pub fn outcome(self) -> Outcome {
                match self { $(Self::$code => Outcome::$outcome),+ }
            }

            /// When it is written, in Markdown.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning),+ }
            }

            /// The fields of `data` that it may have besides `code`.
            #[must_use]
            pub fn fields(self) -> &'static [Field] {
                match self { $(Self::$code => &[$(Field::$field),*]),+ }
            }
        }
    };
}

codes! {
    KeyDeclared "K1000I" "apikey.declared" Success [Account, Id, Name, Actor]:
        "An ApiKey was seen for the first time.";
    KeyChanged "K1001I" "apikey.changed" Success [Account, Id, Name, Actor, Generation]:
        "The `spec` of an ApiKey was changed.";
    KeyDeleted "K1002I" "apikey.deleted" Success [Account, Id, Name]:
        "An ApiKey was deleted, and all that the key was given is gone.";
    KeyReady "K1003I" "apikey.ready" Success [Account, Id, Name, Reason, Message]:
        "A key can be used from now on.";
    KeyNotReady "K1003W" "apikey.notready" Failure [Account, Id, Name, Reason, Message]:
        "A key cannot be used, or for another reason than before. That a new key is still being set up is not written.";
    KeyIssued "K1010I" "apikey.issued" Success [Account, Id, Name, Version]:
        "Keyplane made a version of a key and delivered it: to the Secret, or sealed into the status.";
    KeyIssueFailed "K1010W" "apikey.issue.failed" Failure [Account, Id, Name, Reason, Message]:
        "Keyplane cannot deliver a key that it is to make.";
    KeyExchanged "K1020I" "apikey.exchanged" Success [Account, Id, Name, Address, AddressSource, TokenId, Version]:
        "A key was exchanged for a cluster token. Written before the token is answered; not again when its holder shows it and is told to go on with it.";
    ExchangeRefused "K1020W" "apikey.exchange.refused" Failure [Account, Id, Name, Reason, Message, Address, AddressSource, Version, Repeated]:
        "A use of a key was refused: an exchange, a verification, or a call of the API. Without `id`, no ApiKey has the digest of what was presented.";
    AddressDenied "K1021W" "apikey.address.denied" Failure [Account, Id, Name, Reason, Message, Address, AddressSource, Version, Repeated]:
        "A whole, live key was used from an address outside its `spec.allowedCidrs`.";
    KeyLocked "K1030W" "apikey.locked" Failure [Account, Id, Name, Reason, Message, Address]:
        "A key was locked, and what it was given is taken away.";
    KeyUnlocked "K1030I" "apikey.unlocked" Success [Account, Id, Name, Actor]:
        "A key's lock was lifted.";
    KeyRotated "K1040I" "apikey.rotated" Success [Account, Id, Name, Actor, Version]:
        "Another version of a key verifies from now on; the one before ends, at once or after its grace.";
    KeyExpired "K1050I" "apikey.expired" Success [Account, Id, Name, Reason, Message]:
        "A key's time is over.";
    KeyRevoked "K1051I" "apikey.revoked" Success [Account, Id, Name, Reason, Message, Actor]:
        "A key was revoked.";
    DigestRemembered "K1052I" "apikey.digest.remembered" Success [Account, Id, Name, Version]:
        "The digest of a version that was revoked or rotated out is remembered, so that it never verifies again.";
    SshKeyRegistered "S1000I" "sshkey.registered" Success [Account, Id, Name, Reason, Message]:
        "An SSH key stands from now on.";
    SshKeyRefused "S1000W" "sshkey.refused" Failure [Account, Id, Name, Reason, Message]:
        "An SSH key is not registered, or for another reason than before.";
    NamespaceReady "N1000I" "namespace.ready" Success [Account, Id, Name, Reason, Message]:
        "A Namespace is provisioned.";
    NamespaceNotReady "N1000W" "namespace.notready" Failure [Account, Id, Name, Reason, Message]:
        "A Namespace is not provisioned, or for another reason than before.";
    AccountReady "A1000I" "account.ready" Success [Account, Id, Name, Reason, Message]:
        "An Account is provisioned.";
    AccountNotReady "A1000W" "account.notready" Failure [Account, Id, Name, Reason, Message]:
        "An Account is not provisioned, or for another reason than before.";
    ChangeRequested "H1000I" "api.change.requested" Success [Account, Id, Name, Reason, Actor, Address, AddressSource]:
        "Somebody who may asked the HTTP API for a change, named by `reason`. Written before the change is made; without `id` when it makes the resource.";
    AccessRefused "H1000W" "api.access.refused" Failure [Account, Id, Name, Reason, Message, Actor, Address, AddressSource, Repeated]:
        "A call of the account API was refused. In a repeated event the callers are not told apart.";
    AuditLogStarted "L1000I" "auditlog.started" Success [Message]:
        "A process of Keyplane began to write. What was counted but not yet written before that is lost, where the process did not end in good order.";
}
