//! Claims about several rollups in one chain: every worker takes the whole chain, and picks its own entries out of it once.

use std::path::Path;

use fairlane_engine::types::Digest;

use super::tests::{CHAIN, Node, ROLLUP, WorkerThread, config};
use super::*;
use crate::ring::CAPACITY_DEFAULT;

const OTHER: RollupId = RollupId(ROLLUP.0 + 1);

/// Seq, index and digest of each own entry, in the order of the worker's journal.
type Own = Vec<(u64, u32, Digest)>;

/// What a rollup reads of its worker's journal, and how many entries stand there in all.
fn read(folder: &Path, rollup: RollupId) -> (Own, usize) {
    let (mut own, mut all) = (Vec::new(), 0);
    let mut reader = SettleReader::open(&folder.join("sink")).unwrap();
    assert_eq!(reader.identity(), Some((CHAIN, rollup)));
    while let Some(batch) = reader.try_next().unwrap() {
        let seq = batch.header().seq.0;
        all += batch.view().unwrap().entries().len();
        for (index, entry) in batch.entries_of(rollup).unwrap() {
            assert_eq!(entry.rollup_id, rollup);
            own.push((seq, index, entry.digest));
        }
    }
    (own, all)
}

/// Settles `batches` for `rollup` beside a node of its own, in several connections; what the worker counted.
fn settle(folder: &Path, rollup: RollupId, batches: u64) -> u64 {
    let mut node = Node::serving(folder, CAPACITY_DEFAULT, &[ROLLUP, OTHER]);
    let mut entries = 0;
    let part = batches / 4;
    for _ in 0..4 {
        let worker = WorkerThread::start_with(SettleConfig {
            rollup_id: rollup,
            ..config(folder)
        });
        node.emit(part);
        node.wait_settled();
        entries += worker.stop().entries;
        node.wait_detached();
    }
    entries
}

#[test]
fn two_rollups_in_one_chain_take_each_entry_once_by_seq_and_only_their_own() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (batches, mut union, mut total) = (80, Vec::new(), 0);
    for (folder, rollup) in folders.iter().zip([ROLLUP, OTHER]) {
        let counted = settle(folder.path(), rollup, batches);
        let (own, all) = read(folder.path(), rollup);
        assert_eq!(
            own.len() as u64,
            counted,
            "what it counted is what is its own"
        );
        assert!(
            own.windows(2).all(|pair| pair[0] < pair[1]),
            "in order, once"
        );
        total = all;
        union.extend(own);
    }
    // Of 0 to 4 entries in turn those with an even index are of one rollup and the rest of the other.
    assert_eq!(total as u64, batches / 5 * 10);
    union.sort();
    union.dedup();
    assert_eq!(
        union.len(),
        total,
        "together they have every entry, none twice"
    );
}

#[test]
fn a_batch_without_own_entries_is_settled_all_the_same_so_that_the_chain_has_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    settle(folder, OTHER, 8);
    let mut reader = SettleReader::open(&folder.join("sink")).unwrap();
    let mut own = Vec::new();
    while let Some(batch) = reader.try_next().unwrap() {
        assert_eq!(batch.header().seq.0, own.len() as u64);
        let view = batch.view().unwrap();
        // Others' entries are there with their payload: the header's roots are over all of them.
        assert_eq!(view.entries().len() as u64, batch.header().seq.0 % 5);
        own.push(batch.entries_of(OTHER).unwrap().count());
    }
    assert_eq!(own, [0, 0, 1, 1, 2, 0, 0, 1]);
}
