//! Catching up: by rounds while peers still have them, by a checkpoint when they do not; see [`crate::sync`].

use super::*;
use crate::state::Restored;
use crate::sync::CatchUp;
use crate::sync::download::{Downloads, Taken};
use crate::sync::gap::{GAP_MAX, Gap};
use crate::sync::loads::Loads;
use crate::sync::part::{Item, Part};
use crate::sync::proof::Proof;
use crate::sync::served::Served;

/// What a node that is behind knows about it.
#[derive(Debug)]
pub(super) struct Syncing {
    /// The highest round of a vertex that each author signed, as far as this node has met one.
    seen: Vec<Round>,
    pub(super) downloads: Downloads,
    /// The checkpoint whose state is being fetched.
    proof: Option<Proof>,
    /// States that nobody had (any more) since the last one that was taken, and when to ask for a proof again.
    states_missed: u32,
    pub(super) proof_at: Option<TimestampUs>,
    pub(super) gap: Option<Gap>,
    pub(super) served: Served,
    pub(super) loads: Loads,
    /// Up to which round vertices were asked for, and when to ask again.
    asked: Option<(Round, TimestampUs)>,
    /// Whom to ask for rounds next.
    turn: u32,
}

impl Syncing {
    pub(super) fn new(own: AuthorityIndex, authorities: u32, config: &EngineConfig) -> Self {
        let retry_us = config.fetch_retry_us;
        Self {
            seen: vec![Round(0); authorities as usize],
            downloads: Downloads::new(own, authorities, retry_us),
            proof: None,
            states_missed: 0,
            proof_at: None,
            gap: None,
            served: Served::new(config.batches_kept_max as usize),
            loads: Loads::default(),
            asked: None,
            turn: 0,
        }
    }

    /// A vertex came, whatever becomes of it.
    pub(super) fn saw(&mut self, vertex: &VerifiedVertex) {
        let seen = &mut self.seen[vertex.author().as_usize()];
        *seen = (*seen).max(vertex.round());
    }

    /// When something is to be asked for, or again.
    pub(super) fn next_due(&self) -> Option<TimestampUs> {
        let asked = self.asked.map(|(_, at)| at);
        let due = self.downloads.next_due();
        asked.into_iter().chain(due).chain(self.proof_at).min()
    }
}

impl Engine {
    /// A round that a correct authority has reached: the (f + 1)-th highest that authors have signed for.
    fn round_of_others(&self) -> Round {
        let mut seen = self.syncing.seen.clone();
        seen.sort_unstable_by_key(|round| std::cmp::Reverse(*round));
        let at = self.committee.thresholds().faulty_max() as usize;
        seen.get(at).copied().unwrap_or_default()
    }

    /// Beyond this distance peers may not have the rounds any more.
    pub(super) fn window_rounds(&self) -> u64 {
        let parameters = &self.committee.parameters;
        parameters.gc_depth_rounds + 2 * parameters.checkpoint_interval_rounds
    }

    /// Whether this node has about all that others have.
    pub(super) fn is_caught_up(&self) -> bool {
        self.round_of_others() <= self.dag.highest_round().plus(CATCH_UP_LAG_ROUNDS)
    }

    /// Asks for what is missing when this node is behind.
    pub(super) fn try_sync(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        self.drop_needless_state();
        if !self.is_caught_up() || self.needs_checkpoint(now) {
            self.ask_for_progress(now, effects);
        } else {
            (self.syncing.asked, self.syncing.proof_at) = (None, None);
            // What is under way is finished: it costs nobody anything more.
            if self.syncing.proof.is_none() {
                let is_proof = |item: &Item| matches!(item, Item::Proof(_));
                self.syncing.downloads.stop(is_proof);
            }
        }
        if let Some(gap) = &self.syncing.gap {
            for item in gap.wanted(GAP_DOWNLOADS) {
                self.syncing.downloads.start(item, now);
            }
        }
        for (to, want) in self.syncing.downloads.take_due(now) {
            self.counters.sync_requests += 1;
            let message = PeerMessage::WantPart(want);
            effects.push(Effect::Send { to, message });
        }
    }

    /// Whether others are so far ahead that they may have forgotten the rounds between.
    fn is_far(&self) -> bool {
        self.round_of_others() > self.dag.highest_round().plus(self.window_rounds())
    }

    /// Whether a checkpoint of others is the way on, although their rounds are here.
    fn needs_checkpoint(&self, now: TimestampUs) -> bool {
        self.is_stuck(now) || self.lacks_shares_in_vain()
    }

    fn ask_for_progress(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let (highest, others) = (self.dag.highest_round(), self.round_of_others());
        let is_far = self.is_far();
        if is_far || self.needs_checkpoint(now) {
            self.ask_for_checkpoint(now);
        } else {
            self.syncing.proof_at = None;
        }
        if is_far || self.is_caught_up() || self.is_held_off(highest.next()) {
            self.syncing.asked = None;
            return;
        }
        let is_due = |(upto, at): (Round, TimestampUs)| highest >= upto || now >= at;
        let n = self.committee.thresholds().authorities();
        if n < 2 || !self.syncing.asked.is_none_or(is_due) {
            return;
        }
        let count = (ROUNDS_VERTICES_MAX as u32 / n).clamp(1, ROUNDS_ASKED_MAX);
        let upto = highest.plus(u64::from(count)).min(others);
        self.syncing.asked = Some((upto, now.plus_us(self.config.fetch_retry_us)));
        self.syncing.turn = (self.syncing.turn + 1) % (n - 1);
        let peer = (u32::from(self.own.0) + 1 + self.syncing.turn) % n;
        self.counters.sync_requests += 1;
        effects.push(Effect::Send {
            to: AuthorityIndex(peer as u8),
            message: PeerMessage::WantRounds {
                after: highest,
                count,
            },
        });
    }

    fn ask_for_checkpoint(&mut self, now: TimestampUs) {
        self.give_up_state(now);
        let is_early = self.syncing.proof_at.is_some_and(|at| now < at);
        if !is_early && !self.is_asking_for_checkpoint() {
            self.syncing.proof_at = None;
            // A checkpoint among the batches that are planned and do not open helps, too.
            let last = self.committer.last_anchor();
            let lowest = self.reveal.lowest_anchor();
            let stuck_at = lowest.filter(|_| self.needs_checkpoint(now));
            let above = stuck_at.map_or(last, |emits| last.min(emits.minus(1)));
            self.syncing.downloads.start(Item::Proof(above), now);
        }
    }

    /// Whether a checkpoint is being fetched.
    pub(super) fn is_asking_for_checkpoint(&self) -> bool {
        let is_of_checkpoint = |item: &Item| matches!(item, Item::Proof(_) | Item::State(_));
        self.syncing.downloads.has(is_of_checkpoint)
    }

    /// A checkpoint that this node has committed past by itself is of no use any more.
    fn drop_needless_state(&mut self) {
        let last = self.committer.last_anchor();
        let proof = &self.syncing.proof;
        if proof
            .as_ref()
            .is_some_and(|proof| proof.header().anchor_round <= last)
        {
            self.syncing.proof = None;
            let is_state = |item: &Item| matches!(item, Item::State(_));
            self.syncing.downloads.stop(is_state);
        }
    }

    /// Peers keep few states: one that none of them has is gone, and a newer checkpoint is there.
    fn give_up_state(&mut self, now: TimestampUs) {
        let mut in_vain = self.syncing.downloads.in_vain();
        if !in_vain.any(|item| matches!(item, Item::State(_))) {
            return;
        }
        drop(in_vain);
        let is_state = |item: &Item| matches!(item, Item::State(_));
        self.syncing.downloads.stop(is_state);
        self.syncing.proof = None;
        let doublings = self.syncing.states_missed.min(STATES_MISSED_DOUBLINGS_MAX);
        self.syncing.proof_at = Some(now.plus_us(self.config.fetch_retry_us << doublings));
        self.syncing.states_missed += 1;
    }

    pub(super) fn on_part(
        &mut self,
        now: TimestampUs,
        from: AuthorityIndex,
        part: &Part,
        effects: &mut Vec<Effect>,
    ) {
        let item = part.want.item;
        match self.syncing.downloads.take(from, part, now) {
            Taken::Partial | Taken::NotHere => {}
            Taken::Unasked => self.counters.sync_parts_unasked += 1,
            Taken::Bad => self.counters.sync_parts_bad += 1,
            Taken::Whole(bytes) => {
                if self.take_item(now, item, &bytes, effects) {
                    self.syncing.downloads.done(item);
                } else {
                    self.counters.sync_parts_bad += 1;
                    self.syncing.downloads.again(item, now);
                }
            }
        }
    }

    /// Uses what was fetched. False when it is not what was asked for.
    fn take_item(
        &mut self,
        now: TimestampUs,
        item: Item,
        bytes: &[u8],
        effects: &mut Vec<Effect>,
    ) -> bool {
        match item {
            Item::Proof(above) => self.take_proof(now, above, bytes),
            Item::State(_) => self.take_state(now, bytes, effects),
            Item::Headers(_) => {
                let Some(gap) = &mut self.syncing.gap else {
                    return true;
                };
                let taken = gap.take_headers(bytes);
                self.counters.divergence += u64::from(taken && gap.is_foreign());
                taken
            }
            Item::Batch(seq) => {
                let Some(gap) = &mut self.syncing.gap else {
                    return true;
                };
                let taken = gap.take_batch(seq, bytes);
                self.note_ready(effects);
                taken
            }
        }
    }

    fn take_proof(&mut self, now: TimestampUs, above: Round, bytes: &[u8]) -> bool {
        let Ok((proof, _)) = Proof::verify(bytes, &self.committee) else {
            return false;
        };
        let header = *proof.header();
        if header.anchor_round <= above || header.seq.0 < self.settled().0 {
            return false;
        }
        if header.seq < self.reveal.next_seq() {
            self.fetch_planned(&header);
            // Not at once again, while those batches come.
            let wait_us = PLANNED_FETCHED_RETRIES * self.config.fetch_retry_us;
            self.syncing.proof_at = Some(now.plus_us(wait_us));
            return true;
        }
        if header.anchor_round <= self.committer.last_anchor() {
            return false;
        }
        let is_on_its_way = !self.is_full() && !self.is_far();
        if is_on_its_way {
            // Nothing keeps this node from committing that anchor itself: then its batches are planned.
            let wait_us = PLANNED_FETCHED_RETRIES * self.config.fetch_retry_us;
            self.syncing.proof_at = Some(now.plus_us(wait_us));
            return true;
        }
        if header.seq.0 - self.settled().0 > GAP_MAX {
            self.counters.sync_gap_too_long += 1;
            return false;
        }
        self.syncing.proof = Some(proof);
        // One that is gone at the peers meanwhile is asked for in vain; then the next proof is.
        self.syncing.downloads.start(Item::State(header.seq), now)
    }

    /// Fetches the planned batches up to a checkpoint that others have settled, instead of opening them.
    ///
    /// Whoever took a state over gives no shares for what that covers, so where f withhold theirs, too, those batches open
    /// nowhere any more; but f + 1 have opened them. Plans above stay.
    fn fetch_planned(&mut self, header: &BatchHeader) {
        let (settled, previous) = self.settled();
        if header.seq.0 < self.reveal.settled().0 {
            return;
        }
        self.syncing.gap = Some(match self.syncing.gap.take() {
            Some(gap) => gap.up_to(header),
            None => Gap::new(BatchSeq(settled), previous, header),
        });
        let is_of_gap = |item: &Item| matches!(item, Item::Headers(_) | Item::Batch(_));
        self.syncing.downloads.stop(is_of_gap);
        self.reveal.pass(header.seq.next(), header.hash());
        self.are_share_wants_stale = true;
        self.counters.planned_fetched += 1;
    }

    fn take_state(&mut self, now: TimestampUs, bytes: &[u8], effects: &mut Vec<Effect>) -> bool {
        let Some(proof) = &self.syncing.proof else {
            return true;
        };
        let header = *proof.header();
        let restored = State::restore(&self.committee, header.state_root, bytes);
        let fits = |restored: &Restored| {
            restored.committer.last_anchor() == header.anchor_round
                && restored.committer.anchors() > self.committer.anchors()
        };
        let Some(restored) = restored.ok().filter(fits) else {
            return false;
        };
        (self.syncing.proof, self.syncing.states_missed) = (None, 0);
        let chunks = bytes.chunks(STATE_RECORD_LEN_MAX);
        let of = chunks.len() as u32;
        for (index, chunk) in (0..).zip(chunks) {
            let mut body = Vec::with_capacity(chunk.len() + 200);
            crate::wire::Writer::new(&mut body)
                .bytes(&header.encode())
                .u32(index)
                .u32(of)
                .bytes(chunk);
            self.persist(Record::State(body.into()), effects);
        }
        self.counters.states_taken += 1;
        self.install(now, &header, restored, effects);
        self.on_accepted(now, Vec::new(), effects);
        true
    }

    /// Goes on from a checked state, as if everything up to its checkpoint had been committed here. What then is decided
    /// is not committed yet.
    pub(super) fn install(
        &mut self,
        now: TimestampUs,
        header: &BatchHeader,
        restored: Restored,
        effects: &mut Vec<Effect>,
    ) {
        let (settled, previous) = self.settled();
        self.committer = restored.committer;
        self.fair = restored.fair;
        self.keys.install(restored.keys);
        self.reveal.set_keys(self.keys.keys());
        self.consensus_time = self.committer.consensus_time();
        let committer = &self.committer;
        let accepted = self.dag.install(
            committer.last_anchor(),
            committer.floor(),
            committer.committed(),
        );
        self.raise_floor();
        let committer = &self.committer;
        self.uncommitted_with_entries
            .retain(|vertex| !committer.is_committed(vertex));
        self.emissions = Emissions::default();
        self.are_share_wants_stale = true;
        self.reveal.jump(header.seq.next(), header.hash());
        self.syncing.gap = match self.syncing.gap.take() {
            Some(gap) => Some(gap.up_to(header)),
            None if settled <= header.seq.0 => Some(Gap::new(BatchSeq(settled), previous, header)),
            None => None,
        };
        let is_of_gap = |item: &Item| matches!(item, Item::Headers(_) | Item::Batch(_));
        self.syncing.downloads.stop(is_of_gap);
        self.refresh_table(header.seq);
        self.refresh_wants(now);
        self.note_accepted(now, &accepted, effects);
    }

    /// What was ordered while this node was away is done with; in which batch it is told once that is fetched.
    fn refresh_table(&mut self, checkpoint: BatchSeq) {
        let pending: BTreeSet<Digest> = self.fair.pending().map(|entry| entry.digest).collect();
        let emissions = self.fair.emissions();
        let emitted = emissions.iter().flat_map(|entries| entries.iter());
        for entry in emitted {
            if let Some(held) = self.table.find_mut(&entry.digest)
                && !matches!(held.phase, Phase::Settled { .. })
            {
                held.phase = Phase::Settled { seq: checkpoint };
            }
        }
        let now = self.consensus_time;
        self.table.for_each_mut(|held| {
            let is_over = held.entry().valid_until < now && !pending.contains(&held.entry().digest);
            match held.phase {
                Phase::Ordered { .. } => held.phase = Phase::Settled { seq: checkpoint },
                Phase::Pending if is_over => held.phase = Phase::Dropped,
                _ => {}
            }
        });
        self.purge_table();
    }

    /// Envelopes that are needed from here on: pending in the order, or listed by a vertex that may yet be committed.
    fn refresh_wants(&mut self, now: TimestampUs) {
        let n = self.committee.thresholds().authorities();
        self.envelope_wants = Wants::new(self.own, n, self.config.fetch_retry_us);
        self.want_expiries.clear();
        let pending = self.fair.pending().copied();
        let listed = self.uncommitted_with_entries.iter();
        let vertices = listed.filter_map(|vertex| self.dag.vertex(vertex));
        let listed = vertices.flat_map(|vertex| vertex.entries().to_vec());
        let wanted: Vec<Entry> = pending.chain(listed).collect();
        let holder = AuthorityIndex(((u32::from(self.own.0) + 1) % n) as u8);
        for entry in wanted {
            if self.table.find(&entry.digest).is_none() {
                self.want_envelope(&entry, holder, now);
            }
        }
    }

    /// The next batch of the gap, copied to where it is to be settled from.
    pub(super) fn open_from_gap(
        &mut self,
        out: &mut [u8],
        effects: &mut Vec<Effect>,
    ) -> Option<OpenedBatch> {
        let batch = self.syncing.gap.as_mut()?.settle()?;
        let archive_len = batch.archive.len();
        out[..archive_len].copy_from_slice(&batch.archive);
        if self.syncing.gap.as_ref().is_some_and(Gap::is_closed) {
            self.syncing.gap = None;
        }
        self.counters.batches_fetched += 1;
        let opened = OpenedBatch {
            seq: batch.header.seq,
            header_hash: batch.header.hash(),
            header: batch.header,
            archive_len,
            digests: batch.digests,
            // It was opened elsewhere: the proof is in the journal of who opened it.
            void_proof: Vec::new(),
        };
        self.on_opened(&opened, out, effects);
        Some(opened)
    }

    /// How far this node is with what it takes from peers; none when it takes nothing. Never allocates.
    pub fn catch_up(&self) -> Option<CatchUp> {
        let is_state = |item: &Item| matches!(item, Item::State(_));
        let state_parts = self.syncing.downloads.parts(is_state);
        let batches = self.syncing.gap.as_ref().map(Gap::span);
        (state_parts.is_some() || batches.is_some()).then_some(CatchUp {
            state_parts,
            batches,
        })
    }

    /// How many batches are settled, and the hash of the last one's header.
    pub(super) fn settled(&self) -> (u64, Sha256Hash) {
        let gap = self.syncing.gap.as_ref();
        gap.map_or_else(|| self.reveal.settled(), Gap::settled)
    }
}

/// A node this many rounds behind what others have signed asks for rounds; less is on its way.
const CATCH_UP_LAG_ROUNDS: u64 = 8;
/// The wait for the next proof doubles at most this often.
const STATES_MISSED_DOUBLINGS_MAX: u32 = 5;
/// How many waits for an answer pass before a stuck node asks for another checkpoint among its plans.
const PLANNED_FETCHED_RETRIES: u64 = 4;
/// Batches fetched at one time.
const GAP_DOWNLOADS: usize = 4;
/// Bytes of a state in one record at most.
pub const STATE_RECORD_LEN_MAX: usize = 1 << 20;
