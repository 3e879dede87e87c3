//! What a request presents: a key, an access token, or neither. What is ambiguous counts as nothing.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use keyplane_core::key_format::PlaintextKey;
use secrecy::SecretString;

/// The header of seeds 003 and 004.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How long an access token may be: the API server's own limit for a whole request head is above this.
const LONGEST_TOKEN: usize = 64 * 1024;

/// What stands in `Authorization: Bearer`.
pub(crate) enum Credential {
    /// Nothing, or several.
    None,
    /// An API key.
    Key(PlaintextKey),
    /// What looks like an API key and is none. It is shown to nobody: it may be one with a slip in it.
    BrokenKey,
    /// Anything else: an access token, perhaps.
    Token(SecretString),
}

/// Whether there is anything in `x-api-key`.
pub(crate) fn has_api_key(headers: &HeaderMap) -> bool {
    headers.contains_key(API_KEY)
}

/// The key in `x-api-key`. Two headers, or a list, are ambiguous and count as none.
pub(crate) fn api_key_header(headers: &HeaderMap) -> Option<PlaintextKey> {
    let value = only(headers, &API_KEY)?;
    PlaintextKey::parse(value).ok()
}

/// What stands in `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Credential {
    let Some(text) = only(headers, &AUTHORIZATION).and_then(bearer_text) else { return Credential::None };
    match PlaintextKey::parse(text) {
        Ok(key) => Credential::Key(key),
        Err(_) if looks_like_a_key(text) => Credential::BrokenKey,
        Err(_) if text.is_empty() || text.len() > LONGEST_TOKEN => Credential::None,
        Err(_) => Credential::Token(SecretString::from(text)),
    }
}

/// The key in `x-api-key`, or else in `Authorization: Bearer`; none where both are there.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<PlaintextKey> {
    match (headers.contains_key(API_KEY), headers.contains_key(AUTHORIZATION)) {
        (true, false) => api_key_header(headers),
        (false, true) => PlaintextKey::parse(bearer_text(only(headers, &AUTHORIZATION)?)?).ok(),
        _ => None,
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

/// The scheme's name has no case (RFC 9110, section 11.1).
fn bearer_text(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

/// Whether a text begins as keys do, `kpk_`: access tokens are JWTs or opaque texts without such a beginning.
fn looks_like_a_key(text: &str) -> bool {
    text.split_once('_').is_some_and(|(kind, secret)| {
        (2..=8).contains(&kind.len())
            && kind.bytes().all(|byte| byte.is_ascii_lowercase())
            && secret.bytes().take_while(u8::is_ascii_alphanumeric).count() >= 16
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use keyplane_core::key_format::KeyType;

    use super::*;

    fn key() -> PlaintextKey {
        PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_key_is_taken_from_one_place_and_never_the_first_of_several() {
        let (one, other) = (key(), key());
        let (one, other) = (one.expose(), other.expose());
        let bearer = format!("Bearer {one}");
        for (lines, expected) in [
            (vec![("x-api-key", one)], Some(one)),
            (vec![("authorization", bearer.as_str())], Some(one)),
            (vec![("x-api-key", one), ("x-api-key", one)], None),
            (vec![("x-api-key", one), ("x-api-key", other)], None),
            (vec![("x-api-key", one), ("authorization", bearer.as_str())], None),
            (vec![("x-api-key", &format!("{one}, {other}"))], None),
            (vec![("authorization", one)], None),
            (vec![("authorization", &format!("Basic {one}"))], None),
            (vec![("authorization", &format!("bearer  {one}"))], Some(one)),
            (vec![], None),
        ] {
            let found = presented_key(&headers(&lines));
            assert_eq!(found.as_ref().map(PlaintextKey::expose), expected, "{} headers", lines.len());
        }
    }

    #[test]
    fn what_looks_like_a_key_is_never_taken_for_an_access_token() {
        let whole = key();
        let whole = whole.expose();
        let broken = [
            whole.get(..whole.len() - 1).unwrap().to_owned(),
            format!("{whole}x"),
            whole.replace("kpk_", "abc_"),
            format!("{whole} {whole}"),
        ];
        for text in broken {
            let found = bearer(&headers(&[("authorization", &format!("Bearer {text}"))]));
            assert!(matches!(found, Credential::BrokenKey));
        }
        let token = bearer(&headers(&[("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln_bmF0dXJl")]));
        assert!(matches!(token, Credential::Token(_)));
    }
}
