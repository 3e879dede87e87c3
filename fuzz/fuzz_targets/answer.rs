//! libFuzzer on the exchange's answers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keyplane_fuzz::answer::check(bytes);
});
