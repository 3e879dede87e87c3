//! Whom an address counts for: an IPv4 address for itself, an IPv6 address for its /64, which is the least that a
//! customer of an Internet provider has, with more addresses in it than could ever be counted one by one.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that tell whose it is.
const NETWORK_BITS: u128 = !(u64::MAX as u128);

/// Addresses that count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AddressBlock(IpAddr);

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_with_its_64_and_an_ipv4_address_alone() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let block = |text: &str| AddressBlock::from(text.parse::<IpAddr>().unwrap());
            assert_eq!(block(one) == block(other), same, "{one} {other}");
        }
    }
}
