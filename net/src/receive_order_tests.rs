//! Between TCP connections: what comes first gets the earlier position, however long core computes meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use fairlane_client::protocol::{
    Hello, NOTICE_LEN_MAX, Notice, encode_hello, encode_submit, next_frame,
};
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{BatchSeq, RollupId};

use crate::node::Node;
use crate::one_node::OneNode;
use crate::stage::clock;

/// Whose proofs keep core busy for some milliseconds.
const BURST: usize = 96;
const APART: Duration = Duration::from_micros(500);
const TRIES: usize = 20;
/// So many have to be right. Others may be lost to a processor that was elsewhere.
const RIGHT_MIN: usize = 12;
/// As tests beside this one may take the processors.
const ROUNDS: usize = 4;

#[test]
fn a_busy_connection_is_not_favoured_while_core_checks_proofs() {
    for backend in ["auto", "mio"] {
        let mut rounds = (0..ROUNDS).map(|_| right_of_tries(backend, "arrival"));
        assert!(
            rounds.any(|right| right >= RIGHT_MIN),
            "{backend}: a busy connection's later envelope came before a quiet one's earlier one"
        );
    }
}

#[test]
fn a_thread_that_io_and_core_share_favours_it() {
    // Or the test above would show nothing.
    let right = right_of_tries("auto", "turn");
    assert!(right < RIGHT_MIN, "{right} of {TRIES}");
}

/// How many of [`TRIES`] gave an envelope of a quiet connection its place between two of a busy one.
fn right_of_tries(backend: &str, receive: &str) -> usize {
    keep_to_two_cores();
    let of = OneNode::new();
    let text = std::fs::read_to_string(&of.config).unwrap();
    let mut config: toml::Table = toml::from_str(&text).unwrap();
    config.insert("backend".into(), backend.into());
    let wait = config["wait"].as_table_mut().unwrap();
    wait.insert("receive".into(), receive.into());
    std::fs::write(&of.config, toml::to_string(&config).unwrap()).unwrap();
    let node = Node::start(&of.config).unwrap();
    let directory = of.roster.clone().into_directory().unwrap();
    let mut busy = Link::new(&of);
    let mut quiet = Link::new(&of);
    let sealer = Sealer {
        key: directory.sealing_key,
        rollup: RollupId(1),
        kind: EnvelopeKind::Sealed,
        sender_tag: [0; 16],
        padding: PadTo::Nothing,
    };
    let frame = |tag: u64| {
        let mut frame = Vec::new();
        let envelope = sealer.make(b"x", clock().plus_us(50_000_000)).unwrap();
        encode_submit(&mut frame, tag, envelope.bytes()).unwrap();
        frame
    };
    let mut right = 0;
    for _ in 0..TRIES {
        let burst: Vec<u8> = (0..BURST).flat_map(|_| frame(0)).collect();
        let (between, earlier, later) = (frame(1), frame(2), frame(3));
        busy.stream.write_all(&burst).unwrap();
        std::thread::sleep(APART);
        busy.stream.write_all(&earlier).unwrap();
        std::thread::sleep(APART);
        quiet.stream.write_all(&between).unwrap();
        std::thread::sleep(APART);
        busy.stream.write_all(&later).unwrap();
        let [between] = quiet.places_of([1]);
        let [earlier, later] = busy.places_of([2, 3]);
        right += usize::from(earlier < between && between < later);
    }
    node.stop().unwrap();
    right
}

/// With more, io and core have a core each whatever is set. Threads that are started from now on keep to them, too.
fn keep_to_two_cores() {
    let mut two = rustix::thread::CpuSet::new();
    for core in core_affinity::get_core_ids().unwrap().iter().take(2) {
        two.set(core.id);
    }
    rustix::thread::sched_setaffinity(None, &two).unwrap();
}

/// A client's connection, nothing between it and the test.
struct Link {
    stream: TcpStream,
    incoming: Vec<u8>,
}

impl Link {
    fn new(of: &OneNode) -> Self {
        let directory = of.roster.clone().into_directory().unwrap();
        let mut stream = TcpStream::connect(directory.client_addresses()[0]).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let hello = Hello {
            chain_id: directory.committee.chain_id,
            receipts: false,
            ordered: true,
            settled: false,
            keys: false,
        };
        let mut frame = Vec::new();
        encode_hello(&mut frame, &hello);
        stream.write_all(&frame).unwrap();
        Self {
            stream,
            incoming: Vec::new(),
        }
    }

    /// Batch, and place in it, of the envelopes that were sent as `tags`.
    fn places_of<const N: usize>(&mut self, tags: [u64; N]) -> [(BatchSeq, u32); N] {
        let mut places = [None; N];
        loop {
            let mut bytes = [0; 4096];
            let len = self.stream.read(&mut bytes).unwrap();
            assert!(len > 0, "the node hung up");
            self.incoming.extend_from_slice(&bytes[..len]);
            while let Some((content, len)) = next_frame(&self.incoming, NOTICE_LEN_MAX).unwrap() {
                if let Notice::Ordered(ordered) = Notice::decode(content).unwrap() {
                    for item in ordered.iter() {
                        if let Some(at) = tags.iter().position(|tag| *tag == item.tag) {
                            places[at] = Some((ordered.seq, item.index));
                        }
                    }
                }
                self.incoming.drain(..len);
            }
            if places.iter().all(Option::is_some) {
                return places.map(Option::unwrap);
            }
        }
    }
}
