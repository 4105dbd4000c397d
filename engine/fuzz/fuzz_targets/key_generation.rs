//! Whatever is ordered in a key generation is judged without a panic: 1 byte author, 1 byte kind, the rest a body or, for
//! kind 0, a whole message. The log has two good deals already, and an anchor comes after the message.
#![no_main]

use std::sync::Arc;

use fairlane_engine::dkg::{DecryptionKey, Generation, Session};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let keys: Vec<Arc<DecryptionKey>> = (0..4)
        .map(|index| Arc::new(DecryptionKey::generate(&[index; 32])))
        .collect();
    let public = keys.iter().map(|key| key.public()).collect();
    let session =
        Session::new(ChainId(1), Epoch(1), 3, public, 4).expect("four members, any three");
    let session = Arc::new(session);
    let member = |index: u8| {
        let key = keys[usize::from(index)].clone();
        Generation::new(session.clone(), AuthorityIndex(index), key, &[index; 32])
    };
    let mut follower = member(0);
    for index in 1..3 {
        let deal = member(index).wanted().expect("a member deals first");
        assert!(follower.handle(AuthorityIndex(index), &deal).is_ok());
    }
    let Some(([author, kind], body)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let whole = match kind {
        0 => body.to_vec(),
        kind => [&[1, *kind, 0, 0, 0, 1], body].concat(),
    };
    let _ = follower.handle(AuthorityIndex(author % 5), &whole);
    let _ = (follower.on_anchor(), follower.wanted());
});
