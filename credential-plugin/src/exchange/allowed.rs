//! Which exchange a cluster's entry may name: the user's `--allow-server` says it, never the entry itself.
//!
//! Entries of clusters come from merged and imported files. Whoever writes one would otherwise choose where the key
//! goes, by the address, and who may answer there, by the CA. So an allowance binds both.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::exchange::address::{BaseUrl, Trust};
use crate::failure::{Failure, FailureKind};

/// The argument that allows an exchange.
pub const ALLOW_SERVER: &str = "--allow-server";
/// What stands between the address and the digest of the CA, in hexadecimal.
const PIN: &str = "#sha256:";

/// An exchange to which a key may go when a cluster's extension names it: `URL`, or `URL#sha256:HEX`.
///
/// With a digest it is answered for by the extension's CA alone, whose PEM has this SHA-256 (`sha256sum ca.pem`);
/// without one by the operating system's roots alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedExchange {
    base: BaseUrl,
    ca: Option<[u8; 32]>,
}

impl AllowedExchange {
    /// The exchange at this address, with this CA as PEM, or with the operating system's roots.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for plain http: only an explicit `--server` may name it.
    pub fn new(base: BaseUrl, ca: Option<&[u8]>) -> Result<Self, Failure> {
        if !base.is_https() {
            return Err(Failure::new(
                FailureKind::Usage,
                "a kubeconfig cannot name an exchange of plain http",
                base.as_str(),
                "give its https address; plain http to this machine works with get-token --server alone",
            ));
        }
        Ok(Self { base, ca: ca.map(|pem| Sha256::digest(pem).into()) })
    }

    /// Reads the value of `--allow-server`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the address or the digest is none, or the address is plain http.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let Some((address, digest)) = text.split_once(PIN) else {
            return Self::new(BaseUrl::parse(text)?, None);
        };
        let mut allowed = Self::new(BaseUrl::parse(address)?, None)?;
        let mut bytes = [0; 32];
        let sound = base16ct::mixed::decode(digest, &mut bytes).is_ok_and(|read| read.len() == 32);
        if !sound {
            return Err(Failure::new(
                FailureKind::Usage,
                "the CA's SHA-256 is not 64 hexadecimal digits",
                ALLOW_SERVER,
                "give URL#sha256:HEX with what sha256sum prints of the CA's PEM file",
            ));
        }
        allowed.ca = Some(bytes);
        Ok(allowed)
    }

    fn permits(&self, base: &BaseUrl, trust: &Trust) -> bool {
        self.base == *base
            && match trust {
                Trust::Platform => self.ca.is_none(),
                Trust::Pem(pem) => self.ca == Some(Sha256::digest(pem).into()),
            }
    }
}

impl fmt::Display for AllowedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str())?;
        match &self.ca {
            Some(digest) => write!(f, "{PIN}{:x}", base16ct::HexDisplay(digest)),
            None => Ok(()),
        }
    }
}

/// Whether a cluster's extension may name this address: scheme, host, port and path must be an allowed one's.
///
/// # Errors
/// [`FailureKind::Usage`] when it may not.
pub fn check_address(base: &BaseUrl, allowed: &[AllowedExchange]) -> Result<(), Failure> {
    let (what, remedy) = if !base.is_https() {
        (
            "the cluster's extension names an exchange of plain http",
            "make the kubeconfig again with the exchange's https address; plain http to this machine needs --server",
        )
    } else if allowed.iter().any(|allowed| allowed.base == *base) {
        return Ok(());
    } else {
        (
            "the cluster's extension names an exchange to which this user's key may not go",
            "if it is your exchange, run kubectl keyplane kubeconfig --merge with it as --server, or add it with \
             --allow-server to the user's exec args",
        )
    };
    Err(Failure::new(FailureKind::Usage, what, base.as_str(), remedy))
}

/// Whether a cluster's extension may name this trust for an address that it may name.
///
/// # Errors
/// [`FailureKind::Usage`] when it may not.
pub fn check_trust(base: &BaseUrl, trust: &Trust, allowed: &[AllowedExchange]) -> Result<(), Failure> {
    if allowed.iter().any(|allowed| allowed.permits(base, trust)) {
        return Ok(());
    }
    let found = match trust {
        Trust::Platform => "no CA".to_owned(),
        Trust::Pem(pem) => format!("a CA of sha256:{:x}", base16ct::HexDisplay(&Sha256::digest(pem))),
    };
    Err(Failure::new(
        FailureKind::Usage,
        format!("the cluster's extension brings {found}, with which this user's exchange is not allowed"),
        base.as_str(),
        format!(
            "if its CA has changed, run kubectl keyplane kubeconfig --merge --server {} --certificate-authority FILE",
            base.as_str()
        ),
    ))
}
