//! Waits for the key that the committee makes itself: every node writes it down, and all must have written the same.

use std::path::Path;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::{Directory, Roster};
use fairlane_engine::seal::deal;

use super::children::Process;
use crate::node::MADE_COMMITTEE_FILE;

/// The committee file with the key, once all of `nodes`, whose data folders are in `data`, have written it.
///
/// Errors: a node ended, wrote something else than the others, or nothing in time.
pub fn wait_until_made(data: &Path, nodes: &mut [Process]) -> anyhow::Result<Directory> {
    let start = Instant::now();
    let paths: Vec<_> = (0..nodes.len())
        .map(|index| data.join(format!("node-{index}")).join(MADE_COMMITTEE_FILE))
        .collect();
    while !paths.iter().all(|path| path.exists()) {
        if let Some(ended) = nodes
            .iter_mut()
            .find_map(|node| node.has_ended().then_some(node))
        {
            let words = ended.last_words();
            anyhow::bail!(
                "{} ended before the committee had a key: {words}",
                ended.name
            );
        }
        anyhow::ensure!(
            start.elapsed() < WAIT,
            "the committee has made no key in {} s; the nodes' logs say why",
            WAIT.as_secs()
        );
        std::thread::sleep(PAUSE);
    }
    let mut made: Option<Directory> = None;
    for path in &paths {
        let directory = Directory::load(path)?;
        if let Some(first) = &made {
            anyhow::ensure!(
                first.sealing_key == directory.sealing_key,
                "the nodes have made different keys: {} has another than the first",
                path.display()
            );
        }
        made.get_or_insert(directory);
    }
    made.ok_or_else(|| anyhow::anyhow!("a committee has at least one authority"))
}

/// The directory of a roster with a key; of one without, with a key of no use, to see whether the load could be sealed at
/// all before anything is started: that depends on lengths, not on keys.
pub fn dealt_or_stand_in(roster: &Roster) -> anyhow::Result<Directory> {
    let mut roster = roster.clone();
    if let Some(plan) = roster.committee.key_plan() {
        let (chain_id, epoch) = (roster.committee.chain_id, roster.committee.epoch);
        let n = roster.committee.thresholds().authorities();
        let (stand_in, _) = deal(chain_id, epoch, n, plan.threshold, &[0; 32])?;
        roster.sealing_key = Some(stand_in);
    }
    Ok(roster.into_directory()?)
}

/// Two windows of complaints at the shortest round would take four seconds.
const WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
