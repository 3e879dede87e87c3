//! What `kubeconfig` tells of entries that are for something else, and that what it tells to do is enough.

use std::process::Output;

use assert_cmd::Command;

use crate::kept_key::text;
use crate::kubeconfig_files::{arguments, list, merging, names, read};
use crate::stage::{Stage, failure};

/// A merge into `config` with two namespaces.
fn two_namespaces(stage: &Stage, cluster: &str, more: &[&str]) -> Command {
    let mut command = merging(stage, cluster);
    command
        .env("KUBECONFIG", "config")
        .args(["--namespace", "acme-web", "--namespace", "acme-jobs"])
        .args(more);
    command
}

#[test]
fn a_second_key_for_the_same_cluster_is_told_all_that_it_needs_in_one_line() {
    let stage = Stage::new();
    let keys = ["one.key", "two.key"].map(|name| stage.file(name, &stage.key, 0o600));
    two_namespaces(&stage, "prod", &["--key-file", &keys[0]]).assert().success();
    let second = |more: &[&str]| {
        two_namespaces(&stage, "prod", &["--key-file", &keys[1]]).args(more).output().unwrap()
    };
    let line = failure(&second(&[]), 11);
    assert!(line.contains(r#"user "keyplane" (differs in --key-file)"#), "{line}");
    assert!(line.contains(r#"contexts "prod-acme-web", "prod-acme-jobs" (use it)"#), "{line}");
    assert!(
        line.ends_with("; choose other names with --user and --context-prefix, or give --replace\n"),
        "{line}"
    );
    assert!(second(&["--user", "u2", "--context-prefix", "two-"]).status.success());
    assert_eq!(names(&read(&stage, "config"), "users"), ["keyplane", "u2"]);
    assert_eq!(names(&read(&stage, "config"), "contexts").len(), 4);

    // With a name of the user alone, the contexts are in the way, and none of several can have a name of its own.
    let line = failure(&second(&["--user", "u3"]), 11);
    assert!(line.contains("(differ in the user)") && line.contains("with --context-prefix, or"), "{line}");
}

#[test]
fn of_a_user_it_is_told_which_arguments_differ_and_no_value() {
    let stage = Stage::new();
    // What the file would hold is told before.
    let refused = |output: Output| {
        let line = text(&output.stderr).lines().last().unwrap().to_owned();
        assert!(output.status.code() == Some(11) && !line.contains("hunter"), "{line}");
        line
    };
    let merged = |more: &[&str]| {
        let mut command = merging(&stage, "prod");
        command.env("KUBECONFIG", "config").env("KEYPLANE_API_KEY", &stage.key).args(more).output().unwrap()
    };
    assert!(merged(&["--key-command", "pass hunter2"]).status.success());
    for (more, differences) in [
        (&["--key-command", "pass hunter2", "--tls-server-name", "localhost"][..], "--tls-server-name"),
        (&["--key-command", "pass hunter3"], "--key-command"),
        (&["--proxy-url", "http://hunter4:x@proxy.example"], "--key-command, --proxy-url"),
        (&["--embed-key-env"], "--key-command, the env of its exec section"),
    ] {
        // The same contexts would be of the other user then.
        let line = refused(merged(more));
        assert!(
            line.contains(&format!(
                r#"user "keyplane" (differs in {differences}), context "prod" (uses it) "#
            )),
            "{line}"
        );
        let line = refused(merged(&[more, &["--context", "new"]].concat()));
        assert!(
            line.contains(&format!(r#"another user of the name "keyplane": it differs in {differences} ("#)),
            "{line}"
        );
        assert!(line.ends_with("; choose another name with --user, or give --replace"), "{line}");
    }
    let help = text(&stage.plugin().args(["kubeconfig", "--help"]).output().unwrap().stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("the same --tls-server-name, --proxy-url and --key-command-timeout"), "{help}");
}

#[test]
fn what_is_written_in_the_arguments_of_a_foreign_user_is_not_repeated() {
    let stage = Stage::new();
    for (user, differences) in [
        ("{token: hunter2}", "how it logs in"),
        ("{exec: {command: other, args: [--hunter2]}}", "the command of its exec section"),
        ("{exec: {command: kubectl-keyplane, args: [get-token, --Hunter2, hunter2]}}", "its other arguments"),
    ] {
        stage.file("config", &format!("users:\n- name: keyplane\n  user: {user}\n"), 0o600);
        let line = failure(&merging(&stage, "prod").env("KUBECONFIG", "config").output().unwrap(), 11);
        assert!(line.contains(&format!("it differs in {differences} (")), "{line}");
        assert!(!line.to_lowercase().contains("hunter2"), "{line}");
    }
}

#[test]
fn another_name_for_the_cluster_is_enough_where_the_contexts_follow_it() {
    let stage = Stage::new();
    two_namespaces(&stage, "prod", &[]).assert().success();
    let other = |more: &[&str]| {
        let mut command = stage.plugin();
        command.args(["kubeconfig", "--merge-into", "config", "--server", "https://other.example"]);
        command.args(["--namespace", "acme-web", "--namespace", "acme-jobs"]);
        command.args(["--cluster-server", "https://prod.example"]).args(more).output().unwrap()
    };
    let line = failure(&other(&["--cluster", "prod"]), 11);
    assert!(line.contains(r#"another cluster of the name "prod": it differs in the exchange"#), "{line}");
    assert!(line.ends_with("; choose another name with --cluster, or give --replace\n"), "{line}");
    let line = failure(&other(&["--cluster", "prod", "--context-prefix", "prod-"]), 11);
    assert!(line.contains("other names with --cluster and --context-prefix, or"), "{line}");
    assert!(other(&["--cluster", "second"]).status.success());
}

#[test]
fn conflicts_in_several_files_are_told_at_once_and_many_names_do_not_hide_the_remedy() {
    let stage = Stage::new();
    stage.file("one", "users:\n- name: keyplane\n  user: {token: x}\n", 0o600);
    let context = |n: usize| format!("- name: prod-n{n}\n  context: {{cluster: x, user: y}}\n");
    stage.file("two", &format!("contexts:\n{}", (0..30).map(context).collect::<String>()), 0o600);
    let mut command = stage.plugin();
    command.args(arguments("prod")).arg("--merge").env("KUBECONFIG", list(&["one", "two"]));
    command.args((0..30).map(|n| format!("--namespace=n{n}")));
    let line = failure(&command.output().unwrap(), 11);
    assert!(line.contains(r#"user "keyplane" (differs in how it logs in), "#), "{line}");
    let contexts =
        r#"contexts "prod-n0", "prod-n1", "prod-n2" and 27 more (differ in the cluster, the user)"#;
    assert!(line.contains(contexts) && line.contains(" (one, two); "), "{line}");
    assert!(line.ends_with("with --user and --context-prefix, or give --replace\n"), "{line}");
}
