//! The core stage: admission proofs, the engine, the settlement ring; what it decides goes to the journal and to IO.
//!
//! It drains its ring in bounded portions, checks the proofs of a portion's submissions in one batch, and gives clients'
//! submissions and authorities' messages to the engine, each in the order of arrival. Effects leave in the order in which the engine asked for them: records
//! to the journal ring, frames to the IO ring, answers to clients gathered into one buffer a connection.
//!
//! What happens when a ring is full: towards the journal and towards IO messages wait here in order, and while any
//! wait nothing new is taken in (back-pressure reaches the sockets); when the rings of all settlement workers that keep
//! up are full, batches stay unopened until one has read on, up to [`UNSETTLED_MAX`]; then they are served from the journal.
//!
//! While the disk that holds the journal is full, nothing becomes durable, so nothing new is signed or promised: clients'
//! new envelopes are answered Busy, known ones as ever. Once as many records wait as may, authorities' requests are still
//! answered, and what else they send is let go; it is fetched when there is room. It is said in the log and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fairlane_engine::committee::Committee;
use fairlane_engine::counters::Counters;
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::effect::{Effect, Record};
use fairlane_engine::engine::{Engine, UNOPENED_MAX};
use fairlane_engine::evidence::Evidence;
use fairlane_engine::input::{ClientTag, Input};
use fairlane_engine::intake::{self, Rubbish, RubbishCounts};
use fairlane_engine::message::{PeerMessage, VOUCH_KIND};
use fairlane_engine::reveal::OpenedBatch;
use fairlane_engine::seal::EnvelopeVerifier;
use fairlane_engine::types::{AuthorityIndex, Round, TimestampUs};
use fairlane_engine::wire::Reader;

use super::admission::{Admission, AdmissionCounts, Surroundings};
use super::bucket::{Allowance, Bucket};
use super::catch_up_log::CatchUpLog;
use super::certificate_port::{CertificatePort, Next};
use super::followers::{FollowCounts, Followers};
use super::journal_port::JournalPort;
use super::key_watch::KeyWatch;
use super::messages::{FromCore, ToCore};
use super::outbox::Outbox;
use super::pressure::{Fates, Gauge};
use super::rollup_quotas::RollupQuotas;
use super::settle_port::{SettlePort, WorkerTable};
use super::standings::Standings;
use super::stats::CoreSteps;
use super::{Fatal, Polled, Stage, WakeCell, clock};
use crate::boot_mark::BootMark;
use crate::certifier::CertifierCounts;
use crate::frame;
use crate::journal::{BatchLoader, JournalStats};
use crate::recovery::to_journal;
use crate::settle::RemoteFigures;

/// Messages taken in at one poll at most, so that no portion holds up the next round for long.
pub const PORTION_MAX: usize = 256;
/// Batches that wait for room in the settlement ring; with more the worker is served from the journal.
pub const UNSETTLED_MAX: usize = 64;
// A slow worker is turned over to the journal before the engine holds back its commits.
const _: () = assert!(UNSETTLED_MAX < UNOPENED_MAX as usize);
/// IO does not say when it has made room in a ring that was full, which is rare.
const UNSENT_RETRY_US: u64 = 1_000;
/// Bound of a frame to another authority: no message of ours comes near it.
const FRAME_LEN_MAX: u32 = 16 << 20;

/// Messages of one authority that do not decode or verify before its link is cut. Correct ones send none.
const RUBBISH: Allowance = Allowance {
    burst: 64,
    refill_us: 1_000_000,
};

/// What the core stage tells the world, refreshed as it goes.
#[derive(Clone, Debug, Default)]
pub struct CoreReport {
    /// The engine's counts.
    pub engine: Counters,
    /// Time by step.
    pub steps: CoreSteps,
    /// Authorities' messages that did not decode or verify, by reason.
    pub messages_refused: RubbishCounts,
    /// Submissions that did not decode, or whose proof failed.
    pub submissions_refused: u64,
    /// Submissions told Busy because proofs of their client failed lately.
    pub submissions_put_off: u64,
    /// Submissions told Busy because their rollup has its rate.
    pub submissions_over_rate: u64,
    /// The round of the next own vertex.
    pub round: Round,
    /// Batches opened.
    pub batches: u64,
    /// What the journal has done.
    pub journal: JournalStats,
    /// What a full disk did.
    pub disk_full: DiskFullCounts,
    /// What was done about certificates.
    pub certificates: CertifierCounts,
    /// What was done for clients that follow.
    pub follow: FollowCounts,
    /// How each settlement worker stands.
    pub workers: WorkerTable,
    /// Connections at the settlement port.
    pub settle_port: RemoteFigures,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a node stands now: what a health check and gauges say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Standing {
    /// When the core stage last came round, microseconds since 1970.
    pub looked_us: u64,
    /// When it last saw an anchor committed; at the start, when it began.
    pub anchor_us: u64,
    /// Consensus time, microseconds since 1970.
    pub consensus_us: u64,
    /// Batches that a settlement worker has settled.
    pub settled: u64,
    /// Sealing keys held.
    pub keys: u64,
    /// The disk that holds the journal has no room.
    pub is_disk_full: bool,
    /// It takes from peers what it has missed.
    pub is_catching_up: bool,
}

/// What was not done because the disk that holds the journal was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiskFullCounts {
    /// Times that it became full.
    pub times: u64,
    /// Submissions answered Busy meanwhile.
    pub busy: u64,
    /// Messages of authorities let go of, to be fetched later.
    pub let_go: u64,
}

/// The ends of the core stage's rings, and whom to wake.
pub struct CorePorts {
    /// Messages from the IO stage.
    pub from_io: rtrb::Consumer<ToCore>,
    /// Frames to send.
    pub to_io: rtrb::Producer<FromCore>,
    /// The IO stage's thread.
    pub io: WakeCell,
    /// The journal.
    pub journal: JournalPort,
    /// Reads old batches from the journal.
    pub loader: BatchLoader,
    /// The settlement workers.
    pub settle: SettlePort,
    /// Signs batches and collects certificates.
    pub certificates: CertificatePort,
    /// Follows the keys.
    pub keys: KeyWatch,
    /// Tells the IO stage how much is under way.
    pub pressure: Gauge,
    /// Says whether the disk may lose what counts as durable.
    pub boot: BootMark,
    /// Where figures are published for reports.
    pub report: Arc<Mutex<CoreReport>>,
}

/// The core stage of one node.
pub struct CoreStage {
    engine: Engine,
    committee: Arc<Committee>,
    admission: Admission,
    ports: CorePorts,
    outbox: Outbox,
    followers: Followers,
    /// What the IO ring had no room for, in order.
    unsent: VecDeque<FromCore>,
    /// Something was sent since the IO stage was last woken.
    sent: bool,
    effects: Vec<Effect>,
    /// What authorities sent: who, kind, body.
    inbox: Vec<(AuthorityIndex, u8, Vec<u8>)>,
    /// How much more of what no correct authority sends is suffered from each, by index.
    rubbish: Vec<Bucket>,
    durable: u64,
    is_disk_full: bool,
    catch_up_log: CatchUpLog,
    settled: u64,
    /// Entries of batches opened in this life.
    opened: u64,
    scratch: rkyv::util::AlignedVec<16>,
    report: CoreReport,
}

impl CoreStage {
    /// A stage around an engine, new or recovered, and what that asks for first.
    pub fn new(
        (engine, effects): (Engine, Vec<Effect>),
        committee: Arc<Committee>,
        verifier: EnvelopeVerifier,
        (standings, rollup_quotas): (Standings, RollupQuotas),
        ports: CorePorts,
    ) -> Self {
        let authorities = committee.thresholds().authorities() as usize;
        Self {
            engine,
            followers: Followers::new(&committee.rollups),
            committee,
            admission: Admission::new(verifier, standings, rollup_quotas),
            ports,
            outbox: Outbox::default(),
            unsent: VecDeque::new(),
            sent: false,
            effects,
            inbox: Vec::new(),
            rubbish: vec![Bucket::full(RUBBISH); authorities],
            durable: 0,
            is_disk_full: false,
            catch_up_log: CatchUpLog::default(),
            settled: 0,
            opened: 0,
            scratch: rkyv::util::AlignedVec::new(),
            report: CoreReport::default(),
        }
    }

    fn input(&mut self, now: TimestampUs, input: Input) {
        self.engine.handle(now, input, &mut self.effects);
    }

    /// Takes one portion off the ring: submissions are screened, the rest waits in `inbox`; gives how many there were.
    fn take_in(&mut self, now: TimestampUs) -> usize {
        let start = Instant::now();
        let mut taken = 0;
        while taken < PORTION_MAX {
            let Ok(message) = self.ports.from_io.pop() else {
                break;
            };
            taken += 1;
            match message {
                ToCore::Submit {
                    connection,
                    tag,
                    bytes,
                } => {
                    let client = ClientTag { connection, tag };
                    self.admission.queue(client, bytes);
                }
                ToCore::Peer { from, kind, body } if kind == VOUCH_KIND => {
                    let taken = self.ports.certificates.on_vouch(from, &body, now);
                    if taken.is_err() {
                        self.on_rubbish(now, from, Rubbish::Message);
                    }
                }
                ToCore::Peer { kind, .. }
                    if self.ports.journal.is_backlogged() && !PeerMessage::is_request(kind) =>
                {
                    self.report.disk_full.let_go += 1;
                }
                ToCore::Peer { from, kind, body } => self.inbox.push((from, kind, body)),
                ToCore::ClientUp {
                    connection,
                    notices,
                } => {
                    self.outbox.add_client(connection, notices);
                }
                ToCore::Follow {
                    connection,
                    name,
                    target,
                } => {
                    let code = self.followers.follow(connection, name, target);
                    self.outbox.following(connection, name, code);
                }
                ToCore::ClientDown { connection } => {
                    self.followers.forget(connection);
                    self.admission.leave(connection);
                    self.outbox.remove_client(connection);
                }
                ToCore::PeerUp { peer } => {
                    self.input(now, Input::PeerUp { peer });
                    if let Some(bytes) = self.ports.certificates.on_peer_up() {
                        let (to, is_bulk) = (peer, false);
                        self.send(FromCore::ToPeer { to, is_bulk, bytes });
                    }
                }
                ToCore::PeerDown { peer } => self.input(now, Input::PeerDown { peer }),
            }
        }
        // A thread that spins looks into an empty ring all the time.
        if taken > 0 {
            let is_disk_full = self.is_disk_full;
            let (admission, _, mut around) = self.admission(now);
            let screened = admission.screen(is_disk_full, &mut around);
            self.report.steps.screen.add_since(start, screened);
        }
        taken
    }

    /// Verifies what authorities sent, the envelopes among it together, and handles it in order of arrival.
    fn handle_inbox(&mut self, now: TimestampUs) {
        if self.inbox.is_empty() {
            return;
        }
        let start = Instant::now();
        let messages = std::mem::take(&mut self.inbox);
        let count = messages.len() as u64;
        let (engine, committee) = (&self.engine, &self.committee);
        let verdicts = intake::verify_all(engine, committee, &self.admission.verifier, messages);
        let start = self.report.steps.verify.add_since(start, count);
        for (from, verdict) in verdicts {
            match verdict {
                Ok(input) => {
                    if let Input::Vertex { vertex, .. } = &input {
                        self.ports.settle.on_vertex(vertex.signed_header());
                    }
                    self.input(now, input);
                }
                Err(reason) => self.on_rubbish(now, from, reason),
            }
        }
        self.report.steps.engine.add_since(start, count);
    }

    /// Counts what an authority sent in vain; one that sends too much of it is cut.
    fn on_rubbish(&mut self, now: TimestampUs, from: AuthorityIndex, reason: Rubbish) {
        self.report.messages_refused.add(reason);
        if reason.is_fault() && !self.rubbish[from.as_usize()].take(RUBBISH, now) {
            self.send(FromCore::CutPeer { peer: from });
        }
    }

    /// Submissions, where their time is counted, and what they act on.
    fn admission(
        &mut self,
        now: TimestampUs,
    ) -> (&mut Admission, &mut CoreSteps, Surroundings<'_>) {
        let around = Surroundings {
            engine: &mut self.engine,
            effects: &mut self.effects,
            outbox: &mut self.outbox,
            now,
        };
        (&mut self.admission, &mut self.report.steps, around)
    }

    fn check_proofs(&mut self, now: TimestampUs) {
        let (admission, steps, mut around) = self.admission(now);
        admission.check_proofs(steps, &mut around);
    }

    fn carry_out(&mut self) -> Result<(), Fatal> {
        let keys = &mut self.ports.keys;
        if let Some(frame) = keys.look(&self.engine, &mut self.admission.verifier)? {
            self.send(FromCore::NewKey { frame });
        }
        if self.effects.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let count = self.effects.len() as u64;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Persist(record) => {
                    if let Record::Evidence(bytes) = &record {
                        warn_of(bytes);
                    }
                    let (kind, bytes) = to_journal(record);
                    self.ports.journal.append(kind, bytes);
                }
                Effect::Send { to, message } => {
                    let (bytes, is_bulk) = (frame_of(&message), is_bulk(&message));
                    self.send(FromCore::ToPeer { to, is_bulk, bytes });
                }
                Effect::Broadcast(message) => {
                    if let PeerMessage::Vertex(bytes) = &message
                        && let Ok(signed) = SignedHeader::decode(&mut Reader::new(bytes))
                    {
                        self.ports.settle.on_vertex(&signed);
                    }
                    let bytes = frame_of(&message);
                    self.send(FromCore::ToPeers { bytes });
                }
                Effect::Ack { client, outcome } => self.outbox.ack(client, outcome),
                Effect::Receipts { header, items } => self.outbox.receipts(&header, &items),
                Effect::Ordered { seq, items } => self.outbox.ordered(seq, &items),
                Effect::Load { item } => self.ports.loader.ask(item),
                // Batches are opened by `open_batches`, which asks the engine.
                Effect::BatchReady { .. } => {}
            }
        }
        self.report.steps.effects.add_since(start, count);
        Ok(())
    }

    /// Opens what is ready, straight into the settlement ring when a worker is attached.
    fn open_batches(&mut self, now: TimestampUs) -> bool {
        let mut opened_any = false;
        // What is not taken off yet counts as told now: what waits is bounded.
        if self.unsent.is_empty() {
            self.followers.refill();
        }
        while let Some(len) = self.engine.ready_len_max() {
            let start = Instant::now();
            let Some(opened) = self.open_one(len) else {
                break;
            };
            self.ports.certificates.on_opened(&opened.header, now);
            self.ports.settle.on_opened(&opened.header);
            self.report.batches += 1;
            self.opened += opened.digests.len() as u64;
            self.report.steps.open.add_since(start, 1);
            opened_any = true;
        }
        opened_any
    }

    fn open_one(&mut self, len: usize) -> Option<OpenedBatch> {
        let settle = &mut self.ports.settle;
        if settle.is_live() {
            if let Some(room) = settle.reserve(len) {
                let opened = self.engine.open_next(room, &mut self.effects)?;
                let archive = &room[..opened.archive_len];
                for (connection, mut frames) in self.followers.on_opened(&opened.header, archive) {
                    self.outbox.frames(connection, &mut frames);
                }
                settle.commit(opened.seq, opened.archive_len);
                return Some(opened);
            }
            if self.engine.unopened_len() <= UNSETTLED_MAX && !self.engine.is_paused() {
                return None;
            }
            settle.fall_back(self.engine.next_open_seq().0);
        }
        self.scratch.resize(len.max(self.scratch.len()), 0);
        let opened = (self.engine).open_next(&mut self.scratch, &mut self.effects)?;
        let archive = &self.scratch[..opened.archive_len];
        for (connection, mut frames) in self.followers.on_opened(&opened.header, archive) {
            self.outbox.frames(connection, &mut frames);
        }
        Some(opened)
    }

    /// Sends own words, has certificates recorded; gives when the next batch is to be signed.
    fn certify(&mut self, now: TimestampUs) -> Result<Option<TimestampUs>, Fatal> {
        let is_wanted = self.ports.settle.is_attached() || self.followers.is_wanted();
        let sign_at = self.ports.certificates.poll(now, is_wanted);
        while let Some(next) = self.ports.certificates.try_take() {
            match next {
                Next::Send(bytes) => self.send(FromCore::ToPeers { bytes }),
                Next::Record(certificate) => {
                    self.input(now, Input::Certified { certificate });
                    // Whatever the engine makes of it: a worker whose batches are other ones is to know.
                    self.ports.settle.certified(&certificate);
                    for (connection, mut frames) in self.followers.on_certified(&certificate) {
                        self.outbox.frames(connection, &mut frames);
                    }
                }
            }
        }
        self.carry_out()?;
        Ok(sign_at)
    }

    /// Hands on what was decided: answers and frames to the IO stage, records to the journal.
    ///
    /// Gives when records that are kept back are due.
    fn hand_on(&mut self, now: TimestampUs) -> Result<Option<TimestampUs>, Fatal> {
        let mut answers = Vec::new();
        self.outbox.drain(|message| answers.push(message));
        for message in answers {
            self.send(message);
        }
        if std::mem::take(&mut self.sent) {
            self.ports.io.wake();
        }
        self.ports.journal.poll(now)
    }

    /// Notes whether the journal's disk is full, and tells the operator when that changes.
    fn look_at_disk(&mut self) {
        let is_full = self.ports.journal.is_disk_full();
        if std::mem::replace(&mut self.is_disk_full, is_full) == is_full {
            return;
        }
        self.report.disk_full.times += u64::from(is_full);
        eprintln!(
            "{}",
            match is_full {
                true =>
                    "warning: the disk that holds the journal is full: clients are told Busy and nothing new is signed until there is room; what is there is served",
                false => "there is room on the disk again: clients' envelopes are taken",
            }
        );
    }

    fn tell_settled(&mut self) {
        let settled = self.ports.settle.settled_count();
        if settled > self.settled {
            self.settled = settled;
            self.send(FromCore::Settled { count: settled });
        }
    }

    fn send(&mut self, message: FromCore) {
        self.sent = true;
        if !self.unsent.is_empty() {
            self.unsent.push_back(message);
        } else if let Err(rtrb::PushError::Full(message)) = self.ports.to_io.push(message) {
            self.unsent.push_back(message);
        }
    }

    fn send_unsent(&mut self) {
        while let Some(message) = self.unsent.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.ports.to_io.push(message) {
                self.unsent.push_front(message);
                return;
            }
            self.sent = true;
        }
    }

    fn publish(&mut self, now: TimestampUs) {
        let counters = *self.engine.counters();
        let fates = Fates {
            taken: counters.accepted,
            opened: self.opened,
            dropped: counters.dropped,
        };
        let is_idle = self.engine.is_drained();
        let proofs = self.report.steps.proof;
        self.ports.pressure.look(now, fates, proofs, is_idle);
        let standing = &mut self.report.standing;
        if standing.anchor_us == 0 || counters.anchors > self.report.engine.anchors {
            standing.anchor_us = now.0;
        }
        standing.looked_us = now.0;
        standing.consensus_us = self.engine.consensus_time().0;
        standing.settled = self.settled;
        standing.keys = self.engine.keys().keys().len() as u64;
        standing.is_disk_full = self.is_disk_full;
        let AdmissionCounts {
            refused,
            put_off,
            over_rate,
            disk_full,
        } = self.admission.counts;
        self.report.submissions_refused = refused;
        self.report.submissions_put_off = put_off;
        self.report.submissions_over_rate = over_rate;
        self.report.disk_full.busy = disk_full;
        self.report.engine = counters;
        self.report.round = self.engine.round();
        self.report.journal = self.ports.journal.stats();
        self.report.certificates = self.ports.certificates.counts();
        self.report.follow = self.followers.counts();
        self.report.workers = self.ports.settle.figures();
        self.report.settle_port = self.ports.settle.remote_figures();
        if let Ok(mut report) = self.ports.report.try_lock() {
            report.clone_from(&self.report);
        }
    }
}

impl Stage for CoreStage {
    /// In order of who waits: an own vertex that became durable leaves first; then come new envelopes (so that they make
    /// it into the next vertex), what authorities sent, and with it perhaps the next own vertex, which goes to the disk
    /// at once; shares are made and batches opened while the disk works.
    fn poll(&mut self, now: TimestampUs) -> Result<Polled, Fatal> {
        self.send_unsent();
        self.look_at_disk();
        let waits_for_disk = self.ports.journal.is_backlogged() && !self.is_disk_full;
        let held_back = !self.unsent.is_empty() || waits_for_disk;
        let durable = self.ports.journal.durable();
        if durable > self.durable {
            self.durable = durable;
            let start = Instant::now();
            self.input(now, Input::Durable { records: durable });
            self.report.steps.engine.add_since(start, 1);
            self.carry_out()?;
            self.hand_on(now)?;
            // On a thread that is shared with the IO stage nothing leaves before this returns.
            return Ok(Polled::Busy);
        }
        let taken = if held_back { 0 } else { self.take_in(now) };
        self.check_proofs(now);
        self.handle_inbox(now);
        while let Some((item, bytes)) = self.ports.loader.try_take() {
            self.input(now, Input::Loaded { item, bytes });
        }
        if self.engine.next_deadline(now).is_some_and(|at| at <= now) {
            let start = Instant::now();
            self.input(now, Input::Tick);
            self.report.steps.engine.add_since(start, 1);
        }
        // Before a vertex made just now is durable, and so before it is sent.
        if !self.engine.is_asking() {
            let confirmed = self.ports.boot.confirm();
            confirmed.map_err(|error| Fatal(error.to_string()))?;
        }
        self.carry_out()?;
        self.hand_on(now)?;

        let start = Instant::now();
        self.engine.advance_reveal(now, &mut self.effects);
        self.report.steps.reveal.add_since(start, 1);
        self.carry_out()?;
        let opened = self.open_batches(now);
        self.carry_out()?;
        let sign_at = self.certify(now)?;
        let opened_count = self.engine.next_open_seq().0;
        let feed_at = self.ports.settle.poll(now, opened_count, self.is_disk_full);
        self.tell_settled();
        let flush_at = self.hand_on(now)?;
        let catch_up = self.engine.catch_up();
        self.report.standing.is_catching_up = catch_up.is_some();
        if let Some(line) = self.catch_up_log.line(now, catch_up) {
            eprintln!("{line}");
        }
        self.publish(now);
        if taken == PORTION_MAX || (opened && self.engine.ready_len_max().is_some()) {
            return Ok(Polled::Busy);
        }
        let deadline = self
            .engine
            .next_deadline(now)
            .into_iter()
            .chain(flush_at)
            .chain(feed_at)
            .chain(sign_at)
            .chain((!self.unsent.is_empty()).then(|| now.plus_us(UNSENT_RETRY_US)))
            .min();
        Ok(match self.engine.is_eager(now) {
            true => Polled::Eager(deadline),
            false => Polled::Idle(deadline),
        })
    }

    fn finish(&mut self) -> Result<(), Fatal> {
        self.publish(clock());
        self.ports.journal.finish()?;
        self.publish(clock());
        let cleared = self.ports.boot.clear();
        cleared.map_err(|error| Fatal(error.to_string()))
    }
}

/// Tells the operator, once an author and kind, as the engine gives evidence.
fn warn_of(evidence: &[u8]) {
    if let Ok(evidence) = Evidence::decode(evidence) {
        eprintln!(
            "warning: {} is faulty; it signed {}; the evidence is in the journal",
            evidence.author(),
            evidence.kind()
        );
    }
}

/// What answers a peer that is behind, and what is long: vertices, shares and requests go before it.
const fn is_bulk(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Envelope(_) | PeerMessage::Part(_))
}

fn frame_of(message: &PeerMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = frame::FrameWriter::begin(&mut bytes, message.kind());
    message.encode_body(writer.body());
    writer
        .finish(FRAME_LEN_MAX)
        .expect("every message is bounded far below the frame's bound");
    bytes
}
