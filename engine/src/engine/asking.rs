//! A node that may have lost the end of its journal asks its peers for its newest vertex before it makes another.
//!
//! With durability async, records count as durable before they are, so the loss of power may take vertices that were sent. A
//! second vertex in their place would be a fork. Hence: after such a stop nothing is proposed until q authorities, this one
//! among them, have said which of its vertices is the newest they have; what they have is taken over, recorded, and followed.
//!
//! Who asks answers, too: when all start at once, all are answered. What a peer gets after it has answered (a message on its
//! way, made before the asker's new life by its time) it sends on. Whoever has lost power itself answers by what it has left: what nobody has left nobody
//! can hold against its author.
//!
//! Limits. q answers do not cover everybody: a vertex that only those got who do not answer is not heard of. So all are waited
//! for, [`ASK_RETRIES_MAX`] retries long, and q are enough only then. An authority that was away for all of it, or a faulty one
//! that keeps silent, may still come with a vertex that contradicts the new ones: its author is then out of the order for the
//! epoch, as if it were faulty. Agreement does not depend on it.

use super::*;

/// The question, as long as it is open.
#[derive(Debug)]
pub(super) struct Asking {
    /// Names this life; the time at which it began to ask.
    token: TimestampUs,
    answered: AuthoritySet,
    again: TimestampUs,
    /// The newest own vertex that anybody has, and who.
    newest: Option<(AuthorityIndex, VerifiedVertex)>,
}

/// What a peer that asked was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    token: TimestampUs,
    round: Round,
}

impl Engine {
    /// Says that the records may lack some at their end that had counted as durable: to be called before anything else when
    /// the engine is recovered from such.
    pub fn distrust_records(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        self.asking = Some(Asking {
            token: now,
            answered: AuthoritySet::EMPTY,
            again: now,
            newest: None,
        });
        self.try_ask(now, effects);
    }

    /// Whether nothing is proposed yet because peers are asked for the newest own vertex.
    pub const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn asking_due(&self) -> Option<TimestampUs> {
        self.asking.as_ref().map(|asking| asking.again)
    }

    /// Asks, again, and ends asking when enough is known.
    pub(super) fn try_ask(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let Some(asking) = &self.asking else {
            return;
        };
        if asking.again > now {
            return;
        }
        let newest = asking.newest.clone();
        if let Some((holder, vertex)) = newest
            && vertex.round() >= self.proposer.round
        {
            match vertex.round() <= self.dag.floor() {
                true => self.adopt_own(&vertex, effects),
                // It waits for its parents, or had no room.
                false => self.on_vertex(now, holder, vertex, effects),
            }
        }
        if self.knows_enough(now) {
            self.asking = None;
            return;
        }
        let retry_us = self.config.fetch_retry_us;
        let Some(asking) = &mut self.asking else {
            return;
        };
        asking.again = now.plus_us(retry_us);
        let token = asking.token;
        let unanswered = self.committee.thresholds().members();
        let unanswered = unanswered.filter(|peer| !asking.answered.contains(*peer));
        for to in unanswered.filter(|peer| *peer != self.own) {
            let message = PeerMessage::WantNewest { token };
            effects.push(Effect::Send { to, message });
        }
    }

    fn knows_enough(&self, now: TimestampUs) -> bool {
        let Some(asking) = &self.asking else {
            return true;
        };
        let thresholds = self.committee.thresholds();
        let answers = asking.answered.len() + 1;
        let waited_us = now.since_us(asking.token);
        let retry_us = self.config.fetch_retry_us;
        let is_enough = match answers >= thresholds.authorities() {
            true => waited_us >= ASK_RETRIES_MIN * retry_us,
            false => answers >= thresholds.quorum() && waited_us >= ASK_RETRIES_MAX * retry_us,
        };
        let newest = asking.newest.as_ref().map(|(_, vertex)| vertex.round());
        is_enough && newest.is_none_or(|newest| newest < self.proposer.round)
    }

    /// An own vertex that the records lack: the next one follows it.
    pub(super) fn adopt_own(&mut self, vertex: &VerifiedVertex, effects: &mut Vec<Effect>) {
        let (round, entries) = (vertex.round(), vertex.entries());
        self.persist(Record::OwnVertex(vertex.bytes().clone()), effects);
        self.counters.vertices_adopted += 1;
        // In another order than they were received in, as far as they are here again at all.
        self.counters.relisted += entries.len() as u64;
        self.local.relist(round, vertex.first_position(), entries);
        if self.committer.is_committed(&vertex.reference()) || round <= self.dag.floor() {
            self.local.on_committed(round);
        }
        self.proposer.round = round.next();
        self.proposer.last = Some(vertex.reference());
        self.proposer.last_timestamp = vertex.timestamp();
        self.proposer.entered = None;
        self.dag.remember_own(vertex.clone());
    }

    /// A peer asks for its newest vertex.
    pub(super) fn on_want_newest(
        &mut self,
        from: AuthorityIndex,
        token: TimestampUs,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.requests_taken += 1;
        let newest = self.dag.newest_here(from);
        let round = newest.map_or(Round(0), |vertex| vertex.round());
        let vertex = newest.map(|vertex| vertex.bytes().clone());
        self.told[from.as_usize()] = Some(Told { token, round });
        let message = PeerMessage::Newest { token, vertex };
        effects.push(Effect::Send { to: from, message });
    }

    /// A vertex came: if its author has asked and was told of an older one, it hears of this one, too.
    pub(super) fn tell_author(&mut self, vertex: &VerifiedVertex, effects: &mut Vec<Effect>) {
        let told = &mut self.told[vertex.author().as_usize()];
        let Some(Told { token, round }) = told else {
            return;
        };
        if vertex.timestamp() >= *token {
            // Made after it asked: it goes on.
            *told = None;
            return;
        }
        if vertex.round() <= *round {
            return;
        }
        *round = vertex.round();
        let message = PeerMessage::Newest {
            token: *token,
            vertex: Some(vertex.bytes().clone()),
        };
        let to = vertex.author();
        effects.push(Effect::Send { to, message });
    }

    /// A peer says which own vertex is the newest it has.
    pub(super) fn on_newest(
        &mut self,
        now: TimestampUs,
        from: AuthorityIndex,
        token: TimestampUs,
        vertex: Option<VerifiedVertex>,
        effects: &mut Vec<Effect>,
    ) {
        let own = self.own;
        let Some(asking) = &mut self.asking else {
            return;
        };
        if asking.token != token || vertex.as_ref().is_some_and(|vertex| vertex.author() != own) {
            self.counters.newest_refused += 1;
            return;
        }
        asking.answered.insert(from);
        let Some(vertex) = vertex else {
            return;
        };
        let known = asking.newest.as_ref().map(|(_, known)| known.round());
        if known.is_none_or(|known| known < vertex.round()) {
            asking.newest = Some((from, vertex.clone()));
        }
        if vertex.round() >= self.proposer.round {
            self.on_vertex(now, from, vertex, effects);
        }
    }
}

/// All are waited for so many retries long at least, so that what is on its way arrives.
const ASK_RETRIES_MIN: u64 = 4;
/// After so many retries a quorum is enough.
pub const ASK_RETRIES_MAX: u64 = 40;
