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
/// So many have to be right; with `receive = "turn"` none or one is. Others may be lost to a processor that was elsewhere.
const RIGHT_MIN: usize = 12;
/// As tests beside this one may take the processors.
const ROUNDS: usize = 4;

#[test]
fn a_busy_connection_is_not_favoured_while_core_checks_proofs() {
    for backend in ["auto", "mio"] {
        let mut rounds = (0..ROUNDS).map(|_| right_of_tries(backend));
        assert!(
            rounds.any(|right| right >= RIGHT_MIN),
            "{backend}: a busy connection's later envelope came before a quiet one's earlier one"
        );
    }
}

/// How many of [`TRIES`] gave an envelope of a quiet connection a place before a later one of a busy connection.
fn right_of_tries(backend: &str) -> usize {
    let of = OneNode::new();
    let text = std::fs::read_to_string(&of.config).unwrap();
    let set = format!("backend = \"{backend}\"");
    std::fs::write(&of.config, text.replacen("backend = \"auto\"", &set, 1)).unwrap();
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
        let (earlier, between, later) = (frame(0), frame(1), frame(2));
        busy.stream.write_all(&burst).unwrap();
        std::thread::sleep(APART);
        busy.stream.write_all(&earlier).unwrap();
        std::thread::sleep(APART);
        quiet.stream.write_all(&between).unwrap();
        std::thread::sleep(APART);
        busy.stream.write_all(&later).unwrap();
        right += usize::from(quiet.place_of(1) < busy.place_of(2));
    }
    node.stop().unwrap();
    right
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

    /// Batch, and place in it, of the envelope that was sent as `tag`.
    fn place_of(&mut self, tag: u64) -> (BatchSeq, u32) {
        loop {
            let mut bytes = [0; 4096];
            let len = self.stream.read(&mut bytes).unwrap();
            assert!(len > 0, "the node hung up");
            self.incoming.extend_from_slice(&bytes[..len]);
            let mut place = None;
            while let Some((content, len)) = next_frame(&self.incoming, NOTICE_LEN_MAX).unwrap() {
                if let Notice::Ordered(ordered) = Notice::decode(content).unwrap() {
                    let mut items = ordered.iter();
                    let item = items.find(|item| item.tag == tag);
                    place = place.or(item.map(|item| (ordered.seq, item.index)));
                }
                self.incoming.drain(..len);
            }
            if let Some(place) = place {
                return place;
            }
        }
    }
}
