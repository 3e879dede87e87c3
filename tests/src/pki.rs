//! The certificates of one control plane.
//!
//! Every control plane has authorities of its own, whose keys are forgotten once the certificates are made.
//! So a client that trusts only this authority knows that the server which answers is the one we started.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::private_file;

/// The names under which clients reach the API server: from this machine, and from a pod by its Service.
const SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.0.0.1",
];

/// The files of a control plane's certificates and keys, all in one directory and readable by their owner.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// The certificates that are in `dir`.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Whether the certificates have been made: the file that is written last is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.service_account_key().is_file()
    }

    /// Makes fresh authorities and everything that they sign.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;

        let cluster = authority("keyplane-test-cluster")?;
        private_file::write(&self.ca(), cluster.pem())?;
        self.issue(&cluster, "server", "kube-apiserver", None, &SERVER_NAMES)?;
        self.issue(&cluster, "admin", "keyplane-test-admin", Some("system:masters"), &[])?;
        self.issue(&cluster, "controller-manager", "system:kube-controller-manager", None, &[])?;

        // An authority apart: what may talk to the API server may not thereby talk to its database.
        let database = authority("keyplane-test-etcd")?;
        private_file::write(&self.etcd_ca(), database.pem())?;
        self.issue(&database, "etcd", "etcd", None, &["127.0.0.1", "localhost"])?;
        self.issue(&database, "etcd-client", "kube-apiserver", None, &[])?;

        let tokens = KeyPair::generate()?;
        private_file::write(&self.service_account_public_key(), tokens.public_key_pem())?;
        private_file::write(&self.service_account_key(), tokens.serialize_pem())
    }

    fn issue(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        file: &str,
        name: &str,
        group: Option<&str>,
        reached_as: &[&str],
    ) -> Result<()> {
        let names: Vec<String> = reached_as.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !reached_as.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        private_file::write(&self.certificate(file), params.signed_by(&key, authority)?.pem())?;
        private_file::write(&self.key(file), key.serialize_pem())
    }

    /// The authority that signed the API server's and its clients' certificates.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The authority of the database.
    #[must_use]
    pub fn etcd_ca(&self) -> PathBuf {
        self.dir.join("etcd-ca.crt")
    }

    /// The key that signs `ServiceAccount` tokens.
    #[must_use]
    pub fn service_account_key(&self) -> PathBuf {
        self.dir.join("service-account.key")
    }

    /// The key that `ServiceAccount` tokens are verified with.
    #[must_use]
    pub fn service_account_public_key(&self) -> PathBuf {
        self.dir.join("service-account.pub")
    }

    /// A certificate: `server`, `admin`, `controller-manager`, `etcd` or `etcd-client`.
    #[must_use]
    pub fn certificate(&self, of: &str) -> PathBuf {
        self.dir.join(format!("{of}.crt"))
    }

    /// The key that belongs to [`Pki::certificate`].
    #[must_use]
    pub fn key(&self, of: &str) -> PathBuf {
        self.dir.join(format!("{of}.key"))
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_may_read_what_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::in_dir(&dir.path().join("pki"));
        assert!(!pki.exists());
        pki.create().unwrap();
        assert!(pki.exists());
        for entry in std::fs::read_dir(dir.path().join("pki")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }

    #[test]
    fn two_control_planes_share_no_authority() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| Pki::in_dir(&dir.path().join(name)));
        one.create().unwrap();
        two.create().unwrap();
        assert_ne!(std::fs::read(one.ca()).unwrap(), std::fs::read(two.ca()).unwrap());
    }
}
