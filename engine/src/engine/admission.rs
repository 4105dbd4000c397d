//! What clients and peers submit: who is answered what, and what gets a position.

use super::*;

impl Engine {
    pub(super) fn screen_outcome(
        &mut self,
        now: TimestampUs,
        client: ClientTag,
        envelope: &Envelope,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<(), Refusal>> {
        if let Err(refusal) = self.check_label(envelope) {
            return Some(Err(refusal));
        }
        if let Some(held) = self.table.find_mut(&envelope.digest()) {
            match held.phase {
                Phase::Settled { seq } => return Some(Err(Refusal::Duplicate { seq })),
                Phase::Dropped => return Some(Err(Refusal::Expired)),
                Phase::Pending | Phase::Ordered { .. } => {}
            }
            if held.clients.len() < CLIENTS_AN_ENVELOPE_MAX && !held.clients.contains(&client) {
                held.clients.push(client);
            }
            let (listed, phase) = (held.listed, held.phase);
            self.answer_again(client, listed, phase, effects);
            return Some(Ok(()));
        }
        let valid_until = envelope.label().valid_until;
        let expiry = label_rules::check_client_expiry(valid_until, now, self.consensus_time);
        if let Err(refusal) = expiry {
            return Some(Err(refusal));
        }
        let is_too_much = self.local.unlisted_len() >= self.config.unlisted_max as usize;
        // What is taken in while nothing opens only waits.
        if is_too_much || self.is_stuck(now) {
            return Some(Err(Refusal::Busy {
                retry_after_us: BUSY_RETRY_US,
            }));
        }
        None
    }

    fn check_label(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let takes_key = |key_id, until| self.keys.takes(key_id, until, self.consensus_time);
        label_rules::check_label(&self.committee, takes_key, envelope)
    }

    /// A re-sent envelope gets its existing receipt and place.
    pub(super) fn answer_again(
        &self,
        client: ClientTag,
        listed: Option<(VertexRef, u32)>,
        phase: Phase,
        effects: &mut Vec<Effect>,
    ) {
        if let Some((vertex, index)) = listed
            && let Some(vertex) = self.dag.vertex(&vertex)
        {
            let path = entries_tree(vertex).path(index as usize);
            effects.push(Effect::Receipts {
                header: Arc::new(*vertex.signed_header()),
                items: vec![ReceiptItem {
                    client,
                    index,
                    path,
                }],
            });
        }
        if let Phase::Ordered { seq, index } = phase {
            effects.push(Effect::Ordered {
                seq,
                items: vec![(client, index)],
            });
        }
    }

    pub(super) fn on_submission(
        &mut self,
        now: TimestampUs,
        client: ClientTag,
        envelope: VerifiedEnvelope,
        effects: &mut Vec<Effect>,
    ) {
        if self.screen(now, client, &envelope, effects) {
            self.accept(envelope, Some(client), effects);
            effects.push(Effect::Ack {
                client,
                outcome: Ok(()),
            });
        }
    }

    pub(super) fn accept(
        &mut self,
        envelope: VerifiedEnvelope,
        client: Option<ClientTag>,
        effects: &mut Vec<Effect>,
    ) {
        let record = self.persist(Record::Envelope(envelope.bytes().clone()), effects);
        self.envelope_wants.forget(&envelope.digest());
        let entry = self.table.hold(envelope, record, client);
        self.local.append(entry);
        self.counters.accepted += 1;
    }

    /// An envelope from a peer, if it was asked for: what nobody listed a peer cannot push past quotas and queues. Judged by label and consensus time alone, so that every correct node judges alike.
    pub(super) fn on_peer_envelope(
        &mut self,
        envelope: VerifiedEnvelope,
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_envelope_wanted(&envelope.digest()) {
            self.counters.peer_envelopes_unasked += 1;
            return;
        }
        match self.judge_listed(&envelope) {
            Listed::Taken => {}
            // The want stays until the envelope has expired: it is asked for again.
            Listed::Early => {
                self.counters.peer_envelopes_early += 1;
                return;
            }
            Listed::Never => {
                self.counters.peer_envelopes_refused += 1;
                self.envelope_wants.forget(&envelope.digest());
                return;
            }
        }
        self.counters.fetched += 1;
        self.accept(envelope, None, effects);
    }

    /// What a correct authority lists every correct authority lists, and who listed it may be some anchors ahead: it may know a
    /// newer key, and its consensus time be later. That is no reason to refuse what will be right in a moment.
    fn judge_listed(&self, envelope: &Envelope) -> Listed {
        let label = envelope.label();
        let may_come = self.committee.key_plan.is_some() && self.keys.find(label.key_id).is_none();
        let latest = self.consensus_time.plus_us(PEER_TIME_AHEAD_US_MAX);
        let is_ahead = may_come || label.valid_until > latest;
        let is_of_chain = label.chain_id == self.committee.chain_id;
        match self.check_label(envelope) {
            Err(Refusal::WrongKey) if is_of_chain && is_ahead => Listed::Early,
            Err(_) => Listed::Never,
            // What the order emitted is needed whatever its expiry: once ready, an entry does not expire.
            Ok(()) if self.is_emitted(&envelope.digest()) => Listed::Taken,
            Ok(()) if label.valid_until < self.consensus_time => Listed::Never,
            Ok(()) if is_ahead => Listed::Early,
            Ok(()) => Listed::Taken,
        }
    }

    pub(super) fn is_emitted(&self, digest: &Digest) -> bool {
        let mut entries = self.emissions.iter().flat_map(|emission| &emission.entries);
        entries.any(|entry| entry.digest == *digest)
    }

    pub(super) fn on_want_envelopes(
        &mut self,
        from: AuthorityIndex,
        digests: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        self.counters.requests_taken += 1;
        for digest in digests {
            let Some(held) = self.table.find(digest) else {
                self.counters.requests_unknown += 1;
                continue;
            };
            let message = PeerMessage::Envelope(held.envelope.bytes().clone());
            effects.push(Effect::Send { to: from, message });
        }
    }

    pub(super) fn persist(&mut self, record: Record, effects: &mut Vec<Effect>) -> u64 {
        self.records += 1;
        self.snapshots.bytes += record.body().len() as u64;
        effects.push(Effect::Persist(record));
        self.records
    }
}

/// What becomes of an envelope that an authority has listed.
enum Listed {
    Taken,
    /// Not now: it will be once this node has seen as much of the order as whoever listed it.
    Early,
    Never,
}
