//! What an authority can do with its share messages, seen by the others: authority 1 of four is faulty, three open.

use curve25519_dalek::ristretto::RistrettoPoint;
use fairlane_engine::reveal::ShareFault;
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::seal::{ShareError, ShareMessage};
use fairlane_engine::types::{AuthorityIndex, Sha256Hash, TimestampUs};

use crate::common::hostile::{bent, client_r, resigned};
use crate::envelopes::{BAD_ENCODINGS, bad_encoding};
use crate::net::{FIRST, Net, open, open_with, send, signing_key};

const FAULTY: usize = 1;

fn three_envelopes(net: &Net) -> BatchPlan {
    let envelopes = [1, 2, 3].map(|entropy| net.sealed(&[entropy; 20], entropy));
    net.plan(FIRST, &envelopes)
}

/// What its author can make of its honest message.
type Change = fn(&mut ShareMessage);

/// Each kind of bad message, signed by its author, and how a check refuses it.
fn bad_messages(net: &Net, plan: &BatchPlan) -> Vec<(&'static str, ShareMessage, ShareError)> {
    let honest = net.message(FAULTY, plan);
    let g = RistrettoPoint::mul_base(&client_r(0));
    let with = |change: Change| resigned(&honest, &signing_key(FAULTY), change);
    let of = |plan: &BatchPlan| net.message(FAULTY, plan);
    let next = BatchPlan {
        seq: FIRST.next(),
        ..plan.clone()
    };
    let reordered = BatchPlan {
        order_root: Sha256Hash([1; 32]),
        ..plan.clone()
    };
    let other_epoch = Net::new(1, 4, 3).message(FAULTY, plan);
    let relabelled = |mut message: ShareMessage| {
        message.key_id = honest.key_id;
        (message.seq, message.order_root) = (honest.seq, honest.order_root);
        resigned(&message, &signing_key(FAULTY), |_| {})
    };
    let one_wrong = resigned(&honest, &signing_key(FAULTY), |message| {
        message.shares[1] = bent(&message.shares[1], &g);
    });
    // Two errors that a sum without weights would not see.
    let cancelling = resigned(&honest, &signing_key(FAULTY), |message| {
        message.shares[0] = bent(&message.shares[0], &g);
        message.shares[1] = bent(&message.shares[1], &-g);
    });
    let mut other_proof = of(&next);
    other_proof.shares.clone_from(&honest.shares);
    vec![
        (
            "too short",
            with(|m| m.shares.truncate(2)),
            ShareError::Count,
        ),
        (
            "too long",
            with(|m| m.shares.push(m.shares[0])),
            ShareError::Count,
        ),
        ("permuted", with(|m| m.shares.swap(0, 2)), ShareError::Proof),
        (
            "one share twice",
            with(|m| m.shares[2] = m.shares[0]),
            ShareError::Proof,
        ),
        ("one wrong share", one_wrong, ShareError::Proof),
        ("wrong shares that cancel", cancelling, ShareError::Proof),
        ("of another batch", of(&next), ShareError::WrongBatch),
        ("of another order", of(&reordered), ShareError::WrongBatch),
        (
            "of another batch, relabelled",
            relabelled(of(&next)),
            ShareError::Proof,
        ),
        (
            "with another proof",
            relabelled(other_proof),
            ShareError::Proof,
        ),
        (
            "of another epoch's key",
            other_epoch.clone(),
            ShareError::WrongKey,
        ),
        (
            "of another epoch's key, relabelled",
            relabelled(other_epoch),
            ShareError::Proof,
        ),
        ("with a wrong A", with(|m| m.a = m.b), ShareError::Proof),
        ("with a wrong B", with(|m| m.b = m.a), ShareError::Proof),
        (
            "with a wrong zeta",
            with(|m| m.zeta = [1; 32]),
            ShareError::Proof,
        ),
        (
            "with a zeta above the order",
            with(|m| m.zeta = [0xff; 32]),
            ShareError::Malformed,
        ),
        (
            "with the identity as a share",
            with(|m| m.shares[1] = [0; 32]),
            ShareError::Malformed,
        ),
        (
            "with no point as a share",
            with(|m| m.shares[1] = [0xff; 32]),
            ShareError::Malformed,
        ),
    ]
}

fn verdict(net: &Net, plan: &BatchPlan, message: &ShareMessage) -> Option<ShareError> {
    let verifying_key = signing_key(message.author.as_usize()).verifying_key();
    let us = plan.sealed_points();
    let checked = message.verify(&net.key, &verifying_key, plan.seq, plan.order_root, &us);
    checked.err()
}

#[test]
fn each_bad_message_is_refused_for_what_is_wrong_with_it() {
    let net = Net::new(0, 4, 3);
    let plan = three_envelopes(&net);
    assert_eq!(verdict(&net, &plan, &net.message(FAULTY, &plan)), None);
    for (name, message, refused) in bad_messages(&net, &plan) {
        assert_eq!(verdict(&net, &plan, &message), Some(refused), "{name}");
    }
}

#[test]
fn a_bad_message_sent_first_and_twice_changes_no_byte_of_the_batch() {
    let net = Net::new(0, 4, 3);
    let plan = three_envelopes(&net);
    let [second, third] = [2, 3].map(|author| net.message(author, &plan));
    let (honest, _) = net.run(0, &plan, [second.clone(), third.clone()]);
    let honest = honest.unwrap();
    for (name, bad, error) in bad_messages(&net, &plan) {
        let arrivals = [
            ("first", [&bad, &second, &third].map(Clone::clone).to_vec()),
            (
                "first and twice",
                [&bad, &bad, &second, &third].map(Clone::clone).to_vec(),
            ),
            (
                "between",
                [&second, &bad, &third].map(Clone::clone).to_vec(),
            ),
            (
                "twice in a row",
                [&second, &bad, &bad, &third].map(Clone::clone).to_vec(),
            ),
        ];
        for (when, arriving) in arrivals {
            let (opened, mut reveal) = net.run(0, &plan, arriving);
            assert_eq!(opened.as_ref(), Some(&honest), "{name}, {when}");
            let blamed: Vec<_> = reveal.take_evidence().iter().map(|e| e.author()).collect();
            assert!(
                blamed.iter().all(|author| author.as_usize() == FAULTY),
                "{name}, {when}: nobody else is blamed"
            );
            if !error.is_evidence() {
                assert_eq!(blamed, [], "{name}, {when}: it may be an honest mistake");
            }
        }
    }
}

#[test]
fn who_sent_a_bad_message_is_checked_before_use_from_then_on() {
    let net = Net::new(0, 4, 3);
    let plan = three_envelopes(&net);
    let next = BatchPlan {
        seq: FIRST.next(),
        ..plan.clone()
    };
    let [second, third] = [2, 3].map(|author| net.message(author, &plan));
    let mut found_out = 0;
    for (name, bad, error) in bad_messages(&net, &plan) {
        let mut reveal = net.reveal(0);
        let opened = open_with(&mut reveal, &plan, [second.clone(), bad, third.clone()]);
        assert!(opened.is_some(), "{name}");
        if reveal.fallbacks() == 0 {
            // Refused at a glance, or of true shares: it cost nothing.
            continue;
        }
        found_out += 1;
        assert_eq!(error, ShareError::Proof, "{name}");
        reveal.start(next.clone(), TimestampUs(0));
        let bad_again = resigned(
            &net.message(FAULTY, &next),
            &signing_key(FAULTY),
            |message| {
                message.shares.swap(0, 1);
            },
        );
        let refused = ShareFault::Refused(AuthorityIndex(FAULTY as u8), ShareError::Proof);
        assert_eq!(send(&mut reveal, bad_again), Err(refused), "{name}");
        for author in [2, 3] {
            send(&mut reveal, net.message(author, &next)).unwrap();
        }
        assert!(open(&mut reveal).is_some(), "{name}");
        assert_eq!(
            reveal.fallbacks(),
            1,
            "{name}: once is all that it can cost"
        );
    }
    assert_eq!(
        found_out, 5,
        "every kind with false shares of the right number"
    );
}

#[test]
fn one_share_less_than_t_opens_nothing() {
    for (n, t) in [(4, 3), (5, 4), (7, 5)] {
        let net = Net::new(0, n, t);
        let plan = three_envelopes(&net);
        // With the own one, t - 1; each of them sent as often as one likes.
        let messages = (1..t as usize - 1).map(|author| net.message(author, &plan));
        let messages: Vec<ShareMessage> = messages.collect();
        let mut reveal = net.reveal(0);
        let again = messages.iter().chain(&messages).cloned();
        assert!(open_with(&mut reveal, &plan, again).is_none());
        assert_eq!((reveal.ready_len_max(), reveal.fallbacks()), (None, 0));
        assert_eq!(reveal.lacking().next().unwrap().shares, 1);
        // An own message that comes back, or one in the name of nobody, is no further share.
        let own = net.message(0, &plan);
        assert_eq!(send(&mut reveal, own), Err(ShareFault::Foreign));
        let nobody = ShareMessage {
            author: AuthorityIndex(n as u8),
            ..net.message(1, &plan)
        };
        assert_eq!(send(&mut reveal, nobody), Err(ShareFault::Foreign));
        assert_eq!(reveal.ready_len_max(), None);
    }
}

#[test]
fn shares_of_another_epochs_key_never_mix_in() {
    let (net, next) = (Net::new(0, 4, 3), Net::new(1, 4, 3));
    let plan = three_envelopes(&net);
    let foreign = next.message(2, &plan);
    let mut reveal = net.reveal(0);
    reveal.start(plan.clone(), TimestampUs(0));
    assert_eq!(send(&mut reveal, foreign.clone()), Err(ShareFault::Foreign));
    // In the name of this epoch's key they are wrong shares: found out, and replaced.
    let relabelled = resigned(&foreign, &signing_key(2), |message| {
        message.key_id = net.key.key_id();
    });
    assert_eq!(send(&mut reveal, relabelled), Ok(false));
    assert_eq!(send(&mut reveal, net.message(1, &plan)), Ok(true));
    assert!(open(&mut reveal).is_none());
    let failed = [(AuthorityIndex(2), ShareError::Proof)];
    assert_eq!(reveal.take_failed(), failed);
    assert_eq!(send(&mut reveal, net.message(3, &plan)), Ok(true));
    let opened = open(&mut reveal).unwrap();
    assert!(opened.payloads.iter().all(Option::is_some));
}

/// A field of a message, and what puts something else there.
type Field<'a> = (&'a str, &'a dyn Fn(&mut ShareMessage));

#[test]
fn no_bad_encoding_passes_in_a_share_message() {
    let net = Net::new(0, 4, 3);
    let plan = three_envelopes(&net);
    let honest = net.message(FAULTY, &plan);
    for bad in BAD_ENCODINGS {
        let encoding = bad_encoding(bad);
        let fields: [Field<'_>; 3] = [
            ("a share", &|message| message.shares[1] = encoding),
            ("A", &|message| message.a = encoding),
            ("B", &|message| message.b = encoding),
        ];
        for (field, change) in fields {
            let message = resigned(&honest, &signing_key(FAULTY), change);
            let refused = Some(ShareError::Malformed);
            assert_eq!(verdict(&net, &plan, &message), refused, "{field} = {bad}");
        }
        let message = resigned(&honest, &signing_key(FAULTY), |m| m.shares[1] = encoding);
        let mut reveal = net.reveal(0);
        reveal.start(plan.clone(), TimestampUs(0));
        let refused = ShareFault::Refused(AuthorityIndex(FAULTY as u8), ShareError::Malformed);
        assert_eq!(
            send(&mut reveal, message),
            Err(refused),
            "{bad}, before its proof"
        );
    }
}
