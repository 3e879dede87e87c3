//! The kubeconfig, and what is wrong with one. Its content is secret: neither the parser's nor the client's own text
//! is ever passed on, because they quote it.

use std::io;
use std::path::Path;

use anyhow::{anyhow, bail};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};

/// The configuration of a context (default: the current one) of a kubeconfig file.
///
/// # Errors
/// When the file or the context cannot be used.
pub(super) async fn of_file(path: &Path, context: Option<&str>) -> anyhow::Result<Config> {
    let place = format!("the kubeconfig {}", path.display());
    let file = Kubeconfig::read_from(path).map_err(|error| anyhow!(unusable(&place, &error)))?;
    select(file, &place, context).await
}

/// The same of `$KUBECONFIG` or `~/.kube/config`; none when there is no such file.
///
/// # Errors
/// When there is one and it cannot be used.
pub(super) async fn of_default(context: Option<&str>) -> anyhow::Result<Option<Config>> {
    let chosen = std::env::var("KUBECONFIG").ok().filter(|value| !value.is_empty());
    let place = match &chosen {
        Some(value) => format!("the kubeconfig {value} (from $KUBECONFIG)"),
        None => "the kubeconfig ~/.kube/config".to_owned(),
    };
    let file = match Kubeconfig::read() {
        Ok(file) if file.contexts.is_empty() && chosen.is_none() => return Ok(None),
        Ok(file) => file,
        Err(KubeconfigError::FindPath) => return Ok(None),
        Err(KubeconfigError::ReadConfig(error, _))
            if chosen.is_none() && error.kind() == io::ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        Err(error) => bail!(unusable(&place, &error)),
    };
    select(file, &place, context).await.map(Some)
}

async fn select(file: Kubeconfig, place: &str, context: Option<&str>) -> anyhow::Result<Config> {
    let mut names: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
    names.sort();
    let names =
        if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    let options =
        KubeConfigOptions { context: context.map(ToOwned::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| match (error, context) {
        (KubeconfigError::CurrentContextNotSet, _) => {
            anyhow!("{place} has no current context: choose one with --context; {names}")
        }
        (KubeconfigError::LoadContext(_), Some(context)) => {
            anyhow!("{place} has no context {context}: choose another --context; {names}")
        }
        (KubeconfigError::LoadContext(_), None) => {
            anyhow!("{place} has no context of the name that its current-context says: choose one with --context; {names}")
        }
        (error, _) => anyhow!(unusable(place, &error)),
    })
}

fn unusable(place: &str, error: &KubeconfigError) -> String {
    let why = match error {
        KubeconfigError::ReadConfig(error, path) => return unreadable(place, path, error),
        KubeconfigError::Parse(error) => {
            let position = error.location().map_or_else(String::new, |location| {
                format!(" (line {}, column {})", location.line(), location.column())
            });
            format!("it is not a kubeconfig in YAML{position}")
        }
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "its files have different kinds or versions".to_owned()
        }
        KubeconfigError::LoadClusterOfContext(_) => {
            "it has no cluster of the name that the context says".to_owned()
        }
        KubeconfigError::MissingClusterUrl => "the context's cluster has no server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "the server of the context's cluster is not a URL".to_owned(),
        KubeconfigError::LoadCertificateAuthority(error) => data("the certificate authority", error),
        KubeconfigError::LoadClientCertificate(error) => data("the client certificate", error),
        KubeconfigError::LoadClientKey(error) => data("the client key", error),
        KubeconfigError::ParseCertificates(_) => "its certificates are not PEM".to_owned(),
        _ => "it is not complete".to_owned(),
    };
    format!("{place} cannot be used: {why}; mend it or give another --kubeconfig")
}

fn unreadable(place: &str, path: &Path, error: &io::Error) -> String {
    // Of several files in $KUBECONFIG, the one that is meant.
    let which = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{place} cannot be used: {which} does not exist; give another --kubeconfig")
        }
        _ => format!(
            "{place} cannot be used: {which} cannot be read ({error}); mend it or give another --kubeconfig"
        ),
    }
}

fn data(what: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::ReadFile(error, path) => format!("{what} {} cannot be read ({error})", path.display()),
        LoadDataError::DecodeBase64(_) => format!("{what} is not base64"),
        LoadDataError::NoBase64DataOrFile => format!("{what} is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "kpk_s3cretS3CRETs3cret";

    async fn refusal(file: &[u8], context: Option<&str>) -> String {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).unwrap();
        let path = std::env::temp_dir().join(format!("keyplane-kubeconfig-{}", u64::from_be_bytes(random)));
        std::fs::write(&path, file).unwrap();
        let outcome = of_file(&path, context).await;
        std::fs::remove_file(&path).unwrap();
        // The whole chain and the debug form: whatever the log may show.
        let error = outcome.unwrap_err();
        format!("{error:#}\n{error:?}")
    }

    #[tokio::test]
    async fn what_a_broken_kubeconfig_holds_is_never_shown() {
        let user = |line: &str| format!("apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n{line}\n");
        let cluster = |lines: &str| {
            format!(
                "clusters:\n- name: a\n  cluster:\n{lines}\ncontexts:\n- name: a\n  context: {{cluster: a, user: a}}\n\
                 current-context: a\nusers:\n- name: a\n  user: {{token: {SECRET}}}\n"
            )
        };
        let whole = [
            SECRET.to_owned(),
            format!("{SECRET}\n"),
            format!("- {SECRET}\n"),
            format!("{{{SECRET}"),
            format!("{SECRET}: {SECRET}: x"),
            format!("contexts: {SECRET}"),
            user(&format!("    token: \"{SECRET}")),
            user(&format!("    token: [{SECRET}]")),
            user(&format!("   token: {SECRET}\n  client-key-data: x")),
            user(&format!("    token: {SECRET}\n    token: {SECRET}")),
            user(&format!("    exec: {SECRET}")),
            cluster(&format!("    server: \"https://{SECRET} {SECRET}\"")),
            cluster(&format!("    server: https://localhost\n    certificate-authority-data: \"!{SECRET}\"")),
        ];
        for content in whole {
            let shown = refusal(content.as_bytes(), None).await;
            assert!(!shown.contains("cret") && !shown.contains("CRET"), "{shown}");
            assert!(shown.contains("the kubeconfig /"), "{shown}");
        }
        let shown = refusal(&[0xff, 0xfe, 0x00, 0xd8], None).await;
        assert!(shown.contains("cannot be used"), "{shown}");
    }

    #[tokio::test]
    async fn a_slip_is_placed_by_line() {
        let shown = refusal(format!("apiVersion: v1\nusers: {SECRET}\n").as_bytes(), None).await;
        assert!(shown.contains("it is not a kubeconfig in YAML (line 2, column "), "{shown}");
    }

    #[tokio::test]
    async fn an_unknown_context_is_answered_with_those_there_are() {
        let two = b"contexts:\n- {name: b, context: {cluster: c}}\n- {name: a, context: {cluster: c}}\n";
        assert!(
            refusal(two, Some("x")).await.contains("has no context x: choose another --context; it has a, b")
        );
        assert!(
            refusal(two, None)
                .await
                .contains("has no current context: choose one with --context; it has a, b")
        );
    }

    #[tokio::test]
    async fn a_missing_file_is_said_to_be_missing_once() {
        let shown = format!("{:#}", of_file(Path::new("/nowhere/k"), None).await.unwrap_err());
        assert_eq!(
            shown,
            "the kubeconfig /nowhere/k cannot be used: /nowhere/k does not exist; give another --kubeconfig"
        );
    }
}
