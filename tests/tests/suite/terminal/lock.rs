//! `kubectl keyplane apikeys unlock`.

use anyhow::{Result, ensure};
use keyplane_crds::ApiKeyState;

use super::{ensure_says, keyplane, owner};
use crate::replicas::{BEHIND_PROXY, HOME, replica};

#[tokio::test]
async fn an_owner_sees_what_locked_a_key_and_unlocks_it() -> Result<()> {
    let (own, kubectl) = owner("unlocked").await?;
    let replica = replica("terminal-unlock", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    ensure_says(&keyplane(&kubectl, &["apikeys", "unlock", "ci"]).await?, &["ApiKey ci is not locked."])?;

    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        let answer = own.exchange_from(&replica, &key, address).await?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    own.key_with_reason("ci", "Locked").await?;
    ensure_says(&keyplane(&kubectl, &["apikeys", "list"]).await?, &["Locked"])?;
    let said = keyplane(&kubectl, &["apikeys", "unlock", "ci"]).await?;
    ensure_says(&said, &["198.51.100.1", "198.51.100.2", "198.51.100.3", "AddressDenied"])?;
    ensure_says(&said, &["ApiKey ci is unlocked; its state is Active."])?;
    let status = own.stored_key("ci").await?.status.unwrap_or_default();
    ensure!(status.state == Some(ApiKeyState::Active) && status.lock.is_none(), "{status:?}");
    own.until_exchanged(&replica, &key, &[]).await.map(drop)
}
