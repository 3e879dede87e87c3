//! Keys presented to the exchange: from some addresses only, to one replica of the API or another, and until it admits them.

use anyhow::{Result, ensure};

use super::{HeldKey, Tenant};
use crate::exchange::{Answer, post};
use crate::keyplane_process::Keyplane;
use crate::waiting::{PATIENCE, Seen, until};

impl Tenant {
    /// Makes and declares a key of a namespace that may be used from these addresses only (from everywhere when there
    /// are none), and waits until it can be used.
    ///
    /// # Errors
    /// When it is refused or does not become Ready.
    pub async fn key_from(&self, name: &str, namespace: &str, addresses: &[&str]) -> Result<HeldKey> {
        let (key, mut manifest) = self.generate(name, &["--kubernetes-namespace", namespace]).await?;
        if !addresses.is_empty() {
            let list = format!("spec:\n  allowedCidrs: {}\n", serde_json::to_string(addresses)?);
            manifest = manifest.replacen("spec:\n", &list, 1);
        }
        self.kubectl.apply(&manifest).await?;
        self.wait_ready(&format!("apikey/{name}")).await?;
        Ok(key)
    }

    /// Presents a key to this replica, with these headers besides.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange_at(
        &self,
        replica: &Keyplane,
        key: &HeldKey,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut all = vec![("x-api-key", key.plaintext()?)];
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        post(&replica.url(), replica.ca_file(), &all, b"").await
    }

    /// Presents a key to a replica that believes this machine's proxies, as a client with this address.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange_from(&self, replica: &Keyplane, key: &HeldKey, address: &str) -> Result<Answer> {
        self.exchange_at(replica, key, &[("x-forwarded-for", address)]).await
    }

    /// Presents a key to this replica until it gives a token: a replica learns of a key a moment after its status says
    /// Ready, and that it was changed a moment after the change.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_exchanged(
        &self,
        replica: &Keyplane,
        key: &HeldKey,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        until(&format!("a token for {}", key.name), PATIENCE, || async {
            let answer = self.exchange_at(replica, key, headers).await?;
            Ok(if answer.status == 200 { Seen::Done(answer) } else { Seen::NotYet(format!("{answer:?}")) })
        })
        .await
    }

    /// Presents a key that has just become Ready, or was changed, until it gives a token: the exchange learns of that a
    /// moment after the status says so.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_admitted(&self, key: &HeldKey) -> Result<Answer> {
        self.until_answered_beside(key, &[401, 503]).await
    }

    /// Presents a key that works, and may be looked at anew just now (503): it is never refused.
    ///
    /// # Errors
    /// When it is refused, or not admitted in time.
    pub async fn still_admitted(&self, key: &HeldKey) -> Result<Answer> {
        self.until_answered_beside(key, &[503]).await
    }

    async fn until_answered_beside(&self, key: &HeldKey, not_yet: &[u16]) -> Result<Answer> {
        let answer = until(&format!("a token for {}", key.name), PATIENCE, || async {
            let answer = self.exchange(key).await?;
            let is_awaited = not_yet.contains(&answer.status);
            Ok(if is_awaited { Seen::NotYet(format!("{answer:?}")) } else { Seen::Done(answer) })
        })
        .await?;
        ensure!(answer.status == 200, "{} is refused: {answer:?}", key.name);
        Ok(answer)
    }
}
