//! Clients that go on for longer than their token lives.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{Seen, until};
use keyplane_tests::workspace;
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::holder;
use super::shortened_exchange::ShortenedExchange;

/// kube-rs asks for the next token a minute before the old one's end, the plugin hands out none with less than 75 s left:
/// so a client asks again after 20 s.
const LIFE: TimeDelta = TimeDelta::seconds(80);
/// Longer than until the second token is asked for.
const LONG: Duration = Duration::from_secs(90);

/// A kube-rs client whose kubeconfig calls the plugin.
async fn client(own: &Tenant, key: &HeldKey, exchange: &ShortenedExchange) -> Result<Client> {
    own.kubectl_of(key).await?;
    let mut kubeconfig = Kubeconfig::read_from(own.dir().join(format!("{}.kubeconfig", key.name)))?;
    let user = kubeconfig.auth_infos.iter_mut().find_map(|named| named.auth_info.as_mut());
    let exec = user.and_then(|user| user.exec.as_mut()).context("the kubeconfig calls the plugin")?;
    exec.command = Some(workspace::binary("kubectl-keyplane")?.display().to_string());
    let file = key.file.display().to_string();
    exec.args =
        Some(["get-token", "--server", &exchange.url, "--key-file", &file].map(str::to_owned).to_vec());
    exec.interactive_mode = Some(ExecInteractiveMode::Never);
    let folder = own.dir().join("token-cache").display().to_string();
    exec.env = Some(vec![
        [("name", "KEYPLANE_CACHE_DIR"), ("value", &folder)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
    ]);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn make(configs: &Api<ConfigMap>, name: &str) -> Result<()> {
    let data = Some(BTreeMap::from([("seen".to_owned(), "yes".to_owned())]));
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    configs.create(&PostParams::default(), &ConfigMap { metadata, data, ..ConfigMap::default() }).await?;
    Ok(())
}

/// Watches, again and again as controllers do, until the ConfigMap of this name is seen.
async fn see(configs: &Api<ConfigMap>, name: &str) -> Result<()> {
    loop {
        let watch = WatchParams::default().timeout(2).fields(&format!("metadata.name={name}"));
        let mut events = pin!(configs.watch(&watch, "0").await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(_) => return Ok(()),
                WatchEvent::Error(error) => anyhow::bail!("{error:?}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_watching_kube_rs_client_is_given_the_next_token_before_the_old_one_ends() -> Result<()> {
    let shared = shared_keyplane().await?;
    let (own, web, key) = holder("plugin-watch").await?;
    let exchange = ShortenedExchange::start(shared, LIFE).await?;
    let client = client(&own, &key, &exchange).await?;
    let configs: Api<ConfigMap> = Api::namespaced(client, &web);
    make(&configs, "before").await?;
    see(&configs, "before").await?;
    // Its first questions come together; one of them may be for another token.
    let first = exchange.given().last().context("a token was given")?.clone();
    let count = exchange.given().len();

    // It watches all the while; each watch that begins shows the token that the client has then.
    let watching = tokio::spawn({
        let configs = configs.clone();
        async move { tokio::time::timeout(LONG, see(&configs, "after")).await.context("not seen in time")? }
    });
    until("the next token to be asked for", LONG, || async {
        let given = exchange.given();
        Ok(if given.len() > count { Seen::Done(()) } else { Seen::NotYet(format!("{given:?}")) })
    })
    .await?;
    make(&configs, "after").await?;
    watching.await??;

    let given = exchange.given();
    let next = given.get(count).context("the next token")?;
    ensure!(next.at < first.at + LIFE, "the first token had ended: {given:?}");
    println!(
        "a token of {} s was followed by the next after {} s",
        LIFE.num_seconds(),
        (next.at - first.at).num_seconds()
    );
    Ok(())
}
