//! One simulated node: an engine with its clock and disk, and what the shell around it must remember.

use super::byzantine::Byzantine;
use super::clock::Clock;
use super::disk::Disk;
use crate::engine::Engine;
use crate::types::AuthorityIndex;

/// A node: several may run one authority's key, when it is a twin.
pub(crate) struct Node {
    /// Whose key it has.
    pub(crate) authority: AuthorityIndex,
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// Its disk may have lost what counted as durable, and it has not found out what that was.
    pub(crate) distrusts: bool,
    /// What it does against the rules; none for a correct node.
    pub(crate) byzantine: Option<Byzantine>,
    /// It stops for good at some time.
    pub(crate) will_crash: bool,
    /// How often it crashed and came back: what an earlier life was told about its disk does not count.
    pub(crate) life: u64,
    /// What its earlier lives counted.
    pub(crate) before: Tally,
    /// It is running; what is sent to it is lost otherwise.
    pub(crate) is_up: bool,
    /// Spans of virtual time in which it stands still; what is sent to it waits.
    pub(crate) pauses: Vec<(u64, u64)>,
    /// Virtual time of the timer that counts, if one is set.
    pub(crate) timer_us: Option<u64>,
    /// When it last ran its timer.
    pub(crate) ticked_us: Option<u64>,
}

/// What is counted over all lives of a node; an engine counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// States taken over from peers.
    pub(crate) states_taken: u64,
    /// Batches taken from peers.
    pub(crate) batches_fetched: u64,
    /// Entries that were listed again at new positions.
    pub(crate) relisted: u64,
    /// Own vertices that it had lost and others had.
    pub(crate) adopted: u64,
    /// Bad shares of keys that it was dealt and has good ones in place of.
    pub(crate) shares_mended: u64,
}

impl Node {
    /// What all lives of it have counted so far.
    pub(crate) const fn tally(&self) -> Tally {
        let counters = self.engine.counters();
        Tally {
            states_taken: self.before.states_taken + counters.states_taken,
            batches_fetched: self.before.batches_fetched + counters.batches_fetched,
            relisted: self.before.relisted + counters.relisted,
            adopted: self.before.adopted + counters.vertices_adopted,
            shares_mended: self.before.shares_mended + counters.key_shares_mended,
        }
    }

    /// Whether it keeps the rules: what it says is judged.
    pub(crate) const fn is_honest(&self) -> bool {
        self.byzantine.is_none()
    }

    /// Whether it also stays: what it is given is promised.
    pub(crate) const fn is_correct(&self) -> bool {
        self.is_honest() && !self.will_crash
    }

    /// When it goes on, if it stands still now.
    pub(crate) fn stands_still_until(&self, now_us: u64) -> Option<u64> {
        let stands = |(from_us, to_us): &&(u64, u64)| (*from_us..*to_us).contains(&now_us);
        self.pauses.iter().find(stands).map(|(_, to_us)| *to_us)
    }
}
