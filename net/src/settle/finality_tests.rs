//! Claims about a worker that waits for certificates, or for the words of f + 1 authorities.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlane_engine::certificate::{
    Certificate, CertificateKeys, CertificateSecret, CertifiedHeader, aggregate,
};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, Epoch, Sha256Hash};

use super::fault::{self, DIED};
use super::proof::tests::words;
use super::tests::{CHAIN, Node, WorkerThread, assert_settled_by, config, wait_until};
use super::*;
use crate::ring::CAPACITY_DEFAULT;

/// Four authorities whose certificates a worker may be told to wait for.
struct Committee {
    secrets: Vec<CertificateSecret>,
    keys: Arc<CertificateKeys>,
}

fn committee() -> Committee {
    let secrets: Vec<_> = (0..4u8)
        .map(|index| CertificateSecret::generate(&[index; 32]))
        .collect();
    let encoded: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let keys = CertificateKeys::new(CHAIN, Epoch(0), &encoded).unwrap();
    Committee {
        secrets,
        keys: Arc::new(keys),
    }
}

impl Committee {
    fn certificate(&self, header: CertifiedHeader) -> Certificate {
        let signatures = self.secrets.iter().zip(0u8..).take(3);
        let signatures: Vec<_> = signatures
            .map(|(secret, index)| (AuthorityIndex(index), secret.sign(&header)))
            .collect();
        aggregate(&header, &signatures, &self.keys)
            .certificate
            .unwrap()
    }

    fn worker_config(&self, folder: &Path) -> SettleConfig {
        SettleConfig {
            proofs: ProofRule::Certificate(self.keys.clone()),
            ..config(folder)
        }
    }

    fn start_worker(&self, folder: &Path) -> WorkerThread {
        WorkerThread::start_with(self.worker_config(folder))
    }
}

fn wait_final(node: &Node, count: u64) {
    wait_until("final", || node.settled_count() == count);
}

/// Batches that the file holds, final or not.
fn wait_stored(folder: &Path, count: u64) {
    wait_until("stored", || {
        let survey = SettleSurvey::take(&folder.join("sink"));
        survey.is_ok_and(|survey| survey.batches == count)
    });
}

#[test]
fn a_batch_is_settled_when_a_certificate_covers_it_and_not_before() {
    let (committee, folder) = (committee(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    let worker = committee.start_worker(folder);
    node.emit(10);
    wait_stored(folder, 10);
    assert_eq!(node.settled_count(), 0);
    assert_settled_by(folder, 0, Finality::Certificate);

    node.certify(&committee.certificate(node.header(6)));
    wait_final(&node, 7);
    assert_settled_by(folder, 7, Finality::Certificate);
    // Covered already: of no use, and no fault.
    node.certify(&committee.certificate(node.header(3)));
    node.emit(5);
    wait_stored(folder, 15);
    assert_eq!(node.settled_count(), 7);
    node.certify(&committee.certificate(node.header(14)));
    wait_final(&node, 15);
    let report = worker.stop();
    assert_eq!((report.batches, report.certificates), (15, 2));
    assert_settled_by(folder, 15, Finality::Certificate);
    let survey = SettleSurvey::take(&folder.join("sink")).unwrap();
    assert_eq!((survey.on_certificates, survey.certificates), (15, 2));
    assert_eq!((survey.on_nodes_word, survey.uncovered), (0, 0));
}

#[test]
fn what_waits_for_a_certificate_is_kept_over_a_start_and_settled_once() {
    let (committee, folder) = (committee(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    let worker = committee.start_worker(folder);
    node.emit(8);
    node.certify(&committee.certificate(node.header(2)));
    wait_final(&node, 3);
    wait_stored(folder, 8);
    worker.stop();
    node.wait_detached();
    let worker = committee.start_worker(folder);
    node.emit(2);
    wait_stored(folder, 10);
    assert_eq!(node.settled_count(), 3);
    // Of a batch that the worker before this one has taken.
    node.certify(&committee.certificate(node.header(7)));
    wait_final(&node, 8);
    node.certify(&committee.certificate(node.header(9)));
    wait_final(&node, 10);
    let report = worker.stop();
    assert_eq!((report.batches, report.skipped), (2, 0));
    assert_settled_by(folder, 10, Finality::Certificate);
}

#[test]
fn a_certificate_that_does_not_hold_or_names_another_batch_ends_the_worker() {
    let committee = committee();
    let other = |header: CertifiedHeader| CertifiedHeader {
        hash: Sha256Hash([1; 32]),
        ..header
    };
    let short = |header: CertifiedHeader| {
        let mut certificate = committee.certificate(header);
        certificate.signers = AuthoritySet::from_mask(0b11);
        certificate
    };
    let forged = |header: CertifiedHeader| Certificate {
        header,
        ..committee.certificate(other(header))
    };
    let contradicting = |header| committee.certificate(other(header));
    let cases: [(&dyn Fn(CertifiedHeader) -> Certificate, &str); 3] = [
        (&short, "has 2 signers, and 3 are needed"),
        (&forged, "is not that of its signers"),
        (&contradicting, "names another batch than the node gave"),
    ];
    for (make, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
        node.emit(5);
        node.certify(&make(node.header(4)));
        let config = committee.worker_config(folder.path());
        let error = run(&config, &AtomicBool::new(false)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(node.settled_count(), 0);
        assert_settled_by(folder.path(), 0, Finality::Certificate);
    }
}

#[test]
fn a_worker_that_waits_for_less_settles_what_waited_and_one_that_waits_for_nothing_passes_over() {
    let (committee, folder) = (committee(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    let worker = committee.start_worker(folder);
    node.emit(4);
    wait_stored(folder, 4);
    worker.stop();
    assert_settled_by(folder, 0, Finality::Certificate);
    node.wait_detached();
    let worker = WorkerThread::start(folder);
    node.certify(&committee.certificate(node.header(3)));
    node.emit(1);
    node.wait_settled();
    assert_eq!(worker.stop().certificates, 0);
    let mut reader = SettleReader::open(&folder.join("sink")).unwrap();
    let mut finalities = Vec::new();
    while let Some(batch) = reader.try_next().unwrap() {
        finalities.push(batch.finality());
    }
    assert_eq!(finalities[..4], [Finality::Certificate; 4]);
    assert_eq!(finalities[4..], [Finality::Node]);
}

/// Runs a worker that dies at its `point`-th point, or settles `count` batches; whether it died.
fn run_until_death(
    committee: &Committee,
    folder: &Path,
    node: &Node,
    point: u64,
    count: u64,
) -> bool {
    let (config, stop) = (committee.worker_config(folder), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            fault::tests::die_at(point);
            run(&config, &stop)
        });
        wait_until("dead or done", || {
            worker.is_finished() || node.settled_count() == count
        });
        stop.store(true, Ordering::Release);
        match worker.join().unwrap() {
            Ok(_) => false,
            Err(SettleError::Handshake(DIED)) => true,
            Err(error) => panic!("{error}"),
        }
    })
}

#[test]
fn a_worker_that_dies_around_any_of_its_writes_settles_what_is_certified_exactly_once() {
    let committee = committee();
    let mut deaths = 0;
    for point in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut node = Node::start(folder, CAPACITY_DEFAULT);
        node.emit(4);
        node.certify(&committee.certificate(node.header(2)));
        let has_died = run_until_death(&committee, folder, &node, point, 3);
        deaths += u64::from(has_died);
        assert!(node.settled_count() <= 3, "point {point}");
        node.wait_detached();
        node.emit(3);
        // Once more at the same place, now on what the first death left.
        run_until_death(&committee, folder, &node, point, 3);
        node.wait_detached();
        node.certify(&committee.certificate(node.header(5)));
        let worker = committee.start_worker(folder);
        wait_final(&node, 6);
        wait_stored(folder, 7);
        worker.stop();
        assert_settled_by(folder, 6, Finality::Certificate);
        if !has_died {
            break;
        }
    }
    assert!(deaths >= 15, "{deaths}");
}

/// A worker's configuration that waits for the words of f + 1 of four.
fn words_config(folder: &Path) -> SettleConfig {
    SettleConfig {
        proofs: ProofRule::Validity(Arc::new(proof::tests::committee(CHAIN, 4))),
        ..config(folder)
    }
}

#[test]
fn a_batch_is_settled_when_f_plus_one_name_its_chain_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    let worker = WorkerThread::start_with(words_config(folder));
    node.emit(10);
    wait_stored(folder, 10);
    assert_settled_by(folder, 0, Finality::Validity);
    // Each names a batch of its own; what the lower one covers is final.
    let (low, high) = (node.header(6), node.header(8));
    node.prove(&words(&[(3, low), (0, high)]));
    wait_final(&node, 7);
    assert_settled_by(folder, 7, Finality::Validity);
    worker.stop();
    node.wait_detached();

    // Kept over a start, like what waits for a certificate.
    let worker = WorkerThread::start_with(words_config(folder));
    node.emit(2);
    wait_stored(folder, 12);
    assert_eq!(node.settled_count(), 7);
    let last = node.header(11);
    node.prove(&words(&[(1, last), (2, last)]));
    wait_final(&node, 12);
    assert_eq!(worker.stop().words, 1);
    assert_settled_by(folder, 12, Finality::Validity);
    let survey = SettleSurvey::take(&folder.join("sink")).unwrap();
    assert_eq!((survey.on_words, survey.words), (12, 2));
    assert_eq!((survey.on_certificates, survey.uncovered), (0, 0));
}

#[test]
fn a_node_that_lies_about_the_words_of_others_ends_the_worker_and_settles_nothing() {
    let wrong = |header: CertifiedHeader| CertifiedHeader {
        hash: Sha256Hash([1; 32]),
        ..header
    };
    let elsewhere = |header: CertifiedHeader| CertifiedHeader {
        chain_id: ChainId(CHAIN.0 + 1),
        ..header
    };
    let later = |header: CertifiedHeader| CertifiedHeader {
        epoch: Epoch(1),
        ..header
    };
    let forged = |header: CertifiedHeader| {
        let mut by_two = [0, 1].map(|author| proof::tests::word(author, &header));
        by_two[1].header.author = AuthorityIndex(2);
        Proof::Words(Words::new(by_two.to_vec()).unwrap())
    };
    type Lie<'a> = &'a dyn Fn(CertifiedHeader) -> Proof;
    let cases: [(Lie<'_>, &str); 6] = [
        (
            &|of| words(&[(0, of)]),
            "1 authorities vouch, and 2 are needed",
        ),
        (
            &|of| words(&[(0, of), (1, wrong(of))]),
            "names another batch",
        ),
        (
            &|of| words(&[(0, of), (1, elsewhere(of))]),
            "the word of authority 1",
        ),
        (
            &|of| words(&[(0, of), (1, later(of))]),
            "the word of authority 1",
        ),
        (&|of| words(&[(0, of), (4, of)]), "the word of authority 4"),
        (&forged, "the word of authority 2"),
    ];
    for (lie, text) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
        node.emit(5);
        let header = node.header(4);
        node.prove(&lie(header));
        let config = words_config(folder.path());
        let error = run(&config, &AtomicBool::new(false))
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(node.settled_count(), 0);
        assert_settled_by(folder.path(), 0, Finality::Validity);
    }
}

#[test]
fn words_do_not_pass_for_a_certificate_and_are_passed_over_where_nothing_is_waited_for() {
    let (committee, folder) = (committee(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    node.emit(3);
    let header = node.header(2);
    node.prove(&words(&[(0, header), (1, header), (2, header)]));
    let worker = committee.start_worker(folder);
    wait_stored(folder, 3);
    node.certify(&committee.certificate(node.header(0)));
    wait_final(&node, 1);
    assert_eq!(worker.stop().words, 0);
    node.wait_detached();
    // Told to wait for less, it takes what f + 1 say of batches that waited for more.
    let worker = WorkerThread::start_with(words_config(folder));
    node.prove(&words(&[(0, header), (1, header)]));
    wait_final(&node, 3);
    assert_eq!(worker.stop().words, 1);
    node.wait_detached();
    let worker = WorkerThread::start(folder);
    node.emit(1);
    let header = node.header(3);
    node.prove(&words(&[(0, header), (1, header)]));
    node.wait_settled();
    assert_eq!(worker.stop().words, 0);
}
