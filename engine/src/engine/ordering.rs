//! Vertices accepted, anchors committed, entries put into the fair order.

use super::*;
use crate::seal::envelope::ENVELOPE_LEN_MAX;

impl Engine {
    pub(super) fn on_vertex(
        &mut self,
        now: TimestampUs,
        from: AuthorityIndex,
        vertex: VerifiedVertex,
        effects: &mut Vec<Effect>,
    ) {
        self.vertex_wants.forget(&vertex.reference());
        self.syncing.saw(&vertex);
        self.tell_author(&vertex, effects);
        if self.is_held_off(vertex.round()) {
            self.counters.vertices_held_off += 1;
            return;
        }
        match self.dag.insert(vertex) {
            Inserted::Accepted(accepted) => self.on_accepted(now, accepted, effects),
            Inserted::Pending { missing } => {
                self.counters.vertices_waiting += 1;
                let due = now.plus_us(self.config.fetch_grace_us);
                for parent in missing.iter().filter(|parent| !self.dag.is_waiting(parent)) {
                    if !self.vertex_wants.want(*parent, from, due) {
                        self.counters.wants_refused += 1;
                    }
                }
            }
            Inserted::Known => self.counters.vertices_known += 1,
            Inserted::BelowFloor => self.counters.vertices_below_floor += 1,
            Inserted::Refused(_) => self.counters.vertices_refused += 1,
        }
        let dag = self.dag.counters();
        self.counters.vertices_dropped = dag.displaced + dag.dropped_with_parent;
    }

    /// Asks for what vertices wait for, whatever became of an earlier asking.
    ///
    /// A vertex that came is not asked for any more; yet it may have been refused because its author had too many waiting,
    /// or displaced by a lower one, or not been noted because too many were missing. Who waits for it is here already and
    /// does not name it anew, so nothing but this look brings it. O(missing) every `fetch_retry_us` while a vertex waits.
    pub(super) fn try_want_again(&mut self, now: TimestampUs) {
        if self.dag.pending_len() == 0 {
            self.rewant_at = None;
            return;
        }
        let at = self
            .rewant_at
            .get_or_insert(now.plus_us(self.config.fetch_retry_us));
        if now < *at {
            return;
        }
        *at = now.plus_us(self.config.fetch_retry_us);
        for missing in self.dag.missing() {
            let is_noted = self.vertex_wants.is_wanted(&missing.reference);
            if let Some(holder) = missing.cited_by.iter().next().filter(|_| !is_noted)
                && self.vertex_wants.want(missing.reference, holder, now)
            {
                self.counters.vertices_wanted_again += 1;
            }
        }
    }

    pub(super) fn on_accepted(
        &mut self,
        now: TimestampUs,
        accepted: Vec<VerifiedVertex>,
        effects: &mut Vec<Effect>,
    ) {
        self.note_accepted(now, &accepted, effects);
        if !self.is_full() {
            self.paused_since = None;
        }
        while !self.is_full() && self.commit_next(now, effects) {}
        self.note_paused(now);
        self.counters.forks = u64::from(self.dag.forked().len());
    }

    /// Commits the next anchor; false when none is decided.
    ///
    /// That raises the floor, which may let further vertices in, which may let more commit.
    pub(super) fn commit_next(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) -> bool {
        let Some(sub_dag) = self.committer.advance_one(&self.dag) else {
            return false;
        };
        self.on_sub_dag(&sub_dag, effects);
        let accepted = self.raise_floor();
        self.note_accepted(now, &accepted, effects);
        true
    }

    pub(super) fn note_accepted(
        &mut self,
        now: TimestampUs,
        accepted: &[VerifiedVertex],
        effects: &mut Vec<Effect>,
    ) {
        for vertex in accepted {
            let reference = vertex.reference();
            self.vertex_wants.forget(&reference);
            if vertex.author() != self.own {
                self.counters.vertices_accepted += 1;
                self.persist(Record::Vertex(vertex.bytes().clone()), effects);
                self.compare_settled(vertex);
            } else if self.is_asking() && vertex.round() >= self.proposer.round {
                self.adopt_own(vertex, effects);
            }
            let settled = self.settled().0;
            let signed = vertex.signed_header();
            self.checkpoints.on_vertex(signed, settled, &self.committee);
            if vertex.entries().is_empty() || self.committer.is_committed(&reference) {
                continue;
            }
            self.uncommitted_with_entries.insert(reference);
            let due = now.plus_us(self.config.fetch_grace_us);
            for entry in vertex.entries() {
                if self.table.find(&entry.digest).is_none() {
                    self.want_envelope(entry, vertex.author(), due);
                }
            }
        }
    }

    /// Notes that an envelope which a vertex lists is missing, unless it has expired.
    pub(super) fn want_envelope(
        &mut self,
        entry: &Entry,
        holder: AuthorityIndex,
        due: TimestampUs,
    ) {
        let latest = self.consensus_time.plus_us(PEER_TIME_AHEAD_US_MAX);
        // What is valid for longer no correct authority lists, and nobody takes.
        if !(self.consensus_time..=latest).contains(&entry.valid_until) {
            return;
        }
        if self.envelope_wants.want(entry.digest, holder, due) {
            self.want_expiries.insert((entry.valid_until, entry.digest));
        } else {
            self.counters.wants_refused += 1;
        }
    }

    /// Forgets missing envelopes that have expired, unless the order has emitted them.
    fn forget_expired_wants(&mut self) {
        while let Some((until, digest)) = self.want_expiries.first().copied()
            && until < self.consensus_time
        {
            self.want_expiries.pop_first();
            if !self.is_emitted(&digest) {
                self.envelope_wants.forget(&digest);
            }
        }
    }

    /// Lets go of what no further sub-DAG takes in; gives the vertices that are accepted by that.
    pub(super) fn raise_floor(&mut self) -> Vec<VerifiedVertex> {
        let floor = self.committer.floor();
        self.counters.relisted += self.local.on_floor(floor) as u64;
        let lowest_kept = VertexRef {
            round: floor.next(),
            author: AuthorityIndex(0),
            digest: Digest([0; 32]),
        };
        self.uncommitted_with_entries = self.uncommitted_with_entries.split_off(&lowest_kept);
        self.vertex_wants.forget_below(&lowest_kept);
        self.dag.raise_floor(floor)
    }

    pub(super) fn on_sub_dag(&mut self, sub_dag: &SubDag, effects: &mut Vec<Effect>) {
        self.counters.anchors += 1;
        self.consensus_time = sub_dag.consensus_time;
        self.persist(Record::Anchor(encode_anchor(sub_dag).into()), effects);
        for vertex in &sub_dag.vertices {
            self.uncommitted_with_entries.remove(vertex);
            if vertex.author == self.own {
                self.local.on_committed(vertex.round);
            }
        }
        #[cfg(feature = "mutants")]
        self.share_at_listing(sub_dag, effects);
        self.advance_keys(sub_dag);
        let ordered = self.fair.step_ordered(&Anchor {
            consensus_time: match mutant::is(Mutant::LocalExpiry) {
                true => self.proposer.last_timestamp,
                false => sub_dag.consensus_time,
            },
            tie_seed: tie_seed(sub_dag),
            appends: &sub_dag.appends,
        });
        for entry in &ordered.dropped {
            // A listing that comes after its pair was emitted is dropped too; the emission still needs the bytes.
            if self.is_emitted(&entry.digest) {
                continue;
            }
            self.counters.dropped += 1;
            self.envelope_wants.forget(&entry.digest);
            if let Some(held) = self.table.find_mut(&entry.digest)
                && held.entry() == *entry
                && held.phase == Phase::Pending
            {
                held.phase = Phase::Dropped;
            }
        }
        self.counters.group_wait_cut += u64::from(ordered.group_wait_cut);
        self.counters.cap_fired += u64::from(ordered.cap_fired);
        self.count_fair();
        let entries = ordered.entries;
        if sub_dag.state.is_some() {
            self.mark_checkpoint(sub_dag.anchor.round);
        }
        let state = sub_dag.state.as_deref().map(|committed| {
            let parts = (committed, &self.fair, &self.keys);
            State::new(&self.committee, sub_dag.anchor.round, parts)
        });
        // A checkpoint that emits nothing is an empty batch, so that an idle committee has checkpoints, too.
        if !entries.is_empty() || state.is_some() {
            let held = entries.iter().map(|entry| self.table.find(&entry.digest));
            let lens =
                held.map(|held| held.map_or(ENVELOPE_LEN_MAX, |held| held.envelope.bytes().len()));
            self.emissions.push(PendingEmission {
                anchor_round: sub_dag.anchor.round,
                time: sub_dag.consensus_time,
                bytes: lens.sum(),
                entries,
                group_wait_cut: ordered.group_wait_cut,
                cap_fired: ordered.cap_fired,
                state,
            });
        }
        self.purge_table();
        self.forget_expired_wants();
    }

    /// Takes over what the fair order counted of its last step.
    fn count_fair(&mut self) {
        let stats = self.fair.take_stats();
        let counters = &mut self.counters;
        counters.emitted += stats.emitted;
        counters.deferred += stats.deferred;
        counters.deferred_anchors += stats.deferred_anchors;
        counters.deferred_anchors_max = counters
            .deferred_anchors_max
            .max(stats.deferred_anchors_max);
        counters.cycles += stats.cycles;
        counters.cycle_entries += stats.cycle_pairs;
        counters.cycle_entries_max = counters.cycle_entries_max.max(stats.cycle_pairs_max);
        counters.cycles_oversized += stats.groups_oversized;
    }

    /// A peer that settled another header at the same seq has diverged, or we have.
    pub(super) fn compare_settled(&mut self, vertex: &VerifiedVertex) {
        let settled = vertex.settled();
        let Some(last) = settled.count.checked_sub(1) else {
            return;
        };
        let ours = self.header_hash(BatchSeq(last));
        if ours.is_some_and(|hash| hash != settled.hash) {
            self.counters.divergence += 1;
        }
    }

    /// Hash of the header of an opened batch, while it is kept.
    pub(super) fn header_hash(&self, seq: BatchSeq) -> Option<Sha256Hash> {
        let (first, _) = self.header_hashes.front()?;
        let at = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        let (_, hash) = self.header_hashes.get(at)?;
        Some(*hash)
    }

    /// Gives what is asked for; to a peer that lacks more than that, also the oldest that it lacks: asking round by round
    /// downwards it would never catch up with a committee at full pace.
    pub(super) fn on_want_vertices(
        &mut self,
        from: AuthorityIndex,
        vertices: &[VertexRef],
        effects: &mut Vec<Effect>,
    ) {
        self.counters.requests_taken += 1;
        let newest = self.dag.newest(from).map_or(Round(0), |own| own.round());
        let is_behind = |vertex: &VertexRef| vertex.round > newest.plus(PUSH_LAG_ROUNDS);
        if vertices.iter().any(is_behind) {
            self.push_history(from, 0, effects);
        }
        for vertex in vertices {
            let Some(vertex) = self.dag.find(vertex) else {
                self.counters.requests_unknown += 1;
                continue;
            };
            let message = PeerMessage::Vertex(vertex.bytes().clone());
            effects.push(Effect::Send { to: from, message });
        }
    }
}
