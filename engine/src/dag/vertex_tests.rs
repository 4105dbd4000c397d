//! Claims about the encoding of vertices and about what [`Vertex::verify`] refuses.

use super::*;
use crate::committee::Parameters;
use crate::dag::drawn::{self, Drawn};
use crate::wire::DecodeError;

/// A valid draft of B's second vertex in a committee of four, to be spoilt.
fn draft(drawn: &Drawn) -> VertexDraft {
    VertexDraft {
        chain_id: drawn.committee.chain_id,
        epoch: drawn.committee.epoch,
        round: Round(2),
        author: AuthorityIndex(1),
        timestamp: drawn::EPOCH_START.plus_us(2000),
        first_position: Position(1),
        parents: drawn.references("B1 A1 C1"),
        entries: (0..3).map(|index| drawn::entry("B2", index)).collect(),
        settled: Settled::default(),
    }
}

fn drawn() -> Drawn {
    Drawn::new(4, "ABCD1; ABCD2")
}

fn verdict(drawn: &Drawn, draft: VertexDraft) -> Result<VertexRef, VertexError> {
    let author = draft.author.0;
    let bytes = draft.sign(&drawn::key(author)).bytes().to_vec();
    Vertex::verify(&bytes, &drawn.committee).map(|vertex| vertex.reference())
}

#[test]
fn what_is_signed_verifies_to_the_same_vertex() {
    let drawn = drawn();
    let signed = draft(&drawn).sign(&drawn::key(1));
    let read = Vertex::verify(signed.bytes(), &drawn.committee).unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.parents(), signed.parents());
    assert_eq!(read.entries(), signed.entries());
    assert_eq!(read.signed_header(), signed.signed_header());
    assert_eq!(read.bytes(), signed.bytes());
    assert_eq!(read.own_previous(), drawn.reference("B1"));
    assert_eq!(read.end_position(), Position(4));
    assert!(signed.bytes().len() <= vertex_len_max(&drawn.committee));
}

#[test]
fn vertex_encoding_has_its_golden_bytes() {
    let drawn = drawn();
    let vertex = draft(&drawn).sign(&drawn::key(1));
    let bytes = vertex.bytes();
    assert_eq!(bytes.len(), 147 + 64 + 3 * 41 + 3 * 40);
    let first_parent = &bytes[211..252];
    assert_eq!(first_parent[..9], [0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(first_parent[9..], drawn.reference("B1").digest.0);
    let first_entry = &bytes[334..374];
    assert_eq!(first_entry[..32], drawn::entry("B2", 0).digest.0);
    assert_eq!(
        first_entry[32..],
        drawn::entry("B2", 0).valid_until.0.to_be_bytes()
    );
    assert_eq!(
        vertex.reference().digest.0,
        *blake3::hash(&bytes[..147]).as_bytes()
    );
    let golden = blake3::hash(bytes).to_hex();
    assert_eq!(
        golden.as_str(),
        "bdeef11a668706bd8aa74c7850debcb180b2f22b5b3a1c906ac1cb4570cc7008"
    );
}

#[test]
fn any_flipped_bit_is_refused() {
    let drawn = drawn();
    let mut draft = draft(&drawn);
    draft.settled = Settled {
        count: 5,
        hash: Sha256Hash([9; 32]),
    };
    let bytes = draft.sign(&drawn::key(1)).bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Vertex::verify(&flipped, &drawn.committee).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn any_other_length_is_refused() {
    let drawn = drawn();
    let bytes = draft(&drawn).sign(&drawn::key(1)).bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(
            Vertex::verify(&bytes[..len], &drawn.committee).is_err(),
            "{len} bytes"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    let refused = Err(VertexError::ParentsRoot);
    assert_eq!(Vertex::verify(&longer, &drawn.committee), refused);
    let longest = [&bytes[..], &[0; CONTROL_LEN_MAX]].concat();
    assert_eq!(Vertex::verify(&longest, &drawn.committee), refused);
    let too_long = [&longest[..], &[0]].concat();
    let trailing = VertexError::Decode(DecodeError::Trailing(CONTROL_LEN_MAX + 1));
    assert_eq!(Vertex::verify(&too_long, &drawn.committee), Err(trailing));
}

#[test]
fn a_control_section_is_carried_covered_and_stands_apart_from_the_parents() {
    let drawn = drawn();
    let sign = |control: &[u8]| draft(&drawn).sign_with_control(&drawn::key(1), control);
    let (none, some) = (sign(&[]), sign(b"said"));
    assert_eq!(none.bytes(), draft(&drawn).sign(&drawn::key(1)).bytes());
    assert!(none.control().is_empty());
    assert_eq!(some.bytes().len(), none.bytes().len() + 4);
    let read = Vertex::verify(some.bytes(), &drawn.committee).unwrap();
    assert_eq!(read.control(), b"said");
    assert_eq!(read.entries(), none.entries());
    assert_ne!(read.reference(), none.reference());
    let mut changed = some.bytes().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let refused = Err(VertexError::ParentsRoot);
    assert_eq!(Vertex::verify(&changed, &drawn.committee), refused);
    let cut = &some.bytes()[..some.bytes().len() - 4];
    assert_eq!(Vertex::verify(cut, &drawn.committee), refused);
    let longest = sign(&[7; CONTROL_LEN_MAX]);
    assert!(Vertex::verify(longest.bytes(), &drawn.committee).is_ok());
    assert!(longest.bytes().len() <= vertex_len_max(&drawn.committee));
}

#[test]
fn more_entries_than_the_committee_allows_are_refused_before_they_are_read() {
    let parameters = Parameters {
        vertex_entries_max: 2,
        ..Parameters::default()
    };
    let drawn = Drawn::with(4, parameters, "ABCD1");
    let refused = DecodeError::TooLarge {
        field: "entries",
        value: 3,
        max: 2,
    };
    assert_eq!(verdict(&drawn, draft(&drawn)), Err(refused.into()));

    let drawn = Drawn::new(4, "ABCD1");
    let mut bytes = draft(&drawn).sign(&drawn::key(1)).bytes().to_vec();
    bytes[38..42].copy_from_slice(&u32::MAX.to_be_bytes());
    let refused = Vertex::verify(&bytes, &drawn.committee);
    let claims_all = DecodeError::TooLarge {
        field: "entries",
        value: u32::MAX.into(),
        max: Parameters::default().vertex_entries_max.into(),
    };
    assert_eq!(refused, Err(claims_all.into()));
}

#[test]
fn parents_below_a_quorum_of_the_round_before_are_refused() {
    let drawn = drawn();
    let mut two = draft(&drawn);
    two.parents = drawn.references("B1 A1");
    let refused = VertexError::ParentQuorum {
        found: 2,
        wanted: 3,
    };
    assert_eq!(verdict(&drawn, two), Err(refused));

    let mut late = draft(&drawn);
    late.round = Round(3);
    late.parents = drawn.references("B2 A2 C1 D1");
    assert_eq!(verdict(&drawn, late), Err(refused));
}

#[test]
fn two_parents_of_one_author_are_refused_also_in_different_rounds() {
    let drawn = drawn();
    let mut twice = draft(&drawn);
    twice.round = Round(3);
    twice.parents = drawn.references("B2 A2 C2 C1");
    assert_eq!(
        verdict(&drawn, twice),
        Err(VertexError::ParentTwice(AuthorityIndex(2)))
    );
}

#[test]
fn the_own_previous_vertex_must_be_the_first_parent() {
    let drawn = drawn();
    let mut bytes = draft(&drawn).sign(&drawn::key(1)).bytes().to_vec();
    // A maker's own `sign` asserts it, so a peer's breach is made by hand: swap, hash and sign again.
    let (own, other) = (drawn.reference("B1"), drawn.reference("A1"));
    let mut parents = Vec::new();
    for parent in [other, own, drawn.reference("C1")] {
        parent.encode(&mut parents);
    }
    bytes[211..211 + parents.len()].copy_from_slice(&parents);
    let mut header = SignedHeader::decode(&mut Reader::new(&bytes))
        .unwrap()
        .header;
    header.parents_root = Digest(*blake3::hash(&parents).as_bytes());
    let mut head = Vec::new();
    header.sign(&drawn::key(1)).encode(&mut head);
    bytes[..211].copy_from_slice(&head);
    assert_eq!(
        Vertex::verify(&bytes, &drawn.committee),
        Err(VertexError::OwnPrevious)
    );
}

#[test]
fn parents_of_the_same_round_of_strangers_or_of_a_false_genesis_are_refused() {
    let drawn = drawn();
    let mut sideways = draft(&drawn);
    sideways.parents = drawn.references("B1 A1 C1 D2");
    assert_eq!(
        verdict(&drawn, sideways),
        Err(VertexError::ParentRound(AuthorityIndex(3)))
    );

    let mut strange = draft(&drawn);
    strange.parents.push(VertexRef {
        author: AuthorityIndex(255),
        ..drawn.reference("D1")
    });
    assert_eq!(
        verdict(&drawn, strange),
        Err(VertexError::ParentUnknown(AuthorityIndex(255)))
    );

    let mut forged = draft(&drawn);
    forged.parents.push(VertexRef {
        digest: Digest([1; 32]),
        ..drawn.reference("D0")
    });
    assert_eq!(
        verdict(&drawn, forged),
        Err(VertexError::ParentUnknown(AuthorityIndex(3)))
    );
}

#[test]
fn an_entry_that_stands_twice_is_refused_but_a_digest_with_two_expiries_is_not() {
    let drawn = drawn();
    let mut twice = draft(&drawn);
    twice.entries.push(drawn::entry("B2", 1));
    let digest = drawn::entry("B2", 1).digest;
    assert_eq!(verdict(&drawn, twice), Err(VertexError::EntryTwice(digest)));

    let mut two_expiries = draft(&drawn);
    two_expiries.entries.push(Entry {
        digest,
        valid_until: TimestampUs(1),
    });
    assert!(verdict(&drawn, two_expiries).is_ok());
}

#[test]
fn a_vertex_in_round_zero_is_refused() {
    let drawn = drawn();
    let mut zero = draft(&drawn);
    zero.round = Round(0);
    assert_eq!(verdict(&drawn, zero), Err(VertexError::RoundZero));
}

#[test]
fn a_receipt_leads_from_the_entry_to_the_signed_header() {
    let drawn = drawn();
    let vertex = draft(&drawn).sign(&drawn::key(1));
    let header = vertex.signed_header().header;
    for (index, entry) in vertex.entries().iter().enumerate() {
        let path = merkle::Tree::new(vertex.entry_leaves()).path(index);
        let (at, of) = (index as u64, u64::from(header.entry_count));
        assert!(merkle::verify_path(
            entry_leaf(entry),
            at,
            of,
            &path,
            header.entries_root
        ));
    }
}
