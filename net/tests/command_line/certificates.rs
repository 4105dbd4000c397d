//! Certificates of a real run: made where they are wanted, of the node's own batches, and valid for anybody who has the
//! committee file.

use std::collections::BTreeMap;
use std::path::Path;

use fairlane_client::committee_file::Directory;
use fairlane_engine::certificate::Certificate;
use fairlane_engine::effect::header_of_batch;
use fairlane_engine::types::{BatchSeq, Sha256Hash};
use fairlane_net::journal::{JournalReader, Kind};

use crate::runs::{run_localnet, turn};
use crate::sandbox::Sandbox;

/// Header hashes by seq, and the certificates, in a node's journal.
fn recorded(folder: &Path) -> (BTreeMap<BatchSeq, Sha256Hash>, Vec<Certificate>) {
    let mut reader = JournalReader::open(folder).unwrap();
    let (mut hashes, mut certificates) = (BTreeMap::new(), Vec::new());
    while let Some(record) = reader.try_next().unwrap() {
        match record.kind {
            Kind::Batch => {
                let header = header_of_batch(record.body).unwrap();
                hashes.insert(header.seq, header.hash());
            }
            Kind::Certificate => certificates.push(Certificate::decode(record.body).unwrap()),
            _ => {}
        }
    }
    (hashes, certificates)
}

#[test]
fn a_node_with_a_settlement_worker_records_certificates_of_its_batches_up_to_the_last() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let load = ["--duration", "2s", "--rate", "100", "--data", "data"];
    let (_, report) = run_localnet(&sandbox, &load);
    let data = sandbox.path("data");
    let directory = Directory::load(&data.join("committee.json")).unwrap();
    let keys = directory.committee.certificate_keys().unwrap();

    let (hashes, certificates) = recorded(&data.join("node-0"));
    // Twenty stretches of consensus time; on a machine that is busy some are skipped.
    assert!(
        certificates.len() >= 5,
        "{} certificates",
        certificates.len()
    );
    for certificate in &certificates {
        assert_eq!(certificate.verify(keys), Ok(()));
        let header = &certificate.header;
        assert_eq!(hashes.get(&header.seq), Some(&header.hash));
    }
    let seqs: Vec<BatchSeq> = certificates.iter().map(|made| made.header.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    for index in 1..4 {
        let (_, certificates) = recorded(&data.join(format!("node-{index}")));
        assert!(certificates.is_empty(), "authority {index} has no worker");
    }
    for node in report["node_reports"].as_array().unwrap() {
        let counts = &node["certificates"];
        assert!(counts["signed"].as_u64().unwrap() >= 5, "{counts}");
        for name in ["bad", "contradictions"] {
            assert_eq!(counts["collected"][name], 0, "{name}");
        }
    }
}
