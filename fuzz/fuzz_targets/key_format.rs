//! libFuzzer on the format of API keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::key_format::check(bytes);
});
