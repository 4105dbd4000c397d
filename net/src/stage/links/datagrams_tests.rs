//! Clients over UDP against the bookkeeping of one node, without a network.

use fairlane_client::protocol::{
    DatagramNotice, Notice, encode_datagram_hello, encode_datagram_submit, encode_settled,
};
use fairlane_engine::types::ChainId;

use super::*;
use crate::stage::pressure::Pressure;

const START: TimestampUs = TimestampUs(10 * TOKEN_SLOT_US);
const RATE: u32 = 1_000;
const CHAIN: ChainId = ChainId(7);

struct Node {
    clients: DatagramClients,
    core: CoreQueue,
    gate: Gate,
    out: rtrb::Consumer<ToCore>,
    next_connection: u64,
    now: TimestampUs,
}

impl Node {
    fn new() -> Self {
        Self::with(RATE, 4_096)
    }

    fn with(rate: u32, depth: usize) -> Self {
        let (ring, out) = rtrb::RingBuffer::new(depth);
        Self {
            clients: DatagramClients::new([3; 32], rate),
            core: CoreQueue::new(ring, 4),
            gate: Gate::new(Pressure::new()),
            out,
            next_connection: 1,
            now: START,
        }
    }

    /// Gives a datagram to the node; what it answers, and to whom.
    fn take(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut ops = Vec::new();
        let mut around = Surroundings {
            now: self.now,
            core: &mut self.core,
            gate: &mut self.gate,
            ops: &mut ops,
            next_connection: &mut self.next_connection,
            welcome: &|hello: &Hello| {
                let mut frames = Vec::new();
                encode_settled(&mut frames, 99);
                (hello.chain_id == CHAIN).then_some(frames)
            },
        };
        self.clients.on_datagram(from, bytes, &mut around);
        sent(ops)
    }

    /// Says hello as often as it takes; the token.
    fn connect(&mut self, from: SocketAddr, nonce: u64) -> u64 {
        let answers = self.take(from, &hello(nonce, 0));
        let Ok(DatagramNotice::Token { nonce: got, token }) = DatagramNotice::decode(&answers[0].1)
        else {
            panic!("a hello without a token is answered with one");
        };
        assert_eq!((got, answers.len()), (nonce, 1));
        let answers = self.take(from, &hello(nonce, token));
        assert_eq!(answers.len(), 1);
        assert!(matches!(
            DatagramNotice::decode(&answers[0].1),
            Ok(DatagramNotice::Notices { .. })
        ));
        token
    }

    /// Whether a submission was handed to the core; else the code of the answer, if there was one.
    fn submit(&mut self, from: SocketAddr, token: u64, tag: u64) -> Result<(), Option<AckCode>> {
        let before = self.clients.counters.submissions;
        let answers = self.take(from, &submission(token, tag));
        if self.clients.counters.submissions > before {
            assert!(answers.is_empty());
            return Ok(());
        }
        Err(answers.first().and_then(|(_, bytes)| ack_of(bytes, tag)))
    }
}

fn sent(ops: Vec<Op>) -> Vec<(SocketAddr, Vec<u8>)> {
    let datagram = |op| match op {
        Op::SendDatagram(to, bytes) => (to, bytes),
        other => panic!("{other:?}"),
    };
    ops.into_iter().map(datagram).collect()
}

fn ack_of(bytes: &[u8], tag: u64) -> Option<AckCode> {
    let Ok(DatagramNotice::Notices { frames, .. }) = DatagramNotice::decode(bytes) else {
        return None;
    };
    let content = DatagramNotice::frames(frames).next()?;
    let Ok(Notice::Acks(acks)) = Notice::decode(content) else {
        return None;
    };
    acks.iter().find(|ack| ack.tag == tag).map(|ack| ack.code)
}

fn hello(nonce: u64, token: u64) -> Vec<u8> {
    let hello = Hello {
        chain_id: CHAIN,
        receipts: true,
        ordered: true,
        settled: true,
        keys: false,
    };
    let mut out = Vec::new();
    encode_datagram_hello(&mut out, &hello, nonce, token);
    out
}

fn submission(token: u64, tag: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_datagram_submit(&mut out, token, tag, b"envelope").unwrap();
    out
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

#[test]
fn a_client_proves_its_address_and_submits() {
    let mut node = Node::new();
    let token = node.connect(at(1, 9), 5);
    assert_eq!(node.submit(at(1, 9), token, 1), Ok(()));
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::ClientUp { connection: 1, notices }) if notices.is_datagram && notices.ordered
    ));
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::Submit {
            connection: 1,
            tag: 1,
            ..
        })
    ));
    let mut ops = Vec::new();
    let mut frames = Vec::new();
    encode_settled(&mut frames, 4);
    assert!(node.clients.send(1, &frames, &mut ops));
    assert!(!node.clients.send(2, &frames, &mut ops), "nobody");
    node.clients.send_settled(5, &mut ops);
    let to: Vec<SocketAddr> = sent(ops).into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [at(1, 9); 2]);
}

#[test]
fn who_has_proven_nothing_gets_less_than_it_sent_and_is_not_remembered() {
    let mut node = Node::new();
    let mut sent_bytes = 0;
    let mut got_bytes = 0;
    for port in 1..5_000 {
        for bytes in [hello(5, 0), hello(5, 77), submission(77, 1)] {
            let answers = node.take(at(1, port), &bytes);
            let answered: usize = answers.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(answered < bytes.len(), "{answered} for {}", bytes.len());
            assert!(answers.iter().all(|(to, _)| *to == at(1, port)));
            sent_bytes += bytes.len();
            got_bytes += answered;
        }
    }
    assert!(0 < got_bytes && got_bytes < sent_bytes * 3 / 4);
    assert!(node.clients.sessions.is_empty() && node.clients.sources.is_empty());
    assert!(node.out.pop().is_err(), "the core hears nothing of it");
    assert!(node.clients.counters.unanswered > 0, "a bound on all of it");
    // Later there are answers again.
    node.now = node.now.plus_us(1_000_000);
    assert_eq!(node.take(at(1, 1), &hello(5, 0)).len(), 1);
}

#[test]
fn a_token_is_good_for_its_address_port_and_nonce_and_for_a_minute_or_two() {
    let mut node = Node::new();
    let token = node.connect(at(1, 9), 5);
    for (from, nonce) in [(at(2, 9), 5), (at(1, 8), 5), (at(1, 7), 6)] {
        let answers = node.take(from, &hello(nonce, token));
        let answer = DatagramNotice::decode(&answers[0].1);
        assert!(matches!(answer, Ok(DatagramNotice::Token { .. })));
        let refused = node.submit(from, token, 1);
        assert_eq!((refused, node.clients.sessions.len()), (Err(None), 1));
    }
    let token = |node: &Node, slots| {
        let clients = &node.clients;
        let fresh = clients.token(at(3, 3), 5, slot_of(node.now));
        let later = node.now.plus_us(slots * TOKEN_SLOT_US);
        clients.is_good(at(3, 3), 5, fresh, later)
    };
    assert!(token(&node, 0) && token(&node, 1) && !token(&node, 2));
    let another = DatagramClients::new([4; 32], 0);
    assert_ne!(
        another.token(at(1, 9), 5, 1),
        node.clients.token(at(1, 9), 5, 1),
        "another node's secret"
    );
}

#[test]
fn forged_datagrams_cost_a_client_nothing() {
    let mut node = Node::new();
    let token = node.connect(at(1, 9), 5);
    // Somebody else writes this client's address into ten times what it may send.
    for guess in 0..10 * u64::from(RATE) {
        assert_ne!(guess, token);
        let _ = node.take(at(1, 9), &submission(guess, 1));
        let _ = node.take(at(1, 9), &hello(guess, guess));
    }
    for tag in 0..u64::from(RATE) / 4 {
        assert_eq!(node.submit(at(1, 9), token, tag), Ok(()));
    }
}

#[test]
fn a_greedy_source_is_told_busy_and_the_others_are_served() {
    let mut node = Node::with(0, 64);
    let greedy: Vec<(SocketAddr, u64)> = (1..=50)
        .map(|port| (at(1, port), node.connect(at(1, port), 5)))
        .collect();
    let modest = (at(2, 1), node.connect(at(2, 1), 5));
    while node.out.pop().is_ok() {}
    let (mut taken, mut busy, mut unanswered) = (0, 0, 0);
    for turn in 0..2_000u64 {
        for (address, token) in &greedy {
            match node.submit(*address, *token, turn) {
                Ok(()) => taken += 1,
                Err(Some(answer)) => {
                    assert_eq!(answer, AckCode::Busy);
                    busy += 1;
                }
                Err(None) => unanswered += 1,
            }
        }
        let served = node.submit(modest.0, modest.1, turn);
        // In the first turns the ring was filled before there was anybody else.
        assert!(served.is_ok() || turn < 4, "refused in turn {turn}");
        for _ in 0..8 {
            let _ = node.out.pop();
        }
        node.now = node.now.plus_us(10_000);
    }
    // What the core takes, less what the modest one sent.
    assert!((13_000..=15_000).contains(&taken), "{taken} taken");
    assert_eq!(taken + busy + unanswered, 100_000);
    // Twenty seconds of two answers a millisecond, and the burst.
    assert!(
        (40_000..=41_100).contains(&busy),
        "{busy} answered, {unanswered} not"
    );
    assert_eq!(node.clients.counters.unanswered, unanswered);
    assert!(node.clients.counters.busy > 0 && node.clients.counters.over_rate == 0);
}

#[test]
fn the_rate_is_a_sources_and_not_a_ports() {
    let mut node = Node::with(RATE, 16_384);
    let clients: Vec<(SocketAddr, u64)> = (1..=10)
        .map(|port| (at(1, port), node.connect(at(1, port), 5)))
        .collect();
    let mut taken = 0;
    for turn in 0..1_000 {
        for (address, token) in &clients {
            taken += u32::from(node.submit(*address, *token, turn).is_ok());
        }
        node.now = node.now.plus_us(1_000);
    }
    assert!((RATE..=RATE * 5 / 4 + 1).contains(&taken), "{taken}");
    let v6 =
        |host: u16, network: u16| SocketAddr::from(([0x2001, 0xdb8, 0, network, 0, 0, 0, host], 1));
    let source = |address: SocketAddr| Source::of(address.ip());
    assert_eq!(source(v6(1, 1)), source(v6(2, 1)), "one subscriber");
    assert_ne!(source(v6(1, 1)), source(v6(1, 2)));
}

#[test]
fn who_starts_anew_gets_neither_a_new_rate_nor_the_cores_whole_attention() {
    let mut node = Node::with(RATE, 16_384);
    let tokens = [5, 6].map(|nonce| node.connect(at(1, 1), nonce));
    let mut taken = 0;
    for turn in 0..5_000u64 {
        let which = (turn % 2) as usize;
        node.take(at(1, 1), &hello(5 + turn % 2, tokens[which]));
        taken += u32::from(node.submit(at(1, 1), tokens[which], turn).is_ok());
    }
    assert!(taken <= RATE / 4, "{taken} of one burst");
    let told = std::iter::from_fn(|| node.out.pop().ok())
        .filter(|message| !matches!(message, ToCore::Submit { .. }))
        .count() as u32;
    assert!(
        told <= 2 * DATAGRAM_CLIENTS_A_SOURCE_MAX,
        "the core is told {told} times"
    );
    assert!(node.clients.counters.unanswered > 0);
    assert_eq!(node.clients.sessions.len(), 1);
    // With time it may again, and its place is its own.
    node.now = node.now.plus_us(1_000_000);
    let token = node.connect(at(1, 1), 7);
    assert_eq!(node.submit(at(1, 1), token, 1), Ok(()));
    assert_eq!(node.clients.sources.len(), 1);
}

#[test]
fn a_client_that_starts_anew_takes_its_place_and_a_silent_one_is_forgotten() {
    let mut node = Node::new();
    let first = node.connect(at(1, 9), 5);
    let second = node.connect(at(1, 9), 6);
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::ClientUp { connection: 1, .. })
    ));
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::ClientDown { connection: 1 })
    ));
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::ClientUp { connection: 2, .. })
    ));
    assert_eq!(node.submit(at(1, 9), first, 1), Err(None));
    assert_eq!(node.submit(at(1, 9), second, 1), Ok(()));
    assert_eq!(node.clients.sources.len(), 1);
    // A hello is a sign of life.
    for _ in 0..3 {
        node.now = node.now.plus_us(DATAGRAM_SILENCE_US_MAX);
        node.clients.look(node.now, &mut node.core);
        assert_eq!(node.take(at(1, 9), &hello(6, second)).len(), 1);
    }
    node.now = node.now.plus_us(DATAGRAM_SILENCE_US_MAX + SWEEP_US);
    node.clients.look(node.now, &mut node.core);
    assert_eq!(node.clients.counters.silent, 1);
    assert!(node.clients.sessions.is_empty() && node.clients.sources.is_empty());
    assert!(node.clients.addresses.is_empty());
    let _ = node.out.pop();
    assert!(matches!(
        node.out.pop(),
        Ok(ToCore::ClientDown { connection: 2 })
    ));
    assert_eq!(node.submit(at(1, 9), second, 2), Err(None));
}

#[test]
fn a_source_has_no_more_clients_than_its_bound_and_slots_are_used_again() {
    let mut node = Node::with(RATE, 16_384);
    for port in 0..DATAGRAM_CLIENTS_A_SOURCE_MAX as u16 {
        node.connect(at(1, 1_000 + port), 5);
        // Answers to the unproven come back with time.
        node.now = node.now.plus_us(1_000);
    }
    let token = node.clients.token(at(1, 1), 5, slot_of(node.now));
    let answers = node.take(at(1, 1), &hello(5, token));
    let Ok(DatagramNotice::Notices { frames, .. }) = DatagramNotice::decode(&answers[0].1) else {
        panic!("told why");
    };
    let content = DatagramNotice::frames(frames).next().unwrap();
    assert!(matches!(
        Notice::decode(content),
        Ok(Notice::Goodbye {
            code: GoodbyeCode::TooManyConnections,
            ..
        })
    ));
    node.connect(at(2, 1), 5);
    node.connect(at(3, 1), 5);
    let slots = |node: &Node| {
        let slots = node.clients.sources.values().map(|state| state.slot);
        slots.collect::<Vec<_>>()
    };
    assert_eq!(slots(&node), [0, 1, 2].map(|slot| SOURCE_SLOT_0 + slot));
    node.clients.end(at(2, 1), &mut node.core);
    node.connect(at(4, 1), 5);
    assert_eq!(slots(&node), [0, 2, 1].map(|slot| SOURCE_SLOT_0 + slot));
}

#[test]
fn rubbish_and_another_chain_change_nothing() {
    let mut node = Node::new();
    let token = node.connect(at(1, 9), 5);
    let connected = hello(5, token);
    for cut in 0..connected.len() {
        assert!(node.take(at(1, 9), &connected[..cut]).is_empty());
    }
    assert!(node.take(at(1, 9), &[1; 1_232]).is_empty());
    assert_eq!(node.clients.counters.malformed, connected.len() as u64 + 1);
    let other = Hello {
        chain_id: ChainId(8),
        receipts: false,
        ordered: false,
        settled: false,
        keys: false,
    };
    let token = node.clients.token(at(2, 2), 5, slot_of(node.now));
    let mut bytes = Vec::new();
    encode_datagram_hello(&mut bytes, &other, 5, token);
    let answers = node.take(at(2, 2), &bytes);
    let Ok(DatagramNotice::Notices { frames, .. }) = DatagramNotice::decode(&answers[0].1) else {
        panic!("told why");
    };
    let content = DatagramNotice::frames(frames).next().unwrap();
    assert!(matches!(
        Notice::decode(content),
        Ok(Notice::Goodbye {
            code: GoodbyeCode::WrongChain,
            ..
        })
    ));
    assert_eq!(node.clients.sessions.len(), 1);
}
