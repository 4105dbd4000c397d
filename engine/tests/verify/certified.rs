//! Certificates among the records: which hold, and each way in which one does not.

use std::sync::Arc;

use fairlane_engine::batch::BatchHeader;
use fairlane_engine::certificate::{Certificate, CertificateSecret, CertifiedHeader, aggregate};
use fairlane_engine::effect::{Record, header_of_batch};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, Sha256Hash};
use fairlane_engine::verify::Rule;

use crate::common::World;
use crate::edit::batch_at;
use crate::{Known, OWN, SECOND, load, world};

struct Certified {
    world: World,
    known: Known,
    secrets: Vec<CertificateSecret>,
    records: Vec<Record>,
    header: BatchHeader,
}

impl Certified {
    fn make() -> Self {
        let mut world = world();
        load(&mut world, 0..40);
        world.run_for(SECOND);
        let secrets: Vec<CertificateSecret> = (0..4u8)
            .map(|index| CertificateSecret::generate(&[index + 1; 32]))
            .collect();
        let encoded = secrets
            .iter()
            .map(|secret| (secret.public().bytes(), secret.possession()));
        let encoded: Vec<_> = encoded.collect();
        let mut known = Known::of(&world, OWN);
        let committee = (*known.committee).clone();
        known.committee = Arc::new(committee.with_certificate_keys(&encoded).unwrap());
        let records = world.nodes[usize::from(OWN)].journal.clone();
        let Record::Batch(body) = &records[batch_at(&records, 2)] else {
            panic!("a batch stands there");
        };
        Self {
            header: header_of_batch(body).unwrap(),
            known,
            secrets,
            records,
            world,
        }
    }

    fn certify(&self, header: CertifiedHeader, signers: &[u8]) -> Certificate {
        let signatures: Vec<_> = signers
            .iter()
            .map(|index| {
                let signature = self.secrets[usize::from(*index)].sign(&header);
                (AuthorityIndex(*index), signature)
            })
            .collect();
        let keys = self.known.committee.certificate_keys().unwrap();
        aggregate(&header, &signatures, keys).certificate.unwrap()
    }

    /// The records with this behind batch `seq`.
    fn with(&self, seq: u64, certificate: &Certificate) -> Vec<Record> {
        let mut records = self.records.clone();
        let at = batch_at(&records, seq) + 1;
        let bytes = certificate.encode().as_slice().into();
        records.insert(at, Record::Certificate(bytes));
        records
    }
}

#[test]
fn certificates_of_this_chain_hold_and_say_how_far() {
    let run = Certified::make();
    assert!(run.world.nodes[0].settled.hashes.len() > 5);
    let good = run.certify((&run.header).into(), &[0, 2, 3]);
    for behind in [2, 4] {
        let verified = run.known.verify(&run.with(behind, &good)).unwrap();
        let figures = verified.figures;
        assert_eq!((figures.certificates, figures.certified), (1, 3));
        assert_eq!(figures.certificates_unplaced, 0);
    }
}

#[test]
fn every_way_to_tamper_with_a_certificate_is_found() {
    let run = Certified::make();
    let header = CertifiedHeader::from(&run.header);
    let good = run.certify(header, &[0, 1, 2]);
    let of = |change: fn(&mut CertifiedHeader)| {
        let mut other = header;
        change(&mut other);
        run.certify(other, &[0, 1, 2])
    };
    let changed = |change: fn(&mut Certificate)| {
        let mut other = good;
        change(&mut other);
        other
    };
    let kinds = [
        (
            "signed by too few",
            changed(|c| c.signers = AuthoritySet::from_mask(0b11)),
            "are needed",
        ),
        (
            "of another header, signed by q",
            of(|h| h.hash = Sha256Hash([1; 32])),
            "another header",
        ),
        (
            "of another chain",
            of(|h| h.chain_id = ChainId(99)),
            "chain 99",
        ),
        ("of another epoch", of(|h| h.epoch = Epoch(9)), "epoch 9"),
        (
            "of a batch to come",
            of(|h| h.seq = BatchSeq(3)),
            "before it is recorded",
        ),
        (
            "under another seq",
            of(|h| h.seq = BatchSeq(1)),
            "another header",
        ),
        (
            "a signer more than signed",
            changed(|c| c.signers = AuthoritySet::from_mask(0b1111)),
            "not that of its signers",
        ),
        (
            "another in the place of a signer",
            changed(|c| c.signers = AuthoritySet::from_mask(0b1011)),
            "not that of its signers",
        ),
        (
            "a stranger among the signers",
            changed(|c| c.signers = AuthoritySet::from_mask(0b10111)),
            "no member",
        ),
        (
            "a changed signature",
            changed(|c| c.signature[20] ^= 1),
            "signature",
        ),
    ];
    for (kind, certificate, words) in kinds {
        let fault = run.known.verify(&run.with(2, &certificate)).unwrap_err();
        assert_eq!(fault.rule, Rule::Certificate, "{kind}: {fault}");
        assert!(fault.what.contains(words), "{kind}: {fault}");
        assert_eq!(fault.record, batch_at(&run.records, 2) as u64 + 1, "{kind}");
    }
    let mut cut = run.with(2, &good);
    let at = batch_at(&run.records, 2) + 1;
    cut[at] = Record::Certificate(good.encode()[1..].into());
    assert_eq!(run.known.verify(&cut).unwrap_err().rule, Rule::Record);
    // The committee that the verifier is told of has no such keys.
    let mut keyless = run.known.clone();
    keyless.committee = run.world.committee.clone();
    let fault = keyless.verify(&run.with(2, &good)).unwrap_err();
    assert_eq!(fault.rule, Rule::Certificate);
}
