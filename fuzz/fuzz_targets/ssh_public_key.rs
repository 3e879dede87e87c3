//! libFuzzer on the reader of SSH public keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::ssh_public_key::check(bytes);
});
