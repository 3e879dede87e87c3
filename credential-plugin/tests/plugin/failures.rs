//! What holds of failures beyond the rows of the table in `failure_table`.

use chrono::TimeDelta;

use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn};

fn healthy() -> Reply {
    Reply::token(TimeDelta::minutes(10), TimeDelta::zero())
}

#[test]
fn not_ready_is_tried_again_until_it_is() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| {
        if count < 3 {
            Reply::problem(503, "The key's access is being set up").with("retry-after", "0")
        } else {
            healthy()
        }
    });
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 3);
}

#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let stage = Stage::new();
        let thief = StandIn::plain(|_| healthy());
        let location = format!("{}/v1/kubernetes/exec-credential", thief.url);
        let exchange = StandIn::tls(move |_| Reply::new(status, "").with("location", location.clone()));
        let line = failure(&stage.get_token(&exchange).output().unwrap(), 8);
        assert!(line.contains("redirect"), "{line}");
        assert!(thief.asked().is_empty(), "the key must not go elsewhere");
    }
}

#[test]
fn a_hostile_answer_cannot_break_the_line_or_show_the_key() {
    let stage = Stage::new();
    let detail = format!("bad\nnews\u{1b}[2J\u{9b}31m of {} {}", stage.key, "long ".repeat(2000));
    let exchange = StandIn::tls(move |_| Reply::problem(401, &detail));
    let line = failure(&stage.get_token(&exchange).output().unwrap(), 4);
    assert!(!line.trim_end().contains(char::is_control), "{line:?}");
    assert!(line.len() < 1000, "{}", line.len());
    assert!(!line.contains(&stage.key) && line.contains("kpk_[redacted]"), "{line}");
}

#[test]
fn a_certificate_for_another_name_and_a_server_without_tls_are_tls_failures() {
    let stage = Stage::new();
    let exchange = StandIn::tls_for("elsewhere.example", |_| healthy());
    failure(&stage.get_token(&exchange).output().unwrap(), 7);
    let mut plain = StandIn::plain(|_| healthy());
    plain.url = plain.url.replace("http://", "https://");
    failure(&stage.get_token(&plain).output().unwrap(), 7);
    assert!(exchange.asked().is_empty() && plain.asked().is_empty());
}

#[test]
fn a_ca_file_without_a_certificate_is_told() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| healthy());
    for (content, code) in
        [("", 11), ("no pem", 11), ("-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n", 7)]
    {
        let ca = stage.file("empty.pem", content, 0o644);
        let mut command = stage.plugin();
        command.env("KEYPLANE_API_KEY", &stage.key).args([
            "get-token",
            "--server",
            &exchange.url,
            "--certificate-authority",
            &ca,
        ]);
        failure(&command.output().unwrap(), code);
    }
}

#[test]
fn the_key_never_travels_in_clear_text_to_another_machine() {
    let stage = Stage::new();
    for url in [
        "http://exchange.example",
        "http://10.0.0.1:8080",
        "http://127.0.0.1.example",
        "http://[2001:db8::1]",
    ] {
        let mut command = stage.plugin();
        command.env("KEYPLANE_API_KEY", &stage.key).args(["get-token", "--server", url]);
        let line = failure(&command.output().unwrap(), 2);
        assert!(line.contains("clear text"), "{line}");
    }
}

#[test]
fn plain_http_to_this_machine_works_and_asks_no_proxy() {
    let stage = Stage::new();
    let (exchange, proxy) = (StandIn::plain(|_| healthy()), StandIn::plain(|_| healthy()));
    let output = stage.get_token(&exchange).env("ALL_PROXY", &proxy.url).output().unwrap();
    credential(&output);
    assert!(proxy.asked().is_empty());
}

#[test]
fn an_address_that_cannot_be_used_is_told() {
    let stage = Stage::new();
    for url in [
        "",
        "exchange.example",
        "ftp://x",
        "https://",
        "https://x/?q=1",
        "https://x/#f",
        "https:// x",
        "https://u:hunter2@x",
    ] {
        let mut command = stage.plugin();
        command.env("KEYPLANE_API_KEY", &stage.key).args(["get-token", "--server", url]);
        let line = failure(&command.output().unwrap(), 2);
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn wrong_arguments_are_one_line_that_shows_no_key() {
    let stage = Stage::new();
    for args in [
        vec!["no-such-command"],
        vec!["get-token", "--no-such-flag"],
        vec!["get-token", "--timeout", "0"],
        vec!["get-token", "--api-key", &stage.key],
        vec!["get-token", &stage.key],
        vec![&stage.key],
        vec!["kubeconfig"],
    ] {
        let line = failure(&stage.plugin().args(&args).output().unwrap(), 2);
        assert!(!line.contains(&stage.key), "{line}");
    }
}

#[test]
fn a_value_where_none_belongs_is_not_repeated_and_a_flag_is_named() {
    let stage = Stage::new();
    let body = stage.key.split_once('_').unwrap().1;
    let mistyped = format!("kpk-{body}");
    for pasted in [body, body.get(..39).unwrap(), body.get(1..).unwrap(), &mistyped] {
        for args in [
            vec![pasted],
            vec!["get-token", pasted],
            vec!["apikeys", pasted],
            vec!["apikeys", "revoke", "ci", pasted],
            vec!["kubeconfig", "--", pasted],
        ] {
            let line = failure(&stage.plugin().args(&args).output().unwrap(), 2);
            assert!(!line.contains(pasted) && line.contains("it is not repeated here; see "), "{line}");
        }
        let flag = format!("--verbose={pasted}");
        let line = failure(&stage.plugin().args(["get-token", &flag]).output().unwrap(), 2);
        assert!(!line.contains(pasted) && line.contains("--verbose"), "{line}");
        let flag = format!("--api-key={pasted}");
        let line = failure(&stage.plugin().args(["get-token", &flag]).output().unwrap(), 2);
        assert!(!line.contains(pasted) && line.contains("'--api-key'"), "{line}");
    }
    // Where a value belongs, what looks like a key is hidden.
    for pasted in [body, &mistyped] {
        let line = failure(&stage.plugin().args(["completion", pasted]).output().unwrap(), 2);
        assert!(!line.contains(body) && line.contains("[redacted]"), "{line}");
    }
}

#[test]
fn a_typo_is_answered_with_the_name_that_was_probably_meant() {
    let stage = Stage::new();
    for (typed, meant) in [
        (&["logn"][..], "did you mean login? see kubectl-keyplane --help"),
        (&["complet"], "did you mean completion? see kubectl-keyplane --help"),
        (&["apikeys", "lst"], "did you mean list? see kubectl-keyplane apikeys --help"),
        (&["whoami", "--sever", "x"], "did you mean --server? see kubectl-keyplane whoami --help"),
    ] {
        let line = failure(&stage.plugin().args(typed).output().unwrap(), 2);
        assert!(line.contains(meant), "{line}");
    }
}

#[test]
fn the_help_documents_each_exit_code_and_shows_no_key() {
    let stage = Stage::new();
    let help = |args: &[&str]| {
        let output = stage
            .plugin()
            .env("KEYPLANE_API_KEY", &stage.key)
            .env("KEYPLANE_URL", format!("https://x/{}", stage.key))
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(&stage.key));
        text
    };
    let text = help(&["--help"]);
    for kind in keyplane_credential_plugin::failure::FailureKind::ALL {
        let code = format!("{:4}  ", kind.exit_code());
        assert_eq!(text.lines().filter(|line| line.starts_with(&code)).count(), 1, "{kind:?}");
    }
    for command in ["get-token", "login", "logout", "whoami", "generate", "kubeconfig", "completion"] {
        assert!(help(&[command, "--help"]).contains("Examples:"), "{command}");
    }
    assert_eq!(help(&["--version"]), format!("kubectl-keyplane {}\n", env!("CARGO_PKG_VERSION")));
    assert!(help(&["completion", "bash"]).contains("get-token"));
}

#[test]
fn when_to_come_back_is_said_once() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| {
        Reply::problem(503, "This API key's access is being set up; try again in a moment")
            .with("retry-after", "99")
    });
    let line = failure(&stage.get_token(&exchange).output().unwrap(), 9);
    assert_eq!(line.matches("try again").count(), 1, "{line}");
    assert!(line.contains("being set up") && line.contains("try again in 99 s"), "{line}");
}

#[test]
fn without_a_command_the_help_is_shown_as_a_usage_error() {
    let output = Stage::new().plugin().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && text.contains("Usage:") && text.contains("\n  get-token"), "{text}");
}

#[test]
fn the_help_command_says_what_the_help_option_does() {
    let stage = Stage::new();
    let told = |args: &[&str]| {
        let output = stage.plugin().args(args).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (help, option) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "get-token"], &["get-token", "--help"]),
        (&["help", "apikeys", "list"], &["apikeys", "list", "--help"]),
        (&["ssh-key", "help", "add"], &["ssh-key", "add", "--help"]),
    ] {
        assert_eq!(told(help), told(option), "{help:?}");
    }
    assert!(told(&["--help"]).contains("\n  help "));
    let line = failure(&stage.plugin().args(["help", "no-such-command"]).output().unwrap(), 2);
    assert!(line.contains("there is no such command"), "{line}");
}

#[test]
fn a_usage_error_names_the_help_of_its_command() {
    let stage = Stage::new();
    for (args, help) in [
        (vec!["get-token", "--no-such-flag"], "see kubectl-keyplane get-token --help"),
        (vec!["kubeconfig", "--no-such-flag"], "see kubectl-keyplane kubeconfig --help"),
        (vec!["apikeys", "list", "-o", "yaml"], "see kubectl-keyplane apikeys list --help"),
        (vec!["no-such-command"], "see kubectl-keyplane --help"),
    ] {
        let line = failure(&stage.plugin().args(&args).output().unwrap(), 2);
        assert!(line.contains(help), "{line}");
    }
}

#[test]
fn examples_fit_a_terminal_and_can_be_copied() {
    let stage = Stage::new();
    for command in ["get-token", "login", "logout", "whoami", "generate", "kubeconfig", "completion"] {
        let output = stage.plugin().args([command, "--help"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let examples = text.split_once("Examples:").unwrap().1;
        assert!(examples.lines().all(|line| line.len() < 80), "{examples}");
        let whole = examples.replace("\\\n", "");
        assert!(whole.lines().skip(1).all(|line| line.contains("kubectl-keyplane")), "{whole}");
        let generates = whole.lines().filter(|line| line.contains("keyplane generate"));
        assert!(generates.into_iter().all(|line| line.contains("--namespace ")), "{whole}");
    }
}
