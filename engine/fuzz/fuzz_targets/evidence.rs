//! Whatever decodes as evidence is canonical, and is judged without a panic.
#![no_main]

use fairlane_engine::evidence::Evidence;
use fairlane_fuzz::recording::recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
        let _ = evidence.check(&recording().committee, &recording().key);
    }
});
