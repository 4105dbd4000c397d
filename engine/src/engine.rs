//! The one entry point of the core: [`Engine::handle`] and [`Engine::next_deadline`].
//!
//! Sans-IO: time comes in with every input, secrets came in at start, and what must happen outside goes out as effects.
//! The engine wires the pieces together; each rule stands in its own module: admission (`admit`), DAG acceptance and
//! evidence (`dag`), commit (`commit`), fair order (`fair`), pacing (`pace`), fetching (`fetch`), reveal (`reveal`).
//!
//! I1: an own vertex enters the DAG and leaves the node only when its record is durable, so no crash can make the node
//! sign a second vertex for a round it has spoken in. I2: a share leaves only for a batch that an anchor decided here
//! has emitted. I3: whatever a peer sends is either used or counted; nothing a peer sends panics.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::admit::label_rules::{self, PEER_TIME_AHEAD_US_MAX};
use crate::admit::local_order::LocalOrder;
use crate::admit::refusal::Refusal;
use crate::admit::table::{CLIENTS_AN_ENVELOPE_MAX, EnvelopeTable, Phase};
use crate::commit::history::SubDag;
use crate::commit::sequence::Committer;
use crate::committee::Committee;
use crate::config::EngineConfig;
use crate::counters::Counters;
use crate::dag::propose;
use crate::dag::store::{Dag, Inserted};
use crate::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef};
use crate::effect::{Effect, ReceiptItem, Record};
use crate::fair::{Anchor, FairOrder};
use crate::fetch::Wants;
use crate::input::{ClientTag, Input};
use crate::merkle;
use crate::message::{PeerMessage, WANT_ENVELOPES_MAX, WANT_VERTICES_MAX};
use crate::pace::{self, Pace, PaceConfig, RoundView};
use crate::reveal::plan::{self, BatchPlan};
use crate::reveal::{OpenedBatch, Reveal, RevealKeys, ShareFault};
use crate::seal::envelope::Envelope;
use crate::seal::proof::VerifiedEnvelope;
use crate::seal::share::ShareMessage;
use crate::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, Digest, Entry, Position, Round, Sha256Hash, TimestampUs,
};

/// One authority's deterministic core.
pub struct Engine {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    config: EngineConfig,
    signing: ed25519_dalek::SigningKey,
    key_id: crate::types::KeyId,
    dag: Dag,
    committer: Committer,
    fair: FairOrder,
    reveal: Reveal,
    table: EnvelopeTable,
    local: LocalOrder,
    envelope_wants: Wants<Digest>,
    vertex_wants: Wants<VertexRef>,
    share_want: ShareWant,
    /// Emissions whose envelopes are not all here yet, in order.
    emissions: VecDeque<PendingEmission>,
    /// Accepted vertices that list entries and are in no sub-DAG yet.
    uncommitted_with_entries: BTreeSet<VertexRef>,
    proposer: Proposer,
    peers_up: AuthoritySet,
    /// The highest vertex pushed over each link.
    pushed: Vec<VertexRef>,
    consensus_time: TimestampUs,
    records: u64,
    header_hashes: VecDeque<(BatchSeq, Sha256Hash)>,
    counters: Counters,
}

/// The own vertex in the making.
#[derive(Debug)]
struct Proposer {
    /// The round of the next own vertex.
    round: Round,
    /// When that round was entered, once it is.
    entered: Option<TimestampUs>,
    made: TimestampUs,
    last_timestamp: TimestampUs,
    /// Made and signed, waiting until its record (by number) is durable.
    in_flight: Option<(VerifiedVertex, u64)>,
}

#[derive(Debug)]
struct PendingEmission {
    anchor_round: Round,
    time: TimestampUs,
    entries: Vec<Entry>,
    group_wait_cut: u32,
    cap_fired: u32,
}

/// When to ask again for the shares of the lowest batch that lacks some.
#[derive(Debug, Default)]
struct ShareWant {
    due: Option<(BatchSeq, TimestampUs)>,
}

/// Header hashes kept to compare with what peers say they settled.
const HEADER_HASHES_KEPT_MAX: usize = 4096;
/// What is fetched at one time at most, in items.
const FETCH_BATCH_MAX: usize = 256;
/// Vertices pushed to one peer at one time at most.
const PUSH_MAX: usize = 64;
/// A peer's newest vertex may lag this many rounds behind what it covers before history is pushed to it.
const PUSH_LAG_ROUNDS: u64 = 2;
/// Below every real vertex.
const NOTHING_PUSHED: VertexRef = VertexRef {
    round: Round(0),
    author: AuthorityIndex(0),
    digest: Digest([0; 32]),
};
/// Clients are told to come back after this time when too much is unlisted.
const BUSY_RETRY_US: u64 = 100_000;

impl Engine {
    /// An engine at the start of an epoch, with nothing before it.
    pub fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        keys: RevealKeys,
        config: EngineConfig,
    ) -> Self {
        let thresholds = committee.thresholds();
        let n = thresholds.authorities();
        let parameters = committee.parameters;
        let epoch_start = committee.epoch_start;
        Self {
            own,
            signing: keys.signing.clone(),
            key_id: keys.sealing.key_id(),
            dag: Dag::new(committee.clone()),
            committer: Committer::new(&committee),
            fair: FairOrder::new((thresholds, parameters.deferral_cap)),
            reveal: Reveal::new(committee.clone(), own, keys),
            table: EnvelopeTable::default(),
            local: LocalOrder::default(),
            envelope_wants: Wants::new(own, n, config.fetch_retry_us),
            vertex_wants: Wants::new(own, n, config.fetch_retry_us),
            share_want: ShareWant::default(),
            emissions: VecDeque::new(),
            uncommitted_with_entries: BTreeSet::new(),
            proposer: Proposer {
                round: Round(1),
                entered: None,
                made: TimestampUs(0),
                last_timestamp: epoch_start,
                in_flight: None,
            },
            peers_up: AuthoritySet::EMPTY,
            pushed: vec![NOTHING_PUSHED; n as usize],
            consensus_time: epoch_start,
            records: 0,
            header_hashes: VecDeque::new(),
            counters: Counters::default(),
            config,
            committee,
        }
    }

    /// Takes one input; appends what must happen to `effects`. See [`Self::advance_reveal`] for what must follow.
    pub fn handle(&mut self, now: TimestampUs, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Submission { client, envelope } => {
                if self.screen(now, client, &envelope, effects) {
                    self.accept(envelope, Some(client), effects);
                    effects.push(Effect::Ack {
                        client,
                        outcome: Ok(()),
                    });
                }
            }
            Input::PeerEnvelope { envelope, .. } => self.on_peer_envelope(envelope, effects),
            Input::Vertex { from, vertex } => self.on_vertex(now, from, vertex, effects),
            Input::Share { from, message } => self.on_share(from, message, effects),
            Input::WantVertices { from, vertices } => {
                self.on_want_vertices(from, &vertices, effects)
            }
            Input::WantEnvelopes { from, digests } => {
                self.on_want_envelopes(from, &digests, effects)
            }
            Input::WantShare { from, seq } => {
                if let Some(bytes) = self.reveal.own_message(seq) {
                    effects.push(Effect::Send {
                        to: from,
                        message: PeerMessage::Share(bytes),
                    });
                }
            }
            Input::PeerUp { peer } => {
                self.peers_up.insert(peer);
                self.pushed[peer.as_usize()] = NOTHING_PUSHED;
                self.push_history(peer, 0, effects);
            }
            Input::PeerDown { peer } => {
                self.peers_up.remove(peer);
            }
            Input::Durable { records } => self.on_durable(now, records, effects),
            Input::Tick => {}
        }
        self.try_propose(now, effects);
        self.try_fetch(now, effects);
    }

    /// Goes on with the reveal of what inputs have emitted: the own shares are made here, the dearest step of all.
    ///
    /// To be called after every [`Self::handle`], or after several; apart from it so that a shell can first send what
    /// others wait for, and let the disk work meanwhile.
    pub fn advance_reveal(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        self.try_emit(now, effects);
        self.try_fetch(now, effects);
    }

    /// When to call [`Self::handle`] with [`Input::Tick`] if nothing else comes; `None` when only an input can help.
    pub fn next_deadline(&self, now: TimestampUs) -> Option<TimestampUs> {
        let own_vertex = match self.pace(now) {
            Some(Pace::Now(_)) => Some(now),
            Some(Pace::Wait(at)) => at,
            None => None,
        };
        let share = self.share_want.due.map(|(_, at)| at);
        let wants = [self.envelope_wants.next_due(), self.vertex_wants.next_due()];
        [own_vertex, share].into_iter().chain(wants).flatten().min()
    }

    /// Decides, without checking a proof, whether a client's envelope needs one checked; if not, answers it.
    ///
    /// [`Input::Submission`] runs this again, so a shell may skip it; it saves the proof of what is refused anyway.
    pub fn screen(
        &mut self,
        now: TimestampUs,
        client: ClientTag,
        envelope: &Envelope,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if let Some(outcome) = self.screen_outcome(now, client, envelope, effects) {
            match outcome {
                Ok(()) => self.counters.resubmitted += 1,
                Err(_) => self.counters.refused += 1,
            }
            effects.push(Effect::Ack { client, outcome });
            return false;
        }
        true
    }

    /// Opens the next batch into `out` (16-byte aligned, at least [`Self::ready_len_max`] bytes), when one is ready.
    pub fn open_next(&mut self, out: &mut [u8], effects: &mut Vec<Effect>) -> Option<OpenedBatch> {
        let opened = self.reveal.open_next(out);
        let failed = self.reveal.take_failed();
        for (_, error) in failed {
            let counter = match error.is_evidence() {
                true => &mut self.counters.shares_bad_proof,
                false => &mut self.counters.shares_refused,
            };
            *counter += 1;
        }
        self.counters.open_fallbacks = self.reveal.fallbacks();
        let opened = opened?;
        self.persist(Record::Batch(opened.header.encode()[..].into()), effects);
        for digest in &opened.digests {
            if let Some(held) = self.table.find_mut(digest) {
                held.phase = Phase::Settled { seq: opened.seq };
            }
        }
        if self.header_hashes.len() == HEADER_HASHES_KEPT_MAX {
            self.header_hashes.pop_front();
        }
        self.header_hashes
            .push_back((opened.seq, opened.header_hash));
        self.counters.batches += 1;
        self.counters.void += u64::from(opened.header.void);
        Some(opened)
    }

    /// Whether the next own vertex waits for something from outside, the disk or peers, and not for its time: then
    /// whatever comes is to be handled at once.
    pub fn is_eager(&self, now: TimestampUs) -> bool {
        let paced_until = self
            .proposer
            .made
            .plus_us(self.config.round_interval_us_min);
        self.proposer.in_flight.is_some() || (now >= paced_until && self.has_work())
    }

    /// Batches whose order is final and that are not opened yet.
    pub fn unopened_len(&self) -> usize {
        self.reveal.active_len()
    }

    /// Bytes that the next batch takes at most, when one is ready to open.
    pub fn ready_len_max(&self) -> Option<usize> {
        self.reveal.ready_len_max()
    }

    /// Counts since start.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The round of the next own vertex.
    pub const fn round(&self) -> Round {
        self.proposer.round
    }

    /// Consensus time of the last anchor.
    pub const fn consensus_time(&self) -> TimestampUs {
        self.consensus_time
    }

    /// Whether everything accepted here has been opened.
    pub fn is_drained(&self) -> bool {
        !self.has_work() && self.emissions.is_empty() && self.reveal.active_len() == 0
    }
}

/// Admission.
impl Engine {
    fn screen_outcome(
        &mut self,
        now: TimestampUs,
        client: ClientTag,
        envelope: &Envelope,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<(), Refusal>> {
        if let Err(refusal) = label_rules::check_label(&self.committee, self.key_id, envelope) {
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
        if self.local.unlisted_len() >= self.config.unlisted_max as usize {
            return Some(Err(Refusal::Busy {
                retry_after_us: BUSY_RETRY_US,
            }));
        }
        None
    }

    /// A re-sent envelope gets its existing receipt and place.
    fn answer_again(
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

    fn accept(
        &mut self,
        envelope: VerifiedEnvelope,
        client: Option<ClientTag>,
        effects: &mut Vec<Effect>,
    ) {
        self.persist(Record::Envelope(envelope.bytes().clone()), effects);
        self.envelope_wants.forget(&envelope.digest());
        let entry = self.table.hold(envelope, client);
        self.local.append(entry);
        self.counters.accepted += 1;
    }

    /// An envelope from a peer: judged by label and consensus time alone, so that every correct node judges alike.
    fn on_peer_envelope(&mut self, envelope: VerifiedEnvelope, effects: &mut Vec<Effect>) {
        if self.table.find(&envelope.digest()).is_some() {
            return;
        }
        let label_holds = label_rules::check_label(&self.committee, self.key_id, &envelope).is_ok();
        let wanted = self.is_emitted(&envelope.digest());
        let until = envelope.label().valid_until;
        let in_time = until >= self.consensus_time
            && until <= self.consensus_time.plus_us(PEER_TIME_AHEAD_US_MAX);
        // What the order emitted is needed whatever its expiry: once ready, an entry does not expire.
        if !label_holds || !(in_time || wanted) {
            self.counters.peer_envelopes_refused += 1;
            self.envelope_wants.forget(&envelope.digest());
            return;
        }
        self.counters.fetched += 1;
        self.accept(envelope, None, effects);
    }

    fn is_emitted(&self, digest: &Digest) -> bool {
        let mut entries = self.emissions.iter().flat_map(|emission| &emission.entries);
        entries.any(|entry| entry.digest == *digest)
    }

    fn on_want_envelopes(
        &self,
        from: AuthorityIndex,
        digests: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        for held in digests.iter().filter_map(|digest| self.table.find(digest)) {
            let message = PeerMessage::Envelope(held.envelope.bytes().clone());
            effects.push(Effect::Send { to: from, message });
        }
    }

    fn persist(&mut self, record: Record, effects: &mut Vec<Effect>) -> u64 {
        self.records += 1;
        effects.push(Effect::Persist(record));
        self.records
    }
}

/// DAG, commit and fair order.
impl Engine {
    fn on_vertex(
        &mut self,
        now: TimestampUs,
        from: AuthorityIndex,
        vertex: VerifiedVertex,
        effects: &mut Vec<Effect>,
    ) {
        self.vertex_wants.forget(&vertex.reference());
        match self.dag.insert(vertex) {
            Inserted::Accepted(accepted) => self.on_accepted(now, accepted, effects),
            Inserted::Pending { missing } => {
                let due = now.plus_us(self.config.fetch_grace_us);
                for parent in missing.iter().filter(|parent| !self.dag.is_waiting(parent)) {
                    if !self.vertex_wants.want(*parent, from, due) {
                        self.counters.wants_refused += 1;
                    }
                }
            }
            Inserted::Known | Inserted::BelowFloor => {}
            Inserted::Refused(_) => self.counters.vertices_refused += 1,
        }
    }

    fn on_accepted(
        &mut self,
        now: TimestampUs,
        accepted: Vec<VerifiedVertex>,
        effects: &mut Vec<Effect>,
    ) {
        // Committing raises the floor, which may let further vertices in, which may let more commit.
        let mut accepted = accepted;
        while !accepted.is_empty() {
            self.note_accepted(now, &accepted, effects);
            accepted.clear();
            for sub_dag in self.committer.advance(&self.dag) {
                self.on_sub_dag(&sub_dag, effects);
                accepted.extend(self.raise_floor());
            }
        }
        self.counters.forks = u64::from(self.dag.forked().len());
    }

    fn note_accepted(
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
            }
            if vertex.entries().is_empty() {
                continue;
            }
            self.uncommitted_with_entries.insert(reference);
            let due = now.plus_us(self.config.fetch_grace_us);
            for entry in vertex.entries() {
                let needless = self.table.find(&entry.digest).is_some()
                    || entry.valid_until < self.consensus_time;
                if !needless && !self.envelope_wants.want(entry.digest, vertex.author(), due) {
                    self.counters.wants_refused += 1;
                }
            }
        }
    }

    /// Lets go of what no further sub-DAG takes in; gives the vertices that are accepted by that.
    fn raise_floor(&mut self) -> Vec<VerifiedVertex> {
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

    fn on_sub_dag(&mut self, sub_dag: &SubDag, effects: &mut Vec<Effect>) {
        self.counters.anchors += 1;
        self.consensus_time = sub_dag.consensus_time;
        self.persist(Record::Anchor(encode_anchor(sub_dag).into()), effects);
        for vertex in &sub_dag.vertices {
            self.uncommitted_with_entries.remove(vertex);
            if vertex.author == self.own {
                self.local.on_committed(vertex.round);
            }
        }
        let emission = self.fair.step(&Anchor {
            consensus_time: sub_dag.consensus_time,
            tie_seed: tie_seed(sub_dag),
            appends: &sub_dag.appends,
        });
        for entry in &emission.dropped {
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
        self.counters.group_wait_cut += u64::from(emission.group_wait_cut);
        self.counters.cap_fired += u64::from(emission.cap_fired);
        self.counters.cycles += emission
            .groups
            .iter()
            .filter(|group| group.len() > 1)
            .count() as u64;
        let entries: Vec<Entry> = emission.groups.into_iter().flatten().collect();
        self.counters.emitted += entries.len() as u64;
        if !entries.is_empty() {
            self.emissions.push_back(PendingEmission {
                anchor_round: sub_dag.anchor.round,
                time: sub_dag.consensus_time,
                entries,
                group_wait_cut: emission.group_wait_cut,
                cap_fired: emission.cap_fired,
            });
        }
        self.table.purge(self.consensus_time);
    }

    /// A peer that settled another header at the same seq has diverged, or we have.
    fn compare_settled(&mut self, vertex: &VerifiedVertex) {
        let settled = vertex.settled();
        let Some(last) = settled.count.checked_sub(1) else {
            return;
        };
        let Some((first, _)) = self.header_hashes.front() else {
            return;
        };
        let Some(at) = last.checked_sub(first.0) else {
            return;
        };
        let ours = usize::try_from(at)
            .ok()
            .and_then(|at| self.header_hashes.get(at));
        if ours.is_some_and(|(_, hash)| *hash != settled.hash) {
            self.counters.divergence += 1;
        }
    }

    fn on_want_vertices(
        &self,
        from: AuthorityIndex,
        vertices: &[VertexRef],
        effects: &mut Vec<Effect>,
    ) {
        for vertex in vertices.iter().filter_map(|vertex| self.dag.vertex(vertex)) {
            let message = PeerMessage::Vertex(vertex.bytes().clone());
            effects.push(Effect::Send { to: from, message });
        }
    }
}

/// Own vertices.
impl Engine {
    /// The idle rule: something unlisted, something listed but uncommitted, or something listed by a correct authority
    /// that still waits.
    fn has_work(&self) -> bool {
        self.local.unlisted_len() > 0
            || !self.uncommitted_with_entries.is_empty()
            || self
                .fair
                .is_pending_listed_by(self.committee.thresholds().validity())
    }

    fn pace(&self, now: TimestampUs) -> Option<Pace> {
        let proposer = &self.proposer;
        if proposer.in_flight.is_some() {
            return None;
        }
        let entered = proposer.entered?;
        let view = RoundView {
            leader_wait_over: propose::leader_wait_over(&self.dag, proposer.round),
            quorum_ahead: propose::is_overtaken(&self.dag, proposer.round),
            later_round_seen: self.dag.highest_round() > proposer.round,
            has_work: self.has_work(),
        };
        let config = PaceConfig {
            leader_timeout_us: self.config.leader_timeout_us,
            interval_us_min: self.config.round_interval_us_min,
            heartbeat_us: self.config.heartbeat_us,
        };
        Some(pace::pace(&config, view, entered, proposer.made, now))
    }

    fn try_propose(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let round = self.proposer.round;
        if self.proposer.in_flight.is_none()
            && self.proposer.entered.is_none()
            && propose::may_enter(&self.dag, self.own, round)
        {
            self.proposer.entered = Some(now);
        }
        let Some(Pace::Now(reason)) = self.pace(now) else {
            return;
        };
        match reason {
            pace::Reason::Leader => {}
            pace::Reason::Behind => self.counters.vertices_behind += 1,
            pace::Reason::Timeout => self.counters.vertices_by_timeout += 1,
        }
        let vertex = self.make_vertex(now);
        let record = self.persist(Record::OwnVertex(vertex.bytes().clone()), effects);
        self.counters.vertices_made += 1;
        self.proposer.made = now;
        self.proposer.last_timestamp = vertex.timestamp();
        self.proposer.in_flight = Some((vertex, record));
    }

    fn make_vertex(&mut self, now: TimestampUs) -> VerifiedVertex {
        let round = self.proposer.round;
        let entries_max = self.committee.parameters.vertex_entries_max;
        let (first_position, entries): (Position, Vec<Entry>) = self.local.list(round, entries_max);
        let (count, hash) = self.reveal.settled();
        let draft = VertexDraft {
            chain_id: self.committee.chain_id,
            epoch: self.committee.epoch,
            round,
            author: self.own,
            timestamp: now.max(self.proposer.last_timestamp),
            first_position,
            parents: propose::choose_parents(&self.dag, self.own, round)
                .expect("a vertex is made in a round that was entered"),
            entries,
            settled: Settled { count, hash },
        };
        draft.sign(&self.signing)
    }

    fn on_durable(&mut self, now: TimestampUs, records: u64, effects: &mut Vec<Effect>) {
        let durable = |in_flight: &mut (VerifiedVertex, u64)| in_flight.1 <= records;
        let Some((vertex, _)) = self.proposer.in_flight.take_if(durable) else {
            return;
        };
        self.proposer.round = self.proposer.round.next();
        self.proposer.entered = None;
        effects.push(Effect::Broadcast(PeerMessage::Vertex(
            vertex.bytes().clone(),
        )));
        self.give_receipts(&vertex, effects);
        let inserted = self.dag.insert(vertex);
        let Inserted::Accepted(accepted) = inserted else {
            panic!("an own vertex is made from accepted parents: {inserted:?}");
        };
        self.on_accepted(now, accepted, effects);
        for peer in self.peers_up.iter() {
            self.push_history(peer, PUSH_LAG_ROUNDS, effects);
        }
    }

    fn give_receipts(&mut self, vertex: &VerifiedVertex, effects: &mut Vec<Effect>) {
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
    fn push_history(&mut self, peer: AuthorityIndex, lag: u64, effects: &mut Vec<Effect>) {
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

/// Reveal and fetching.
impl Engine {
    /// Cuts emissions whose envelopes are all here into batches and starts their reveal.
    fn try_emit(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        while let Some(emission) = self.emissions.front() {
            let mut complete = true;
            for entry in &emission.entries {
                if self.table.find(&entry.digest).is_none() {
                    complete = false;
                    self.envelope_wants.want(entry.digest, self.own, now);
                }
            }
            if !complete {
                return;
            }
            let emission = self.emissions.pop_front().expect("it is the front one");
            self.emit(emission, effects);
        }
    }

    fn emit(&mut self, emission: PendingEmission, effects: &mut Vec<Effect>) {
        let mut envelopes = Vec::with_capacity(emission.entries.len());
        for entry in &emission.entries {
            let held = self
                .table
                .find(&entry.digest)
                .expect("every envelope is here");
            envelopes.push(held.envelope.clone());
        }
        let lens = envelopes
            .iter()
            .map(|envelope| envelope.label().payload_len);
        let mut rest = envelopes.clone().into_iter();
        for (run, len) in plan::cut_lens(lens).into_iter().enumerate() {
            let envelopes: Vec<VerifiedEnvelope> = rest.by_ref().take(len).collect();
            let seq = self.reveal.next_seq();
            self.place(seq, &envelopes, effects);
            let digests = envelopes.iter().map(|envelope| envelope.digest());
            let plan = BatchPlan {
                seq,
                anchor_round: emission.anchor_round,
                time: emission.time,
                order_root: crate::batch::archive::order_root(digests),
                envelopes,
                group_wait_cut: if run == 0 { emission.group_wait_cut } else { 0 },
                cap_fired: if run == 0 { emission.cap_fired } else { 0 },
            };
            if let Some(message) = self.reveal.start(plan) {
                effects.push(Effect::Broadcast(PeerMessage::Share(message)));
            }
            for message in self.reveal.take_early(seq) {
                self.on_share(message.author, message, effects);
            }
            self.note_ready(effects);
        }
    }

    /// Notes the final places and tells the clients.
    fn place(&mut self, seq: BatchSeq, envelopes: &[VerifiedEnvelope], effects: &mut Vec<Effect>) {
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

    fn on_share(
        &mut self,
        from: AuthorityIndex,
        message: Box<ShareMessage>,
        effects: &mut Vec<Effect>,
    ) {
        match self.reveal.on_share(from, message) {
            Ok(true) => self.note_ready(effects),
            Ok(false) => {}
            Err(ShareFault::Late) => self.counters.shares_late += 1,
            Err(ShareFault::TooEarly | ShareFault::Foreign) => self.counters.shares_refused += 1,
            Err(ShareFault::Refused(_, error)) if error.is_evidence() => {
                self.counters.shares_bad_proof += 1;
            }
            Err(ShareFault::Refused(..)) => self.counters.shares_refused += 1,
        }
    }

    fn note_ready(&self, effects: &mut Vec<Effect>) {
        if self.reveal.ready_len_max().is_some() {
            effects.push(Effect::BatchReady {
                seq: BatchSeq(self.reveal.settled().0),
            });
        }
    }

    fn try_fetch(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        for (to, digests) in self.envelope_wants.take_due(now, FETCH_BATCH_MAX) {
            self.counters.envelope_requests += 1;
            effects.push(Effect::Send {
                to,
                message: PeerMessage::WantEnvelopes(digests),
            });
        }
        for (to, vertices) in self.vertex_wants.take_due(now, FETCH_BATCH_MAX) {
            self.counters.vertex_requests += 1;
            effects.push(Effect::Send {
                to,
                message: PeerMessage::WantVertices(vertices),
            });
        }
        self.try_fetch_shares(now, effects);
    }

    /// Shares come by broadcast; only the lowest batch is asked for, and only after it has waited.
    fn try_fetch_shares(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let Some((seq, have)) = self.reveal.lacking() else {
            self.share_want.due = None;
            return;
        };
        match self.share_want.due {
            Some((wanted, at)) if wanted == seq => {
                if now < at {
                    return;
                }
                self.counters.share_requests += 1;
                let lacking = self.committee.thresholds().members();
                for to in lacking.filter(|peer| *peer != self.own && !have.contains(*peer)) {
                    effects.push(Effect::Send {
                        to,
                        message: PeerMessage::WantShare(seq),
                    });
                }
            }
            _ => {}
        }
        self.share_want.due = Some((seq, now.plus_us(self.config.fetch_retry_us)));
    }
}

/// The Merkle tree over a vertex's entries.
fn entries_tree(vertex: &VerifiedVertex) -> merkle::Tree {
    merkle::Tree::new(vertex.entry_leaves())
}

/// The key of the tie hash: what the leader alone cannot choose, and no client can.
pub fn tie_seed(sub_dag: &SubDag) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fairlane/1/tie-seed");
    for digest in &sub_dag.tie_parents {
        hasher.update(&digest.0);
    }
    *hasher.finalize().as_bytes()
}

/// The body of an anchor record.
fn encode_anchor(sub_dag: &SubDag) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(57);
    crate::wire::Writer::new(&mut bytes)
        .u64(sub_dag.index)
        .u64(sub_dag.anchor.round.0)
        .u8(sub_dag.anchor.author.0)
        .bytes(&sub_dag.anchor.digest.0)
        .u64(sub_dag.consensus_time.0);
    bytes
}

const _: () = assert!(FETCH_BATCH_MAX <= WANT_VERTICES_MAX as usize);
const _: () = assert!(FETCH_BATCH_MAX <= WANT_ENVELOPES_MAX as usize);
