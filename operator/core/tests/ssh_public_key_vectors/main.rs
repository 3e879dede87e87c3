//! SSH public keys: for each row our verdict, and beside it the verdict of the `ssh-keygen` that is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod curve_point_rows;
mod laws;
mod line_rows;
mod number_rows;
mod private_keys;
mod ssh_keygen;
mod type_and_blob_rows;
mod verdict;
mod wire;
