//! Where a node's time goes, by step of the pipeline: summed wall time and item counts, taken once a poll and not per item.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Time and items of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Summed wall time, nanoseconds.
    pub ns: u64,
    /// Items handled in it.
    pub items: u64,
}

impl Step {
    /// Adds the time since `start` and `items`; gives the time now, the start of the next step.
    pub fn add_since(&mut self, start: Instant, items: u64) -> Instant {
        let now = Instant::now();
        self.ns += u64::try_from((now - start).as_nanos()).unwrap_or(u64::MAX);
        self.items += items;
        now
    }

    /// Adds another's figures.
    pub const fn add(&mut self, other: &Self) {
        self.ns += other.ns;
        self.items += other.items;
    }

    /// Mean time of an item; `None` when there was none.
    pub fn mean(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.ns.checked_div(self.items)?))
    }
}

/// The steps of the core stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreSteps {
    /// Decoding and screening submissions (envelopes).
    pub screen: Step,
    /// Envelope proofs (envelopes).
    pub proof: Step,
    /// Decoding messages and verifying vertex signatures (messages).
    pub verify: Step,
    /// The engine: DAG, commit, fair order, collecting shares (inputs).
    pub engine: Step,
    /// Cutting batches and making the own shares (polls).
    pub reveal: Step,
    /// Opening batches into the settlement ring (batches).
    pub open: Step,
    /// Encoding and handing on effects (effects).
    pub effects: Step,
}

impl CoreSteps {
    /// Adds another's figures, step by step.
    pub const fn add(&mut self, other: &Self) {
        self.screen.add(&other.screen);
        self.proof.add(&other.proof);
        self.verify.add(&other.verify);
        self.engine.add(&other.engine);
        self.reveal.add(&other.reveal);
        self.open.add(&other.open);
        self.effects.add(&other.effects);
    }

    /// Name and figures of each step, in order of the pipeline.
    pub fn named(&self) -> [(&'static str, Step); 7] {
        [
            ("screen", self.screen),
            ("proof", self.proof),
            ("verify", self.verify),
            ("engine", self.engine),
            ("reveal", self.reveal),
            ("open", self.open),
            ("effects", self.effects),
        ]
    }
}
