//! `fairlane verify`: what a local network left holds; whoever changes it on the disk, checksums and all, is found; and a
//! folder that cannot be judged is refused.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::runs::{run_localnet, turn};
use crate::sandbox::{Ran, Sandbox};

fn verify(sandbox: &Sandbox, data: &str) -> Ran {
    sandbox.run(&["verify", "--data", data])
}

pub(crate) fn verify_json(sandbox: &Sandbox, data: &str) -> (Ran, Value) {
    let ran = sandbox.run(&["verify", "--data", data, "--json", "verified.json"]);
    let json = std::fs::read(sandbox.path("verified.json")).unwrap();
    (ran, serde_json::from_slice(&json).unwrap())
}

/// The frames of a journal's only segment: kind and body. See `net/src/journal.rs` for the format.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + FRAME_HEAD_LEN)
        && head[4] != 0
    {
        let len = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let start = at + FRAME_HEAD_LEN;
        frames.push((head[4], bytes[start..start + len].to_vec()));
        at = start + len;
    }
    frames
}

/// The bytes of these frames, every checksum as it must be.
fn joined(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, body) in frames {
        let mut head = (body.len() as u32).to_be_bytes().to_vec();
        head.push(*kind);
        head.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), body);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

/// The place of the `skip`-th frame of a kind.
fn find(frames: &[(u8, Vec<u8>)], kind: u8, skip: usize) -> usize {
    let places = frames.iter().enumerate();
    let mut found = places.filter(|(_, (of, _))| *of == kind).skip(skip);
    found.next().unwrap().0
}

/// Records of a settlement worker's journal: heads and padded archives. See `net/src/settle/sink_format.rs`.
pub(crate) fn settled(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut at = SINK_HEAD_LEN;
    while at < bytes.len() {
        let len = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let end = at + SINK_RECORD_HEAD_LEN + len.next_multiple_of(16);
        records.push(bytes[at..end].to_vec());
        at = end;
    }
    records
}

pub(crate) fn rejoined(head: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = head[..SINK_HEAD_LEN].to_vec();
    for record in records {
        let mut record = record.clone();
        let len = u32::from_be_bytes(record[8..12].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c(&record[SINK_RECORD_HEAD_LEN..][..len]);
        record[12..16].copy_from_slice(&crc.to_be_bytes());
        let crc = crc32c::crc32c(&record[..28]);
        record[28..32].copy_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(&record);
    }
    bytes
}

/// What is done to the frames of a node's journal.
type OnNode = fn(&mut Vec<(u8, Vec<u8>)>);
/// What is done to the records of a worker's.
type OnWorker = fn(&mut Vec<Vec<u8>>);

const NODE: &[(&str, &str, OnNode)] = &[
    ("a vertex's signature", "signature", |frames| {
        let at = find(frames, VERTEX, 20);
        frames[at].1[147] ^= 1;
    }),
    ("a batch's record", "archive", |frames| {
        // The slack before the payload, of which no root says anything.
        let at = find(frames, BATCH, 5);
        frames[at].1[181] ^= 1;
    }),
    ("an envelope", "envelope", |frames| {
        let at = find(frames, ENVELOPE, 5);
        let last = frames[at].1.len() - 1;
        frames[at].1[last] ^= 1;
    }),
    ("an anchor left out", "commit rule", |frames| {
        frames.remove(find(frames, ANCHOR, 5));
    }),
    ("a batch left out", "chain", |frames| {
        frames.remove(find(frames, BATCH, 5));
    }),
];

const WORKER: &[(&str, OnWorker)] = &[
    ("a batch left out", |records| {
        records.remove(5);
    }),
    ("a batch twice", |records| {
        records.insert(5, records[5].clone());
    }),
    ("two batches exchanged", |records| records.swap(5, 6)),
    ("a payload", |records| {
        let record = records
            .iter_mut()
            .find(|record| record.len() > 500)
            .unwrap();
        record[SINK_RECORD_HEAD_LEN + 32] ^= 1;
    }),
    ("the last batch's header", |records| {
        // The header stands in the archive's root, near its end; bit 0 of its last bytes is a count.
        let record = records.last_mut().unwrap();
        let len = u32::from_be_bytes(record[8..12].try_into().unwrap()) as usize;
        let archive = &mut record[SINK_RECORD_HEAD_LEN..][..len];
        let mut windows = archive.windows(9);
        // Version 1 and chain 1.
        let at = windows.rposition(|bytes| bytes == [1, 0, 0, 0, 0, 0, 0, 0, 1]);
        archive[at.unwrap() + 61] ^= 1;
    }),
];

#[test]
fn what_a_local_network_left_holds_and_whoever_changes_it_is_found() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let load = ["--duration", "2s", "--rate", "200", "--data", "data"];
    run_localnet(&sandbox, &load);
    let listing = sandbox.listing();

    let ran = verify(&sandbox, "data");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("\nholds: "), "{ran:?}");
    assert_eq!(sandbox.listing(), listing, "looking writes nothing");
    let (_, json) = verify_json(&sandbox, "data");
    assert_eq!(
        (&json["holds"], &json["fault"]),
        (&true.into(), &Value::Null)
    );
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 4);
    for node in nodes {
        let of = |name: &str| node["figures"][name].as_u64().unwrap();
        assert!(of("revealed") > 100 && of("vertices") > 200 && of("anchors") > 50);
        assert_eq!(of("revealed"), of("entries"));
        assert_eq!(node["trusted"].as_array().unwrap().len(), 0);
    }
    let worker = &json["workers"][0];
    assert_eq!(worker["holds"], true);
    assert!(worker["entries"].as_u64().unwrap() > 100);
    let settled_of = nodes[0]["figures"]["batches"].as_u64().unwrap();
    assert!(worker["batches"].as_u64().unwrap() <= settled_of + 5);

    // A node's folder alone, its committee file in the folder above.
    let (ran, json) = verify_json(&sandbox, "data/node-3");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(json["nodes"][0]["authority"], 3);

    tamper_with_nodes(&sandbox);
    tamper_with_workers(&sandbox);
    refuse_what_cannot_be_judged(&sandbox);
}

fn tamper_with_nodes(sandbox: &Sandbox) {
    let path = sandbox.path("data/node-2/journal-0000000000.seg");
    let whole = std::fs::read(&path).unwrap();
    for (name, rule, change) in NODE {
        let mut changed = frames(&whole);
        change(&mut changed);
        std::fs::write(&path, joined(&changed)).unwrap();
        let (ran, json) = verify_json(sandbox, "data");
        assert_eq!(ran.status, Some(1), "{name}: {ran:?}");
        assert!(ran.stdout.contains("\nDOES NOT HOLD: "), "{name}: {ran:?}");
        assert_eq!(json["fault"]["rule"], *rule, "{name}: {}", json["fault"]);
        let file = PathBuf::from(json["fault"]["file"].as_str().unwrap());
        assert!(file.starts_with("data/node-2"), "{name}: {file:?}");
        let holding = json["nodes"].as_array().unwrap().iter();
        let holding = holding.filter(|node| node["holds"] == true);
        assert_eq!(holding.count(), 3, "{name}: the others hold");
    }
    // Cut down to what lies behind the first records, without a snapshot to start from. The header's body is version 1, chain
    // 8, authority 1, number of the first record 8, salt 8.
    let mut cut = frames(&whole);
    cut[0].1[17] = 9;
    cut.drain(1..10);
    std::fs::write(&path, joined(&cut)).unwrap();
    let (ran, json) = verify_json(sandbox, "data/node-2");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert_eq!(json["fault"]["rule"], "journal", "{}", json["fault"]);
    // A flipped bit whose checksum nobody made anew.
    let mut flipped = whole.clone();
    flipped[5_000] ^= 1;
    std::fs::write(&path, flipped).unwrap();
    let (ran, json) = verify_json(sandbox, "data/node-2");
    assert_eq!(
        (ran.status, &json["fault"]["rule"]),
        (Some(1), &"journal".into())
    );
    std::fs::write(&path, whole).unwrap();
}

fn tamper_with_workers(sandbox: &Sandbox) {
    let path = sandbox.path("data/settle-1/settled.log");
    let whole = std::fs::read(&path).unwrap();
    let records = settled(&whole);
    assert_eq!(rejoined(&whole, &records), whole, "the tools are sound");
    for (name, change) in WORKER {
        let mut changed = records.clone();
        change(&mut changed);
        std::fs::write(&path, rejoined(&whole, &changed)).unwrap();
        let (ran, json) = verify_json(sandbox, "data");
        assert_eq!(ran.status, Some(1), "{name}: {ran:?}");
        let fault = &json["fault"];
        assert_eq!(fault["rule"], "settlement", "{name}: {fault}");
        assert_eq!(json["nodes"][0]["holds"], true, "{name}");
    }
    std::fs::write(&path, whole).unwrap();
}

fn refuse_what_cannot_be_judged(sandbox: &Sandbox) {
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    let empty = verify(sandbox, "empty");
    empty.assert_refused(&["empty", "holds no node's journal"]);
    verify(sandbox, "absent").assert_refused(&["absent", "is not a folder"]);
    let worker = verify(sandbox, "data/settle-1");
    worker.assert_refused(&["settlement worker's journal and no node's"]);
    let json = ["verify", "--data", "data", "--json", "absent/file.json"];
    sandbox.run(&json).assert_refused(&["there is no folder"]);
    copy_without_committee(&sandbox.path("data/node-0"), &sandbox.path("empty/node-0"));
    verify(sandbox, "empty").assert_refused(&["no committee.json", "--committee"]);
    let named = [
        "verify",
        "--data",
        "empty",
        "--committee",
        "data/node-0.toml",
    ];
    sandbox.run(&named).assert_refused(&["data/node-0.toml"]);
    let named = [
        "verify",
        "--data",
        "empty",
        "--committee",
        "data/committee.json",
    ];
    let ran = sandbox.run(&named);
    assert_eq!(ran.status, Some(0), "{ran:?}");

    // Another committee's file: nothing that is signed holds.
    sandbox.run(&["testnet", "--nodes", "4", "--out", "other"]);
    let other = [
        "verify",
        "--data",
        "empty",
        "--committee",
        "other/committee.json",
    ];
    let ran = sandbox.run(&other);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("DOES NOT HOLD: "), "{ran:?}");
}

fn copy_without_committee(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn a_committee_with_its_own_keys_a_killed_node_and_one_that_started_again_left_what_holds() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let load = [
        "--duration",
        "4s",
        "--rate",
        "100",
        "--data",
        "data",
        "--new-key-every",
        "1s",
        "--kill",
        "1@1s",
        "--restart",
        "1@2s",
        "--kill",
        "3@3s",
    ];
    run_localnet(&sandbox, &load);
    let (ran, json) = verify_json(&sandbox, "data");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(json["nodes"].as_array().unwrap().len(), 4);
    assert!(json["nodes"][1]["figures"]["revealed"].as_u64().unwrap() > 50);
    let (ran, _) = verify_json(&sandbox, "data/node-1");
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

const FRAME_HEAD_LEN: usize = 13;
const ENVELOPE: u8 = 3;
const VERTEX: u8 = 5;
const ANCHOR: u8 = 6;
const BATCH: u8 = 7;
const SINK_HEAD_LEN: usize = 48;
pub(crate) const SINK_RECORD_HEAD_LEN: usize = 32;
