//! Own vertices: made when it is time, sent when they are durable.

use super::*;

impl Engine {
    /// The idle rule: something unlisted, something listed but uncommitted, or something listed by a correct authority
    /// that still waits; or a key that is being made, which takes anchors.
    pub(super) fn has_work(&self) -> bool {
        self.local.unlisted_len() > 0
            || self.keys.is_generating()
            || !self.uncommitted_with_entries.is_empty()
            || self
                .fair
                .is_pending_listed_by(self.committee.thresholds().validity())
    }

    pub(super) fn pace(&self, now: TimestampUs) -> Option<Pace> {
        let proposer = &self.proposer;
        if proposer.in_flight.is_some() || self.is_asking() || !self.may_propose_in(proposer.round)
        {
            return None;
        }
        let entered = proposer.entered?;
        let view = RoundView {
            leader_wait_over: entered.leader_wait_over.is_some(),
            quorum_ahead: propose::is_overtaken(&self.dag, proposer.round),
            has_work: self.has_work(),
        };
        let config = PaceConfig {
            leader_wait_us: proposer.leader_wait.wait_us(),
            interval_us_min: self.config.round_interval_us_min,
            heartbeat_us: self.config.heartbeat_us,
        };
        Some(pace::pace(&config, view, entered.at, proposer.made, now))
    }

    /// Enters the next round once it may be entered, and notes when its wait for the leader is over.
    pub(super) fn try_enter(&mut self, now: TimestampUs) {
        let below = self.proposer.round.minus(1);
        if self.proposer.in_flight.is_none() && below > Round(0) && below <= self.dag.floor() {
            // The floor has passed what it was entered with: there are no parents for it any more.
            self.proposer.entered = None;
        }
        self.try_jump();
        let round = self.proposer.round;
        if self.proposer.in_flight.is_none()
            && self.proposer.entered.is_none()
            && propose::may_enter(&self.dag, self.own, round)
        {
            self.proposer.entered = Some(Entered {
                at: now,
                busy: self.has_work(),
                leader_wait_over: None,
            });
        }
        if let Some(entered) = &mut self.proposer.entered
            && entered.leader_wait_over.is_none()
            && propose::leader_wait_over(&self.dag, self.committer.schedule(), round)
        {
            entered.leader_wait_over = Some(now);
        }
    }

    /// Makes the own vertex of the round that was entered, if it is time.
    pub(super) fn try_propose(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let Some(Pace::Now(reason)) = self.pace(now) else {
            return;
        };
        match reason {
            pace::Reason::Leader => {}
            pace::Reason::Behind => self.counters.vertices_behind += 1,
            pace::Reason::Timeout => self.counters.vertices_by_timeout += 1,
        }
        self.note_leader_wait(reason);
        let vertex = self.make_vertex(now);
        let record = self.persist(Record::OwnVertex(vertex.bytes().clone()), effects);
        if mutant::is(Mutant::SentBeforeDurable) {
            effects.push(Effect::Broadcast(PeerMessage::Vertex(
                vertex.bytes().clone(),
            )));
        }
        self.counters.vertices_made += 1;
        self.proposer.made = now;
        self.proposer.last_timestamp = vertex.timestamp();
        self.proposer.in_flight = Some((vertex, record));
    }

    /// What the round that ends says of the network, if it was entered busy.
    fn note_leader_wait(&mut self, reason: pace::Reason) {
        let Some(entered) = self.proposer.entered.filter(|entered| entered.busy) else {
            return;
        };
        if let Some(over) = entered.leader_wait_over {
            let waited_us = over.since_us(entered.at);
            self.proposer.leader_wait.on_over(waited_us);
        } else if reason == pace::Reason::Timeout {
            self.proposer.leader_wait.on_timeout();
        }
    }

    /// One that was away enters the round that the others are in, once it has what they have.
    fn try_jump(&mut self) {
        if self.proposer.in_flight.is_some()
            || self.is_asking()
            || !self.dag.is_below_floor(self.own)
            || !self.is_caught_up()
        {
            return;
        }
        if let Some(round) = propose::round_to_enter(&self.dag)
            && round > self.proposer.round
        {
            self.proposer.round = round;
            self.proposer.entered = None;
        }
    }

    pub(super) fn make_vertex(&mut self, now: TimestampUs) -> VerifiedVertex {
        let round = self.proposer.round;
        let entries_max = self.committee.parameters.vertex_entries_max;
        let (first_position, entries): (Position, Vec<Entry>) = self.local.list(round, entries_max);
        let (count, hash) = self.settled();
        let mut parents =
            propose::choose_parents(&self.dag, self.committer.schedule(), self.own, round)
                .expect("a vertex is made in a round that was entered");
        if let Some(last) = self.proposer.last {
            // Should somebody else sign with our key, the own chain still goes on from what this engine has signed.
            parents[0] = last;
        }
        let draft = VertexDraft {
            chain_id: self.committee.chain_id,
            epoch: self.committee.epoch,
            round,
            author: self.own,
            timestamp: now.max(self.proposer.last_timestamp),
            first_position,
            parents,
            entries,
            settled: Settled { count, hash },
        };
        let control = self.control(round).unwrap_or_default();
        draft.sign_with_control(&self.signing, &control)
    }

    pub(super) fn on_durable(&mut self, now: TimestampUs, records: u64, effects: &mut Vec<Effect>) {
        let durable = |in_flight: &mut (VerifiedVertex, u64)| in_flight.1 <= records;
        let Some((vertex, _)) = self.proposer.in_flight.take_if(durable) else {
            return;
        };
        self.proposer.round = self.proposer.round.next();
        self.proposer.entered = None;
        self.proposer.last = Some(vertex.reference());
        effects.push(Effect::Broadcast(PeerMessage::Vertex(
            vertex.bytes().clone(),
        )));
        self.give_receipts(&vertex, effects);
        match self.dag.insert_own(vertex.clone()) {
            Inserted::Accepted(accepted) => self.on_accepted(now, accepted, effects),
            // The others went on while the disk worked; what it lists comes back when the floor rises next.
            Inserted::BelowFloor => self.dag.remember_own(vertex),
            // Another process with the own key made the very same vertex, and it came first.
            Inserted::Known => {}
            inserted => panic!("an own vertex is made from accepted parents: {inserted:?}"),
        }
        for peer in self.peers_up.iter() {
            self.push_history(peer, PUSH_LAG_ROUNDS, effects);
        }
    }

    pub(super) fn give_receipts(&mut self, vertex: &VerifiedVertex, effects: &mut Vec<Effect>) {
        if vertex.entries().is_empty() {
            return;
        }
        let tree = entries_tree(vertex);
        let mut items = Vec::new();
        for (index, entry) in vertex.entries().iter().enumerate() {
            let Some(held) = self.table.find_mut(&entry.digest) else {
                continue;
            };
            let index = index as u32;
            held.listed = Some((vertex.reference(), index));
            for client in &held.clients {
                let path = tree.path(index as usize);
                items.push(ReceiptItem {
                    client: *client,
                    index,
                    path,
                });
            }
        }
        if !items.is_empty() {
            let header = Arc::new(*vertex.signed_header());
            effects.push(Effect::Receipts { header, items });
        }
    }

    /// Sends what no vertex of `peer` covers and is more than `lag` rounds older than its newest, once a link.
    pub(super) fn push_history(
        &mut self,
        peer: AuthorityIndex,
        lag: u64,
        effects: &mut Vec<Effect>,
    ) {
        let newest = self
            .dag
            .newest(peer)
            .map_or(Round(0), |vertex| vertex.round());
        let pushed = &mut self.pushed[peer.as_usize()];
        let lacked = self.dag.unknown_to(peer).filter(|vertex| {
            let reference = vertex.reference();
            (lag == 0 || vertex.round().plus(lag) <= newest) && reference > *pushed
        });
        let mut last = *pushed;
        for vertex in lacked
            .filter(|vertex| vertex.author() != peer)
            .take(PUSH_MAX)
        {
            last = vertex.reference();
            self.counters.vertices_pushed += 1;
            let message = PeerMessage::Vertex(vertex.bytes().clone());
            effects.push(Effect::Send { to: peer, message });
        }
        *pushed = last;
    }
}
