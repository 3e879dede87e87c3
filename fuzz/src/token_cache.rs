//! What holds of the content of a cache file, whatever was written there.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use keyplane_core::key_format::KeyDigest;
use keyplane_credential_plugin::exchange::address::{BaseUrl, ExchangeAddress, Trust};
use keyplane_credential_plugin::token::cache::{Cached, Slot, TokenCache};

fn slot(key: &[u8]) -> Slot {
    let base = BaseUrl::parse("https://exchange.example").expect("an address");
    Slot::of(&ExchangeAddress::new(base, Trust::Platform), KeyDigest::of(key), None)
}

fn cache(key: &[u8]) -> TokenCache {
    TokenCache::new(PathBuf::new(), slot(key))
}

/// The name by which this law's slot stands in its files.
#[must_use]
pub fn slot_name() -> String {
    let path = cache(b"key").path();
    path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned()
}

/// Holds bytes against the laws. Gives whether they are an entry whose token may be handed out.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> bool {
    // A seed names the slot by a word, so that it outlives a change of what a slot is made of.
    let bytes = match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("SLOT", &slot_name()).into_bytes(),
        Err(_) => bytes.to_vec(),
    };
    let now: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    assert!(cache(b"other").parse(&bytes, now).is_err(), "a token of another key");
    let Ok(Cached { token, life, .. }) = cache(b"key").parse(&bytes, now) else { return false };
    assert!(life.may_be_handed_out(now));
    let entry: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(entry["slot"], slot_name());
    let text = serde_json::to_value(&token).expect("a text");
    assert_eq!(entry["token"], text);
    assert!(text.as_str().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_graphic())));
    true
}
