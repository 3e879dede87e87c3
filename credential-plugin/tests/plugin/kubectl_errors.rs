//! What is told where kubectl cannot do anything: no kubectl, no kubeconfig, one that it cannot read, no context.

use crate::played::{Play, program};
use crate::stage::{Stage, failure};

/// kubectl that fails with these words, whatever is asked.
fn fails(stage: &Stage, says: &str) {
    program(stage.home.path(), "kubectl", &[Play { says, code: 1, ..Play::default() }]);
}

fn told(stage: &Stage, args: &[&str], code: i32) -> String {
    failure(&stage.plugin().env("PATH", stage.home.path()).args(args).output().unwrap(), code)
}

/// What doctor says of the context, on two lines.
fn examined(stage: &Stage, says: &str, args: &[&str]) -> String {
    let version = r#"{"clientVersion": {"gitVersion": "v1.36.3"}}"#;
    let version = Play { first: Some("version"), prints: version, ..Play::default() };
    program(stage.home.path(), "kubectl", &[version, Play { says, code: 1, ..Play::default() }]);
    let output = stage.plugin().env("PATH", stage.home.path()).arg("doctor").args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> =
        text.lines().skip_while(|line| !line.starts_with("problem   context")).take(2).collect();
    lines.join("\n")
}

const MINIFY: &str = "error: current-context must exist in order to minify\n";
const NO_CLUSTER: &str =
    "The connection to the server localhost:8080 was refused - did you specify the right host or port?\n";
const MAKE: &str = "kubectl-keyplane kubeconfig --merge --server URL";

#[test]
fn without_kubectl_it_is_told_that_it_is_missing_and_not_that_an_address_is() {
    let stage = Stage::new();
    for args in [["whoami"].as_slice(), &["login"], &["kubeconfig", "--merge"]] {
        let line = told(&stage, args, 14);
        assert!(line.contains("put kubectl on PATH") && line.contains("or give --server URL"), "{line}");
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_with_what_helps() {
    for (why, remedy) in [
        ("yaml: line 4: did not find expected key", "mend the file"),
        ("read bad.cfg: is a directory", "mend the file"),
        ("open bad.cfg: permission denied", "make the file readable for you"),
    ] {
        let stage = Stage::new();
        stage.file("bad.cfg", "", 0o600);
        let says = format!("error: error loading config file \"bad.cfg\": {why}\n");
        fails(&stage, &says);
        for args in [
            ["whoami"].as_slice(),
            &["whoami", "--kubeconfig", "bad.cfg"],
            &["apikeys", "list"],
            &["generate", "--scope", "all", "--apply", "--key-out", "key"],
        ] {
            let line = told(&stage, args, 14);
            assert!(line.contains(why) && line.contains("bad.cfg") && line.contains(remedy), "{line}");
        }
        let lines = examined(&stage, &says, &[]);
        assert!(lines.contains(why) && lines.contains(remedy) && !lines.contains("get-contexts"), "{lines}");
    }
}

#[test]
fn where_there_is_no_kubeconfig_that_is_said_and_where_it_was_looked_for() {
    let stage = Stage::new();
    fails(&stage, MINIFY);
    let usual = stage.path(".kube").join("config").display().to_string();
    let line = told(&stage, &["whoami"], 2);
    assert!(line.contains("address is not known") && line.contains("--server URL"), "{line}");
    assert!(line.contains(&format!("there is no kubeconfig at {usual}")), "{line}");
    for says in [MINIFY, "error: stat nofile: no such file or directory\n"] {
        fails(&stage, says);
        for args in [["whoami"].as_slice(), &["apikeys", "list"], &["whoami", "--context", "nope"]] {
            let line = told(&stage, &[args, &["--kubeconfig", "nofile"]].concat(), 14);
            assert!(line.contains("there is no kubeconfig at nofile"), "{line}");
            assert!(line.contains("kubectl-keyplane kubeconfig --merge-into nofile --server URL"), "{line}");
        }
    }
    fails(&stage, NO_CLUSTER);
    let line = told(&stage, &["apikeys", "list"], 14);
    assert!(line.contains(&format!("there is no kubeconfig at {usual}")) && line.contains(MAKE), "{line}");
    let lines = examined(&stage, MINIFY, &[]);
    assert!(lines.contains(&format!("there is no kubeconfig at {usual}")), "{lines}");
    assert_eq!(lines.matches(MAKE).count(), 1, "{lines}");
    let list = std::env::join_paths(["one", "two"]).unwrap();
    let output = stage.plugin().env("PATH", stage.home.path()).env("KUBECONFIG", list).arg("whoami").output();
    let line = failure(&output.unwrap(), 2);
    assert!(line.contains("there is no kubeconfig at one or two"), "{line}");
}

#[test]
fn a_context_that_is_not_set_or_not_there_comes_with_the_command_that_lists_them() {
    let stage = Stage::new();
    stage.file("my config", "apiVersion: v1\nkind: Config\n", 0o600);
    let file = ["--kubeconfig", "my config"];
    let (list, choose) = if cfg!(windows) {
        (
            "kubectl config get-contexts --kubeconfig \"my config\"",
            "use-context NAME --kubeconfig \"my config\"",
        )
    } else {
        ("kubectl config get-contexts --kubeconfig 'my config'", "use-context NAME --kubeconfig 'my config'")
    };
    for (says, args) in [(MINIFY, "whoami"), (NO_CLUSTER, "apikeys list")] {
        fails(&stage, says);
        let args: Vec<&str> = args.split(' ').chain(file).collect();
        let line = told(&stage, &args, 14);
        assert!(line.contains("no current context is set"), "{line}");
        assert!(line.contains(list) && line.contains(choose), "{line}");
    }
    for (says, args) in [
        ("error: cannot locate context nope\n", "whoami"),
        ("Error in configuration: context was not found for specified context: nope\n", "apikeys list"),
    ] {
        fails(&stage, says);
        let args: Vec<&str> = args.split(' ').chain(["--context", "nope"]).chain(file).collect();
        let line = told(&stage, &args, 14);
        assert!(line.contains("there is no context nope in the kubeconfig") && line.contains(list), "{line}");
    }
}

/// A server at localhost:8080 that a context names is a server like every other.
#[test]
fn a_cluster_that_does_not_answer_is_no_missing_context() {
    let stage = Stage::new();
    stage.file("config", "", 0o600);
    let current = Play { first: Some("config"), prints: "proxy\n", ..Play::default() };
    program(stage.home.path(), "kubectl", &[current, Play { says: NO_CLUSTER, code: 1, ..Play::default() }]);
    let output = stage
        .plugin()
        .env("PATH", stage.home.path())
        .env("KUBECONFIG", stage.path("config"))
        .args(["apikeys", "list"])
        .output()
        .unwrap();
    let line = failure(&output, 14);
    assert!(line.contains("localhost:8080 was refused"), "{line}");
}
