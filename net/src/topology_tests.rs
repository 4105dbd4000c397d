//! The tables of the topology against the sources, and what is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::one_node::OneNode;
use crate::stage::waiting::{ReceiveMode, WaitMode};

fn topology(cores: &[usize], authorities: usize, wait: Wait) -> Topology {
    let mut topology = Topology::read(&OneNode::new().config).unwrap();
    topology.plan = wait.plan(cores, 0, authorities);
    topology.wait = wait;
    topology.metrics = true;
    topology
}

/// The sources of a node, without tests and without the commands and the benches' parts beside it.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["localnet", "fair_order", "bin", "verify"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if !name.contains("tests")
                && ![
                    "capacity.rs",
                    "cli.rs",
                    "ingest.rs",
                    "localnet.rs",
                    "topology.rs",
                ]
                .contains(&name.as_str())
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                found.push((path, text.to_owned()));
            }
        }
    }
    assert!(found.len() > 40, "only {} sources", found.len());
    found
}

#[test]
fn every_thread_that_is_started_stands_in_the_table() {
    let printed = topology(&[0, 1, 2, 3], 1, Wait::default()).to_string();
    let mut named = 0;
    for (path, text) in sources() {
        for (_, rest) in text
            .match_indices(".name(\"")
            .map(|(at, start)| text.split_at(at + start.len()))
        {
            let name = rest.split('"').next().unwrap();
            let row = format!("\n  {name:<8} ");
            assert!(
                printed.contains(&row),
                "{name} of {} is not in\n{printed}",
                path.display()
            );
            named += 1;
        }
    }
    // Those of the stages are named in node.rs by what they host: io, core.
    assert!(named >= HELPERS.len(), "{named}");
    for name in ["io", "core"] {
        assert!(printed.contains(&format!("\n  {name:<8} ")), "{printed}");
    }
}

#[test]
fn every_ring_and_channel_that_is_made_stands_in_the_table() {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, text) in sources() {
        *made.entry("ring").or_default() += text.matches("rtrb::RingBuffer::new(").count();
        *made.entry("channel").or_default() += text.matches("= sync_channel(").count();
        assert!(!text.contains("ArrayQueue::new(") && !text.contains("crossbeam"));
    }
    let queues = topology(&[0, 1], 1, Wait::default()).queues();
    let rows = |kind| queues.iter().filter(|queue| queue.kind == kind).count();
    assert_eq!(
        made["ring"],
        rows(Kind::Ring),
        "a ring was added or taken away: mend the table"
    );
    // The row of the loader is for both directions.
    assert_eq!(
        made["channel"],
        rows(Kind::Channel) + 1,
        "a channel was added or taken away: mend the table"
    );
}

#[test]
fn what_is_printed_follows_the_plan_and_the_setting() {
    let spin = Wait {
        mode: WaitMode::Spin,
        ..Wait::default()
    };
    let own_cores = topology(&[4, 5, 6], 1, spin).to_string();
    for row in [
        "  io               4  io ",
        "  core             5  core ",
        "  journal          6  journal ",
    ] {
        assert!(own_cores.contains(row), "{row} in\n{own_cores}");
    }
    assert_eq!(
        own_cores.matches("spin: never sleeps").count(),
        2,
        "{own_cores}"
    );
    let shared = topology(&[0, 1], 5, Wait::default()).to_string();
    for row in [
        "  receive  arrival: ",
        "  io               0  io ",
        "  core             0  core ",
    ] {
        assert!(shared.contains(row), "{row} in\n{shared}");
    }
    assert!(!shared.contains("spin"), "{shared}");
    let turn = Wait {
        receive: ReceiveMode::Turn,
        ..Wait::default()
    };
    let by_turn = topology(&[0, 1], 5, turn).to_string();
    for row in [
        "  receive  turn: ",
        "  io               0  io + core ",
        "gathers for 200 us",
    ] {
        assert!(by_turn.contains(row), "{row} in\n{by_turn}");
    }
    for queue in topology(&[0, 1], 5, Wait::default()).queues() {
        assert!(shared.contains(&queue.bound) && shared.contains(&queue.when_full));
    }
    for rule in rules() {
        assert!(shared.contains(&rule.when), "{shared}");
    }
}
