//! Whatever decodes as a certificate or as a word for one is canonical; only honest signatures make a certificate that holds,
//! and a collector that hears such words makes none that does not.
#![no_main]

use std::sync::Arc;

use fairlane_engine::certificate::{Certificate, Collector, Vouch};
use fairlane_engine::types::AuthorityIndex;
use fairlane_fuzz::certifying::certifying;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let honest = certifying();
    if let Ok(certificate) = Certificate::decode(bytes) {
        assert_eq!(certificate.encode(), bytes);
        if certificate.verify(&honest.keys).is_ok() {
            assert_eq!(certificate.header, honest.header, "signed by nobody");
        }
    }
    let Ok(vouch) = Vouch::decode(bytes) else {
        return;
    };
    let mut again = Vec::new();
    vouch.encode(&mut again);
    assert_eq!(again, bytes);
    let mut collector = Collector::new(Arc::clone(&honest.keys), AuthorityIndex(0));
    let early = collector.on_vouch(AuthorityIndex(1), vouch);
    assert_eq!(early, None, "no own batch yet");
    let own = honest.vouch(0);
    assert_eq!(collector.on_own(honest.header, own.signature), None);
    for from in [2, 3] {
        let vouch = honest.vouch(from);
        if let Some(certificate) = collector.on_vouch(AuthorityIndex(from), vouch) {
            assert_eq!(certificate.verify(&honest.keys), Ok(()));
            assert_eq!(certificate.header, honest.header);
        }
    }
    assert_eq!(collector.counts().made, 1, "three honest words are enough");
});
