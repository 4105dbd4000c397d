//! Whatever decodes as a message between authorities is canonical.
#![no_main]

use fairlane_engine::message::PeerMessage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    if let Ok(message) = PeerMessage::decode(*kind, body) {
        let mut encoded = Vec::new();
        message.encode_body(&mut encoded);
        assert_eq!((message.kind(), &encoded[..]), (*kind, body));
    }
});
