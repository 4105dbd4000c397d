//! Encodings: bounded, canonical, and refused otherwise.

use proptest::prelude::*;
use proptest::sample::Index;

use super::machine::Generation;
use super::message::{self, MESSAGE_LEN_MAX};
use super::outcome::{Fault, Taken};
use super::trial::{Trial, WINDOW};
use super::*;
use crate::types::{AUTHORITIES_MAX, AuthorityIndex, AuthoritySet, ChainId, Epoch};
use crate::wire::DecodeError;

/// A deal, a complaint about it, an acknowledgement, and an assurance, as bytes.
fn messages(trial: &Trial) -> [Vec<u8>; 4] {
    let deal = trial.deal_wrong(1, &[0]);
    let read = trial.read_deal(1, &deal).unwrap();
    let complaint = message::encode_complaint(&trial.session, &trial.complaint(0, &read));
    let mut dealers = AuthoritySet::EMPTY;
    dealers.insert(AuthorityIndex(1));
    [
        deal,
        complaint,
        message::encode_ack(&trial.session, dealers),
        assurance(trial, &read),
    ]
}

/// Of a deal of 1 that was drawn from 51, for 0.
fn assurance(trial: &Trial, deal: &deal::VerifiedDeal) -> Vec<u8> {
    let draft = deal::Draft::new(&trial.session, AuthorityIndex(1), &[51; 32]);
    message::encode_assurance(&trial.session, &draft, deal, AuthorityIndex(0))
}

/// A committee in whose log the deal has stood for a window.
fn past_the_window() -> Trial {
    let mut trial = Trial::new(4, 3);
    let [deal, ..] = messages(&trial);
    trial.order(1, &deal).unwrap();
    for dealer in [0, 2] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
    }
    (0..WINDOW).for_each(|_| trial.anchor());
    trial
}

#[test]
fn the_encodings_are_these_bytes() {
    let trial = Trial::new(4, 3);
    let heads = messages(&trial).map(|bytes| (hex::encode(&bytes[..6]), bytes.len()));
    let golden = [
        ("010100000003", 6 + 32 * (3 + 1 + 4 + 3)),
        ("010200000003", 6 + 1 + 96),
        ("010300000003", 6 + 16),
        ("010400000003", 6 + 1 + 32 * (1 + 138 + 52)),
    ];
    assert_eq!(heads, golden.map(|(head, len)| (head.to_owned(), len)));
    let hashes = messages(&trial).map(|bytes| blake3::hash(&bytes).to_hex()[..16].to_owned());
    assert_eq!(hashes, GOLDEN);
    assert_eq!(message::epoch_of(&messages(&trial)[2]), Ok(Epoch(3)));
}

#[test]
fn missing_and_surplus_bytes_are_refused() {
    let trial = Trial::new(4, 3);
    let mut followers = [(); 3].map(|()| Generation::observe(trial.session.clone()));
    let mut past = past_the_window();
    let followers = followers.iter_mut().chain([&mut past.observer]);
    for (bytes, follower) in messages(&trial).into_iter().zip(followers) {
        for len in 0..bytes.len() {
            let cut = follower.handle(AuthorityIndex(1), &bytes[..len]);
            assert!(
                matches!(cut, Err(Fault::Decode(DecodeError::Truncated { .. }))),
                "{len}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        let refused = follower.handle(AuthorityIndex(1), &longer);
        assert_eq!(refused, Err(Fault::Decode(DecodeError::Trailing(1))));
    }
}

#[test]
fn unknown_versions_and_kinds_and_what_is_too_long_are_refused() {
    let trial = Trial::new(4, 3);
    let mut follower = Generation::observe(trial.session.clone());
    let mut handle = |bytes: &[u8]| follower.handle(AuthorityIndex(1), bytes);
    let ack = messages(&trial)[2].clone();
    let changed = |at: usize, to: u8| {
        let mut bytes = ack.clone();
        bytes[at] = to;
        bytes
    };
    let refused = |error| Err(Fault::Decode(error));
    assert_eq!(handle(&changed(0, 2)), refused(DecodeError::Version(2)));
    for kind in [0, 5, 255] {
        let unknown = DecodeError::NotCanonical("message kind");
        assert_eq!(handle(&changed(1, kind)), refused(unknown));
    }
    let long = vec![1; MESSAGE_LEN_MAX + 1];
    let refused = handle(&long);
    assert!(matches!(
        refused,
        Err(Fault::Decode(DecodeError::TooLarge { .. }))
    ));
}

#[test]
fn points_and_scalars_that_are_not_canonical_or_the_identity_are_refused() {
    let trial = Trial::new(4, 3);
    let mut follower = Generation::observe(trial.session.clone());
    let deal = messages(&trial)[0].clone();
    // Three commitments, R, four masked shares, challenge and two responses.
    for (field, is_point) in (0..11).map(|field| (field, field < 4)) {
        let mut fill = |with: u8| {
            let mut bytes = deal.clone();
            bytes[6 + 32 * field..][..32].fill(with);
            follower.handle(AuthorityIndex(1), &bytes)
        };
        assert!(matches!(
            fill(0xff),
            Err(Fault::Decode(DecodeError::NotCanonical(_)))
        ));
        match is_point {
            true => assert!(matches!(
                fill(0),
                Err(Fault::Decode(DecodeError::NotCanonical(_)))
            )),
            false => assert_eq!(fill(0), Err(Fault::Proof)),
        }
    }
}

#[test]
fn the_longest_message_is_within_the_bound_and_nothing_is_to_spare() {
    let n = AUTHORITIES_MAX as u8;
    let keys: Vec<_> = (0..n)
        .map(|i| DecryptionKey::generate(&[i; 32]).public())
        .collect();
    let quorum = crate::committee::Thresholds::new(AUTHORITIES_MAX)
        .unwrap()
        .quorum();
    let session = Session::new(ChainId(7), Epoch(3), quorum, keys, WINDOW).unwrap();
    let draft = deal::Draft::new(&session, AuthorityIndex(0), &[1; 32]);
    let len = message::encode_deal(&session, &draft).len();
    assert!(
        len <= MESSAGE_LEN_MAX
            && len > MESSAGE_LEN_MAX - 32 * (AUTHORITIES_MAX - quorum as usize) - 1
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_taken_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        kind in 1u8..5,
        author in any::<u8>(),
    ) {
        let trial = Trial::new(4, 3);
        let mut follower = Generation::observe(trial.session.clone());
        let _ = follower.handle(AuthorityIndex(author), &bytes);
        let headed = [&[1, kind, 0, 0, 0, 3][..], &bytes].concat();
        prop_assert!(follower.handle(AuthorityIndex(author), &headed).is_err());
    }

    #[test]
    fn a_deal_with_any_bit_flipped_is_refused(bit in any::<Index>()) {
        let trial = Trial::new(4, 3);
        let mut follower = Generation::observe(trial.session.clone());
        let mut bytes = messages(&trial)[0].clone();
        let bit = bit.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(follower.handle(AuthorityIndex(1), &bytes).is_err(), "bit {}", bit);
    }

    #[test]
    fn a_complaint_with_any_bit_flipped_refutes_nothing(bit in any::<Index>()) {
        let mut trial = Trial::new(4, 3);
        let [deal, mut complaint, ..] = messages(&trial);
        trial.order(1, &deal).unwrap();
        let bit = bit.index(8 * complaint.len());
        complaint[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(trial.order(0, &complaint).is_err(), "bit {}", bit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_assurance_with_any_bit_flipped_assures_nobody(bit in any::<Index>()) {
        let mut trial = past_the_window();
        let [.., mut assurance] = messages(&trial);
        let bit = bit.index(8 * assurance.len());
        assurance[bit / 8] ^= 1 << (bit % 8);
        let taken = trial.order(1, &assurance);
        prop_assert!(!matches!(taken, Ok(Taken::Assured(_))), "bit {}", bit);
    }
}

const GOLDEN: [&str; 4] = [
    "409e33232164a17b",
    "647ad83a02ea0530",
    "57d5e015c093c80a",
    "a93d1150b3df3a5c",
];
