//! Whoever reads the output may have read enough.

use std::io::pipe;
use std::process::Command;

#[test]
fn a_reader_that_goes_away_is_not_told_as_a_failure() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = Command::new(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
        .args(["completion", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}
