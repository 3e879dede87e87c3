//! What the next word may be: a command, an option, a value, or the name of an object that kubectl knows.

use clap::{Arg, Command, CommandFactory as _, ValueHint};

use crate::cli::Cli;
use crate::kubectl::KubectlArgs;
use crate::resources::{api_key, ssh_key};

/// How long the API server may take: a person waits with a finger on the key.
const PATIENCE: &str = "--request-timeout=2s";

/// What may stand there.
#[derive(Debug, Default)]
pub struct Candidates {
    /// The words that begin as what was typed.
    pub offered: Vec<Candidate>,
    /// Whether it may be a file.
    pub files: bool,
}

/// A word, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub word: String,
    /// One line, or nothing.
    pub description: String,
}

/// What was typed before the word that is to be completed.
#[derive(Default)]
struct Typed {
    /// The names of the commands.
    path: Vec<String>,
    /// How many positional arguments of the last command.
    positionals: usize,
    /// Which cluster and namespace.
    kubectl: KubectlArgs,
}

/// What the last of the words may be.
#[must_use]
pub fn candidates(words: &[String]) -> Candidates {
    let Some((last, before)) = words.split_last() else { return Candidates::default() };
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    let mut typed = Typed::default();
    let mut awaiting: Option<&Arg> = None;
    let mut only_positionals = false;
    for word in before {
        if let Some(arg) = awaiting.take() {
            typed.note(arg, word);
        } else if word == "--" {
            only_positionals = true;
        } else if let Some((arg, value)) = option(command, word).filter(|_| !only_positionals) {
            match value {
                Some(value) => typed.note(arg, value),
                None if arg.get_action().takes_values() => awaiting = Some(arg),
                None => {}
            }
        } else if let Some(next) = command.find_subcommand(word) {
            typed.path.push(next.get_name().to_owned());
            command = next;
        } else {
            typed.positionals = typed.positionals.saturating_add(1);
        }
    }
    if let Some(arg) = awaiting {
        return values(arg, &typed, "", last);
    }
    if !only_positionals && last.starts_with('-') {
        return match option(command, last) {
            Some((arg, Some(value))) => {
                let before = last.strip_suffix(value).unwrap_or_default();
                values(arg, &typed, before, value)
            }
            _ => options(command, last),
        };
    }
    // After a word that is no command there is no command either.
    let mut found = if typed.positionals == 0 { subcommands(command, last) } else { Candidates::default() };
    if let Some(arg) = command.get_positionals().nth(typed.positionals) {
        let more = values(arg, &typed, "", last);
        found.offered.extend(more.offered);
        found.files = more.files;
    }
    found
}

impl Typed {
    fn note(&mut self, arg: &Arg, value: &str) {
        let value = value.to_owned();
        match arg.get_id().as_str() {
            "kubeconfig" => self.kubectl.kubeconfig = Some(value.into()),
            "context" => self.kubectl.context = Some(value),
            "namespace" => self.kubectl.namespace = Some(value),
            _ => {}
        }
    }
}

/// The option that a word names, and its value where that is in the same word.
fn option<'a, 'w>(command: &'a Command, word: &'w str) -> Option<(&'a Arg, Option<&'w str>)> {
    let mut args = command.get_arguments();
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return Some((args.find(|arg| arg.get_long() == Some(name))?, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let arg = args.find(|arg| arg.get_short() == Some(letter))?;
    let value = Some(letters.as_str()).filter(|value| !value.is_empty() && arg.get_action().takes_values());
    Some((arg, value))
}

fn subcommands(command: &Command, start: &str) -> Candidates {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    offer(shown.map(|command| (command.get_name().to_owned(), command.get_about())), start)
}

fn options(command: &Command, start: &str) -> Candidates {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    offer(shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg.get_help()))), start)
}

/// The values of an argument that begin so; each is offered with what stands before it in the same word.
fn values(arg: &Arg, typed: &Typed, before: &str, start: &str) -> Candidates {
    if let Some(names) = names(arg, typed) {
        return offer(
            names.into_iter().map(|name| (format!("{before}{name}"), None)),
            &format!("{before}{start}"),
        );
    }
    let possible = arg.get_possible_values();
    let shown = possible.iter().filter(|value| !value.is_hide_set());
    let named = shown.map(|value| (format!("{before}{}", value.get_name()), value.get_help()));
    let mut found = offer(named, &format!("{before}{start}"));
    found.files = matches!(
        arg.get_value_hint(),
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath | ValueHint::ExecutablePath
    );
    found
}

fn offer<'a>(
    named: impl Iterator<Item = (String, Option<&'a clap::builder::StyledStr>)>,
    start: &str,
) -> Candidates {
    let offered = named
        .filter(|(word, _)| word.starts_with(start))
        .map(|(word, about)| {
            let about = about.map(ToString::to_string).unwrap_or_default();
            // The backticks are for those who read the source.
            Candidate { word, description: about.lines().next().unwrap_or_default().replace('`', "") }
        })
        .collect();
    Candidates { offered, files: false }
}

/// The names of objects, where an argument asks for one.
fn names(arg: &Arg, typed: &Typed) -> Option<Vec<String>> {
    let path: Vec<&str> = typed.path.iter().map(String::as_str).collect();
    let asked: &[&str] = match (path.as_slice(), arg.get_id().as_str()) {
        (["apikeys", "rotate" | "revoke" | "unlock"] | ["reveal"], "name") => {
            &["get", api_key::RESOURCE, "--output=name"]
        }
        (["ssh-key", "remove"], "name") => &["get", ssh_key::RESOURCE, "--output=name"],
        (_, "context") => &["config", "get-contexts", "--output=name"],
        _ => return None,
    };
    // Who completes is not helped by a failure.
    let printed = typed.kubectl.run(&[asked, &[PATIENCE]].concat(), None).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    Some(
        printed.lines().map(|line| line.rsplit_once('/').map_or(line, |(_, name)| name).to_owned()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> (Vec<String>, bool) {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let found = candidates(&words);
        (found.offered.into_iter().map(|candidate| candidate.word).collect(), found.files)
    }

    #[test]
    fn commands_options_values_and_files_are_offered_where_they_may_stand() {
        let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (words, wanted, files) in [
            (&["apik"][..], strings(&["apikeys"]), false),
            (&["apikeys", "rev"], strings(&["revoke"]), false),
            (&["apikeys", "--verbose", "rev"], strings(&["revoke"]), false),
            (&["apikeys", "list", "-n", "acme", "--output=t"], strings(&["--output=table"]), false),
            (&["apikeys", "list", "--all"], strings(&["--all-namespaces"]), false),
            (&["apikeys", "list", "--output", ""], strings(&["table", "json"]), false),
            (&["apikeys", "list", "--output=j"], strings(&["--output=json"]), false),
            (&["apikeys", "list", "-o", "t"], strings(&["table"]), false),
            (&["completion", "z"], strings(&["zsh"]), false),
            (&["generate", "--key-out", ""], strings(&[]), true),
            (&["ssh-key", "add", ""], strings(&[]), true),
            (&["ssh-key", "add", "--", "-"], strings(&[]), true),
            (&["help", "apikeys", "rev"], strings(&["revoke"]), false),
            (&["help", "whoami", ""], strings(&[]), false),
            (&["no-such", "command", ""], strings(&[]), false),
            (&[], strings(&[]), false),
        ] {
            assert_eq!(offered(words), (wanted, files), "{words:?}");
        }
    }

    #[test]
    fn hidden_commands_are_not_offered_and_each_has_a_description() {
        let found = candidates(&[String::new()]);
        assert!(found.offered.iter().all(|candidate| !candidate.word.starts_with('_')));
        assert!(found.offered.iter().all(|candidate| !candidate.description.is_empty()));
        assert!(found.offered.iter().any(|candidate| candidate.word == "get-token"));
    }
}
