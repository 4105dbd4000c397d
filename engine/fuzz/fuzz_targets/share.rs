//! Whatever decodes as a share message is canonical.
#![no_main]

use fairlane_engine::seal::ShareMessage;
use fairlane_fuzz::recording::recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = ShareMessage::decode(bytes) {
        assert_eq!(message.encode(), bytes);
        let count = message.shares.len();
        let (seq, root) = (message.seq, message.order_root);
        let _ = message.claim(&recording().key, seq, root, count);
    }
});
