//! Who leads a round: round robin, less those who were seen not to deliver; and how the rounds of a wave are called.
//!
//! The leader's vertex stands in round r, votes for it in r + 1, certificates in r + 2; later anchors decide from
//! r + 3 on. One leader a round, from round 1 (round 0 is implicit and has nothing to commit).
//!
//! A schedule changes with what the committer outputs, slot by slot in order, and with nothing else:
//!
//! - a slot that is skipped puts its leader out: the first miss is enough;
//! - an author whose fork an anchor shows is put out for the rest of the epoch;
//! - an anchor counts as one delivery of each of those who are out and have a vertex in its sub-DAG that is not older
//!   than three rounds: had it been a leader's, that anchor might have decided its slot. With enough deliveries
//!   (`leader_return_anchors`, doubled for each time that it was put out before and did not make up for,
//!   [`DOUBLINGS_MAX`] times at most) it is back. An anchor of its own makes up for one time. What somebody signs who
//!   catches up counts for nothing, as long as it is old.
//!
//! At most f are out, so at least q lead. When f are out and another misses, the one with the most deliveries comes back in
//! its place; when none of them has delivered since, they are as good as dead and the other stays.
//!
//! Slots of an authority that is out go in turn to those that are in; nobody else's slot moves.
//!
//! Sources: Spiegelman et al., Shoal, FC 2024 (a change takes effect right behind the anchor that causes it, and later slots
//! are judged anew); Tsimos et al., HammerHead, ICDCS 2024, and Sui's leader swap table (scores from committed
//! vertices, changes every some hundred commits). Departs: no windows. A window lets a crashed leader cost a timeout in
//! each rotation until the window ends; here it costs one, and one more each time that it comes back.
//!
//! Invariants. I1: the schedule for the slot of round r is a function of the outcomes of the slots below r and of the
//! anchors among them; so every node that outputs the same sequence has the same one, and by induction every node
//! outputs the same sequence: for any one schedule the commit rule is safe, whoever leads and whoever waited for whom.
//! I2: at most f authorities are out.
//!
//! Cost: `leader` O(1) while nobody is out, else O(n); an outcome O(n).

use crate::commit::history::SubDag;
use crate::committee::{Committee, Thresholds};
use crate::dag::header::VertexRef;
use crate::types::{AuthorityIndex, AuthoritySet, Round};
use crate::wire::{DecodeError, Reader, Writer};

/// Who leads which round from the next slot on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    thresholds: Thresholds,
    return_anchors: u32,
    records: Vec<LeaderRecord>,
    out: AuthoritySet,
    forked: AuthoritySet,
    changes: u64,
}

/// What the sequence says of one authority as a leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeaderRecord {
    /// Times that it was put out and did not make up for, at most [`DOUBLINGS_MAX`].
    strikes: u8,
    /// While it is out: anchors that committed a fresh vertex of it.
    delivered: u32,
}

impl Schedule {
    /// Everybody leads in turn: the schedule at the start of the epoch.
    pub fn new(committee: &Committee) -> Self {
        let thresholds = committee.thresholds();
        Self {
            thresholds,
            return_anchors: committee.parameters.leader_return_anchors,
            records: vec![LeaderRecord::default(); thresholds.authorities() as usize],
            out: AuthoritySet::EMPTY,
            forked: AuthoritySet::EMPTY,
            changes: 0,
        }
    }

    /// The leader of `round`; none in round 0.
    ///
    /// Final for the slots that the committer has output and the next one; for later rounds what is planned now.
    pub fn leader(&self, round: Round) -> Option<AuthorityIndex> {
        if round < FIRST_LED_ROUND {
            return None;
        }
        let n = u64::from(self.thresholds.authorities());
        // Both remainders are below n, which fits a u8.
        let regular = AuthorityIndex((round.0 % n) as u8);
        if !self.out.contains(regular) {
            return Some(regular);
        }
        // In turn over rotations, and apart for two that are out in the same one.
        let turn = (round.0 / n + u64::from(regular.0)) % (n - u64::from(self.out.len()));
        self.leading().nth(turn as usize)
    }

    /// Who has no slots at present.
    pub const fn out(&self) -> AuthoritySet {
        self.out
    }

    /// How often somebody left or came back, since the start of the epoch.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes in that the next slot, of `leader`, has no anchor. Gives whether the schedule is another one now.
    pub(crate) fn on_skip(&mut self, leader: AuthorityIndex) -> bool {
        if self.is_full() {
            match self.most_delivered() {
                Some((back, delivered)) if delivered > 0 => self.readmit(back),
                _ => return false,
            }
        }
        self.put_out(leader)
    }

    /// Takes in that the next slot has an anchor, with what it commits. Gives whether the schedule is another one now.
    pub(crate) fn on_anchor(&mut self, sub_dag: &SubDag) -> bool {
        let leader = sub_dag.anchor.author;
        assert!(!self.out.contains(leader), "whoever is out leads no slot");
        let changes = self.changes;
        let strikes = &mut self.records[leader.as_usize()].strikes;
        *strikes = strikes.saturating_sub(1);
        let fresh =
            |vertex: &&VertexRef| first_deciding_anchor(vertex.round) >= sub_dag.anchor.round;
        let mut delivered = AuthoritySet::EMPTY;
        for vertex in sub_dag.vertices.iter().rev().take_while(fresh) {
            delivered.insert(vertex.author);
        }
        for author in self.out.iter() {
            if !self.forked.contains(author) && delivered.contains(author) {
                let record = &mut self.records[author.as_usize()];
                record.delivered += 1;
                // The strike for which it is out doubles nothing yet.
                if record.delivered >= self.return_anchors << (record.strikes - 1) {
                    self.readmit(author);
                }
            }
        }
        for author in &sub_dag.new_forks {
            self.forked.insert(*author);
            self.records[author.as_usize()].delivered = 0;
            if !self.out.contains(*author)
                && self.is_full()
                && let Some((back, _)) = self.most_delivered()
            {
                self.readmit(back);
            }
            // Beyond f forks nothing is promised; at least q go on leading.
            if !self.is_full() {
                self.put_out(*author);
            }
        }
        self.changes != changes
    }

    /// Appends the state to `out`: strikes u8 and delivered u32 an authority, then who is out and who forked.
    pub fn encode_state(&self, out: &mut Writer<'_>) {
        for (author, record) in self.thresholds.members().zip(&self.records) {
            let standing =
                u8::from(self.out.contains(author)) | u8::from(self.forked.contains(author)) << 1;
            out.u8(standing).u8(record.strikes).u32(record.delivered);
        }
        out.u64(self.changes);
    }

    /// Reads what [`Self::encode_state`] wrote for a committee of the same size and parameters.
    ///
    /// Errors: too few bytes, or a state that no sequence leads to.
    pub fn decode_state(
        reader: &mut Reader<'_>,
        committee: &Committee,
    ) -> Result<Self, DecodeError> {
        let mut schedule = Self::new(committee);
        for author in schedule.thresholds.members() {
            let (standing, strikes, delivered) = (reader.u8()?, reader.u8()?, reader.u32()?);
            let (out, forked) = (standing & OUT != 0, standing & FORKED != 0);
            let possible = standing <= OUT | FORKED
                && strikes <= DOUBLINGS_MAX + 1
                && (out || delivered == 0)
                && (!out || strikes > 0)
                && (!forked || delivered == 0);
            let needed = schedule.return_anchors << strikes.saturating_sub(1).min(DOUBLINGS_MAX);
            if !possible || delivered >= needed {
                return Err(DecodeError::NotCanonical("leader record"));
            }
            schedule.records[author.as_usize()] = LeaderRecord { strikes, delivered };
            if out {
                schedule.out.insert(author);
            }
            if forked {
                schedule.forked.insert(author);
            }
        }
        if schedule.out.len() > schedule.thresholds.faulty_max() {
            return Err(DecodeError::NotCanonical("leaders out"));
        }
        schedule.changes = reader.u64()?;
        Ok(schedule)
    }

    /// Who has slots, ascending.
    fn leading(&self) -> impl Iterator<Item = AuthorityIndex> {
        let members = self.thresholds.members();
        members.filter(|author| !self.out.contains(*author))
    }

    const fn is_full(&self) -> bool {
        self.out.len() >= self.thresholds.faulty_max()
    }

    /// Of those who are out and have not forked, the one with the most deliveries; of equals the least index.
    fn most_delivered(&self) -> Option<(AuthorityIndex, u32)> {
        let out = self
            .out
            .iter()
            .filter(|author| !self.forked.contains(*author));
        out.map(|author| (author, self.records[author.as_usize()].delivered))
            .max_by_key(|(author, delivered)| (*delivered, std::cmp::Reverse(*author)))
    }

    fn put_out(&mut self, author: AuthorityIndex) -> bool {
        let fresh = self.out.insert(author);
        let record = &mut self.records[author.as_usize()];
        record.delivered = 0;
        if fresh {
            record.strikes = (record.strikes + 1).min(DOUBLINGS_MAX + 1);
            self.changes += 1;
        }
        fresh
    }

    fn readmit(&mut self, author: AuthorityIndex) {
        self.out.remove(author);
        self.records[author.as_usize()].delivered = 0;
        self.changes += 1;
    }
}

/// The round whose vertices vote for the leader of `led`.
pub const fn voting_round(led: Round) -> Round {
    led.plus(1)
}

/// The round whose vertices certify the leader of `led`.
pub const fn certifying_round(led: Round) -> Round {
    led.plus(2)
}

/// The first round whose anchor can decide the slot of `led` through its history.
pub const fn first_deciding_anchor(led: Round) -> Round {
    led.plus(3)
}

/// The first round with a leader.
pub const FIRST_LED_ROUND: Round = Round(1);

/// How often the deliveries that a leader comes back with double.
pub const DOUBLINGS_MAX: u8 = 6;

const OUT: u8 = 1;
const FORKED: u8 = 2;

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
