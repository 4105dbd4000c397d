//! The state machine of one envelope, who counts when nodes are killed, and what liars can change (nothing).

use ed25519_dalek::SigningKey;
use fairlane_client::protocol::Ack;
use fairlane_client::{Receipt, ReceiptError};
use fairlane_engine::dag::{Settled, VertexHeader};
use fairlane_engine::types::{ChainId, Digest, Epoch, Position, Round, Sha256Hash, TimestampUs};

use super::*;

const ENTRY: Entry = Entry {
    digest: Digest([1; 32]),
    valid_until: TimestampUs(1),
};

fn set(members: &[u8]) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    for member in members {
        set.insert(AuthorityIndex(*member));
    }
    set
}

/// An envelope of the first rollup.
fn sent(planned_us: u64, members: &[u8]) -> Sent {
    Sent {
        planned_us,
        sent: set(members),
        entry: Some(ENTRY),
        rollup: 0,
    }
}

/// A ledger with `count` envelopes, planned 1,000 us apart and sent to authorities 0, 1 and 2.
fn ledger(count: u64) -> Ledger {
    let mut ledger = Ledger::new(Goal::Settled, 1);
    for tag in 0..count {
        ledger.on_sent(sent(tag * 1_000, &[0, 1, 2]));
    }
    ledger
}

impl Ledger {
    fn hear(&mut self, now_us: u64, authority: u8, event: Event) {
        self.on_event(now_us, AuthorityIndex(authority), &event);
    }

    fn ack(&mut self, now_us: u64, authority: u8, tag: u64, code: AckCode) {
        let detail = 0;
        self.hear(now_us, authority, Event::Ack(Ack { tag, code, detail }));
    }

    fn order(&mut self, now_us: u64, authority: u8, tag: u64, seq: u64, index: u32) {
        let seq = BatchSeq(seq);
        self.hear(now_us, authority, Event::Ordered { tag, seq, index });
    }

    fn settled_up_to(&mut self, now_us: u64, count: u64) {
        self.hear(now_us, 0, Event::Settled { count });
    }
}

fn summary(tally: &Tally) -> [u64; 6] {
    assert_eq!(
        tally.offered,
        tally.accepted + tally.refused + tally.unanswered,
        "I2"
    );
    assert_eq!(tally.accepted, tally.settled + tally.lost, "I2");
    assert_eq!(tally.refused, tally.refused_by_code.values().sum::<u64>());
    [
        tally.offered,
        tally.accepted,
        tally.refused,
        tally.unanswered,
        tally.settled,
        tally.lost,
    ]
}

#[test]
fn latencies_count_once_and_from_the_planned_time() {
    let mut ledger = ledger(2);
    ledger.ack(1_700, 1, 1, AckCode::Accepted);
    ledger.ack(9_000, 0, 1, AckCode::Accepted);
    ledger.order(3_000, 2, 1, 0, 0);
    ledger.order(8_000, 0, 1, 0, 0);
    ledger.settled_up_to(6_000, 1);
    ledger.settled_up_to(7_000, 1);
    let latencies = &ledger.latencies;
    let only = |histogram: &hdrhistogram::Histogram<u64>| {
        assert_eq!(histogram.len(), 1);
        histogram.max()
    };
    // Histograms round up within a tenth of a percent.
    assert!((700..=701).contains(&only(latencies.total(Stage::Ack))));
    assert!((2_000..=2_002).contains(&only(latencies.total(Stage::Ordered))));
    assert!((5_000..=5_005).contains(&only(latencies.total(Stage::Settled))));
    assert_eq!(ledger.last_settled_us(), 6_000);
    assert_eq!(summary(&ledger.tally(set(&[]))), [2, 1, 0, 1, 1, 0]);
}

#[test]
fn one_acceptance_outweighs_refusals_and_only_unanimous_refusal_is_refused() {
    let mut ledger = ledger(3);
    for authority in [0, 1] {
        ledger.ack(1, authority, 0, AckCode::Busy);
        ledger.ack(1, authority, 1, AckCode::Expired);
        ledger.ack(1, authority, 2, AckCode::Busy);
    }
    ledger.ack(2, 2, 0, AckCode::Accepted);
    ledger.ack(2, 2, 1, AckCode::Busy);
    let tally = ledger.tally(set(&[]));
    assert_eq!(summary(&tally), [3, 1, 1, 1, 0, 1]);
    assert_eq!(
        tally.refused_by_code["expired"], 1,
        "by the code heard first"
    );
    assert_eq!(
        ledger.counts.refusals[usize::from(AckCode::Busy.as_u8())],
        5
    );
}

#[test]
fn what_is_sent_again_is_open_until_then_and_only_later_answers_count() {
    let mut ledger = ledger(1);
    for authority in [0, 1, 2] {
        assert!(!ledger.is_refused(0));
        ledger.ack(1, authority, 0, AckCode::Busy);
    }
    assert!(ledger.is_refused(0) && ledger.is_over(0));
    ledger.hold(0, true);
    assert!(!ledger.is_over(0));
    assert_eq!(ledger.open_count(set(&[])), 1);
    ledger.on_sent_again(0, set(&[0, 1]));
    assert!(!ledger.is_refused(0));
    assert_eq!(summary(&ledger.tally(set(&[]))), [1, 0, 0, 1, 0, 0]);
    ledger.ack(2, 2, 0, AckCode::Busy);
    assert_eq!(ledger.counts.strays, 1, "it was not sent to this one again");
    ledger.ack(2, 1, 0, AckCode::Busy);
    ledger.ack(2, 0, 0, AckCode::Accepted);
    assert_eq!(summary(&ledger.tally(set(&[]))), [1, 1, 0, 0, 0, 1]);
}

#[test]
fn what_could_be_sent_to_nobody_again_stays_refused() {
    let mut ledger = ledger(1);
    for authority in [0, 1, 2] {
        ledger.ack(1, authority, 0, AckCode::Busy);
    }
    ledger.hold(0, true);
    ledger.on_sent_again(0, set(&[]));
    assert_eq!(summary(&ledger.tally(set(&[]))), [1, 0, 1, 0, 0, 0]);
    assert_eq!(ledger.open_count(set(&[])), 0);
}

#[test]
fn what_killed_nodes_said_does_not_count() {
    let mut ledger = ledger(3);
    ledger.ack(1, 2, 0, AckCode::Accepted);
    ledger.ack(1, 2, 1, AckCode::Accepted);
    for authority in [0, 1] {
        ledger.ack(1, authority, 1, AckCode::Busy);
        ledger.ack(1, authority, 2, AckCode::Busy);
    }
    assert_eq!(summary(&ledger.tally(set(&[]))), [3, 2, 0, 1, 0, 2]);
    // Without authority 2: nobody alive answered tag 0, everybody alive refused tags 1 and 2.
    assert_eq!(summary(&ledger.tally(set(&[2]))), [3, 0, 2, 1, 0, 0]);
    assert_eq!(summary(&ledger.tally(set(&[0, 1, 2]))), [3, 0, 0, 3, 0, 0]);
}

#[test]
fn what_settled_without_a_counting_ack_is_reported_apart() {
    let mut ledger = ledger(1);
    ledger.ack(1, 2, 0, AckCode::Accepted);
    ledger.order(2, 2, 0, 0, 0);
    ledger.settled_up_to(3, 1);
    let tally = ledger.tally(set(&[2]));
    assert_eq!(summary(&tally), [1, 0, 0, 1, 0, 0]);
    assert_eq!(tally.settled_unaccepted, 1);
}

#[test]
fn settlement_heard_before_the_order_still_settles() {
    let mut ledger = ledger(2);
    ledger.settled_up_to(100, 4);
    ledger.order(200, 1, 0, 3, 7);
    ledger.order(200, 1, 1, 4, 0);
    assert_eq!(ledger.counts.settled, 1);
    ledger.settled_up_to(300, 5);
    assert_eq!(ledger.counts.settled, 2);
}

#[test]
fn nodes_that_disagree_on_a_place_are_counted() {
    let mut ledger = ledger(1);
    ledger.order(1, 0, 0, 5, 1);
    ledger.order(2, 1, 0, 5, 1);
    assert_eq!(ledger.counts.order_disagreements, 0);
    ledger.order(3, 2, 0, 5, 2);
    assert_eq!(ledger.counts.order_disagreements, 1);
    assert_eq!(ledger.counts.ordered, 1);
}

#[test]
fn notices_about_what_was_never_sent_change_nothing() {
    let mut ledger = ledger(1);
    ledger.on_sent(sent(0, &[0]));
    ledger.ack(1, 1, 1, AckCode::Accepted);
    ledger.ack(1, 0, 99, AckCode::Accepted);
    ledger.ack(1, 0, u64::MAX, AckCode::Accepted);
    ledger.order(1, 0, 99, 0, 0);
    ledger.ack(2, 0, 0, AckCode::Busy);
    ledger.ack(2, 0, 0, AckCode::Accepted);
    assert_eq!(ledger.counts.strays, 5);
    assert_eq!(ledger.counts.acked, 0);
    assert_eq!(summary(&ledger.tally(set(&[]))), [2, 0, 0, 2, 0, 0]);
}

#[test]
fn an_envelope_is_open_until_settled_or_refused_by_all_that_live() {
    let mut ledger = ledger(3);
    assert_eq!(ledger.open_count(set(&[])), 3);
    ledger.ack(1, 0, 0, AckCode::Accepted);
    ledger.order(1, 0, 0, 0, 0);
    assert_eq!(ledger.open_count(set(&[])), 3);
    ledger.settled_up_to(2, 1);
    assert_eq!(ledger.open_count(set(&[])), 2);
    ledger.ack(3, 0, 1, AckCode::Busy);
    ledger.ack(3, 1, 1, AckCode::Busy);
    assert_eq!(ledger.open_count(set(&[])), 2);
    assert_eq!(ledger.open_count(set(&[2])), 1);
    assert_eq!(ledger.open_count(set(&[0, 1, 2])), 0);
}

/// A receipt as the client hands it on: verified there, so the ledger looks at its tag only.
fn receipt(tag: u64) -> Event {
    let header = VertexHeader {
        chain_id: ChainId(1),
        epoch: Epoch(0),
        round: Round(1),
        author: AuthorityIndex(0),
        timestamp: TimestampUs(1),
        first_position: Position(0),
        entry_count: 1,
        entries_root: Sha256Hash([0; 32]),
        parent_count: 0,
        parents_root: Digest([0; 32]),
        settled: Settled::default(),
    };
    let receipt = Receipt {
        signed_header: header.sign(&SigningKey::from_bytes(&[1; 32])),
        entry_index: 0,
        path: Vec::new(),
    };
    Event::Receipt { tag, receipt }
}

#[test]
fn only_the_first_receipt_is_wanted_and_a_refused_one_leaves_it_wanted() {
    let mut ledger = ledger(2);
    let reason = ReceiptError::Path;
    ledger.hear(1_200, 1, Event::ReceiptRefused { tag: 1, reason });
    assert_eq!(ledger.receipt_wanted(1), Some(ENTRY));
    ledger.hear(1_500, 0, receipt(1));
    assert_eq!(ledger.receipt_wanted(1), None);
    ledger.hear(9_000, 2, receipt(1));
    assert_eq!(
        (ledger.counts.receipted, ledger.counts.receipts_refused),
        (1, 1)
    );
    assert_eq!(ledger.latencies.total(Stage::Receipt).max(), 500);
    assert_eq!(ledger.receipt_wanted(0), Some(ENTRY));
    assert_eq!(ledger.receipt_wanted(99), None);
}

#[test]
fn an_envelope_that_reached_nobody_is_unanswered_and_not_waited_for() {
    let mut ledger = Ledger::new(Goal::Settled, 1);
    ledger.on_sent(sent(0, &[]));
    assert_eq!(ledger.open_count(set(&[])), 0);
    assert_eq!(ledger.receipt_wanted(0), None);
    assert_eq!(summary(&ledger.tally(set(&[]))), [1, 0, 0, 1, 0, 0]);
}
