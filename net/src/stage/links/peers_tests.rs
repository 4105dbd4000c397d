//! Two nodes' links, joined in memory: what one asks to be sent, the other receives.

use super::*;
use crate::frame;
use crate::session::handshake::OPENING_LEN;
use crate::session::tests::keys;

const START: TimestampUs = TimestampUs(1_000_000_000);
const SECOND_US: u64 = 1_000_000;

/// One authority's links, with the other end of its ring to the core.
struct Side {
    links: PeerLinks,
    core: CoreQueue,
    out: rtrb::Consumer<ToCore>,
    now: TimestampUs,
}

impl Side {
    fn new(index: u8) -> Self {
        let addresses = (1..=4).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let (ring, out) = rtrb::RingBuffer::new(64);
        Self {
            links: PeerLinks::new(keys(index), 1 << 16, addresses),
            core: CoreQueue::new(ring, 4),
            out,
            now: START,
        }
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut PeerLinks, &mut Outcome<'_>) -> T,
    ) -> (T, Vec<Op>) {
        let mut ops = Vec::new();
        let (now, core) = (self.now, &mut self.core);
        let mut outcome = Outcome {
            now,
            core,
            ops: &mut ops,
        };
        let done = call(&mut self.links, &mut outcome);
        (done, ops)
    }

    /// What it tells its core, in words.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(message) = self.out.pop() {
            told.push(match message {
                ToCore::PeerUp { peer } => format!("up {}", peer.0),
                ToCore::PeerDown { peer } => format!("down {}", peer.0),
                ToCore::Peer { from, kind, body } => format!("{kind} from {}: {body:?}", from.0),
                other => panic!("{other:?}"),
            });
        }
        told
    }

    fn accept(&mut self, id: ConnId, last: u8) -> Vec<Op> {
        let address = IpAddr::from([10, 0, 0, last]);
        self.call(|links, outcome| links.on_accepted(id, address, outcome))
            .1
    }

    fn receive(&mut self, id: ConnId, bytes: &[u8]) -> Vec<Op> {
        let (ours, ops) = self.call(|links, outcome| links.on_bytes(id, bytes, outcome));
        assert!(ours);
        ops
    }

    fn seal(&mut self, to: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let now = self.now;
        self.links.seal(AuthorityIndex(to), bytes, &mut out, now);
        out
    }
}

fn conn(slot: u32) -> ConnId {
    ConnId::from_bits(u64::from(slot) << 32)
}

fn sent(ops: &[Op]) -> Vec<u8> {
    let bytes = |op: &Op| match op {
        Op::Send(_, bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    ops.iter().flat_map(bytes).collect()
}

fn is_abort_of(ops: &[Op], id: ConnId) -> bool {
    matches!(ops, [Op::Abort(aborted)] if *aborted == id)
}

fn a_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::append(&mut out, kind, body, 1 << 16).unwrap();
    out
}

/// Connects `connects` to `accepts`; gives the first record, which is still on its way.
fn shake(connects: &mut Side, accepts: &mut Side, index: u8, id: ConnId) -> Vec<u8> {
    let greeting = sent(&accepts.accept(id, 1));
    let now = connects.now;
    connects.links.on_connected(id, AuthorityIndex(index), now);
    let opening = sent(&connects.receive(id, &greeting));
    let reply = sent(&accepts.receive(id, &opening));
    sent(&connects.receive(id, &reply))
}

/// Authorities 0 and 2, linked.
fn linked() -> (Side, Side) {
    let (mut zero, mut two) = (Side::new(0), Side::new(2));
    let first = shake(&mut zero, &mut two, 2, conn(1));
    two.receive(conn(1), &first);
    assert_eq!(zero.told(), ["up 2"]);
    assert_eq!(two.told(), ["up 0"]);
    (zero, two)
}

#[test]
fn who_accepts_believes_at_the_first_record_and_frames_come_through() {
    let (mut zero, mut two) = (Side::new(0), Side::new(2));
    let first = shake(&mut zero, &mut two, 2, conn(1));
    assert_eq!(zero.told(), ["up 2"]);
    assert_eq!(two.told(), [""; 0]);
    assert!(two.links.link(AuthorityIndex(0)).is_none());
    two.receive(conn(1), &first);
    assert_eq!(two.told(), ["up 0"]);
    let there = zero.seal(2, &a_frame(0x42, b"v"));
    two.receive(conn(1), &there);
    assert_eq!(two.told(), ["66 from 0: [118]"]);
    let back = two.seal(0, &a_frame(0x46, b"s"));
    zero.receive(conn(1), &back);
    assert_eq!(zero.told(), ["70 from 2: [115]"]);
    assert_eq!(
        (zero.links.counters.sessions, two.links.counters.messages),
        (1, 1)
    );
}

#[test]
fn a_later_session_of_the_same_authority_takes_the_place_of_the_earlier() {
    let (_, mut two) = linked();
    let mut again = Side::new(0);
    let first = shake(&mut again, &mut two, 2, conn(5));
    assert_eq!(two.links.link(AuthorityIndex(0)), Some(conn(1)));
    assert!(is_abort_of(&two.receive(conn(5), &first), conn(1)));
    assert_eq!(two.links.link(AuthorityIndex(0)), Some(conn(5)));
    assert_eq!(two.told(), ["up 0"]);
    let (ours, _) = two.call(|links, outcome| links.on_closed(conn(1), outcome));
    assert!(
        !ours && two.told().is_empty(),
        "the earlier one is forgotten"
    );
    two.call(|links, outcome| links.on_closed(conn(5), outcome));
    assert_eq!(two.told(), ["down 0"]);
}

#[test]
fn an_impostor_is_cut_and_counted_and_the_link_stays() {
    let (_, mut two) = linked();
    two.accept(conn(9), 200);
    let mut forged = vec![1, 0];
    forged.resize(OPENING_LEN, 7);
    assert!(is_abort_of(&two.receive(conn(9), &forged), conn(9)));
    assert_eq!(
        (two.links.counters.gate, two.links.counters.refused()),
        (1, 1)
    );
    assert_eq!(two.links.link(AuthorityIndex(0)), Some(conn(1)));
    assert_eq!(two.told(), [""; 0]);
    assert!(
        !two.call(|links, outcome| links.on_bytes(conn(9), b"x", outcome))
            .0
    );
}

#[test]
fn a_record_that_does_not_open_ends_the_link_and_keeps_nobody_out() {
    let (mut zero, mut two) = linked();
    let mut record = zero.seal(2, &a_frame(0x42, b"v"));
    record[9] ^= 1;
    assert!(is_abort_of(&two.receive(conn(1), &record), conn(1)));
    assert_eq!(two.told(), ["down 0"]);
    assert_eq!(two.links.counters.record, 1);
    let mut again = Side::new(0);
    let first = shake(&mut again, &mut two, 2, conn(2));
    two.receive(conn(2), &first);
    assert_eq!(two.told(), ["up 0"]);
}

#[test]
fn an_authority_whose_frame_is_none_is_kept_out_for_a_while_on_both_ways() {
    let (mut zero, mut two) = linked();
    let record = zero.seal(2, &[0, 0, 0, 0]);
    assert!(is_abort_of(&two.receive(conn(1), &record), conn(1)));
    assert_eq!(two.links.counters.frame, 1);
    assert_eq!(two.told(), ["down 0"]);
    assert!(two.links.is_barred(AuthorityIndex(0), two.now));
    two.accept(conn(2), 1);
    let greeting = sent(&two.accept(conn(3), 1));
    zero.links.on_connected(conn(3), AuthorityIndex(2), START);
    let opening = sent(&zero.receive(conn(3), &greeting));
    assert!(is_abort_of(&two.receive(conn(3), &opening), conn(3)));
    assert_eq!(two.links.counters.too_often, 1);
    two.now = START.plus_us(11 * SECOND_US);
    let first = shake(&mut Side::new(0), &mut two, 2, conn(4));
    two.receive(conn(4), &first);
    assert_eq!(two.told(), ["up 0"]);
}

#[test]
fn the_cores_verdict_cuts_a_link() {
    let (_, mut two) = linked();
    let cut = |links: &mut PeerLinks, outcome: &mut Outcome<'_>| {
        links.cut_peer(AuthorityIndex(0), Cut::Rubbish, outcome);
    };
    assert!(is_abort_of(&two.call(cut).1, conn(1)));
    assert_eq!((two.links.counters.rubbish, two.told().len()), (1, 1));
    assert!(two.call(cut).1.is_empty(), "there is no link any more");
}

#[test]
fn a_handshake_that_stalls_and_a_link_that_is_silent_are_cut_and_signs_of_life_keep_it() {
    let (mut zero, mut two) = linked();
    two.accept(conn(7), 3);
    let look = |side: &mut Side, after_us: u64| {
        side.now = START.plus_us(after_us);
        side.call(|links, outcome| links.look(outcome)).1
    };
    assert_eq!(look(&mut two, SECOND_US / 2).len(), 0, "nothing is due yet");
    let life = look(&mut zero, 2 * SECOND_US);
    two.now = START.plus_us(2 * SECOND_US);
    two.receive(conn(1), &sent(&life));
    let ops = look(&mut two, 4 * SECOND_US);
    let late = |op: &Op| matches!(op, Op::Abort(id) if *id == conn(7));
    assert!(ops.iter().any(late), "{ops:?}");
    assert_eq!((two.links.counters.late, two.links.counters.silent), (1, 0));
    assert!(
        look(&mut two, 6 * SECOND_US)
            .iter()
            .all(|op| matches!(op, Op::Send(..)))
    );
    let ops = look(&mut two, 8 * SECOND_US);
    assert!(is_abort_of(&ops, conn(1)), "{ops:?}");
    assert_eq!((two.links.counters.late, two.links.counters.silent), (1, 1));
    assert_eq!(two.told(), ["down 0"]);
}

#[test]
fn a_flood_is_cut_where_it_comes_from() {
    let (mut zero, mut two) = linked();
    let frames = a_frame(0x42, &[]).repeat(1000);
    let mut ops = Vec::new();
    for _ in 0..10 {
        let record = zero.seal(2, &frames);
        if ops.is_empty() {
            ops = two.receive(conn(1), &record);
        }
    }
    assert!(is_abort_of(&ops, conn(1)));
    assert_eq!(two.links.counters.flood, 1);
    assert!(!two.links.is_barred(AuthorityIndex(0), two.now));
}

#[test]
fn bulk_waits_in_order_up_to_its_bound_and_goes_with_the_link() {
    let (mut zero, _) = linked();
    let two = AuthorityIndex(2);
    let unlinked = AuthorityIndex(1);
    assert!(zero.links.push_bulk(unlinked, vec![1]) && !zero.links.has_bulk());
    assert!(zero.links.push_bulk(two, vec![1]) && zero.links.push_bulk(two, vec![2]));
    assert!(!zero.links.push_bulk(two, vec![0; BULK_QUEUE_BYTES_MAX - 1]));
    assert_eq!(zero.links.pop_bulk(two), Some(vec![1]));
    assert!(zero.links.push_bulk(two, vec![0; BULK_QUEUE_BYTES_MAX - 1]));
    zero.call(|links, outcome| links.on_closed(conn(1), outcome));
    assert!(!zero.links.has_bulk() && zero.links.pop_bulk(two).is_none());
}
