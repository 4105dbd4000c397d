//! What a faulty peer can and cannot do to the reveal with share messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::batch::archive::order_root;
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::reveal::{EARLY_AUTHOR_MAX, Reveal, RevealKeys, ShareFault};
use fairlane_engine::seal::{
    EncodedPoint, Envelope, EnvelopeVerifier, KeyShare, LabelFields, SealingKey, ShareError,
    ShareMessage, deal, seal,
};
use fairlane_engine::types::{
    AuthorityIndex, BatchSeq, ChainId, Epoch, RollupId, Round, Sha256Hash, TimestampUs,
};

const CHAIN: ChainId = ChainId(1);
const EPOCH: Epoch = Epoch(0);
const FIRST: BatchSeq = BatchSeq(0);
const AUTHOR: AuthorityIndex = AuthorityIndex(1);

/// Authority 0 of four, as the test sees it: with everybody's secrets.
struct World {
    key: SealingKey,
    shares: Vec<KeyShare>,
    reveal: Reveal,
}

fn signing_key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author + 1; 32])
}

impl World {
    fn new() -> Self {
        let keys = (0..4).map(|author| signing_key(author).verifying_key());
        let (start, parameters) = (TimestampUs(0), Parameters::default());
        let committee =
            Committee::new(CHAIN, EPOCH, start, parameters, Vec::new(), keys.collect()).unwrap();
        let (key, mut shares) = deal(CHAIN, EPOCH, 4, 3, &[9; 32]).unwrap();
        let own = RevealKeys {
            sealing: Arc::new(key.clone()),
            share: shares.remove(0),
            signing: signing_key(0),
            process_secret: [4; 32],
        };
        let reveal = Reveal::new(Arc::new(committee), AuthorityIndex(0), own);
        Self {
            key,
            shares,
            reveal,
        }
    }

    /// A first batch of two sealed envelopes.
    fn plan(&self, seq: BatchSeq) -> BatchPlan {
        let fields = LabelFields {
            rollup: RollupId(5),
            valid_until: TimestampUs(1_000_000),
            sender_tag: [6; 16],
            padded_len: None,
        };
        let envelopes = [1, 2].map(|entropy| {
            let bytes = seal(&self.key, &fields, b"payload", &[entropy; 64]).unwrap();
            Envelope::decode(bytes.into()).unwrap()
        });
        let verifier = EnvelopeVerifier::new(self.key.clone(), [8; 32]);
        let verdicts = verifier.check(envelopes.to_vec()).into_iter();
        BatchPlan {
            seq,
            anchor_round: Round(2),
            time: TimestampUs(10),
            order_root: order_root(envelopes.iter().map(Envelope::digest)),
            envelopes: verdicts.collect::<Result<_, _>>().unwrap(),
            group_wait_cut: 0,
            cap_fired: 0,
            state_root: Sha256Hash::default(),
        }
    }

    /// The message of `author`, who may lie about the points.
    fn message(
        &self,
        author: AuthorityIndex,
        seq: BatchSeq,
        root: Sha256Hash,
        us: &[EncodedPoint],
    ) -> ShareMessage {
        let share = &self.shares[author.as_usize() - 1];
        let signing = signing_key(author.0);
        let made = ShareMessage::make(share, &self.key, &signing, seq, root, us);
        made.unwrap().0
    }

    /// Sends a message over its author's link.
    fn send(&mut self, message: ShareMessage) -> Result<bool, ShareFault> {
        self.reveal.on_share(message.author, Box::new(message))
    }

    /// Opens the next batch: how many entries it has and how many of them are void.
    fn open(&mut self) -> Option<(u32, u32)> {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        bytes.resize(self.reveal.ready_len_max()?, 0);
        let header = self.reveal.open_next(&mut bytes)?.header;
        Some((header.entries, header.void))
    }

    fn honest(&self, author: AuthorityIndex, plan: &BatchPlan) -> ShareMessage {
        self.message(author, plan.seq, plan.order_root, &plan.sealed_points())
    }
}

#[test]
fn a_message_that_came_early_is_used_when_its_batch_is_cut() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let message = world.honest(AUTHOR, &plan);
    assert_eq!(world.send(message.clone()), Ok(false));
    assert_eq!(world.send(message), Err(ShareFault::Late));
    world.reveal.start(plan, TimestampUs(0)).unwrap();
    let early = world.reveal.take_early(FIRST);
    assert_eq!(early.len(), 1);
    for message in early {
        assert_eq!(world.send(*message), Ok(false));
    }
    assert!(
        world
            .reveal
            .lacking()
            .next()
            .unwrap()
            .done_with
            .contains(AUTHOR)
    );
}

#[test]
fn early_messages_of_an_author_are_bounded_and_take_nobody_elses_places() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let us = plan.sealed_points();
    let mut early = |author, ahead: usize| {
        let seq = BatchSeq(ahead as u64);
        let message = world.message(author, seq, plan.order_root, &us);
        world.send(message)
    };
    for ahead in 0..EARLY_AUTHOR_MAX {
        assert_eq!(early(AUTHOR, ahead), Ok(false));
    }
    assert_eq!(early(AUTHOR, EARLY_AUTHOR_MAX), Err(ShareFault::TooEarly));
    assert_eq!(early(AuthorityIndex(2), EARLY_AUTHOR_MAX), Ok(false));
}

#[test]
fn a_message_over_anothers_link_counts_only_when_its_author_signed_it() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let genuine = world.honest(AUTHOR, &plan);
    let forged = ShareMessage {
        signature: [0; 64],
        ..genuine.clone()
    };
    let ahead = ShareMessage {
        seq: BatchSeq(9),
        ..genuine.clone()
    };
    let liar = AuthorityIndex(3);
    let refused = Err(ShareFault::Refused(AUTHOR, ShareError::Signature));
    assert_eq!(world.reveal.on_share(liar, Box::new(ahead)), refused);
    world.reveal.start(plan, TimestampUs(0)).unwrap();
    assert_eq!(world.reveal.on_share(liar, Box::new(forged)), refused);
    assert_eq!(world.reveal.on_share(liar, Box::new(genuine)), Ok(false));
}

#[test]
fn a_message_forged_over_its_authors_link_costs_one_fallback_and_no_blame() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let good = world.honest(AUTHOR, &plan);
    let mut swapped = plan.sealed_points();
    swapped.reverse();
    let bad = world.message(AUTHOR, FIRST, plan.order_root, &swapped);
    let forged = ShareMessage {
        signature: good.signature,
        ..bad
    };
    let second = world.honest(AuthorityIndex(2), &plan);
    world.reveal.start(plan, TimestampUs(0)).unwrap();
    assert_eq!(world.send(forged.clone()), Ok(false));
    assert_eq!(world.send(second), Ok(true));
    assert_eq!(world.open(), None);
    assert_eq!(
        world.reveal.take_failed(),
        [(AUTHOR, ShareError::Signature)]
    );
    let refused = ShareFault::Refused(AUTHOR, ShareError::Signature);
    assert_eq!(
        world.send(forged),
        Err(refused),
        "its name is checked from now on"
    );
    assert_eq!(
        world.send(good),
        Ok(true),
        "and its own message still counts"
    );
    assert_eq!(world.open(), Some((2, 0)));
}

#[test]
fn a_share_that_does_not_hold_is_found_when_the_batch_opens_and_its_author_checked_from_then_on() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let mut swapped = plan.sealed_points();
    swapped.reverse();
    let bad = world.message(AUTHOR, FIRST, plan.order_root, &swapped);
    let good = world.honest(AUTHOR, &plan);
    let [second, third] = [2, 3].map(|author| world.honest(AuthorityIndex(author), &plan));
    let next = world.plan(FIRST.next());
    let bad_next = world.message(AUTHOR, FIRST.next(), next.order_root, &swapped);

    world.reveal.start(plan, TimestampUs(0)).unwrap();
    assert_eq!(world.send(bad.clone()), Ok(false));
    assert_eq!(world.send(second), Ok(true), "t messages, one of them bad");
    assert_eq!(world.open(), None, "it waits for another");
    assert_eq!(world.reveal.take_failed(), [(AUTHOR, ShareError::Proof)]);
    assert_eq!(world.send(bad), Err(ShareFault::Late));
    assert_eq!(world.send(good), Err(ShareFault::Late));
    assert!(
        world
            .reveal
            .lacking()
            .next()
            .unwrap()
            .done_with
            .contains(AUTHOR),
        "it is not asked again"
    );
    assert_eq!(world.send(third), Ok(true));
    assert_eq!(world.open(), Some((2, 0)), "both entries are revealed");
    assert_eq!(world.reveal.fallbacks(), 1);

    world.reveal.start(next, TimestampUs(0)).unwrap();
    let refused = ShareFault::Refused(AUTHOR, ShareError::Proof);
    assert_eq!(world.send(bad_next), Err(refused));
}

#[test]
fn honest_shares_open_without_checking_a_proof() {
    let mut world = World::new();
    let plan = world.plan(FIRST);
    let others = [2, 3].map(|author| world.honest(AuthorityIndex(author), &plan));
    world.reveal.start(plan, TimestampUs(0)).unwrap();
    for message in others {
        world.send(message).unwrap();
    }
    assert_eq!(world.open(), Some((2, 0)));
    assert_eq!(world.reveal.fallbacks(), 0);
}
