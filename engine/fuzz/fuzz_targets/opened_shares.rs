//! A bad share message, sent first and twice, changes no byte of the batch; see `fairlane_fuzz::opening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fairlane_fuzz::opening::share(bytes));
