//! The token cache: a hit asks nobody, and what is wrong with it heals itself.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::json;

#[cfg(unix)]
use crate::stage::set_mode;
use crate::stage::{Stage, credential, failure, files_in, has_mode, new_key};
use crate::stand_in::{Reply, StandIn, TOKEN, now};

fn healthy() -> StandIn {
    StandIn::tls(|_| Reply::token(TimeDelta::minutes(10), TimeDelta::zero()))
}

fn tokens_in(folder: &Path) -> usize {
    let token = |file: &PathBuf| file.extension().is_some_and(|end| end == "json");
    files_in(folder).into_iter().filter(token).count()
}

#[test]
fn a_hit_makes_no_request_and_prints_the_same_in_either_version() {
    let (stage, exchange) = (Stage::new(), healthy());
    let cold = credential(&stage.get_token(&exchange).output().unwrap());
    let warm = credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(cold, warm);
    let beta =
        json!({"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "spec": {}});
    let output = stage.get_token(&exchange).env("KUBERNETES_EXEC_INFO", beta.to_string()).output().unwrap();
    let warm = credential(&output);
    assert_eq!(warm["apiVersion"], beta["apiVersion"]);
    assert_eq!(warm["status"], cold["status"]);
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn the_cache_is_private_and_holds_no_key() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let file = stage.cache_file();
    assert!(has_mode(&file, 0o600));
    assert!(has_mode(&stage.cache_folder(), 0o700));
    let content = fs::read_to_string(&file).unwrap();
    let secret = stage.key.split_once('_').unwrap().1;
    assert!(!content.contains(secret) && !file.to_str().unwrap().contains(secret));
}

#[test]
fn the_folder_is_the_argument_else_its_variable_else_the_users_cache_folder() {
    let (stage, exchange) = (Stage::new(), healthy());
    let [argument, variable, users] = ["argument", "variable", "users"].map(|name| stage.path(name));
    let mut command = stage.get_token(&exchange);
    command.env(if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CACHE_HOME" }, &users);
    credential(&command.output().unwrap());
    assert_eq!(tokens_in(&users.join("keyplane")), 1);
    command.env("KEYPLANE_CACHE_DIR", &variable);
    credential(&command.output().unwrap());
    assert_eq!(tokens_in(&variable), 1);
    command.arg("--cache-dir").arg(&argument);
    credential(&command.output().unwrap());
    assert_eq!(tokens_in(&argument), 1);
    assert!(!stage.cache_folder().exists());
}

#[test]
fn verbose_tells_each_decision_and_no_secret() {
    let (stage, exchange) = (Stage::new(), healthy());
    let told = || {
        let output = stage.get_token(&exchange).arg("--verbose").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        let secret = stage.key.split_once('_').unwrap().1;
        assert!(!told.contains(secret) && !told.contains(TOKEN), "{told}");
        told
    };
    let cold = told();
    assert!(cold.contains("there is no cached token") && cold.contains("asking the exchange"), "{cold}");
    assert!(told().contains("handing out the cached token"));
    fs::write(stage.cache_file(), "{}").unwrap();
    assert!(told().contains("damaged"));
    stage.edit_cached("json", |entry| {
        entry["life"]["expiresAt"] = json!((now() + TimeDelta::seconds(100)).to_rfc3339());
        entry["life"]["obtainedAt"] = json!((now() - TimeDelta::seconds(500)).to_rfc3339());
    });
    assert!(told().contains("ends soon"));
}

#[test]
fn no_cache_neither_reads_nor_writes() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).arg("--no-cache").output().unwrap());
    assert!(!stage.cache_folder().exists());
    credential(&stage.get_token(&exchange).output().unwrap());
    credential(&stage.get_token(&exchange).arg("--no-cache").output().unwrap());
    assert_eq!(exchange.asked().len(), 3);
}

#[test]
fn where_no_folder_can_be_written_it_works_without() {
    let (stage, exchange) = (Stage::new(), healthy());
    let file = stage.file("a-file", "", 0o600);
    for folder in [format!("{file}/cache"), "/proc/keyplane".to_owned()] {
        let output = stage.get_token(&exchange).args(["--cache-dir", &folder]).output().unwrap();
        credential(&output);
    }
    let mut command = stage.get_token(&exchange);
    command.env_remove("HOME").env_remove("LOCALAPPDATA");
    credential(&command.output().unwrap());
    assert_eq!(exchange.asked().len(), 3);
}

#[cfg(unix)]
#[test]
fn in_a_folder_that_cannot_be_written_it_works_without_a_cache_and_without_a_lock() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let root = fs::metadata(stage.home.path()).unwrap().uid() == 0;
    let plugin = stage.path("plugin");
    fs::copy(assert_cmd::cargo::cargo_bin("kubectl-keyplane"), &plugin).unwrap();
    let folder = stage.path("read-only");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o500);
    if root {
        // No mode stops root: somebody else runs it.
        for path in [stage.home.path(), &folder, &plugin] {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    for _ in 0..2 {
        let mut command = std::process::Command::new(&plugin);
        command
            .args(["get-token", "--server", &exchange.url, "--certificate-authority"])
            .arg(stage.path("ca.pem"))
            .arg("--cache-dir")
            .arg(&folder)
            .env_clear()
            .env("KEYPLANE_API_KEY", &stage.key);
        if root {
            command.uid(65534).gid(65534);
        }
        credential(&command.output().unwrap());
    }
    assert_eq!((exchange.asked().len(), files_in(&folder).len()), (3, 0));
}

#[test]
fn a_folder_in_the_files_place_is_a_miss_and_heals() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let file = stage.cache_file();
    for (asked, content) in [(2, None), (3, Some("something"))] {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        if let Some(content) = content {
            fs::write(file.join("kept"), content).unwrap();
        }
        for _ in 0..2 {
            credential(&stage.get_token(&exchange).output().unwrap());
        }
        assert_eq!(exchange.asked().len(), asked);
    }
    let aside = file.with_extension("json.aside").join("kept");
    assert_eq!(fs::read_to_string(aside).unwrap(), "something", "it is nobody's to delete");
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_in_is_not_used() {
    let (stage, exchange) = (Stage::new(), healthy());
    let folder = stage.path("shared");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o777);
    let output = stage.get_token(&exchange).arg("--cache-dir").arg(&folder).output().unwrap();
    credential(&output);
    assert!(files_in(&folder).is_empty());
    assert!(has_mode(&folder, 0o777), "a folder of somebody else's making keeps its mode");
}

#[test]
fn a_corrupt_file_is_a_miss_and_heals() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let file = stage.cache_file();
    let sound = fs::read(&file).unwrap();
    let truncated = &sound[..sound.len() / 2];
    let huge = vec![b' '; 1_000_000];
    let mut asked = 1;
    for content in [b"".as_slice(), b"{}", b"null", b"\xff\xfe", truncated, &huge] {
        fs::write(&file, content).unwrap();
        credential(&stage.get_token(&exchange).output().unwrap());
        credential(&stage.get_token(&exchange).output().unwrap());
        asked += 1;
        assert_eq!(exchange.asked().len(), asked, "one request heals {content:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_or_that_is_a_link_or_a_pipe_is_a_miss_and_heals() {
    use std::os::unix::fs::symlink;
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let file = stage.cache_file();

    set_mode(&file, 0o640);
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
    assert!(has_mode(&file, 0o600));

    let elsewhere = stage.path("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    let content = fs::read(&elsewhere).unwrap();
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 3);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(fs::read(&elsewhere).unwrap(), content, "what the link named is untouched");

    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 4);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
}

#[test]
fn a_cached_token_is_handed_out_only_with_75_seconds_left_and_not_from_the_future() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let later = |seconds| json!((now() + TimeDelta::seconds(seconds)).to_rfc3339());
    stage.edit_cached("json", |entry| entry["life"]["expiresAt"] = later(300));
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 1, "300 s are enough");
    stage.edit_cached("json", |entry| entry["life"]["expiresAt"] = later(74));
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2, "74 s are not");
    stage.edit_cached("json", |entry| entry["life"]["obtainedAt"] = later(60));
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 3, "the clock was set back");
    stage.edit_cached("json", |entry| entry["life"]["expiresAt"] = later(10_000_000));
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 4, "no token lives that long");
}

#[test]
fn a_fresh_token_with_under_75_seconds_is_neither_handed_out_nor_kept() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| Reply::token(TimeDelta::seconds(70), TimeDelta::zero()));
    let output = stage.get_token(&exchange).output().unwrap();
    let line = failure(&output, 10);
    assert!(line.contains("75 s"), "{line}");
    assert_eq!(tokens_in(&stage.cache_folder()), 0);
}

#[test]
fn two_keys_exchanges_cas_or_clusters_never_share_a_slot() {
    let (stage, exchange, other) = (Stage::new(), healthy(), healthy());
    let cluster = |server: &str, name: &str| {
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "spec": {"cluster": {"server": server, "tls-server-name": name}},
        })
        .to_string()
    };
    let mut commands = vec![
        stage.get_token(&exchange),
        stage.get_token(&exchange),
        stage.get_token(&exchange),
        stage.get_token(&exchange),
        stage.get_token(&exchange),
    ];
    commands[1].env("KEYPLANE_API_KEY", new_key());
    commands[2].env("KUBERNETES_EXEC_INFO", cluster("https://one", ""));
    commands[3].env("KUBERNETES_EXEC_INFO", cluster("https://two", ""));
    commands[4].env("KUBERNETES_EXEC_INFO", cluster("https://two", "three"));
    for command in &mut commands {
        credential(&command.output().unwrap());
    }
    let both = stage.file("both.pem", &format!("{}{}", exchange.ca, other.ca), 0o644);
    let mut bundle = stage.plugin();
    bundle.env("KEYPLANE_API_KEY", &stage.key).args([
        "get-token",
        "--server",
        &exchange.url,
        "--certificate-authority",
        &both,
    ]);
    credential(&bundle.output().unwrap());
    credential(&stage.get_token(&other).output().unwrap());
    assert_eq!((exchange.asked().len(), other.asked().len()), (6, 1));
    assert_eq!(tokens_in(&stage.cache_folder()), 7);
}
