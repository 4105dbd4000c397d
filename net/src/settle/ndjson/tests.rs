//! Claims about lines of JSON: what stands in them, and that each final batch has exactly one, whoever dies when.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlane_engine::batch::{BatchEntry, Outcome, order_root, payload_root, validate};
use fairlane_engine::types::Digest;
use serde_json::Value;

use super::super::fault::DIED;
use super::super::tests::{CHAIN, Chain, Node, ROLLUP, config, wait_until};
use super::super::{SettleConfig, run_with};
use super::*;
use crate::ring::CAPACITY_DEFAULT;

fn open(config: &SettleConfig, lines: &Path) -> Result<NdjsonSink, SettleError> {
    let journal = JournalSink::open(&config.sink_folder, CHAIN, ROLLUP)?;
    NdjsonSink::to_file(journal, &config.sink_folder, lines)
}

/// The file's lines are those of the first `batches` batches, each once and in order.
fn assert_lines(path: &Path, batches: u64) {
    let mut chain = Chain::default();
    let mut expected = Vec::new();
    for _ in 0..batches {
        let archive = chain.next_archive();
        push_line(&mut expected, &validate(&archive).unwrap(), Finality::Node);
    }
    assert_eq!(std::fs::read(path).unwrap(), expected);
}

/// A journal and its lines, of `batches` batches.
fn written(folder: &Path, batches: u64) -> (SettleConfig, PathBuf) {
    let (config, lines) = (config(folder), folder.join("lines"));
    let mut sink = open(&config, &lines).unwrap();
    let mut chain = Chain::default();
    for _ in 0..batches {
        sink.append(&validate(&chain.next_archive()).unwrap())
            .unwrap();
        sink.sync().unwrap();
    }
    assert_eq!(sink.final_count(), batches);
    (config, lines)
}

#[test]
fn a_line_is_json_and_enough_to_compute_both_roots_of_its_header() {
    let mut chain = Chain::default();
    for seq in 0..10 {
        let archive = chain.next_archive();
        let batch = validate(&archive).unwrap();
        let mut line = Vec::new();
        push_line(&mut line, &batch, Finality::Certificate);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&line["seq"], &line["finality"]),
            (&seq.into(), &"certificate".into())
        );
        let header = hex::decode(line["header"].as_str().unwrap()).unwrap();
        let header = BatchHeader::decode(&header).unwrap();
        assert_eq!(&header, batch.header());
        assert_eq!(line["hash"], hex::encode(header.hash().0));
        let (mut entries, mut payload) = (Vec::new(), Vec::new());
        for entry in line["entries"].as_array().unwrap() {
            let bytes = |name: &str| hex::decode(entry[name].as_str().unwrap()).unwrap();
            let own = bytes("payload");
            let (offset, len) = (payload.len() as u32, own.len() as u32);
            payload.extend(own);
            entries.push(BatchEntry {
                digest: bytes("digest").try_into().unwrap(),
                rollup_id: entry["rollup_id"].as_u64().unwrap(),
                outcome: Outcome::Open { offset, len },
            });
        }
        let digests = entries.iter().map(|entry| Digest(entry.digest));
        assert_eq!(order_root(digests), header.order_root);
        assert_eq!(
            payload_root(&entries, &payload).unwrap(),
            header.payload_root
        );
    }
}

#[test]
fn golden_line() {
    let mut chain = Chain::default();
    chain.next_archive();
    let archive = chain.next_archive();
    let mut line = Vec::new();
    push_line(&mut line, &validate(&archive).unwrap(), Finality::Node);
    let line = String::from_utf8(line).unwrap();
    let header = hex::encode(chain_header(&archive));
    let hash = hex::encode(
        BatchHeader::decode(&chain_header(&archive))
            .unwrap()
            .hash()
            .0,
    );
    let digest = "0000000000000001".to_owned() + &"00".repeat(8) + &"5d".repeat(16);
    let payload = "01".repeat(140);
    assert_eq!(
        line,
        format!(
            "{{\"chain_id\":11,\"epoch\":0,\"seq\":1,\"time_us\":0,\"hash\":\"{hash}\",\"header\":\"{header}\",\"finality\":\"node\",\"entries\":[{{\"digest\":\"{digest}\",\"rollup_id\":22,\"payload\":\"{payload}\"}}]}}\n"
        )
    );
}

fn chain_header(archive: &[u8]) -> Vec<u8> {
    validate(archive).unwrap().header().encode().to_vec()
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_line_gets_it_once_more_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (config, lines) = written(folder.path(), 4);
    let whole = std::fs::read(&lines).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n');
    for len in last.unwrap() + 1..=whole.len() {
        std::fs::write(&lines, &whole[..len]).unwrap();
        let sink = open(&config, &lines).unwrap();
        assert_eq!(sink.final_count(), 4);
        assert_eq!(std::fs::read(&lines).unwrap(), whole, "cut to {len} bytes");
    }
    // A file system that grew the file and wrote nothing.
    let mut zeros = whole[..last.unwrap() + 1].to_vec();
    zeros.resize(whole.len(), 0);
    std::fs::write(&lines, &zeros).unwrap();
    drop(open(&config, &lines).unwrap());
    assert_eq!(std::fs::read(&lines).unwrap(), whole);
}

#[test]
fn pages_that_a_loss_of_power_left_unwritten_are_written_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let (config, lines) = written(folder.path(), 6);
    let whole = std::fs::read(&lines).unwrap();
    let page = whole.len() / 7;
    // Any of them, whole lines behind it or not, and the file's end perhaps before the last line's.
    for first in 0..7 {
        for len in [whole.len(), whole.len() - 3] {
            let mut torn = whole[..len].to_vec();
            let end = len.min((first + 1) * page);
            torn[first * page..end].fill(0);
            std::fs::write(&lines, &torn).unwrap();
            let sink = open(&config, &lines).unwrap();
            assert_eq!(sink.final_count(), 6);
            assert_eq!(
                std::fs::read(&lines).unwrap(),
                whole,
                "page {first} of {len}"
            );
        }
    }
}

#[test]
fn what_is_not_the_journals_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (config, lines) = written(folder.path(), 4);
    let whole = std::fs::read(&lines).unwrap();
    let mut changed = whole.clone();
    changed[30] ^= 1;
    let twice = [&whole[..], &whole[..]].concat();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let foreign = b"somebody's notes, without an end".to_vec();
    let mut begins_alike = whole.clone();
    begins_alike.extend(b"{\"chain_id\":1}, of another program");
    let alike = b"{\"chain_id\":1, of another program".to_vec();
    let mut image = vec![0; 100];
    image.extend(b"what begins with zeros is not ours for that");
    let refused = [
        changed,
        twice,
        whole[first..].to_vec(),
        foreign,
        begins_alike,
        alike,
        image,
    ];
    for bytes in refused {
        std::fs::write(&lines, &bytes).unwrap();
        let error = open(&config, &lines).unwrap_err();
        assert!(error.to_string().contains("is corrupt at byte"), "{error}");
        assert_eq!(std::fs::read(&lines).unwrap(), bytes);
    }
    std::fs::write(&lines, &whole).unwrap();
    let held = open(&config, &lines).unwrap();
    let mut other = config.clone();
    other.sink_folder = folder.path().join("other");
    let error = open(&other, &lines).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(held);
    let error = open(&other, &lines).unwrap_err();
    assert!(
        error.to_string().contains("does not give this line"),
        "{error}"
    );
}

#[test]
fn lines_that_were_lost_or_never_asked_for_are_written_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (config, lines) = written(folder.path(), 6);
    std::fs::remove_file(&lines).unwrap();
    drop(open(&config, &lines).unwrap());
    assert_lines(&lines, 6);
}

/// Runs a worker that dies at its `point`-th point; whether it did.
fn run_until_death(folder: &Path, lines: &Path, node: &Node, point: u64) -> bool {
    let (config, stop) = (config(folder), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            fault::tests::die_at(point);
            let mut sink = open(&config, lines)?;
            run_with(&config, &mut sink, &stop, || ())
        });
        let emitted = node.emitted();
        wait_until("dead or done", || {
            worker.is_finished() || node.settled_count() == emitted
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
fn a_worker_that_dies_around_any_of_its_writes_leaves_each_line_exactly_once() {
    let mut deaths = 0;
    for point in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let (folder, lines) = (folder.path(), folder.path().join("lines"));
        let mut node = Node::start(folder, CAPACITY_DEFAULT);
        node.emit(4);
        let has_died = run_until_death(folder, &lines, &node, point);
        deaths += u64::from(has_died);
        let found = std::fs::read(&lines).unwrap_or_default();
        let found = found.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert!(
            node.settled_count() <= found,
            "point {point}: the node was told of more than is there"
        );
        node.wait_detached();
        node.emit(3);
        // Once more at the same place, now on what the first death left.
        run_until_death(folder, &lines, &node, point);
        node.wait_detached();
        node.emit(2);
        assert!(!run_until_death(folder, &lines, &node, u64::MAX));
        assert_lines(&lines, 9);
        if !has_died {
            break;
        }
    }
    // Those of the journal, and around each write of a line.
    assert!(deaths >= 20, "{deaths}");
}

/// The process that the next test kills; does nothing when run for itself.
#[test]
#[ignore = "it is the worker process of another test"]
fn worker_process() {
    if let Some(folder) = std::env::var_os(WORKER_FOLDER) {
        let folder = Path::new(&folder);
        let config = config(folder);
        let mut sink = open(&config, &folder.join("lines")).unwrap();
        run_with(&config, &mut sink, &AtomicBool::new(false), || ()).unwrap();
    }
}

#[test]
fn a_worker_killed_at_any_instant_leaves_each_line_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut node = Node::start(folder, 1 << 16);
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "settle::ndjson::tests::worker_process",
                "--ignored",
            ])
            .env(WORKER_FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = node.settled_count();
        wait_until("the process settles", || {
            node.emit(1);
            node.settled_count() > before
        });
        let until = Instant::now() + Duration::from_micros(300 * round);
        while Instant::now() < until {
            node.emit(1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        node.wait_detached();
        node.emit(1);
    }
    assert!(!run_until_death(
        folder,
        &folder.join("lines"),
        &node,
        u64::MAX
    ));
    assert!(node.emitted() > 8);
    assert_lines(&folder.join("lines"), node.emitted());
}

const WORKER_FOLDER: &str = "FAIRLANE_TEST_NDJSON_FOLDER";

#[test]
fn the_cursor_of_standard_output_is_read_back_and_a_damaged_one_repeats() {
    let file = tempfile::tempfile().unwrap();
    assert_eq!(read_cursor(&file), 0);
    file.write_all_at(&encode_cursor(77), 0).unwrap();
    assert_eq!(read_cursor(&file), 77);
    for at in 0..CURSOR_LEN {
        let mut bytes = encode_cursor(77);
        bytes[at] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        assert_eq!(read_cursor(&file), 0, "byte {at}");
    }
}
