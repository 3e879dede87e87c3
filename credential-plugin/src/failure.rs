//! How the plugin fails: one line on stderr and an exit code of its own for each kind.

use std::fmt;
use std::time::Duration;

use crate::secret_text::without_keys;
use crate::visible_text::is_hidden;

/// Characters of each part of a failure's line: a hostile answer must not fill the terminal, nor push out the rest.
const PART_MAX: usize = 400;

/// What kind of thing went wrong. The discriminant is the process's exit code, which never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// The output could not be written, or the system gave no randomness; or `doctor` found a problem.
    Local = 1,
    /// The arguments or `KUBERNETES_EXEC_INFO` cannot be used as they are.
    Usage = 2,
    /// There is no usable key: none given, unreadable, readable by others, or mistyped.
    NoKey = 3,
    /// The exchange refused the key (401).
    Refused = 4,
    /// The key is good but may not do this (403).
    Forbidden = 5,
    /// No answer from the exchange: its name, the connection, or the time limit.
    Unreachable = 6,
    /// The exchange's certificate or the TLS handshake.
    Tls = 7,
    /// The exchange answered something that is no token.
    Server = 8,
    /// The exchange asked to come back later (429, 503).
    Busy = 9,
    /// The token's remaining life is too short to be handed out.
    ShortLived = 10,
    /// A file could not be read or written.
    File = 11,
    /// The key is locked after uses from addresses outside its list (403 `key_locked`).
    Locked = 12,
    /// The key has ended (401 `api_key_expired`).
    Expired = 13,
    /// kubectl is missing, or the API server refused what it was asked through kubectl.
    Kubectl = 14,
}

impl FailureKind {
    /// Every kind, in the order of their exit codes.
    pub const ALL: [Self; 14] = [
        Self::Local,
        Self::Usage,
        Self::NoKey,
        Self::Refused,
        Self::Forbidden,
        Self::Unreachable,
        Self::Tls,
        Self::Server,
        Self::Busy,
        Self::ShortLived,
        Self::File,
        Self::Locked,
        Self::Expired,
        Self::Kubectl,
    ];

    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

/// A failure as a person reads it: what is wrong, where, and what to do.
///
/// Its [`Display`](fmt::Display) is always exactly one line without control characters, of bounded length, and shows
/// no key, whatever went into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    what: String,
    place: String,
    remedy: String,
    asked_pause: Option<Duration>,
    is_reader_gone: bool,
}

impl Failure {
    /// A failure of this kind: what is wrong, where (empty when it is nowhere in particular), and what to do.
    pub fn new(
        kind: FailureKind,
        what: impl Into<String>,
        place: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            place: place.into(),
            remedy: remedy.into(),
            asked_pause: None,
            is_reader_gone: false,
        }
    }

    /// The output could not be written.
    #[must_use]
    pub fn output(error: &std::io::Error) -> Self {
        let failure = Self::new(
            FailureKind::Local,
            format!("the output cannot be written: {error}"),
            "standard output",
            "check where it goes and run the command again",
        );
        Self { is_reader_gone: error.kind() == std::io::ErrorKind::BrokenPipe, ..failure }
    }

    /// Whether whoever read the output has read enough, as `head` does: then nobody needs to be told.
    #[must_use]
    pub const fn is_reader_gone(&self) -> bool {
        self.is_reader_gone
    }

    /// The same failure, with one more thing that may help.
    #[must_use]
    pub fn or_else_do(mut self, remedy: &str) -> Self {
        self.remedy.push_str(", ");
        self.remedy.push_str(remedy);
        self
    }

    /// The same failure of an exchange that asked not to be asked again before this time has passed.
    #[must_use]
    pub const fn asking_for_a_pause(mut self, pause: Option<Duration>) -> Self {
        self.asked_pause = pause;
        self
    }

    /// How long the exchange asked not to be asked again.
    #[must_use]
    pub const fn asked_pause(&self) -> Option<Duration> {
        self.asked_pause
    }

    /// What is wrong, where, and what to do, each as it stands in the line: no key, no control character, bounded.
    #[must_use]
    pub fn parts(&self) -> [String; 3] {
        [&self.what, &self.place, &self.remedy].map(|part| in_line(part))
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_line(&self.what))?;
        if !self.place.is_empty() {
            write!(f, " ({})", in_line(&self.place))?;
        }
        write!(f, "; {}", in_line(&self.remedy))
    }
}

/// A part as it may stand in the line. Keys go before the rest is cut, or a cut key would no longer look like one.
fn in_line(part: &str) -> String {
    let seen = |word: &str| word.chars().filter(|&c| !is_hidden(c)).collect::<String>();
    let words = part.split(|c: char| c.is_control() || c.is_whitespace()).map(seen);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    without_keys(&words.join(" ")).chars().take(PART_MAX).collect()
}

impl std::error::Error for Failure {}
