//! A token that whoever asks for one still holds: as long as it is good, they go on with it, and none is minted.
//!
//! The API server alone says whether a token is good, and it is asked only about tokens that say to be of the key that was
//! presented, as it stands now: somebody else's token goes nowhere.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::UserInfo;
use keyplane_core::audit::TokenId;
use keyplane_crds::IDENTITIES_NAMESPACE;
use kube::Client;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::key_index::Identity;
use super::token::Token;
use super::token_review::TokenReviews;

/// Longer than any token that is minted here, which have about one kilobyte.
const LONGEST: usize = 8 * 1024;
/// How much of a token's life is left at least in one that is good for another while: a quarter.
const PARTS: i64 = 4;
/// How long the API server may take: minting is the other way, and somebody waits.
const REVIEW_LIMIT: Duration = Duration::from_secs(2);

/// A token that says to be of a key's present identity, and to be good for another while.
struct HeldToken {
    text: Zeroizing<String>,
    ends: DateTime<Utc>,
}

/// What is read of a token's claims (Kubernetes, tokens bound to a Secret).
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iat: i64,
    exp: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: BoundTo,
}

/// What a token of a ServiceAccount is bound to.
#[derive(Deserialize)]
struct BoundTo {
    namespace: String,
    serviceaccount: Object,
    secret: Object,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: String,
}

impl Object {
    fn is(&self, name: &str, uid: &str) -> bool {
        !uid.is_empty() && self.name == name && self.uid == uid
    }
}

/// The user name of a key's ServiceAccount.
fn username(identity: &Identity) -> String {
    format!("system:serviceaccount:{IDENTITIES_NAMESPACE}:{}", identity.service_account)
}

impl HeldToken {
    /// The token, where it is worth to ask the API server about it. Nothing here is verified.
    fn of(text: Zeroizing<String>, identity: &Identity, now: DateTime<Utc>) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split('.');
        let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let bound = &claims.kubernetes;
        let is_of_the_key = claims.sub == username(identity)
            && bound.namespace == IDENTITIES_NAMESPACE
            && bound.serviceaccount.is(&identity.service_account, &identity.service_account_uid)
            && bound.secret.is(&identity.anchor, &identity.anchor_uid);
        let ends = DateTime::from_timestamp(claims.exp, 0)?;
        (is_of_the_key && has_life(claims.iat, claims.exp, now.timestamp())).then_some(Self { text, ends })
    }
}

/// Whether a quarter of a token's life is left at least. Seconds since 1970.
fn has_life(minted: i64, ends: i64, now: i64) -> bool {
    let left = ends.saturating_sub(now);
    left > 0 && left.saturating_mul(PARTS) >= ends.saturating_sub(minted)
}

/// Whether the API server knows the bearer as this identity.
fn is_bearer(user: &UserInfo, identity: &Identity) -> bool {
    user.username.as_deref() == Some(username(identity).as_str())
        && user.uid.as_deref() == Some(identity.service_account_uid.as_str())
}

/// Looks at held tokens.
pub(crate) struct HeldTokens(TokenReviews);

impl HeldTokens {
    /// One that asks through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self(TokenReviews::new(client))
    }

    /// The token that was shown, if its holder may go on with it: it is one of this identity, as it stands now, and a quarter
    /// of its life is left. It says to end at `end` at the latest, as a new one would. None also where the API server does not
    /// say: a new one does no harm.
    pub(crate) async fn good(
        &self,
        text: Zeroizing<String>,
        identity: &Identity,
        end: Option<DateTime<Utc>>,
    ) -> Option<Token> {
        let held = HeldToken::of(text, identity, Utc::now())?;
        match self.0.bearer_of(&held.text, REVIEW_LIMIT).await {
            Ok(user) => user.filter(|user| is_bearer(user, identity))?,
            Err(error) => {
                // Not a warning: an installation may leave the right to ask out.
                tracing::debug!(%error, "a held token is not reviewed; another is minted");
                return None;
            }
        };
        Some(Token {
            id: TokenId::of(&held.text),
            expires_at: end.map_or(held.ends, |end| end.min(held.ends)),
            text: held.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MINTED: i64 = 1_800_000_000;

    fn identity() -> Identity {
        Identity {
            service_account: "key-1".to_owned(),
            service_account_uid: "account-uid".to_owned(),
            anchor: "key-1-ab".to_owned(),
            anchor_uid: "anchor-uid".to_owned(),
        }
    }

    /// As kube-apiserver 1.36 writes them.
    fn claims() -> Value {
        json!({
            "aud": ["https://kubernetes.default.svc"], "iss": "https://kubernetes.default.svc", "jti": "j",
            "iat": MINTED, "nbf": MINTED, "exp": MINTED + 600,
            "sub": "system:serviceaccount:keyplane-identities:key-1",
            "kubernetes.io": {
                "namespace": "keyplane-identities",
                "secret": {"name": "key-1-ab", "uid": "anchor-uid"},
                "serviceaccount": {"name": "key-1", "uid": "account-uid"},
            },
        })
    }

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn is_asked_about(token: String, after: i64) -> bool {
        let now = DateTime::from_timestamp(MINTED + after, 0).unwrap();
        HeldToken::of(Zeroizing::new(token), &identity(), now).is_some()
    }

    #[test]
    fn a_token_is_good_until_a_quarter_of_its_life_is_left() {
        for (after, is_good) in [
            (0, true),
            (1, true),
            (449, true),
            (450, true),
            (451, false),
            (599, false),
            (600, false),
            (601, false),
            // Minted ahead of this clock.
            (-30, true),
        ] {
            assert_eq!(is_asked_about(token(&claims()), after), is_good, "{after}");
        }
        for (minted, ends, now) in
            [(i64::MAX, i64::MIN, 0), (0, i64::MIN, i64::MAX), (i64::MIN, 0, i64::MAX), (5, 5, 5)]
        {
            assert!(!has_life(minted, ends, now), "{minted} {ends} {now}");
        }
    }

    #[test]
    fn nothing_but_a_token_of_this_very_identity_is_asked_about() {
        assert!(is_asked_about(token(&claims()), 0));
        for (pointer, value) in [
            ("/sub", json!("system:serviceaccount:keyplane-identities:key-2")),
            ("/sub", json!("system:serviceaccount:keyplane-system:key-1")),
            ("/sub", json!("admin")),
            ("/sub", Value::Null),
            ("/exp", json!("soon")),
            ("/exp", json!(i64::MAX)),
            ("/iat", Value::Null),
            ("/kubernetes.io", Value::Null),
            ("/kubernetes.io/namespace", json!("keyplane-system")),
            ("/kubernetes.io/serviceaccount/name", json!("key-2")),
            ("/kubernetes.io/serviceaccount/uid", json!("another")),
            ("/kubernetes.io/serviceaccount/uid", json!("")),
            ("/kubernetes.io/secret/name", json!("key-1-cd")),
            ("/kubernetes.io/secret/uid", json!("another")),
            ("/kubernetes.io/secret", Value::Null),
        ] {
            let mut changed = claims();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(!is_asked_about(token(&changed), 0), "{pointer}: {changed}");
        }
        let whole = token(&claims());
        for garbage in [
            String::new(),
            "a".to_owned(),
            "a.b".to_owned(),
            "a.b.c".to_owned(),
            "e30.e30.c2ln".to_owned(),
            format!("{whole}.more"),
            format!("{whole}{}", "x".repeat(LONGEST)),
        ] {
            assert!(!is_asked_about(garbage.clone(), 0), "{garbage}");
        }
        let unknown = Identity { service_account_uid: String::new(), ..identity() };
        let mut without = claims();
        *without.pointer_mut("/kubernetes.io/serviceaccount/uid").unwrap() = json!("");
        let now = DateTime::from_timestamp(MINTED, 0).unwrap();
        assert!(HeldToken::of(Zeroizing::new(token(&without)), &unknown, now).is_none());
    }

    #[test]
    fn the_api_servers_word_must_be_about_this_very_identity() {
        let user = |name: &str, uid: &str| UserInfo {
            username: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..UserInfo::default()
        };
        let name = "system:serviceaccount:keyplane-identities:key-1";
        assert!(is_bearer(&user(name, "account-uid"), &identity()));
        assert!(!is_bearer(&user(name, "another"), &identity()));
        assert!(!is_bearer(&user("key-1", "account-uid"), &identity()));
        assert!(!is_bearer(&UserInfo::default(), &identity()));
    }
}
