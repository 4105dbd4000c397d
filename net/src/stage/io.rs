//! The IO stage: client and authority sockets on one backend, frames in, frames out; it is its thread's waiter.
//!
//! It does not know what a message means. Client submissions and authorities' messages go to the core stage through one
//! bounded ring in the order in which they were received: the path from socket to position never reorders.
//!
//! What happens when the ring is full, or a client has its part of it, or more is under way than the node opens in a
//! moment ([`super::pressure`]): a submission is answered Busy at once (counted); an authority's message waits in a
//! backlog, and when that is full the link is cut (counted), so that the peer reconnects and what was lost is fetched
//! through the DAG.
//!
//! Clients that talk over UDP stand beside those of TCP: see [`super::links::datagrams`].
//!
//! What goes to authorities is sealed here (see [`crate::session`]), straight into the buffer that is sent. Vertices, shares
//! and requests leave at once; what may be long, and is wanted by one that is behind, waits until little else is queued.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlane_client::protocol::{self, DATAGRAM_LEN_MAX};
use fairlane_engine::committee::Committee;
use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use super::key_watch::KeyCell;
use super::links::datagrams::{DatagramClients, DatagramCounters};
use super::links::peers::{Cut, LinkCounters};
use super::links::{Links, Op};
use super::messages::{FromCore, ToCore};
use super::pressure::Pressure;
use super::{Fatal, Waiter, WakeCell, clock};
use crate::backend::{
    Backend, ConnId, Counters, DatagramLimits, DatagramSource, Event, ListenLimits, ListenerTag,
    SendRefused, SourceCounters,
};
use crate::session::keys::LinkKeys;

/// Client connections at a time.
pub const CLIENTS_MAX: u32 = 16_384;
/// Bytes queued towards a client that reads too slowly; then it is cut.
pub const CLIENT_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Connections from authorities at a time: one each, and handshakes.
pub const PEER_CONNECTIONS_MAX: u32 = 256;
/// Connections of either kind at a time, those to authorities included.
pub const CONNECTIONS_MAX: usize = CLIENTS_MAX as usize + 2 * PEER_CONNECTIONS_MAX as usize;
/// Bytes of datagrams queued towards all clients; what does not fit is lost, counted, and asked for again by them.
pub const DATAGRAM_QUEUE_BYTES_MAX: usize = 16 << 20;
/// Asked of the kernel for the UDP socket, each way: some 3,000 datagrams.
const DATAGRAM_KERNEL_BYTES: usize = 4 << 20;
/// Bytes queued towards an authority that reads too slowly; then it is cut.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bulk is sealed and queued towards an authority while fewer bytes than this wait: so much may be ahead of a vertex.
pub const BULK_AHEAD_BYTES_MAX: usize = 128 << 10;
/// First wait before an authority is connected to again; doubles up to [`RECONNECT_US_MAX`].
const RECONNECT_US_MIN: u64 = 50_000;
/// Longest wait between attempts to connect.
const RECONNECT_US_MAX: u64 = 2_000_000;
/// How soon a full ring to the core stage is looked at again.
const BACKLOG_WAIT: Duration = Duration::from_millis(1);

/// How often the kernel is asked how many datagrams it dropped.
const DROPS_ASKED_US: u64 = 100_000;

/// The listener for clients.
pub const CLIENTS: ListenerTag = ListenerTag(0);
const PEERS: ListenerTag = ListenerTag(1);
/// The UDP socket for clients.
pub const DATAGRAMS: ListenerTag = ListenerTag(2);

/// Where to listen and whom to connect to.
#[derive(Clone, Debug)]
pub struct IoAddresses {
    /// For clients.
    pub client_listen: SocketAddr,
    /// For clients over UDP; none: nobody listens there.
    pub udp_listen: Option<SocketAddr>,
    /// Takes consecutive datagrams of one client from the kernel together.
    pub udp_gro: bool,
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
    /// Submissions answered Busy because the ring, or their client's part of it, was full, or too much is under way.
    pub busy: u64,
    /// Client connections cut for what they sent.
    pub clients_cut: u64,
    /// Client connections cut because they read too slowly.
    pub clients_slow: u64,
    /// Of links to authorities.
    pub links: LinkCounters,
    /// Of clients over UDP.
    #[serde(default)]
    pub datagrams: DatagramCounters,
    /// Of those, what came by AF_XDP.
    #[serde(default)]
    pub xdp: SourceCounters,
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
    /// How much the node has under way.
    pub pressure: Arc<Pressure>,
    /// Where counters are published for reports.
    pub counters: Arc<Mutex<IoCounters>>,
    /// What clients' datagrams come through, beside the UDP socket.
    pub datagram_sources: Vec<Box<dyn DatagramSource>>,
}

/// The IO stage.
pub struct IoStage {
    backend: Box<dyn Backend>,
    /// Where it listens.
    bound: Vec<(ListenerTag, SocketAddr)>,
    links: Links,
    own: AuthorityIndex,
    outgoing: Vec<Outgoing>,
    from_core: rtrb::Consumer<FromCore>,
    core: WakeCell,
    /// Said once that somebody was refused for its key.
    has_warned: bool,
    /// When this turn began.
    now: TimestampUs,
    /// When the kernel was last asked what it dropped on the UDP socket, and its answer.
    drops_asked: TimestampUs,
    kernel_drops: u64,
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
        link_keys: Arc<LinkKeys>,
        key: KeyCell,
        addresses: &IoAddresses,
        datagrams: DatagramClients,
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
        let mut bound = Vec::new();
        for (address, tag, connections_max, send_queue_bytes_max, what) in listeners {
            let limits = ListenLimits {
                connections_max,
                send_queue_bytes_max,
            };
            let listening = backend.listen(address, tag, limits).map_err(|error| {
                Fatal(format!(
                    "cannot listen on the {what} address {address}: {error}; free the port or choose another"
                ))
            })?;
            bound.push((tag, listening));
        }
        if let Some(address) = addresses.udp_listen {
            let limits = DatagramLimits {
                bytes_max: DATAGRAM_LEN_MAX,
                send_queue_bytes_max: DATAGRAM_QUEUE_BYTES_MAX,
                kernel_buffer_bytes: DATAGRAM_KERNEL_BYTES,
                gro: addresses.udp_gro,
            };
            let receiving = backend.bind_udp(address, DATAGRAMS, limits).map_err(|error| {
                Fatal(format!(
                    "cannot receive datagrams at the udp_listen address {address}: {error}; free the port or choose another"
                ))
            })?;
            bound.push((DATAGRAMS, receiving));
        }
        for source in ports.datagram_sources {
            backend
                .watch_datagrams(DATAGRAMS, source)
                .map_err(|error| Fatal(format!("cannot watch the sockets of AF_XDP: {error}")))?;
        }
        let datagrams = addresses.udp_listen.map(|_| datagrams);
        let outgoing = |address: &SocketAddr| Outgoing {
            address: *address,
            attempt: None,
            retry_at: TimestampUs(0),
            retry_us: RECONNECT_US_MIN,
        };
        let own = link_keys.own();
        let at: Vec<IpAddr> = addresses.peers.iter().map(SocketAddr::ip).collect();
        Ok(Self {
            backend,
            bound,
            links: Links::new(
                committee,
                own,
                key,
                (link_keys, at),
                datagrams,
                (ports.to_core, ports.pressure),
            ),
            own,
            outgoing: addresses.peers.iter().map(outgoing).collect(),
            from_core: ports.from_core,
            core: ports.core,
            has_warned: false,
            now: TimestampUs(0),
            drops_asked: TimestampUs(0),
            kernel_drops: 0,
            publish: ports.counters,
        })
    }

    /// The address at which it listens for clients, over TCP ([`CLIENTS`]) or UDP ([`DATAGRAMS`]).
    pub fn bound(&self, tag: ListenerTag) -> Option<SocketAddr> {
        let mut bound = self.bound.iter();
        bound.find_map(|(of, address)| (*of == tag).then_some(*address))
    }

    /// How other threads end this stage's wait.
    pub fn wake(&self) -> super::Wake {
        super::Wake::Backend(self.backend.waker())
    }

    /// Sends what the core stage handed over.
    fn send_all(&mut self) {
        while let Ok(message) = self.from_core.pop() {
            match message {
                FromCore::ToPeer { to, is_bulk, bytes } => {
                    if !is_bulk {
                        self.send_peer(to, &bytes);
                    } else if !self.links.peers.push_bulk(to, bytes) {
                        self.cut_peer(to, Cut::Slow);
                    }
                }
                FromCore::ToPeers { bytes } => {
                    for index in 0..self.outgoing.len() {
                        let to = AuthorityIndex(index as u8);
                        self.send_peer(to, &bytes);
                    }
                }
                FromCore::CutPeer { peer } => self.cut_peer(peer, Cut::Rubbish),
                FromCore::ToClient { connection, bytes } => {
                    if let Some(conn) = self.links.client(connection) {
                        self.send(conn, bytes);
                    } else {
                        self.links.send_datagrams(connection, &bytes);
                    }
                }
                FromCore::NewKey { frame } => {
                    let listeners: Vec<ConnId> = self.links.key_listeners().collect();
                    for conn in listeners {
                        let mut bytes = self.backend.buffer();
                        bytes.extend_from_slice(&frame);
                        self.send(conn, bytes);
                    }
                    self.links.send_key_datagrams(&frame);
                }
                FromCore::Settled { count } => {
                    let listeners: Vec<ConnId> = self.links.settled_listeners().collect();
                    for conn in listeners {
                        let mut bytes = self.backend.buffer();
                        protocol::encode_settled(&mut bytes, count);
                        self.send(conn, bytes);
                    }
                    self.links.send_settled_datagrams(count);
                }
            }
        }
        self.send_bulk();
    }

    /// Queues bulk towards those for whom little else is queued.
    fn send_bulk(&mut self) {
        if !self.links.peers.has_bulk() {
            return;
        }
        for index in 0..self.outgoing.len() {
            let to = AuthorityIndex(index as u8);
            while let Some(link) = self.links.peers.link(to)
                && let Some(queued) = self.backend.queued_bytes(link)
                && queued < BULK_AHEAD_BYTES_MAX
                && let Some(bytes) = self.links.peers.pop_bulk(to)
            {
                self.send_peer(to, &bytes);
            }
        }
    }

    fn send_peer(&mut self, to: AuthorityIndex, bytes: &[u8]) {
        if self.links.peers.link(to).is_none() {
            return;
        }
        let mut sealed = self.backend.buffer();
        if let Some(link) = self.links.peers.seal(to, bytes, &mut sealed, self.now) {
            self.send(link, sealed);
        }
    }

    /// Sends, or cuts a connection whose other end reads too slowly: what was sealed for it has to leave in order.
    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if self.backend.send(conn, bytes) == Err(SendRefused::Full) {
            self.links.on_slow(conn, self.now);
        }
    }

    fn cut_peer(&mut self, peer: AuthorityIndex, cut: Cut) {
        let (links, now) = (&mut self.links, self.now);
        links.with_peers(now, |peers, outcome| peers.cut_peer(peer, cut, outcome));
    }

    /// Connects to authorities with a higher index that are not linked; those with a lower one connect to us.
    ///
    /// Gives the time of the next attempt.
    fn connect_peers(&mut self, now: TimestampUs) -> Option<TimestampUs> {
        let mut next = None;
        for index in self.own.as_usize() + 1..self.outgoing.len() {
            let peer = &mut self.outgoing[index];
            let authority = AuthorityIndex(index as u8);
            if self.links.peers.link(authority).is_some() {
                peer.retry_us = RECONNECT_US_MIN;
                continue;
            }
            if self.links.peers.is_barred(authority, now) {
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

    /// Tells the operator, once: it may be an authority whose files differ.
    fn warn_of_keys(&mut self) {
        if self.links.peers.counters.gate > 0 && !self.has_warned {
            self.has_warned = true;
            eprintln!(
                "warning: {} has refused somebody at its peer port: a stranger, or an authority with another link_key or \
                 another committee file; report.json counts them",
                self.own
            );
        }
    }

    /// What the backend counted; the kernel is asked for its drops now and then only, as that is a system call.
    fn count(&mut self, now: TimestampUs) -> Counters {
        let mut counted = self.backend.tallied();
        let has_datagrams = self.links.datagrams.is_some();
        if has_datagrams && now.since_us(self.drops_asked) >= DROPS_ASKED_US {
            self.drops_asked = now;
            let known = self.backend.counters().datagrams_dropped;
            self.kernel_drops = known.saturating_sub(counted.datagrams_dropped);
        }
        counted.datagrams_dropped += self.kernel_drops;
        counted
    }

    fn carry_out(&mut self) {
        for op in std::mem::take(&mut self.links.ops) {
            match op {
                // A connection that is closed by now says so by its event.
                Op::Send(conn, bytes) => self.send(conn, bytes),
                Op::Close(conn) => self.backend.close(conn),
                Op::Abort(conn) => self.backend.abort(conn),
                // A refusal is counted; clients ask again for what they lack.
                Op::SendDatagram(to, bytes) => {
                    let _ = self.backend.send_datagram(DATAGRAMS, to, &bytes);
                }
            }
        }
    }
}

impl Waiter for IoStage {
    fn wait(&mut self, timeout: Duration, gather: Duration) -> Result<(), Fatal> {
        self.backend.set_gather(gather);
        let now = clock();
        self.now = now;
        let next_connect = self.connect_peers(now);
        self.send_all();
        self.carry_out();
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
            links.on_event(event, now);
        });
        polled.map_err(|error| Fatal(format!("the network backend failed: {error}")))?;
        links.with_peers(now, |peers, outcome| peers.look(outcome));
        links.look_at_datagrams(now);
        self.carry_out();
        self.warn_of_keys();
        self.core.wake();
        let counted = self.count(now);
        self.links.counters.links = self.links.peers.counters;
        self.links.counters.received_bytes = counted.received_bytes;
        self.links.counters.sent_bytes = counted.sent_bytes;
        if let Some(datagrams) = &self.links.datagrams {
            self.links.counters.datagrams = with_backend(datagrams.counters, &counted);
        }
        self.links.counters.xdp = counted.sources;
        if let Ok(mut publish) = self.publish.try_lock() {
            *publish = self.links.counters;
        }
        Ok(())
    }
}

/// The counts of clients over UDP, with what the backend counted of their datagrams.
const fn with_backend(counters: DatagramCounters, counted: &Counters) -> DatagramCounters {
    DatagramCounters {
        sent: counted.datagrams_sent,
        unsent: counted.datagrams_refused + counted.datagrams_unsent,
        truncated: counted.datagrams_truncated,
        dropped: counted.datagrams_dropped,
        ..counters
    }
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
