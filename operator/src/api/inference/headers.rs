//! Which headers go on: none that are for Keyplane or for this connection alone, and none that pretend to be Keyplane's.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// For one connection alone (RFC 9110, section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a client says to Keyplane and to nobody behind it: who it is. `Host` and `Expect` have been answered here.
/// `Forwarded` and `X-Real-IP` would be the client's own word about its address, with nothing of Keyplane's beside it.
const FOR_KEYPLANE: [HeaderName; 7] = [
    HeaderName::from_static("x-api-key"),
    AUTHORIZATION,
    COOKIE,
    HOST,
    EXPECT,
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
];

/// How Keyplane's own headers begin.
const OURS: &str = "x-keyplane-";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The headers of a client's request that its server is to see, with whose request it is, and who was at the other end of
/// the connection.
pub(super) fn towards_upstream(
    client: &HeaderMap,
    identity: impl IntoIterator<Item = (HeaderName, String)>,
    peer: IpAddr,
) -> HeaderMap {
    let mut headers = end_to_end(client);
    for name in FOR_KEYPLANE {
        headers.remove(name);
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let peer = peer.to_canonical().to_string();
    let chain = lines.chain([peer.as_bytes()]).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(chain) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    for (name, value) in identity {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The headers of the server's answer that its client is to see.
pub(super) fn towards_client(upstream: &HeaderMap) -> HeaderMap {
    end_to_end(upstream)
}

/// Without what is for one connection alone, and what only Keyplane says. CGI and WSGI take `_` for `-`, so that a name
/// with either is Keyplane's.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let goes_on = |name: &HeaderName| {
        !HOP_BY_HOP.contains(name)
            && !named.iter().any(|named| named == name.as_str())
            && !name.as_str().replace('_', "-").starts_with(OURS)
    };
    headers
        .iter()
        .filter(|(name, _)| goes_on(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn nothing_for_keyplane_or_for_this_connection_goes_on() {
        let client = headers(&[
            ("x-api-key", "secret"),
            ("authorization", "Bearer secret"),
            ("cookie", "session=secret"),
            ("host", "api.example"),
            ("expect", "100-continue"),
            ("forwarded", "for=192.0.2.9"),
            ("x-real-ip", "192.0.2.9"),
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic secret"),
            ("x-keyplane-account", "theirs"),
            ("x_keyplane_account", "theirs"),
            ("x-keyplane-anything", "theirs"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
            ("content-type", "application/json"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        let identity = [(HeaderName::from_static("x-keyplane-account"), "acme".to_owned())];
        let sent = towards_upstream(&client, identity, "::ffff:192.0.2.3".parse().unwrap());
        assert_eq!(
            shown(&sent),
            [
                ("accept", "a"),
                ("accept", "b"),
                ("content-type", "application/json"),
                ("x-forwarded-for", "192.0.2.1, 192.0.2.2, 192.0.2.3"),
                ("x-keyplane-account", "acme"),
            ]
        );
    }

    #[test]
    fn an_answer_goes_on_but_for_what_only_keyplane_says() {
        let upstream = headers(&[
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("x-keyplane-account", "theirs"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "3"),
        ]);
        assert_eq!(
            shown(&towards_client(&upstream)),
            [("content-length", "3"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
        );
    }
}
