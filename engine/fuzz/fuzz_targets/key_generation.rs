//! Whatever is ordered in a key generation is judged without a panic: 1 byte author, 1 byte kind, the rest a body or, for
//! kind 0, a whole message. The log has three good deals already, and an anchor comes after the message.
//!
//! Kind 4: each 3 bytes are a place and what to change there in an honest assurance, when it is time for it. With any
//! change it assures nobody.
#![no_main]

use std::sync::{Arc, LazyLock};

use fairlane_engine::dkg::{DecryptionKey, Generation, Session, Taken};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

/// What every run begins with, made once a process.
struct Start {
    session: Arc<Session>,
    keys: Vec<Arc<DecryptionKey>>,
    deals: [Arc<[u8]>; 3],
    /// Of the deal of 1, for 0.
    assurance: Arc<[u8]>,
}

impl Start {
    fn make() -> Self {
        let keys: Vec<Arc<DecryptionKey>> = (0..4)
            .map(|index| Arc::new(DecryptionKey::generate(&[index; 32])))
            .collect();
        let public = keys.iter().map(|key| key.public()).collect();
        let session =
            Session::new(ChainId(1), Epoch(1), 3, public, WINDOW).expect("four members, any three");
        let session = Arc::new(session);
        let deals = [0, 1, 2].map(|index| {
            let member = member(&session, &keys, index);
            member.wanted().expect("a member deals first")
        });
        let mut dealer = member(&session, &keys, 1);
        follow(&mut dealer, &deals, WINDOW);
        let ack = dealer.wanted().expect("three good deals");
        assert_eq!(dealer.handle(AuthorityIndex(1), &ack), Ok(Taken::Ack));
        let assurance = dealer.wanted().expect("0 has not acknowledged");
        Self {
            session,
            keys,
            deals,
            assurance,
        }
    }
}

/// Takes the deals, then some anchors.
fn follow(follower: &mut Generation, deals: &[Arc<[u8]>], anchors: u64) {
    for (author, deal) in (0..).zip(deals) {
        assert!(follower.handle(AuthorityIndex(author), deal).is_ok());
    }
    for _ in 0..anchors {
        assert!(follower.on_anchor().is_none());
    }
}

fn member(session: &Arc<Session>, keys: &[Arc<DecryptionKey>], index: u8) -> Generation {
    let key = keys[usize::from(index)].clone();
    Generation::new(session.clone(), AuthorityIndex(index), key, &[index; 32])
}

const WINDOW: u64 = 4;

static START: LazyLock<Start> = LazyLock::new(Start::make);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([author, kind], body)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let author = AuthorityIndex(author % 5);
    let mut follower = member(&START.session, &START.keys, 0);
    follow(
        &mut follower,
        &START.deals,
        if *kind == 4 { WINDOW } else { 0 },
    );
    let whole = match kind {
        0 => body.to_vec(),
        4 => changed(&START.assurance, body),
        kind => [&[1, *kind, 0, 0, 0, 1], body].concat(),
    };
    let taken = follower.handle(author, &whole);
    if matches!(taken, Ok(Taken::Assured(_))) {
        assert!(author == AuthorityIndex(1) && *whole == *START.assurance);
    }
    let _ = (follower.on_anchor(), follower.wanted());
});

fn changed(message: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut changed = message.to_vec();
    for edit in edits.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % changed.len();
        changed[at] ^= edit[2];
    }
    changed
}
