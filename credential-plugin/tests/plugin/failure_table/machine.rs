//! Faults of this machine: the cache, the disk, the key, what the client says.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Row, Scene, healthy, token};
use crate::stage::Stage;
use crate::stand_in::{StandIn, now};

/// A cache that was filled once and then damaged: one more request heals it.
fn damaged(damage: fn(&Path)) -> Scene {
    let exchange = healthy();
    let stage = Stage::new();
    let mut command = stage.get_token(&exchange);
    assert!(command.output().unwrap().status.success());
    damage(&stage.cache_file());
    Scene { asked: Some((exchange, 2)), ..Scene::of(stage, command) }
}

fn rewritten(file: &Path, content: impl AsRef<[u8]>) {
    fs::write(file, content).unwrap();
}

fn edited(file: &Path, path: &str, value: Value) {
    let mut entry: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    *entry.pointer_mut(path).unwrap() = value;
    rewritten(file, entry.to_string());
}

fn later(seconds: i64) -> Value {
    json!((now() + TimeDelta::seconds(seconds)).to_rfc3339())
}

/// The variable in which the cache folder is.
const HOME: &str = if cfg!(windows) { "LOCALAPPDATA" } else { "HOME" };
/// A folder that is not there and cannot be made.
const NO_FOLDER: &str = if cfg!(windows) { r"\\?\Volume{0}\home" } else { "/dev/null/home" };

/// A variable's value that is not text.
fn no_text() -> OsString {
    #[cfg(unix)]
    {
        std::os::unix::ffi::OsStringExt::from_vec(b"\xff{}".to_vec())
    }
    #[cfg(windows)]
    {
        std::os::windows::ffi::OsStringExt::from_wide(&[0xd800, 0x7b, 0x7d])
    }
}

/// Its place is taken by what this makes, and stays so when it cannot be replaced by a file.
fn replaced(file: &Path, make: impl Fn(&Path)) {
    fs::remove_file(file).unwrap();
    make(file);
}

/// A healthy exchange, with the environment or the folder changed by this.
fn on(change: impl FnOnce(&Stage)) -> Scene {
    let scene = Scene::counted(healthy(), 1);
    change(&scene.stage);
    scene
}

/// `get-token` with this key file against an exchange that shall not be asked.
fn key_file(make: fn(&Stage) -> String) -> Scene {
    let scene = Scene::counted(healthy(), 0);
    let file = make(&scene.stage);
    scene.args(&["--key-file", &file])
}

/// A client's request, to an exchange that shall not be asked.
fn asked_with(info: impl AsRef<std::ffi::OsStr>) -> Scene {
    Scene::counted(healthy(), 0).env("KUBERNETES_EXEC_INFO", info)
}

fn info(version: &str, spec: &Value) -> String {
    json!({"apiVersion": format!("client.authentication.k8s.io/{version}"), "kind": "ExecCredential", "spec": spec})
        .to_string()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = of_the_cache();
    rows.extend(of_the_disk());
    #[cfg(unix)]
    rows.extend(unix::rows());
    rows.extend(of_the_key());
    rows.extend(of_the_request());
    rows
}

fn of_the_cache() -> Vec<Row> {
    let heals = |name, scene| Row { name, scene, code: 0, words: &[] };
    vec![
        heals("a cache cut short", || {
            damaged(|file| {
                let content = fs::read(file).unwrap();
                rewritten(file, &content[..content.len() / 2]);
            })
        }),
        heals("an empty cache", || damaged(|file| rewritten(file, ""))),
        heals("a cache of other JSON", || damaged(|file| rewritten(file, "[{}]"))),
        heals("a cache of no text", || damaged(|file| rewritten(file, b"\xff\xfe\0"))),
        heals("a huge cache", || damaged(|file| rewritten(file, vec![b' '; 10_000_000]))),
        heals("a cache of another layout", || damaged(|file| edited(file, "/layout", json!(99)))),
        heals("a cache of another slot", || damaged(|file| edited(file, "/slot", json!("0".repeat(64))))),
        heals("a cached token with a line end", || {
            damaged(|file| edited(file, "/token", json!("a\r\nb: c")))
        }),
        heals("an empty cached token", || damaged(|file| edited(file, "/token", json!("")))),
        heals("a cached token that is a number", || damaged(|file| edited(file, "/token", json!(7)))),
        heals("a cache from the future", || damaged(|file| edited(file, "/life/obtainedAt", later(60)))),
        heals("a cached token that ends in a minute", || {
            damaged(|file| edited(file, "/life/expiresAt", later(60)))
        }),
        heals("a cached token that ended yesterday", || {
            damaged(|file| edited(file, "/life/expiresAt", later(-86_400)))
        }),
        heals("a cached token that lives a year", || {
            damaged(|file| edited(file, "/life/expiresAt", later(31_536_000)))
        }),
        heals("a folder in the cache's place", || {
            damaged(|file| replaced(file, |file| fs::create_dir(file).unwrap()))
        }),
    ]
}

fn of_the_disk() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    vec![
        row(
            "a cache folder that is a file",
            || {
                on(|stage| {
                    let folder = stage.cache_folder();
                    fs::create_dir_all(folder.parent().unwrap()).unwrap();
                    fs::write(folder, "").unwrap();
                })
            },
            0,
            &[],
        ),
        row("a home that is not there", || Scene::counted(healthy(), 1).env(HOME, NO_FOLDER), 0, &[]),
        row("a home that is nowhere", || Scene::counted(healthy(), 1).env(HOME, ""), 0, &[]),
        row("a home that is relative", || Scene::counted(healthy(), 1).env(HOME, "here"), 0, &[]),
        row(
            "a CA file that is not there",
            || {
                let scene = Scene::bare(&["--server", "https://exchange.example"]);
                let file = scene.stage.path("no.pem").display().to_string();
                scene.args(&["--certificate-authority", &file])
            },
            11,
            &["the CA file cannot be read", "no.pem)"],
        ),
        row(
            "a CA file without a certificate",
            || {
                let scene = Scene::bare(&["--server", "https://exchange.example"]);
                let file = scene.stage.file("no.pem", "a-name", 0o644);
                scene.args(&["--certificate-authority", &file])
            },
            11,
            &["the CA file holds no certificate"],
        ),
    ]
}

fn of_the_key() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    vec![
        row(
            "a key file that is a folder",
            || {
                key_file(|stage| {
                    fs::create_dir(stage.path("key")).unwrap();
                    stage.path("key").display().to_string()
                })
            },
            3,
            &["is a folder"],
        ),
        row("an empty key file", || key_file(|stage| stage.file("key", "", 0o600)), 3, &["is empty"]),
        row(
            "a missing key file",
            || key_file(|stage| stage.path("no-key").display().to_string()),
            3,
            &["the key file cannot be read", "no-key)"],
        ),
        row(
            "a key file by a relative path",
            || key_file(|_| "key".to_owned()),
            2,
            &["path is relative", "(key)", "give its whole path"],
        ),
        row(
            "a key file with two keys",
            || key_file(|stage| stage.file("key", &format!("{0}\n{0}\n", stage.key), 0o600)),
            3,
            &["key"],
        ),
        row(
            "a key file with a line end of Windows",
            || {
                let scene = Scene::counted(StandIn::tls(|_| token()), 1);
                let file = scene.stage.file("key", &format!("{}\r\n", scene.stage.key), 0o600);
                scene.args(&["--key-file", &file])
            },
            0,
            &[],
        ),
        row("no key", || Scene::counted(healthy(), 0).env("KEYPLANE_API_KEY", ""), 3, &["KEYPLANE_API_KEY"]),
        row(
            "a key of no text",
            || Scene::counted(healthy(), 0).env("KEYPLANE_API_KEY", no_text()),
            3,
            &["not text"],
        ),
        row("a mistyped key", || Scene::counted(healthy(), 0).env("KEYPLANE_API_KEY", "kpk_abc"), 3, &["; "]),
    ]
}

fn of_the_request() -> Vec<Row> {
    let row = |name, scene, code, words| Row { name, scene, code, words };
    vec![
        row(
            "a request cut short",
            || asked_with("{"),
            2,
            &["cannot be read at line 1", "KUBERNETES_EXEC_INFO"],
        ),
        row("a request of no JSON", || asked_with("yes"), 2, &["cannot be read at line 1"]),
        row("a request that is a list", || asked_with("[1]"), 2, &["cannot be read"]),
        row("a request of no text", || asked_with(no_text()), 2, &["cannot be read"]),
        row("a request for a Pod", || asked_with(r#"{"apiVersion":"v1","kind":"Pod"}"#), 2, &["a \"Pod\""]),
        row("a request without a kind", || asked_with(r#"{"apiVersion":"v1"}"#), 2, &["cannot be read"]),
        row(
            "v1alpha1",
            || asked_with(info("v1alpha1", &json!({}))),
            2,
            &[
                "v1alpha1\", which this plugin does not speak",
                "set apiVersion: client.authentication.k8s.io/v1",
            ],
        ),
        row(
            "a cluster that is a number",
            || asked_with(info("v1", &json!({"cluster": 7}))),
            2,
            &["cannot be read"],
        ),
        row(
            "a cluster's exchange that nobody allowed",
            || {
                let info = info("v1", &json!({"cluster": {"config": {"server": "https://thief.example"}}}));
                Scene::bare(&[]).env("KUBERNETES_EXEC_INFO", info)
            },
            2,
            &["https://thief.example", "--allow-server"],
        ),
        row("no exchange at all", || Scene::bare(&[]), 2, &["address is not known", "--server URL"]),
    ]
}

/// Faults that only Unix has: modes, owners, links, pipes and limits.
#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use std::process::Command as Process;

    use serde_json::json;

    use super::super::{Row, Scene, healthy};
    use super::{damaged, edited, key_file, on, replaced};
    use crate::stage::set_mode;

    /// The plugin under a shell that sets a limit for it.
    fn under(shell: &str) -> Scene {
        let mut scene = Scene::counted(healthy(), 1);
        let mut command = assert_cmd::Command::new("/bin/sh");
        command.env_clear().current_dir(scene.stage.home.path());
        command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]);
        command.arg(scene.command.get_program()).args(scene.command.get_args());
        for (name, value) in scene.command.get_envs() {
            value.map(|value| command.env(name, value));
        }
        scene.command = command;
        scene
    }

    fn cache_folder_of_mode(mode: u32) -> Scene {
        on(|stage| {
            fs::create_dir_all(stage.cache_folder()).unwrap();
            set_mode(&stage.cache_folder(), mode);
        })
    }

    pub(super) fn rows() -> Vec<Row> {
        let heals = |name, scene| Row { name, scene, code: 0, words: &[] };
        let row = |name, scene, code, words| Row { name, scene, code, words };
        vec![
            heals("a link in the cache's place", || {
                damaged(|file| {
                    let elsewhere = file.with_extension("elsewhere");
                    fs::rename(file, &elsewhere).unwrap();
                    symlink(elsewhere, file).unwrap();
                })
            }),
            heals("a pipe in the cache's place", || {
                damaged(|file| {
                    replaced(file, |file| {
                        assert!(Process::new("mkfifo").arg(file).status().unwrap().success());
                    });
                })
            }),
            heals("a cache that others may read", || damaged(|file| set_mode(file, 0o644))),
            heals("a cache that is another's", || {
                damaged(|file| {
                    // Only root gives files away; for others a file of another layout stands for it.
                    if chown(file, Some(12_345), None).is_err() {
                        edited(file, "/layout", json!(99));
                    }
                })
            }),
            heals("a cache folder that others may write in", || cache_folder_of_mode(0o777)),
            heals("a cache folder that cannot be entered", || cache_folder_of_mode(0o000)),
            row(
                "a home that cannot be written",
                || Scene::counted(healthy(), 1).env("HOME", "/proc"),
                0,
                &[],
            ),
            // Each writing fails, as it does on a full disk; the signal that comes with it is ignored.
            row("a disk that is full", || under("trap '' XFSZ; ulimit -f 0"), 0, &[]),
            #[cfg(target_os = "linux")]
            row("an output that is full", || under("exec > /dev/full"), 1, &["output cannot be written"]),
            row(
                "a CA file without an end",
                || {
                    Scene::bare(&[
                        "--server",
                        "https://exchange.example",
                        "--certificate-authority",
                        "/dev/zero",
                    ])
                },
                11,
                &["holds more than 1048576 bytes"],
            ),
            row(
                "a key file that others can read",
                || key_file(|stage| stage.file("key", &stage.key, 0o644)),
                3,
                &["chmod 600"],
            ),
        ]
    }
}
