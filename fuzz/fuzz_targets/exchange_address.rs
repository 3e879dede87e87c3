//! libFuzzer on the addresses of exchanges, and which are allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::exchange_address::check(bytes);
});
