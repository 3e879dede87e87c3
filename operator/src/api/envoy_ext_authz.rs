//! Envoy's external authorization over gRPC (`envoy.service.auth.v3.Authorization/Check`): what [`super::verify`] is for
//! gateways that ask over HTTP.
//!
//! A request's headers are the client's word, so the required scope is not among them: it is the context extension `scope` of
//! Envoy's route. What Envoy tells of its client's address is believed of a trusted proxy only.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as EnvoyHeader, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer as EnvoyPeer};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keyplane_core::api_key::{Admitted, RequiredScope, UnknownScope};
use keyplane_core::client_address::{AddressSource, ClientAddress};
use tonic::{Code, Request, Response, Status};

use super::verify::{identity_headers, status_of};
use crate::caller::{API_KEY, KeyCheck, KeyRefused, presented_key};
use crate::exchange::{Forwarding, Peer};

/// In which of its context extensions Envoy's route names the scope that it requires.
const SCOPE: &str = "scope";
/// How large a question may be, in bytes: Envoy's own limit for the headers of a request is 60 KiB.
const LARGEST: usize = 256 * 1024;

/// The service.
struct ExtAuthz {
    keys: Arc<KeyCheck>,
    forwarding: Forwarding,
}

/// The surface's routes.
pub(crate) fn routes(keys: Arc<KeyCheck>, forwarding: Forwarding) -> Router {
    let service = AuthorizationServer::new(ExtAuthz { keys, forwarding }).max_decoding_message_size(LARGEST);
    Router::new().route_service("/envoy.service.auth.v3.Authorization/{method}", service)
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let envoy = request.extensions().get::<Peer>().copied();
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let Ok(required) = required_scope(&attributes.context_extensions) else {
            return Ok(Response::new(denied(StatusCode::BAD_REQUEST)));
        };
        let AttributeContext { source, request, .. } = attributes;
        let http = request.and_then(|request| request.http).unwrap_or_default();
        let headers = headers(http, self.forwarding.header_name());
        let client = envoy.and_then(|envoy| client(envoy, &self.forwarding, source.as_ref(), &headers));
        let answer =
            match self.keys.admit(presented_key(&headers).as_ref(), client, required.as_slice()).await {
                Ok(admitted) => {
                    self.keys.used(&admitted, client);
                    allowed(&admitted, &headers)
                }
                Err(refused) => refusal(&refused),
            };
        Ok(Response::new(answer))
    }
}

/// What Envoy's route requires; nothing where it names nothing.
fn required_scope(extensions: &HashMap<String, String>) -> Result<Option<RequiredScope>, UnknownScope> {
    extensions.get(SCOPE).map(|text| text.parse()).transpose()
}

/// Of the client's headers those that matter here, as they came: Envoy joins equal ones with commas, or sends them one by
/// one where it is told to encode them raw.
fn headers(http: HttpRequest, forwarded: &'static str) -> HeaderMap {
    let wanted = [API_KEY, AUTHORIZATION, HeaderName::from_static(forwarded)];
    let joined = http.headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
    let raw = http.header_map.unwrap_or_default().headers.into_iter().map(|header| {
        let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
        (header.key, value)
    });
    let mut headers = HeaderMap::new();
    for (name, value) in joined.chain(raw) {
        let Some(name) = wanted.iter().find(|wanted| name.eq_ignore_ascii_case(wanted.as_str())) else {
            continue;
        };
        // One that cannot be a header's value stays there as something that is no key.
        let value = HeaderValue::from_bytes(&value).unwrap_or_else(|_| HeaderValue::from_static("?"));
        headers.append(name, value);
    }
    headers
}

/// The client's address, where whoever asks is trusted to know it.
fn client(
    Peer(envoy): Peer,
    forwarding: &Forwarding,
    source: Option<&EnvoyPeer>,
    headers: &HeaderMap,
) -> Option<ClientAddress> {
    if !forwarding.trusts(envoy.ip) {
        return None;
    }
    let Address::SocketAddress(socket) = source?.address.as_ref()?.address.as_ref()? else { return None };
    let connected = ClientAddress::new(socket.address.parse().ok()?, AddressSource::ExtAuthz);
    forwarding.client(connected, headers).ok()
}

fn allowed(admitted: &Admitted, headers: &HeaderMap) -> CheckResponse {
    // The one header that the key came in: there was no other.
    let carrier = if headers.contains_key(API_KEY) { API_KEY } else { AUTHORIZATION };
    let identity = identity_headers(admitted).into_iter().map(|(name, value)| header(&name, value));
    CheckResponse {
        status: Some(code(Code::Ok)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: identity.collect(),
            headers_to_remove: vec![carrier.as_str().to_owned()],
            ..OkHttpResponse::default()
        })),
        ..CheckResponse::default()
    }
}

fn refusal(refused: &KeyRefused) -> CheckResponse {
    let mut answer = denied(status_of(refused));
    if let (KeyRefused::SettingUp, Some(HttpResponse::DeniedResponse(response))) =
        (refused, answer.http_response.as_mut())
    {
        response.headers.push(header(&RETRY_AFTER, "1".to_owned()));
    }
    answer
}

fn denied(status: StatusCode) -> CheckResponse {
    let told = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        _ => Code::PermissionDenied,
    };
    CheckResponse {
        status: Some(code(told)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(status.as_u16()) }),
            ..DeniedHttpResponse::default()
        })),
        ..CheckResponse::default()
    }
}

/// In place of whatever the client, or another filter, wrote under the name.
fn header(name: &HeaderName, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(EnvoyHeader { key: name.as_str().to_owned(), value, ..EnvoyHeader::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn code(code: Code) -> rpc::Status {
    rpc::Status { code: code.into(), ..rpc::Status::default() }
}
