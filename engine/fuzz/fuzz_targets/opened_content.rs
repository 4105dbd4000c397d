//! Whatever is sealed under a proof that holds has one outcome; see `fairlane_fuzz::opening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fairlane_fuzz::opening::content(bytes));
