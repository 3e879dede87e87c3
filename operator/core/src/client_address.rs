//! Whose address a request comes from: the connection's, or the one that trusted proxies tell.
//!
//! Anybody can write a header. One is believed only when a trusted proxy sent it, and of it only what trusted
//! proxies appended: the list is walked from the right, past trusted proxies, to the first address that is not one.

use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use crate::ip_network::any_holds;

mod forwarded;
mod node;

/// How a client's address was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressSource {
    /// It is the other end of the connection.
    Connection,
    /// A trusted proxy told it in the header `Forwarded` (RFC 7239).
    Forwarded,
    /// A trusted proxy told it in the header `X-Forwarded-For`.
    XForwardedFor,
    /// A trusted proxy told it in the PROXY protocol.
    ProxyProtocol,
    /// A trusted Envoy told it when it asked about the request.
    ExtAuthz,
}

impl AddressSource {
    /// The word for it in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
            Self::ProxyProtocol => "proxy-protocol",
            Self::ExtAuthz => "ext-authz",
        }
    }
}

/// The address of a client, and how it was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress {
    /// The address; never IPv4-mapped IPv6.
    pub ip: IpAddr,
    /// How it was learnt.
    pub source: AddressSource,
}

impl ClientAddress {
    /// The address in its one form.
    #[must_use]
    pub fn new(ip: IpAddr, source: AddressSource) -> Self {
        Self { ip: ip.to_canonical(), source }
    }
}

/// The header in which trusted proxies name their client. There is one: a proxy passes on the other as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses with commas between them, each with or without a port.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    fn source(self) -> AddressSource {
        match self {
            Self::XForwardedFor => AddressSource::XForwardedFor,
            Self::Forwarded => AddressSource::Forwarded,
        }
    }

    /// The addresses of one line, from left to right. `None` is an entry that names no address.
    fn addresses(self, line: &str) -> Vec<Option<IpAddr>> {
        match self {
            Self::XForwardedFor => {
                line.split(',').map(|entry| node::loose(entry.trim_matches(OWS))).collect()
            }
            Self::Forwarded => forwarded::addresses(line),
        }
    }
}

/// A trusted proxy passed a request on and did not tell for whom: the client's address is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the header {} of a trusted proxy names no address where the client's should be: have the proxy append its client's IP address",
    .0.name()
)]
pub struct UnreadableForwarded(pub ForwardedHeader);

/// Optional white space of HTTP (RFC 9110, section 5.6.3).
const OWS: [char; 2] = [' ', '\t'];

/// The address of the client behind `peer`.
///
/// `values` are the lines of `header` in the order in which they came. They are looked at only when `peer` is in
/// `trusted`. Without any line the peer is itself the client. When all addresses are trusted, the leftmost is the
/// client.
///
/// # Errors
/// When an entry that names no address (`unknown`, an obfuscated name, anything unreadable) is met before the client
/// is found. The client's address is unknown then; what lies further left may be the client's own invention.
pub fn client_address(
    peer: ClientAddress,
    trusted: &[IpNet],
    header: ForwardedHeader,
    values: &[&str],
) -> Result<ClientAddress, UnreadableForwarded> {
    let mut client = ClientAddress::new(peer.ip, peer.source);
    if !any_holds(trusted, client.ip) {
        return Ok(client);
    }
    for line in values.iter().rev() {
        for address in header.addresses(line).into_iter().rev() {
            let address = address.ok_or(UnreadableForwarded(header))?;
            client = ClientAddress::new(address, header.source());
            if !any_holds(trusted, client.ip) {
                return Ok(client);
            }
        }
    }
    Ok(client)
}
