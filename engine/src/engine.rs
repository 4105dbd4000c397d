//! The one entry point of the core: [`Engine::handle`] and [`Engine::next_deadline`].
//!
//! Sans-IO: time comes in with every input, secrets came in at start, and what must happen outside goes out as effects.
//! The engine wires the pieces together; each rule stands in its own module: admission (`admit`), DAG acceptance and
//! evidence (`dag`), commit (`commit`), fair order (`fair`), pacing (`pace`), fetching (`fetch`), reveal (`reveal`).
//!
//! I1: an own vertex enters the DAG and leaves the node only when its record is durable, so no crash can make the node
//! sign a second vertex for a round it has spoken in. I2: a share leaves only for a batch that an anchor decided here
//! has emitted. I3: whatever a peer sends is either used or counted; nothing a peer sends panics.

mod accusing;
mod admission;
mod asking;
mod footprint;
mod keying;
mod ordering;
mod pausing;
mod proposing;
mod recover;
mod resending;
mod revealing;
mod serving;
pub mod snapshot;
mod syncing;

pub use asking::ASK_RETRIES_MAX;
pub use footprint::Footprint;
use pausing::Emissions;
pub use pausing::{UNOPENED_BYTES_MAX, UNOPENED_MAX};
pub use recover::{Recorded, RecoverError};
pub use revealing::SHARES_ASKED_MAX;
pub use serving::{ROUNDS_ASKED_MAX, ROUNDS_VERTICES_MAX};
pub use syncing::STATE_RECORD_LEN_MAX;
use syncing::Syncing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::admit::label_rules::{self, PEER_TIME_AHEAD_US_MAX};
use crate::admit::local_order::LocalOrder;
use crate::admit::refusal::Refusal;
use crate::admit::table::{CLIENTS_AN_ENVELOPE_MAX, EnvelopeTable, Phase};
use crate::batch::header::BatchHeader;
use crate::certificate::Certificate;
use crate::commit::history::SubDag;
use crate::commit::sequence::Committer;
use crate::committee::Committee;
use crate::config::EngineConfig;
use crate::counters::Counters;
use crate::dag::propose;
use crate::dag::store::{Dag, Inserted};
use crate::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef};
use crate::effect::{Effect, ReceiptItem, Record};
use crate::evidence::{Evidence, EvidenceBook, EvidenceKind};
use crate::fair::{Anchor, FairOrder};
use crate::fetch::Wants;
use crate::input::{ClientTag, Input};
use crate::keyring::{EngineKeys, KeyEvent, Keyring, statement};
use crate::merkle;
use crate::message::{PeerMessage, WANT_ENVELOPES_MAX, WANT_VERTICES_MAX};
use crate::mutant::{self, Mutant};
use crate::pace::leader_wait::LeaderWait;
use crate::pace::{self, Pace, PaceConfig, RoundView};
use crate::reveal::plan::{BatchPlan, Emission};
use crate::reveal::{OpenedBatch, Reveal, ShareFault};
use crate::seal::envelope::Envelope;
use crate::seal::proof::VerifiedEnvelope;
use crate::seal::share::ShareMessage;
use crate::state::State;
use crate::sync::checkpoints::{Checkpoint, Checkpoints};
use crate::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, Digest, Entry, Position, Round, Sha256Hash, TimestampUs,
};

/// One authority's deterministic core.
pub struct Engine {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    config: EngineConfig,
    signing: ed25519_dalek::SigningKey,
    keys: Keyring,
    /// What was last said of key generation, and in which own vertex.
    said: Option<(Round, Arc<[u8]>)>,
    dag: Dag,
    committer: Committer,
    fair: FairOrder,
    reveal: Reveal,
    table: EnvelopeTable,
    local: LocalOrder,
    envelope_wants: Wants<Digest>,
    /// When missing envelopes expire: what nobody needs any more is not asked for.
    want_expiries: BTreeSet<(TimestampUs, Digest)>,
    vertex_wants: Wants<VertexRef>,
    /// When to look again for what waiting vertices lack and nobody asks for; none while no vertex waits.
    rewant_at: Option<TimestampUs>,
    /// Batches whose shares are asked for: at most [`SHARES_ASKED_MAX`].
    share_wants: BTreeMap<BatchSeq, ShareWant>,
    /// The first time in them; and whether others may have to be asked for than those.
    shares_due: Option<TimestampUs>,
    are_share_wants_stale: bool,
    /// Emissions whose envelopes are not all here yet, in order.
    emissions: Emissions,
    /// Since when commits are held back without a break; see [`pausing`].
    paused_since: Option<TimestampUs>,
    /// Accepted vertices that list entries and are in no sub-DAG yet.
    uncommitted_with_entries: BTreeSet<VertexRef>,
    proposer: Proposer,
    resend: resending::Resend,
    peers_up: AuthoritySet,
    /// The highest vertex pushed over each link.
    pushed: Vec<VertexRef>,
    consensus_time: TimestampUs,
    /// Records of the journal: those that were there at the start, and every one since.
    records: u64,
    header_hashes: VecDeque<(BatchSeq, Sha256Hash)>,
    /// Batches settled lately, each with its anchor's round: at most [`HEADER_HASHES_KEPT_MAX`].
    settled_lately: VecDeque<(BatchSeq, Round)>,
    /// Of the last batch opened, in this life or before.
    newest_header: Option<BatchHeader>,
    evidence: EvidenceBook,
    /// How many proofs the DAG had when they were last taken over.
    dag_faults_seen: usize,
    checkpoints: Checkpoints,
    syncing: Syncing,
    asking: Option<asking::Asking>,
    /// What each peer was told that has asked for its newest vertex.
    told: Vec<Option<asking::Told>>,
    snapshots: snapshot::Snapshots,
    counters: Counters,
}

/// The own vertex in the making.
#[derive(Debug)]
struct Proposer {
    /// The round of the next own vertex.
    round: Round,
    /// How that round was entered, once it is.
    entered: Option<Entered>,
    /// How long to wait for the leader and its votes.
    leader_wait: LeaderWait,
    made: TimestampUs,
    last_timestamp: TimestampUs,
    /// The own vertex before, once there is one.
    last: Option<VertexRef>,
    /// Made and signed, waiting until its record (by number) is durable.
    in_flight: Option<(VerifiedVertex, u64)>,
}

/// The round of the next own vertex, since it was entered.
#[derive(Clone, Copy, Debug)]
struct Entered {
    at: TimestampUs,
    /// There was something to order already.
    busy: bool,
    /// When the leader and its votes were there.
    leader_wait_over: Option<TimestampUs>,
}

#[derive(Debug)]
struct PendingEmission {
    anchor_round: Round,
    time: TimestampUs,
    entries: Vec<Entry>,
    /// What their envelopes take; of those that are missing, what they may take at most.
    bytes: usize,
    group_wait_cut: u32,
    cap_fired: u32,
    /// The state after the anchor, where it is a checkpoint.
    state: Option<State>,
}

/// How often the shares of a batch were asked for, and when to ask again.
#[derive(Clone, Copy, Debug)]
struct ShareWant {
    attempts: u32,
    due: TimestampUs,
}

/// Header hashes kept to compare with what peers say they settled.
pub const HEADER_HASHES_KEPT_MAX: usize = 4096;
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
    ///
    /// `keys` are [`EngineKeys`], or [`crate::reveal::RevealKeys`] where a dealer made the only key. Panics when the decryption key is not
    /// the one that the committee has for `own`: a fault of the configuration.
    pub fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        keys: impl Into<EngineKeys>,
        config: EngineConfig,
    ) -> Self {
        let keys: EngineKeys = keys.into();
        let signing = keys.signing;
        let reveal =
            Reveal::without_keys(committee.clone(), own, signing.clone(), keys.process_secret);
        let table = EnvelopeTable::new(&keys.process_secret);
        let keys = Keyring::new(
            committee.clone(),
            own,
            keys.dealt,
            keys.decryption,
            keys.process_secret,
        );
        let thresholds = committee.thresholds();
        let n = thresholds.authorities();
        let parameters = committee.parameters;
        let epoch_start = committee.epoch_start;
        let mut engine = Self {
            own,
            signing,
            keys,
            said: None,
            dag: Dag::new(committee.clone()),
            committer: Committer::new(&committee),
            fair: FairOrder::new((thresholds, parameters.deferral_cap)),
            reveal,
            table,
            local: LocalOrder::default(),
            envelope_wants: Wants::new(own, n, config.fetch_retry_us),
            want_expiries: BTreeSet::new(),
            vertex_wants: Wants::new(own, n, config.fetch_retry_us),
            rewant_at: None,
            share_wants: BTreeMap::new(),
            shares_due: None,
            are_share_wants_stale: false,
            emissions: Emissions::default(),
            paused_since: None,
            uncommitted_with_entries: BTreeSet::new(),
            proposer: Proposer {
                round: Round(1),
                entered: None,
                leader_wait: LeaderWait::new(config.leader_wait_bounds(), n),
                made: TimestampUs(0),
                last_timestamp: epoch_start,
                last: None,
                in_flight: None,
            },
            resend: resending::Resend::default(),
            peers_up: AuthoritySet::EMPTY,
            pushed: vec![NOTHING_PUSHED; n as usize],
            consensus_time: epoch_start,
            records: 0,
            header_hashes: VecDeque::new(),
            settled_lately: VecDeque::new(),
            newest_header: None,
            evidence: EvidenceBook::default(),
            dag_faults_seen: 0,
            checkpoints: Checkpoints::default(),
            syncing: Syncing::new(own, n, &config),
            asking: None,
            told: vec![None; n as usize],
            snapshots: snapshot::Snapshots::default(),
            counters: Counters::default(),
            config,
            committee,
        };
        engine.reveal.set_keys(engine.keys.keys());
        engine
    }

    /// Takes one input; appends what must happen to `effects`. See [`Self::advance_reveal`] for what must follow.
    ///
    /// An own vertex is made on a tick alone, which [`Self::next_deadline`] asks for at once when one is due: so a shell that
    /// hands in all that has come before it ticks makes a vertex that cites all of it.
    pub fn handle(&mut self, now: TimestampUs, input: Input, effects: &mut Vec<Effect>) {
        let is_tick = matches!(input, Input::Tick);
        match input {
            Input::Submission { client, envelope } => {
                self.on_submission(now, client, envelope, effects);
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
            Input::WantShare { from, seq } => self.on_want_share(from, seq, effects),
            Input::WantRounds { from, after, count } => {
                self.on_want_rounds(from, after, count, effects);
            }
            Input::WantNewest { from, token } => self.on_want_newest(from, token, effects),
            Input::Newest {
                from,
                token,
                vertex,
            } => self.on_newest(now, from, token, vertex, effects),
            Input::WantPart { from, want } => self.on_want_part(from, want, effects),
            Input::Part { from, part } => self.on_part(now, from, &part, effects),
            Input::Loaded { item, bytes } => self.on_loaded(item, bytes, effects),
            Input::Certified { certificate } => self.on_certified(&certificate, effects),
            Input::PeerUp { peer } => {
                self.peers_up.insert(peer);
                self.pushed[peer.as_usize()] = NOTHING_PUSHED;
                self.push_history(peer, 0, effects);
            }
            Input::PeerDown { peer } => {
                self.peers_up.remove(peer);
                self.syncing.loads.forget(peer);
            }
            Input::Durable { records } => self.on_durable(now, records, effects),
            Input::Tick => {}
        }
        self.follow_up(now, is_tick, effects);
    }

    /// Takes submissions, in this order, as [`Self::handle`] does one by one, but looks only once, behind the last, for what
    /// else is to be done: what that is hangs on no submission.
    pub fn submit(
        &mut self,
        now: TimestampUs,
        submissions: impl IntoIterator<Item = (ClientTag, VerifiedEnvelope)>,
        effects: &mut Vec<Effect>,
    ) {
        for (client, envelope) in submissions {
            self.on_submission(now, client, envelope, effects);
        }
        self.follow_up(now, false, effects);
    }

    /// What an input may have made possible, or the time that has passed.
    fn follow_up(&mut self, now: TimestampUs, is_tick: bool, effects: &mut Vec<Effect>) {
        if self.may_resume() {
            self.on_accepted(now, Vec::new(), effects);
        }
        self.accuse(effects);
        self.try_ask(now, effects);
        self.try_enter(now);
        if is_tick {
            self.try_propose(now, effects);
        }
        self.try_resend(now, effects);
        self.try_fetch(now, effects);
        self.try_sync(now, effects);
        self.try_snapshot(effects);
    }

    /// Goes on with the reveal of what inputs have emitted: the own shares are made here, the dearest step of all.
    ///
    /// To be called after every [`Self::handle`], or after several; apart from it so that a shell can first send what
    /// others wait for, and let the disk work meanwhile.
    pub fn advance_reveal(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        self.try_emit(now, effects);
        self.accuse(effects);
        self.try_fetch(now, effects);
    }

    /// When to call [`Self::handle`] with [`Input::Tick`] if nothing else comes; `None` when only an input can help.
    pub fn next_deadline(&self, now: TimestampUs) -> Option<TimestampUs> {
        let own_vertex = match self.pace(now) {
            Some(Pace::Now(_)) => Some(now),
            Some(Pace::Wait(at)) => at,
            None => None,
        };
        let wants = [self.envelope_wants.next_due(), self.vertex_wants.next_due()];
        let sync = self.syncing.next_due();
        [
            own_vertex,
            self.shares_due,
            self.resend.next_due(),
            sync,
            self.rewant_at,
            self.asking_due(),
            self.stuck_due(),
            self.may_resume().then_some(now),
        ]
        .into_iter()
        .chain(wants)
        .flatten()
        .min()
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
        if self.syncing.gap.is_some() {
            return self.open_from_gap(out, effects);
        }
        let opened = self.reveal.open_next(out);
        self.are_share_wants_stale = true;
        let failed = self.reveal.take_failed();
        for (_, error) in failed {
            let counter = match error.is_evidence() {
                true => &mut self.counters.shares_bad_proof,
                false => &mut self.counters.shares_refused,
            };
            *counter += 1;
        }
        self.counters.open_fallbacks = self.reveal.fallbacks();
        self.accuse(effects);
        let opened = opened?;
        self.on_opened(&opened, out, effects);
        Some(opened)
    }

    /// A batch is opened, or was fetched, into `out`.
    fn on_opened(&mut self, opened: &OpenedBatch, out: &[u8], effects: &mut Vec<Effect>) {
        for message in &opened.void_proof {
            self.persist(Record::Share(message.clone()), effects);
        }
        let archive = &out[..opened.archive_len];
        let record: Arc<[u8]> = [&opened.header.encode()[..], archive].concat().into();
        self.persist(Record::Batch(record.clone()), effects);
        self.syncing.served.push(&opened.header, record);
        self.note_settled(&opened.header, &opened.digests);
        self.counters.batches += 1;
        self.counters.void += u64::from(opened.header.void);
        self.note_ready(effects);
    }

    /// Keeps in mind that a batch is opened: its entries are duplicates from now on, its hash is compared with peers'.
    fn note_settled(&mut self, header: &BatchHeader, digests: &[Digest]) {
        let seq = header.seq;
        for digest in digests {
            if let Some(held) = self.table.find_mut(digest) {
                held.phase = Phase::Settled { seq };
            }
        }
        if self.header_hashes.len() == HEADER_HASHES_KEPT_MAX {
            self.header_hashes.pop_front();
        }
        self.header_hashes.push_back((seq, header.hash()));
        self.newest_header = Some(*header);
        if self.settled_lately.len() == HEADER_HASHES_KEPT_MAX {
            self.settled_lately.pop_front();
        }
        self.settled_lately.push_back((seq, header.anchor_round));
        self.checkpoints.on_settled(header);
    }

    /// Lets go of envelopes that nobody needs any more. Who lags up to [`Self::window_rounds`] comes by rounds, and asks for the
    /// envelopes of their batches; who lags more takes a state.
    fn purge_table(&mut self) {
        let lag = self.window_rounds() + self.committee.parameters.gc_depth_rounds;
        let oldest = self.committer.last_anchor().minus(lag);
        while let Some((_, anchor)) = self.settled_lately.front()
            && *anchor < oldest
        {
            self.settled_lately.pop_front();
        }
        let none = self.next_open_seq();
        let kept_from = self.settled_lately.front().map_or(none, |(seq, _)| *seq);
        self.table.purge(self.consensus_time, kept_from);
    }

    /// A certificate of an own batch. One that names another header than ours proves that q authorities disagree with this
    /// node: it is not recorded.
    fn on_certified(&mut self, certificate: &Certificate, effects: &mut Vec<Effect>) {
        match self.header_hash(certificate.header.seq) {
            Some(hash) if hash == certificate.header.hash => {
                self.counters.certificates += 1;
                let bytes = certificate.encode();
                self.persist(Record::Certificate(bytes.as_slice().into()), effects);
            }
            Some(_) => self.counters.divergence += 1,
            None => self.counters.certificates_unplaced += 1,
        }
    }

    /// The newest settled checkpoint, while this node has one.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoints.newest()
    }

    /// The next batch that will be opened: all below are settled, and are not opened again.
    pub fn next_open_seq(&self) -> BatchSeq {
        BatchSeq(self.settled().0)
    }

    /// The header of the last batch opened, in this life or, where the records tell, before.
    pub const fn newest_header(&self) -> Option<&BatchHeader> {
        self.newest_header.as_ref()
    }

    /// Whether the next own vertex waits for something from outside, the disk or peers, and not for its time: then
    /// whatever comes is to be handled at once.
    pub fn is_eager(&self, now: TimestampUs) -> bool {
        let paced_until = self
            .proposer
            .made
            .plus_us(self.config.round_interval_us_min);
        let may_propose = now >= paced_until && self.may_propose_in(self.proposer.round);
        self.proposer.in_flight.is_some() || (may_propose && self.has_work())
    }

    /// Whether an envelope was met in a vertex and is missing. Asked before its proof is checked; what is not wanted is
    /// counted by [`Self::handle`], or by whoever drops it before.
    pub fn is_envelope_wanted(&self, digest: &Digest) -> bool {
        self.envelope_wants.is_wanted(digest)
    }

    /// Batches whose order is final and that are not opened yet.
    pub fn unopened_len(&self) -> usize {
        self.reveal.active_len()
    }

    /// Bytes that the next batch takes at most, when one is ready to open.
    pub fn ready_len_max(&self) -> Option<usize> {
        if let Some(gap) = &self.syncing.gap {
            return gap.ready().map(|batch| batch.archive.len());
        }
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

    /// How long a round waits at present for the leader and its votes, microseconds.
    pub fn leader_wait_us(&self) -> u64 {
        self.proposer.leader_wait.wait_us()
    }

    /// Who leads `round` as of the last decided slot; none in round 0.
    pub fn leader(&self, round: Round) -> Option<AuthorityIndex> {
        self.committer.schedule().leader(round)
    }

    /// Who leads no round at present, as of the last decided slot.
    pub const fn leaders_out(&self) -> AuthoritySet {
        self.committer.schedule().out()
    }

    /// Consensus time of the last anchor.
    pub const fn consensus_time(&self) -> TimestampUs {
        self.consensus_time
    }

    /// The sealing keys: what envelopes are verified for ([`crate::seal::EnvelopeVerifier::set_keys`]) changes with its
    /// version, to be looked at after every input.
    pub const fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// This authority's signed word on the newest sealing key: a statement's bytes and the signature. See
    /// [`Keyring::statement`] for when there is none. One signature a call.
    pub fn vouch_for_key(&self) -> Option<(Vec<u8>, ed25519_dalek::Signature)> {
        let bytes = self.keys.statement()?.encode();
        let signature = statement::sign_statement(&bytes, &self.signing);
        Some((bytes, signature))
    }

    /// From now on this authority deals bad shares to these: for the simulator, before the first generation begins.
    #[cfg(feature = "sim")]
    pub const fn deal_badly_to(&mut self, victims: AuthoritySet, assures_nobody: bool) {
        self.keys.deal_badly_to(victims, assures_nobody);
    }

    /// Who orders.
    pub const fn committee(&self) -> &Arc<Committee> {
        &self.committee
    }

    /// Whether everything accepted here has been opened.
    pub fn is_drained(&self) -> bool {
        !self.has_work() && self.emissions.len() == 0 && self.reveal.active_len() == 0
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
pub(crate) fn encode_anchor(sub_dag: &SubDag) -> Vec<u8> {
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
