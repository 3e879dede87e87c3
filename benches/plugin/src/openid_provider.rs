//! What kubelogin logs in to: the least of `OpenID` Connect that gives it a token to cache.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::http_server::HttpServer;

/// How long its tokens live.
const LIFE: Duration = Duration::from_hours(1);

/// Starts a provider that gives everybody a token.
pub(crate) fn start() -> Result<HttpServer> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| anyhow!("no key could be made"))?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
        .map_err(|error| anyhow!("no key could be made: {error}"))?;
    Ok(HttpServer::start(move |url, path| match path {
        "/.well-known/openid-configuration" => json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
        "/keys" => json!({"keys": [public_key(&key)]}),
        _ => json!({
            "access_token": "none",
            "token_type": "Bearer",
            "expires_in": LIFE.as_secs(),
            "id_token": token(url, &key, &random),
        }),
    })?)
}

/// The public key as a JSON Web Key (RFC 7517): its point's coordinates follow the first byte.
fn public_key(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "bench", "x": encoded(x), "y": encoded(y)})
}

fn token(url: &str, key: &EcdsaKeyPair, random: &SystemRandom) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let head = json!({"alg": "ES256", "kid": "bench", "typ": "JWT"});
    let claims = json!({
        "iss": url, "aud": "bench", "sub": "bench", "iat": now.as_secs(), "exp": (now + LIFE).as_secs(),
    });
    let signed = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
    match key.sign(random, signed.as_bytes()) {
        Ok(signature) => format!("{signed}.{}", encoded(signature)),
        // Whoever reads it says that it is none.
        Err(_) => signed,
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
