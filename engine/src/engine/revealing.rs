//! From emitted entries to batches that open, and asking for what is missing.
//!
//! What nobody gives, however often it is asked for, is *wanted in vain*; what then is the way on: see [`super::pausing`].
//!
//! I1: shares of at most [`SHARES_ASKED_MAX`] batches are asked for at once. I2: what waits here for an envelope or for
//! shares is bounded by holding back commits: see [`super::pausing`].

use super::*;

impl Engine {
    /// Cuts emissions whose envelopes are all here into batches and starts their reveal.
    pub(super) fn try_emit(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        while let Some(emission) = self.emissions.front() {
            let mut complete = true;
            for entry in &emission.entries {
                if self.table.find(&entry.digest).is_none() {
                    complete = false;
                    self.envelope_wants
                        .want_emitted(entry.digest, self.own, now);
                }
            }
            if !complete {
                return;
            }
            let emission = self.emissions.pop().expect("it is the front one");
            self.emit(emission, now, effects);
        }
    }

    fn emit(&mut self, emission: PendingEmission, now: TimestampUs, effects: &mut Vec<Effect>) {
        let first = self.reveal.next_seq();
        for plan in self.cut(emission, first) {
            self.place(plan.seq, &plan.envelopes, effects);
            self.start(plan, now, effects);
        }
    }

    /// Cuts an emission into batches, the first of which is `seq`.
    ///
    /// Panics when an envelope is missing: the caller has just looked.
    pub(super) fn cut(&mut self, emission: PendingEmission, seq: BatchSeq) -> Vec<BatchPlan> {
        let entries = emission.entries.iter();
        let held = entries.map(|entry| self.table.find(&entry.digest));
        let emitted = Emission {
            anchor_round: emission.anchor_round,
            time: emission.time,
            envelopes: held
                .map(|held| held.expect("every envelope is here").envelope.clone())
                .collect(),
            group_wait_cut: emission.group_wait_cut,
            cap_fired: emission.cap_fired,
            state_root: emission.state.as_ref().map(|state| state.root),
        };
        let plans = emitted.cut(seq);
        if let (Some(state), Some(last)) = (emission.state, plans.last()) {
            self.checkpoints.on_cut(last.seq, state);
        }
        plans
    }

    /// Starts the reveal of a batch that the order has just emitted.
    pub(super) fn start(&mut self, plan: BatchPlan, now: TimestampUs, effects: &mut Vec<Effect>) {
        let seq = plan.seq;
        self.are_share_wants_stale = true;
        if let Some(message) = self.reveal.start(plan, now) {
            effects.push(Effect::Broadcast(PeerMessage::Share(message)));
        }
        for message in self.reveal.take_early(seq) {
            self.on_share(message.author, message, effects);
        }
        self.note_ready(effects);
    }

    /// What must not be: shares for what an anchor lists.
    #[cfg(feature = "mutants")]
    pub(super) fn share_at_listing(&self, sub_dag: &SubDag, effects: &mut Vec<Effect>) {
        if !mutant::is(Mutant::SharesAtListing) {
            return;
        }
        let listed = sub_dag.appends.iter().flatten();
        let held = listed.filter_map(|entry| self.table.find(&entry.digest));
        let envelopes: Vec<_> = held.map(|held| held.envelope.clone()).collect();
        if let Some(message) = self.reveal.share_too_early(&envelopes) {
            effects.push(Effect::Broadcast(PeerMessage::Share(message)));
        }
    }

    /// Notes the final places and tells the clients.
    pub(super) fn place(
        &mut self,
        seq: BatchSeq,
        envelopes: &[VerifiedEnvelope],
        effects: &mut Vec<Effect>,
    ) {
        let mut items = Vec::new();
        for (index, envelope) in envelopes.iter().enumerate() {
            let index = index as u32;
            let held = self
                .table
                .find_mut(&envelope.digest())
                .expect("every envelope is here");
            held.phase = Phase::Ordered { seq, index };
            items.extend(held.clients.iter().map(|client| (*client, index)));
        }
        if !items.is_empty() {
            effects.push(Effect::Ordered { seq, items });
        }
    }

    pub(super) fn on_share(
        &mut self,
        from: AuthorityIndex,
        message: Box<ShareMessage>,
        effects: &mut Vec<Effect>,
    ) {
        match self.reveal.on_share(from, message) {
            Ok(ready) => {
                self.counters.shares_taken += 1;
                if ready {
                    self.are_share_wants_stale = true;
                    self.note_ready(effects);
                }
            }
            Err(ShareFault::Late) => self.counters.shares_late += 1,
            Err(ShareFault::TooEarly | ShareFault::Foreign) => self.counters.shares_refused += 1,
            Err(ShareFault::Refused(_, error)) if error.is_evidence() => {
                self.counters.shares_bad_proof += 1;
            }
            Err(ShareFault::Refused(..)) => self.counters.shares_refused += 1,
        }
    }

    pub(super) fn on_want_share(
        &mut self,
        from: AuthorityIndex,
        seq: BatchSeq,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.requests_taken += 1;
        match self.reveal.own_message(seq) {
            Some(bytes) => effects.push(Effect::Send {
                to: from,
                message: PeerMessage::Share(bytes),
            }),
            None => self.counters.requests_unknown += 1,
        }
    }

    pub(super) fn note_ready(&self, effects: &mut Vec<Effect>) {
        if self.ready_len_max().is_some() {
            effects.push(Effect::BatchReady {
                seq: self.next_open_seq(),
            });
        }
    }

    pub(super) fn try_fetch(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        for (to, digests) in self.envelope_wants.take_due(now, FETCH_BATCH_MAX) {
            self.counters.envelope_requests += 1;
            effects.push(Effect::Send {
                to,
                message: PeerMessage::WantEnvelopes(digests),
            });
        }
        self.try_want_again(now);
        for (to, vertices) in self.vertex_wants.take_due(now, FETCH_BATCH_MAX) {
            self.counters.vertex_requests += 1;
            effects.push(Effect::Send {
                to,
                message: PeerMessage::WantVertices(vertices),
            });
        }
        self.try_fetch_shares(now, effects);
    }

    /// Shares come by broadcast; a batch that has waited for them is asked for: at once only the lowest that lack some,
    /// of each as many peers as it needs, in turn, and less often with every asking. O(1) unless one is due, or a batch has
    /// begun to lack shares or stopped to.
    fn try_fetch_shares(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let is_due = self.shares_due.is_some_and(|at| at <= now);
        if !std::mem::take(&mut self.are_share_wants_stale) && !is_due {
            return;
        }
        let retry_us = self.config.fetch_retry_us;
        let before = std::mem::take(&mut self.share_wants);
        let peers = self.committee.thresholds().authorities() - 1;
        for lacking in self.reveal.lacking().take(SHARES_ASKED_MAX) {
            let first = ShareWant {
                attempts: 0,
                due: lacking.started.plus_us(retry_us),
            };
            let mut want = before.get(&lacking.seq).copied().unwrap_or(first);
            if now >= want.due && peers > 0 {
                let own = u32::from(self.own.0);
                let turns = (0..peers).map(|turn| 1 + (turn + want.attempts) % peers);
                let authorities =
                    turns.map(|turn| AuthorityIndex(((own + turn) % (peers + 1)) as u8));
                let asked = authorities.filter(|peer| !lacking.done_with.contains(*peer));
                for to in asked.take(lacking.shares as usize) {
                    self.counters.share_requests += 1;
                    effects.push(Effect::Send {
                        to,
                        message: PeerMessage::WantShare(lacking.seq),
                    });
                }
                let doublings = (want.attempts / peers).min(SHARES_BACK_OFF_DOUBLINGS_MAX);
                want.attempts += 1;
                want.due = now.plus_us(retry_us << doublings);
            }
            self.share_wants.insert(lacking.seq, want);
        }
        self.shares_due = self.share_wants.values().map(|want| want.due).min();
    }

    /// Whether the next batch to open lacks shares that every peer was asked for and that did not come.
    pub(super) fn lacks_shares_in_vain(&self) -> bool {
        let next = BatchSeq(self.reveal.settled().0);
        let want = self.share_wants.get(&next);
        want.is_some_and(|want| want.attempts >= self.attempts_in_vain())
    }

    /// Whether what the order has emitted next lacks envelopes that every peer was asked for and that did not come.
    pub(super) fn lacks_envelopes_in_vain(&self) -> bool {
        // Not before all before it is open, or does not open here: until then nothing waits for it.
        let is_next = || self.reveal.active_len() == 0 || self.lacks_shares_in_vain();
        let Some(front) = self.emissions.front().filter(|_| is_next()) else {
            return false;
        };
        let most = self.attempts_in_vain();
        let mut attempts = front.entries.iter();
        let in_vain = |digest| self.envelope_wants.attempts(digest) >= Some(most);
        attempts.any(|entry| in_vain(&entry.digest))
    }

    /// So often something is asked for before it seems that nobody gives it: each peer once, and some seconds long.
    fn attempts_in_vain(&self) -> u32 {
        let peers = self.committee.thresholds().authorities() - 1;
        IN_VAIN_ATTEMPTS_MIN.max(2 * peers)
    }
}

/// Batches whose shares are asked for at one time at most.
pub const SHARES_ASKED_MAX: usize = 64;
/// At the default wait for an answer, and with its doublings, some three seconds.
const IN_VAIN_ATTEMPTS_MIN: u32 = 16;
/// The wait between two askings for one batch doubles each time that every peer had its turn, at most this often.
const SHARES_BACK_OFF_DOUBLINGS_MAX: u32 = 3;
