//! Both directions of the client protocol: frames, requests and notices, every list in them read to its end.
#![no_main]

use fairlane_client::protocol::{Notice, Request, next_frame};

const LEN_MAX: u32 = 1 << 18;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((content, len))) = next_frame(rest, LEN_MAX) {
        let _ = Request::decode(content);
        if let Ok(notice) = Notice::decode(content) {
            read(notice);
        }
        rest = &rest[len..];
    }
});

fn read(notice: Notice<'_>) {
    match notice {
        Notice::Acks(acks) => drop(acks.iter().count()),
        Notice::Receipts(receipts) => {
            for item in receipts.iter() {
                item.path.hashes();
            }
        }
        Notice::Ordered(ordered) => drop(ordered.iter().count()),
        _ => {}
    }
}
