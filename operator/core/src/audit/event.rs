//! An event's form: `CloudEvents` 1.0 in JSON, on one line whatever its texts hold.

use std::fmt::Write as _;
use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::aggregation::Network;
use super::code::Code;
use super::subject::{Actor, Subject};
use super::token_id::TokenId;
use crate::client_address::ClientAddress;

/// How many characters of a text are written.
const LONGEST_TEXT: usize = 1024;
/// How many bytes an id has.
const ID_BYTES: usize = 16;

/// An event's id: with its source, the same for the same event and for no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);

impl EventId {
    /// An id of random bytes, for what happens and leaves no object behind.
    #[must_use]
    pub fn random(bytes: [u8; ID_BYTES]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The id of a change to the object of this UID; the same when the change is written twice, as after a crash
    /// between the line and the object's status. `state` tells apart the changes of one code.
    #[must_use]
    pub fn of_change(uid: &str, code: Code, state: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [uid, code.as_str(), state] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; ID_BYTES];
        for (byte, hashed) in bytes.iter_mut().zip(hash.finalize()) {
            *byte = hashed;
        }
        Self::random(bytes)
    }

    /// The id's text: lower-case hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which process tells (the `CloudEvents` `source`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The reconcilers.
    #[must_use]
    pub fn controller() -> Self {
        Self("keyplane/controller".to_owned())
    }

    /// A replica of the HTTP API, by its host's name; what cannot stand in a URI becomes `-`.
    #[must_use]
    pub fn api(instance: &str) -> Self {
        let plain = |character: char| {
            if character.is_ascii_alphanumeric() || "-._".contains(character) { character } else { '-' }
        };
        let instance: String = instance.chars().take(253).map(plain).collect();
        Self(format!("keyplane/api/{instance}"))
    }
}

/// The generations of a `spec` that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GenerationChange {
    /// The one that was answered last.
    pub from: i64,
    /// The one that is answered now.
    pub to: i64,
}

/// That one line stands for several failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// How many.
    pub count: u64,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// One event of the audit log.
///
/// Nothing here is taken from a request's headers or body but the client's address, which has a type of its own: a key
/// cannot get in.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    code: Code,
    source: Source,
    id: EventId,
    time: DateTime<Utc>,
    subject: Option<Subject>,
    reason: Option<String>,
    message: Option<String>,
    actor: Option<Actor>,
    address: Option<String>,
    address_source: Option<&'static str>,
    token_id: Option<TokenId>,
    version: Option<u32>,
    generation: Option<GenerationChange>,
    repeated: Option<Repeated>,
}

impl AuditEvent {
    /// An event that says no more than what happened and when.
    #[must_use]
    pub fn new(code: Code, source: Source, id: EventId, time: DateTime<Utc>) -> Self {
        Self {
            code,
            source,
            id,
            time,
            subject: None,
            reason: None,
            message: None,
            actor: None,
            address: None,
            address_source: None,
            token_id: None,
            version: None,
            generation: None,
            repeated: None,
        }
    }

    /// With the resource that it is about, where there is one.
    #[must_use]
    pub fn about(self, subject: Option<Subject>) -> Self {
        Self { subject, ..self }
    }

    /// With why it happened, as one word and in words.
    #[must_use]
    pub fn because(self, reason: Option<&str>, message: Option<&str>) -> Self {
        Self { reason: reason.map(shortened), message: message.map(shortened), ..self }
    }

    /// With who asked for it.
    #[must_use]
    pub fn by(self, actor: Option<Actor>) -> Self {
        let shorten = |text: Option<String>| text.as_deref().map(shortened);
        let actor = actor.map(|actor| Actor {
            manager: shorten(actor.manager),
            user: shorten(actor.user),
            key: shorten(actor.key),
        });
        Self { actor, ..self }
    }

    /// With where the request came from, where that is known.
    #[must_use]
    pub fn asked_from(self, client: Option<ClientAddress>) -> Self {
        let address = client.map(|client| client.ip.to_string());
        Self { address, address_source: client.map(|client| client.source.as_str()), ..self }
    }

    /// With an address whose request is not at hand any more, such as that of a lock.
    pub(super) fn caused_from(self, address: Option<IpAddr>) -> Self {
        Self { address: address.map(|address| address.to_canonical().to_string()), ..self }
    }

    /// With the network that several requests came from.
    pub(super) fn asked_from_network(self, network: Option<&Network>) -> Self {
        let address = network.map(ToString::to_string);
        Self { address, address_source: network.map(Network::source), ..self }
    }

    /// With the token that was issued.
    #[must_use]
    pub fn with_token(self, token_id: Option<TokenId>) -> Self {
        Self { token_id, ..self }
    }

    /// With the version of the key.
    #[must_use]
    pub fn with_version(self, version: Option<u32>) -> Self {
        Self { version, ..self }
    }

    /// With the generations of the changed `spec`.
    #[must_use]
    pub fn with_generation(self, generation: Option<GenerationChange>) -> Self {
        Self { generation, ..self }
    }

    /// Standing for several.
    pub(super) fn standing_for(self, repeated: Repeated) -> Self {
        Self { repeated: Some(repeated), ..self }
    }

    /// What it is about, and how it ended.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The event as one line of JSON, its line end included.
    #[must_use]
    pub fn line(&self) -> String {
        let subject = self.subject.as_ref();
        let form = Form {
            specversion: "1.0",
            id: self.id.as_str(),
            source: &self.source.0,
            type_: self.code.event_type(),
            time: milliseconds(self.time),
            subject: subject.map(Subject::reference),
            datacontenttype: "application/json",
            data: Data {
                code: self.code.as_str(),
                account: subject.and_then(Subject::account),
                // A resource that is to be made has none yet.
                id: subject.map(Subject::uid).filter(|uid| !uid.is_empty()),
                name: subject.map(Subject::name),
                reason: self.reason.as_deref(),
                message: self.message.as_deref(),
                actor: self.actor.as_ref(),
                address: self.address.as_deref(),
                address_source: self.address_source,
                token_id: self.token_id.as_ref().map(TokenId::as_str),
                version: self.version,
                generation: self.generation,
                repeated: self.repeated.map(|repeated| RepeatedForm {
                    count: repeated.count,
                    since: milliseconds(repeated.since),
                }),
            },
        };
        // Strings and numbers under string keys: there is nothing in it that JSON cannot hold.
        let mut line = on_one_line(&serde_json::to_string(&form).unwrap_or_default());
        line.push('\n');
        line
    }
}

/// `CloudEvents` 1.0, JSON event format.
#[derive(Serialize)]
struct Form<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    type_: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<GenerationChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<RepeatedForm>,
}

#[derive(Serialize)]
struct RepeatedForm {
    count: u64,
    since: String,
}

fn milliseconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The beginning of a text: a line stays short whatever an object holds.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => {
            format!("{}…", text.get(..end).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// JSON with every character escaped that some reader takes for the end of a line, or that makes a terminal show
/// something else than is there. JSON itself asks that only of the first 32; all of these are in strings, where `\u`
/// may stand for each.
fn on_one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() || is_invisible(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

/// Line and paragraph separators, and what changes the direction of writing (Unicode, `Bidi_Control`).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
