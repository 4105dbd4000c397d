//! Clients that talk over UDP: who has proven its address, what each source may send, and where notices go.
//!
//! Amplification and forged senders. Whoever sends a datagram can write any source address into it. Until a client has
//! proven that it receives at its address, an answer is shorter than what it answers and nothing is remembered of it: 18 bytes of
//! token for 27 of hello, 10 of "unknown" for at least 19 of submission, and of each so many a second only
//! ([`UNPROVEN`]). The token is a keyed hash of address, port, the client's nonce and the minute, so only who receives it can
//! show it. From then on each datagram carries it, and what comes without it is neither charged to the source nor answered
//! at length: nobody can use up a client's quota or place, or have notices sent to it, by forging its address. (Somebody who
//! reads a client's datagrams on the way can; against such, links need encryption.)
//!
//! Fairness. A source is an IPv4 address, or the first 64 bits of an IPv6 one, which is what one subscriber gets. Each has a
//! bucket of submissions, and one part of the ring to the core, however many ports it sends from; so a greedy source is told
//! Busy while the others' submissions are taken. What is answered at once is bounded too ([`ANSWERS`], [`BEGINS`]), so that no
//! source fills what all are sent, or what the core is told of connections: who is over it hears nothing, and sends again.
//! What the kernel drops because its buffer is full may be anybody's: it is counted (`dropped`), and clients send again.
//!
//! Invariants: G1. `sources` has exactly the sources of `sessions`, with their numbers. G2. A session's connection number is
//! never used again, so what the core still addresses to an ended one is thrown away.
//!
//! Cost: two look-ups a submission; a hash a hello that is answered, two more where it shows a token.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fairlane_client::protocol::{
    Ack, AckCode, DatagramRequest, GoodbyeCode, Hello, encode_acks, encode_datagram_token,
    encode_datagram_unknown, encode_goodbye, pack_notices,
};
use fairlane_engine::types::TimestampUs;

use super::core_queue::CoreQueue;
use super::{BUSY_RETRY_US, OVERLOAD_RETRY_US, Op};
use crate::stage::bucket::{Allowance, Bucket};
use crate::stage::messages::{NoticeFlags, ToCore};
use crate::stage::pressure::Gate;

/// Clients over UDP at a time.
pub const DATAGRAM_CLIENTS_MAX: usize = 8_192;
/// Of these, from one source.
pub const DATAGRAM_CLIENTS_A_SOURCE_MAX: u32 = 1_024;
/// A client that says nothing for so long is forgotten.
pub const DATAGRAM_SILENCE_US_MAX: u64 = 30_000_000;
/// Answers to who has proven nothing, from all together: to hellos, and as many to submissions.
const UNPROVEN: Allowance = Allowance {
    burst: 4_096,
    refill_us: 50,
};
/// Answers of this stage to one source that has proven its address: welcomes, and Busy.
const ANSWERS: Allowance = Allowance {
    burst: 1_024,
    refill_us: 500,
};
/// Clients of one source that come, or start anew: the core is told of each, whatever else waits for it.
const BEGINS: Allowance = Allowance {
    burst: DATAGRAM_CLIENTS_A_SOURCE_MAX,
    refill_us: 100_000,
};
/// A token is good in the slot of time in which it was made, and in the next.
const TOKEN_SLOT_US: u64 = 60_000_000;
/// How often silent clients are looked for.
const SWEEP_US: u64 = 1_000_000;
/// Sources stand behind all connections in the table of who has how much of the ring.
const SOURCE_SLOT_0: usize = super::super::io::CONNECTIONS_MAX.next_power_of_two();

/// What was counted of datagrams from clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct DatagramCounters {
    /// Datagrams received.
    pub received: u64,
    /// Clients that proved their address.
    pub clients: u64,
    /// Clients forgotten for their silence.
    pub silent: u64,
    /// Clients turned away because there were as many as may be.
    pub turned_away: u64,
    /// Submissions taken.
    pub submissions: u64,
    /// Submissions answered Busy because their source is over its rate.
    pub over_rate: u64,
    /// Submissions answered Busy because no more is taken under overload, or the ring or their source's part of it was full.
    pub busy: u64,
    /// Datagrams that do not decode.
    pub malformed: u64,
    /// Submissions without a good token.
    pub unknown: u64,
    /// Datagrams that were not answered, because too many came of their source, or of those who have proven nothing.
    pub unanswered: u64,
    /// Notices that no datagram can carry.
    pub notices_left_out: u64,
    /// Datagrams sent, as the kernel took them.
    pub sent: u64,
    /// Datagrams not sent: the queue was full, or the kernel did not take them.
    pub unsent: u64,
    /// Datagrams longer than any client sends.
    pub truncated: u64,
    /// Datagrams that the kernel dropped before this process saw them.
    pub dropped: u64,
}

/// Everything known of clients that talk over UDP.
pub struct DatagramClients {
    secret: [u8; 32],
    /// Of one source; none: as many as come.
    rate: Option<Allowance>,
    sessions: BTreeMap<SocketAddr, Session>,
    addresses: BTreeMap<u64, SocketAddr>,
    sources: BTreeMap<Source, SourceState>,
    free_slots: Vec<usize>,
    unproven_hellos: Bucket,
    unproven_submissions: Bucket,
    /// Goodbyes to sources of which nothing is kept.
    goodbyes: Bucket,
    sweep_at: TimestampUs,
    /// Batches settled, as last told.
    settled: u64,
    /// What was counted.
    pub counters: DatagramCounters,
}

/// A client that has proven its address.
#[derive(Debug)]
struct Session {
    connection: u64,
    nonce: u64,
    token: u64,
    hello: Hello,
    heard: TimestampUs,
}

/// Who is charged: an IPv4 address, or the first 64 bits of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(u64);

#[derive(Debug)]
struct SourceState {
    submissions: Bucket,
    answers: Bucket,
    begins: Bucket,
    sessions: u32,
    /// Its place in the table of who has how much of the ring to the core.
    slot: usize,
}

/// What became of a client that wants to be known.
enum Begun {
    Yes,
    NoRoom,
    TooOften,
}

/// What a datagram may lead to, besides the bookkeeping here.
pub struct Surroundings<'a> {
    /// This turn's time.
    pub now: TimestampUs,
    /// The way to the core.
    pub core: &'a mut CoreQueue,
    /// Whether more is taken.
    pub gate: &'a mut Gate,
    /// What is sent.
    pub ops: &'a mut Vec<Op>,
    /// The number of the next connection.
    pub next_connection: &'a mut u64,
    /// The welcome, and the key statement for who follows the keys; `None` for another chain.
    pub welcome: &'a dyn Fn(&Hello) -> Option<Vec<u8>>,
}

impl DatagramClients {
    /// Nobody is known. `secret` is random and of this process alone; `per_second` submissions of one source are taken, a
    /// quarter of that at once, 0: as many as come.
    pub fn new(secret: [u8; 32], per_second: u32) -> Self {
        let rate = (per_second > 0).then(|| Allowance {
            burst: (per_second / 4).max(1),
            refill_us: (1_000_000 / u64::from(per_second)).max(1),
        });
        Self {
            secret,
            rate,
            sessions: BTreeMap::new(),
            addresses: BTreeMap::new(),
            sources: BTreeMap::new(),
            free_slots: Vec::new(),
            unproven_hellos: Bucket::full(UNPROVEN),
            unproven_submissions: Bucket::full(UNPROVEN),
            goodbyes: Bucket::full(UNPROVEN),
            sweep_at: TimestampUs(0),
            settled: 0,
            counters: DatagramCounters::default(),
        }
    }

    /// Takes a datagram that `peer` may have sent.
    pub fn on_datagram(&mut self, peer: SocketAddr, bytes: &[u8], around: &mut Surroundings<'_>) {
        self.counters.received += 1;
        match DatagramRequest::decode(bytes) {
            Ok(DatagramRequest::Hello {
                hello,
                nonce,
                token,
            }) => self.on_hello(peer, hello, (nonce, token), around),
            Ok(DatagramRequest::Submit {
                token,
                tag,
                envelope,
            }) => self.on_submit(peer, token, (tag, envelope), around),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Packs frames into datagrams for the client with this connection number; false when there is none.
    pub fn send(&mut self, connection: u64, frames: &[u8], ops: &mut Vec<Op>) -> bool {
        let Some(address) = self.addresses.get(&connection) else {
            return false;
        };
        if let Some(session) = self.sessions.get(address) {
            self.counters.notices_left_out += send_to(*address, session.nonce, frames, ops);
        }
        true
    }

    /// Tells those who want to know how many batches are settled.
    pub fn send_settled(&mut self, count: u64, ops: &mut Vec<Op>) {
        self.settled = count;
        let mut frames = Vec::new();
        fairlane_client::protocol::encode_settled(&mut frames, count);
        self.send_where(|hello| hello.settled, &frames, ops);
    }

    /// Tells those who follow the keys.
    pub fn send_key(&mut self, frame: &[u8], ops: &mut Vec<Op>) {
        self.send_where(|hello| hello.keys, frame, ops);
    }

    fn send_where(&mut self, wants: impl Fn(&Hello) -> bool, frames: &[u8], ops: &mut Vec<Op>) {
        for (address, session) in &self.sessions {
            if wants(&session.hello) {
                self.counters.notices_left_out += send_to(*address, session.nonce, frames, ops);
            }
        }
    }

    /// Forgets who was silent for too long; cheap when nothing is due.
    pub fn look(&mut self, now: TimestampUs, core: &mut CoreQueue) {
        if self.sessions.is_empty() || now < self.sweep_at {
            return;
        }
        self.sweep_at = now.plus_us(SWEEP_US);
        let is_silent = |session: &Session| now.since_us(session.heard) > DATAGRAM_SILENCE_US_MAX;
        let silent = self
            .sessions
            .iter()
            .filter(|(_, session)| is_silent(session));
        let silent: Vec<SocketAddr> = silent.map(|(address, _)| *address).collect();
        self.counters.silent += silent.len() as u64;
        for address in silent {
            self.end(address, core);
        }
    }

    fn on_hello(
        &mut self,
        peer: SocketAddr,
        hello: Hello,
        (nonce, token): (u64, u64),
        around: &mut Surroundings<'_>,
    ) {
        let known = self.sessions.get(&peer);
        let is_known =
            known.is_some_and(|session| session.token == token && session.nonce == nonce);
        let is_proven = || token != 0 && self.is_good(peer, nonce, token, around.now);
        if !is_known && !is_proven() {
            if !self.unproven_hellos.take(UNPROVEN, around.now) {
                self.counters.unanswered += 1;
                return;
            }
            let token = self.token(peer, nonce, slot_of(around.now));
            let mut bytes = Vec::new();
            encode_datagram_token(&mut bytes, nonce, token);
            around.ops.push(Op::SendDatagram(peer, bytes));
            return;
        }
        if !self.may_answer(peer, around.now) {
            return;
        }
        let Some(mut frames) = (around.welcome)(&hello) else {
            let text = "this node serves another chain";
            return self.goodbye(peer, nonce, (GoodbyeCode::WrongChain, text), around);
        };
        if is_known {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.heard = around.now;
            }
        } else {
            match self.begin(peer, hello, (nonce, token), around) {
                Begun::Yes => {}
                Begun::NoRoom => {
                    self.counters.turned_away += 1;
                    let text = "this node serves as many clients over UDP as it may";
                    let code = GoodbyeCode::TooManyConnections;
                    return self.goodbye(peer, nonce, (code, text), around);
                }
                Begun::TooOften => {
                    self.counters.unanswered += 1;
                    return;
                }
            }
        }
        if hello.settled && self.settled > 0 {
            fairlane_client::protocol::encode_settled(&mut frames, self.settled);
        }
        self.counters.notices_left_out += send_to(peer, nonce, &frames, around.ops);
    }

    /// A client has proven its address: takes the place of who was there before, whose source keeps its buckets.
    fn begin(
        &mut self,
        peer: SocketAddr,
        hello: Hello,
        (nonce, token): (u64, u64),
        around: &mut Surroundings<'_>,
    ) -> Begun {
        let source = Source::of(peer.ip());
        let of_source = self.sources.get(&source).map_or(0, |state| state.sessions);
        let is_new = !self.sessions.contains_key(&peer);
        let is_full = self.sessions.len() >= DATAGRAM_CLIENTS_MAX
            || of_source >= DATAGRAM_CLIENTS_A_SOURCE_MAX;
        if is_new && is_full {
            return Begun::NoRoom;
        }
        let next_slot = SOURCE_SLOT_0 + self.sources.len();
        let (free, rate) = (&mut self.free_slots, self.rate);
        let state = self.sources.entry(source).or_insert_with(|| SourceState {
            submissions: Bucket::full(rate.unwrap_or(UNPROVEN)),
            answers: Bucket::full(ANSWERS),
            begins: Bucket::full(BEGINS),
            sessions: 0,
            slot: free.pop().unwrap_or(next_slot),
        });
        if !state.begins.take(BEGINS, around.now) {
            return Begun::TooOften;
        }
        state.sessions += 1;
        self.end(peer, around.core);
        let connection = *around.next_connection;
        *around.next_connection += 1;
        let session = Session {
            connection,
            nonce,
            token,
            hello,
            heard: around.now,
        };
        self.sessions.insert(peer, session);
        self.addresses.insert(connection, peer);
        self.counters.clients += 1;
        let notices = NoticeFlags {
            receipts: hello.receipts,
            ordered: hello.ordered,
            settled: hello.settled,
            is_datagram: true,
        };
        around.core.hand_over(ToCore::ClientUp {
            connection,
            notices,
        });
        Begun::Yes
    }

    fn end(&mut self, peer: SocketAddr, core: &mut CoreQueue) {
        let Some(session) = self.sessions.remove(&peer) else {
            return;
        };
        let connection = session.connection;
        self.addresses.remove(&connection);
        core.hand_over(ToCore::ClientDown { connection });
        let source = Source::of(peer.ip());
        if let Some(state) = self.sources.get_mut(&source) {
            state.sessions -= 1;
            if state.sessions == 0 {
                self.free_slots.push(state.slot);
                self.sources.remove(&source);
            }
        }
    }

    fn on_submit(
        &mut self,
        peer: SocketAddr,
        token: u64,
        (tag, envelope): (u64, &[u8]),
        around: &mut Surroundings<'_>,
    ) {
        let known = self.sessions.get_mut(&peer);
        let Some(session) = known.filter(|session| session.token == token) else {
            self.counters.unknown += 1;
            if !self.unproven_submissions.take(UNPROVEN, around.now) {
                self.counters.unanswered += 1;
                return;
            }
            let mut bytes = Vec::new();
            encode_datagram_unknown(&mut bytes, token);
            around.ops.push(Op::SendDatagram(peer, bytes));
            return;
        };
        session.heard = around.now;
        let Some(source) = self.sources.get_mut(&Source::of(peer.ip())) else {
            debug_assert!(false, "every session's source is known (G1)");
            return;
        };
        let rate = self.rate;
        let is_allowed = rate.is_none_or(|rate| source.submissions.take(rate, around.now));
        let connection = session.connection;
        let retry_after_us = if !is_allowed {
            self.counters.over_rate += 1;
            rate.map_or(BUSY_RETRY_US, |rate| rate.refill_us.max(BUSY_RETRY_US))
        } else if !(around.gate).takes(
            source.slot,
            envelope,
            around.core.submissions_len(),
            around.now,
        ) {
            self.counters.busy += 1;
            OVERLOAD_RETRY_US
        } else {
            let submission = ToCore::Submit {
                connection,
                tag,
                bytes: envelope.into(),
            };
            if around.core.try_submit(source.slot, submission) {
                self.counters.submissions += 1;
                return;
            }
            self.counters.busy += 1;
            BUSY_RETRY_US
        };
        let nonce = session.nonce;
        if !self.may_answer(peer, around.now) {
            return;
        }
        let ack = Ack {
            tag,
            code: AckCode::Busy,
            detail: retry_after_us,
        };
        let mut frames = Vec::new();
        encode_acks(&mut frames, &[ack]);
        send_to(peer, nonce, &frames, around.ops);
    }

    /// Whether a source that has proven its address is answered; one that nobody is known of is.
    fn may_answer(&mut self, peer: SocketAddr, now: TimestampUs) -> bool {
        let source = self.sources.get_mut(&Source::of(peer.ip()));
        let may = source.is_none_or(|source| source.answers.take(ANSWERS, now));
        self.counters.unanswered += u64::from(!may);
        may
    }

    fn goodbye(
        &mut self,
        to: SocketAddr,
        nonce: u64,
        (code, text): (GoodbyeCode, &str),
        around: &mut Surroundings<'_>,
    ) {
        let is_charged = self.sources.contains_key(&Source::of(to.ip()));
        if !is_charged && !self.goodbyes.take(UNPROVEN, around.now) {
            self.counters.unanswered += 1;
            return;
        }
        let mut frames = Vec::new();
        encode_goodbye(&mut frames, code, text);
        send_to(to, nonce, &frames, around.ops);
    }

    fn is_good(&self, peer: SocketAddr, nonce: u64, token: u64, now: TimestampUs) -> bool {
        let slot = slot_of(now);
        token == self.token(peer, nonce, slot)
            || token == self.token(peer, nonce, slot.wrapping_sub(1))
    }

    /// Never 0, which stands for none.
    fn token(&self, peer: SocketAddr, nonce: u64, slot: u64) -> u64 {
        let mut input = [0; 34];
        let ip = match peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        input[..16].copy_from_slice(&ip.octets());
        input[16..18].copy_from_slice(&peer.port().to_be_bytes());
        input[18..26].copy_from_slice(&nonce.to_be_bytes());
        input[26..].copy_from_slice(&slot.to_be_bytes());
        let hash = blake3::keyed_hash(&self.secret, &input);
        let (word, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("32 bytes begin with 8");
        u64::from_be_bytes(*word).max(1)
    }
}

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // No global IPv6 address begins with 32 zero bits.
            IpAddr::V4(ip) => Self(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64),
        }
    }
}

fn slot_of(now: TimestampUs) -> u64 {
    now.0 / TOKEN_SLOT_US
}

/// Packs frames into datagrams to `to`; gives how many frames fit none.
fn send_to(to: SocketAddr, nonce: u64, frames: &[u8], ops: &mut Vec<Op>) -> u64 {
    pack_notices(frames, nonce, &mut |bytes| {
        ops.push(Op::SendDatagram(to, bytes.to_vec()));
    })
}

#[cfg(test)]
#[path = "datagrams_tests.rs"]
mod tests;
