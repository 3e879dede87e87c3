//! From which addresses a key may be used: what can be written.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::Accepted;
use super::{Row, assert_table, digest, object, rejected};

const ADDRESSES: &str =
    "allowedCidrs must hold addresses or CIDRs, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32";

fn key(allowed: &Value) -> Value {
    let spec = json!({"scope": {"inference": true}, "digest": digest(), "allowedCidrs": allowed});
    object("ApiKey", "ci", &spec)
}

fn from(entry: &str) -> Value {
    key(&json!([entry]))
}

#[tokio::test]
async fn an_address_or_a_network_is_one_of_ipv4_or_ipv6() -> Result<()> {
    let bad = || rejected("spec.allowedCidrs", ADDRESSES);
    assert_table(vec![
        Row("an IPv4 address", from("203.0.113.7"), Accepted),
        Row("an IPv4 network", from("203.0.113.0/24"), Accepted),
        Row("one IPv4 address as a network", from("203.0.113.7/32"), Accepted),
        Row("every IPv4 address", from("0.0.0.0/0"), Accepted),
        Row("an IPv6 address", from("2001:db8::7"), Accepted),
        Row("an IPv6 network", from("2001:db8::/32"), Accepted),
        Row("one IPv6 address as a network", from("2001:db8::7/128"), Accepted),
        Row("every IPv6 address", from("::/0"), Accepted),
        Row("an IPv6 address in full", from("2001:0db8:0000:0000:0000:0000:0000:0007"), Accepted),
        Row("an IPv6 address that ends as an IPv4 address", from("2001:db8::203.0.113.7"), Accepted),
        // They are ignored: 203.0.113.7/24 is 203.0.113.0/24.
        Row("host bits", from("203.0.113.7/24"), Accepted),
        Row("host bits of IPv6", from("2001:db8::7/32"), Accepted),
        // An IPv4 client is one however the listener sees it: it is written as IPv4.
        Row("an IPv4 address as IPv6", from("::ffff:203.0.113.7"), bad()),
        Row("an IPv4 network as IPv6", from("::ffff:203.0.113.0/120"), bad()),
        Row("nothing", from(""), bad()),
        Row("a name", from("office.acme.example"), bad()),
        Row("a blank before", from(" 203.0.113.7"), bad()),
        Row("a line end", from("203.0.113.7\n"), bad()),
        Row("two in one", from("203.0.113.7,203.0.113.8"), bad()),
        Row("a range", from("203.0.113.7-203.0.113.9"), bad()),
        Row("a wildcard", from("203.0.113.*"), bad()),
        Row("three parts", from("203.0.113"), bad()),
        Row("a part of 256", from("203.0.113.256"), bad()),
        Row("a leading zero, which some read as octal", from("203.0.113.010"), bad()),
        Row("a port", from("203.0.113.7:443"), bad()),
        Row("brackets", from("[2001:db8::7]"), bad()),
        Row("a zone", from("fe80::1%eth0"), bad()),
        Row("33 bits", from("203.0.113.0/33"), bad()),
        Row("129 bits", from("2001:db8::/129"), bad()),
        Row("no bits", from("203.0.113.0/"), bad()),
        Row("bits with a leading zero", from("203.0.113.0/024"), bad()),
        Row("fewer than no bits", from("203.0.113.0/-1"), bad()),
        Row("a mask", from("203.0.113.0/255.255.255.0"), bad()),
        Row("one of two", key(&json!(["203.0.113.7", "office"])), bad()),
        Row(
            "too long to be one",
            from(&"1".repeat(50)),
            rejected("spec.allowedCidrs[0]", "may not be more than 49 bytes"),
        ),
    ])
    .await
}

#[tokio::test]
async fn a_list_of_addresses_is_short_and_names_none_twice_or_is_left_out() -> Result<()> {
    let many = |count: usize| json!((0..count).map(|host| format!("203.0.113.{host}")).collect::<Vec<_>>());
    assert_table(vec![
        Row("left out", key(&Value::Null), Accepted),
        Row("64", key(&many(64)), Accepted),
        Row("65", key(&many(65)), rejected("spec.allowedCidrs", "must have at most 64 items")),
        // It could mean everywhere or nowhere.
        Row(
            "empty",
            key(&json!([])),
            rejected("spec.allowedCidrs", "spec.allowedCidrs in body should have at least 1 items"),
        ),
        Row(
            "one twice",
            key(&json!(["203.0.113.7", "203.0.113.7"])),
            rejected("spec.allowedCidrs[1]", r#""203.0.113.7""#),
        ),
        Row("one in two spellings", key(&json!(["203.0.113.7", "203.0.113.7/32"])), Accepted),
        Row(
            "not a list",
            key(&json!("203.0.113.7")),
            rejected("spec.allowedCidrs", r#"spec.allowedCidrs in body must be of type array: "string""#),
        ),
    ])
    .await
}
