//! The same over gRPC, as Envoy asks (`envoy.service.auth.v3`): on the port where HTTP is served too.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, Pipe, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use tonic::transport::Channel;

use super::presented::{INFERENCE, ended, ways};
use super::{IDENTITY, PATIENT, tenant, until_known};
use crate::replicas::{BEHIND_PROXY, replica};

/// A question of Envoy's.
#[derive(Clone, Debug, Default)]
struct Question {
    headers: Vec<(&'static str, String)>,
    scope: Option<&'static str>,
    /// Who connects to Envoy: an address, or a path of this machine's.
    source: Option<&'static str>,
    /// Whether Envoy sends headers one by one.
    is_raw: bool,
}

impl Question {
    fn about(headers: &[(&'static str, String)]) -> Self {
        Self { headers: headers.to_vec(), ..Self::default() }
    }

    fn with(key: &HeldKey) -> Result<Self> {
        Ok(Self::about(&[("x-api-key", key.plaintext()?)]))
    }

    fn requiring(self, scope: &'static str) -> Self {
        Self { scope: Some(scope), ..self }
    }

    fn from(self, source: &'static str) -> Self {
        Self { source: Some(source), ..self }
    }

    fn and(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn http(&self) -> HttpRequest {
        let mut http =
            HttpRequest { method: "POST".into(), path: "/?scope=gpu".into(), ..HttpRequest::default() };
        if self.is_raw {
            let raw = self.headers.iter().map(|(name, value)| HeaderValue {
                key: (*name).to_owned(),
                raw_value: value.clone().into_bytes(),
                ..HeaderValue::default()
            });
            http.header_map = Some(HeaderMap { headers: raw.collect() });
            return http;
        }
        for (name, value) in &self.headers {
            http.headers
                .entry((*name).to_owned())
                .and_modify(|joined| *joined = format!("{joined},{value}"))
                .or_insert_with(|| value.clone());
        }
        http
    }

    fn message(&self) -> CheckRequest {
        let kind = |source: &str| {
            if source.starts_with('/') {
                Kind::Pipe(Pipe { path: source.to_owned(), ..Pipe::default() })
            } else {
                Kind::SocketAddress(SocketAddress { address: source.to_owned(), ..SocketAddress::default() })
            }
        };
        let source = self
            .source
            .map(|source| Peer { address: Some(Address { address: Some(kind(source)) }), ..Peer::default() });
        let extensions = self.scope.map(|scope| ("scope".to_owned(), scope.to_owned()));
        CheckRequest {
            attributes: Some(AttributeContext {
                source,
                request: Some(Request { http: Some(self.http()), ..Request::default() }),
                context_extensions: extensions.into_iter().collect::<HashMap<_, _>>(),
                ..AttributeContext::default()
            }),
        }
    }
}

/// Envoy's connection to Keyplane.
struct Envoy(AuthorizationClient<Channel>);

impl Envoy {
    async fn to(keyplane: &Keyplane) -> Result<Self> {
        Ok(Self(AuthorizationClient::connect(keyplane.internal_url()).await?))
    }

    async fn ask(&mut self, question: &Question) -> Result<CheckResponse> {
        Ok(self.0.check(question.message()).await?.into_inner())
    }

    /// Asks, and looks whether the answer has the status, and otherwise what every such answer has.
    async fn ensure(&mut self, what: &str, question: &Question, status: u16) -> Result<CheckResponse> {
        let answer = self.ask(question).await?;
        let code = answer.status.as_ref().context("a status")?.code;
        match answer.http_response.as_ref().context("an answer")? {
            HttpResponse::OkResponse(response) => {
                ensure!(status == 200 && code == 0, "{what}: {answer:?}");
                let names: Vec<_> =
                    response.headers.iter().filter_map(|option| option.header.as_ref()).collect();
                ensure!(names.iter().map(|header| header.key.as_str()).eq(IDENTITY), "{what}: {answer:?}");
                // Whatever the client wrote there itself is gone.
                let overwrite = i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd);
                ensure!(
                    response.headers.iter().all(|option| option.append_action == overwrite),
                    "{answer:?}"
                );
            }
            HttpResponse::DeniedResponse(response) => {
                let told = response.status.as_ref().context("a status of HTTP")?.code;
                ensure!(told == i32::from(status) && code != 0, "{what}: {status} expected: {answer:?}");
                ensure!(response.body.is_empty(), "{what}: a body: {answer:?}");
                let headers = response.headers.iter().filter_map(|option| option.header.as_ref());
                let headers: Vec<_> =
                    headers.map(|header| (header.key.as_str(), header.value.as_str())).collect();
                let expected = if status == 503 { vec![("retry-after", "1")] } else { vec![] };
                ensure!(headers == expected, "{what}: {headers:?}");
            }
            HttpResponse::ErrorResponse(_) => ensure!(false, "{what}: {answer:?}"),
        }
        Ok(answer)
    }
}

/// Whose the key is, and that it does not go further.
async fn ensure_identity(own: &Tenant, answer: &CheckResponse, key: &HeldKey, carrier: &str) -> Result<()> {
    let Some(HttpResponse::OkResponse(response)) = &answer.http_response else { anyhow::bail!("{answer:?}") };
    let uid = own.stored_key(&key.name).await?.uid().context("a UID")?;
    let told = response.headers.iter().filter_map(|option| option.header.as_ref());
    let told: Vec<&str> = told.map(|header| header.value.as_str()).collect();
    ensure!(told == [own.account.as_str(), uid.as_str(), "inference"], "{told:?}");
    ensure!(response.headers_to_remove == [carrier], "{response:?}");
    Ok(())
}

#[tokio::test]
async fn envoy_is_told_of_a_key_what_http_tells_and_the_key_goes_no_further() -> Result<()> {
    let own = tenant("ext-authz").await?;
    let replica = replica("ext-authz", &[&PATIENT[..], &BEHIND_PROXY].concat()).await?;
    let key = own.key("good", &INFERENCE).await?;
    let other = own.key("other", &INFERENCE).await?;
    let mut rows = ways(&key.plaintext()?, &other.plaintext()?);
    rows.extend(ended(&own).await?);
    let newest = own.key("newest", &INFERENCE).await?;
    until_known(&replica, &newest).await?;

    // One connection carries them all.
    let mut envoy = Envoy::to(&replica).await?;
    let mut good = 0;
    for (what, headers, status) in &rows {
        for is_raw in [false, true] {
            let question = Question { is_raw, ..Question::about(headers) };
            let answer = envoy.ensure(&format!("{what}, raw: {is_raw}"), &question, *status).await?;
            if *status == 200 {
                good += 1;
                let carrier = headers.first().map_or("", |(name, _)| name);
                ensure_identity(&own, &answer, &key, carrier).await?;
            }
        }
    }
    let question = Question::with(&key)?;
    for (what, question, status) in [
        ("its scope", question.clone().requiring("inference"), 200),
        ("another scope", question.clone().requiring("ssh_keys"), 403),
        ("all", question.clone().requiring("all"), 403),
        ("no such scope", question.clone().requiring("gpu"), 400),
        ("an empty scope", question.clone().requiring(""), 400),
        // A header is the client's, however it is called.
        (
            "the client asks for less",
            question.clone().requiring("ssh_keys").and("x-keyplane-require-scope", "inference"),
            403,
        ),
        ("the client asks for more", question.clone().and("x-keyplane-require-scope", "all"), 200),
        ("the client asks for nonsense", question.clone().and("x-keyplane-require-scope", "gpu"), 200),
        ("no request", Question::default(), 401),
    ] {
        envoy.ensure(what, &question, status).await?;
        good += u64::from(status == 200);
    }
    let nothing = envoy.0.check(CheckRequest::default()).await?.into_inner();
    ensure!(nothing.status.is_some_and(|status| status.code != 0), "an empty question");
    until("every use to be counted, and nothing else", PATIENCE, || async {
        let status = own.stored_key("good").await?.status.unwrap_or_default();
        let count = status.usage.map_or(0, |usage| usage.count);
        ensure!(count <= good, "{count} uses of {good}");
        Ok(if count == good { Seen::Done(()) } else { Seen::NotYet(format!("{count} uses of {good}")) })
    })
    .await
}

#[tokio::test]
async fn a_trusted_envoys_word_is_taken_for_its_client_and_a_strangers_is_not() -> Result<()> {
    const NAME: &str = "x-forwarded-for";
    let own = tenant("ext-authz-address").await?;
    let shared = shared_keyplane().await?;
    own.namespace("web").await?;
    let replica = replica("ext-authz-address", &[&PATIENT[..], &BEHIND_PROXY].concat()).await?;
    let key = own.key_from("listed", "web", &["203.0.113.0/24", "2001:db8::/32"]).await?;
    let everywhere = own.key_from("everywhere", "web", &[]).await?;
    until_known(&replica, &everywhere).await?;
    until_known(&shared.keyplane, &everywhere).await?;

    let listed = Question::with(&key)?;
    let home = listed.clone().from("203.0.113.9");
    let behind = listed.clone().from("127.0.0.9");
    let rows = [
        (home.clone(), 200),
        (listed.clone().from("2001:db8::9"), 200),
        (listed.clone().from("::ffff:203.0.113.9"), 200),
        (behind.clone().and(NAME, "203.0.113.9"), 200),
        (behind.clone().and(NAME, "198.51.100.1, 203.0.113.9, 127.0.0.9"), 200),
        (home.clone().and(NAME, "198.51.100.1"), 200),
        (listed.clone().from("198.51.100.1"), 403),
        // Who connects to Envoy is no trusted proxy: its header is its own invention.
        (listed.clone().from("198.51.100.1").and(NAME, "203.0.113.9"), 403),
        (behind.clone().and(NAME, "203.0.113.9, 198.51.100.1"), 403),
        (behind.clone().and(NAME, "203.0.113.9").and(NAME, "198.51.100.1"), 403),
        (Question { is_raw: true, ..behind.clone().and(NAME, "203.0.113.9").and(NAME, "198.51.100.1") }, 403),
        (behind.clone().and(NAME, "203.0.113.9, unknown"), 403),
        (behind.clone().and("forwarded", "for=203.0.113.9"), 403),
        (behind.clone(), 403),
        (listed.clone().from("/run/envoy.sock").and(NAME, "203.0.113.9"), 403),
        (listed.clone().from("example.com").and(NAME, "203.0.113.9"), 403),
        (listed.clone().and(NAME, "203.0.113.9"), 403),
    ];
    let mut envoy = Envoy::to(&replica).await?;
    let mut stranger = Envoy::to(&shared.keyplane).await?;
    for (question, status) in &rows {
        let what = format!("from {:?}, {:?}", question.source, question.headers.get(1..));
        envoy.ensure(&what, question, *status).await?;
        let mut open = question.clone();
        open.headers[0].1 = everywhere.plaintext()?;
        envoy.ensure(&what, &open, 200).await?;
        stranger.ensure(&what, &open, 200).await?;
    }
    stranger.ensure("a stranger's word", &home, 403).await?;
    let seen = own.stored_key("listed").await?.status.context("a status")?.security_events;
    ensure!(seen.iter().any(|event| event.address == "198.51.100.1"), "{seen:?}");
    ensure!(seen.iter().any(|event| event.address == "unknown"), "{seen:?}");
    Ok(())
}
