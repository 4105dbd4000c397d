//! Whatever decodes as an envelope keeps its bytes, and its proof is judged without a panic.
#![no_main]

use fairlane_engine::seal::{Envelope, EnvelopeVerifier};
use fairlane_fuzz::recording::recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::decode(bytes.into()) {
        assert_eq!(&envelope.bytes()[..], bytes);
        let verifier = EnvelopeVerifier::new((*recording().key).clone(), [7; 32]);
        assert_eq!(verifier.check(vec![envelope]).len(), 1);
    }
});
