//! A backend under test, driven from the test's thread, with a memory of what it told.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fairlane_net::backend::{
    Backend, BackendConfig, CloseReason, ConnId, Event, ListenLimits, ListenerTag, SendRefused,
    Waker,
};

use super::Open;

/// What the backend told about one connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) received: Vec<u8>,
    pub(crate) closed: Option<CloseReason>,
    is_up: bool,
}

/// The backend and everything it told so far.
pub(crate) struct Host {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) address: SocketAddr,
    pub(crate) seen: BTreeMap<ConnId, Seen>,
    /// Accepted connections, oldest first.
    pub(crate) accepted: Vec<ConnId>,
    pub(crate) connected: Vec<(ConnId, u32)>,
    /// Datagrams in the order in which they came, with their senders.
    pub(crate) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) woken: u32,
}

impl Host {
    pub(crate) fn new(open: Open) -> Self {
        Self::with(open, BackendConfig::default())
    }

    pub(crate) fn with(open: Open, config: BackendConfig) -> Self {
        let mut backend = open(config);
        let limits = ListenLimits {
            connections_max: 10_000,
            send_queue_bytes_max: config.send_queue_bytes_max,
        };
        let address = backend.listen(any_port(), CLIENTS, limits).unwrap();
        Self {
            backend,
            address,
            seen: BTreeMap::new(),
            accepted: Vec::new(),
            connected: Vec::new(),
            datagrams: Vec::new(),
            woken: 0,
        }
    }

    /// One poll; checks the order of events and notes them.
    pub(crate) fn poll(&mut self, timeout: Duration) {
        let (seen, accepted, connected) = (&mut self.seen, &mut self.accepted, &mut self.connected);
        let (woken, datagrams) = (&mut self.woken, &mut self.datagrams);
        let mut note = |event: Event<'_>| match event {
            Event::Accepted { conn, peer, .. } => {
                assert!(peer.ip().is_loopback());
                let fresh = Seen {
                    is_up: true,
                    ..Seen::default()
                };
                assert!(
                    seen.insert(conn, fresh).is_none(),
                    "{conn:?} was used before"
                );
                accepted.push(conn);
            }
            Event::Connected { conn, tag } => {
                let entry = seen.entry(conn).or_default();
                assert!(
                    !entry.is_up && entry.closed.is_none(),
                    "{conn:?} came up twice"
                );
                entry.is_up = true;
                connected.push((conn, tag));
            }
            Event::Received { conn, bytes } => {
                let entry = seen.get_mut(&conn).expect("received before it was up");
                assert!(entry.is_up, "{conn:?} received before it was up");
                assert_eq!(entry.closed, None, "{conn:?} received after its end");
                assert!(!bytes.is_empty());
                entry.received.extend_from_slice(bytes);
            }
            Event::Closed { conn, reason } => {
                let entry = seen.entry(conn).or_default();
                assert_eq!(entry.closed, None, "{conn:?} closed twice");
                entry.closed = Some(reason);
            }
            Event::Datagram { peer, bytes, .. } => datagrams.push((peer, bytes.to_vec())),
            Event::Woken => *woken += 1,
        };
        self.backend.poll(Some(timeout), &mut note).unwrap();
    }

    /// Polls until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "waited too long for {what}");
            self.poll(Duration::from_millis(20));
        }
    }

    /// A client and our side of it.
    pub(crate) fn client(&mut self) -> (TcpStream, ConnId) {
        let before = self.accepted.len();
        let stream = client_of(self.address);
        self.until("an accept", |host| host.accepted.len() > before);
        (stream, self.accepted[before])
    }

    pub(crate) fn received(&self, conn: ConnId) -> &[u8] {
        self.seen.get(&conn).map_or(&[], |seen| &seen.received)
    }

    pub(crate) fn closed(&self, conn: ConnId) -> Option<CloseReason> {
        self.seen.get(&conn).and_then(|seen| seen.closed)
    }

    pub(crate) fn until_received(&mut self, conn: ConnId, count: usize) {
        self.until("bytes", |host| host.received(conn).len() >= count);
        assert_eq!(self.received(conn).len(), count);
    }

    pub(crate) fn until_closed(&mut self, conn: ConnId) -> CloseReason {
        self.until("a close", |host| host.closed(conn).is_some());
        self.closed(conn).unwrap()
    }

    /// Sends, polling while the queue is full.
    pub(crate) fn send_all(&mut self, conn: ConnId, bytes: &[u8]) {
        for chunk in bytes.chunks(16 << 10) {
            self.until("room to send", |host| {
                match host.backend.send(conn, chunk.to_vec()) {
                    Ok(()) => true,
                    Err(SendRefused::Full) => false,
                    Err(SendRefused::Closed) => panic!("{conn:?} is closed"),
                }
            });
        }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.backend.waker()
    }
}

/// A blocking client that fails rather than hangs.
pub(crate) fn client_of(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Makes the coming drop of `stream` a reset.
pub(crate) fn reset_on_drop(stream: &TcpStream) -> io::Result<()> {
    let linger = Some(Duration::ZERO);
    Ok(rustix::net::sockopt::set_socket_linger(stream, linger)?)
}

/// Recognizable bytes: no two places a period apart by chance look alike for long.
pub(crate) fn pattern(count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) const CLIENTS: ListenerTag = ListenerTag(1);

/// More than a loaded machine needs; reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
