//! The laws of the cache file: it gives back what was put in, and no damage gives a token of another identity.

use std::fs;

use chrono::{TimeDelta, Utc};
use keyplane_core::key_format::KeyDigest;
use keyplane_credential_plugin::exchange::address::{BaseUrl, ExchangeAddress, Trust};
use keyplane_credential_plugin::token::BearerToken;
use keyplane_credential_plugin::token::cache::{Slot, TokenCache};
use keyplane_credential_plugin::token::life::TokenLife;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::stage::set_mode;

const TOKEN: &str = "a.cached.token";

fn slot(server: &str, key: &[u8]) -> Slot {
    let exchange = ExchangeAddress::new(BaseUrl::parse(server).unwrap(), Trust::Platform);
    Slot::of(&exchange, KeyDigest::of(key), None)
}

/// A folder with one cached token, and its cache.
fn cached() -> (TempDir, TokenCache, chrono::DateTime<Utc>) {
    let folder = TempDir::new().unwrap();
    set_mode(folder.path(), 0o700);
    let cache = TokenCache::new(folder.path().to_owned(), slot("https://exchange.example", b"key"));
    let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let life = TokenLife::of_answer(now, None, now + TimeDelta::minutes(10));
    cache.write(&BearerToken::new(TOKEN.to_owned()).unwrap(), life);
    (folder, cache, now)
}

fn text(token: &BearerToken) -> String {
    serde_json::to_value(token).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn what_was_kept_comes_back_for_its_own_identity_only() {
    let (folder, cache, now) = cached();
    let (token, _) = cache.read(now).unwrap();
    assert_eq!(text(&token), TOKEN);
    assert_eq!(format!("{token:?}"), "[redacted]");
    let other = TokenCache::new(folder.path().to_owned(), slot("https://exchange.example", b"other"));
    assert!(other.read(now).is_none());
    fs::rename(cache.path(), other.path()).unwrap();
    assert!(other.read(now).is_none(), "a file under another's name is not theirs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_change_of_bytes_is_a_miss_or_a_sound_entry_and_the_next_write_heals(
        position in any::<prop::sample::Index>(),
        byte: u8,
        length in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (_folder, cache, now) = cached();
        let mut content = fs::read(cache.path()).unwrap();
        let position = position.index(content.len());
        content[position] = byte;
        if let Some(length) = length {
            content.truncate(length.index(content.len()));
        }
        fs::write(cache.path(), content).unwrap();
        if let Some((_, life)) = cache.read(now) {
            prop_assert!(life.may_be_handed_out(now));
        }
        let life = TokenLife::of_answer(now, None, now + TimeDelta::minutes(10));
        cache.write(&BearerToken::new(TOKEN.to_owned()).unwrap(), life);
        prop_assert_eq!(cache.read(now).map(|(token, _)| text(&token)), Some(TOKEN.to_owned()));
    }

    #[test]
    fn any_bytes_at_all_are_a_miss(content in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_folder, cache, now) = cached();
        fs::write(cache.path(), content).unwrap();
        prop_assert!(cache.read(now).is_none());
    }
}
