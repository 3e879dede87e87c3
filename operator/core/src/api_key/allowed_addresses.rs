//! From which addresses a key may be used: `spec.allowedCidrs`.

use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use crate::ip_network;

/// The addresses that a key may be used from. An empty list means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedAddresses(Vec<IpNet>);

/// An entry that is neither an address nor a CIDR.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "allowedCidrs holds {0:?}, which is neither an address nor a CIDR: write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
)]
pub struct InvalidEntry(pub String);

impl AllowedAddresses {
    /// Reads a list of addresses and CIDRs, IPv4 or IPv6. Host bits are ignored, and IPv4-mapped IPv6 is IPv4.
    ///
    /// # Errors
    /// With the first entry that is neither. A list that cannot be read as a whole must allow nobody.
    pub fn parse(entries: &[String]) -> Result<Self, InvalidEntry> {
        let networks = entries.iter().map(|entry| network(entry).ok_or_else(|| InvalidEntry(entry.clone())));
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a key with this list may be used from the address.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether every address is allowed, an unknown one included.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        self.0.is_empty()
    }
}

/// An address or a CIDR, in its one form. As strict as the API server: no leading zeros, which some read as octal.
fn network(entry: &str) -> Option<IpNet> {
    let Some((address, prefix)) = entry.split_once('/') else {
        return entry.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    };
    let is_number = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let prefix = prefix.parse().ok().filter(|_| is_number)?;
    IpNet::new(address.parse().ok()?, prefix).ok().map(ip_network::canonical)
}
