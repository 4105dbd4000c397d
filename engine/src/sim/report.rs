//! What came of a run.

use super::check::Failure;
use super::check::law::LawTally;
use super::latency::Mean;

/// What came of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first broken promise, if any.
    pub failure: Option<Failure>,
    /// Size of the committee.
    pub n: u8,
    /// Hash of everything that happened: equal for equal seeds.
    pub trace: [u8; 32],
    /// Virtual time that passed, microseconds.
    pub virtual_us: u64,
    /// Happenings.
    pub events: u64,
    /// The highest round of a correct node.
    pub rounds: u64,
    /// Anchors committed (one sequence, however many nodes).
    pub commits: u64,
    /// Batches settled.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// Of those promised, the longest that one took to settle, in rounds.
    pub rounds_worst: u64,
    /// Within how many rounds each had to.
    pub rounds_max: u64,
    /// How many were promised and settled after the last fault.
    pub promised: u64,
    /// Rounds that those took in all.
    pub rounds_sum: u64,
    /// 1 when the fair order's law was judged: too many nodes may have listed entries again.
    pub laws_judged: u64,
    /// The fair order's law.
    pub law: LawTally,
    /// Anchors output by correct nodes that were judged by the plain commit rule.
    pub judged: u64,
    /// 1 where the definition of the fair order gave up, because too much was pending at once; else 0.
    pub gave_up: u64,
    /// Share messages of correct nodes, each judged.
    pub shares: u64,
    /// Forks that correct nodes hold evidence of, most on one node.
    pub forks: u64,
    /// Shares found not to hold, on all correct nodes.
    pub shares_bad: u64,
    /// From sending to commit at each correct node: vertices of leaders.
    pub leader_latency: Mean,
    /// The same, all vertices of correct authorities.
    pub vertex_latency: Mean,
    /// Restarts of nodes from their durable records.
    pub restarts: u64,
    /// Losses of power, each of one or more nodes at once.
    pub power_losses: u64,
    /// Own vertices that nodes had lost with their power, and took over from others.
    pub adopted: u64,
    /// Starts of nodes from a snapshot and a part of their records.
    pub snapshot_starts: u64,
    /// Receipts that correct nodes gave, each judged.
    pub receipts: u64,
    /// States that correct nodes took over from peers.
    pub states_taken: u64,
    /// Batches that correct nodes took from peers.
    pub batches_fetched: u64,
    /// Times that a node read batches, or headers of batches, from its disk for peers.
    pub loads: u64,
    /// Sealing keys that the committee made.
    pub keys_made: u64,
    /// Shares that dealers proved to be good because their receivers did not acknowledge them, most on one node.
    pub shares_assured: u64,
    /// Bad shares that correct nodes were dealt and have good ones in place of, by such proofs.
    pub shares_mended: u64,
    /// Void entries.
    pub void: u64,
}
