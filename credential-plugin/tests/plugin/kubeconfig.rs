//! `kubeconfig`: what it writes, what it leaves alone, and that the plugin works from it.

use std::fs;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::stage::{Stage, failure, has_mode};

const EXTENSION: &str = "client.authentication.k8s.io/exec";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
/// What `sha256sum` prints of it.
const PEM_SHA256: &str = "5211a92ce8cb9f759f2b102dda3bfb7227cae8b90fba1f7893b617a394e25bd1";

fn kubeconfig(stage: &Stage, cluster: &str) -> Command {
    let mut command = stage.plugin();
    command
        .args(["kubeconfig", "--server", "https://exchange.example/"])
        .args(["--cluster", cluster])
        .arg("--cluster-server")
        .arg(format!("https://{cluster}.example:6443"));
    command
}

fn read(stage: &Stage, name: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(stage.path(name)).unwrap()).unwrap()
}

#[test]
fn without_output_the_whole_kubeconfig_is_printed_and_no_file_touched() {
    let stage = Stage::new();
    let ca = stage.file("ca.pem", PEM, 0o644);
    let key = stage.file("key", &stage.key, 0o600);
    let output = kubeconfig(&stage, "prod")
        .args(["--certificate-authority", &ca, "--cluster-certificate-authority", &ca])
        .args(["--key-file", "key", "--namespace", "acme-web"])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let config: Value = serde_saphyr::from_slice(&output.stdout).unwrap();
    let hint = config["users"][0]["user"]["exec"]["installHint"].clone();
    assert!(hint.as_str().unwrap().contains("kubectl krew install keyplane,"));
    assert_eq!(
        config,
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "prod", "cluster": {
                "server": "https://prod.example:6443",
                "certificate-authority-data": STANDARD.encode(PEM),
                "extensions": [{"name": EXTENSION, "extension": {
                    "server": "https://exchange.example",
                    "certificateAuthorityData": STANDARD.encode(PEM),
                }}],
            }}],
            "users": [{"name": "keyplane", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "kubectl-keyplane",
                "args": ["get-token", "--key-file", key, "--allow-server", format!("https://exchange.example#sha256:{PEM_SHA256}")],
                "interactiveMode": "Never",
                "provideClusterInfo": true,
                "installHint": hint,
            }}}],
            "contexts": [{"name": "prod-acme-web", "context": {
                "cluster": "prod", "user": "keyplane", "namespace": "acme-web",
            }}],
            "current-context": "prod-acme-web",
        })
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains(&stage.key));
}

const OLD: &str = r#"# a comment
apiVersion: v1
kind: Config
preferences: {colors: true}
x-unknown: {deep: [1, 2.5, null, "yes", "0123", "1:30", 2001-01-01]}
current-context: old
clusters:
- name: old
  cluster: {server: https://old.example, proxy-url: "http://p", x-unknown: true}
- name: prod
  cluster:
    server: https://prod.example:6443
    x-unknown: kept
    extensions: [{name: minikube, extension: {x: y}}]
users:
- name: old
  user: {token: "123"}
contexts:
- {name: old, context: {cluster: old, user: old, extensions: [{name: z, extension: {}}]}}
"#;

#[test]
fn a_merge_keeps_other_entries_and_unknown_fields_and_the_mode() {
    let stage = Stage::new();
    stage.file("config", OLD, 0o640);
    let shown = kubeconfig(&stage, "prod").args(["--merge-into", "config", "--dry-run"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let shown: Value = serde_saphyr::from_str(shown.split_once("\n\n").unwrap().1).unwrap();
    let cluster = &shown["clusters"][0]["cluster"];
    assert_eq!(cluster["x-unknown"], "[redacted]", "what others keep there may be a secret: {shown}");
    assert_eq!(cluster["extensions"][0]["extension"], "[redacted]");
    assert!(cluster["extensions"][1]["extension"].is_object() && cluster["server"].is_string(), "{shown}");

    let output = kubeconfig(&stage, "prod").args(["--merge-into", "config"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "{}Wrote context prod to config; what it held is in config.keyplane-backup\n",
            // Without modes, the folder's access list says who can read it.
            if cfg!(unix) { "warning: other users can read config; run: chmod 600 config\n" } else { "" }
        )
    );
    assert!(has_mode(&stage.path("config"), 0o640));
    assert!(has_mode(&stage.path("config.keyplane-backup"), 0o600));
    assert_eq!(fs::read_to_string(stage.path("config.keyplane-backup")).unwrap(), OLD);
    assert!(!stage.path("config.lock").exists());

    let old: Value = serde_saphyr::from_str(OLD).unwrap();
    let new = read(&stage, "config");
    for kept in ["preferences", "x-unknown", "current-context", "apiVersion", "kind"] {
        assert_eq!(new[kept], old[kept], "{kept}");
    }
    for kept in ["clusters", "users", "contexts"] {
        assert_eq!(new[kept][0], old[kept][0], "{kept}");
        assert_eq!(new[kept].as_array().unwrap().len(), 2, "{kept}");
    }
    let cluster = &new["clusters"][1]["cluster"];
    assert_eq!(cluster["x-unknown"], "kept");
    assert_eq!(cluster["extensions"][0]["name"], "minikube");
    assert_eq!(cluster["extensions"][1]["name"], EXTENSION);

    let once = fs::read_to_string(stage.path("config")).unwrap();
    assert!(kubeconfig(&stage, "prod").args(["--merge-into", "config"]).output().unwrap().status.success());
    assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), once, "merging twice is merging once");
}

#[test]
fn one_user_serves_many_clusters_and_the_current_context_changes_only_on_demand() {
    let stage = Stage::new();
    let key = stage.file("key", &stage.key, 0o600);
    for cluster in ["one", "two"] {
        let output = kubeconfig(&stage, cluster)
            .args(["--key-file", &key, "--merge-into", "folder/config"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let config = read(&stage, "folder/config");
    assert_eq!(config["users"].as_array().unwrap().len(), 1);
    assert_eq!(config["clusters"].as_array().unwrap().len(), 2);
    assert_eq!(config["current-context"], "one");
    let output = kubeconfig(&stage, "two")
        .args(["--key-file", &key, "--merge-into", "folder/config", "--set-current"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(read(&stage, "folder/config")["current-context"], "two");
}

#[test]
fn an_entry_that_is_somebody_elses_is_left_alone_unless_told() {
    let stage = Stage::new();
    stage.file("config", OLD, 0o600);
    for args in
        [vec!["--cluster-server", "https://other.example"], vec!["--user", "old"], vec!["--context", "old"]]
    {
        let mut command = stage.plugin();
        command.args(["kubeconfig", "--server", "https://x.example", "--cluster", "prod"]);
        if !args.contains(&"--cluster-server") {
            command.args(["--cluster-server", "https://prod.example:6443"]);
        }
        command.args(&args).args(["--merge-into", "config"]);
        let line = failure(&command.output().unwrap(), 11);
        assert!(line.contains("--replace"), "{line}");
        assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), OLD);
    }
    let output = kubeconfig(&stage, "prod")
        .args(["--user", "old", "--merge-into", "config", "--replace"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let user = read(&stage, "config")["users"][0]["user"].clone();
    assert!(user["token"].is_null() && user["exec"]["command"] == "kubectl-keyplane");
}

#[test]
fn a_user_as_kubectl_rewrites_it_is_still_the_same() {
    let stage = Stage::new();
    let mut command = kubeconfig(&stage, "prod");
    command.args(["--merge-into", "config"]);
    assert!(command.output().unwrap().status.success());
    let mut config = read(&stage, "config");
    config["users"][0]["user"]["exec"]["env"] = Value::Null;
    config["users"][0]["user"]["exec"]["x-unknown"] = json!("kept");
    config["users"][0]["user"]["exec"]["installHint"] = json!("an older one");
    stage.file("config", &config.to_string(), 0o600);
    assert!(command.output().unwrap().status.success());
    let exec = read(&stage, "config")["users"][0]["user"]["exec"].clone();
    assert_eq!(exec["x-unknown"], "kept");
    assert_ne!(exec["installHint"], "an older one");
}

#[test]
fn a_key_is_embedded_only_on_demand_and_with_a_warning() {
    let stage = Stage::new();
    let output = kubeconfig(&stage, "prod")
        .args(["--embed-key-env", "--merge-into", "config"])
        .env("KEYPLANE_API_KEY", &stage.key)
        .output()
        .unwrap();
    assert!(output.status.success());
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.starts_with("warning:") && !warning.contains(&stage.key), "{warning}");
    let exec = read(&stage, "config")["users"][0]["user"]["exec"].clone();
    assert_eq!(exec["env"], json!([{"name": "KEYPLANE_API_KEY", "value": stage.key}]));
    assert_eq!(exec["args"], json!(["get-token", "--allow-server", "https://exchange.example"]));
    assert!(has_mode(&stage.path("config"), 0o600));

    let output = kubeconfig(&stage, "prod").arg("--embed-key-env").output().unwrap();
    let line = failure(&output, 3);
    assert!(line.ends_with("; set KEYPLANE_API_KEY, or leave out --embed-key-env\n"), "{line}");
    let both = kubeconfig(&stage, "prod").args(["--embed-key-env", "--key-file", "key"]).output().unwrap();
    failure(&both, 2);
}

#[test]
fn a_cluster_that_names_another_exchange_is_taken_over_only_on_demand() {
    let stage = Stage::new();
    let entry = |exchange: &str| {
        format!(
            "# mine\nclusters:\n- name: prod\n  cluster:\n    server: https://prod.example:6443 # the api\n    \
             extensions:\n    - name: {EXTENSION}\n      extension: {{server: {exchange}}}\n"
        )
    };
    let theirs = entry("https://other.example");
    stage.file("config", &theirs, 0o600);
    let merged =
        |more: &[&str]| kubeconfig(&stage, "prod").args(["--merge-into", "config"]).args(more).output();
    let line = failure(&merged(&[]).unwrap(), 11);
    assert!(line.contains("another cluster of the name") && line.contains("or give --replace"), "{line}");
    assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), theirs);
    assert!(merged(&["--replace"]).unwrap().status.success());
    let server =
        |config: &Value| config["clusters"][0]["cluster"]["extensions"][0]["extension"]["server"].clone();
    assert_eq!(server(&read(&stage, "config")), "https://exchange.example");
    assert!(fs::read_to_string(stage.path("config")).unwrap().starts_with("# mine\n"));

    // The same exchange, by an address that is written in another way.
    stage.file("config", &entry("https://exchange.example:443/"), 0o600);
    assert!(merged(&[]).unwrap().status.success());
}

#[test]
fn a_file_that_is_no_kubeconfig_or_is_locked_stays_as_it_is_and_is_not_quoted() {
    let stage = Stage::new();
    for content in [
        "token: [hunter2",
        "- hunter2",
        "kind: Pod",
        "clusters: hunter2",
        "clusters: [{name: prod, cluster: hunter2}]",
    ] {
        stage.file("config", content, 0o600);
        let output = kubeconfig(&stage, "prod").args(["--merge-into", "config"]).output().unwrap();
        let line = failure(&output, 11);
        assert!(!line.contains("hunter2"), "{line}");
        assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), content);
        assert!(!stage.path("config.lock").exists());
    }
    stage.file("config.lock", "", 0o600);
    let output = kubeconfig(&stage, "prod").args(["--merge-into", "config"]).output().unwrap();
    let line = failure(&output, 11);
    assert!(line.contains("config.lock"), "{line}");
    assert!(stage.path("config.lock").exists(), "another's lock is not ours to remove");
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    use std::os::unix::fs::symlink;
    let stage = Stage::new();
    stage.file("dotfile", OLD, 0o600);
    symlink(stage.path("dotfile"), stage.path("config")).unwrap();
    let output = kubeconfig(&stage, "prod").args(["--merge-into", "config"]).output().unwrap();
    assert!(output.status.success());
    assert!(fs::symlink_metadata(stage.path("config")).unwrap().is_symlink());
    assert_eq!(read(&stage, "dotfile")["clusters"].as_array().unwrap().len(), 2);
}

#[test]
fn a_bad_address_or_key_file_is_told_before_anything_is_written() {
    let stage = Stage::new();
    // Open to others, or no key at all where there are no modes.
    let wrong = &stage.file("wrong", if cfg!(unix) { &stage.key } else { "" }, 0o644);
    for (args, code) in [
        (vec!["--server", "http://exchange.example", "--cluster-server", "https://x"], 2),
        (vec!["--server", "https://exchange.example", "--cluster-server", "x"], 2),
        (vec!["--server", "https://exchange.example", "--cluster-server", "https://x:99999"], 2),
        (vec!["--server", "https://exchange.example", "--cluster-server", "https://[::1]:"], 2),
        (vec!["--server", "https://e", "--cluster-server", "https://x", "--key-file", wrong], 3),
        (
            vec!["--server", "https://e", "--cluster-server", "https://x", "--certificate-authority", "none"],
            11,
        ),
    ] {
        let mut command = stage.plugin();
        command.args(["kubeconfig", "--cluster", "c", "--merge-into", "config"]).args(&args);
        failure(&command.output().unwrap(), code);
        assert!(!stage.path("config").exists());
    }
}

#[test]
fn a_key_file_that_is_not_there_yet_is_warned_of() {
    let stage = Stage::new();
    let output = kubeconfig(&stage, "prod")
        .args(["--key-file", "nowhere", "--merge-into", "config"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "warning: there is no key file at nowhere yet\nWrote context prod to config\n"
    );
}

#[test]
fn the_environment_stands_for_the_exchange_and_empty_counts_as_unset() {
    let stage = Stage::new();
    let made = |variables: [(&str, &str); 2]| {
        let mut command = stage.plugin();
        command.envs(variables).args(["kubeconfig", "--cluster", "c"]);
        command.args(["--cluster-server", "https://c.example"]).output().unwrap()
    };
    let ca = stage.file("ca.pem", PEM, 0o644);
    let output = made([("KEYPLANE_URL", "https://e.example"), ("KEYPLANE_CA_FILE", &ca)]);
    let config: Value = serde_saphyr::from_slice(&output.stdout).unwrap();
    let extension = &config["clusters"][0]["cluster"]["extensions"][0]["extension"];
    assert_eq!(extension["server"], "https://e.example");
    assert_eq!(extension["certificateAuthorityData"], STANDARD.encode(PEM));
    let output = made([("KEYPLANE_URL", "https://e.example"), ("KEYPLANE_CA_FILE", "")]);
    assert!(output.status.success(), "{output:?}");
    let line = failure(&made([("KEYPLANE_URL", ""), ("KEYPLANE_CA_FILE", "")]), 2);
    assert!(line.contains("KEYPLANE_URL"), "{line}");
}
