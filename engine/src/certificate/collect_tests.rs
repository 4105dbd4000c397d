//! Words in any order, wrong ones among them.

use proptest::prelude::*;

use super::*;
use crate::certificate::CertificateSecret;
use crate::types::{ChainId, Epoch};

struct Committee {
    secrets: Vec<CertificateSecret>,
    keys: Arc<CertificateKeys>,
}

fn committee(n: u8) -> Committee {
    let secrets: Vec<CertificateSecret> = (0..n)
        .map(|index| CertificateSecret::generate(&[index + 1; 32]))
        .collect();
    let encoded: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let keys = CertificateKeys::new(ChainId(7), Epoch(2), &encoded).unwrap();
    Committee {
        secrets,
        keys: Arc::new(keys),
    }
}

fn header(seq: u64) -> CertifiedHeader {
    CertifiedHeader {
        chain_id: ChainId(7),
        epoch: Epoch(2),
        seq: BatchSeq(seq),
        hash: Sha256Hash([seq as u8; 32]),
    }
}

impl Committee {
    fn collector(&self) -> Collector {
        Collector::new(self.keys.clone(), AuthorityIndex(0))
    }

    fn vouch(&self, author: u8, header: CertifiedHeader) -> Vouch {
        Vouch {
            seq: header.seq,
            hash: header.hash,
            signature: self.secrets[usize::from(author)].sign(&header),
        }
    }

    fn own(&self, collector: &mut Collector, seq: u64) -> Option<Certificate> {
        collector.on_own(header(seq), self.secrets[0].sign(&header(seq)))
    }

    fn send(&self, collector: &mut Collector, from: u8, seq: u64) -> Option<Certificate> {
        collector.on_vouch(AuthorityIndex(from), self.vouch(from, header(seq)))
    }
}

#[test]
fn a_word_has_one_encoding() {
    let vouch = committee(1).vouch(0, header(258));
    let mut bytes = Vec::new();
    vouch.encode(&mut bytes);
    assert_eq!(hex::encode(&bytes[..10]), "00000000000001020202");
    assert_eq!((bytes.len(), Vouch::decode(&bytes)), (88, Ok(vouch)));
    assert!(Vouch::decode(&bytes[1..]).is_err());
    assert!(Vouch::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn one_authority_certifies_alone() {
    let committee = committee(1);
    let mut collector = committee.collector();
    let certificate = committee.own(&mut collector, 5).unwrap();
    assert_eq!(certificate.verify(&committee.keys), Ok(()));
}

#[test]
fn words_for_a_batch_that_is_not_opened_here_wait_for_it() {
    let committee = committee(4);
    let mut collector = committee.collector();
    for from in [3, 1, 2] {
        assert_eq!(committee.send(&mut collector, from, 9), None);
    }
    let certificate = committee.own(&mut collector, 9).unwrap();
    assert_eq!(certificate.verify(&committee.keys), Ok(()));
    assert_eq!(certificate.signers.len(), 4);
    assert_eq!(committee.send(&mut collector, 1, 9), None);
    assert_eq!(committee.own(&mut collector, 8), None, "covered");
    let counts = collector.counts();
    assert_eq!((counts.made, counts.taken, counts.late), (1, 3, 1));
}

#[test]
fn a_wrong_word_prevents_no_certificate_and_is_tried_once() {
    let committee = committee(4);
    let mut collector = committee.collector();
    committee.own(&mut collector, 1);
    let mut wrong = committee.vouch(1, header(1));
    wrong.signature = committee.secrets[1].sign(&header(2));
    assert_eq!(collector.on_vouch(AuthorityIndex(1), wrong), None);
    assert_eq!(committee.send(&mut collector, 2, 1), None, "found out");
    assert_eq!(collector.counts().bad, 1);
    let again = committee.send(&mut collector, 1, 1);
    assert_eq!((again, collector.counts().late), (None, 1), "had its turn");
    let certificate = committee.send(&mut collector, 3, 1).unwrap();
    assert_eq!(certificate.verify(&committee.keys), Ok(()));
    assert!(!certificate.signers.contains(AuthorityIndex(1)));

    // From now on it is used only where it is needed.
    committee.own(&mut collector, 2);
    assert_eq!(committee.send(&mut collector, 1, 2), None);
    let needed = committee.send(&mut collector, 2, 2).unwrap();
    assert_eq!(needed.verify(&committee.keys), Ok(()));
}

#[test]
fn a_valid_word_for_another_header_is_an_alarm_once_an_author() {
    let committee = committee(4);
    let other = |seq| CertifiedHeader {
        hash: Sha256Hash([0xEE; 32]),
        ..header(seq)
    };
    let mut collector = committee.collector();
    // Before the own batch, and after it.
    collector.on_vouch(AuthorityIndex(1), committee.vouch(1, other(1)));
    assert_eq!(committee.own(&mut collector, 1), None);
    collector.on_vouch(AuthorityIndex(2), committee.vouch(2, other(1)));
    assert_eq!(collector.counts().contradictions, 2);
    assert_eq!(collector.contradicting().mask(), 0b110);
    committee.own(&mut collector, 2);
    collector.on_vouch(AuthorityIndex(1), committee.vouch(1, other(2)));
    assert_eq!(collector.counts().contradictions, 2, "known already");
    let mut forged = committee.vouch(3, other(2));
    forged.signature = committee.secrets[2].sign(&other(2));
    collector.on_vouch(AuthorityIndex(3), forged);
    let counts = collector.counts();
    assert_eq!((counts.contradictions, counts.bad, counts.made), (2, 1, 0));
}

#[test]
fn what_waits_is_bounded_and_nobody_displaces_another() {
    let committee = committee(4);
    let mut collector = committee.collector();
    committee.send(&mut collector, 2, 7);
    let vouch = committee.vouch(1, header(0));
    for seq in 0..3 * VOUCHES_A_MEMBER_MAX as u64 {
        let seq = BatchSeq(1_000_000 + seq);
        collector.on_vouch(AuthorityIndex(1), Vouch { seq, ..vouch });
    }
    let low = Vouch {
        seq: BatchSeq(3),
        ..vouch
    };
    collector.on_vouch(AuthorityIndex(1), low);
    assert_eq!(collector.kept[1].len(), VOUCHES_A_MEMBER_MAX);
    assert!(!collector.kept[1].contains_key(&BatchSeq(3)));
    assert!(collector.kept[2].contains_key(&BatchSeq(7)));
    collector.on_vouch(AuthorityIndex(9), vouch);
    assert_eq!(
        collector.counts().late,
        2,
        "of no member, and below the others"
    );
    for seq in 10..10 + 2 * UNCERTIFIED_MAX as u64 {
        committee.own(&mut collector, seq);
    }
    assert_eq!(collector.open.len(), UNCERTIFIED_MAX);
    assert_eq!(collector.counts().passed_over, UNCERTIFIED_MAX as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In any order of arrival each batch of which q words come gets a certificate, unless a later one got its own before.
    #[test]
    fn the_newest_batch_with_a_quorum_is_certified(
        arrivals in Just((0..4u8).flat_map(|from| (1..5u64).map(move |seq| (from, seq))).collect::<Vec<_>>())
            .prop_shuffle(),
        cut in 4usize..=16,
    ) {
        let committee = committee(4);
        let mut collector = committee.collector();
        let mut made: Vec<u64> = Vec::new();
        let mut came = [0u8; 5];
        let mut own = [false; 5];
        for (from, seq) in arrivals.into_iter().take(cut) {
            let certificate = match from {
                0 => committee.own(&mut collector, seq),
                _ => committee.send(&mut collector, from, seq),
            };
            came[seq as usize] += 1;
            own[seq as usize] |= from == 0;
            if let Some(certificate) = certificate {
                prop_assert_eq!(certificate.verify(&committee.keys), Ok(()));
                prop_assert!(made.iter().all(|before| *before < certificate.header.seq.0));
                made.push(certificate.header.seq.0);
            }
        }
        let newest = (1..5).rev().find(|seq| came[*seq] >= 3 && own[*seq]);
        prop_assert_eq!(made.iter().max().copied(), newest.map(|seq| seq as u64));
    }
}
