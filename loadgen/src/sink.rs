//! A stand-in for authorities that reads frames as fast as it can, counts them, and orders nothing.
//!
//! It greets like the authorities of a committee file, at their addresses, so that a load generator cannot tell; what it
//! measures is the generator and the host's TCP. Each envelope is answered with an ack, unless it is told not to, and nothing
//! else: no receipt, no place, no settlement. Envelopes are not looked into.
//!
//! A thread a connection, blocking. Cost: a pass over the bytes, a write for each read; nothing is allocated for an envelope.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::{
    Ack, AckCode, LENGTH_LEN, REQUEST_LEN_MAX, Request, Welcome, encode_acks, encode_welcome,
    next_frame,
};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet};

/// What has come in so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Connections that said hello.
    pub connections: u64,
    /// Of these, those that are open.
    pub open: u64,
    /// Envelopes.
    pub envelopes: u64,
    /// Bytes of them, frames included.
    pub bytes: u64,
    /// Connections that ended with bytes that are no frame, or another chain's.
    pub refused: u64,
}

/// The sink. It serves until the process ends, or it is dropped and the clients go.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    connections: AtomicU64,
    open: AtomicU64,
    envelopes: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

impl Sink {
    /// Listens in place of the authorities in `served`. Errors: an address that is taken, named in the error.
    pub fn start(
        directory: &Directory,
        served: AuthoritySet,
        has_acks: bool,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let addresses = directory.client_addresses();
        let mut own = Vec::new();
        for authority in served.iter() {
            let address = addresses[authority.as_usize()];
            let listener = TcpListener::bind(address).map_err(|error| {
                std::io::Error::new(error.kind(), format!("cannot listen at {address}: {error}"))
            })?;
            own.push(listener.local_addr()?);
            let committee = &directory.committee;
            let server = Server {
                welcome: Welcome {
                    authority,
                    chain_id: committee.chain_id,
                    epoch: committee.epoch,
                    key_id: directory.sealing_key.key_id(),
                },
                has_acks,
                shared: shared.clone(),
            };
            std::thread::Builder::new()
                .name(format!("sink-{authority}", authority = authority.0))
                .spawn(move || server.accept(&listener))?;
        }
        Ok(Self {
            shared,
            addresses: own,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What has come in so far.
    pub fn counts(&self) -> SinkCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        SinkCounts {
            connections: read(&shared.connections),
            open: read(&shared.open),
            envelopes: read(&shared.envelopes),
            bytes: read(&shared.bytes),
            refused: read(&shared.refused),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Wakes the listeners.
        for address in &self.addresses {
            let _ = TcpStream::connect(address);
        }
    }
}

/// One authority's place.
#[derive(Clone, Debug)]
struct Server {
    welcome: Welcome,
    has_acks: bool,
    shared: Arc<Shared>,
}

impl Server {
    fn accept(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.shared.is_over.load(Ordering::Acquire) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let server = self.clone();
            // A host that refuses the thread closes the connection with it.
            let _ = std::thread::Builder::new().spawn(move || server.serve(stream));
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut connection = Connection::default();
        let mut buffer = vec![0; BUFFER_LEN];
        let mut filled = 0;
        let is_sound = loop {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => break filled == 0,
                Ok(len) => filled += len,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break true,
            }
            let Some(used) = self.take(&buffer[..filled], &mut connection) else {
                break false;
            };
            buffer.copy_within(used..filled, 0);
            filled -= used;
            let written = stream.write_all(&connection.outgoing);
            connection.outgoing.clear();
            if written.is_err() {
                break true;
            }
        };
        let shared = &self.shared;
        if connection.is_greeted {
            shared.open.fetch_sub(1, Ordering::Relaxed);
        }
        shared
            .refused
            .fetch_add(u64::from(!is_sound), Ordering::Relaxed);
    }

    /// Takes all whole frames, and gives how many bytes that were; `None` where something is no frame.
    fn take(&self, received: &[u8], connection: &mut Connection) -> Option<usize> {
        let (mut at, mut envelopes, mut bytes) = (0, 0, 0);
        connection.acks.clear();
        while let Some((content, used)) = next_frame(&received[at..], REQUEST_LEN_MAX).ok()? {
            at += used;
            match Request::decode(content).ok()? {
                Request::Hello(hello) => {
                    if connection.is_greeted || hello.chain_id != self.welcome.chain_id {
                        return None;
                    }
                    connection.is_greeted = true;
                    encode_welcome(&mut connection.outgoing, &self.welcome);
                    self.shared.connections.fetch_add(1, Ordering::Relaxed);
                    self.shared.open.fetch_add(1, Ordering::Relaxed);
                }
                Request::Submit { tag, .. } if connection.is_greeted => {
                    envelopes += 1;
                    bytes += used as u64;
                    connection.acks.push(Ack {
                        tag,
                        code: AckCode::Accepted,
                        detail: 0,
                    });
                }
                Request::Submit { .. } => return None,
                // Nothing is ordered, so nothing is told.
                Request::Follow { .. } => {}
            }
        }
        if self.has_acks && !connection.acks.is_empty() {
            encode_acks(&mut connection.outgoing, &connection.acks);
        }
        self.shared
            .envelopes
            .fetch_add(envelopes, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(at)
    }
}

#[derive(Debug, Default)]
struct Connection {
    is_greeted: bool,
    acks: Vec<Ack>,
    outgoing: Vec<u8>,
}

/// All authorities of a committee, or those of `indices`. Errors: one that there is not, in a sentence.
pub fn authorities_of(directory: &Directory, indices: &[u8]) -> Result<AuthoritySet, String> {
    let members: Vec<AuthorityIndex> = directory.committee.thresholds().members().collect();
    let mut set = AuthoritySet::EMPTY;
    for index in indices {
        let authority = AuthorityIndex(*index);
        if !members.contains(&authority) {
            let last = members.len() - 1;
            return Err(format!(
                "there is no authority {index}: the committee's are 0 to {last}"
            ));
        }
        set.insert(authority);
    }
    if set.is_empty() {
        for member in members {
            set.insert(member);
        }
    }
    Ok(set)
}

/// Holds many frames, so that a read takes many; the longest fits.
const BUFFER_LEN: usize = 256 * 1024;
const _: () = assert!(BUFFER_LEN > REQUEST_LEN_MAX as usize + LENGTH_LEN);
