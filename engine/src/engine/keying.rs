//! The committee's keys: generations are fed with what anchors commit, and own vertices carry what they want said.
//!
//! What is wanted is said once, in the next own vertex, and again only when that vertex has fallen below the floor without
//! being committed, or something else is wanted.

use super::*;

impl Engine {
    /// Takes in what an anchor commits of control sections.
    pub(super) fn advance_keys(&mut self, sub_dag: &SubDag) {
        let version = self.keys.version();
        let events = self
            .keys
            .on_anchor(sub_dag.index, sub_dag.consensus_time, &sub_dag.controls);
        for event in events {
            match event {
                KeyEvent::Made {
                    has_share, mended, ..
                } => {
                    self.counters.keys_made += 1;
                    self.counters.key_shares_mended += u64::from(mended);
                    self.counters.keys_without_share += u64::from(!has_share);
                }
                KeyEvent::Assured => self.counters.key_shares_assured += 1,
                KeyEvent::Failed { .. } => self.counters.key_generations_failed += 1,
                KeyEvent::Ended { .. } => self.counters.keys_ended += 1,
                KeyEvent::Refused { .. } => self.counters.key_messages_refused += 1,
            }
        }
        // An emission that waits for its envelopes may need a key that has ended.
        if self.emissions.front().is_none() {
            self.keys.drop_ended();
        }
        if self.keys.version() != version {
            self.reveal.set_keys(self.keys.keys());
        }
    }

    /// What the next own vertex, of `round`, says.
    pub(super) fn control(&mut self, round: Round) -> Option<Arc<[u8]>> {
        let wanted = self.keys.wanted()?;
        let floor = self.committer.floor();
        let is_said = |(said, bytes): &(Round, Arc<[u8]>)| *said > floor && *bytes == wanted;
        if self.said.as_ref().is_some_and(is_said) {
            return None;
        }
        self.said = Some((round, wanted.clone()));
        Some(wanted)
    }
}
