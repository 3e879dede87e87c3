//! What kubectl says when it fails: whether the cluster was changed all the same, and what helps.

use std::path::PathBuf;

use super::KubectlArgs;
use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::destination::Files;
use crate::typed_command::{self, word};

/// How the last error in kubectl's words begins; it may go on for several lines.
const BEGINNINGS: [&str; 6] = [
    "error: ",
    "error loading ",
    "Error ",
    "The ",
    "Unable to connect to the server",
    "You must be logged in",
];
/// Where kubectl looks for a cluster when nothing names one.
const NO_CLUSTER: &str = "localhost:8080";
const NO_FILE: &str = "there is no kubeconfig";
const NO_CONTEXT: &str = "no current context is set";

/// Whether kubectl failed because there is no kubeconfig, or no current context in it.
#[must_use]
pub fn has_no_context(failure: &Failure) -> bool {
    let [what, ..] = failure.parts();
    what.starts_with(NO_FILE) || what.starts_with(NO_CONTEXT)
}

/// The last error in kubectl's words.
pub(super) struct ErrorMessage {
    /// On one line.
    words: String,
    /// Whether it is the only one. What kubectl starts to log in speaks on the same standard error.
    is_only: bool,
}

impl ErrorMessage {
    pub(super) fn of(stderr: &[u8]) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let begins = |line: &&str| BEGINNINGS.iter().any(|beginning| line.starts_with(beginning));
        // What follows the API server's error is most often a part of it, whatever it looks like.
        let answer = lines.iter().rposition(|line| line.starts_with("Error from server"));
        let start =
            answer.or_else(|| lines.iter().rposition(begins)).unwrap_or(lines.len().saturating_sub(1));
        let words = lines.get(start..).unwrap_or_default().join(" ");
        let words = match words.strip_prefix("error: ").unwrap_or(&words) {
            "" => "it said nothing".to_owned(),
            words => words.to_owned(),
        };
        Self { words, is_only: lines.iter().filter(|line| begins(line)).count() <= 1 }
    }

    /// The API server's reason, as in `Error from server (Forbidden): ...`.
    fn reason(&self) -> Option<&str> {
        Some(self.words.strip_prefix("Error from server (")?.split_once(')')?.0)
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.reason() == Some("Conflict")
    }

    /// Whether the API server refused the change, or was not asked for it. Of several errors nobody knows which is about
    /// the change.
    pub(super) fn is_refusal(&self) -> bool {
        self.is_only && self.says_refused()
    }

    fn says_refused(&self) -> bool {
        const REASONS: [&str; 5] = ["Forbidden", "NotFound", "BadRequest", "Invalid", "MethodNotAllowed"];
        const BEFORE_THE_REQUEST: [&str; 8] = [
            "You must be logged in to the server",
            "Error in configuration",
            "error loading config file",
            "context \"",
            // A kubeconfig that is not there, on Unix and on Windows.
            "stat ",
            "CreateFile ",
            "GetFileAttributesEx ",
            "resource mapping not found",
        ];
        let words = &self.words;
        self.reason().is_some_and(|reason| REASONS.contains(&reason))
            || BEFORE_THE_REQUEST.iter().any(|beginning| words.starts_with(beginning))
            || (words.starts_with("The ") && words.contains(" is invalid"))
            || words.contains("no matches for kind")
    }

    /// The same of kubectl create. It asks for other things first, and of a request to make something it says so: what
    /// fails before that was not sent. kubectl patch does not tell the two apart, and repeats a request whose answer it
    /// did not like.
    pub(super) fn is_refusal_to_create(&self) -> bool {
        let words = &self.words;
        let is_unreached = words.contains("connection refused")
            || words.contains(" was refused - did you specify")
            || words.contains("no such host");
        self.is_only
            && (self.says_refused()
                || words.starts_with("error validating ")
                || (is_unreached && !words.contains("error when creating")))
    }

    /// The failure. What is wrong with the kubeconfig is told in words of its own.
    pub(super) fn failure(self, args: &KubectlArgs) -> Failure {
        let failure =
            |what: String, remedy: &str| Failure::new(FailureKind::Kubectl, what, "kubectl", remedy);
        let Self { words, .. } = self;
        if let Some((what, remedy)) = without_context(&words, args) {
            return failure(what, &remedy);
        }
        let named = [
            "cannot locate context ",
            "Error in configuration: context was not found for specified context: ",
        ];
        if let Some(name) = named.iter().find_map(|beginning| words.strip_prefix(beginning)) {
            let (contexts, choose) = (contexts(args), choose(args));
            return failure(
                format!("there is no context {name} in the kubeconfig"),
                &format!("choose one of {contexts} with --context NAME, or for good with: {choose}"),
            );
        }
        let remedy = remedy(&words);
        failure(words, remedy)
    }
}

/// What is wrong, and what helps, where there is no kubeconfig or no current context.
fn without_context(words: &str, args: &KubectlArgs) -> Option<(String, String)> {
    let no_cluster = words.contains(NO_CLUSTER) && words.contains("refused") && args.context.is_none();
    let no_context = words.contains("current-context must exist");
    let no_such_file = args.kubeconfig.as_ref().is_some_and(|path| !path.exists());
    let no_such_context = words.contains("cannot locate context") || words.contains("context was not found");
    if !(no_cluster || no_context || no_such_file || no_such_context) {
        return None;
    }
    let files = files(args)?;
    if !files.iter().any(|file| file.exists()) {
        let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let (make, other) = args.kubeconfig.as_ref().map_or_else(
            || ("--merge".to_owned(), "name yours with --kubeconfig FILE"),
            |path| {
                (format!("--merge-into {}", word(&path.to_string_lossy())), "give --kubeconfig another file")
            },
        );
        return Some((
            format!("{NO_FILE} at {}", paths.join(" or ")),
            format!("{other}, or make one with: kubectl-keyplane kubeconfig {make} --server URL"),
        ));
    }
    let has_current = || args.attempt(&["config", "current-context"], None).is_ok_and(|ended| ended.is_ok());
    let is_unset = no_context || (no_cluster && !has_current());
    is_unset.then(|| {
        let (contexts, choose) = (contexts(args), choose(args));
        (
            NO_CONTEXT.to_owned(),
            format!("choose one of {contexts} with --context NAME, or for good with: {choose}"),
        )
    })
}

/// The files of the kubeconfig; none when nothing says where it is.
fn files(args: &KubectlArgs) -> Option<Vec<PathBuf>> {
    let files = Files::named(args.kubeconfig.as_deref());
    Some(files.ok()?.paths().to_vec())
}

fn contexts(args: &KubectlArgs) -> String {
    typed_command::kubectl("config get-contexts", &kubeconfig_of(args))
}

fn choose(args: &KubectlArgs) -> String {
    typed_command::kubectl("config use-context NAME", &kubeconfig_of(args))
}

fn kubeconfig_of(args: &KubectlArgs) -> KubectlArgs {
    KubectlArgs { kubeconfig: args.kubeconfig.clone(), ..KubectlArgs::default() }
}

/// What helps against what kubectl said. The words in brackets are the API server's reasons.
fn remedy(words: &str) -> &'static str {
    if words.contains("(NotFound)") {
        "check the name, and give its account's home namespace with --namespace"
    } else if words.contains("(Forbidden)") {
        "ask an owner of the account; kubectl auth can-i --list shows what you may do"
    } else if words.contains("(AlreadyExists)") {
        "choose another name"
    } else if words.contains("is invalid") {
        "mend what the message names, and run the command again"
    } else if words.starts_with("error loading config file") {
        if words.contains("permission denied") || words.contains("Access is denied") {
            "make the file readable for you, or name another with --kubeconfig FILE"
        } else {
            "mend the file, or name another with --kubeconfig FILE"
        }
    } else if words.starts_with("cannot locate ") {
        "mend the kubeconfig's context, or choose another of kubectl config get-contexts with --context NAME"
    } else {
        "check the context with kubectl config current-context, and your rights with kubectl auth can-i"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> ErrorMessage {
        ErrorMessage::of(text.as_bytes())
    }

    #[test]
    fn only_what_is_certainly_not_made_counts_as_refused() {
        for words in [
            "Error from server (NotFound): namespaces \"acmee\" not found",
            "Error from server (Forbidden): error when creating \"STDIN\": apikeys.keyplane.dev is forbidden",
            "error: You must be logged in to the server (Unauthorized)",
            "The ApiKey \"ci\" is invalid: spec.scope: Invalid value",
            "The ApiKey \"ci\" is invalid: \n* spec.scope: Invalid value\n* spec.digest: Required value",
            "context \"nowhere\" does not exist",
            "error: resource mapping not found for name: \"ci\": no matches for kind \"ApiKey\"\nensure CRDs are installed first",
        ] {
            assert!(said(words).is_refusal() && said(words).is_refusal_to_create(), "{words}");
        }
        for words in [
            "E1 memcache.go:265] connection refused\nThe connection to the server localhost:6443 was refused - did you specify the right host or port?",
            "error: error validating \"STDIN\": failed to download openapi: Get \"https://x\": dial tcp: connection refused",
        ] {
            assert!(said(words).is_refusal_to_create(), "{words}");
            assert!(!said(words).is_refusal(), "a change may have been sent before: {words}");
        }
        for words in [
            "unexpected EOF",
            "Error from server (Timeout): etc",
            "Error from server (InternalError): said \"(Forbidden)\"\nThe ApiKey \"ci\" is invalid",
            "error: error when creating \"STDIN\": Post \"https://x\": dial tcp: connect: connection refused",
            "context deadline exceeded",
            "",
            // The first one may be of a program that logs in.
            "Error from server (Forbidden): secrets \"vault\" is forbidden\nUnable to connect to the server: unexpected EOF",
            "Unable to connect to the server: unexpected EOF\nError from server (Forbidden): no",
        ] {
            assert!(!said(words).is_refusal() && !said(words).is_refusal_to_create(), "{words}");
        }
    }

    #[test]
    fn an_error_of_several_lines_is_told_whole_and_what_came_before_it_is_not() {
        for (stderr, words) in [
            ("Warning: old\nerror: no\n", "no"),
            ("The ApiKey \"ci\" is invalid: \n* a\n* b\n", "The ApiKey \"ci\" is invalid: * a * b"),
            ("one\ntwo\n", "two"),
            ("\n", "it said nothing"),
        ] {
            assert_eq!(said(stderr).words, words);
        }
    }
}
