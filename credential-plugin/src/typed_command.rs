//! Commands that a person is told to type. They go to the same cluster and namespace as the command that tells them.

use crate::kubectl::KubectlArgs;

/// A command of this program, such as `apikeys list`.
#[must_use]
pub fn keyplane(words: &str, args: &KubectlArgs) -> String {
    format!("kubectl-keyplane {words}{}", as_typed(args))
}

/// A command of kubectl, such as `get apikey ci`.
#[must_use]
pub fn kubectl(words: &str, args: &KubectlArgs) -> String {
    format!("kubectl {words}{}", as_typed(args))
}

/// The same cluster, and this namespace where none was given.
#[must_use]
pub fn at_home(args: &KubectlArgs, home: &str) -> KubectlArgs {
    let namespace = args.namespace.clone().or_else(|| (!home.is_empty()).then(|| home.to_owned()));
    KubectlArgs { namespace, ..args.clone() }
}

/// The flags as they were given, each with a blank before it.
fn as_typed(args: &KubectlArgs) -> String {
    let path = args.kubeconfig.as_ref().map(|path| path.display().to_string());
    let flags = [("-n", &args.namespace), ("--context", &args.context), ("--kubeconfig", &path)];
    let given = flags.iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
    given
        .flat_map(|(flag, value)| [" ".to_owned(), (*flag).to_owned(), " ".to_owned(), word(value)])
        .collect()
}

/// Where a list was looked for, to end a sentence: what belongs to an account stands in its home namespace alone.
#[must_use]
pub fn looked_in(args: &KubectlArgs, all_namespaces: bool) -> String {
    if all_namespaces {
        return "any namespace".to_owned();
    }
    let namespace = args.namespace.clone().unwrap_or_else(|| {
        let path = "--output=jsonpath={.contexts[0].context.namespace}";
        let printed = args.run(&["config", "view", "--minify", path], None);
        let text = printed.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default();
        // As kubectl has it.
        if text.is_empty() { "default".to_owned() } else { text }
    });
    format!("namespace {namespace}; where it is not the account's home namespace, give that with -n")
}

/// One word of a shell, whatever is in it.
#[must_use]
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || platform::PLAIN.contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { platform::quoted(text) }
}

#[cfg(not(windows))]
mod platform {
    /// What stands for itself, besides letters and digits.
    pub(super) const PLAIN: &str = "-_./:@%+,=";

    pub(super) fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(windows)]
mod platform {
    /// What stands for itself in PowerShell and in `cmd`, besides letters and digits.
    pub(super) const PLAIN: &str = r"-_./:\+~";

    /// Both understand double quotes, as long as nothing within means something to one of them; single quotes are PowerShell's.
    pub(super) fn quoted(text: &str) -> String {
        if text.contains(['"', '$', '`', '%', '!']) {
            format!("'{}'", text.replace('\'', "''"))
        } else {
            format!("\"{text}\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_where_the_one_before_it_went() {
        let args = KubectlArgs {
            kubeconfig: Some("/tmp/my config".into()),
            context: Some("admin@kind".to_owned()),
            namespace: Some("acme".to_owned()),
        };
        let flags = if cfg!(windows) {
            "-n acme --context \"admin@kind\" --kubeconfig \"/tmp/my config\""
        } else {
            "-n acme --context admin@kind --kubeconfig '/tmp/my config'"
        };
        assert_eq!(keyplane("apikeys list", &args), format!("kubectl-keyplane apikeys list {flags}"));
        assert_eq!(kubectl("get apikey ci", &args), format!("kubectl get apikey ci {flags}"));
        let none = KubectlArgs::default();
        assert_eq!(keyplane("reveal ci", &none), "kubectl-keyplane reveal ci");
        assert_eq!(keyplane("reveal ci", &at_home(&none, "acme")), "kubectl-keyplane reveal ci -n acme");
        assert_eq!(at_home(&args, "globex").namespace.as_deref(), Some("acme"));
        let quoted = if cfg!(windows) { r#""it's; rm""# } else { r"'it'\''s; rm'" };
        assert_eq!(word("it's; rm"), quoted);
        assert_eq!(word("it's $x"), if cfg!(windows) { "'it''s $x'" } else { r"'it'\''s $x'" });
        assert_eq!(word(r"C:\x"), if cfg!(windows) { r"C:\x" } else { r"'C:\x'" });
    }
}
