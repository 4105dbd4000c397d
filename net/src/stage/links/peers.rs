//! Connections with the other authorities: handshakes, sessions, signs of life, and who is cut for what.
//!
//! Of each pair the lower index connects. Who is at the other end is what the handshake proved (see [`crate::session`]); a
//! later session of the same authority takes the place of an earlier one, whose other end may be long gone.
//!
//! A link that breaks a rule is dropped here at once and reset by the IO stage; what it missed is fetched through the DAG.
//!
//! Invariants: P1. An authority has at most one link that counts, and the core knows of it from `PeerUp` to `PeerDown`.
//! P2. Every connection that is cut is counted under one reason. P3. Nothing is believed before a record has opened.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use super::Op;
use super::core_queue::CoreQueue;
use super::door::{Door, Knock};
use crate::backend::ConnId;
use crate::deframe::Deframer;
use crate::frame::FrameError;
use crate::session::Fault;
use crate::session::handshake::Handshake;
use crate::session::keys::LinkKeys;
use crate::session::records::Session;
use crate::stage::messages::ToCore;

/// Bytes of bulk that wait for one authority.
pub const BULK_QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long a handshake may take.
pub const HANDSHAKE_US_MAX: u64 = 3_000_000;
/// A link from which nothing opened for so long is cut.
pub const SILENCE_US_MAX: u64 = 5_000_000;
/// A link on which nothing was sent for so long gets an empty record.
const SIGN_OF_LIFE_US: u64 = 1_000_000;
/// How often these times are looked at.
const LOOK_US: u64 = 250_000;

/// What became of connections with authorities, or with those who were none; each cut counts under one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LinkCounters {
    /// Sessions that came up.
    pub sessions: u64,
    /// Messages taken.
    pub messages: u64,
    /// Closed at once: the address has failed too often.
    pub throttled: u64,
    /// Handshakes that made room for newer ones.
    pub crowded: u64,
    /// Handshakes that took too long.
    pub late: u64,
    /// Handshakes of another version.
    pub version: u64,
    /// Handshakes under an index that does not connect here.
    pub index: u64,
    /// Handshakes that did not pass the gate: a wrong or unknown key, another committee, a replay.
    pub gate: u64,
    /// Handshakes of an authority that begins too many, or is barred.
    pub too_often: u64,
    /// Handshakes that passed the gate and did not hold.
    pub handshake: u64,
    /// Links cut for a record of a wrong length.
    pub record_length: u64,
    /// Links cut for a record that did not open: changed, repeated, reordered, inserted or left out on the way.
    pub record: u64,
    /// Links cut, their authority barred, for a frame that is none.
    pub frame: u64,
    /// Links cut because too much of what they sent waited.
    pub flood: u64,
    /// Links cut, their authority barred, for too many messages that no correct authority sends.
    pub rubbish: u64,
    /// Links cut because nothing came.
    pub silent: u64,
    /// Links cut because their other end reads too slowly.
    pub slow: u64,
}

impl LinkCounters {
    fn add(&mut self, cut: Cut) {
        *match cut {
            Cut::Late => &mut self.late,
            Cut::Frame => &mut self.frame,
            Cut::Flood => &mut self.flood,
            Cut::Rubbish => &mut self.rubbish,
            Cut::Silent => &mut self.silent,
            Cut::Slow => &mut self.slow,
            Cut::Fault(Fault::Version) => &mut self.version,
            Cut::Fault(Fault::Index) => &mut self.index,
            Cut::Fault(Fault::Gate) => &mut self.gate,
            Cut::Fault(Fault::TooOften) => &mut self.too_often,
            Cut::Fault(Fault::Handshake) => &mut self.handshake,
            Cut::Fault(Fault::RecordLength) => &mut self.record_length,
            Cut::Fault(Fault::Record) => &mut self.record,
        } += 1;
    }

    /// Name and count of each reason for which a connection was refused or cut.
    pub const fn cuts(&self) -> [(&'static str, u64); 15] {
        [
            ("throttled", self.throttled),
            ("crowded", self.crowded),
            ("late", self.late),
            ("version", self.version),
            ("index", self.index),
            ("gate", self.gate),
            ("too_often", self.too_often),
            ("handshake", self.handshake),
            ("record_length", self.record_length),
            ("record", self.record),
            ("frame", self.frame),
            ("flood", self.flood),
            ("rubbish", self.rubbish),
            ("silent", self.silent),
            ("slow", self.slow),
        ]
    }

    /// Handshakes and connections that were refused.
    pub const fn refused(&self) -> u64 {
        let before_gate = self.throttled + self.crowded + self.late + self.version + self.index;
        before_gate + self.gate + self.too_often + self.handshake
    }
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What the session says.
    Fault(Fault),
    /// The handshake takes too long.
    Late,
    /// A frame is malformed or too long.
    Frame,
    /// Too much of it waits.
    Flood,
    /// The core stage has seen too many messages that no correct authority sends.
    Rubbish,
    /// Nothing came for too long.
    Silent,
    /// Too much waits to be sent.
    Slow,
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FrameError> for Cut {
    fn from(_: FrameError) -> Self {
        Self::Frame
    }
}

/// What a connection's events may lead to.
pub struct Outcome<'a> {
    /// The time.
    pub now: TimestampUs,
    /// The way to the core stage.
    pub core: &'a mut CoreQueue,
    /// What is to be done to connections.
    pub ops: &'a mut Vec<Op>,
}

/// All connections with authorities.
#[derive(Debug)]
pub struct PeerLinks {
    keys: Arc<LinkKeys>,
    frame_len_max: u32,
    /// By slot.
    conns: Vec<Option<Conn>>,
    /// By index.
    peers: Vec<Peer>,
    /// Messages in all bulk queues.
    bulk_len: usize,
    door: Door,
    look_at: TimestampUs,
    /// What was counted.
    pub counters: LinkCounters,
}

#[derive(Debug)]
struct Conn {
    id: ConnId,
    /// Whom we called; none when we were called.
    called: Option<AuthorityIndex>,
    /// When it was there, and then when a record last opened.
    heard_at: TimestampUs,
    deframer: Deframer,
    end: End,
}

#[derive(Debug)]
enum End {
    Handshake(Box<Handshake>),
    /// `is_up`: it is the authority's link, or was.
    Session {
        session: Box<Session>,
        is_up: bool,
    },
}

/// What there is of one authority.
#[derive(Debug)]
struct Peer {
    link: Option<ConnId>,
    said_at: TimestampUs,
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
}

impl PeerLinks {
    /// Nobody is connected. `addresses` are the authorities', by index.
    pub fn new(keys: Arc<LinkKeys>, frame_len_max: u32, addresses: Vec<IpAddr>) -> Self {
        let peer = |_: &IpAddr| Peer {
            link: None,
            said_at: TimestampUs(0),
            bulk: VecDeque::new(),
            bulk_bytes: 0,
        };
        Self {
            keys,
            frame_len_max,
            conns: Vec::new(),
            peers: addresses.iter().map(peer).collect(),
            bulk_len: 0,
            door: Door::new(addresses.into_iter()),
            look_at: TimestampUs(0),
            counters: LinkCounters::default(),
        }
    }

    /// The link of an authority.
    pub fn link(&self, peer: AuthorityIndex) -> Option<ConnId> {
        self.peers[peer.as_usize()].link
    }

    /// Whether an authority is kept out, and not called.
    pub fn is_barred(&self, peer: AuthorityIndex, now: TimestampUs) -> bool {
        self.door.is_barred(peer, now)
    }

    /// Somebody connected.
    pub fn on_accepted(&mut self, id: ConnId, address: IpAddr, outcome: &mut Outcome<'_>) {
        match self.door.knock(id, address.to_canonical(), outcome.now) {
            Knock::Enter => {}
            Knock::Replace(oldest) => {
                self.counters.crowded += 1;
                self.take(oldest);
                outcome.ops.push(Op::Abort(oldest));
            }
            Knock::Throttled => {
                self.counters.throttled += 1;
                outcome.ops.push(Op::Abort(id));
                return;
            }
        }
        let mut nonce = [0; 32];
        if getrandom::fill(&mut nonce).is_err() {
            // Without random bytes there is no session; the other end tries again.
            self.door.leave(id, false, outcome.now);
            outcome.ops.push(Op::Abort(id));
            return;
        }
        let mut greeting = Vec::new();
        let handshake = Handshake::accept(self.keys.clone(), nonce, &mut greeting);
        outcome.ops.push(Op::Send(id, greeting));
        self.put(id, None, handshake, outcome.now);
    }

    /// A connection that we began is up.
    pub fn on_connected(&mut self, id: ConnId, peer: AuthorityIndex, now: TimestampUs) {
        let handshake = Handshake::connect(self.keys.clone(), peer);
        self.put(id, Some(peer), handshake, now);
    }

    /// Bytes came; false when the connection is not one of these.
    pub fn on_bytes(&mut self, id: ConnId, bytes: &[u8], outcome: &mut Outcome<'_>) -> bool {
        let Some(mut conn) = self.take(id) else {
            return false;
        };
        match self.read(&mut conn, bytes, outcome) {
            Ok(()) => self.conns[id.slot()] = Some(conn),
            Err(cut) => self.cut(conn, cut, outcome),
        }
        true
    }

    /// A connection is over; false when it is not one of these.
    pub fn on_closed(&mut self, id: ConnId, outcome: &mut Outcome<'_>) -> bool {
        let Some(conn) = self.take(id) else {
            return false;
        };
        self.let_go(&conn, true, outcome);
        true
    }

    /// Cuts a connection; false when it is not one of these.
    pub fn cut_conn(&mut self, id: ConnId, cut: Cut, outcome: &mut Outcome<'_>) -> bool {
        let conn = self.take(id);
        let is_ours = conn.is_some();
        if let Some(conn) = conn {
            self.cut(conn, cut, outcome);
        }
        is_ours
    }

    /// Cuts an authority's link.
    pub fn cut_peer(&mut self, peer: AuthorityIndex, cut: Cut, outcome: &mut Outcome<'_>) {
        if let Some(id) = self.link(peer) {
            self.cut_conn(id, cut, outcome);
        }
    }

    /// Cuts what takes too long or is silent, and gives signs of life. Looks four times a second at most.
    pub fn look(&mut self, outcome: &mut Outcome<'_>) {
        let now = outcome.now;
        if now < self.look_at {
            return;
        }
        self.look_at = now.plus_us(LOOK_US);
        for slot in 0..self.conns.len() {
            let overdue = self.conns[slot].as_ref().and_then(|conn| conn.overdue(now));
            if let Some(cut) = overdue
                && let Some(conn) = self.conns[slot].take()
            {
                self.cut(conn, cut, outcome);
            }
        }
        for index in 0..self.peers.len() {
            if now.since_us(self.peers[index].said_at) >= SIGN_OF_LIFE_US {
                let mut out = Vec::new();
                if let Some(id) = self.seal(AuthorityIndex(index as u8), &[], &mut out, now) {
                    outcome.ops.push(Op::Send(id, out));
                }
            }
        }
    }

    /// Appends `bytes`, sealed for an authority, to `out`, and gives the connection on which it must leave next.
    pub fn seal(
        &mut self,
        to: AuthorityIndex,
        bytes: &[u8],
        out: &mut Vec<u8>,
        now: TimestampUs,
    ) -> Option<ConnId> {
        let peer = &mut self.peers[to.as_usize()];
        let id = peer.link?;
        let conn = self.conns.get_mut(id.slot())?.as_mut();
        let End::Session { session, .. } = &mut conn.filter(|conn| conn.id == id)?.end else {
            return None;
        };
        session.seal(bytes, out);
        peer.said_at = now;
        Some(id)
    }

    /// Queues what may wait until there is nothing else to send; false when too much waits already.
    pub fn push_bulk(&mut self, to: AuthorityIndex, bytes: Vec<u8>) -> bool {
        let peer = &mut self.peers[to.as_usize()];
        if peer.link.is_none() {
            return true;
        }
        if bytes.len() > BULK_QUEUE_BYTES_MAX - peer.bulk_bytes {
            return false;
        }
        peer.bulk_bytes += bytes.len();
        peer.bulk.push_back(bytes);
        self.bulk_len += 1;
        true
    }

    /// The next of it for an authority.
    pub fn pop_bulk(&mut self, to: AuthorityIndex) -> Option<Vec<u8>> {
        let peer = &mut self.peers[to.as_usize()];
        let bytes = peer.bulk.pop_front()?;
        peer.bulk_bytes -= bytes.len();
        self.bulk_len -= 1;
        Some(bytes)
    }

    /// Whether anything waits as bulk.
    pub const fn has_bulk(&self) -> bool {
        self.bulk_len > 0
    }

    fn put(
        &mut self,
        id: ConnId,
        called: Option<AuthorityIndex>,
        handshake: Handshake,
        now: TimestampUs,
    ) {
        let slot = id.slot();
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.conns[slot] = Some(Conn {
            id,
            called,
            heard_at: now,
            deframer: Deframer::new(self.frame_len_max),
            end: End::Handshake(Box::new(handshake)),
        });
    }

    fn take(&mut self, id: ConnId) -> Option<Conn> {
        self.conns.get_mut(id.slot())?.take_if(|conn| conn.id == id)
    }

    fn read(
        &mut self,
        conn: &mut Conn,
        bytes: &[u8],
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Cut> {
        let mut input = bytes;
        if let End::Handshake(handshake) = &mut conn.end {
            let mut out = Vec::new();
            let (door, now) = (&mut self.door, outcome.now);
            let session =
                handshake.feed(&mut input, &mut out, &mut |peer| door.admit(peer, now))?;
            if let Some(mut session) = session {
                door.leave(conn.id, false, now);
                conn.heard_at = now;
                let is_up = conn.called.is_some();
                if is_up {
                    // The other end believes in us at our first record.
                    session.seal(&[], &mut out);
                    self.on_link(session.peer(), conn.id, outcome);
                }
                let session = Box::new(session);
                conn.end = End::Session { session, is_up };
            }
            if !out.is_empty() {
                outcome.ops.push(Op::Send(conn.id, out));
            }
        }
        let End::Session { session, is_up } = &mut conn.end else {
            return Ok(());
        };
        let from = session.peer();
        while let Some(plain) = session.open(&mut input)? {
            conn.heard_at = outcome.now;
            if !std::mem::replace(is_up, true) {
                self.on_link(from, conn.id, outcome);
            }
            let mut frames = conn.deframer.feed(plain);
            while let Some(frame) = frames.next()? {
                self.counters.messages += 1;
                let (kind, body) = (frame.kind, frame.body.to_vec());
                if let Some(flooder) = outcome.core.hand_over_from(from, kind, body) {
                    self.on_flood(flooder, from, outcome)?;
                }
            }
        }
        Ok(())
    }

    /// Cuts the one that sends too much: the sender of this message itself, or else another that has a link.
    fn on_flood(
        &mut self,
        flooder: AuthorityIndex,
        sender: AuthorityIndex,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Cut> {
        if flooder == sender || self.link(flooder).is_none() {
            return Err(Cut::Flood);
        }
        self.cut_peer(flooder, Cut::Flood, outcome);
        Ok(())
    }

    /// A session is up; one that was there before is given up, for its other end may be long gone.
    fn on_link(&mut self, peer: AuthorityIndex, id: ConnId, outcome: &mut Outcome<'_>) {
        self.counters.sessions += 1;
        self.forget_bulk(peer);
        let place = &mut self.peers[peer.as_usize()];
        place.said_at = outcome.now;
        if let Some(before) = place.link.replace(id) {
            self.take(before);
            outcome.ops.push(Op::Abort(before));
        }
        outcome.core.hand_over(ToCore::PeerUp { peer });
    }

    fn cut(&mut self, conn: Conn, cut: Cut, outcome: &mut Outcome<'_>) {
        self.counters.add(cut);
        if let End::Session { session, .. } = &conn.end
            && matches!(cut, Cut::Frame | Cut::Rubbish)
        {
            // The records hold, so it was the authority itself.
            self.door.bar(session.peer(), outcome.now);
        }
        outcome.ops.push(Op::Abort(conn.id));
        self.let_go(&conn, true, outcome);
    }

    /// Forgets a connection that is over; `failed`: a handshake under way counts as failed.
    fn let_go(&mut self, conn: &Conn, failed: bool, outcome: &mut Outcome<'_>) {
        self.door.leave(conn.id, failed, outcome.now);
        let End::Session { session, .. } = &conn.end else {
            return;
        };
        let peer = session.peer();
        if self.link(peer) == Some(conn.id) {
            self.peers[peer.as_usize()].link = None;
            self.forget_bulk(peer);
            outcome.core.hand_over(ToCore::PeerDown { peer });
        }
    }

    fn forget_bulk(&mut self, peer: AuthorityIndex) {
        while self.pop_bulk(peer).is_some() {}
    }
}

impl Conn {
    /// Why it is to be cut by now, if it is.
    fn overdue(&self, now: TimestampUs) -> Option<Cut> {
        let since = now.since_us(self.heard_at);
        match self.end {
            End::Handshake(_) if since >= HANDSHAKE_US_MAX => Some(Cut::Late),
            End::Session { .. } if since >= SILENCE_US_MAX => Some(Cut::Silent),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
