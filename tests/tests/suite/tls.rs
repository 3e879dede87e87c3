//! The API's own certificate: from files, as a mounted Secret has them, and taken up again when they change.

use std::path::Path;

use anyhow::{Result, ensure};
use keyplane_tests::exchange::post;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::shared_installation;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use rcgen::{CertificateParams, KeyPair};

/// A self-signed certificate, written as the two files of a `kubernetes.io/tls` Secret.
fn write_certificate(dir: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
    std::fs::write(dir.join("tls.key"), key.serialize_pem())?;
    std::fs::write(dir.join("tls.crt"), certificate.pem())?;
    Ok(())
}

#[tokio::test]
async fn the_api_serves_the_certificate_of_its_files_and_follows_them() -> Result<()> {
    let (cluster, installation) = shared_installation().await?;
    let dir = tempfile::tempdir()?;
    write_certificate(dir.path())?;
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let mut options = KeyplaneOptions::of(Mode::Api, "keyplane-tls", installation);
    options.extra = vec![
        format!("--tls-certificate-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
    ];
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    ensure!(post(&keyplane.url(), &certificate, &[], b"").await?.status == 401);

    let old = dir.path().join("old.crt");
    std::fs::copy(&certificate, &old)?;
    write_certificate(dir.path())?;
    until("the new certificate to be served", PATIENCE, || async {
        Ok(match post(&keyplane.url(), &certificate, &[], b"").await {
            Ok(answer) if answer.status == 401 => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await?;
    ensure!(post(&keyplane.url(), &old, &[], b"").await.is_err(), "the old certificate is still served");
    Ok(())
}
