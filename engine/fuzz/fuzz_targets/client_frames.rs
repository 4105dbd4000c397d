//! Both directions of the client protocol: frames, requests and notices, every list in them read to its end.
#![no_main]

use fairlane_client::protocol::{FollowTarget, Notice, Request, next_frame};
use fairlane_client::{CertifiedChain, Inclusion};
use fairlane_fuzz::recording::recording;

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
        Notice::Included(included) => {
            for item in included.iter() {
                let inclusion = Inclusion::of(&included.header, &item);
                let target = FollowTarget::Digest(item.digest);
                let _ = inclusion.verify(&recording().committee, target);
            }
        }
        Notice::Certified(certified) => {
            let chain = CertifiedChain::of(certified);
            let verdict = chain.verify(&recording().committee);
            assert!(verdict.is_err(), "signed by nobody");
        }
        _ => {}
    }
}
