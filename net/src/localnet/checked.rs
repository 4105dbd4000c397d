//! What the journals say after a run: the verdicts first, and figures of those in which nothing is wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairlane_engine::committee::Committee;

use crate::verify::run::Verdicts;

use super::ROLLUP;
use super::fair_cost::FairCost;
use super::settled::Settled;

/// What was read from the journals after the run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What holds.
    pub verdicts: Verdicts,
    /// What was settled.
    pub settled: Settled,
    /// What the order took.
    pub fair_cost: FairCost,
}

impl Checked {
    /// Adds figures of the journals in `data`, those of the nodes in `nodes`, to their verdicts. Where something is wrong the
    /// verdicts are the report and nothing is measured: the measurement would stop where the verifier did.
    ///
    /// Errors: a journal cannot be read.
    pub fn measure(
        verdicts: Verdicts,
        (data, nodes): (&Path, &[PathBuf]),
        committee: &Arc<Committee>,
    ) -> anyhow::Result<Self> {
        let (mut settled, mut fair_cost) = (Settled::default(), FairCost::default());
        if verdicts.faults.is_empty() {
            settled = Settled::read(&data.join(format!("settle-{}", ROLLUP.0)))?;
            for node in nodes {
                if fair_cost.anchors == 0 {
                    fair_cost = FairCost::measure(node, committee)?;
                }
            }
        }
        Ok(Self {
            verdicts,
            settled,
            fair_cost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::one_node::OneNode;

    #[test]
    fn journals_in_which_something_is_wrong_are_reported_and_not_measured() {
        let files = OneNode::new();
        let directory = files.roster.clone().into_directory().unwrap();
        let committee = Arc::new(directory.committee);
        // No reader gets through these.
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("settle-1"), b"no folder").unwrap();
        let nodes = [data.path().join("node-0")];
        std::fs::write(&nodes[0], b"no folder").unwrap();
        let measure = |verdicts| Checked::measure(verdicts, (data.path(), &nodes), &committee);
        assert!(measure(Verdicts::default()).is_err());
        let faults = vec!["settle-1: the header does not hold".to_owned()];
        let wrong = Verdicts {
            faults,
            ..Verdicts::default()
        };
        assert_eq!(measure(wrong.clone()).unwrap().verdicts, wrong);
    }
}
