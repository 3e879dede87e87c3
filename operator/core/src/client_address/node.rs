//! An address as a proxy writes it, with or without a port.

use std::net::IpAddr;

/// The address of an entry of `X-Forwarded-For`: as in [`strict`], or an IPv6 address without brackets.
pub(super) fn loose(entry: &str) -> Option<IpAddr> {
    entry.parse().ok().or_else(|| strict(entry))
}

/// The address of a node of RFC 7239, section 6: `192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]` or
/// `[2001:db8::1]:4711`. `None` for `unknown`, obfuscated names, and anything else.
pub(super) fn strict(node: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (IpAddr::V6(address.parse().ok()?), port)
    } else {
        let (address, port) =
            node.split_once(':').map_or((node, None), |(address, port)| (address, Some(port)));
        (IpAddr::V4(address.parse().ok()?), port)
    };
    port.is_none_or(is_port).then_some(address)
}

/// Whether this is a port: one to five digits, or an obfuscated one.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
    }
}
