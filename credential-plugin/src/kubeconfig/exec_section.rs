//! The `exec` section of the user's entry: how the client calls this plugin. It is always made here, and never taken
//! over from an exchange: it says what is run on the user's machine.

use std::path::{self, Path};

use serde_json::{Value, json};

use crate::commands::kubeconfig::KubeconfigArgs;
use crate::environment;
use crate::exchange::allowed::{ALLOW_SERVER, AllowedExchange};
use crate::exec_protocol::ApiVersion;
use crate::failure::{Failure, FailureKind};
use crate::key_source::{self, KEY_VARIABLE, KeyArgs, words};

/// What kubectl prints when the plugin is not installed.
const INSTALL_HINT: &str = "kubectl-keyplane is not on PATH. Install it with: kubectl krew install keyplane, or put \
                            the kubectl-keyplane of Keyplane's release page on PATH";

/// The section. The cluster's extension says which exchange is the cluster's, so that one user serves many clusters; the
/// section says to which exchanges its key may go at all.
///
/// `interactiveMode` is `Never`: standard input belongs to the command that kubectl runs. A `--key-command` that asks a
/// person does so on the terminal itself or in a window, as ssh-agents and password managers do.
///
/// # Errors
/// [`FailureKind::NoKey`] for a key that is not one; [`FailureKind::Usage`] for a path that is not text, or a key command that is
/// none.
pub fn exec_section(asked: &KubeconfigArgs, allowed: &AllowedExchange) -> Result<Value, Failure> {
    let mut args = vec!["get-token".to_owned()];
    let mut exec = json!({
        "apiVersion": ApiVersion::V1.as_str(),
        "command": "kubectl-keyplane",
        "interactiveMode": "Never",
        "provideClusterInfo": true,
        "installHint": INSTALL_HINT,
    });
    let mut set = |field: &str, value: Value| {
        if let Some(fields) = exec.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
    };
    let mut tell = |argument: &str, value: String| args.extend([argument.to_owned(), value]);
    let KeyArgs { key_file, key_name, key_command, key_command_timeout, in_any_folder: _ } = &asked.key;
    if let Some(path) = key_file {
        tell("--key-file", absolute(path)?);
    }
    if let Some(name) = key_name {
        tell("--key-name", name.clone());
    }
    if let Some(command) = key_command {
        tell("--key-command", in_any_folder(command)?);
    }
    if let Some(seconds) = key_command_timeout {
        tell("--key-command-timeout", seconds.to_string());
    }
    if let Some(name) = &asked.exchange.tls_server_name {
        tell("--tls-server-name", name.clone());
    }
    if let Some(url) = &asked.exchange.proxy_url {
        tell("--proxy-url", url.clone());
    }
    if asked.embed_key_env {
        let key =
            environment::value(KEY_VARIABLE).ok_or_else(no_variable).and_then(key_source::read_variable)?;
        set("env", json!([{"name": KEY_VARIABLE, "value": key.expose()}]));
    }
    args.extend([ALLOW_SERVER.to_owned(), allowed.to_string()]);
    set("args", json!(args));
    Ok(exec)
}

fn no_variable() -> Failure {
    Failure::new(
        FailureKind::NoKey,
        format!("the environment variable {KEY_VARIABLE} is not set"),
        "--embed-key-env",
        format!("set {KEY_VARIABLE}, or leave out --embed-key-env"),
    )
}

/// The key file as an absolute path: kubectl starts the plugin in the user's current folder. When the file is there
/// already, its key is checked; a kubeconfig may also be made for another machine.
fn absolute(path: &Path) -> Result<String, Failure> {
    if path.exists() {
        key_source::read_file(path)?;
    }
    let unusable = || {
        Failure::new(
            FailureKind::Usage,
            "the key file's path cannot be written into a kubeconfig",
            path.display().to_string(),
            "give an absolute path of plain text",
        )
    };
    let absolute = path::absolute(path).map_err(|_| unusable())?;
    absolute.into_os_string().into_string().map_err(|_| unusable())
}

/// The key command with an absolute path in the place of a relative one of its program: it would mean another program in
/// each folder.
fn in_any_folder(command: &str) -> Result<String, Failure> {
    let unusable = |what: &str, remedy: &str| {
        // Not the text itself: its arguments may say more than a failure should.
        Failure::new(FailureKind::Usage, what, "--key-command", remedy)
    };
    let program = words::split(command).and_then(|words| words.into_iter().next());
    let Some(program) = program.filter(|program| !program.is_empty()) else {
        return Err(unusable(
            "the key command is empty, or a quote in it is not closed",
            "give it as one argument, such as 'pass show keyplane'",
        ));
    };
    if !words::is_relative_path(&program) {
        return Ok(command.to_owned());
    }
    let absolute = path::absolute(&program).ok().and_then(|path| path.into_os_string().into_string().ok());
    absolute.and_then(|program| words::with_program(command, &program)).ok_or_else(|| {
        unusable("the key command's program cannot be written into a kubeconfig", "give its whole path")
    })
}
