//! Claims about proofs: v authors who settled the very chain make a checkpoint believed, and nothing less does.

use std::sync::Arc;

use super::*;
use crate::committee::Parameters;
use crate::dag::Settled;
use crate::dag::drawn::{self, Drawn};
use crate::types::BatchSeq;

fn committee() -> Arc<Committee> {
    drawn::committee(4, Parameters::default())
}

/// Headers that follow each other from seq 10; the first is a checkpoint's.
fn chain(len: usize) -> Vec<BatchHeader> {
    let committee = committee();
    let mut headers: Vec<BatchHeader> = Vec::new();
    for seq in 0..len as u64 {
        headers.push(BatchHeader {
            chain_id: committee.chain_id,
            epoch: committee.epoch,
            seq: BatchSeq(10 + seq),
            previous: headers
                .last()
                .map_or(Sha256Hash([1; 32]), BatchHeader::hash),
            state_root: Sha256Hash([u8::from(seq == 0); 32]),
            ..BatchHeader::default()
        });
    }
    headers
}

/// A vertex header by which `author` says that it has settled everything up to `header`.
fn settled_up_to(author: u8, header: &BatchHeader) -> SignedHeader {
    let drawn = Drawn::new(4, "ABCD1");
    let name = ["A1", "B1", "C1", "D1"][author as usize];
    let mut vertex = drawn.vertex(name).signed_header().header;
    vertex.settled = Settled {
        count: header.seq.0 + 1,
        hash: header.hash(),
    };
    vertex.sign(&drawn::key(author))
}

/// The proof of the first of `headers`, for which such authors vouch as settled such headers.
fn proof(headers: &[BatchHeader], vouching: &[(u8, usize)]) -> Proof {
    let mut proof = Proof::new(headers[0]);
    headers[1..].iter().for_each(|header| proof.follow(header));
    for (author, at) in vouching {
        assert!(proof.vouch(&settled_up_to(*author, &headers[*at])));
    }
    proof
}

/// The encoding of whatever a peer may say is a proof.
fn encode(headers: &[BatchHeader], signers: &[SignedHeader]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).count_u32(headers.len());
    for header in headers {
        Writer::new(&mut out).bytes(&header.encode());
    }
    Writer::new(&mut out).count_u32(signers.len());
    signers.iter().for_each(|signed| signed.encode(&mut out));
    Writer::new(&mut out).u32(5);
    out
}

fn verdict(bytes: &[u8]) -> Result<BatchHeader, ProofError> {
    Proof::verify(bytes, &committee()).map(|(proof, _)| *proof.header())
}

#[test]
fn v_authors_who_settled_the_chain_prove_its_checkpoint() {
    let headers = chain(6);
    for vouching in [[(0, 0), (1, 0)], [(2, 5), (3, 1)], [(0, 3), (3, 3)]] {
        let proof = proof(&headers, &vouching);
        assert!(proof.is_complete(&committee()));
        let bytes = proof.encode(77);
        assert_eq!(verdict(&bytes), Ok(headers[0]));
        assert_eq!(Proof::verify(&bytes, &committee()).unwrap().1, 77);
        let last = vouching.iter().map(|(_, at)| at).max().unwrap();
        let len = 4 + (last + 1) * HEADER_LEN + 4 + 2 * SignedHeader::LEN + 4;
        assert_eq!(bytes.len(), len, "no header more than somebody names");
    }
}

#[test]
fn fewer_authors_are_too_few_however_often_one_vouches() {
    let headers = chain(3);
    let mut proof = proof(&headers, &[(1, 0), (1, 2), (1, 1)]);
    assert!(!proof.is_complete(&committee()));
    let few = ProofError::Few {
        found: 1,
        wanted: 2,
    };
    assert_eq!(verdict(&proof.encode(0)), Err(few));
    assert!(proof.vouch(&settled_up_to(2, &headers[1])));
    assert_eq!(verdict(&proof.encode(0)), Ok(headers[0]));
}

#[test]
fn who_names_another_hash_or_what_is_not_in_the_chain_vouches_for_nothing() {
    let headers = chain(3);
    let mut proof = proof(&headers, &[]);
    let before = BatchHeader {
        seq: BatchSeq(9),
        ..headers[0]
    };
    let other = BatchHeader {
        void: 1,
        ..headers[1]
    };
    let beyond = chain(4)[3];
    for header in [before, other, beyond] {
        assert!(!proof.vouch(&settled_up_to(0, &header)));
    }
    let mut nothing = settled_up_to(0, &headers[0]);
    nothing.header.settled = Settled::default();
    assert!(!proof.vouch(&nothing));
    assert!(!proof.is_complete(&committee()));
}

/// What a peer may make of a good proof.
#[test]
fn signers_that_do_not_hold_are_named() {
    let headers = chain(3);
    let good = [settled_up_to(0, &headers[1]), settled_up_to(1, &headers[2])];
    let encode = |signers: &[SignedHeader]| encode(&headers, signers);
    assert_eq!(verdict(&encode(&good)), Ok(headers[0]));
    let fault = |author| Err(ProofError::Signer(AuthorityIndex(author)));
    assert_eq!(verdict(&encode(&[good[0], good[0]])), fault(0));
    let mut foreign = good[1];
    foreign.header.settled.hash = Sha256Hash([3; 32]);
    let resigned = foreign.header.sign(&drawn::key(1));
    assert_eq!(verdict(&encode(&[good[0], resigned])), fault(1));
    let forged = good[1].header.sign(&drawn::key(2));
    assert_eq!(verdict(&encode(&[good[0], forged])), fault(1));
    let mut stranger = good[1].header;
    stranger.author = AuthorityIndex(4);
    let stranger = stranger.sign(&drawn::key(4));
    assert_eq!(verdict(&encode(&[good[0], stranger])), fault(4));
}

#[test]
fn headers_that_are_no_chain_of_this_epoch_or_begin_with_no_checkpoint_are_refused() {
    let headers = chain(4);
    let encoded = |headers: &[BatchHeader]| {
        let last = headers.last().unwrap();
        encode(headers, &[settled_up_to(0, last), settled_up_to(1, last)])
    };
    assert_eq!(verdict(&encoded(&headers)), Ok(headers[0]));
    assert_eq!(
        verdict(&encoded(&headers[1..])),
        Err(ProofError::NoCheckpoint)
    );
    let without = [headers[0], headers[2], headers[3]];
    assert_eq!(verdict(&encoded(&without)), Err(ProofError::Chain));
    let foreign = BatchHeader {
        epoch: crate::types::Epoch(9),
        ..headers[0]
    };
    assert_eq!(verdict(&encoded(&[foreign])), Err(ProofError::Chain));
    let nothing = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(verdict(&nothing), Err(ProofError::NoCheckpoint));
}

#[test]
fn what_follows_is_taken_in_order_and_up_to_the_bound() {
    let headers = chain(PROOF_HEADERS_MAX + 5);
    let mut proof = Proof::new(headers[0]);
    proof.follow(&headers[2]);
    proof.follow(&headers[0]);
    assert_eq!(proof.headers.len(), 1);
    headers[1..].iter().for_each(|header| proof.follow(header));
    assert_eq!(proof.headers.len(), PROOF_HEADERS_MAX);
    assert!(!proof.vouch(&settled_up_to(0, &headers[PROOF_HEADERS_MAX])));
    for author in [0, 1] {
        assert!(proof.vouch(&settled_up_to(author, &headers[PROOF_HEADERS_MAX - 1])));
    }
    assert_eq!(verdict(&proof.encode(0)), Ok(headers[0]));
}

#[test]
fn every_cut_every_byte_more_and_every_flipped_bit_of_what_counts_is_refused() {
    let headers = chain(2);
    let bytes = proof(&headers, &[(0, 1), (1, 1)]).encode(9);
    for len in 0..bytes.len() {
        assert!(verdict(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(verdict(&[&bytes[..], &[0]].concat()).is_err());
    // All but the announced length of the state, which is bounded where it is used.
    for at in 0..bytes.len() - 4 {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(verdict(&flipped).is_err(), "byte {at}");
    }
    let mut many = u32::MAX.to_be_bytes().to_vec();
    many.extend_from_slice(&bytes);
    assert!(matches!(
        verdict(&many),
        Err(ProofError::Decode(DecodeError::TooLarge { .. }))
    ));
}
