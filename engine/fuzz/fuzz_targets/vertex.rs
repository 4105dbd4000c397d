//! Whatever decodes as a vertex is canonical: signed, so its bytes are the ones that were given.
#![no_main]

use fairlane_engine::dag::{SignedHeader, Vertex};
use fairlane_engine::wire::Reader;
use fairlane_fuzz::recording::recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(vertex) = Vertex::verify(bytes, &recording().committee) {
        assert_eq!(&vertex.bytes()[..], bytes);
    }
    // The header behind the signature, which mutation never gets past.
    let mut reader = Reader::new(bytes);
    if let Ok(signed) = SignedHeader::decode(&mut reader) {
        let mut encoded = Vec::new();
        signed.encode(&mut encoded);
        assert_eq!(encoded, bytes[..bytes.len() - reader.left()]);
    }
});
