//! `fairlane journal`: what it says of folders that are whole, torn, damaged, foreign or in use; and that a node and a
//! worker refuse what it calls not whole.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::runs::{run_localnet, turn};
use crate::sandbox::{Ran, Sandbox, wait};

fn journal(sandbox: &Sandbox, command: &str, data: &str) -> Ran {
    sandbox.run(&["journal", command, "--data", data])
}

fn assert_says(ran: &Ran, status: i32, words: &[&str]) {
    assert_eq!(ran.status, Some(status), "{ran:?}");
    assert_eq!(ran.stderr, "", "{ran:?}");
    for word in words {
        assert!(ran.stdout.contains(word), "no {word:?} in {ran:?}");
    }
}

fn json(sandbox: &Sandbox, data: &str) -> Value {
    let arguments = ["journal", "check", "--data", data, "--json", "found.json"];
    sandbox.run(&arguments);
    serde_json::from_slice(&std::fs::read(sandbox.path("found.json")).unwrap()).unwrap()
}

/// A run after which authority 1 was started twice more, alone: its journal has three segments.
fn recorded() -> Sandbox {
    let sandbox = Sandbox::new();
    let load = ["--duration", "2s", "--rate", "100", "--data", "data"];
    run_localnet(&sandbox, &load);
    for _ in 0..2 {
        let mut node = sandbox.start(&["node", "--config", "data/node-1.toml"]);
        let until = Instant::now() + Duration::from_secs(60);
        while sandbox.ran(None).stdout != "ready\n" {
            assert!(Instant::now() < until, "{:?}", sandbox.ran(None));
            std::thread::sleep(Duration::from_millis(10));
        }
        node.kill().unwrap();
        wait(&mut node);
    }
    sandbox
}

/// Copies a folder's files, holes and all that is zero left out.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        std::fs::write(to.join(path.file_name().unwrap()), &bytes[..used]).unwrap();
    }
}

fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_is_whole_is_told_and_what_is_damaged_is_named_and_refused_by_its_owner() {
    let _turn = turn();
    let sandbox = recorded();
    let node = sandbox.path("data/node-1");
    let listing = sandbox.listing();

    let ran = journal(&sandbox, "inspect", "data/node-1");
    let words = [
        "authority 1 of chain 1, format 1",
        "journal-0000000002.seg",
        "own vertex",
        "batch",
        "settled cursor",
        "\nwhole: ",
    ];
    assert_says(&ran, 0, &words);
    assert_says(&journal(&sandbox, "check", "data/node-1"), 0, &["whole: "]);
    let words = [
        "rollup 1 of chain 1, format 1",
        "settled cursor",
        "\nwhole: ",
    ];
    assert_says(&journal(&sandbox, "inspect", "data/settle-1"), 0, &words);
    assert_eq!(sandbox.listing(), listing, "looking writes nothing");

    let (of_node, of_worker) = (
        json(&sandbox, "data/node-1"),
        json(&sandbox, "data/settle-1"),
    );
    assert_eq!(
        (&of_node["journal_of"], &of_node["authority"]),
        (&"node".into(), &1.into())
    );
    assert_eq!(of_node["segments"].as_array().unwrap().len(), 3);
    let counted = |kind: &str| of_node["kinds"][kind]["records"].as_u64().unwrap();
    assert!(counted("own vertex") > 10 && counted("vertex") > 30 && counted("envelope") > 50);
    assert_eq!(of_worker["journal_of"], "worker");
    let settled = of_worker["batches"].as_u64().unwrap();
    assert!(settled > 10);
    assert_eq!(of_worker["seqs"]["last"], settled - 1);
    assert!(of_node["batches"]["last"].as_u64().unwrap() + 1 >= settled);

    damage_nodes(&sandbox, &node);
    damage_workers(&sandbox);
}

/// Damages copies of a node's folder; the node is then started on each by its own configuration.
fn damage_nodes(sandbox: &Sandbox, node: &Path) {
    let whole = sandbox.path("whole");
    copy(node, &whole);
    let restore = || copy(&whole, node);
    let refuses = |words: &[&str]| {
        let ran = sandbox.run(&["node", "--config", "data/node-1.toml"]);
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{ran:?}");
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {ran:?}");
        }
    };
    let files = segments(&whole);
    let at = |index: usize| node.join(files[index].file_name().unwrap());

    // A flipped bit where a later segment vouches for all before it.
    let middle = std::fs::metadata(&files[1]).unwrap().len() / 2;
    restore();
    change(&at(1), |bytes| bytes[middle as usize] ^= 4);
    let words = [
        "journal-0000000001.seg is corrupt at byte ",
        "restore it from a copy",
    ];
    assert_says(
        &journal(sandbox, "check", "data/node-1"),
        1,
        &[&["NOT WHOLE: "], &words[..]].concat(),
    );
    refuses(&words);

    restore();
    std::fs::remove_file(at(1)).unwrap();
    let words = ["journal-0000000001.seg", "the segment is missing"];
    assert_says(&journal(sandbox, "check", "data/node-1"), 1, &words);
    refuses(&words);

    // Cut off inside the last record: a crash does that.
    restore();
    change(&at(2), |bytes| bytes.truncate(bytes.len() - 1));
    let words = ["torn tail: ", "journal-0000000002.seg at byte ", "whole: "];
    assert_says(&journal(sandbox, "check", "data/node-1"), 0, &words);

    // Another authority's journal.
    copy(&sandbox.path("data/node-2"), node);
    refuses(&[
        "journal-0000000000.seg says at byte 0 that it is of authority 2 of chain 1",
        "choose another data folder",
    ]);

    // A newer format: the version is the first byte of the header's body, under a checksum that holds.
    restore();
    change(&at(0), |bytes| {
        bytes[13] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..9]), &bytes[13..39]);
        bytes[9..13].copy_from_slice(&crc.to_be_bytes());
    });
    let words = [
        "journal-0000000000.seg begins at byte 0",
        "version 9 is unknown",
        "use the version of fairlane",
    ];
    journal(sandbox, "check", "data/node-1").assert_refused(&words);
    refuses(&words);
    restore();
    assert_says(&journal(sandbox, "check", "data/node-1"), 0, &["whole: "]);
}

/// The same for a settlement worker's.
fn damage_workers(sandbox: &Sandbox) {
    let (folder, whole) = (sandbox.path("data/settle-1"), sandbox.path("whole-worker"));
    copy(&folder, &whole);
    let file = folder.join("settled.log");
    let refuses = |words: &[&str]| {
        let ran = sandbox.run(&["settle", "--config", "data/settle-1.toml"]);
        ran.assert_refused(words);
    };
    change(&file, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let words = ["settled.log is corrupt at byte ", "restore it from a copy"];
    assert_says(&journal(sandbox, "check", "data/settle-1"), 1, &words);
    refuses(&words);

    copy(&whole, &folder);
    change(&file, |bytes| bytes[35] ^= 1);
    let words = ["settled.log is corrupt at byte 32 (its salt"];
    assert_says(&journal(sandbox, "check", "data/settle-1"), 1, &words);
    refuses(&words);

    copy(&whole, &folder);
    change(&file, |bytes| bytes[8] = 9);
    let words = [
        "settled.log does not begin at byte 0",
        "version 9 is unknown",
    ];
    journal(sandbox, "check", "data/settle-1").assert_refused(&words);
    refuses(&words);

    copy(&whole, &folder);
    change(&file, |bytes| bytes[31] = 7);
    refuses(&[
        "settled.log says at byte 16 that it is of rollup 7 of chain 1",
        "choose another folder",
    ]);
    copy(&whole, &folder);
}

#[test]
fn a_journal_is_looked_into_while_its_node_and_its_worker_run() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let (minute, load) = (["--duration", "60s"], ["--rate", "300", "--data", "data"]);
    let arguments = [&["localnet", "--nodes", "4"], &minute[..], &load[..]].concat();
    let mut child = sandbox.start_apart(&arguments);
    let until = Instant::now() + Duration::from_secs(60);
    while journal(&sandbox, "check", "data/settle-1").status != Some(0)
        || json(&sandbox, "data/settle-1")["batches"].as_u64() < Some(20)
    {
        assert!(Instant::now() < until, "nothing is settled");
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..10 {
        for data in ["data/node-0", "data/node-1", "data/settle-1"] {
            let ran = journal(&sandbox, "check", data);
            assert_says(&ran, 0, &["in use by a running process", "whole: "]);
        }
    }
    child.kill().unwrap();
    wait(&mut child);
    sandbox.wait_for_the_end_of_all();
    // The worker that was killed may have left a tail; nothing is in use any more.
    let ran = journal(&sandbox, "check", "data/node-1");
    assert_says(&ran, 0, &["whole: "]);
    assert!(!ran.stdout.contains("in use"), "{ran:?}");
}

#[test]
fn a_folder_without_a_journal_is_bad_input_and_those_below_are_named() {
    let sandbox = Sandbox::new();
    let refused = |data: &str, words: &[&str]| {
        for command in ["inspect", "check"] {
            journal(&sandbox, command, data).assert_refused(words);
        }
    };
    refused("nowhere", &["nowhere is not a folder"]);
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    refused("empty", &["empty holds no journal", "name the data folder"]);
    std::fs::create_dir_all(sandbox.path("net/settle-1")).unwrap();
    std::fs::write(sandbox.path("net/settle-1/settled.log"), "").unwrap();
    refused(
        "net",
        &["net holds no journal itself: name one of net/settle-1"],
    );
    let ran = journal(&sandbox, "inspect", "net/settle-1");
    assert_says(&ran, 0, &["nothing was ever settled", "whole: "]);
    std::fs::write(sandbox.path("net/settle-1/journal-0000000000.seg"), "").unwrap();
    refused(
        "net/settle-1",
        &["holds both a node's journal and a worker's"],
    );
    std::fs::write(sandbox.path("net/settle-1/settled.log"), [7; 100]).unwrap();
    std::fs::remove_file(sandbox.path("net/settle-1/journal-0000000000.seg")).unwrap();
    refused("net/settle-1", &["settled.log does not begin at byte 0"]);
    let ran = sandbox.run(&[
        "journal",
        "check",
        "--data",
        "empty",
        "--json",
        "none/x.json",
    ]);
    ran.assert_refused(&["there is no folder"]);
}
