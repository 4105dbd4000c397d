//! Who is connected, and what their frames mean to the IO stage.
//!
//! Pure bookkeeping: events and frames go in, messages to the core stage go into a ring, and what must be done to
//! connections is noted as [`Op`]s, which the IO stage carries out after the backend has handed out its events (the events
//! borrow the backend).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fairlane_client::protocol::{
    self, Ack, AckCode, FollowCode, GoodbyeCode, Hello, REQUEST_LEN_MAX, Request, Welcome,
};
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::vertex::vertex_len_max;
use fairlane_engine::seal::share::{SHARE_MESSAGE_OVERHEAD, SHARES_MAX};
use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use self::core_queue::CoreQueue;
use self::datagrams::{DatagramClients, Surroundings};
use self::peers::{Outcome, PeerLinks};
use super::io::{CLIENTS, IoCounters};
use super::key_watch::KeyCell;
use super::messages::{NoticeFlags, ToCore};
use super::pressure::parts::SALT_US;
use super::pressure::{Gate, Pressure};
use crate::backend::{ConnId, Event};
use crate::deframe::Deframer;
use crate::frame::Frame;
use crate::session::keys::LinkKeys;

pub mod core_queue;
pub mod datagrams;
pub mod door;
pub mod peers;

/// A submission that finds more under way than the node opens in a moment is told to come back after this time: when it
/// draws anew.
pub const OVERLOAD_RETRY_US: u64 = SALT_US;
/// A submission that finds the ring full is told to come back after this time.
pub const BUSY_RETRY_US: u64 = 20_000;
/// Version and kind, in front of every body.
const FRAME_HEAD_LEN: usize = 2;

/// Something to do to a connection.
#[derive(Debug)]
pub enum Op {
    /// Send these frames.
    Send(ConnId, Vec<u8>),
    /// Deliver what is queued, then close.
    Close(ConnId),
    /// Reset.
    Abort(ConnId),
    /// Send this datagram to a client.
    SendDatagram(SocketAddr, Vec<u8>),
}

/// All connections of a node.
pub struct Links {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    key: KeyCell,
    /// Connections with authorities.
    pub peers: PeerLinks,
    /// Clients' connections, by slot.
    conns: Vec<Option<Conn>>,
    clients: BTreeMap<u64, ConnId>,
    /// Clients over UDP, where it is listened for them.
    pub datagrams: Option<DatagramClients>,
    next_connection: u64,
    core: CoreQueue,
    gate: Gate,
    /// Answers to submissions that were not taken, of one client: they leave as one frame.
    refused: Vec<Ack>,
    /// What to do next, in order.
    pub ops: Vec<Op>,
    /// What was counted.
    pub counters: IoCounters,
}

#[derive(Debug)]
struct Conn {
    id: ConnId,
    role: Role,
    deframer: Deframer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Accepted from the client listener, no hello yet.
    NewClient,
    Client {
        connection: u64,
        settled: bool,
        keys: bool,
    },
}

/// Why a client is cut.
struct Cut(GoodbyeCode, &'static str);

impl Links {
    /// Nobody is connected yet. `addresses` are where authorities are, by index.
    pub fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        key: KeyCell,
        (keys, addresses): (Arc<LinkKeys>, Vec<IpAddr>),
        datagrams: Option<DatagramClients>,
        (to_core, pressure): (rtrb::Producer<ToCore>, Arc<Pressure>),
    ) -> Self {
        let authorities = committee.thresholds().authorities() as usize;
        Self {
            peers: PeerLinks::new(keys, peer_frame_len_max(&committee), addresses),
            committee,
            own,
            key,
            conns: Vec::new(),
            clients: BTreeMap::new(),
            datagrams,
            next_connection: 1,
            core: CoreQueue::new(to_core, authorities),
            gate: Gate::new(pressure),
            refused: Vec::new(),
            ops: Vec::new(),
            counters: IoCounters::default(),
        }
    }

    /// The connection of a client.
    pub fn client(&self, connection: u64) -> Option<ConnId> {
        self.clients.get(&connection).copied()
    }

    /// Connections of the clients that want to know how many batches are settled.
    pub fn settled_listeners(&self) -> impl Iterator<Item = ConnId> {
        self.clients_where(|role| matches!(role, Role::Client { settled: true, .. }))
    }

    /// Connections of the clients that follow the keys.
    pub fn key_listeners(&self) -> impl Iterator<Item = ConnId> {
        self.clients_where(|role| matches!(role, Role::Client { keys: true, .. }))
    }

    fn clients_where(&self, wants: impl Fn(Role) -> bool) -> impl Iterator<Item = ConnId> {
        let conns = self.conns.iter().flatten();
        conns
            .filter(move |conn| wants(conn.role))
            .map(|conn| conn.id)
    }

    /// Whether messages wait for room in the ring to the core stage.
    pub fn is_backlogged(&self) -> bool {
        self.core.is_backlogged()
    }

    /// Hands on what waited for room, as far as there is some.
    pub fn hand_over_backlog(&mut self) {
        self.core.hand_over_backlog();
    }

    /// Authorities' connections, and what their events may lead to.
    pub fn with_peers<T>(
        &mut self,
        now: TimestampUs,
        call: impl FnOnce(&mut PeerLinks, &mut Outcome<'_>) -> T,
    ) -> T {
        let (core, ops) = (&mut self.core, &mut self.ops);
        call(&mut self.peers, &mut Outcome { now, core, ops })
    }

    /// A connection's other end reads too slowly: it is reset.
    pub fn on_slow(&mut self, conn: ConnId, now: TimestampUs) {
        let slow = |peers: &mut PeerLinks, outcome: &mut Outcome<'_>| {
            peers.cut_conn(conn, peers::Cut::Slow, outcome)
        };
        if !self.with_peers(now, slow) {
            self.counters.clients_slow += 1;
            self.ops.push(Op::Abort(conn));
        }
    }

    /// Takes one event of the backend.
    pub fn on_event(&mut self, event: Event<'_>, now: TimestampUs) {
        match event {
            Event::Accepted { conn, listener, .. } if listener == CLIENTS => self.put(conn),
            Event::Accepted { conn, peer, .. } => {
                self.with_peers(now, |peers, outcome| {
                    peers.on_accepted(conn, peer.ip(), outcome);
                });
            }
            Event::Connected { conn, tag } => {
                let peer = AuthorityIndex(tag as u8);
                self.peers.on_connected(conn, peer, now);
            }
            Event::Received { conn, bytes } => {
                if !self.with_peers(now, |peers, outcome| peers.on_bytes(conn, bytes, outcome)) {
                    self.on_client_bytes(conn, bytes, now);
                }
            }
            Event::Closed { conn, .. } => {
                if !self.with_peers(now, |peers, outcome| peers.on_closed(conn, outcome)) {
                    self.on_client_closed(conn);
                }
            }
            Event::Datagram { peer, bytes, .. } => self.on_datagram(peer, bytes, now),
            Event::Woken => {}
        }
    }

    fn on_datagram(&mut self, peer: SocketAddr, bytes: &[u8], now: TimestampUs) {
        let Some(datagrams) = &mut self.datagrams else {
            return;
        };
        let (committee, own, key) = (&self.committee, self.own, &self.key);
        let mut around = Surroundings {
            now,
            core: &mut self.core,
            gate: &mut self.gate,
            ops: &mut self.ops,
            next_connection: &mut self.next_connection,
            welcome: &|hello| welcome(committee, own, key, hello),
        };
        datagrams.on_datagram(peer, bytes, &mut around);
    }

    /// Tells clients over UDP; false: no such client.
    pub fn send_datagrams(&mut self, connection: u64, frames: &[u8]) -> bool {
        let ops = &mut self.ops;
        let mut datagrams = self.datagrams.iter_mut();
        datagrams.any(|datagrams| datagrams.send(connection, frames, ops))
    }

    /// Tells clients over UDP how many batches are settled.
    pub fn send_settled_datagrams(&mut self, count: u64) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.send_settled(count, &mut self.ops);
        }
    }

    /// Tells clients over UDP of a new key.
    pub fn send_key_datagrams(&mut self, frame: &[u8]) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.send_key(frame, &mut self.ops);
        }
    }

    /// Forgets clients over UDP that are silent.
    pub fn look_at_datagrams(&mut self, now: TimestampUs) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.look(now, &mut self.core);
        }
    }

    fn put(&mut self, id: ConnId) {
        let slot = id.slot();
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.conns[slot] = Some(Conn {
            id,
            role: Role::NewClient,
            deframer: Deframer::new(REQUEST_LEN_MAX),
        });
    }

    fn on_client_bytes(&mut self, id: ConnId, bytes: &[u8], now: TimestampUs) {
        let slot = self.conns.get_mut(id.slot());
        let Some(mut conn) = slot.and_then(|slot| slot.take_if(|conn| conn.id == id)) else {
            return;
        };
        let mut role = conn.role;
        let mut frames = conn.deframer.feed(bytes);
        let cut = loop {
            let taken = match frames.next() {
                Ok(None) => break None,
                Ok(Some(frame)) => self.on_client_frame(id, &mut role, frame, now),
                Err(_) => Err(Cut(
                    GoodbyeCode::BadFrame,
                    "a frame is malformed or too long",
                )),
            };
            if let Err(cut) = taken {
                break Some(cut);
            }
        };
        drop(frames);
        conn.role = role;
        if !self.refused.is_empty() {
            let mut bytes = Vec::new();
            protocol::encode_acks(&mut bytes, &self.refused);
            self.refused.clear();
            self.ops.push(Op::Send(id, bytes));
        }
        self.conns[id.slot()] = Some(conn);
        if let Some(Cut(code, text)) = cut {
            self.counters.clients_cut += 1;
            let mut bytes = Vec::new();
            protocol::encode_goodbye(&mut bytes, code, text);
            self.ops.push(Op::Send(id, bytes));
            self.ops.push(Op::Close(id));
        }
    }

    fn on_client_frame(
        &mut self,
        id: ConnId,
        role: &mut Role,
        frame: Frame<'_>,
        now: TimestampUs,
    ) -> Result<(), Cut> {
        let malformed = |_| Cut(GoodbyeCode::BadFrame, "a frame does not decode");
        match (
            Request::decode_body(frame.kind, frame.body).map_err(malformed)?,
            *role,
        ) {
            (Request::Hello(hello), Role::NewClient) => self.on_hello(id, role, hello),
            (Request::Submit { tag, envelope }, Role::Client { connection, .. }) => {
                self.counters.submissions += 1;
                let waiting = self.core.submissions_len();
                let submission = || ToCore::Submit {
                    connection,
                    tag,
                    bytes: Arc::from(envelope),
                };
                // What is refused here costs neither a copy nor a hash.
                let retry_us = if !self.gate.takes(id.slot(), envelope, waiting, now) {
                    Some(OVERLOAD_RETRY_US)
                } else if !self.core.try_submit(id.slot(), submission()) {
                    Some(BUSY_RETRY_US)
                } else {
                    None
                };
                if let Some(detail) = retry_us {
                    self.counters.busy += 1;
                    self.refused.push(Ack {
                        tag,
                        code: AckCode::Busy,
                        detail,
                    });
                }
                Ok(())
            }
            (Request::Hello(_), _) => Err(Cut(GoodbyeCode::BadFrame, "a second hello")),
            (Request::Follow { name, target }, Role::Client { connection, .. }) => {
                let wish = ToCore::Follow {
                    connection,
                    name,
                    target,
                };
                if !self.core.try_submit(id.slot(), wish) {
                    self.counters.busy += 1;
                    let mut bytes = Vec::new();
                    protocol::encode_following(&mut bytes, name, FollowCode::Busy);
                    self.ops.push(Op::Send(id, bytes));
                }
                Ok(())
            }
            (Request::Submit { .. } | Request::Follow { .. }, _) => {
                Err(Cut(GoodbyeCode::BadFrame, "a submission before hello"))
            }
        }
    }

    fn on_hello(&mut self, id: ConnId, role: &mut Role, hello: Hello) -> Result<(), Cut> {
        let bytes = welcome(&self.committee, self.own, &self.key, &hello);
        let bytes = bytes.ok_or(Cut(
            GoodbyeCode::WrongChain,
            "this node serves another chain",
        ))?;
        let connection = self.next_connection;
        self.next_connection += 1;
        self.counters.clients += 1;
        self.clients.insert(connection, id);
        *role = Role::Client {
            connection,
            settled: hello.settled,
            keys: hello.keys,
        };
        self.ops.push(Op::Send(id, bytes));
        let notices = NoticeFlags {
            receipts: hello.receipts,
            ordered: hello.ordered,
            settled: hello.settled,
            is_datagram: false,
        };
        self.core.hand_over(ToCore::ClientUp {
            connection,
            notices,
        });
        Ok(())
    }

    fn on_client_closed(&mut self, id: ConnId) {
        let slot = self.conns.get_mut(id.slot());
        let Some(conn) = slot.and_then(|slot| slot.take_if(|conn| conn.id == id)) else {
            return;
        };
        if let Role::Client { connection, .. } = conn.role {
            self.clients.remove(&connection);
            self.core.hand_over(ToCore::ClientDown { connection });
        }
    }
}

/// What a client is welcomed with; `None` where it means another chain.
fn welcome(
    committee: &Committee,
    own: AuthorityIndex,
    key: &KeyCell,
    hello: &Hello,
) -> Option<Vec<u8>> {
    if hello.chain_id != committee.chain_id {
        return None;
    }
    let word = key.load();
    let mut bytes = Vec::new();
    protocol::encode_welcome(
        &mut bytes,
        &Welcome {
            authority: own,
            chain_id: committee.chain_id,
            epoch: committee.epoch,
            key_id: word.key_id,
        },
    );
    if let Some(frame) = word.frame.filter(|_| hello.keys) {
        bytes.extend_from_slice(&frame);
    }
    Some(bytes)
}

/// The longest frame that an authority sends.
fn peer_frame_len_max(committee: &Committee) -> u32 {
    let share = SHARE_MESSAGE_OVERHEAD + SHARES_MAX * 32;
    let longest = vertex_len_max(committee)
        .max(share)
        .max(protocol::ENVELOPE_LEN_MAX);
    u32::try_from(longest + FRAME_HEAD_LEN).expect("every message is bounded far below 4 GiB")
}
