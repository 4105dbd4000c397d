//! Who is connected, and what their frames mean to the IO stage.
//!
//! Pure bookkeeping: events and frames go in, messages to the core stage go into a ring, and what must be done to
//! connections is noted as [`Op`]s, which the IO stage carries out after the backend has handed out its events (the events
//! borrow the backend).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fairlane_client::protocol::{
    self, Ack, AckCode, GoodbyeCode, Hello, REQUEST_LEN_MAX, Request, Welcome,
};
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::vertex::vertex_len_max;
use fairlane_engine::seal::share::{SHARE_MESSAGE_OVERHEAD, SHARES_MAX};
use fairlane_engine::types::AuthorityIndex;
use fairlane_engine::wire::{Reader, Writer};

use super::io::{CLIENTS, IoCounters};
use super::key_watch::KeyIdCell;
use super::messages::{NoticeFlags, ToCore};
use crate::backend::{ConnId, Event};
use crate::deframe::Deframer;
use crate::frame::{self, Frame};

/// Authorities' messages that wait for room in the ring to the core stage.
pub const BACKLOG_MAX: usize = 16_384;
/// A submission that finds the ring full is told to come back after this time.
const BUSY_RETRY_US: u64 = 20_000;
/// Kind byte of the first frame on an authority link: chain id u64, epoch u32, authority u8.
const PEER_HELLO: u8 = 0x41;
/// Bound of the hello frame.
const PEER_HELLO_LEN_MAX: u32 = 64;
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
}

/// All connections of a node.
pub struct Links {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    key_id: KeyIdCell,
    /// The link to each authority, once both said hello.
    peer_links: Vec<Option<ConnId>>,
    conns: Vec<Option<Conn>>,
    clients: BTreeMap<u64, ConnId>,
    next_connection: u64,
    to_core: rtrb::Producer<ToCore>,
    backlog: VecDeque<ToCore>,
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
    },
    /// An authority link without its hello; `expected` when we connected.
    NewPeer {
        expected: Option<AuthorityIndex>,
    },
    Peer(AuthorityIndex),
}

impl Role {
    const fn is_client(self) -> bool {
        matches!(self, Self::NewClient | Self::Client { .. })
    }
}

/// Why a connection is cut.
enum Cut {
    Client(GoodbyeCode, &'static str),
    Peer,
}

impl Links {
    /// Nobody is connected yet.
    pub fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        key_id: KeyIdCell,
        to_core: rtrb::Producer<ToCore>,
    ) -> Self {
        let peers = committee.thresholds().authorities() as usize;
        Self {
            committee,
            own,
            key_id,
            peer_links: vec![None; peers],
            conns: Vec::new(),
            clients: BTreeMap::new(),
            next_connection: 1,
            to_core,
            backlog: VecDeque::new(),
            ops: Vec::new(),
            counters: IoCounters::default(),
        }
    }

    /// The link to an authority.
    pub fn peer(&self, peer: AuthorityIndex) -> Option<ConnId> {
        self.peer_links[peer.as_usize()]
    }

    /// The connection of a client.
    pub fn client(&self, connection: u64) -> Option<ConnId> {
        self.clients.get(&connection).copied()
    }

    /// Connections of the clients that want to know how many batches are settled.
    pub fn settled_listeners(&self) -> impl Iterator<Item = ConnId> {
        let wants = |conn: &&Conn| matches!(conn.role, Role::Client { settled: true, .. });
        self.conns
            .iter()
            .flatten()
            .filter(wants)
            .map(|conn| conn.id)
    }

    /// Whether messages wait for room in the ring to the core stage.
    pub fn is_backlogged(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Takes one event of the backend.
    pub fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Accepted { conn, listener, .. } if listener == CLIENTS => {
                self.put(conn, Role::NewClient, REQUEST_LEN_MAX);
            }
            Event::Accepted { conn, .. } => {
                self.put(
                    conn,
                    Role::NewPeer { expected: None },
                    self.peer_frame_len_max(),
                );
                self.say_hello(conn);
            }
            Event::Connected { conn, tag } => {
                let expected = Some(AuthorityIndex(tag as u8));
                self.put(conn, Role::NewPeer { expected }, self.peer_frame_len_max());
                self.say_hello(conn);
            }
            Event::Received { conn, bytes } => self.on_bytes(conn, bytes),
            Event::Closed { conn, .. } => self.on_closed(conn),
            Event::Woken => {}
        }
    }

    fn peer_frame_len_max(&self) -> u32 {
        let share = SHARE_MESSAGE_OVERHEAD + SHARES_MAX * 32;
        let longest = vertex_len_max(&self.committee)
            .max(share)
            .max(protocol::ENVELOPE_LEN_MAX);
        u32::try_from(longest + FRAME_HEAD_LEN).expect("every message is bounded far below 4 GiB")
    }

    fn put(&mut self, id: ConnId, role: Role, frame_len_max: u32) {
        let slot = id.slot();
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.conns[slot] = Some(Conn {
            id,
            role,
            deframer: Deframer::new(frame_len_max),
        });
    }

    fn say_hello(&mut self, conn: ConnId) {
        let (mut body, mut bytes) = (Vec::new(), Vec::new());
        Writer::new(&mut body)
            .u64(self.committee.chain_id.0)
            .u32(self.committee.epoch.0)
            .u8(self.own.0);
        frame::append(&mut bytes, PEER_HELLO, &body, PEER_HELLO_LEN_MAX)
            .expect("a hello is far below its bound");
        self.ops.push(Op::Send(conn, bytes));
    }

    fn on_bytes(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(mut conn) = self.conns.get_mut(id.slot()).and_then(Option::take) else {
            return;
        };
        if conn.id != id {
            self.conns[id.slot()] = Some(conn);
            return;
        }
        let mut role = conn.role;
        let mut frames = conn.deframer.feed(bytes);
        let cut = loop {
            let taken = match frames.next() {
                Ok(None) => break None,
                Ok(Some(frame)) if role.is_client() => self.on_client_frame(id, &mut role, frame),
                Ok(Some(frame)) => self.on_peer_frame(id, &mut role, frame),
                Err(_) if role.is_client() => Err(Cut::Client(
                    GoodbyeCode::BadFrame,
                    "a frame is malformed or too long",
                )),
                Err(_) => Err(Cut::Peer),
            };
            if let Err(cut) = taken {
                break Some(cut);
            }
        };
        drop(frames);
        conn.role = role;
        self.conns[id.slot()] = Some(conn);
        match cut {
            None => {}
            Some(Cut::Client(code, text)) => {
                self.counters.clients_cut += 1;
                let mut bytes = Vec::new();
                protocol::encode_goodbye(&mut bytes, code, text);
                self.ops.push(Op::Send(id, bytes));
                self.ops.push(Op::Close(id));
            }
            Some(Cut::Peer) => {
                self.counters.peers_cut += 1;
                self.ops.push(Op::Abort(id));
            }
        }
    }

    fn on_client_frame(
        &mut self,
        id: ConnId,
        role: &mut Role,
        frame: Frame<'_>,
    ) -> Result<(), Cut> {
        let malformed = |_| Cut::Client(GoodbyeCode::BadFrame, "a frame does not decode");
        match (
            Request::decode_body(frame.kind, frame.body).map_err(malformed)?,
            *role,
        ) {
            (Request::Hello(hello), Role::NewClient) => self.on_hello(id, role, hello),
            (Request::Submit { tag, envelope }, Role::Client { connection, .. }) => {
                self.counters.submissions += 1;
                let bytes = Arc::from(envelope);
                let full = !self.backlog.is_empty()
                    || self
                        .to_core
                        .push(ToCore::Submit {
                            connection,
                            tag,
                            bytes,
                        })
                        .is_err();
                if full {
                    self.counters.busy += 1;
                    let ack = Ack {
                        tag,
                        code: AckCode::Busy,
                        detail: BUSY_RETRY_US,
                    };
                    let mut bytes = Vec::new();
                    protocol::encode_acks(&mut bytes, &[ack]);
                    self.ops.push(Op::Send(id, bytes));
                }
                Ok(())
            }
            (Request::Hello(_), _) => Err(Cut::Client(GoodbyeCode::BadFrame, "a second hello")),
            (Request::Submit { .. }, _) => Err(Cut::Client(
                GoodbyeCode::BadFrame,
                "a submission before hello",
            )),
        }
    }

    fn on_hello(&mut self, id: ConnId, role: &mut Role, hello: Hello) -> Result<(), Cut> {
        if hello.chain_id != self.committee.chain_id {
            return Err(Cut::Client(
                GoodbyeCode::WrongChain,
                "this node serves another chain",
            ));
        }
        let connection = self.next_connection;
        self.next_connection += 1;
        self.counters.clients += 1;
        self.clients.insert(connection, id);
        *role = Role::Client {
            connection,
            settled: hello.settled,
        };
        let mut bytes = Vec::new();
        protocol::encode_welcome(
            &mut bytes,
            &Welcome {
                authority: self.own,
                chain_id: self.committee.chain_id,
                epoch: self.committee.epoch,
                key_id: self.key_id.load(),
            },
        );
        self.ops.push(Op::Send(id, bytes));
        let notices = NoticeFlags {
            receipts: hello.receipts,
            ordered: hello.ordered,
            settled: hello.settled,
        };
        self.hand_over(ToCore::ClientUp {
            connection,
            notices,
        });
        Ok(())
    }

    fn on_peer_frame(&mut self, id: ConnId, role: &mut Role, frame: Frame<'_>) -> Result<(), Cut> {
        match *role {
            Role::NewPeer { expected } => {
                let peer = self.read_hello(frame).ok_or(Cut::Peer)?;
                if expected.is_some_and(|expected| expected != peer) {
                    return Err(Cut::Peer);
                }
                *role = Role::Peer(peer);
                self.on_link(peer, id);
                Ok(())
            }
            Role::Peer(from) => {
                self.counters.peer_messages += 1;
                let (kind, body) = (frame.kind, frame.body.to_vec());
                self.hand_over(ToCore::Peer { from, kind, body });
                if self.backlog.len() > BACKLOG_MAX {
                    Err(Cut::Peer)
                } else {
                    Ok(())
                }
            }
            Role::NewClient | Role::Client { .. } => Err(Cut::Peer),
        }
    }

    fn read_hello(&self, frame: Frame<'_>) -> Option<AuthorityIndex> {
        let mut reader = Reader::new(frame.body);
        let chain = reader.u64().ok()?;
        let epoch = reader.u32().ok()?;
        let peer = AuthorityIndex(reader.u8().ok()?);
        reader.finish().ok()?;
        let ours = frame.kind == PEER_HELLO
            && chain == self.committee.chain_id.0
            && epoch == self.committee.epoch.0
            && peer != self.own
            && self.committee.thresholds().has_member(peer);
        ours.then_some(peer)
    }

    /// A link is up; one that was there before is given up, for its other end may be long gone.
    fn on_link(&mut self, peer: AuthorityIndex, id: ConnId) {
        self.counters.peers_up += 1;
        if let Some(before) = self.peer_links[peer.as_usize()].replace(id) {
            self.ops.push(Op::Abort(before));
        }
        self.hand_over(ToCore::PeerUp { peer });
    }

    fn on_closed(&mut self, id: ConnId) {
        if let Some(at) = self.peer_links.iter().position(|link| *link == Some(id)) {
            self.peer_links[at] = None;
            self.hand_over(ToCore::PeerDown {
                peer: AuthorityIndex(at as u8),
            });
        }
        let Some(slot) = self.conns.get_mut(id.slot()) else {
            return;
        };
        if slot.as_ref().is_none_or(|conn| conn.id != id) {
            return;
        }
        let Some(conn) = slot.take() else { return };
        if let Role::Client { connection, .. } = conn.role {
            self.clients.remove(&connection);
            self.hand_over(ToCore::ClientDown { connection });
        }
    }

    /// Hands a message to the core stage, behind those that already wait.
    fn hand_over(&mut self, message: ToCore) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(message);
        } else if let Err(rtrb::PushError::Full(message)) = self.to_core.push(message) {
            self.backlog.push_back(message);
        }
    }

    /// Hands on what waited, as far as there is room.
    pub fn hand_over_backlog(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.to_core.push(message) {
                self.backlog.push_front(message);
                return;
            }
        }
    }
}
