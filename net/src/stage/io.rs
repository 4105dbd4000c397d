//! The IO stage: client and authority sockets on one backend, frames in, frames out; it is its thread's waiter.
//!
//! It does not know what a message means. Client submissions and authorities' messages go to the core stage through one
//! bounded ring in the order in which they were received: the path from socket to position never reorders.
//!
//! What happens when the ring is full: a submission is answered Busy at once (counted); an authority's message waits in a
//! backlog, and when that is full the link is cut (counted), so that the peer reconnects and what was lost is fetched
//! through the DAG.
//!
//! Authority links are plain TCP with a hello that is believed: vertices and share messages are signed by themselves,
//! but links are for loopback and closed networks until they are authenticated and encrypted (the place for that is
//! between the frame decoder and [`Links`]).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlane_client::protocol;
use fairlane_engine::committee::Committee;
use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use super::key_watch::KeyIdCell;
use super::links::{Links, Op};
use super::messages::{FromCore, ToCore};
use super::{Fatal, Waiter, WakeCell, clock};
use crate::backend::{Backend, ConnId, Event, ListenLimits, ListenerTag, SendRefused};

/// Client connections at a time.
pub const CLIENTS_MAX: u32 = 8192;
/// Bytes queued towards a client that reads too slowly; then it is cut.
pub const CLIENT_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Connections from authorities at a time: one each, and as many again that are being replaced.
pub const PEER_CONNECTIONS_MAX: u32 = 256;
/// Bytes queued towards an authority that reads too slowly; then it is cut.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// First wait before an authority is connected to again; doubles up to [`RECONNECT_US_MAX`].
const RECONNECT_US_MIN: u64 = 50_000;
/// Longest wait between attempts to connect.
const RECONNECT_US_MAX: u64 = 2_000_000;
/// How soon a full ring to the core stage is looked at again.
const BACKLOG_WAIT: Duration = Duration::from_millis(1);

/// The listener for clients.
pub const CLIENTS: ListenerTag = ListenerTag(0);
const PEERS: ListenerTag = ListenerTag(1);

/// Where to listen and whom to connect to.
#[derive(Clone, Debug)]
pub struct IoAddresses {
    /// For clients.
    pub client_listen: SocketAddr,
    /// For authorities.
    pub peer_listen: SocketAddr,
    /// Every authority's peer address, by index.
    pub peers: Vec<SocketAddr>,
}

/// What the IO stage counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IoCounters {
    /// Client connections taken.
    pub clients: u64,
    /// Submissions taken.
    pub submissions: u64,
    /// Submissions answered Busy because the ring was full.
    pub busy: u64,
    /// Client connections cut for what they sent.
    pub clients_cut: u64,
    /// Client connections cut because they read too slowly.
    pub clients_slow: u64,
    /// Messages of authorities taken.
    pub peer_messages: u64,
    /// Authority links cut for what they sent, or because they flooded.
    pub peers_cut: u64,
    /// Authority links cut because they read too slowly.
    pub peers_slow: u64,
    /// Times an authority link came up.
    pub peers_up: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// The ends of the IO stage's rings, and whom to wake.
pub struct IoPorts {
    /// Messages to the core stage.
    pub to_core: rtrb::Producer<ToCore>,
    /// Frames to send.
    pub from_core: rtrb::Consumer<FromCore>,
    /// The core stage's thread.
    pub core: WakeCell,
    /// Where counters are published for reports.
    pub counters: Arc<Mutex<IoCounters>>,
}

/// The IO stage.
pub struct IoStage {
    backend: Box<dyn Backend>,
    links: Links,
    own: AuthorityIndex,
    outgoing: Vec<Outgoing>,
    from_core: rtrb::Consumer<FromCore>,
    core: WakeCell,
    publish: Arc<Mutex<IoCounters>>,
}

/// Attempts to connect to one authority.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    address: SocketAddr,
    attempt: Option<ConnId>,
    retry_at: TimestampUs,
    retry_us: u64,
}

impl IoStage {
    /// Listens. Errors, in one sentence: an address that is in use or not ours.
    pub fn new(
        mut backend: Box<dyn Backend>,
        committee: Arc<Committee>,
        own: AuthorityIndex,
        key_id: KeyIdCell,
        addresses: &IoAddresses,
        ports: IoPorts,
    ) -> Result<Self, Fatal> {
        let listeners = [
            (
                addresses.client_listen,
                CLIENTS,
                CLIENTS_MAX,
                CLIENT_QUEUE_BYTES_MAX,
                "client",
            ),
            (
                addresses.peer_listen,
                PEERS,
                PEER_CONNECTIONS_MAX,
                PEER_QUEUE_BYTES_MAX,
                "peer",
            ),
        ];
        for (address, tag, connections_max, send_queue_bytes_max, what) in listeners {
            let limits = ListenLimits {
                connections_max,
                send_queue_bytes_max,
            };
            backend.listen(address, tag, limits).map_err(|error| {
                Fatal(format!(
                    "cannot listen on the {what} address {address}: {error}; free the port or choose another"
                ))
            })?;
        }
        let outgoing = |address: &SocketAddr| Outgoing {
            address: *address,
            attempt: None,
            retry_at: TimestampUs(0),
            retry_us: RECONNECT_US_MIN,
        };
        Ok(Self {
            backend,
            links: Links::new(committee, own, key_id, ports.to_core),
            own,
            outgoing: addresses.peers.iter().map(outgoing).collect(),
            from_core: ports.from_core,
            core: ports.core,
            publish: ports.counters,
        })
    }

    /// How other threads end this stage's wait.
    pub fn wake(&self) -> super::Wake {
        super::Wake::Backend(self.backend.waker())
    }

    /// Sends what the core stage handed over.
    fn send_all(&mut self) {
        while let Ok(message) = self.from_core.pop() {
            match message {
                FromCore::ToPeer { to, bytes } => self.send_peer(to, bytes),
                FromCore::ToPeers { bytes } => {
                    for index in 0..self.outgoing.len() {
                        let to = AuthorityIndex(index as u8);
                        if to != self.own {
                            let mut copy = self.backend.buffer();
                            copy.extend_from_slice(&bytes);
                            self.send_peer(to, copy);
                        }
                    }
                }
                FromCore::ToClient { connection, bytes } => {
                    if let Some(conn) = self.links.client(connection) {
                        self.send_client(conn, bytes);
                    }
                }
                FromCore::Settled { count } => {
                    let listeners: Vec<ConnId> = self.links.settled_listeners().collect();
                    for conn in listeners {
                        let mut bytes = self.backend.buffer();
                        protocol::encode_settled(&mut bytes, count);
                        self.send_client(conn, bytes);
                    }
                }
            }
        }
    }

    fn send_peer(&mut self, to: AuthorityIndex, bytes: Vec<u8>) {
        let Some(link) = self.links.peer(to) else {
            return;
        };
        if self.backend.send(link, bytes) == Err(SendRefused::Full) {
            self.links.counters.peers_slow += 1;
            self.backend.abort(link);
        }
    }

    fn send_client(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if self.backend.send(conn, bytes) == Err(SendRefused::Full) {
            self.links.counters.clients_slow += 1;
            self.backend.abort(conn);
        }
    }

    /// Connects to authorities with a higher index that are not linked; those with a lower one connect to us.
    ///
    /// Gives the time of the next attempt.
    fn connect_peers(&mut self, now: TimestampUs) -> Option<TimestampUs> {
        let mut next = None;
        for index in self.own.as_usize() + 1..self.outgoing.len() {
            let peer = &mut self.outgoing[index];
            if self.links.peer(AuthorityIndex(index as u8)).is_some() {
                peer.retry_us = RECONNECT_US_MIN;
                continue;
            }
            if peer.attempt.is_none() && now >= peer.retry_at {
                peer.retry_at = now.plus_us(peer.retry_us);
                peer.retry_us = (peer.retry_us * 2).min(RECONNECT_US_MAX);
                // A local lack of descriptors shows as an error here; the next attempt may find one.
                peer.attempt = self.backend.connect(peer.address, index as u32).ok();
            }
            if peer.attempt.is_none() {
                next = Some(next.map_or(peer.retry_at, |at: TimestampUs| at.min(peer.retry_at)));
            }
        }
        next
    }

    fn carry_out(&mut self) {
        for op in std::mem::take(&mut self.links.ops) {
            match op {
                // A connection that is closed by now says so by its event.
                Op::Send(conn, bytes) => self.send_client(conn, bytes),
                Op::Close(conn) => self.backend.close(conn),
                Op::Abort(conn) => self.backend.abort(conn),
            }
        }
    }
}

impl Waiter for IoStage {
    fn wait(&mut self, timeout: Duration, gather: Duration) -> Result<(), Fatal> {
        self.backend.set_gather(gather);
        let now = clock();
        let next_connect = self.connect_peers(now);
        self.send_all();
        self.links.hand_over_backlog();
        let mut timeout = timeout;
        if let Some(at) = next_connect {
            timeout = timeout.min(Duration::from_micros(at.since_us(now)));
        }
        if self.links.is_backlogged() {
            timeout = timeout.min(BACKLOG_WAIT);
        }
        let (links, outgoing) = (&mut self.links, &mut self.outgoing);
        let polled = self.backend.poll(Some(timeout), &mut |event| {
            if let Event::Closed { conn, .. } = event {
                for peer in outgoing
                    .iter_mut()
                    .filter(|peer| peer.attempt == Some(conn))
                {
                    peer.attempt = None;
                }
            }
            links.on_event(event);
        });
        polled.map_err(|error| Fatal(format!("the network backend failed: {error}")))?;
        self.carry_out();
        self.core.wake();
        let counted = self.backend.counters();
        self.links.counters.received_bytes = counted.received_bytes;
        self.links.counters.sent_bytes = counted.sent_bytes;
        if let Ok(mut publish) = self.publish.try_lock() {
            *publish = self.links.counters;
        }
        Ok(())
    }
}
