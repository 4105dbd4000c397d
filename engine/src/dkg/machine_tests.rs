//! The state machine, case by case.

use curve25519_dalek::scalar::Scalar;

use super::complaint::Judgement;
use super::deal::Draft;
use super::machine::Generation;
use super::message;
use super::outcome::{Failure, Fault, Generated, Outcome, Taken};
use super::trial::{Event, Trial, Vice, WINDOW};
use super::*;
use crate::seal::{self, Envelope, EnvelopeVerifier, LabelFields, ShareMessage, VerifiedShare};
use crate::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs,
};

const A: AuthorityIndex = AuthorityIndex(0);
const ALL: [u8; 4] = [0, 1, 2, 3];
const GOOD: [Option<Vice>; 4] = [None; 4];

fn set(authors: &[u8]) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    for author in authors {
        set.insert(AuthorityIndex(*author));
    }
    set
}

#[test]
fn with_all_there_the_first_q_to_deal_make_the_key_and_nobody_waits_for_the_window() {
    let mut trial = Trial::new(4, 3);
    trial.run(&[2, 0, 3, 1], &GOOD);
    let (key, qualified) = trial.agreed();
    assert_eq!(qualified, set(&[2, 0, 3]));
    assert_eq!((key.chain_id(), key.epoch()), (ChainId(7), Epoch(3)));
    assert_eq!(
        trial.anchors, 2,
        "one for the deals, one for the acknowledgements"
    );
    assert!(trial.recovers(&[0, 1, 2]) && trial.recovers(&[3, 1, 2]));
    assert!(!trial.recovers(&[0, 1]));
    assert!(
        trial.generated(4).share.is_none(),
        "who only follows has no share"
    );
}

#[test]
fn a_wrong_share_is_complained_about_and_refutes_the_deal() {
    for vice in [Vice::WrongToOne(3), Vice::WrongToAll] {
        let mut trial = Trial::new(4, 3);
        trial.run(&ALL, &[None, Some(vice), None, None]);
        assert_eq!(trial.agreed().1, set(&[0, 2, 3]), "{vice:?}");
        assert!(trial.recovers(&[0, 1, 2]) && trial.recovers(&[1, 2, 3]));
    }
}

#[test]
fn a_complaint_opens_one_share_of_one_deal_only() {
    let trial = Trial::new(4, 3);
    let read = |dealer: u8, bytes: &[u8]| trial.read_deal(dealer, bytes).unwrap();
    let (wrong, other) = (trial.deal_wrong(1, &[3]), trial.deal_anew(1));
    let (wrong, other) = (read(1, &wrong), read(1, &other));
    let published = trial.complaint(3, &wrong).shared.point();
    let share_of = |deal: &deal::VerifiedDeal, receiver: u8| {
        deal.share_of(&trial.session, AuthorityIndex(receiver), &published)
    };
    let secret = |receiver: u8| {
        wrong.own_share(
            &trial.session,
            AuthorityIndex(receiver),
            &trial.keys[usize::from(receiver)],
        )
    };
    for receiver in 0..3 {
        assert!(secret(receiver).is_some() && share_of(&wrong, receiver).is_none());
    }
    assert!(share_of(&other, 3).is_none(), "nor one of another deal");
}

#[test]
fn a_false_complaint_is_refuted_and_harms_nobody() {
    let mut trial = Trial::new(4, 3);
    let deal = trial.members[0].wanted().unwrap();
    trial.order(0, &deal).unwrap();
    let read = trial.read_deal(0, &deal).unwrap();
    let complaint = trial.complaint(3, &read);
    assert_eq!(
        complaint.judge(&trial.session, &read, AuthorityIndex(3)),
        Judgement::Unfounded
    );
    let bytes = message::encode_complaint(&trial.session, &complaint);
    assert_eq!(trial.order(3, &bytes), Err(Fault::Unfounded(A)));
    assert_eq!(trial.order(3, &bytes), Err(Fault::Repeated));
    // As another's it proves nothing: it is bound to its author.
    assert_eq!(trial.order(2, &bytes), Err(Fault::Unproven(A)));
    trial.run(&ALL, &GOOD);
    assert!(trial.agreed().1.contains(A));
}

#[test]
fn a_forged_proof_counts_for_nothing_whatever_is_changed_in_it() {
    let mut trial = Trial::new(4, 3);
    let wrong = trial.deal_wrong(0, &[3]);
    trial.order(0, &wrong).unwrap();
    let deal = trial.read_deal(0, &wrong).unwrap();
    let honest = trial.complaint(3, &deal);
    let judge = |change: &dyn Fn(&mut complaint::Complaint)| {
        let mut forged = honest.clone();
        change(&mut forged);
        forged.judge(&trial.session, &deal, AuthorityIndex(3))
    };
    let one = curve25519_dalek::scalar::Scalar::ONE;
    assert_eq!(judge(&|_| ()), Judgement::Upheld);
    assert_eq!(
        judge(&|c| c.shared = *deal.ephemeral()),
        Judgement::Unproven
    );
    assert_eq!(judge(&|c| c.challenge += one), Judgement::Unproven);
    assert_eq!(judge(&|c| c.response += one), Judgement::Unproven);
}

#[test]
fn of_two_deals_the_first_counts() {
    let mut trial = Trial::new(4, 3);
    let (first, second) = (trial.members[1].wanted().unwrap(), trial.deal_anew(1));
    assert_eq!(trial.order(1, &second), Ok(Taken::Deal));
    assert_eq!(trial.order(1, &first), Err(Fault::Repeated));
    trial.run(&ALL, &GOOD);
    assert!(trial.agreed().1.contains(AuthorityIndex(1)));
    assert!(trial.recovers(&[0, 1, 3]));
}

#[test]
fn a_deal_is_its_dealers_own_and_its_sessions_own() {
    let mut trial = Trial::new(4, 3);
    let deal = trial.members[1].wanted().unwrap();
    assert_eq!(trial.order(2, &deal), Err(Fault::Proof), "sent by another");
    let mut other = (*trial.session).clone();
    other.epoch = Epoch(4);
    let mut elsewhere = Generation::observe(other.into());
    assert_eq!(
        elsewhere.handle(AuthorityIndex(1), &deal),
        Err(Fault::Epoch(Epoch(3)))
    );
    assert_eq!(trial.order(1, &deal), Ok(Taken::Deal));
}

#[test]
fn a_deal_with_the_epoch_of_another_session_written_over_its_own_proves_nothing() {
    let trial = Trial::new(4, 3);
    let mut deal = trial.members[1].wanted().unwrap().to_vec();
    deal[2..6].copy_from_slice(&4u32.to_be_bytes());
    let keys = trial.session.encryption_keys().to_vec();
    let later = Session::new(ChainId(7), Epoch(4), 3, keys, WINDOW).unwrap();
    let mut later = Generation::observe(later.into());
    assert_eq!(later.handle(AuthorityIndex(1), &deal), Err(Fault::Proof));
}

#[test]
fn strangers_and_deals_that_are_not_there_are_named() {
    let mut trial = Trial::new(4, 3);
    let deal = trial.members[1].wanted().unwrap();
    let stranger = AuthorityIndex(4);
    assert_eq!(trial.order(4, &deal), Err(Fault::Author(stranger)));
    trial.order(1, &deal).unwrap();
    let of = |dealers: &[u8]| message::encode_ack(&trial.session, set(dealers));
    let (unknown, nobody, none, good) = (of(&[1, 2]), of(&[127]), of(&[]), of(&[1]));
    assert_eq!(
        trial.order(0, &unknown),
        Err(Fault::NoDeal(AuthorityIndex(2)))
    );
    assert_eq!(
        trial.order(0, &nobody),
        Err(Fault::NoDeal(AuthorityIndex(127)))
    );
    assert_eq!(trial.order(0, &none), Err(Fault::Repeated));
    assert_eq!(trial.order(0, &good), Ok(Taken::Ack));
    assert_eq!(trial.order(0, &good), Err(Fault::Repeated));
    let read = trial.read_deal(1, &deal).unwrap();
    let mut complaint = trial.complaint(0, &read);
    complaint.dealer = AuthorityIndex(3);
    let bytes = message::encode_complaint(&trial.session, &complaint);
    assert_eq!(
        trial.order(0, &bytes),
        Err(Fault::NoDeal(AuthorityIndex(3)))
    );
}

/// One who follows the log of `trial` afterwards with the key of 3.
fn back_later(trial: &Trial) -> Generated {
    let key = trial.keys[3].clone();
    let mut back = Generation::new(trial.session.clone(), AuthorityIndex(3), key, &[9; 32]);
    let mut outcome = None;
    for event in &trial.log {
        match event {
            Event::Message(author, bytes) => {
                back.handle(*author, bytes).ok();
            }
            Event::Anchor => outcome = back.on_anchor(),
        }
    }
    assert!(back.wanted().is_none(), "it is over");
    match outcome {
        Some(Outcome::Done(generated)) => *generated,
        other => panic!("it ends with the log: {other:?}"),
    }
}

#[test]
fn who_was_away_takes_its_share_from_the_log() {
    let mut trial = Trial::new(4, 3);
    trial.run(&[0, 1, 2], &GOOD);
    assert_eq!(
        trial.anchors,
        WINDOW + 1,
        "one did not acknowledge and was assured"
    );
    let generated = back_later(&trial);
    assert_eq!(&generated.key, trial.agreed().0);
    assert!(generated.share.is_some() && generated.mended == set(&[]));
    assert!(trial.recovers(&[0, 1, 3]), "as it would have in time");
}

#[test]
fn who_was_away_and_was_cheated_has_the_good_share_that_its_dealer_assured_it_of() {
    let mut trial = Trial::new(4, 3);
    let vices = [None, Some(Vice::WrongThenAssures(3)), None, None];
    trial.run(&[0, 1, 2], &vices);
    assert_eq!(trial.agreed().1, set(&[0, 1, 2]));
    let generated = back_later(&trial);
    assert!(generated.share.is_some());
    assert_eq!(generated.mended, set(&[1]), "it knows who cheated");
    assert!(trial.recovers(&[0, 2, 3]), "without the cheater's own");
}

#[test]
fn a_dealer_that_cheats_one_who_is_away_and_assures_it_of_nothing_good_is_not_qualified() {
    for vice in [Vice::WrongToOne(4), Vice::Mute, Vice::AssuresBadly] {
        let mut trial = Trial::new(5, 4);
        // All but 4 are there; q correct dealers are not, and the faulty one's deal does not stand in for it.
        trial.run(&[0, 1, 2, 3], &[None, Some(vice), None, None, None]);
        let failure = match vice {
            Vice::AssuresBadly => Failure::TooFewDeals {
                deals: 3,
                wanted: 4,
            },
            _ => Failure::TooFewSettled {
                settled: 3,
                wanted: 4,
            },
        };
        for outcome in &trial.outcomes {
            assert!(
                matches!(outcome, Outcome::Failed(why) if *why == failure),
                "{vice:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn an_assurance_is_taken_once_in_time_and_from_the_dealer_for_one_who_lacks_certainty() {
    let mut trial = Trial::new(4, 3);
    for dealer in [0, 1, 2] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
    }
    let session = trial.session.clone();
    let deal = trial.logged_deals().remove(0).0;
    let of = |entropy: u8, receiver: u8| {
        let draft = deal::Draft::new(&session, A, &[entropy; 32]);
        message::encode_assurance(&session, &draft, &deal, AuthorityIndex(receiver))
    };
    let unneeded = |receiver: u8| Err(Fault::Unneeded(AuthorityIndex(receiver)));
    let to_three = of(100, 3);
    assert_eq!(trial.order(0, &to_three), unneeded(3), "it may complain");
    assert_eq!(
        trial.order(3, &to_three),
        Err(Fault::NoDeal(AuthorityIndex(3)))
    );
    let ack = message::encode_ack(&session, set(&[0, 1, 2]));
    trial.order(2, &ack).unwrap();
    (0..WINDOW).for_each(|_| trial.anchor());
    assert_eq!(trial.order(0, &of(100, 2)), unneeded(2), "it has its share");
    let mut to_a_stranger = to_three.clone();
    to_a_stranger[6] = 4;
    assert_eq!(
        trial.order(0, &to_a_stranger),
        Err(Fault::Author(AuthorityIndex(4)))
    );
    // Another's, or of another deal of the own: it does not hold, and costs the dealer its deal.
    assert_eq!(
        trial.order(1, &to_three),
        Ok(Taken::Refuted(AuthorityIndex(1)))
    );
    assert_eq!(trial.order(1, &to_three), Err(Fault::Repeated));
    assert_eq!(
        trial.order(0, &to_three),
        Ok(Taken::Assured(AuthorityIndex(3)))
    );
    assert_eq!(trial.order(0, &to_three), unneeded(3));
    assert_eq!(trial.order(0, &of(101, 1)), Ok(Taken::Refuted(A)));
}

#[test]
fn who_started_again_with_other_random_bytes_assures_nobody() {
    let mut trial = Trial::new(4, 3);
    for dealer in [0, 1, 2] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
    }
    for _ in 0..WINDOW {
        trial.anchor();
    }
    let ack = message::encode_ack(&trial.session, set(&[0, 1, 2]));
    trial.order(0, &ack).unwrap();
    let mut state = Vec::new();
    trial.members[0].encode_state(&mut state);
    let again = |entropy: u8| {
        let mut reader = crate::wire::Reader::new(&state);
        let followed = Generation::decode_state(trial.session.clone(), &mut reader).unwrap();
        followed.join(A, trial.keys[0].clone(), &[entropy; 32])
    };
    let wanted = trial.members[0].wanted().expect("an assurance");
    assert_eq!(wanted[1], 4);
    assert_eq!(again(100).wanted(), Some(wanted), "from the same bytes");
    assert_eq!(again(7).wanted(), None);
}

#[test]
fn fewer_than_q_deals_fail_loudly_at_the_end_of_the_window() {
    let mut trial = Trial::new(4, 3);
    trial.run(&[0, 2], &GOOD);
    assert_eq!(trial.anchors, WINDOW);
    let failure = Failure::TooFewDeals {
        deals: 2,
        wanted: 3,
    };
    for outcome in &trial.outcomes {
        assert!(matches!(outcome, Outcome::Failed(why) if *why == failure));
    }
    assert_eq!(failure.to_string(), "2 good deals where 3 are needed");
    assert!(trial.members[0].on_anchor().is_none(), "once");
    let late = trial.deal_anew(1);
    assert_eq!(trial.order(1, &late), Err(Fault::Over));
}

#[test]
fn fewer_than_q_settled_deals_fail_too() {
    let mut trial = Trial::new(4, 3);
    for dealer in [0, 1, 2] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
    }
    // The third dealer goes away, and with it who could assure the fourth of its share.
    trial.run(&[0, 1], &GOOD);
    let failure = Failure::TooFewSettled {
        settled: 2,
        wanted: 3,
    };
    assert!(matches!(trial.outcomes[0], Outcome::Failed(why) if why == failure));
    assert_eq!(trial.anchors, 3 * WINDOW);
}

#[test]
fn a_refuted_deal_makes_room_for_the_next_whose_window_is_its_own() {
    let mut trial = Trial::new(4, 3);
    let wrong = trial.deal_wrong(1, &[0]);
    trial.order(1, &wrong).unwrap();
    // The cheated one speaks in the last anchor of the first window, as does the last dealer; 1 acknowledges nothing.
    for dealer in [2, 3] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
    }
    for _ in 1..WINDOW {
        trial.anchor();
    }
    let deal = trial.members[0].wanted().unwrap();
    trial.order(0, &deal).unwrap();
    let complaint = trial.members[0].wanted().unwrap();
    assert_eq!(
        trial.order(0, &complaint),
        Ok(Taken::Refuted(AuthorityIndex(1)))
    );
    trial.run(&[0, 2, 3], &GOOD);
    assert_eq!(trial.agreed().1, set(&[2, 3, 0]));
    assert_eq!(
        trial.anchors,
        2 * WINDOW,
        "the last deal's window is its own"
    );
}

#[test]
fn what_is_wanted_is_wanted_until_it_is_ordered() {
    let mut trial = Trial::new(4, 3);
    let deal = trial.members[0].wanted().unwrap();
    assert_eq!(
        trial.members[0].wanted(),
        Some(deal.clone()),
        "again, byte for byte"
    );
    trial.order(0, &deal).unwrap();
    assert_eq!(
        trial.members[0].wanted(),
        None,
        "there is nothing to judge yet"
    );
    let wrong = trial.deal_wrong(1, &[0]);
    trial.order(1, &wrong).unwrap();
    let complaint = trial.members[0].wanted().unwrap();
    assert_eq!(trial.members[0].wanted(), Some(complaint.clone()));
    trial.order(0, &complaint).unwrap();
    assert_eq!(trial.members[0].wanted(), None);
    assert!(
        trial.observer.wanted().is_none(),
        "who only follows says nothing"
    );
}

#[test]
fn nothing_secret_is_printed() {
    let trial = Trial::new(4, 3);
    let printed = format!("{:?}", trial.members[0]);
    assert!(printed.ends_with(".. }") && !printed.contains("share"));
}

#[test]
fn what_is_sealed_to_the_new_key_opens_with_t_of_its_shares() {
    let mut trial = Trial::new(5, 4);
    trial.run(
        &[0, 1, 2, 3, 4],
        &[None, Some(Vice::WrongToOne(3)), None, None, None],
    );
    let (key, _) = trial.agreed();
    let fields = LabelFields {
        rollup: RollupId(5),
        valid_until: TimestampUs(1),
        sender_tag: [6; 16],
        padded_len: None,
    };
    let sealed = seal::seal(key, &fields, b"to a key of nobody's", &[8; 64]).unwrap();
    let envelope = Envelope::decode(sealed.into()).unwrap();
    let mut verdicts = EnvelopeVerifier::new(key.clone(), [9; 32]).check(vec![envelope]);
    let envelope = verdicts.remove(0).unwrap();
    let us = [*envelope.u().unwrap()];
    let shares: Vec<VerifiedShare> = [4, 0, 1, 3]
        .iter()
        .map(|index: &usize| {
            let share = trial.generated(*index).share.as_ref().unwrap();
            let signing = ed25519_dalek::SigningKey::from_bytes(&[*index as u8; 32]);
            let (seq, root) = (BatchSeq(1), Sha256Hash([2; 32]));
            let made = ShareMessage::make(share, key, &signing, seq, root, &us);
            made.unwrap().1
        })
        .collect();
    let points = seal::combine(key, &shares.iter().collect::<Vec<_>>()).unwrap();
    let mut out = vec![0; seal::opened_len(&envelope)];
    let outcome = seal::open_into(&envelope, &us[0], &points[0], &mut out);
    assert!(matches!(outcome, seal::Outcome::Revealed { .. }));
    assert_eq!(&out[32..], b"to a key of nobody's");
}

/// Whoever deals last knows its own shares of the others' deals, and may deal so that they add up to nothing.
#[test]
fn nobody_stops_a_generation_by_a_deal_that_cancels_its_own_shares() {
    let mut trial = Trial::new(4, 3);
    let rushing = AuthorityIndex(3);
    let mut sum = Scalar::ZERO;
    for dealer in [0, 1] {
        let deal = trial.members[dealer].wanted().unwrap();
        trial.order(dealer as u8, &deal).unwrap();
        let dealt = trial.read_deal(dealer as u8, &deal).unwrap();
        let key = &trial.keys[rushing.as_usize()];
        sum += *dealt.own_share(&trial.session, rushing, key).unwrap();
    }
    let draft = Draft::new(&trial.session, rushing, &[77; 32]).with_share(rushing, -sum);
    let deal = message::encode_deal(&trial.session, &draft);
    trial.order(rushing.0, &deal).unwrap();
    trial.run(&[0, 1, 2, 3], &[None; 4]);
    let (_, qualified) = trial.agreed();
    assert!(qualified.contains(rushing), "it dealt well");
    assert!(trial.recovers(&[0, 1, 2]) && trial.recovers(&[1, 2, 3]));
}
