//! libFuzzer on the files of the credential plugin's cache.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::token_cache::check(bytes);
});
