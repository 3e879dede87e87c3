//! The API's certificate: from files, as a mounted Secret has them, or made at start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::runtime::ApiArguments;

/// How often certificate files are looked at. A Secret's new content reaches a pod within about a minute.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificate that the arguments ask for.
///
/// # Errors
/// When the files cannot be used, or no certificate can be made or written.
pub(super) async fn certificate(arguments: &ApiArguments) -> anyhow::Result<RustlsConfig> {
    match (&arguments.tls_certificate_file, &arguments.tls_private_key_file) {
        (Some(certificate), Some(key)) => {
            let config = RustlsConfig::from_pem_file(certificate, key).await.with_context(|| {
                format!("cannot use the certificate {} with the key {}", certificate.display(), key.display())
            })?;
            tokio::spawn(follow(config.clone(), certificate.clone(), key.clone()));
            Ok(config)
        }
        _ => self_made(&arguments.tls_name, arguments.tls_ca_out.as_deref()).await,
    }
}

/// Takes the files' new content into use. What is broken is not taken; the old certificate stays.
async fn follow(config: RustlsConfig, certificate: PathBuf, key: PathBuf) {
    let mut used = tokio::fs::read(&certificate).await.ok();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let found = tokio::fs::read(&certificate).await.ok();
        if found.is_none() || found == used {
            continue;
        }
        match config.reload_from_pem_file(&certificate, &key).await {
            Ok(()) => {
                tracing::info!(file = %certificate.display(), "the new certificate is in use");
                used = found;
            }
            Err(error) => {
                tracing::warn!(file = %certificate.display(), %error, "the new certificate cannot be used");
            }
        }
    }
}

/// A CA and a certificate of its, both for this run only. The CA's key is forgotten at once.
async fn self_made(names: &[String], ca_out: Option<&Path>) -> anyhow::Result<RustlsConfig> {
    let mut ca_params = CertificateParams::default();
    ca_params.distinguished_name.push(DnType::CommonName, "Keyplane (made at start)");
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate()?;
    let ca = ca_params.self_signed(&ca_key)?;
    let issuer = Issuer::from_params(&ca_params, &ca_key);

    let mut params =
        CertificateParams::new(names.to_vec()).context("--tls-name holds something that is not a name")?;
    params.distinguished_name.push(DnType::CommonName, "keyplane");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;

    if let Some(path) = ca_out {
        tokio::fs::write(path, ca.pem())
            .await
            .with_context(|| format!("cannot write the CA certificate to {}", path.display()))?;
    } else {
        tracing::warn!(
            "the API's certificate was made at start and its CA was written nowhere: give --tls-ca-out FILE"
        );
    }
    let config =
        RustlsConfig::from_pem(certificate.pem().into_bytes(), key.serialize_pem().into_bytes()).await?;
    Ok(config)
}
