//! What an error of the API server's client says in the log: one cause, once, and never what a file, a credential
//! plugin or an answer held.

use std::error::Error;

use kube::client::AuthError;
use kube::config::KubeconfigError;

/// The cause of a failed request, in one line.
pub(crate) fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => innermost(other),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut link = error;
    loop {
        if let Some(auth) = link.downcast_ref::<AuthError>() {
            return credentials(auth);
        }
        if link.is::<KubeconfigError>() {
            return "the kubeconfig's certificates or key cannot be used".to_owned();
        }
        if let Some(json) = link.downcast_ref::<serde_json::Error>() {
            return format!("an answer that cannot be read (line {}, column {})", json.line(), json.column());
        }
        match link.source() {
            Some(source) => link = source,
            None => return link.to_string(),
        }
    }
}

/// The client's own text holds a credential plugin's whole output, and with it perhaps a token.
fn credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(error) => {
            format!("the kubeconfig's credential plugin cannot be run: {error}")
        }
        AuthError::AuthExecRun { out, .. } => {
            format!("the kubeconfig's credential plugin failed: {}", out.status)
        }
        AuthError::ReadTokenFile(error, path) => {
            format!("the token file {} cannot be read: {error}", path.display())
        }
        _ => "the kubeconfig's credentials cannot be used".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::*;

    #[test]
    fn a_failed_credential_plugins_output_is_not_shown() {
        let out = Output {
            status: ExitStatus::from_raw(256),
            stdout: b"s3cret".to_vec(),
            stderr: b"s3cret".to_vec(),
        };
        let error = AuthError::AuthExecRun { cmd: "plugin --token s3cret".to_owned(), out: Box::new(out) };
        let shown = cause(&kube::Error::Service(Box::new(error)));
        assert!(shown.contains("exit status: 1") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn an_unreadable_answers_content_is_not_shown() {
        let error = serde_json::from_str::<u8>("\"s3cret\"").unwrap_err();
        let shown = cause(&kube::Error::SerdeError(error));
        assert!(shown.contains("line 1") && !shown.contains("s3cret"), "{shown}");
    }
}
