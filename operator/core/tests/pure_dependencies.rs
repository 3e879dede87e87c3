//! The rules can do nothing but decide: no crate that they are built of opens a socket, reads a clock or draws a
//! random number.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

/// One line for each crate that `keyplane-core` is built of, in the given format.
fn dependencies(format: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "keyplane-core", "--all-features"])
        .args(["--edges", "normal", "--prefix", "none", "--format", format])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn nothing_that_the_core_is_built_of_does_network_files_or_randomness() {
    let names: BTreeSet<String> =
        dependencies("{p}").iter().filter_map(|line| line.split(' ').next()).map(ToOwned::to_owned).collect();
    assert!(names.contains("keyplane-core") && names.contains("chrono"), "{names:?}");
    for refused in [
        "async-std",
        "fastrand",
        "futures-executor",
        "getrandom",
        "hyper",
        "hyper-util",
        "kube-client",
        "kube-runtime",
        "mio",
        "polling",
        "rand",
        "reqwest",
        "rustls",
        "smol",
        "socket2",
        "tokio",
        "ureq",
    ] {
        assert!(!names.contains(refused), "the core is built of {refused}");
    }
}

#[test]
fn the_core_has_no_clock() {
    let chrono: Vec<String> =
        dependencies("{p} {f}").into_iter().filter(|line| line.starts_with("chrono ")).collect();
    assert!(!chrono.is_empty());
    for line in chrono {
        let features = line.rsplit(' ').next().unwrap();
        assert!(!features.split(',').any(|feature| ["clock", "now", "default"].contains(&feature)), "{line}");
    }
}
