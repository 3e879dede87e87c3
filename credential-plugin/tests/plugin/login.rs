//! login and logout: what is kept, what is said, and what is gone afterwards.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::kept_key::{accepted, accepting, identity, shows_no_key, text};
use crate::stage::{Stage, credential, failure, files_in, has_mode, new_key, set_mode};
use crate::stand_in::{Reply, StandIn};

#[test]
fn a_key_that_the_exchange_accepts_is_kept_privately_and_used_from_then_on() {
    let (stage, exchange) = (Stage::new(), accepting());
    let output = stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let asked = exchange.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].head.starts_with("GET /v1/whoami "), "{}", asked[0].head);
    assert_eq!(asked[0].header("x-api-key"), Some(stage.key.as_str()));
    let said = text(&output.stdout);
    for words in [
        "acme",
        "kpk_Ab3d ci \"CI\"",
        "as view in all namespaces",
        "kubectl -n acme-web",
        "2099",
        "192.0.2.0/24",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let [key] = stage.kept_keys().try_into().unwrap();
    let told = text(&output.stderr);
    assert!(told.contains(key.to_str().unwrap()) && told.contains("kubectl keyplane kubeconfig"), "{told}");
    assert_eq!(fs::read_to_string(&key).unwrap(), stage.key);
    assert!(has_mode(&stage.kept_folder(), 0o700));
    for file in files_in(&stage.kept_folder()) {
        assert!(has_mode(&file, 0o600), "{file:?}");
    }
    let record = fs::read_to_string(key.with_extension("json")).unwrap();
    assert!(!record.contains(&stage.key[4..]), "{record}");
    credential(&stage.command("get-token", &exchange).output().unwrap());
    assert_eq!(exchange.asked()[1].header("x-api-key"), Some(stage.key.as_str()));
}

#[test]
fn a_kept_key_is_not_read_while_its_token_is_in_the_cache() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let cold = credential(&stage.command("get-token", &exchange).output().unwrap());
    let [key] = stage.kept_keys().try_into().unwrap();
    fs::remove_file(&key).unwrap();
    assert_eq!(credential(&stage.command("get-token", &exchange).output().unwrap()), cold);
    let line = failure(&stage.command("get-token", &exchange).arg("--no-cache").output().unwrap(), 3);
    assert!(line.contains("kubectl keyplane login"), "{line}");
}

#[test]
fn a_kept_key_that_was_exchanged_by_hand_is_used_as_what_it_is() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let [key] = stage.kept_keys().try_into().unwrap();
    let other = new_key();
    fs::write(&key, &other).unwrap();
    for _ in 0..2 {
        credential(&stage.command("get-token", &exchange).output().unwrap());
    }
    let asked = exchange.asked();
    assert_eq!(asked.len(), 2, "the second start knows the new key and finds its token");
    assert_eq!(asked[1].header("x-api-key"), Some(other.as_str()));
    // Nothing stands in the slot of the key that was there before.
    credential(&stage.command("get-token", &exchange).env("KEYPLANE_API_KEY", &stage.key).output().unwrap());
    assert_eq!(exchange.asked().len(), 3);
}

#[test]
fn a_key_that_is_refused_or_mistyped_is_not_kept_and_leaves_the_one_before() {
    let (stage, exchange) = (
        Stage::new(),
        StandIn::tls(|count| {
            if count == 1 {
                accepted()
            } else {
                Reply::problem(401, "Missing, invalid, revoked, or expired API key")
            }
        }),
    );
    let fresh = Stage::new();
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    for stage in [&stage, &fresh] {
        let before = files_in(&stage.kept_folder());
        let other = new_key();
        let mut command = stage.command("login", &exchange);
        let output = command.arg("-v").write_stdin(other.clone()).output().unwrap();
        shows_no_key(&output, &other);
        assert_eq!(output.status.code(), Some(4));
        assert_eq!(files_in(&stage.kept_folder()), before);
    }
    assert_eq!(fs::read_to_string(&stage.kept_keys()[0]).unwrap(), stage.key);
    let count = exchange.asked().len();
    let wrong = format!("{}x", fresh.key);
    for input in ["", "\n", "secret", &wrong, &format!("{}\n{}\n", fresh.key, fresh.key)] {
        let output = fresh.command("login", &exchange).write_stdin(input.to_owned()).output().unwrap();
        shows_no_key(&output, &fresh.key);
        failure(&output, 3);
    }
    assert_eq!(exchange.asked().len(), count);
    assert!(!fresh.kept_folder().exists());
}

#[test]
fn the_key_may_come_from_a_file_a_command_or_the_variable_by_an_argument_alone() {
    let exchange = accepting();
    for source in ["--key-file", "--key-command", "--from-env"] {
        let stage = Stage::new();
        let file = stage.file("key", &stage.key, 0o600);
        let mut command = stage.command("login", &exchange);
        command.args(["--store", "file", source]).env("KEYPLANE_API_KEY", &stage.key);
        match source {
            "--key-file" => command.arg(&file),
            "--key-command" => command.arg(Stage::prints(&file)),
            _ => &mut command,
        };
        let output = command.output().unwrap();
        shows_no_key(&output, &stage.key);
        assert!(output.status.success(), "{output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("KEYPLANE_API_KEY comes before the kept key"), "{told}");
        assert_eq!(fs::read_to_string(&stage.kept_keys()[0]).unwrap(), stage.key);
    }
    let stage = Stage::new();
    let mut command = stage.command("login", &exchange);
    failure(&command.env("KEYPLANE_API_KEY", &stage.key).write_stdin("").output().unwrap(), 3);
}

#[test]
fn from_env_without_the_variable_names_just_that() {
    let (stage, exchange) = (Stage::new(), accepting());
    for value in [None, Some("")] {
        let mut command = stage.command("login", &exchange);
        command.arg("--from-env").envs(value.map(|value| ("KEYPLANE_API_KEY", value)));
        let line = failure(&command.output().unwrap(), 3);
        assert!(line.contains("KEYPLANE_API_KEY is not set") && !line.contains("--key-file"), "{line}");
    }
}

#[test]
fn without_a_folder_for_keys_the_variables_that_count_on_this_platform_are_named() {
    let stage = Stage::new();
    let mut command = stage.plugin();
    for variable in ["HOME", "USERPROFILE", "LOCALAPPDATA"] {
        command.env_remove(variable);
    }
    let line =
        failure(&command.args(["logout", "--server", "https://exchange.example"]).output().unwrap(), 11);
    let (named, other) =
        if cfg!(windows) { ("LOCALAPPDATA", "XDG_CONFIG_HOME") } else { ("XDG_CONFIG_HOME", "LOCALAPPDATA") };
    assert!(line.contains(named) && !line.contains(other), "{line}");
}

#[test]
fn a_second_login_replaces_the_key_says_so_and_forgets_the_old_tokens() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    credential(&stage.command("get-token", &exchange).output().unwrap());
    let again = stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    assert!(!text(&again.stderr).contains("replaces"), "{again:?}");
    assert_eq!(stage.cached_tokens().len(), 1);
    let other = new_key();
    let output = stage.log_in(&exchange, &other, &["--store", "file"]);
    let words = format!("It replaces the key {}", &stage.key[..8]);
    assert!(text(&output.stderr).contains(&words), "{output:?}");
    assert!(stage.cached_tokens().is_empty());
    let [kept] = stage.kept_keys().try_into().unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), other);
}

#[test]
fn two_accounts_at_one_exchange_have_a_name_each() {
    let (stage, exchange) = (Stage::new(), accepting());
    let keys = [None, Some("acme"), Some("globex")].map(|name| (name, new_key()));
    for (name, key) in &keys {
        let named: Vec<&str> = name.iter().flat_map(|name| ["--key-name", name]).collect();
        stage.log_in(&exchange, key, &[&["--store", "file"], named.as_slice()].concat());
    }
    for (name, key) in &keys {
        let mut command = stage.command("get-token", &exchange);
        match name {
            // A name says which key, whatever the variable holds.
            Some(name) => command.args(["--key-name", name]).env("KEYPLANE_API_KEY", new_key()),
            None => &mut command,
        };
        credential(&command.output().unwrap());
        assert_eq!(exchange.asked().last().unwrap().header("x-api-key"), Some(key.as_str()));
    }
    stage.command("logout", &exchange).assert().success();
    let line = failure(&stage.command("get-token", &exchange).output().unwrap(), 3);
    assert!(line.contains("kept under names: acme, globex") && line.contains("--key-name"), "{line}");
    assert!(line.contains(&format!("kubectl keyplane login --server {}", exchange.url)), "{line}");
    let output = stage.command("logout", &exchange).output().unwrap();
    assert!(text(&output.stderr).contains("kept under names: acme, globex; give --key-name"), "{output:?}");
    stage.log_in(&exchange, keys[0].1.as_str(), &["--store", "file"]);
    credential(&stage.command("get-token", &exchange).output().unwrap());
    stage.command("logout", &exchange).args(["--key-name", "acme"]).assert().success();
    assert_eq!(stage.kept_keys().len(), 2);
    assert_eq!(stage.cached_tokens().len(), 2);
    let line =
        failure(&stage.command("get-token", &exchange).args(["--key-name", "acme"]).output().unwrap(), 3);
    assert!(line.contains("under the name acme") && line.contains("login --key-name acme"), "{line}");
}

#[test]
fn a_key_is_kept_for_one_exchange_alone() {
    let (stage, one, two) = (Stage::new(), accepting(), accepting());
    stage.log_in(&one, &stage.key, &["--store", "file"]);
    let line = failure(&stage.command("get-token", &two).output().unwrap(), 3);
    assert!(line.contains(&two.url) && line.contains("kubectl keyplane login"), "{line}");
    assert!(two.asked().is_empty());
}

#[test]
fn logout_leaves_nothing_of_the_key_and_a_second_one_is_no_error() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    credential(&stage.command("get-token", &exchange).output().unwrap());
    // Another key's token stays.
    credential(&stage.command("get-token", &exchange).env("KEYPLANE_API_KEY", new_key()).output().unwrap());
    let count = exchange.asked().len();
    let output = stage.command("logout", &exchange).output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains(&stage.key[..8]), "{output:?}");
    shows_no_key(&output, &stage.key);
    assert!(files_in(&stage.kept_folder()).is_empty());
    assert_eq!(stage.cached_tokens().len(), 1);
    let output = stage.command("logout", &exchange).output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("No key is kept"), "{output:?}");
    let output = stage.command("logout", &exchange).args(["--key-name", "nosuch"]).output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("under the name nosuch"), "{output:?}");
    assert_eq!(exchange.asked().len(), count, "logout asks nobody");
    failure(&stage.command("get-token", &exchange).output().unwrap(), 3);
}

#[test]
fn a_damaged_record_is_no_record_and_goes_with_the_next_login_or_logout() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let record = stage.kept_keys()[0].with_extension("json");
    let sound: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let changed = |field: &str, value: Value| {
        let mut record = sound.clone();
        record[field] = value;
        record.to_string()
    };
    let damages = [
        String::new(),
        "{".to_owned(),
        changed("layout", json!(2)),
        changed("server", json!("https://elsewhere.example")),
        changed("digest", json!("sha256:1")),
        changed("store", json!("cloud")),
        "x".repeat(100_000),
    ];
    for damage in damages {
        fs::write(&record, &damage).unwrap();
        let line = failure(&stage.command("get-token", &exchange).output().unwrap(), 3);
        assert!(line.contains("login"), "{line}");
        stage.command("logout", &exchange).assert().success();
        assert!(files_in(&stage.kept_folder()).is_empty(), "{damage:.40}");
        stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    }
    #[cfg(unix)]
    {
        set_mode(&record, 0o644);
        failure(&stage.command("get-token", &exchange).output().unwrap(), 3);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_in_keeps_no_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let folder = stage.path("shared/keys");
    fs::create_dir_all(&folder).unwrap();
    set_mode(&folder, 0o777);
    let mut command = stage.command("login", &exchange);
    command.args(["--store", "file"]).env("KEYPLANE_CONFIG_DIR", stage.path("shared"));
    let output = command.write_stdin(stage.key.clone()).output().unwrap();
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(11), "{line}");
    assert!(line.contains("the key cannot be kept") && files_in(&folder).is_empty(), "{line}");
}

#[cfg(not(any(target_os = "macos", windows)))]
#[test]
fn without_a_keyring_the_key_goes_into_a_file_and_that_is_said() {
    let (stage, exchange) = (Stage::new(), accepting());
    let output = stage.log_in(&exchange, &stage.key, &[]);
    let told = text(&output.stderr);
    assert!(told.contains("No keyring is used: ") && told.contains("mode 0600"), "{told}");
    let mut command = stage.command("login", &exchange);
    let output = command.args(["--store", "keyring"]).write_stdin(new_key()).output().unwrap();
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    if !cfg!(feature = "keyring") {
        let line = failure(&output, 11);
        assert!(line.contains("built without") && line.contains("--store file"), "{line}");
    }
    assert_eq!(
        fs::read_to_string(&stage.kept_keys()[0]).unwrap(),
        stage.key,
        "the one before is still there"
    );
}

/// Windows has a keyring for each user, and asks nobody. On macOS a dialog could come up.
#[cfg(windows)]
#[test]
fn the_keyring_keeps_the_key_until_logout() {
    let (stage, exchange) = (Stage::new(), accepting());
    let output = stage.log_in(&exchange, &stage.key, &[]);
    assert!(text(&output.stderr).contains("keyring"), "{output:?}");
    assert!(stage.kept_keys().is_empty());
    credential(&stage.command("get-token", &exchange).arg("--no-cache").output().unwrap());
    assert_eq!(exchange.asked().last().unwrap().header("x-api-key"), Some(stage.key.as_str()));
    stage.command("logout", &exchange).assert().success();
    failure(&stage.command("get-token", &exchange).arg("--no-cache").output().unwrap(), 3);
}

#[test]
fn a_key_without_kubernetes_access_is_kept_with_a_warning() {
    for (scope, words) in [
        ("inference", "the inference API; no kubectl"),
        ("ssh_keys", "the SSH key API; no kubectl"),
        ("rockets", "rockets; no kubectl"),
    ] {
        let exchange = StandIn::tls(move |_| {
            let mut identity = identity();
            identity["scopes"] = json!({scope: true});
            Reply::new(200, identity.to_string())
        });
        let stage = Stage::new();
        let output = stage.log_in(&exchange, &stage.key, &["--store", "file"]);
        assert!(text(&output.stdout).contains(words), "{output:?}");
        assert!(
            text(&output.stderr).contains("warning: this key gives no access with kubectl"),
            "{output:?}"
        );
    }
}

#[test]
fn an_answer_that_shows_the_key_or_moves_the_cursor_is_not_repeated_so() {
    let stage = Stage::new();
    let key = stage.key.clone();
    let exchange = StandIn::tls(move |_| {
        let mut identity = identity();
        identity["display_name"] = json!(format!("{key}\u{1b}[2J\nAccount: admin"));
        identity["account"] = json!(format!("{key}\u{1b}]0;x\u{7}"));
        Reply::new(200, identity.to_string())
    });
    let output = stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    assert!(
        !text(&output.stdout).contains('\u{1b}') && text(&output.stdout).matches('\n').count() == 6,
        "{output:?}"
    );
}

#[test]
fn an_answer_that_names_nobody_keeps_nothing() {
    for body in ["", "{}", "<html>", "[]", "{\"account\": \"acme\"}"] {
        let (stage, exchange) = (Stage::new(), StandIn::tls(move |_| Reply::new(200, body)));
        let output = stage.command("login", &exchange).write_stdin(stage.key.clone()).output().unwrap();
        failure(&output, 8);
        assert!(!stage.kept_folder().exists());
    }
}

#[test]
fn the_key_that_a_killed_login_left_in_an_unfinished_file_is_removed_by_login_and_logout() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let leave = || {
        let left = stage.kept_folder().join(".keyplane-Ab3dE9fG7hI1.begun");
        fs::write(&left, &stage.key).unwrap();
        set_mode(&left, 0o600);
        let file = fs::File::options().write(true).open(&left).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_mins(3)).unwrap();
        left
    };
    let left = leave();
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    assert!(!left.exists());
    leave();
    assert!(stage.command("logout", &exchange).output().unwrap().status.success());
    assert_eq!(files_in(&stage.kept_folder()), <[PathBuf; 0]>::default());
}
