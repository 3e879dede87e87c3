//! The laws of addresses: which a key may be used from, and which is the client's when proxies stand in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use keyplane_core::api_key::{AllowedAddresses, InvalidEntry};
use keyplane_core::client_address::{
    AddressSource, ClientAddress, ForwardedHeader, UnreadableForwarded, client_address,
};
use keyplane_core::ip_network::any_holds;
use proptest::prelude::*;

/// Characters that lists, quotes, ports and addresses are made of: more often malformed in an interesting way.
const NASTY: &str = "[0-9a-f:.,;=\"\\\\ \t_%/\\[\\]forbyFORé\u{0}]{0,40}";

/// Few enough that random addresses meet, and each as IPv4, IPv4-mapped or IPv6.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let v4 = (10..12_u8, 0..3_u8, any::<u8>()).prop_map(|(a, b, c)| Ipv4Addr::new(a, b, 0, c));
    let v6 = (0..3_u16, any::<u16>()).prop_map(|(a, b)| Ipv6Addr::new(0x2001, 0xdb8, a, 0, 0, 0, 0, b));
    prop_oneof![
        v4.clone().prop_map(IpAddr::V4),
        v4.prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())),
        v6.prop_map(IpAddr::V6),
        any::<IpAddr>(),
    ]
}

/// An address, and how many of its bits count.
fn networks() -> impl Strategy<Value = (IpAddr, u8)> {
    addresses().prop_flat_map(|address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (Just(address), prop_oneof![Just(bits), 0..=bits, bits - 9..=bits])
    })
}

/// A network's address with one bit turned, or a random one: half of them just inside or just outside.
fn asked(networks: Vec<(IpAddr, u8)>) -> impl Strategy<Value = IpAddr> {
    let turned = |address: IpAddr, bit: u8| match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) ^ (1 << (bit % 32))).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) ^ (1 << (bit % 128))).into()),
    };
    let near = (any::<prop::sample::Index>(), any::<u8>(), addresses()).prop_map(move |(at, bit, other)| {
        if networks.is_empty() { other } else { turned(networks[at.index(networks.len())].0, bit) }
    });
    prop_oneof![near, addresses()]
}

fn text((address, prefix): (IpAddr, u8)) -> String {
    let is_single = prefix == if address.is_ipv4() { 32 } else { 128 };
    if is_single { address.to_string() } else { format!("{address}/{prefix}") }
}

fn read(networks: &[(IpAddr, u8)]) -> Vec<IpNet> {
    networks.iter().map(|(address, prefix)| IpNet::new(*address, *prefix).unwrap()).collect()
}

/// The bits of an address, without those that only say that it is IPv4.
fn bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let octets = octets.strip_prefix(&mapped[..]).unwrap_or(&octets);
    octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}

/// The reference: bit by bit.
fn holds((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    let is_mapped = network.is_ipv6() && bits(network).len() == 32;
    let (network, prefix) = match (is_mapped, prefix.checked_sub(96)) {
        (true, Some(prefix)) => (bits(network), prefix),
        // Shorter than the part that says it is IPv4: a network of IPv6.
        (true, None) => {
            (vec![false; 80].into_iter().chain(vec![true; 16]).chain(bits(network)).collect(), prefix)
        }
        (false, _) => (bits(network), prefix),
    };
    let address = bits(address);
    address.len() == network.len() && (0..usize::from(prefix)).all(|bit| address[bit] == network[bit])
}

fn holding(networks: &[(IpAddr, u8)], address: IpAddr) -> bool {
    networks.iter().any(|network| holds(*network, address))
}

/// What stands in a list of proxies: an address, or what is none.
#[derive(Clone, Debug)]
enum Entry {
    Address(IpAddr),
    Unreadable(String),
}

fn entries() -> impl Strategy<Value = Entry> {
    let unreadable = prop_oneof![
        Just("unknown"),
        Just("_hidden"),
        Just(""),
        Just("localhost"),
        Just("10.0.0"),
        Just("010.0.0.1"),
        Just("10.0.0.1:"),
        Just("10.0.0.1:123456"),
        Just("10.0.0.1/32"),
        Just("[10.0.0.1]"),
        Just("[2001:db8::1"),
        Just("[2001:db8::1]x"),
        Just("2001:db8::1%eth0"),
    ];
    prop_oneof![
        5 => addresses().prop_map(Entry::Address),
        1 => unreadable.prop_map(|text| Entry::Unreadable(text.to_owned())),
    ]
}

/// An entry as a proxy may write it; `style` chooses among the ways.
fn written(header: ForwardedHeader, entry: &Entry, style: u8) -> String {
    let port = if style & 1 == 0 { "" } else { ":4711" };
    let node = match entry {
        Entry::Address(IpAddr::V4(address)) => format!("{address}{port}"),
        Entry::Address(IpAddr::V6(address))
            if header == ForwardedHeader::XForwardedFor && port.is_empty() =>
        {
            address.to_string()
        }
        Entry::Address(IpAddr::V6(address)) => format!("[{address}]{port}"),
        Entry::Unreadable(text) => text.clone(),
    };
    if header == ForwardedHeader::XForwardedFor {
        return node;
    }
    let name = if style & 2 == 0 { "for" } else { "For" };
    let is_token = node.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    let pair =
        if is_token && style & 4 == 0 { format!("{name}={node}") } else { format!("{name}=\"{node}\"") };
    match style >> 3 & 3 {
        0 => pair,
        1 => format!("proto=https;{pair}"),
        2 => format!("{pair};by=\"_a, for=\\\"6.6.6.6\\\";\""),
        _ => format!("{pair}; host=a.example"),
    }
}

/// The entries in their order, with commas or a new line between them.
fn lines(header: ForwardedHeader, list: &[(Entry, u8)]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (entry, style) in list {
        let written = written(header, entry, *style);
        match lines.last_mut() {
            Some(line) if style & 32 == 0 => {
                *line = format!("{line}{}{written}", [",", ", ", " ,\t"][usize::from(style % 3)]);
            }
            _ => lines.push(written),
        }
    }
    lines
}

/// Often one that most addresses here are within, so that the walk goes on.
fn trusted_proxies() -> impl Strategy<Value = Vec<(IpAddr, u8)>> {
    let wide =
        prop::sample::subsequence(vec![("10.0.0.0", 7), ("::ffff:10.0.0.0", 103), ("2001:db8::", 32)], 0..=3)
            .prop_map(|wide| wide.into_iter().map(|(address, prefix)| (address.parse().unwrap(), prefix)));
    (prop::collection::vec(networks(), 0..3), wide)
        .prop_map(|(some, wide)| some.into_iter().chain(wide).collect())
}

fn headers() -> impl Strategy<Value = ForwardedHeader> {
    prop_oneof![Just(ForwardedHeader::XForwardedFor), Just(ForwardedHeader::Forwarded)]
}

fn source(header: ForwardedHeader) -> AddressSource {
    match header {
        ForwardedHeader::XForwardedFor => AddressSource::XForwardedFor,
        ForwardedHeader::Forwarded => AddressSource::Forwarded,
    }
}

fn ask(
    peer: IpAddr,
    trusted: &[(IpAddr, u8)],
    header: ForwardedHeader,
    lines: &[String],
) -> Result<ClientAddress, UnreadableForwarded> {
    let peer = ClientAddress { ip: peer, source: AddressSource::Connection };
    client_address(peer, &read(trusted), header, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The reference: who is the client, when `list` is all that is left of what the proxies told?
fn client(
    known: ClientAddress,
    trusted: &[(IpAddr, u8)],
    header: ForwardedHeader,
    list: &[(Entry, u8)],
) -> Result<ClientAddress, UnreadableForwarded> {
    match list.split_last() {
        Some(((entry, _), left)) if holding(trusted, known.ip) => match entry {
            Entry::Address(ip) => client(ClientAddress::new(*ip, source(header)), trusted, header, left),
            Entry::Unreadable(_) => Err(UnreadableForwarded(header)),
        },
        _ => Ok(known),
    }
}

/// A line that a client wrote, to which a trusted proxy then added the client's address.
fn appended(header: ForwardedHeader, invented: &str, real: IpAddr, style: u8) -> String {
    format!("{invented}, {}", written(header, &Entry::Address(real), style))
}

proptest! {
    #[test]
    fn the_list_allows_what_the_reference_allows(
        (networks, asked) in prop::collection::vec(networks(), 0..5)
            .prop_flat_map(|networks| (Just(networks.clone()), asked(networks))),
    ) {
        let entries: Vec<String> = networks.iter().copied().map(text).collect();
        let allowed = AllowedAddresses::parse(&entries).unwrap();
        prop_assert_eq!(allowed.allows(asked), networks.is_empty() || holding(&networks, asked));
        prop_assert_eq!(allowed.allows_all(), networks.is_empty());
    }

    #[test]
    fn so_do_networks_however_they_are_written(
        (networks, asked) in prop::collection::vec(networks(), 0..5)
            .prop_flat_map(|networks| (Just(networks.clone()), asked(networks))),
    ) {
        prop_assert_eq!(any_holds(&read(&networks), asked), holding(&networks, asked));
    }

    #[test]
    fn host_bits_are_ignored(network in networks(), other in addresses()) {
        let entry = |text: String| AllowedAddresses::parse(&[text]).unwrap();
        let with_host_bits = entry(format!("{}/{}", network.0, network.1));
        let without = entry(IpNet::new(network.0, network.1).unwrap().trunc().to_string());
        prop_assert_eq!(with_host_bits.allows(other), without.allows(other));
    }

    #[test]
    fn a_list_is_read_or_refused_by_the_entry_and_never_half(
        good in prop::collection::vec(networks(), 0..3), text in NASTY,
    ) {
        let mut entries: Vec<String> = good.into_iter().map(self::text).collect();
        entries.push(text.clone());
        if let Err(error) = AllowedAddresses::parse(&entries) {
            prop_assert_eq!(&error, &InvalidEntry(text.clone()));
            let told = error.to_string();
            prop_assert!(told.contains(&format!("{text:?}")), "{told}");
            prop_assert!(!told.contains(char::is_control), "{told}");
        } else {
            let address = text.split('/').next().unwrap();
            prop_assert!(address.parse::<IpAddr>().is_ok());
        }
    }

    #[test]
    fn reading_is_total(
        peer in addresses(), trusted in prop::collection::vec(networks(), 0..3), header in headers(),
        lines in prop::collection::vec(prop_oneof![any::<String>(), NASTY.prop_map(|text: String| text)], 0..4),
    ) {
        let _ = AllowedAddresses::parse(&lines);
        let _ = ask(peer, &trusted, header, &lines);
    }

    #[test]
    fn the_walk_is_the_references(
        peer in addresses(), trusted in trusted_proxies(), header in headers(),
        list in prop::collection::vec((entries(), any::<u8>()), 0..6),
    ) {
        let known = ClientAddress::new(peer, AddressSource::Connection);
        let lines = lines(header, &list);
        prop_assert_eq!(
            ask(peer, &trusted, header, &lines), client(known, &trusted, header, &list), "{:?}", lines
        );
    }

    #[test]
    fn no_header_of_an_untrusted_peer_is_believed(
        peer in addresses(), trusted in trusted_proxies(), header in headers(),
        list in prop::collection::vec((entries(), any::<u8>()), 0..6),
    ) {
        let trusted: Vec<_> = trusted.into_iter().filter(|network| !holds(*network, peer)).collect();
        let found = ask(peer, &trusted, header, &lines(header, &list)).unwrap();
        prop_assert_eq!(found, ClientAddress::new(peer, AddressSource::Connection));
    }

    /// Whatever the client wrote on lines of its own, of which a trusted proxy's comes last.
    #[test]
    fn no_line_that_a_client_sends_ahead_is_believed(
        real in addresses(), proxy in addresses(), header in headers(), style: u8,
        invented in prop::collection::vec(NASTY, 0..3),
    ) {
        let trusted = [(proxy, if proxy.is_ipv4() { 32 } else { 128 })];
        prop_assume!(!holding(&trusted, real));
        let mut lines = invented;
        lines.push(written(header, &Entry::Address(real), style));
        prop_assert_eq!(ask(proxy, &trusted, header, &lines), Ok(ClientAddress::new(real, source(header))));
    }

    /// Whatever the client wrote where a trusted proxy adds to the same line: a quote that it leaves open makes its
    /// own address unknown, and nothing makes it another.
    #[test]
    fn nothing_that_a_client_writes_ahead_on_the_line_chooses_its_address(
        real in addresses(), proxy in addresses(), header in headers(), style: u8, hop in prop::option::of(any::<u8>()),
        invented in prop_oneof![
            NASTY.prop_map(|text: String| text),
            Just("for=6.6.6.6;x=\"".to_owned()),
            Just("for=6.6.6.6, for=\"".to_owned()),
            Just("for=6.6.6.6;x=\"\\".to_owned()),
            Just("for=6.6.6.6;x=".to_owned()),
        ],
    ) {
        let trusted = [(proxy, if proxy.is_ipv4() { 32 } else { 128 })];
        prop_assume!(!holding(&trusted, real));
        let mut line = appended(header, &invented, real, style);
        if let Some(style) = hop {
            line = appended(header, &line, proxy, style);
        }
        if let Ok(found) = ask(proxy, &trusted, header, std::slice::from_ref(&line)) {
            prop_assert_eq!(found, ClientAddress::new(real, source(header)), "{}", line);
        } else {
            prop_assert_eq!(header, ForwardedHeader::Forwarded, "{}", line);
        }
    }

    /// An IPv4 client of a listener for both families, a proxy that tells it so, and rules written so.
    #[test]
    fn it_never_matters_whether_an_ipv4_address_came_as_ipv6(
        peer in any::<Ipv4Addr>(), real in any::<Ipv4Addr>(), prefix in 0..=32_u8, header in headers(), style: u8,
    ) {
        let ways = |address: Ipv4Addr| [IpAddr::V4(address), IpAddr::V6(address.to_ipv6_mapped())];
        let mut found = Vec::new();
        for peer_way in ways(peer) {
            for real_way in ways(real) {
                for trusted in [(IpAddr::V4(peer), prefix), (IpAddr::V6(peer.to_ipv6_mapped()), prefix + 96)] {
                    let line = written(header, &Entry::Address(real_way), style);
                    found.push(ask(peer_way, &[trusted], header, &[line]).unwrap());
                }
            }
        }
        found.dedup();
        prop_assert_eq!(found, vec![ClientAddress { ip: IpAddr::V4(real), source: source(header) }]);
    }
}

#[test]
fn the_examples_of_rfc_7239_are_read() {
    let trusted = [("10.0.0.0".parse().unwrap(), 8)];
    let proxy = "10.0.0.1".parse().unwrap();
    for (line, client) in [
        ("for=192.0.2.43", "192.0.2.43"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        ("for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", "198.51.100.17"),
        ("for=\"192.0.2.43:_port\"", "192.0.2.43"),
    ] {
        let found = ask(proxy, &trusted, ForwardedHeader::Forwarded, &[line.to_owned()]);
        assert_eq!(found.unwrap().ip, client.parse::<IpAddr>().unwrap(), "{line}");
    }
    for line in [
        "for=\"_gazonk\"",
        "for=unknown",
        "for=_hidden, for=_SEVKISEK",
        "proto=http",
        "for=1.2.3.4;for=5.6.7.8",
        "for=1.2.3.4/for=5.6.7.8",
        "proto=http for=5.6.7.8",
        "proto=\"http\"for=5.6.7.8",
        "for=\"5.6.7.8",
        "for=5.6.7.8\"",
        "for = 5.6.7.8",
        "for=\"2001:db8::1\"",
        "for=5.6.7.8:",
        "for=\"5.6.7.8:_\"",
        "for=5.6.7.8,",
    ] {
        let error = ask(proxy, &trusted, ForwardedHeader::Forwarded, &[line.to_owned()]).unwrap_err();
        assert!(error.to_string().contains("header forwarded of a trusted proxy"), "{line}: {error}");
    }
}
