//! Kubeconfigs as tools and people write them: our entries come into each, and no other line changes.

use std::fs;
use std::path::Path;
use std::process;

use keyplane_credential_plugin::kubeconfig::document::Document;
use keyplane_credential_plugin::kubeconfig::merge::{Permission, merge};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::merge_laws::entries;
use crate::stage::Stage;

/// Each file, and those of its lines that must change.
const STYLES: &[(&str, &str, &[&str])] = &[
    ("kubectl", include_str!("kubeconfigs/kubectl.yaml"), &[]),
    ("kind", include_str!("kubeconfigs/kind.yaml"), &[]),
    ("aws", include_str!("kubeconfigs/aws.yaml"), &[]),
    ("indented", include_str!("kubeconfigs/indented.yaml"), &[]),
    ("block scalars", include_str!("kubeconfigs/block_scalars.yaml"), &[]),
    ("odd dashes", include_str!("kubeconfigs/odd_dashes.yaml"), &[]),
    ("comment only", include_str!("kubeconfigs/comment_only.yaml"), &[]),
    ("empty document", include_str!("kubeconfigs/empty_document.yaml"), &[]),
    ("empty", "", &[]),
    (
        "empty lists",
        include_str!("kubeconfigs/empty_lists.yaml"),
        &["clusters: [] # none yet", "contexts: null", "current-context: \"\"", "users: ~"],
    ),
    ("empty values", include_str!("kubeconfigs/empty_values.yaml"), &["users: [ ]", "current-context:"]),
    ("tabs", include_str!("kubeconfigs/tabs.yaml"), &["users: []", "contexts:\t[]"]),
    (
        "flow",
        include_str!("kubeconfigs/flow.yaml"),
        &[
            "clusters: [{name: one, cluster: {server: \"https://one.example\", proxy-url: http://p}}]",
            "users: [{name: one, user: {token: \"123\", }}, ]",
            "contexts: [ {name: one, context: {cluster: one, user: one}} ] # last",
        ],
    ),
    (
        "JSON",
        include_str!("kubeconfigs/json.yaml"),
        &["    }", "  \"users\": [],", "  \"contexts\": null,", "  \"current-context\": \"one\""],
    ),
    ("no final newline", include_str!("kubeconfigs/no_final_newline.yaml"), &[]),
];

/// The text after a merge, which must have kept its layout, and say what the merge of the values says.
fn merged(text: &str, name: &str) -> String {
    let document = Document::parse(Zeroizing::new(text.to_owned()), name).unwrap();
    let wanted = merge(document.value().clone(), &entries(), Permission::default(), name).unwrap();
    let edited = document.edited(&wanted).unwrap();
    assert!(edited.layout_kept, "{name}: {}", *edited.text);
    let content = edited.text.trim_start_matches('\u{feff}');
    assert_eq!(serde_saphyr::from_str::<Value>(content).unwrap(), wanted, "{name}: {content}");
    edited.text.to_string()
}

/// Whether the lines come in this order among those of the text.
pub(crate) fn has_lines<'a>(text: &str, lines: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let mut found = text.lines();
    for line in lines {
        if !found.any(|found| found == line) {
            return Err(format!("{line:?} is not where it was in:\n{text}"));
        }
    }
    Ok(())
}

#[test]
fn no_other_line_changes_in_any_style_with_any_line_ends() {
    for (name, text, changed) in STYLES {
        let variants = [
            (*text).to_owned(),
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
            format!("\u{feff}{text}"),
        ];
        for old in variants {
            let new = merged(&old, name);
            let kept = old.lines().filter(|line| !changed.contains(&line.trim_end_matches('\r')));
            let kept = kept.filter(|line| *line != "\u{feff}");
            has_lines(&new, kept).unwrap_or_else(|why| panic!("{name}: {why}"));
            if old.contains("\r\n") {
                assert_eq!(new.matches('\n').count(), new.matches("\r\n").count(), "{name}: {new:?}");
            }
            assert_eq!(merged(&new, name), new, "{name}: merging twice is merging once");
        }
    }
}

#[test]
fn comments_stay_with_what_they_speak_of() {
    let text = STYLES.iter().find(|(name, ..)| *name == "indented").unwrap().1;
    let new = merged(text, "indented");
    let clusters =
        "      certificate-authority: /etc/ca.pem\n  - cluster:\n      certificate-authority-data: QUJD\n";
    assert!(new.contains(clusters), "{new}");
    assert!(new.ends_with("current-context: \"main\"\n# the end\n"), "{new}");
    let text = STYLES.iter().find(|(name, ..)| *name == "odd dashes").unwrap().1;
    let new = merged(text, "odd dashes");
    assert!(new.contains("            token: t\n      - name: u\n        user:\n          exec:\n"), "{new}");
    assert!(
        new.contains("    user: far\n- context:\n    cluster: c\n    user: u\n  name: x\ncurrent-context: x\n\n    # deep end\n"),
        "{new}"
    );
}

#[test]
fn an_entry_of_ours_changes_in_its_place_and_keeps_what_is_not_ours() {
    let old = "\
users:
- name: u # mine
  user:
    # how I log in
    exec:
      command: kubectl-keyplane
      args: [get-token, --allow-server, https://a.example] # allowed
      x-unknown: 'kept'
- name: theirs
  user: {token: t}
clusters:
- name: c
  cluster:
    server:   https://c.example   # the server
    certificate-authority: /etc/ca.pem
    insecure-skip-tls-verify: true
    extensions:
    - {name: client.authentication.k8s.io/exec, extension: {server: https://exchange.example, certificateAuthorityData: b2xk}}
    # theirs
    - extension: {a: b}
      name: theirs
current-context: x
";
    let new = merged(old, "ours");
    let changed = [
        "      args: [get-token, --allow-server, https://a.example] # allowed",
        "    certificate-authority: /etc/ca.pem",
        "    insecure-skip-tls-verify: true",
        "    - {name: client.authentication.k8s.io/exec, extension: {server: https://exchange.example, certificateAuthorityData: b2xk}}",
    ];
    has_lines(&new, old.lines().filter(|line| !changed.contains(line))).unwrap();
    assert_eq!(merged(&new, "ours"), new);
}

#[test]
fn what_cannot_be_changed_line_by_line_is_written_anew_and_the_old_text_kept() {
    let stage = Stage::new();
    let old = include_str!("kubeconfigs/with_anchors.yaml");
    stage.file("config", old, 0o600);
    let output = stage
        .plugin()
        .args(["kubeconfig", "--server", "https://exchange.example", "--cluster", "keyplane"])
        .args(["--cluster-server", "https://one.example", "--merge-into", "config"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("warning: config could not be changed line by line: its comments"), "{told}");
    assert_eq!(fs::read_to_string(stage.path("config.keyplane-backup")).unwrap(), old);
    let new: Value = serde_saphyr::from_str(&fs::read_to_string(stage.path("config")).unwrap()).unwrap();
    let old: Value = serde_saphyr::from_str(old).unwrap();
    assert_eq!(new["x-copy"], old["x-copy"]);
    assert_eq!(new["clusters"][0], old["clusters"][0]);
    assert_eq!(new["clusters"][1]["cluster"]["proxy-url"], "http://p");
}

/// What kubectl makes of a kubeconfig, or none where there is no kubectl.
pub(crate) fn seen_by_kubectl(config: &Path) -> Option<Value> {
    let output = process::Command::new("kubectl")
        .args(["config", "view", "--raw", "--output", "json", "--kubeconfig"])
        .arg(config)
        .output()
        .ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn kubectl_reads_the_entries_in_every_style() {
    let stage = Stage::new();
    for (name, text, _) in STYLES {
        for text in [merged(text, name), merged(&text.replace('\n', "\r\n"), name)] {
            stage.file("config", &text, 0o600);
            let Some(seen) = seen_by_kubectl(&stage.path("config")) else {
                return;
            };
            let named = |list: &str, name: &str| {
                seen[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).cloned().unwrap()
            };
            assert_eq!(named("clusters", "c")["cluster"]["server"], "https://c.example", "{name}");
            assert_eq!(named("users", "u")["user"]["exec"]["command"], "kubectl-keyplane", "{name}");
            assert_eq!(named("contexts", "x")["context"]["user"], "u", "{name}");
        }
    }
}
