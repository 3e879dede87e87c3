//! A real kubectl, where there is one, starts the plugin from a kubeconfig that the plugin wrote.

use std::process::Command;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kept_key::accepting;
use crate::played::install;
use crate::stage::Stage;
use crate::stand_in::{Reply, StandIn, TOKEN};

#[test]
fn kubectl_gets_a_token_whatever_is_in_the_paths() {
    let Ok(kubectl) = Command::new("kubectl").args(["version", "--client"]).output() else { return };
    assert!(kubectl.status.success(), "{kubectl:?}");
    let (stage, exchange) = (Stage::new(), accepting());
    let api_server = StandIn::tls(|_| Reply::new(200, "{}").with("content-type", "application/json"));
    for folder in ["bin", "o'k folder", "o'k folder/#1"] {
        fs::create_dir(stage.path(folder)).unwrap();
    }
    let name = format!("kubectl-keyplane{}", env::consts::EXE_SUFFIX);
    install(&assert_cmd::cargo::cargo_bin("kubectl-keyplane"), &stage.path("bin").join(name));
    stage.file("o'k folder/#1/key", &stage.key, 0o600);
    let config = stage.path("o'k folder").join("config");
    let mut command = stage.command("kubeconfig", &exchange);
    command.args(["--cluster", "prod", "--cluster-server", &api_server.url, "--key-file"]);
    command.arg(stage.path("o'k folder").join("#1").join("key")).arg("--merge-into").arg(&config);
    command.assert().success();
    let mut content: Value = serde_saphyr::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    content["clusters"][0]["cluster"]["certificate-authority-data"] = json!(STANDARD.encode(&api_server.ca));
    fs::write(&config, content.to_string()).unwrap();

    let path = env::var_os("PATH").unwrap();
    let folders = [stage.path("bin")].into_iter().chain(env::split_paths(&path));
    let output = Command::new("kubectl")
        .args(["get", "--raw", "/version"])
        .env_clear()
        .envs(stage.environment())
        .env("PATH", env::join_paths(folders).unwrap())
        .env("KUBECONFIG", &config)
        .current_dir(stage.home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let asked = api_server.asked();
    assert!(!asked.is_empty());
    let bearer = format!("Bearer {TOKEN}");
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some(&bearer)), "{asked:?}");
    assert_eq!(exchange.asked().len(), 1);
}
