//! Sequences of decoded and mutated inputs against one engine; see `fairlane_fuzz::program`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fairlane_fuzz::program::run(bytes));
