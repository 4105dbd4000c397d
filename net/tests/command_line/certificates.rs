//! Certificates of a real run: made where they are wanted, of the node's own batches, and valid for anybody who has the
//! committee file.

use std::collections::BTreeMap;
use std::path::Path;

use fairlane_client::committee_file::Directory;
use fairlane_engine::certificate::{CERTIFICATE_LEN, Certificate, SIGNATURE_LEN};
use fairlane_engine::dag::VertexHeader;
use fairlane_engine::effect::header_of_batch;
use fairlane_engine::types::{BatchSeq, Sha256Hash};
use fairlane_net::journal::{JournalReader, Kind};
use fairlane_net::settle::{Finality, SettleReader, SettleSurvey};

use crate::runs::{run_localnet, turn};
use crate::sandbox::Sandbox;
use crate::verify::{SINK_RECORD_HEAD_LEN, rejoined, settled, verify_json};

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

#[test]
fn a_worker_that_waits_for_certificates_settles_everything_and_keeps_what_covers_it() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let load = ["--duration", "2s", "--rate", "100", "--data", "data"];
    let finality = ["--finality", "certificate", "--kill", "3@1s"];
    let (_, report) = run_localnet(&sandbox, &[&load[..], &finality].concat());
    let data = sandbox.path("data");
    let survey = SettleSurvey::take(&data.join("settle-1")).unwrap();
    assert!(survey.is_whole(), "{survey:?}");
    assert_eq!((survey.on_nodes_word, survey.uncovered), (0, 0));
    assert_eq!(survey.on_certificates, survey.batches);
    assert!(survey.certificates >= 5, "{survey:?}");

    let mut reader = SettleReader::open(&data.join("settle-1")).unwrap();
    let mut batches = 0;
    while let Some(batch) = reader.try_next().unwrap() {
        assert_eq!(batch.finality(), Finality::Certificate);
        batches += 1;
    }
    assert_eq!(batches, survey.batches);
    assert_eq!(report["lost"], 0);
    verify_and_tamper(&sandbox, survey.certificates);
}

#[test]
fn a_worker_that_waits_for_f_plus_one_settles_everything_on_words_that_anybody_can_check() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let load = ["--duration", "2s", "--rate", "100", "--data", "data"];
    let finality = ["--finality", "f+1", "--kill", "3@1s"];
    let (_, report) = run_localnet(&sandbox, &[&load[..], &finality].concat());
    assert_eq!(report["lost"], 0);
    let survey = SettleSurvey::take(&sandbox.path("data/settle-1")).unwrap();
    assert!(survey.is_whole(), "{survey:?}");
    assert_eq!((survey.on_nodes_word, survey.on_certificates), (0, 0));
    assert_eq!((survey.on_words, survey.uncovered), (survey.batches, 0));
    assert!(survey.words >= 20, "{survey:?}");

    let (ran, json) = verify_json(&sandbox, "data");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let worker = &json["workers"][0];
    assert_eq!(worker["words"], survey.words, "{worker}");
    assert_eq!(worker["on_words"], survey.batches, "{worker}");

    let path = sandbox.path("data/settle-1/settled.log");
    let whole = std::fs::read(&path).unwrap();
    let mut records = settled(&whole);
    let is_words = |record: &&mut Vec<u8>| {
        record[SINK_KIND_AT] == SINK_KIND_PROOF && record[SINK_RECORD_HEAD_LEN] == WORDS_KIND
    };
    let words = records.iter_mut().rfind(is_words).unwrap();
    // In the hash that the first of them names.
    words[SINK_RECORD_HEAD_LEN + 2 + VertexHeader::LEN - 1] ^= 1;
    std::fs::write(&path, rejoined(&whole, &records)).unwrap();
    let (ran, json) = verify_json(&sandbox, "data");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let what = json["fault"]["what"].as_str().unwrap();
    assert!(what.contains("words of f + 1 authorities"), "{what}");
}

/// Everything holds; and a certificate that was changed, its checksum too, does not.
fn verify_and_tamper(sandbox: &Sandbox, certificates: u64) {
    let (ran, json) = verify_json(sandbox, "data");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(json["workers"][0]["certificates"], certificates);
    let figures = &json["nodes"][0]["figures"];
    assert!(figures["certificates"].as_u64().unwrap() >= 5, "{figures}");
    assert_eq!(figures["certificates_unplaced"], 0);

    let path = sandbox.path("data/settle-1/settled.log");
    let whole = std::fs::read(&path).unwrap();
    let mut records = settled(&whole);
    let is_certificate = |record: &&mut Vec<u8>| record[SINK_KIND_AT] == SINK_KIND_PROOF;
    let certificate = records.iter_mut().rfind(is_certificate).unwrap();
    // In the signers: one less, or another.
    certificate[SINK_RECORD_HEAD_LEN + CERTIFICATE_LEN - SIGNATURE_LEN - 1] ^= 1;
    std::fs::write(&path, rejoined(&whole, &records)).unwrap();
    let (ran, json) = verify_json(sandbox, "data");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let fault = &json["fault"];
    assert_eq!(fault["rule"], "settlement", "{fault}");
    assert!(
        fault["what"].as_str().unwrap().contains("certificate"),
        "{fault}"
    );
}

/// See `net/src/settle/sink_format.rs`.
const SINK_KIND_AT: usize = 24;
const SINK_KIND_PROOF: u8 = 128;
/// See `net/src/settle/proof.rs`.
const WORDS_KIND: u8 = 2;

#[test]
fn a_worker_that_waits_for_others_needs_the_committee_file_of_its_chain() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let path = sandbox.path("net/settle-1.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let certain = text.replace("finality = \"node\"", "finality = \"certificate\"");
    assert_ne!(certain, text);
    let without = certain.replace("committee = \"committee.json\"\n", "");
    let foreign = certain.replace("chain_id = 1\n", "chain_id = 2\n");
    let words = without.replace("\"certificate\"", "\"f+1\"");
    let odd = certain.replace("\"certificate\"", "\"f+2\"");
    for (text, words) in [
        (without, "needs committee, the committee file"),
        (words, "\"f+1\" needs committee, the committee file"),
        (foreign, "the committee file is of another chain"),
        (odd, "finality"),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = sandbox.run(&["settle", "--config", "net/settle-1.toml"]);
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(words), "no {words:?} in {ran:?}");
        assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{ran:?}");
    }
}
