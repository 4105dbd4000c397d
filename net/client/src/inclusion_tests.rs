//! Claims about inclusion proofs: what holds, and that nothing altered does.

use fairlane_engine::certificate::{CertificateSecret, aggregate};
use fairlane_engine::committee::Parameters;
use fairlane_engine::merkle::Tree;
use fairlane_engine::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, Round, TimestampUs,
};

use super::*;
use crate::protocol::{IncludedEntry, LENGTH_LEN, Notice, encode_certified, encode_included};

/// Four authorities, and a chain of three batches of five entries.
struct World {
    committee: Committee,
    secrets: Vec<CertificateSecret>,
    headers: Vec<BatchHeader>,
}

fn entry(seq: u64, index: u32) -> Inclusion {
    Inclusion {
        header: BatchHeader::default(),
        index,
        digest: Digest([(10 * seq) as u8 + index as u8 + 1; 32]),
        rollup_id: RollupId(u64::from(index % 2) + 1),
        reveal: match index {
            0 => Reveal::Open,
            4 => Reveal::Void,
            _ => Reveal::Revealed {
                r: [index as u8; 32],
            },
        },
        payload: vec![b'p'; if index == 4 { 0 } else { 3 + index as usize }],
        path: Vec::new(),
    }
}

fn tree(seq: u64) -> Tree {
    Tree::new((0..5).map(|index| entry(seq, index).leaf()).collect())
}

fn world() -> World {
    let signing = |of: u8| ed25519_dalek::SigningKey::from_bytes(&[of + 1; 32]).verifying_key();
    let secrets = (0..4u8).map(|of| CertificateSecret::generate(&[of + 1; 32]));
    let secrets: Vec<_> = secrets.collect();
    let keys = secrets
        .iter()
        .map(|of| (of.public().bytes(), of.possession()));
    let keys: Vec<_> = keys.collect();
    let committee = Committee::new(
        ChainId(7),
        Epoch(2),
        TimestampUs(1),
        Parameters::default(),
        Vec::new(),
        (0..4).map(signing).collect(),
    );
    let mut headers: Vec<BatchHeader> = Vec::new();
    for seq in 0..3 {
        headers.push(BatchHeader {
            chain_id: ChainId(7),
            epoch: Epoch(2),
            seq: BatchSeq(seq),
            previous: headers.last().map(BatchHeader::hash).unwrap_or_default(),
            payload_root: tree(seq).root(),
            entries: 5,
            void: 1,
            ..BatchHeader::default()
        });
    }
    World {
        committee: committee.unwrap().with_certificate_keys(&keys).unwrap(),
        secrets,
        headers,
    }
}

impl World {
    fn inclusion(&self, seq: u64, index: u32) -> Inclusion {
        Inclusion {
            header: self.headers[seq as usize],
            path: tree(seq).path(index as usize),
            ..entry(seq, index)
        }
    }

    fn certificate(&self, seq: u64) -> Certificate {
        let header = CertifiedHeader::from(&self.headers[seq as usize]);
        let signed = (0..3u8).map(|of| {
            let signature = self.secrets[usize::from(of)].sign(&header);
            (AuthorityIndex(of), signature)
        });
        let signed: Vec<_> = signed.collect();
        let keys = self.committee.certificate_keys().unwrap();
        aggregate(&header, &signed, keys).certificate.unwrap()
    }

    fn chain(&self) -> CertifiedChain {
        CertifiedChain {
            headers: self.headers.clone(),
            certificate: self.certificate(2),
        }
    }
}

const RED: FollowTarget = FollowTarget::Rollup(RollupId(1));

fn target_of(inclusion: &Inclusion) -> FollowTarget {
    FollowTarget::Digest(inclusion.digest)
}

#[test]
fn every_entry_of_a_certified_chain_is_proven() {
    let (world, chain) = (world(), world().chain());
    assert_eq!(chain.verify(&world.committee), Ok(()));
    for seq in 0..3 {
        for index in 0..5 {
            let inclusion = world.inclusion(seq, index);
            let target = target_of(&inclusion);
            assert_eq!(inclusion.verify(&world.committee, target), Ok(()));
            let by_rollup = inclusion.verify(&world.committee, RED);
            assert_eq!(by_rollup.is_ok(), index % 2 == 0, "entry {index}");
            assert!(chain.covers(&inclusion.header));
        }
    }
}

#[test]
fn an_inclusion_with_any_field_altered_is_refused() {
    let world = world();
    let good = world.inclusion(1, 2);
    type Change<'a> = &'a dyn Fn(&mut Inclusion);
    let changes: [(Change<'_>, InclusionError); 11] = [
        (&|it| it.index = 3, InclusionError::Path),
        (&|it| it.index = 9, InclusionError::Path),
        (&|it| it.digest.0[0] ^= 1, InclusionError::Path),
        (&|it| it.rollup_id = RollupId(2), InclusionError::Path),
        (&|it| it.reveal = Reveal::Open, InclusionError::Path),
        (
            &|it| it.reveal = Reveal::Revealed { r: [9; 32] },
            InclusionError::Path,
        ),
        (&|it| it.payload[0] ^= 1, InclusionError::Path),
        (&|it| it.path[1].0[0] ^= 1, InclusionError::Path),
        (
            &|it| it.path.push(Sha256Hash([0; 32])),
            InclusionError::Path,
        ),
        (&|it| it.path.truncate(2), InclusionError::Path),
        (&|it| it.header.payload_root.0[0] ^= 1, InclusionError::Path),
    ];
    for (at, (change, error)) in changes.into_iter().enumerate() {
        let mut inclusion = good.clone();
        change(&mut inclusion);
        let target = target_of(&inclusion);
        let verdict = inclusion.verify(&world.committee, target);
        assert_eq!(verdict, Err(error), "change {at}");
    }
    let other = FollowTarget::Digest(Digest([0xee; 32]));
    let asked = good.verify(&world.committee, other);
    assert_eq!(asked, Err(InclusionError::Target));
    let blue = good.verify(&world.committee, FollowTarget::Rollup(RollupId(2)));
    assert_eq!(blue, Err(InclusionError::Target));
    for elsewhere in [
        BatchHeader {
            chain_id: ChainId(8),
            ..good.header
        },
        BatchHeader {
            epoch: Epoch(3),
            ..good.header
        },
    ] {
        let inclusion = Inclusion {
            header: elsewhere,
            ..good.clone()
        };
        let verdict = inclusion.verify(&world.committee, target_of(&good));
        assert_eq!(verdict, Err(InclusionError::Chain));
    }
}

#[test]
fn a_header_with_any_field_altered_is_covered_by_no_certificate() {
    let (world, chain) = (world(), world().chain());
    let good = world.headers[1];
    let bytes = good.encode();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(altered) = BatchHeader::decode(&flipped) else {
            continue;
        };
        assert!(!chain.covers(&altered), "bit {bit}");
        let mut chain = chain.clone();
        chain.headers[1] = altered;
        let verdict = chain.verify(&world.committee);
        assert_eq!(verdict, Err(InclusionError::Headers), "bit {bit}");
    }
}

#[test]
fn a_chain_with_headers_left_out_or_a_certificate_altered_is_refused() {
    let world = world();
    let verdict_of = |change: &dyn Fn(&mut CertifiedChain)| {
        let mut chain = world.chain();
        change(&mut chain);
        chain.verify(&world.committee)
    };
    let broken = Err(InclusionError::Headers);
    assert_eq!(
        verdict_of(&|chain| chain.headers.retain(|of| of.seq.0 != 1)),
        broken
    );
    assert_eq!(verdict_of(&|chain| chain.headers.truncate(2)), broken);
    assert_eq!(verdict_of(&|chain| chain.headers.clear()), broken);
    assert_eq!(
        verdict_of(&|chain| chain.certificate.header.hash.0[0] ^= 1),
        broken
    );
    assert_eq!(
        verdict_of(&|chain| chain.headers.retain(|of| of.seq.0 != 0)),
        Ok(()),
        "a shorter one"
    );
    let few = verdict_of(&|chain| chain.certificate.signers = AuthoritySet::from_mask(0b11));
    let refused = |verdict| matches!(verdict, Err(InclusionError::Certificate(_)));
    assert!(refused(few));
    assert!(refused(verdict_of(
        &|chain| chain.certificate.signature[5] ^= 1
    )));
    let others = verdict_of(&|chain| chain.certificate.signers = AuthoritySet::from_mask(0b1110));
    assert!(refused(others), "other signers");
    let without = Committee::new(
        ChainId(7),
        Epoch(2),
        TimestampUs(1),
        Parameters::default(),
        Vec::new(),
        vec![ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key()],
    );
    let verdict = world.chain().verify(&without.unwrap());
    assert_eq!(verdict, Err(InclusionError::Keys));
}

fn notice(world: &World, seq: u64, indices: &[u32]) -> Vec<u8> {
    let inclusions: Vec<_> = indices.iter().map(|at| world.inclusion(seq, *at)).collect();
    let entries = inclusions.iter().map(|of| IncludedEntry {
        name: 4,
        index: of.index,
        digest: of.digest,
        rollup_id: of.rollup_id,
        reveal: of.reveal,
        payload: &of.payload,
        path: &of.path,
    });
    let mut bytes = Vec::new();
    let entries: Vec<_> = entries.collect();
    encode_included(&mut bytes, &world.headers[seq as usize], &entries);
    bytes
}

fn take(unproven: &mut Unproven, committee: &Committee, bytes: &[u8]) -> (usize, usize) {
    let Ok(Notice::Included(included)) = Notice::decode(&bytes[LENGTH_LEN..]) else {
        panic!("entries are entries");
    };
    let (mut good, mut bad) = (0, 0);
    let wanted = |name| (name == 4).then_some(RED);
    unproven.take(included, committee, wanted, |_, verdict| match verdict {
        Ok(_) => good += 1,
        Err(_) => bad += 1,
    });
    (good, bad)
}

#[test]
fn entries_wait_for_the_certificate_that_covers_them_and_a_forged_one_is_not_kept() {
    let world = world();
    let mut unproven = Unproven::default();
    let mut taken = |seq, indices: &[u32]| {
        take(
            &mut unproven,
            &world.committee,
            &notice(&world, seq, indices),
        )
    };
    assert_eq!(taken(0, &[0, 2]), (2, 0));
    assert_eq!(taken(1, &[1, 4]), (1, 1), "1 is of the other rollup");
    assert_eq!(taken(2, &[0]), (1, 0));
    let chain = CertifiedChain {
        headers: world.headers[..2].to_vec(),
        certificate: world.certificate(1),
    };
    let mut bytes = Vec::new();
    encode_certified(
        &mut bytes,
        &chain.certificate,
        chain.headers.iter().copied(),
    );
    let Ok(Notice::Certified(certified)) = Notice::decode(&bytes[LENGTH_LEN..]) else {
        panic!("what is certified is certified");
    };
    assert_eq!(CertifiedChain::of(certified), chain);
    let proven: Vec<_> = unproven
        .prove(&chain)
        .into_iter()
        .map(|(_, of)| of)
        .collect();
    let expected = [(0, 0), (0, 2), (1, 4)].map(|(seq, index)| world.inclusion(seq, index));
    assert_eq!(proven, expected);
    assert!(
        !unproven.entries.is_empty(),
        "the last batch is not covered"
    );
    unproven.clear();
    assert!(unproven.entries.is_empty());
}

#[test]
fn an_entry_of_a_header_that_no_certificate_covers_is_never_proven() {
    let mut world = world();
    let chain = world.chain();
    // Its own header, true to its entries, under a number of the chain.
    world.headers[1].anchor_round = Round(99);
    let mut unproven = Unproven::default();
    let bytes = notice(&world, 1, &[0]);
    assert_eq!(take(&mut unproven, &world.committee, &bytes), (1, 0));
    assert_eq!(unproven.prove(&chain), []);
    assert!(unproven.entries.is_empty(), "nor kept");
}

#[test]
fn a_certificate_that_is_repeated_or_older_or_covers_nothing_is_not_verified() {
    let world = world();
    let up_to = |seq: u64| CertifiedChain {
        headers: world.headers[..=seq as usize].to_vec(),
        certificate: world.certificate(seq),
    };
    let mut unproven = Unproven::default();
    assert!(!unproven.is_of_use(&up_to(2).certificate), "nothing waits");
    take(&mut unproven, &world.committee, &notice(&world, 1, &[0]));
    assert!(!unproven.is_of_use(&up_to(0).certificate), "it is too old");
    assert!(unproven.is_of_use(&up_to(1).certificate));
    assert_eq!(unproven.check(&up_to(1), &world.committee), Ok(true));
    // Of the same header, whoever signed: it is certified.
    let mut again = up_to(1);
    again.certificate.signature[0] ^= 1;
    assert_eq!(unproven.check(&again, &world.committee), Ok(false));
    again.headers[0].anchor_round = Round(99);
    let refused = unproven.check(&again, &world.committee);
    assert_eq!(refused, Err(InclusionError::Headers), "its headers count");
    take(&mut unproven, &world.committee, &notice(&world, 0, &[0]));
    assert!(!unproven.is_of_use(&up_to(0).certificate), "one before it");
    let mut other = up_to(2);
    other.certificate.signature = up_to(1).certificate.signature;
    let refused = unproven.check(&other, &world.committee);
    assert!(matches!(refused, Err(InclusionError::Certificate(_))));
    assert_eq!(unproven.check(&up_to(2), &world.committee), Ok(true));
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let world = world();
    let mut unproven = Unproven::default();
    let bytes = notice(&world, 0, &[0, 2, 4]);
    for _ in 0..UNPROVEN_MAX {
        take(&mut unproven, &world.committee, &bytes);
    }
    assert_eq!(unproven.entries.len(), UNPROVEN_MAX);
    let payloads = unproven.entries.iter().map(|(_, of)| of.payload.len());
    assert_eq!(payloads.sum::<usize>(), unproven.payload_bytes);
}
