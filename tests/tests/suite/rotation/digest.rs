//! Another digest, and no grace: the old key dies at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use keyplane_crds::ApiKeyState;
use kube::Api;
use kube::api::ListParams;

use super::{declare_digest, first, present, until_version};
use crate::delivery::{digest_of, tenant, until_answered};

/// What the product promises for the tokens of a key that is over, here as there: the API server remembers for 10 s
/// that a token is good.
const TOKEN_DEAD_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test]
async fn from_the_first_answer_that_accepts_the_new_key_the_old_one_never_is_again() -> Result<()> {
    let own = tenant("rotate").await?;
    own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    let stop = AtomicBool::new(false);
    let rotate = async {
        declare_digest(&own, "ci", &new, 0).await?;
        until_version(&own, "ci", 2).await?;
        // Goes on presenting both for a while.
        for _ in 0..20 {
            until_answered(&own, &new, 200).await?;
        }
        stop.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (old_uses, new_uses, ()) =
        tokio::try_join!(present(&own, &old, &stop), present(&own, &new, &stop), rotate)?;

    let accepted = first(&new_uses, 200).context("the new key was never accepted")?;
    let refused = first(&old_uses, 401).context("the old key was never refused")?;
    for use_ in &old_uses {
        ensure!([200, 401].contains(&use_.status), "the old key: {use_:?}");
        let must_be_refused = use_.began > accepted || use_.began > refused;
        ensure!(
            !must_be_refused || use_.status == 401,
            "new accepted {accepted}, old refused {refused}: {use_:?}"
        );
    }
    for use_ in &new_uses {
        ensure!([200, 401, 503].contains(&use_.status), "the new key: {use_:?}");
        ensure!(use_.began < accepted || use_.status == 200, "accepted {accepted}, and then {use_:?}");
    }
    println!(
        "rotation: the old key refused {} ms before the new one was accepted; {} and {} uses",
        (accepted - refused).num_milliseconds(),
        old_uses.len(),
        new_uses.len()
    );
    Ok(())
}

#[tokio::test]
async fn with_the_old_key_dies_its_token_and_the_new_one_s_token_works() -> Result<()> {
    let own = tenant("rotate-token").await?;
    let web = own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let pods: Api<Pod> = Api::namespaced(own.client_of(&old).await?, &web);
    pods.list(&ListParams::default()).await?;

    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    declare_digest(&own, "ci", &new, 0).await?;
    until_version(&own, "ci", 2).await?;
    let start = Instant::now();
    until_answered(&own, &new, 200).await?;
    let new_pods: Api<Pod> = Api::namespaced(own.client_of(&new).await?, &web);
    loop {
        new_pods.list(&ListParams::default().limit(1)).await.context("the new key's token")?;
        match pods.list(&ListParams::default().limit(1)).await {
            Err(kube::Error::Api(status)) if status.code == 401 => break,
            Ok(_) if start.elapsed() < TOKEN_DEAD_WITHIN => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => bail!("the old key's token after {:?}: {:?}", start.elapsed(), other.map(|_| "works")),
        }
    }
    println!("rotation: the old key's token Unauthorized after {} ms", start.elapsed().as_millis());
    new_pods.list(&ListParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn a_digest_that_was_rotated_out_is_never_taken_back_and_the_new_one_is() -> Result<()> {
    let own = tenant("rotate-back").await?;
    own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    declare_digest(&own, "ci", &new, 0).await?;
    until_version(&own, "ci", 2).await?;

    declare_digest(&own, "ci", &old, 0).await?;
    let status = own.key_with_reason("ci", "DigestRevoked").await?.status.unwrap_or_default();
    ensure!(status.state == Some(ApiKeyState::Invalid), "{:?}", status.state);
    ensure!(own.exchange(&old).await?.status != 200, "the old key is accepted again");
    // Nor in another key of the account.
    let spec = serde_json::json!({"scope": {"inference": true}, "digest": digest_of(&old)?});
    own.declare("again", &spec).await?;
    own.key_with_reason("again", "DigestRevoked").await?;
    // The mistake is mended by declaring the new one.
    declare_digest(&own, "ci", &new, 0).await?;
    until_version(&own, "ci", 2).await?;
    until_answered(&own, &new, 200).await?;
    // Its holder may be told that another key declares it in vain.
    let refused = own.exchange(&old).await?.status;
    ensure!([401, 403].contains(&refused), "{refused}");
    Ok(())
}
