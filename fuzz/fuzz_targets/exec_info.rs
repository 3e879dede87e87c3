//! libFuzzer on what a client asks of the credential plugin.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::exec_info::check(bytes);
});
