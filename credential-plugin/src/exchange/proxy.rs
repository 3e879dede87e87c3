//! Which proxy leads to an exchange, by the rules that kubectl itself follows (Go's `httpproxy`). Pure.
//!
//! A proxy sees the exchange's name and TLS, never the key: so it may come from where the exchange's CA may not.

use std::net::IpAddr;

use ipnet::IpNet;
use ureq::Proxy;
use ureq::http::Uri;

use crate::exchange::address::ExchangeAddress;
use crate::exchange::port::port_of;
use crate::failure::{Failure, FailureKind};

/// What stands for no proxy at all, in the place of a proxy's URL.
pub const NONE: &str = "none";
/// The variables that name a proxy for https, the first one that is set wins. `HTTP_PROXY` is for http alone.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that name what no proxy leads to; the first one that is set wins.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy that was named for this exchange, else the environment's, unless `NO_PROXY` names the exchange or it is
/// this very machine. `variable` gives an environment variable that is set and not empty.
///
/// # Errors
/// [`FailureKind::Usage`] when what names a proxy is no URL of one, or would lead plain http through it; its text is not
/// repeated, for it may hold a password. Whatever `variable` fails with.
pub fn choose(
    exchange: &ExchangeAddress,
    variable: impl Fn(&'static str) -> Result<Option<String>, Failure>,
) -> Result<Option<Proxy>, Failure> {
    if let Some(url) = &exchange.proxy_url {
        if url == NONE {
            return Ok(None);
        }
        if !exchange.base.is_https() {
            return Err(unusable(
                "the key would travel to the proxy in clear text",
                "--proxy-url",
                "give the exchange's https address",
            ));
        }
        return parse(url, "--proxy-url, or the cluster's proxy-url").map(Some);
    }
    if exchange.base.is_loopback() {
        return Ok(None);
    }
    let first = |names: &[&'static str]| -> Result<Option<(&'static str, String)>, Failure> {
        for name in names {
            if let Some(value) = variable(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    };
    let Some((name, url)) = first(&VARIABLES)? else {
        return Ok(None);
    };
    let exceptions = first(&EXCEPTIONS)?.map(|(_, list)| list).unwrap_or_default();
    if is_excepted(&exceptions, exchange.base.as_str()) {
        return Ok(None);
    }
    parse(&url, name).map(Some)
}

fn parse(url: &str, place: &str) -> Result<Proxy, Failure> {
    let has_sound_port =
        |proxy: &Proxy| proxy.uri().authority().is_some_and(|authority| port_of(authority).is_ok());
    Proxy::new(url).ok().filter(has_sound_port).ok_or_else(|| {
        unusable(
            "this is no URL of a proxy",
            place,
            "give http://, https:// or socks5://, then HOST:PORT, or none with --proxy-url none",
        )
    })
}

fn unusable(what: &str, place: &str, remedy: &str) -> Failure {
    Failure::new(FailureKind::Usage, what, place, remedy)
}

/// Whether a list as in `NO_PROXY` names the host of this URL.
///
/// An entry is `*`, an address, a network such as `10.0.0.0/8`, a domain with all below it, or `.domain` or `*.domain`
/// for what is below it alone; all but a network may end with a port.
#[must_use]
pub fn is_excepted(list: &str, url: &str) -> bool {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let host = bare(uri.host().unwrap_or_default()).to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(443);
    let address = host.parse::<IpAddr>().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return address.is_some_and(|address| network.contains(&address));
        }
        let (name, only_port) = with_port(entry);
        if only_port.is_some_and(|only| only != port) {
            return false;
        }
        let name = bare(name).to_ascii_lowercase();
        match (name.parse::<IpAddr>(), address) {
            (Ok(named), Some(address)) => named == address,
            (Ok(_), None) | (Err(_), Some(_)) => false,
            (Err(_), None) => is_domain_of(name.strip_prefix('*').unwrap_or(&name), &host),
        }
    })
}

/// The entry's name, and its port if it ends with one. The colons of a bare IPv6 address are no port.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !bare(name).contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether the domain, or with a dot before it what is below it, names this host.
fn is_domain_of(domain: &str, host: &str) -> bool {
    match domain.strip_prefix('.') {
        Some("") => false,
        Some(_) => host.ends_with(domain),
        None => host == domain || host.strip_suffix(domain).is_some_and(|below| below.ends_with('.')),
    }
}
