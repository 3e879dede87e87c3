//! What holds of an exchange's address and of `--allow-server`, whatever text is given.

use keyplane_credential_plugin::exchange::address::BaseUrl;
use keyplane_credential_plugin::exchange::allowed::{AllowedExchange, check_address};
use keyplane_credential_plugin::failure::FailureKind;

use crate::told::check_line;

/// Holds bytes against the laws. Gives whether they are an exchange that can be allowed.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(base) = BaseUrl::parse(&text) {
        check_base(&base);
    }
    match AllowedExchange::parse(&text) {
        Ok(allowed) => {
            let written = allowed.to_string();
            assert!(written.starts_with("https://"), "{written:?}");
            assert_eq!(AllowedExchange::parse(&written).as_ref(), Ok(&allowed));
            let address = written.split_once('#').map_or(written.as_str(), |(address, _)| address);
            let base = BaseUrl::parse(address).expect("an address");
            check_base(&base);
            assert!(check_address(&base, std::slice::from_ref(&allowed)).is_ok());
            let next = BaseUrl::parse(&format!("{address}x")).ok();
            assert!(next.is_none_or(|next| check_address(&next, &[allowed]).is_err()), "{written:?}");
            true
        }
        Err(failure) => {
            assert_eq!(failure.kind(), FailureKind::Usage);
            check_line(&failure);
            false
        }
    }
}

/// It is its own text, and holds nothing that a password could be.
fn check_base(base: &BaseUrl) {
    let text = base.as_str();
    assert_eq!(BaseUrl::parse(text).as_ref(), Ok(base));
    assert!(!text.contains(['@', '#', '?', ' ']) && !text.contains(char::is_control), "{text:?}");
    assert!(base.is_https() || base.is_loopback(), "{text:?}");
    assert!(!text.ends_with('/'), "{text:?}");
    // Whoever connects takes the default for a port that is none.
    let authority = text.split('/').nth(2).unwrap_or_default();
    let after_host = authority.rsplit(']').next().unwrap_or_default();
    if let Some((_, port)) = after_host.split_once(':') {
        assert!(
            port.parse::<u16>().is_ok_and(|number| number != 0 && number.to_string() == port),
            "{text:?}"
        );
    }
}
