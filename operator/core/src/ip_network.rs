//! Addresses and networks in one form each: what is written as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) is IPv4.
//!
//! A listener for both families sees an IPv4 client as `::ffff:192.0.2.1`. It must not matter which it was.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// How many bits of an IPv4-mapped address come before the IPv4 address.
const MAPPED_BITS: u8 = 96;

/// The network in its one form: without host bits, and as IPv4 where it lies within `::ffff:0:0/96`.
///
/// A shorter IPv6 prefix stays IPv6, and holds no IPv4 address: `::/0` is every IPv6 address.
#[must_use]
pub fn canonical(network: IpNet) -> IpNet {
    let as_ipv4 = match network {
        IpNet::V4(_) => None,
        IpNet::V6(network) => network
            .addr()
            .to_ipv4_mapped()
            .zip(network.prefix_len().checked_sub(MAPPED_BITS))
            .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()),
    };
    as_ipv4.map_or(network, IpNet::V4).trunc()
}

/// Whether one of the networks holds the address, each in its one form.
#[must_use]
pub fn any_holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| canonical(*network).contains(&address))
}
