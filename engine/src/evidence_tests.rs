//! Claims about evidence: what proves a fault is accepted by anyone, and what an honest authority signs never is.

use super::*;
use crate::committee::Parameters;
use crate::dag::drawn::{self, Drawn, EPOCH_START};
use crate::dag::{Inserted, Settled, VertexDraft};
use crate::seal::{KeyShare, deal};
use crate::types::{BatchSeq, ChainId, Epoch, KeyId, Sha256Hash};

const A: AuthorityIndex = AuthorityIndex(0);
const B: AuthorityIndex = AuthorityIndex(1);

fn sealing() -> (SealingKey, Vec<KeyShare>) {
    deal(ChainId(7), Epoch(3), 4, 3, &[5; 32]).unwrap()
}

/// Reads it back and checks it, as somebody else would.
fn verdict(evidence: &Evidence, drawn: &Drawn) -> Result<(), EvidenceError> {
    let read = Evidence::decode(&evidence.encode()).unwrap();
    assert_eq!(&read, evidence);
    read.check(&drawn.committee, &sealing().0)
}

fn fork(drawn: &Drawn, older: &str, newer: &str) -> Evidence {
    Evidence::of_fork(&ForkEvidence {
        older: drawn.vertex(older),
        newer: drawn.vertex(newer),
    })
}

#[test]
fn two_vertices_that_do_not_reach_each_other_prove_a_fork_also_across_slots() {
    let drawn = Drawn::new(
        4,
        "ABCD1; A1'; ABCD2; A3:[A2 B2 C2]; BCD3; A4:[A1 B3 C3 D3]",
    );
    let same_slot = fork(&drawn, "A1", "A1'");
    assert_eq!(verdict(&same_slot, &drawn), Ok(()));
    assert_eq!(
        (same_slot.kind(), same_slot.author()),
        (EvidenceKind::Fork, A)
    );
    assert_eq!(verdict(&fork(&drawn, "A3", "A4"), &drawn), Ok(()));
}

#[test]
fn an_honest_chain_proves_nothing() {
    let drawn = Drawn::new(4, "ABCD1; ABCD2; ABCD3");
    for (older, newer) in [
        ("A1", "A2"),
        ("A2", "A1"),
        ("A1", "A1"),
        ("A1", "A3"),
        ("A3", "A1"),
    ] {
        let holds = verdict(&fork(&drawn, older, newer), &drawn);
        assert_eq!(holds, Err(EvidenceError::Holds), "{older} {newer}");
    }
    let (previous, vertex) = (drawn.vertex("A1"), drawn.vertex("A2"));
    let link = Evidence::of_broken_link(Some(&previous), &vertex);
    assert_eq!(verdict(&link, &drawn), Err(EvidenceError::Holds));
    let first = Evidence::of_broken_link(None, &previous);
    assert_eq!(verdict(&first, &drawn), Err(EvidenceError::Holds));
    let unlinked = Evidence::of_broken_link(Some(&previous), &drawn.vertex("A3"));
    assert_eq!(verdict(&unlinked, &drawn), Err(EvidenceError::Unrelated));
    let not_first = Evidence::of_broken_link(None, &vertex);
    assert_eq!(verdict(&not_first, &drawn), Err(EvidenceError::Unrelated));
}

#[test]
fn nobody_is_accused_with_anothers_vertices() {
    let drawn = Drawn::new(4, "ABCD1; A1'");
    let mut framed = fork(&drawn, "A1", "A1'");
    framed.author = B;
    assert_eq!(verdict(&framed, &drawn), Err(EvidenceError::Author));
    assert_eq!(
        verdict(&fork(&drawn, "A1", "B1"), &drawn),
        Err(EvidenceError::Author)
    );
}

#[test]
fn a_gap_in_positions_and_time_that_runs_backwards_are_kept_by_the_store_and_proven() {
    let drawn = Drawn::new(4, "ABCD1; A2 ^9; B2 @500; C1' ^3");
    let mut dag = drawn.empty_dag();
    for vertex in drawn.vertices() {
        dag.insert(vertex.clone());
    }
    assert_eq!(dag.counters().broken_links, 3);
    let links: Vec<_> = dag.broken_links().collect();
    let authors: Vec<u8> = links.iter().map(|link| link.vertex.author().0).collect();
    assert_eq!(authors, [0, 1, 2]);
    assert_eq!(dag.faults_len(), 4, "C1' is a fork besides");
    for link in links {
        let evidence = Evidence::of_broken_link(link.previous.as_ref(), &link.vertex);
        assert_eq!(verdict(&evidence, &drawn), Ok(()));
        assert_eq!(evidence.kind(), EvidenceKind::BrokenLink);
    }
}

#[test]
fn a_vertex_signed_for_another_chain_accuses_nobody() {
    let drawn = Drawn::new(4, "ABCD1");
    let draft = |timestamp| VertexDraft {
        chain_id: ChainId(8),
        epoch: Epoch(3),
        round: Round(1),
        author: A,
        timestamp,
        first_position: Position(0),
        parents: drawn.references("A0 B0 C0 D0"),
        entries: Vec::new(),
        settled: Settled::default(),
    };
    let [older, newer] = [EPOCH_START, EPOCH_START.plus_us(1)]
        .map(|timestamp| draft(timestamp).sign(&drawn::key(0)));
    let elsewhere = Evidence::of_fork(&ForkEvidence { older, newer });
    assert!(matches!(
        verdict(&elsewhere, &drawn),
        Err(EvidenceError::Vertex(_))
    ));
}

/// Two open envelopes and two sealed ones, and their points.
fn batch(key: &SealingKey) -> (Vec<Envelope>, Vec<EncodedPoint>, Sha256Hash) {
    use crate::seal::{LabelFields, open_envelope, seal};
    let fields = LabelFields {
        rollup: crate::types::RollupId(1),
        valid_until: EPOCH_START,
        sender_tag: [0; 16],
        padded_len: None,
    };
    let envelopes: Vec<Envelope> = (0u8..4)
        .map(|id| match id % 2 {
            0 => seal(key, &fields, &[id; 20], &[id; 64]).unwrap(),
            _ => open_envelope(key, &fields, &[id; 20]).unwrap(),
        })
        .map(|bytes| Envelope::decode(bytes.into()).unwrap())
        .collect();
    let us = envelopes
        .iter()
        .filter_map(|envelope| envelope.u_encoding());
    let points = us.map(|u| EncodedPoint::decode(u).unwrap()).collect();
    let root = order_root(envelopes.iter().map(Envelope::digest));
    (envelopes, points, root)
}

#[test]
fn a_signed_share_that_does_not_hold_is_proven_by_the_envelopes_of_its_batch() {
    let drawn = Drawn::new(4, "");
    let (key, shares) = sealing();
    let (envelopes, points, root) = batch(&key);
    let make = |points: &[EncodedPoint]| {
        let made = ShareMessage::make(&shares[1], &key, &drawn::key(1), BatchSeq(4), root, points);
        made.unwrap().0
    };
    let evidence = |message: &ShareMessage, envelopes: &[Envelope]| {
        Evidence::of_bad_share(message, envelopes).unwrap()
    };
    let swapped = make(&[points[1], points[0]]);
    let bad = evidence(&swapped, &envelopes);
    assert_eq!(verdict(&bad, &drawn), Ok(()));
    assert_eq!((bad.kind(), bad.author()), (EvidenceKind::BadShare, B));
    assert_eq!(
        verdict(&evidence(&make(&points[..1]), &envelopes), &drawn),
        Ok(())
    );

    let honest = evidence(&make(&points), &envelopes);
    assert_eq!(verdict(&honest, &drawn), Err(EvidenceError::Holds));
    let other_batch = evidence(&swapped, &envelopes[..2]);
    assert_eq!(verdict(&other_batch, &drawn), Err(EvidenceError::Unrelated));
    let mut forged = swapped.clone();
    forged.zeta[0] ^= 1;
    assert_eq!(
        verdict(&evidence(&forged, &envelopes), &drawn),
        Err(EvidenceError::Signature)
    );
    let mut other_key = swapped;
    other_key.key_id = KeyId([0; 16]);
    assert_eq!(
        verdict(&evidence(&other_key, &envelopes), &drawn),
        Err(EvidenceError::Signature)
    );
}

#[test]
fn golden_evidence() {
    let drawn = Drawn::new(4, "ABCD1; A1'");
    let bytes = fork(&drawn, "A1", "A1'").encode();
    assert_eq!(hex::encode(&bytes[..3]), "010100");
    let hash = blake3::hash(&bytes).to_hex();
    assert_eq!(
        hash.as_str(),
        "4c019a9de5e85199ea7dc038f2c31d73197eb4b4dd7b44ba693a0dbcc47abfe5"
    );
}

#[test]
fn what_is_no_encoding_is_refused() {
    let drawn = Drawn::new(4, "ABCD1; A1'");
    let good = fork(&drawn, "A1", "A1'").encode();
    for len in 0..good.len() {
        assert!(Evidence::decode(&good[..len]).is_err(), "{len} bytes");
    }
    let trailing = [&good[..], &[0, 0, 0, 0]].concat();
    assert!(Evidence::decode(&trailing).is_err(), "a third part");
    assert_eq!(Evidence::decode(&[2, 1, 0]), Err(DecodeError::Version(2)));
    assert!(Evidence::decode(&[1, 4, 0]).is_err(), "an unknown kind");
    let huge = vec![0; EVIDENCE_LEN_MAX + 1];
    assert!(matches!(
        Evidence::decode(&huge),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn a_book_keeps_one_piece_an_author_and_kind() {
    let drawn = Drawn::with(4, Parameters::default(), "ABCD1; A1'; A1''; B1'");
    let mut book = EvidenceBook::default();
    assert!(book.keep(fork(&drawn, "A1", "A1'")));
    assert!(!book.keep(fork(&drawn, "A1", "A1''")));
    assert!(book.keep(fork(&drawn, "B1", "B1'")));
    assert!(book.has(A, EvidenceKind::Fork) && !book.has(A, EvidenceKind::BadShare));
    assert_eq!(
        (book.len(), book.iter().count(), book.is_empty()),
        (2, 2, false)
    );
    let mut dag = drawn.empty_dag();
    let inserted = dag.insert(drawn.vertex("A1"));
    assert!(matches!(inserted, Inserted::Accepted(_)));
    assert_eq!(dag.faults_len(), 0);
}
