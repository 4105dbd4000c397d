//! The verdicts on the journals that a run has left, for whoever started its processes and knows which of them were to
//! survive: the checks of `fairlane verify`, and two things more that only he can ask for.
//!
//! I1 each node that was to survive holds every batch that is settled. I2 one of them at least was checked from its first
//! record on, so that no part of the order rests on what somebody took over.

use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::node::{NodeReport, PlacedFault, Rules};
use super::worker::WorkerReport;
use super::{folder::Sources, verify_nodes, verify_workers};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// The nodes' journals give one chain, all of them have all of what is settled, and that is this chain, each batch once.
    pub agreement: bool,
    /// Everything that follows from the records of each node was made once more and came out the same: vertices, anchors, the
    /// fair order, reveals, headers and state roots. One node at least was away for no part of it.
    pub order_rechecked: bool,
    /// Every certificate that a node or the worker has kept is of the chain and signed by at least q, and words of authorities
    /// that batches were settled on likewise.
    pub certificates_hold: bool,
    /// Certificates of the node with most of them.
    pub certificates: u64,
    /// Batches settled.
    pub settled: u64,
    /// How many batches each node has, in the order in which they were named.
    pub batches: Vec<u64>,
    /// Of these nodes those that took over a state from their peers.
    pub took_over: u64,
    /// The first thing that is wrong with each journal.
    pub faults: Vec<String>,
}

impl Verdicts {
    /// Whether nothing is wrong.
    pub const fn hold(&self) -> bool {
        self.agreement && self.order_rechecked && self.certificates_hold
    }
}

/// Checks the journals of these authorities' nodes in `data`, as `localnet --data` lays them out, and of the workers there.
///
/// Errors: a journal is not there or cannot be read. What is wrong in one is in the verdicts.
pub fn verify_run(data: &Path, nodes: &[u8]) -> anyhow::Result<Verdicts> {
    let (_, rules) = Rules::load(data, None)?;
    let found = Sources::find(data)?;
    let sources = Sources {
        nodes: nodes
            .iter()
            .map(|index| node_folder(data, *index))
            .collect(),
        workers: found.workers,
    };
    let chain = Chain::new()?;
    let reports = verify_nodes(&sources, &rules, &chain, &|_| {})?;
    let workers = verify_workers(&sources, &rules, &chain)?;
    anyhow::ensure!(
        !workers.is_empty(),
        "{} holds no worker's journal",
        data.display()
    );
    Ok(judge(&reports, &workers))
}

/// Where `localnet` has the journal of an authority.
pub fn node_folder(data: &Path, index: u8) -> PathBuf {
    data.join(format!("node-{index}"))
}

fn judge(nodes: &[NodeReport], workers: &[WorkerReport]) -> Verdicts {
    let of_nodes = nodes.iter().filter_map(|node| node.fault.as_ref());
    let of_workers = workers.iter().filter_map(|worker| worker.fault.as_ref());
    let faults: Vec<&PlacedFault> = of_nodes.chain(of_workers).collect();
    let none_of = |kind: Kind| !faults.iter().any(|fault| Kind::of(fault) == kind);
    let settled = workers
        .iter()
        .map(|worker| worker.batches)
        .max()
        .unwrap_or(0);
    let has_all = |node: &NodeReport| node.next_seq >= settled;
    let is_whole = |node: &NodeReport| {
        let is_from_start = node.first_seq.unwrap_or(0) == 0 && node.trusted.is_empty();
        node.holds && is_from_start && node.figures.batches_taken == 0 && has_all(node)
    };
    // A fault ends the reading of its journal; the verdict that it is about fails, and with it the run.
    Verdicts {
        agreement: none_of(Kind::Agreement) && !nodes.is_empty() && nodes.iter().all(has_all),
        order_rechecked: none_of(Kind::Order) && nodes.iter().any(is_whole),
        certificates_hold: none_of(Kind::Certificate),
        certificates: nodes
            .iter()
            .map(|node| node.figures.certificates)
            .max()
            .unwrap_or(0),
        settled,
        batches: nodes.iter().map(|node| node.next_seq).collect(),
        took_over: nodes.iter().filter(|node| !node.trusted.is_empty()).count() as u64,
        faults: faults.iter().map(|fault| fault.to_string()).collect(),
    }
}

/// Which verdict a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Agreement,
    Order,
    Certificate,
}

impl Kind {
    fn of(fault: &PlacedFault) -> Self {
        match fault.rule.as_str() {
            "agreement" | "chain" | "settled" | "settlement" => Self::Agreement,
            "certificate" => Self::Certificate,
            _ => Self::Order,
        }
    }
}

#[cfg(test)]
mod tests {
    use fairlane_engine::verify::{Figures, Trusted, TrustedFrom};

    use super::*;

    fn node(batches: u64) -> NodeReport {
        NodeReport {
            holds: true,
            first_seq: Some(0),
            next_seq: batches,
            figures: Figures {
                certificates: batches / 4,
                ..Figures::default()
            },
            ..NodeReport::default()
        }
    }

    fn worker(batches: u64) -> WorkerReport {
        WorkerReport {
            holds: true,
            batches,
            ..WorkerReport::default()
        }
    }

    fn fault(rule: &str) -> PlacedFault {
        PlacedFault {
            rule: rule.to_owned(),
            what: "it is wrong".to_owned(),
            seq: Some(4),
            entry: None,
            file: PathBuf::from("node-1"),
            offset: None,
            record: None,
        }
    }

    fn faulty(rule: &str, batches: u64) -> NodeReport {
        NodeReport {
            holds: false,
            fault: Some(fault(rule)),
            ..node(batches)
        }
    }

    fn late(batches: u64) -> NodeReport {
        let (seq, is_vouched) = (3, true);
        let from = TrustedFrom::Peer;
        NodeReport {
            trusted: vec![Trusted {
                seq,
                from,
                is_vouched,
            }],
            first_seq: Some(4),
            ..node(batches)
        }
    }

    fn verdicts(nodes: &[NodeReport], settled: u64) -> (bool, bool, bool) {
        let verdicts = judge(nodes, &[worker(settled)]);
        (
            verdicts.agreement,
            verdicts.order_rechecked,
            verdicts.certificates_hold,
        )
    }

    #[test]
    fn nodes_that_hold_and_have_all_that_is_settled_pass() {
        assert_eq!(verdicts(&[node(8), node(9)], 8), (true, true, true));
        assert_eq!(verdicts(&[node(8), late(8)], 8), (true, true, true));
        let all = judge(&[node(8), late(9)], &[worker(8)]);
        assert!(all.hold() && all.faults.is_empty());
        assert_eq!((all.certificates, all.settled, all.took_over), (2, 8, 1));
        assert_eq!(all.batches, [8, 9]);
    }

    #[test]
    fn a_survivor_that_lacks_a_settled_batch_does_not_agree() {
        assert_eq!(verdicts(&[node(8), node(7)], 8), (false, true, true));
        assert_eq!(verdicts(&[node(7)], 8), (false, false, true));
        assert_eq!(verdicts(&[], 0), (false, false, true), "nobody is left");
    }

    #[test]
    fn somebody_must_have_been_there_from_the_first_record_to_the_last_settled_batch() {
        assert_eq!(verdicts(&[late(8)], 8), (true, false, true));
        let trimmed = NodeReport {
            first_seq: Some(2),
            ..node(8)
        };
        assert_eq!(verdicts(&[trimmed], 8), (true, false, true));
        let mut fetched = node(8);
        fetched.figures.batches_taken = 3;
        assert_eq!(verdicts(&[fetched], 8), (true, false, true));
    }

    #[test]
    fn each_kind_of_fault_fails_the_verdict_that_it_is_about_and_is_named() {
        for rule in ["agreement", "chain", "settled"] {
            assert_eq!(
                verdicts(&[node(8), faulty(rule, 8)], 8),
                (false, true, true),
                "{rule}"
            );
        }
        for rule in [
            "vertex",
            "signature",
            "commit rule",
            "fair order",
            "reveal",
            "journal",
        ] {
            assert_eq!(
                verdicts(&[node(8), faulty(rule, 8)], 8),
                (true, false, true),
                "{rule}"
            );
        }
        assert_eq!(
            verdicts(&[node(8), faulty("certificate", 8)], 8),
            (true, true, false)
        );
        let worker = WorkerReport {
            holds: false,
            fault: Some(fault("settlement")),
            ..worker(8)
        };
        let found = judge(&[node(8)], &[worker]);
        assert!(!found.agreement && found.order_rechecked);
        assert_eq!(found.faults, ["settlement: batch 4, it is wrong (node-1)"]);
    }

    #[test]
    fn every_rule_of_the_verifier_fails_some_verdict() {
        for rule in fairlane_engine::verify::Rule::ALL {
            let found = judge(&[node(8), faulty(rule.name(), 8)], &[worker(8)]);
            assert!(!found.hold(), "{rule}");
        }
    }
}
