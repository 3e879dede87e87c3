//! Into which files `--merge` writes, and what it does about modes, links and backups.

use std::ffi::OsString;
use std::{env, fs, process};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::kubeconfig_styles::seen_by_kubectl;
use crate::stage::{Stage, failure, files_in, has_mode};

pub(crate) const THEIRS: &str =
    "# theirs\nclusters:\n- name: theirs\n  cluster: {server: https://theirs.example}\n";

pub(crate) fn merging(stage: &Stage, cluster: &str) -> Command {
    let mut command = stage.plugin();
    command.args(arguments(cluster)).arg("--merge");
    command
}

pub(crate) fn arguments(cluster: &str) -> Vec<String> {
    let server = format!("https://{cluster}.example");
    ["kubeconfig", "--server", "https://exchange.example", "--cluster", cluster, "--cluster-server", &server]
        .map(str::to_owned)
        .to_vec()
}

/// A list of files as the system writes it.
pub(crate) fn list(files: &[&str]) -> OsString {
    env::join_paths(files).unwrap()
}

pub(crate) fn read(stage: &Stage, name: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(stage.path(name)).unwrap()).unwrap()
}

pub(crate) fn names(config: &Value, list: &str) -> Vec<String> {
    let entries = config[list].as_array().into_iter().flatten();
    entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_list_it_is_the_file_in_the_home_folder() {
    let stage = Stage::new();
    for variable in [None, Some("")] {
        let mut command = merging(&stage, "prod");
        variable.map(|value| command.env("KUBECONFIG", value));
        assert!(command.output().unwrap().status.success());
        assert_eq!(names(&read(&stage, ".kube/config"), "contexts"), ["prod"]);
        assert!(has_mode(&stage.path(".kube/config"), 0o600));
    }
    assert_eq!(files_in(&stage.path(".kube")).len(), 1, "no lock, no backup of nothing");
}

#[test]
fn of_a_list_the_first_file_that_exists_gets_what_is_new_else_the_last() {
    let stage = Stage::new();
    let merged = |cluster: &str| {
        let output = merging(&stage, cluster)
            .env("KUBECONFIG", list(&["none", "one", "", "two", "one"]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    merged("first");
    assert_eq!(
        names(&read(&stage, "two"), "contexts"),
        ["first"],
        "a file named twice counts where it comes first"
    );
    stage.file("one", THEIRS, 0o600);
    merged("second");
    assert_eq!(names(&read(&stage, "one"), "clusters"), ["theirs", "second"]);
    assert_eq!(names(&read(&stage, "two"), "clusters"), ["first"]);
    assert!(!stage.path("none").exists());
}

#[test]
fn what_exists_is_changed_where_it_stands_and_kubectl_agrees() {
    let stage = Stage::new();
    stage.file("one", "# first\ncurrent-context: old\n", 0o600);
    stage.file(
        "two",
        "clusters:\n- name: prod\n  cluster:\n    server: https://prod.example # mine\n",
        0o600,
    );
    let list = &list(&["one", "two"]);
    let output = merging(&stage, "prod").env("KUBECONFIG", list).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(&read(&stage, "one"), "clusters"), Vec::<String>::new());
    assert_eq!(names(&read(&stage, "one"), "users"), ["keyplane"]);
    assert_eq!(read(&stage, "one")["current-context"], "old");
    let two = read(&stage, "two");
    assert!(two["users"].is_null() && two["current-context"].is_null(), "{two}");
    assert!(two["clusters"][0]["cluster"]["extensions"].is_array());
    assert!(fs::read_to_string(stage.path("two")).unwrap().contains("https://prod.example # mine\n"));

    let output = merging(&stage, "prod").arg("--set-current").env("KUBECONFIG", list).output().unwrap();
    assert!(output.status.success());
    assert_eq!(read(&stage, "one")["current-context"], "prod");

    // kubectl puts a new cluster into the same file, and reads all.
    let kubectl = process::Command::new("kubectl")
        .args(["config", "set-cluster", "more", "--server", "https://more.example"])
        .env("KUBECONFIG", list)
        .current_dir(stage.home.path())
        .output();
    if kubectl.is_ok_and(|output| output.status.success()) {
        assert_eq!(names(&read(&stage, "one"), "clusters"), ["more"]);
        let seen = seen_by_kubectl(&stage.path("two")).unwrap();
        assert_eq!(names(&seen, "clusters"), ["prod"]);
    }
}

#[test]
fn a_conflict_in_one_file_leaves_all_untouched() {
    let stage = Stage::new();
    let two = "contexts:\n- name: prod\n  context: {cluster: x, user: y}\n";
    stage.file("one", THEIRS, 0o600);
    stage.file("two", two, 0o600);
    let output = merging(&stage, "prod").env("KUBECONFIG", list(&["one", "two"])).output().unwrap();
    let line = failure(&output, 11);
    assert!(line.contains("contexts of two") && line.contains("--context"), "{line}");
    assert_eq!(fs::read_to_string(stage.path("one")).unwrap(), THEIRS);
    assert_eq!(fs::read_to_string(stage.path("two")).unwrap(), two);
    assert_eq!(files_in(stage.home.path()).len(), 2, "no lock and no backup stays");
}

#[test]
fn a_dry_run_tells_what_would_change_shows_only_ours_and_writes_nothing() {
    let stage = Stage::new();
    let old = format!("{THEIRS}users:\n- name: theirs\n  user: {{token: hunter2}}\n");
    stage.file("config", &old, 0o600);
    let mut arguments = arguments("prod");
    arguments.extend(["--merge-into", "config", "--embed-key-env"].map(str::to_owned));
    let dry = || {
        let mut command = stage.plugin();
        command.args(&arguments).arg("--dry-run").env("KEYPLANE_API_KEY", &stage.key);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = dry();
    assert!(!told.contains("hunter2") && !told.contains("theirs") && !told.contains(&stage.key), "{told}");
    let (table, entries) = told.split_once("\n\n").unwrap();
    assert_eq!(
        table,
        "FILE     ENTRY             NAME       CHANGE\n\
         config   cluster           prod       added\n\
         config   user              keyplane   added\n\
         config   context           prod       added\n\
         config   current-context   prod       set"
    );
    let entries: Value = serde_saphyr::from_str(entries).unwrap();
    assert_eq!(
        entries["users"][0]["user"]["exec"]["env"],
        json!([{"name": "KEYPLANE_API_KEY", "value": "[redacted]"}])
    );
    assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), old);
    assert_eq!(files_in(stage.home.path()).len(), 1);

    let output = stage.plugin().args(&arguments).env("KEYPLANE_API_KEY", &stage.key).output().unwrap();
    assert!(output.status.success());
    let told = dry();
    assert_eq!(told.matches(" unchanged\n").count(), 3, "{told}");
    assert!(!told.contains("current-context   prod"), "{told}");
    for needs_a_merge in ["--dry-run", "--set-current", "--replace"] {
        let line = failure(&stage.plugin().args(&arguments[..7]).arg(needs_a_merge).output().unwrap(), 2);
        assert!(line.contains("--merge"), "{line}");
    }
}

#[test]
fn a_dry_run_shows_the_entries_as_the_merge_leaves_them() {
    let stage = Stage::new();
    let second = |dry: &[&str]| {
        let mut command = stage.plugin();
        command.args(["kubeconfig", "--server", "https://second.example", "--cluster", "second"]);
        command.args(["--cluster-server", "https://api.second.example", "-n", "acme-web"]);
        let output = command.args(["--merge-into", "config"]).args(dry).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(merging(&stage, "first").env("KUBECONFIG", "config").output().unwrap().status.success());
    // Of what is not ours in the user's entry nothing is shown.
    let theirs = fs::read_to_string(stage.path("config")).unwrap().replace(
        "  user:\n    exec:\n",
        "  user:\n    password: hunter2\n    exec:\n      x-unknown: hunter2\n",
    );
    assert_eq!(theirs.matches("hunter2").count(), 2, "{theirs}");
    stage.file("config", &theirs, 0o600);
    for (options, current) in
        [(&["--dry-run"][..], None), (&["--dry-run", "--set-current"], Some("second-acme-web"))]
    {
        let told = second(options);
        assert!(!told.contains("hunter2"), "{told}");
        let (table, shown) = told.split_once("\n\n").unwrap();
        let shown: Value = serde_saphyr::from_str(shown).unwrap();
        assert_eq!(table.contains("current-context"), current.is_some(), "{told}");
        assert_eq!(shown["current-context"].as_str(), current, "{told}");
        let args = json!([
            "get-token",
            "--allow-server",
            "https://exchange.example",
            "--allow-server",
            "https://second.example"
        ]);
        assert_eq!(shown["users"][0]["user"]["exec"]["args"], args);
        assert_eq!(names(&shown, "clusters"), ["second"]);
        assert_eq!(names(&shown, "contexts"), ["second-acme-web"]);
    }
    let told = second(&["--dry-run"]);
    let shown: Value = serde_saphyr::from_str(told.split_once("\n\n").unwrap().1).unwrap();
    second(&[]);
    let merged = read(&stage, "config");
    assert_eq!(merged["current-context"], "first");
    assert_eq!(merged["clusters"][1], shown["clusters"][0]);
    assert_eq!(merged["users"][0]["user"]["exec"]["args"], shown["users"][0]["user"]["exec"]["args"]);
    assert_eq!(merged["contexts"][1], shown["contexts"][0]);
}

#[test]
fn a_dry_run_shows_no_login_of_a_proxy_and_no_key_among_the_arguments() {
    let stage = Stage::new();
    let body = stage.key.split_once('_').unwrap().1;
    for key in [stage.key.clone(), format!("kpk-{body}"), body.to_owned()] {
        for proxy in ["http://me:hunter2@proxy.example:3128", "me:hunter2@proxy.example:3128"] {
            let mut command = stage.plugin();
            command.args(arguments("prod")).args([
                "--merge-into",
                "config",
                "--dry-run",
                "--proxy-url",
                proxy,
            ]);
            let output = command.args(["--key-command", &format!("printf '%s' '{key}'")]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(!told.contains("hunter2") && !told.contains("//me") && !told.contains(body), "{told}");
            assert!(told.contains("[redacted]@proxy.example:3128"), "{told}");
            assert_eq!(told.matches("[redacted]").count(), 2, "{told}");
        }
    }
}

#[test]
fn a_file_that_gets_the_key_becomes_private_and_others_keep_their_mode_with_a_warning() {
    let stage = Stage::new();
    stage.file("config", THEIRS, 0o644);
    let output = merging(&stage, "prod").env("KUBECONFIG", "config").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let warning = "warning: other users can read config; run: chmod 600 config\n";
    assert_eq!(told.contains(warning), cfg!(unix), "{told}");
    assert!(has_mode(&stage.path("config"), 0o644));
    let output = merging(&stage, "prod")
        .args(["--embed-key-env", "--user", "mine", "--context", "mine"])
        .env("KUBECONFIG", "config")
        .env("KEYPLANE_API_KEY", &stage.key)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !told.contains("other users"), "{told}");
    assert!(has_mode(&stage.path("config"), 0o600));
}

#[test]
fn the_backup_holds_what_was_there_before_the_last_change() {
    let stage = Stage::new();
    stage.file("config", THEIRS, 0o600);
    let backup = stage.path("config.keyplane-backup");
    let merged = |cluster: &str| {
        let output = merging(&stage, cluster).env("KUBECONFIG", "config").output().unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stderr).unwrap(), fs::read_to_string(stage.path("config")).unwrap())
    };
    let (told, first) = merged("one");
    assert_eq!(
        told,
        "Wrote context one to config; what it held is in config.keyplane-backup\nThe current context is one\n"
    );
    assert_eq!(fs::read_to_string(&backup).unwrap(), THEIRS);
    let (told, same) = merged("one");
    assert_eq!(told, "Nothing to change in config\nThe current context is one\n");
    assert_eq!(same, first);
    assert_eq!(fs::read_to_string(&backup).unwrap(), THEIRS, "what changes nothing backs nothing up");
    merged("two");
    assert_eq!(fs::read_to_string(&backup).unwrap(), first);
    assert!(has_mode(&backup, 0o600));
}

#[cfg(unix)]
#[test]
fn a_links_backup_stays_out_of_the_folder_that_it_leads_to() {
    use std::os::unix::fs::symlink;
    let stage = Stage::new();
    for name in ["dotfiles", ".kube"] {
        fs::create_dir(stage.path(name)).unwrap();
    }
    stage.file("dotfiles/config", THEIRS, 0o600);
    symlink("../dotfiles/config", stage.path(".kube/config")).unwrap();
    assert!(merging(&stage, "prod").output().unwrap().status.success());
    assert!(fs::symlink_metadata(stage.path(".kube/config")).unwrap().is_symlink());
    crate::kubeconfig_styles::has_lines(
        &fs::read_to_string(stage.path("dotfiles/config")).unwrap(),
        THEIRS.lines(),
    )
    .unwrap();
    assert_eq!(files_in(&stage.path("dotfiles")).len(), 1);
    assert_eq!(fs::read_to_string(stage.path(".kube/config.keyplane-backup")).unwrap(), THEIRS);

    symlink(stage.path("not-yet"), stage.path("dangling")).unwrap();
    let output = merging(&stage, "prod").env("KUBECONFIG", "dangling").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(fs::symlink_metadata(stage.path("dangling")).unwrap().is_symlink());
    assert_eq!(names(&read(&stage, "not-yet"), "contexts"), ["prod"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_told_and_only_when_something_must_change_there() {
    use crate::stage::set_mode;
    let stage = Stage::new();
    fs::create_dir(stage.path("fixed")).unwrap();
    stage.file("fixed/config", THEIRS, 0o600);
    set_mode(&stage.path("fixed"), 0o500);
    let is_root = fs::write(stage.path("fixed/probe"), "").is_ok();
    if !is_root {
        stage.file("mine", "", 0o600);
        let output =
            merging(&stage, "prod").env("KUBECONFIG", list(&["mine", "fixed/config"])).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = merging(&stage, "other").env("KUBECONFIG", "fixed/config").output().unwrap();
        failure(&output, 11);
    }
    set_mode(&stage.path("fixed"), 0o700);
    assert_eq!(fs::read_to_string(stage.path("fixed/config")).unwrap(), THEIRS);
}

/// As kubectl does on Windows.
#[cfg(windows)]
#[test]
fn of_the_home_folders_the_one_with_a_kubeconfig_counts() {
    let stage = Stage::new();
    for home in ["home", "profile"] {
        fs::create_dir_all(stage.path(home).join(".kube")).unwrap();
    }
    let merged = |cluster: &str| {
        let mut command = merging(&stage, cluster);
        command.env("HOME", stage.path("home")).env("USERPROFILE", stage.path("profile"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    stage.file(r"profile\.kube\config", THEIRS, 0o600);
    merged("one");
    assert_eq!(names(&read(&stage, r"profile\.kube\config"), "contexts"), ["one"]);
    assert!(!stage.path(r"home\.kube\config").exists());
    stage.file(r"home\.kube\config", THEIRS, 0o600);
    merged("two");
    assert_eq!(names(&read(&stage, r"home\.kube\config"), "contexts"), ["two"]);
}
