//! Whatever is ordered in a key generation is judged without a panic: 1 byte author, 1 byte kind, the rest a body or, for
//! kind 0, a whole message. The log has two good deals already, and an anchor comes after the message.
#![no_main]

use std::sync::{Arc, LazyLock};

use fairlane_engine::dkg::{DecryptionKey, Generation, Session};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

/// What every run begins with, made once a process.
struct Start {
    session: Arc<Session>,
    keys: Vec<Arc<DecryptionKey>>,
    deals: [Arc<[u8]>; 2],
}

impl Start {
    fn make() -> Self {
        let keys: Vec<Arc<DecryptionKey>> = (0..4)
            .map(|index| Arc::new(DecryptionKey::generate(&[index; 32])))
            .collect();
        let public = keys.iter().map(|key| key.public()).collect();
        let session =
            Session::new(ChainId(1), Epoch(1), 3, public, 4).expect("four members, any three");
        let session = Arc::new(session);
        let deals = [1, 2].map(|index| {
            let member = member(&session, &keys, index);
            member.wanted().expect("a member deals first")
        });
        Self {
            session,
            keys,
            deals,
        }
    }
}

fn member(session: &Arc<Session>, keys: &[Arc<DecryptionKey>], index: u8) -> Generation {
    let key = keys[usize::from(index)].clone();
    Generation::new(session.clone(), AuthorityIndex(index), key, &[index; 32])
}

static START: LazyLock<Start> = LazyLock::new(Start::make);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut follower = member(&START.session, &START.keys, 0);
    for (author, deal) in (1..).zip(&START.deals) {
        assert!(follower.handle(AuthorityIndex(author), deal).is_ok());
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
