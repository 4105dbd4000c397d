//! The IO stage on a network that is a list of events, with authority 2 of four at the other end of one connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::*;
use crate::backend::{BackendKind, CloseReason, Counters, DatagramLimits, DatagramSource, Waker};
use crate::deframe::Deframer;
use crate::frame;
use crate::session::handshake::Handshake;
use crate::session::records::Session;
use crate::session::tests::{committee_of_four, keys};

/// What the stage sees of the network, and what it did to it.
#[derive(Default)]
struct Network {
    events: VecDeque<(ConnId, Happened)>,
    sent: Vec<u8>,
    /// Sent and not taken by the kernel.
    queued: usize,
    aborted: Vec<ConnId>,
}

enum Happened {
    Connected(u32),
    Received(Vec<u8>),
}

struct FakeBackend(Rc<RefCell<Network>>);

impl Backend for FakeBackend {
    fn kind(&self) -> BackendKind {
        BackendKind::Mio
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        _: ListenerTag,
        _: ListenLimits,
    ) -> io::Result<SocketAddr> {
        Ok(address)
    }

    fn connect(&mut self, _: SocketAddr, tag: u32) -> io::Result<ConnId> {
        if tag == u32::from(PEER.0) {
            let mut network = self.0.borrow_mut();
            network.events.push_back((conn(), Happened::Connected(tag)));
            return Ok(conn());
        }
        Err(io::ErrorKind::HostUnreachable.into())
    }

    fn send(&mut self, of: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused> {
        assert_eq!(of, conn());
        let mut network = self.0.borrow_mut();
        if network.queued + bytes.len() > PEER_QUEUE_BYTES_MAX {
            return Err(SendRefused::Full);
        }
        network.queued += bytes.len();
        network.sent.extend(bytes);
        Ok(())
    }

    fn bind_udp(
        &mut self,
        address: SocketAddr,
        _: ListenerTag,
        _: DatagramLimits,
    ) -> io::Result<SocketAddr> {
        Ok(address)
    }

    fn watch_datagrams(&mut self, _: ListenerTag, _: Box<dyn DatagramSource>) -> io::Result<()> {
        Ok(())
    }

    fn send_datagram(
        &mut self,
        _: ListenerTag,
        _: SocketAddr,
        _: &[u8],
    ) -> Result<(), SendRefused> {
        Err(SendRefused::Closed)
    }

    fn queued_bytes(&self, _: ConnId) -> Option<usize> {
        Some(self.0.borrow().queued)
    }

    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn close(&mut self, _: ConnId) {}

    fn abort(&mut self, conn: ConnId) {
        self.0.borrow_mut().aborted.push(conn);
    }

    fn poll(&mut self, _: Option<Duration>, events: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        let happened = std::mem::take(&mut self.0.borrow_mut().events);
        for (conn, happened) in happened {
            match happened {
                Happened::Connected(tag) => events(Event::Connected { conn, tag }),
                Happened::Received(bytes) => events(Event::Received {
                    conn,
                    bytes: &bytes,
                }),
            }
        }
        Ok(())
    }

    fn set_gather(&mut self, _: Duration) {}

    fn waker(&self) -> Waker {
        unreachable!("nobody else is here")
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

const PEER: AuthorityIndex = AuthorityIndex(2);

fn conn() -> ConnId {
    ConnId::from_bits(7 << 32)
}

/// The stage of authority 0, linked to authority 2.
struct Linked {
    stage: IoStage,
    network: Rc<RefCell<Network>>,
    other: Session,
    deframer: Deframer,
    from_core: rtrb::Producer<FromCore>,
    _to_core: rtrb::Consumer<ToCore>,
}

impl Linked {
    fn new() -> Self {
        let network = Rc::new(RefCell::new(Network::default()));
        let (to_core, _to_core) = rtrb::RingBuffer::new(64);
        let (from_core, from) = rtrb::RingBuffer::new(4096);
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = IoAddresses {
            client_listen: at(1),
            udp_listen: None,
            udp_gro: false,
            peer_listen: at(2),
            peers: (3..7).map(at).collect(),
        };
        let ports = IoPorts {
            to_core,
            from_core: from,
            core: WakeCell::default(),
            pressure: crate::stage::pressure::Pressure::new(),
            counters: Arc::default(),
            datagram_sources: Vec::new(),
        };
        let mut stage = IoStage::new(
            Box::new(FakeBackend(network.clone())),
            Arc::new(committee_of_four()),
            keys(0),
            KeyCell::default(),
            &addresses,
            DatagramClients::new([1; 32], 0),
            ports,
        )
        .unwrap();
        let mut greeting = Vec::new();
        let mut other = Handshake::accept(keys(2), [3; 32], &mut greeting);
        turn(&mut stage);
        receive(&network, greeting);
        turn(&mut stage);
        let opening = std::mem::take(&mut network.borrow_mut().sent);
        let mut reply = Vec::new();
        let session = other.feed(&mut &opening[..], &mut reply, &mut |_| true);
        receive(&network, reply);
        turn(&mut stage);
        let mut linked = Self {
            stage,
            network,
            other: session.unwrap().unwrap(),
            deframer: Deframer::new(1 << 20),
            from_core,
            _to_core,
        };
        assert!(linked.arrived().is_empty(), "a sign of life is no frame");
        linked
    }

    fn ask(&mut self, is_bulk: bool, kind: u8, len: usize) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, kind, &vec![0; len], 1 << 20).unwrap();
        let to = PEER;
        let pushed = self.from_core.push(FromCore::ToPeer { to, is_bulk, bytes });
        assert!(pushed.is_ok());
    }

    /// Kinds of the frames that the other end reads; the network then has nothing queued.
    fn arrived(&mut self) -> Vec<u8> {
        let mut network = self.network.borrow_mut();
        network.queued = 0;
        let sent = std::mem::take(&mut network.sent);
        let (mut input, mut kinds) = (&sent[..], Vec::new());
        while let Some(plain) = self.other.open(&mut input).unwrap() {
            let mut frames = self.deframer.feed(plain);
            while let Some(frame) = frames.next().unwrap() {
                kinds.push(frame.kind);
            }
        }
        kinds
    }

    fn links(&self) -> LinkCounters {
        self.stage.links.peers.counters
    }
}

fn receive(network: &Rc<RefCell<Network>>, bytes: Vec<u8>) {
    let event = (conn(), Happened::Received(bytes));
    network.borrow_mut().events.push_back(event);
}

fn turn(stage: &mut IoStage) {
    stage.wait(Duration::ZERO, Duration::ZERO).unwrap();
}

const VERTEX: u8 = 0x42;
const PART: u8 = 0x4a;
const PART_LEN: usize = 64 << 10;

#[test]
fn a_vertex_leaves_before_the_bulk_that_was_asked_for_earlier() {
    let mut linked = Linked::new();
    for _ in 0..100 {
        linked.ask(true, PART, PART_LEN);
    }
    linked.ask(false, VERTEX, 500);
    turn(&mut linked.stage);
    let first = linked.arrived();
    assert_eq!(first[0], VERTEX);
    let ahead_max = BULK_AHEAD_BYTES_MAX / PART_LEN + 1;
    assert!(first.len() <= 1 + ahead_max, "{} parts", first.len() - 1);

    // While bulk is on its way, what comes new has at most that much ahead of it.
    linked.ask(false, VERTEX, 500);
    turn(&mut linked.stage);
    linked.ask(false, VERTEX, 500);
    turn(&mut linked.stage);
    let next = linked.arrived();
    let vertices: Vec<usize> = (0..next.len()).filter(|at| next[*at] == VERTEX).collect();
    assert_eq!(vertices.len(), 2);
    assert!(vertices[1] <= 1 + ahead_max, "{vertices:?}");

    let mut parts = first.len() + next.len() - 3;
    for _ in 0..100 {
        turn(&mut linked.stage);
        parts += linked.arrived().len();
    }
    assert_eq!(parts, 100, "all of it arrives");
}

#[test]
fn an_authority_that_reads_too_slowly_is_cut_for_vertices_and_for_bulk() {
    for is_bulk in [false, true] {
        let mut linked = Linked::new();
        for _ in 0..1_100 {
            linked.ask(is_bulk, VERTEX, PART_LEN);
        }
        turn(&mut linked.stage);
        turn(&mut linked.stage);
        assert_eq!(linked.links().slow, 1);
        assert_eq!(linked.network.borrow().aborted, [conn()]);
        assert!(linked.stage.links.peers.link(PEER).is_none());
        linked.network.borrow_mut().sent.clear();
        linked.ask(is_bulk, VERTEX, 10);
        turn(&mut linked.stage);
        assert!(linked.network.borrow().sent.is_empty());
    }
}

#[test]
fn an_authority_that_the_core_complains_of_is_cut_and_not_called_for_a_while() {
    let mut linked = Linked::new();
    let complaint = FromCore::CutPeer { peer: PEER };
    assert!(linked.from_core.push(complaint).is_ok());
    turn(&mut linked.stage);
    assert_eq!(linked.links().rubbish, 1);
    assert_eq!(linked.network.borrow().aborted, [conn()]);
    let reason = CloseReason::Local { flushed: false };
    let now = linked.stage.now;
    let stage = &mut linked.stage;
    stage.links.on_event(
        Event::Closed {
            conn: conn(),
            reason,
        },
        now,
    );
    stage.outgoing[PEER.as_usize()].attempt = None;
    stage.connect_peers(now.plus_us(9_000_000));
    assert!(stage.outgoing[PEER.as_usize()].attempt.is_none());
    stage.connect_peers(now.plus_us(11_000_000));
    assert_eq!(stage.outgoing[PEER.as_usize()].attempt, Some(conn()));
}
