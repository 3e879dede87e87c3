//! No plaintext of a key anywhere but with its holder (invariant I5).

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions};
use keyplane_tests::tenant::Tenant;

/// The forms in which a secret could lie about: as it is, hexadecimal, and base64 at each of its three offsets.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let hex = secret.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut forms =
        vec![secret.as_bytes().to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
    for offset in 0..3 {
        // Whole groups of three bytes, from each offset: what base64 shows of the text wherever it begins.
        let whole: Vec<u8> = secret
            .as_bytes()
            .iter()
            .skip(offset)
            .copied()
            .collect::<Vec<_>>()
            .chunks_exact(3)
            .flatten()
            .copied()
            .collect();
        forms.push(BASE64_STANDARD_NO_PAD.encode(whole).into_bytes());
    }
    forms
}

/// Every file below a folder that holds one of the forms.
fn holders(folder: &Path, secret: &str) -> Result<Vec<String>> {
    let (forms, mut found) = (forms(secret), Vec::new());
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if forms.iter().any(|form| content.windows(form.len()).any(|window| window == form)) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}

/// The cluster's directory holds etcd's whole content, the audit log and every program's log.
#[tokio::test]
async fn neither_etcd_nor_a_log_nor_an_audit_line_holds_a_key_or_a_token() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let mut options = KeyplaneOptions::all(&installation);
    options.extra = vec!["--log=trace".to_owned()];
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    let own = Tenant::create(&cluster, &keyplane, "grep").await?;
    let web = own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let plaintext = key.plaintext()?;
    // With every step in its log the exchange learns of the key late.
    let token = own.until_admitted(&key).await?.token().context("a token")?;
    own.kubectl_of(&key).await?.run(["get", "pods", "--namespace", &web]).await?;
    // Refused and malformed uses are logged too.
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    own.key_with_reason("ci", "Revoked").await?;
    ensure!(own.exchange(&key).await?.status == 401);
    let command_line = std::fs::read(format!("/proc/{}/cmdline", keyplane.pid()))?;
    ensure!(!String::from_utf8_lossy(&command_line).contains(&plaintext));

    // The search itself: it finds the digest, which is there, in what it searches.
    let digest = own.stored_key("ci").await?.spec.digest.unwrap_or_default();
    ensure!(!holders(cluster.dir(), &digest)?.is_empty(), "the search finds nothing at all");
    let found = holders(cluster.dir(), &plaintext)?;
    ensure!(found.is_empty(), "the key is in {found:?}");
    let signature = token.rsplit('.').next().context("a token has a signature")?;
    let found = holders(cluster.dir(), signature)?;
    ensure!(found.is_empty(), "the token is in {found:?}");
    Ok(())
}
