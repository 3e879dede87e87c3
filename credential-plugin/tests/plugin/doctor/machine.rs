//! Faults on this machine: programs, kuberc, the kubeconfig, the key and the cache.

use std::fs;

use serde_json::json;

use super::patient::{Patient, kubectl_version};
use crate::doctor_rules::quoted;
use crate::played::{Play, calls, program};
use crate::stage::set_mode;

/// How the remedies begin that change a variable of the shell: a POSIX one, or PowerShell.
const PUT_FIRST: &str = if cfg!(windows) { "$env:Path = " } else { "export PATH=" };
const UNSET_KUBERC: &str = if cfg!(windows) { "Remove-Item Env:KUBERC" } else { "unset KUBERC" };

#[test]
fn a_plugin_that_is_not_on_path() {
    let patient = Patient::healthy();
    fs::remove_file(patient.program("kubectl-keyplane")).unwrap();
    let report = patient.examine();
    let finding = report.finding("plugin");
    assert_eq!(finding["outcome"], "problem");
    assert!(finding["remedy"].as_str().unwrap().starts_with(PUT_FIRST), "{finding}");
    // Nor does kubectl find it for the kubeconfig.
    assert_eq!(report.outcome("user"), "problem");
}

#[test]
fn another_version_of_the_plugin_that_comes_first_on_path() {
    let patient = Patient::healthy();
    fs::remove_file(patient.program("kubectl-keyplane")).unwrap();
    patient.play("kubectl-keyplane", &[Play { prints: "kubectl-keyplane 0.0.1\n", ..Play::default() }]);
    patient.examine().is_ill("plugin", "(version 0.0.1), not this program", PUT_FIRST);
}

#[test]
fn no_kubectl_one_that_does_not_start_and_one_that_is_too_old() {
    let patient = Patient::healthy();
    let broken = Play { says: "cannot execute: wrong format\n", code: 1, ..Play::default() };
    patient.play("kubectl", &[broken]);
    let report = patient.examine();
    report.is_ill("kubectl", "wrong format", "install kubectl 1.28 or later");
    assert_eq!(report.outcome("context"), "not-checked");
    let mut patient = Patient::healthy();
    patient.kubectl = "v1.27.9";
    patient.examine().is_ill("kubectl", "v1.27.9, which is too old", "install kubectl 1.28 or later");
}

#[test]
fn a_missing_completion_is_no_problem() {
    let patient = Patient::healthy();
    fs::remove_file(patient.program("kubectl_complete-keyplane")).unwrap();
    let report = patient.examine();
    assert_eq!((report.code, report.outcome("completion")), (Some(0), "hint"));
    #[cfg(unix)]
    {
        // On PATH is a link: what it leads to need not be on PATH, and is another with the next version.
        assert!(patient.program("kubectl-keyplane").is_symlink());
        let link = patient.program("kubectl_complete-keyplane").display().to_string();
        let remedy = report.finding("completion")["remedy"].as_str().unwrap();
        assert!(remedy.ends_with(&format!(" > {link} && chmod +x {link}")), "{remedy}");
    }
}

#[test]
fn a_kuberc_that_denies_the_plugin_and_one_that_kubectl_refuses() {
    let set = "kubectl kuberc set --section credentialplugin --policy Allowlist";
    let mut patient = Patient::healthy();
    patient.kuberc("credentialPluginPolicy: DenyAll");
    let report = patient.examine();
    let (_, remedy) = report.only_problem("plugin-policy");
    assert_eq!(remedy, format!("{set} --allowlist-entry {}", quoted("command=kubectl-keyplane")));
    let mut patient = Patient::healthy();
    patient.kuberc("credentialPluginPolicy: Nope");
    let report = patient.examine();
    report.is_ill("kuberc", "kubectl refuses every command", "credentialPluginPolicy: Allowlist");
    assert_eq!(report.outcome("context"), "not-checked");
    let mut patient = Patient::healthy();
    let none = patient.stage.path("none").to_str().unwrap().to_owned();
    patient.environment.push(("KUBERC", none));
    patient.examine().is_ill("kuberc", "kubectl does nothing without", UNSET_KUBERC);
}

#[test]
fn no_context_and_users_that_do_not_call_the_plugin_as_they_should() {
    let patient = Patient::healthy();
    let version = kubectl_version("v1.36.3");
    let says_it = Play { first: Some("version"), prints: &version, ..Play::default() };
    let says = "error: current-context must exist in order to minify\n";
    patient.play("kubectl", &[says_it, Play { says, code: 1, ..Play::default() }]);
    let report = patient.examine();
    report.is_ill("context", "no current context is set", "kubectl config use-context NAME");
    assert_eq!(report.outcome("token"), "not-checked");

    let mut patient = Patient::healthy();
    patient.config["users"][0]["user"] = json!({"token": "x"});
    patient.examine().is_ill("user", "has no exec section", "kubectl config use-context NAME");
    let mut patient = Patient::healthy();
    patient.exec()["command"] = json!("aws-iam-authenticator");
    patient.examine().is_ill("user", "calls aws-iam-authenticator, not", "kubectl config use-context NAME");
    let mut patient = Patient::healthy();
    patient.exec()["args"] = json!(["get-token", "--no-such-argument"]);
    patient.examine().is_ill("user", "arguments that it does not know", "kubectl-keyplane kubeconfig");
    let mut patient = Patient::healthy();
    let gone = patient.stage.path("gone").join("kubectl-keyplane");
    patient.exec()["command"] = json!(gone);
    patient.examine().is_ill("user", "there is no such program", "PATH finds");
    let set = |option: &str| format!("kubectl config set-credentials {} {option}", quoted("key plane"));
    let mut patient = Patient::healthy();
    patient.exec()["interactiveMode"] = json!(null);
    patient.examine().is_ill("user", "no interactiveMode", &set("--exec-interactive-mode=Never"));
    let mut patient = Patient::healthy();
    patient.exec()["apiVersion"] = json!("client.authentication.k8s.io/v1alpha1");
    let v1 = set("--exec-api-version=client.authentication.k8s.io/v1");
    patient.examine().is_ill("user", "which kubectl-keyplane does not speak", &v1);
    let mut patient = Patient::healthy();
    patient.exec()["provideClusterInfo"] = json!(false);
    let report = patient.examine();
    assert_eq!(report.outcome("user"), "problem");
    assert_eq!(report.finding("user")["remedy"], set("--exec-provide-cluster-info=true"));
}

#[cfg(unix)]
#[test]
fn a_key_in_a_kubeconfig_that_others_can_read() {
    let mut patient = Patient::healthy();
    patient.exec()["env"] = json!([{"name": "KEYPLANE_API_KEY", "value": patient.stage.key}]);
    assert_eq!(patient.examine().code, Some(0));
    patient.mode = 0o644;
    let report = patient.examine();
    let (_, remedy) = report.only_problem("kubeconfig-files");
    assert!(remedy.starts_with("chmod 600 /") && remedy.contains("/config;"), "{remedy}");
}

#[test]
fn paths_of_the_users_entry_that_mean_another_file_in_each_folder() {
    let mut patient = Patient::healthy();
    let folder = patient.stage.path("tools");
    fs::create_dir(&folder).unwrap();
    let getkey = program(&folder, "getkey", &[Play { prints: &patient.stage.key, ..Play::default() }]);
    patient.exec()["args"][3] = json!("--key-command");
    patient.exec()["args"][4] = json!("tools/getkey");
    patient.examine().is_ill("key", "is a relative path", "or put it on PATH");
    assert_eq!(calls(&getkey), "");

    let mut patient = Patient::healthy();
    patient.exec()["args"][4] = json!("key");
    patient.examine().is_ill("key", "the key file's path is relative", "give its whole path");

    let mut patient = Patient::healthy();
    patient.stage.file("ca.pem", &patient.exchange.ca, 0o644);
    let key = patient.stage.path("key");
    let url = patient.exchange.url.clone();
    patient.exec()["args"] =
        json!(["get-token", "--server", url, "--certificate-authority", "ca.pem", "--key-file", key]);
    patient.examine().is_ill("exchange", "the exchange's CA is relative", "give its whole path");
    assert!(patient.exchange.asked().is_empty());
}

#[test]
fn no_key_and_a_key_that_others_can_read() {
    let patient = Patient::healthy();
    fs::remove_file(patient.stage.path("key")).unwrap();
    let report = patient.examine();
    report.only_problem("key");
    assert_eq!((report.outcome("exchange-answer"), report.outcome("whoami")), ("ok", "not-checked"));
    #[cfg(unix)]
    {
        let patient = Patient::healthy();
        set_mode(&patient.stage.path("key"), 0o644);
        patient.examine().is_ill("key", "", "chmod 600");
    }
}

#[test]
fn a_cache_that_others_may_write_in_or_read_and_a_damaged_one() {
    let patient = Patient::healthy();
    let folder = patient.stage.cache_folder();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("damaged.json"), "{").unwrap();
    set_mode(&folder.join("damaged.json"), 0o600);
    fs::write(folder.join("some.lock"), "").unwrap();
    let report = patient.examine();
    assert_eq!((report.code, report.outcome("cache")), (Some(0), "hint"), "{:?}", report.findings);
    #[cfg(unix)]
    {
        set_mode(&folder.join("damaged.json"), 0o644);
        patient.examine().is_ill("cache", "other users may read or change", "rm /");
        fs::remove_file(folder.join("damaged.json")).unwrap();
        set_mode(&folder, 0o777);
        patient.examine().is_ill("cache", "others may write in it", "chmod 700 /");
    }
}
