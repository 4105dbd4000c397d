//! What an assurance assures of, and whom.

use curve25519_dalek::scalar::Scalar;

use super::assurance::{self, Assurance};
use super::deal::{DealError, Draft, VerifiedDeal};
use super::trial::Trial;
use crate::types::AuthorityIndex;
use crate::wire::Reader;

const RECEIVER: AuthorityIndex = AuthorityIndex(3);
const ENTROPY: [u8; 32] = [51; 32];

/// A deal of 1 that cheats 3, and what it was drawn as.
fn cheating(trial: &Trial) -> (VerifiedDeal, Draft) {
    let deal = trial.deal_wrong(1, &[RECEIVER.0]);
    let deal = trial.read_deal(1, &deal).unwrap();
    assert!(
        deal.own_share(&trial.session, RECEIVER, &trial.keys[3])
            .is_none()
    );
    let draft = Draft::new(&trial.session, AuthorityIndex(1), &ENTROPY);
    (deal, draft)
}

/// The body for the receiver, of `share`.
fn body(trial: &Trial, deal: &VerifiedDeal, share: &Scalar) -> Vec<u8> {
    let mut body = Vec::new();
    assurance::encode_body(&trial.session, deal, RECEIVER, share, &ENTROPY, &mut body);
    assert_eq!(body.len(), assurance::BODY_LEN);
    assert_eq!(body[0], RECEIVER.0);
    body
}

fn read(trial: &Trial, deal: &VerifiedDeal, body: &[u8]) -> Result<Assurance, DealError> {
    Assurance::read(&trial.session, deal, RECEIVER, Reader::new(&body[1..]))
}

#[test]
fn a_cheated_receiver_reads_the_share_that_fits_and_nobody_else_reads_anything() {
    let trial = Trial::new(4, 3);
    let (deal, draft) = cheating(&trial);
    let share = draft.shares[3].clone();
    let assured = read(&trial, &deal, &body(&trial, &deal, &share)).unwrap();
    let read_by = |index: usize| {
        let receiver = AuthorityIndex(index as u8);
        assured.share(&trial.session, &deal, receiver, &trial.keys[index])
    };
    assert_eq!(read_by(3), Some(share));
    for other in 0..3 {
        assert!(read_by(other).is_none());
    }
    // Nor with the key of somebody else in the receiver's place.
    assert!(
        assured
            .share(&trial.session, &deal, RECEIVER, &trial.keys[0])
            .is_none()
    );
}

#[test]
fn nobody_is_assured_of_a_share_that_does_not_fit() {
    let trial = Trial::new(4, 3);
    let (deal, draft) = cheating(&trial);
    let off = *draft.shares[3] + Scalar::ONE;
    let refused = read(&trial, &deal, &body(&trial, &deal, &off));
    assert!(matches!(refused, Err(DealError::Proof)));
}

#[test]
fn an_assurance_is_of_one_deal_for_one_receiver_in_one_session() {
    let trial = Trial::new(4, 3);
    let (deal, draft) = cheating(&trial);
    let body = body(&trial, &deal, &draft.shares[3]);
    let other = trial.read_deal(1, &trial.deal_anew(1)).unwrap();
    assert!(matches!(read(&trial, &other, &body), Err(DealError::Proof)));
    let to_another = Assurance::read(
        &trial.session,
        &deal,
        AuthorityIndex(2),
        Reader::new(&body[1..]),
    );
    assert!(matches!(to_another, Err(DealError::Proof)));
    let mut later = (*trial.session).clone();
    later.epoch = crate::types::Epoch(4);
    let keys = later.encryption_keys().to_vec();
    let later = super::Session::new(later.chain_id, later.epoch, 3, keys, 8).unwrap();
    let elsewhere = Assurance::read(&later, &deal, RECEIVER, Reader::new(&body[1..]));
    assert!(matches!(elsewhere, Err(DealError::Proof)));
}

#[test]
fn one_good_one_of_the_chosen_is_enough() {
    let trial = Trial::new(4, 3);
    let (deal, draft) = cheating(&trial);
    let body = body(&trial, &deal, &draft.shares[3]);
    let mut state = Vec::new();
    read(&trial, &deal, &body).unwrap().encode_state(&mut state);
    let chosen = state.len() / 64;
    let share = |state: &[u8]| {
        let assured = Assurance::decode_state(&mut Reader::new(state)).unwrap();
        assured.share(&trial.session, &deal, RECEIVER, &trial.keys[3])
    };
    // The sums of all but the last stand for another share.
    for at in 0..chosen - 1 {
        state[64 * at + 32] ^= 1;
    }
    assert_eq!(share(&state), Some(draft.shares[3].clone()));
    state[64 * (chosen - 1) + 32] ^= 1;
    assert_eq!(share(&state), None);
}

#[test]
fn the_same_deal_and_receiver_give_the_same_bytes_and_others_share_no_secret_with_them() {
    let trial = Trial::new(4, 3);
    let (deal, draft) = cheating(&trial);
    let once = body(&trial, &deal, &draft.shares[3]);
    assert_eq!(once, body(&trial, &deal, &draft.shares[3]));
    let mut to_two = Vec::new();
    draft.encode_assurance(&trial.session, &deal, AuthorityIndex(2), &mut to_two);
    let words = |body: &[u8]| -> std::collections::BTreeSet<Vec<u8>> {
        body[33..].chunks(32).map(<[u8]>::to_vec).collect()
    };
    assert!(words(&once).is_disjoint(&words(&to_two)));
}
