//! Whole runs in each mode: mixed rollups, races, closed, inline, hostile, and a pool against the sink.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]

#[path = "support/nodes.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairlane_client::Transport;
use fairlane_client::protocol::{AckCode, OrderedItem, encode_ordered, encode_settled};
use fairlane_engine::committee::{Committee, Rollup, RollupPolicy};
use fairlane_engine::seal::{Envelope, EnvelopeError, EnvelopeVerifier};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq, RollupId, TimestampUs};
use fairlane_loadgen::arrivals::{Rate, Schedule, Spread};
use fairlane_loadgen::hostile::HostileKind;
use fairlane_loadgen::record::TradeRecord;
use fairlane_loadgen::rollups::RollupMix;
use fairlane_loadgen::sink::Sink;
use fairlane_loadgen::workload::plain::Plain;
use fairlane_loadgen::workload::synthetic::Synthetic;
use fairlane_loadgen::{ClosedLoop, Control, Goal, LoadConfig, Sealing, run};
use nodes::fake_node::{CHAIN, ROLLUP, signing_key};
use nodes::{answer, assert_adds_up, config, directory, key, nodes, order_and_settle, run_all};

fn trading(rate: f64, ms: u64, races: f64) -> Box<Synthetic> {
    let trading = Synthetic::new(rate, ms * 1_000, 11).unwrap();
    Box::new(trading.with_races(races).unwrap())
}

fn one(authority: u8) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    set.insert(AuthorityIndex(authority));
    set
}

#[test]
fn rollups_get_their_weights_and_what_belongs_together_goes_to_one() {
    let seen: Arc<Mutex<Vec<(RollupId, TradeRecord)>>> = Arc::default();
    let kept = seen.clone();
    let nodes = nodes(move |index, peer, submissions| {
        for (_, bytes) in submissions.iter().filter(|_| index == 3) {
            let envelope = Envelope::decode(bytes.as_slice().into()).unwrap();
            let record = TradeRecord::decode(envelope.open_payload().unwrap()).unwrap();
            kept.lock().unwrap().push((envelope.label().rollup, record));
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let mut config = config(&nodes, 1_000.0, 600);
    config.open = true;
    config.rollups = "1:3,2:1".parse().unwrap();
    let committee = &config.directory.committee;
    let rollups = [1, 2].map(|id| Rollup {
        id: RollupId(id),
        policy: RollupPolicy::Either,
    });
    config.directory.committee = Committee::new(
        CHAIN,
        committee.epoch,
        TimestampUs(1),
        committee.parameters,
        rollups.to_vec(),
        (0..4)
            .map(|index| signing_key(index).verifying_key())
            .collect(),
    )
    .unwrap();
    let outcome = run_all(config);
    assert_adds_up(&outcome);
    let [first, second] = &outcome.rollups[..] else {
        panic!("{:?}", outcome.rollups)
    };
    assert_eq!((first.rollup, first.weight, second.rollup), (1, 3, 2));
    assert_eq!(first.offered + second.offered, outcome.tally.offered);
    assert_eq!(first.settled + second.settled, outcome.tally.settled);
    assert_eq!(first.settled_us.count, first.settled);
    let part = first.offered as f64 / outcome.tally.offered as f64;
    assert!((0.6..0.9).contains(&part), "{part}");
    let seen = seen.lock().unwrap();
    let counted = seen.iter().filter(|(rollup, _)| rollup.0 == 2).count();
    assert_eq!(counted as u64, second.offered);
    let of: BTreeMap<u64, RollupId> = seen.iter().map(|(id, at)| (at.sequence, *id)).collect();
    for (rollup, cancel) in seen.iter().filter(|(_, record)| record.side.is_none()) {
        assert_eq!(of[&cancel.reference], *rollup, "a cancel follows its order");
    }
}

#[test]
fn races_come_over_two_connections_and_are_decided_by_the_places_that_nodes_tell() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    // Each node orders by what it is told of, the take before the cancel whoever came first: batch 0, then batch 1.
    let nodes = nodes(move |index, peer, submissions| {
        if index == 0 && submissions[0].0 < 1_000_000 {
            counted.fetch_max(peer.number + 1, Ordering::SeqCst);
        }
        answer(peer, submissions, AckCode::Accepted);
        peer.send(|out| {
            for (tag, bytes) in submissions {
                let envelope = Envelope::decode(bytes.as_slice().into()).unwrap();
                let record = TradeRecord::decode(envelope.open_payload().unwrap()).unwrap();
                let is_take = record.kind == fairlane_loadgen::record::RecordKind::Take;
                let seq = BatchSeq(u64::from(!is_take));
                let index = *tag as u32;
                encode_ordered(out, seq, &[OrderedItem { tag: *tag, index }]);
            }
            encode_settled(out, 2);
        });
        true
    });
    let mut config = config(&nodes, 1.0, 1);
    config.open = true;
    config.workload = trading(800.0, 800, 0.5);
    let outcome = run_all(config);
    assert_adds_up(&outcome);
    assert_eq!(outcome.tally.settled, outcome.tally.offered);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    let races: u64 = outcome.races.iter().map(|race| race.races).sum();
    assert!(races > 100, "{:?}", outcome.races);
    for race in &outcome.races {
        assert_eq!((race.cancel_first, race.unknown), (0, 0), "{race:?}");
        assert_eq!(race.take_first, race.races);
    }
    let leads: Vec<i64> = outcome.races.iter().map(|race| race.lead_us).collect();
    assert!(leads.is_sorted() && leads.contains(&-5_000) && leads.contains(&5_000));
    let longest = outcome.races.last().unwrap();
    assert!(longest.sent_lead_mean_us > 2_500.0, "{longest:?}");
}

#[test]
fn a_closed_loop_has_so_many_under_way_and_does_not_see_a_stall_that_an_open_loop_sees() {
    let answered: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let stall = Duration::from_millis(300);
    let nodes = nodes(move |_, peer, submissions| {
        if submissions[0].0 == 0 {
            std::thread::sleep(stall);
        }
        let mut answered = answered.lock().unwrap();
        // A slow node gets several at once; of all that were sent, only so many as there are clients wait for a first answer.
        let newest = submissions.iter().map(|(tag, _)| *tag).max().unwrap();
        assert!(newest < answered.len() as u64 + 3, "one a client");
        answered.extend(submissions.iter().map(|(tag, _)| *tag));
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let mut closed = config(&nodes, 100_000.0, 10_000);
    closed.closed = Some(ClosedLoop {
        clients: 3,
        duration: Duration::from_millis(600),
    });
    let outcome = run_all(closed);
    assert_adds_up(&outcome);
    assert_eq!(outcome.closed_clients, 3);
    assert_eq!((outcome.tally.lost, outcome.tally.unanswered), (0, 0));
    assert!(outcome.tally.offered > 20, "{}", outcome.tally.offered);
    let ack = outcome.latency_us.ack;
    assert!(ack.max >= 290_000, "the three that met the stall saw it");
    assert!(
        ack.p50 < 100_000,
        "half of the run was stalled, and most did not see it"
    );
}

#[test]
fn a_client_of_a_closed_loop_that_is_never_answered_goes_on_after_the_timeout() {
    let nodes = nodes(|_, _, _| true);
    let mut config = config(&nodes, 100_000.0, 10_000);
    config.drain_timeout = Duration::from_millis(50);
    config.closed = Some(ClosedLoop {
        clients: 2,
        duration: Duration::from_millis(400),
    });
    let outcome = run_all(config);
    let tally = &outcome.tally;
    assert_eq!(tally.unanswered, tally.offered);
    assert!((6..=20).contains(&tally.offered), "{}", tally.offered);
}

#[test]
fn sealing_inline_is_in_the_latencies_and_its_envelopes_are_sound() {
    let verifier = Arc::new(EnvelopeVerifier::new(key(), [1; 32]));
    let nodes = nodes(move |index, peer, submissions| {
        if index == 0 {
            let decode = |bytes: &Vec<u8>| Envelope::decode(bytes.as_slice().into()).unwrap();
            let envelopes = submissions.iter().map(|(_, bytes)| decode(bytes));
            let checked = verifier.check(envelopes.collect());
            assert!(checked.iter().all(Result::is_ok));
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let mut config = config(&nodes, 1.0, 1);
    let schedule = Schedule::new(&Rate::Constant(500.0), Spread::Bursts(100), 600_000, 1);
    config.workload = Box::new(Plain::new(schedule.unwrap()));
    config.sealing = Sealing::Inline;
    let outcome = run_all(config);
    assert_adds_up(&outcome);
    assert_eq!((outcome.tally.offered, outcome.tally.lost), (300, 0));
    // A hundred at one instant are sealed one after the other: half leave after fifty were.
    assert!(
        outcome.offering.send_lag_us.p50 > 200,
        "{:?}",
        outcome.offering
    );
    assert_eq!(outcome.offering.sealed_late, 0);
}

#[test]
fn hostile_traffic_has_its_own_account_and_the_honest_load_is_the_same() {
    let verifier = Arc::new(EnvelopeVerifier::new(key(), [1; 32]));
    let nodes = nodes(move |_, peer, submissions| {
        for (tag, bytes) in submissions {
            let one = [(*tag, bytes.clone())];
            let envelope = Envelope::decode(bytes.as_slice().into()).unwrap();
            match verifier.check(vec![envelope]).remove(0) {
                Ok(_) => {
                    answer(peer, &one, AckCode::Accepted);
                    order_and_settle(peer, &one);
                }
                Err(EnvelopeError::BadProof) => answer(peer, &one, AckCode::BadProof),
                Err(EnvelopeError::WrongKey) => answer(peer, &one, AckCode::WrongKey),
                Err(other) => panic!("{other}"),
            }
        }
        true
    });
    let quiet = run_all(config(&nodes, 400.0, 600));
    let mut attacked = config(&nodes, 400.0, 600);
    attacked.hostile = "bad-proof=20%,wrong-epoch=20%,one-authority=20%,half-open=3"
        .parse()
        .unwrap();
    let attacked = run_all(attacked);
    assert_adds_up(&attacked);
    assert_eq!(
        attacked.tally, quiet.tally,
        "the honest load is what it was"
    );
    assert!(attacked.refusals_by_code.is_empty() && quiet.hostile.is_empty());
    let of = |kind| attacked.hostile.iter().find(|outcome| outcome.kind == kind);
    for (kind, code) in [
        (HostileKind::BadProof, "bad_proof"),
        (HostileKind::WrongEpoch, "wrong_key"),
    ] {
        let outcome = of(kind).unwrap();
        assert!(outcome.sent > 10, "{outcome:?}");
        assert_eq!(
            outcome.answers,
            [(code.to_owned(), 4 * outcome.sent)].into()
        );
        assert!(outcome.ordered == 0 && outcome.holds());
    }
    let one = of(HostileKind::OneAuthority).unwrap();
    assert_eq!(
        one.answers["accepted"], one.sent,
        "one node was told of each"
    );
    assert_eq!((one.ordered, one.ordered_us.count), (one.sent, one.sent));
    assert_eq!(of(HostileKind::HalfOpen).unwrap().sent, 3);
    assert!(of(HostileKind::Duplicate).is_none());
}

#[test]
fn a_pool_is_sent_again_and_again_to_a_sink_that_counts_every_envelope() {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let addresses: Vec<SocketAddr> = (0..4).map(|_| free()).collect();
    let directory = directory(&addresses);
    let sink = Sink::start(&directory, one(2), true).unwrap();
    assert_eq!(sink.addresses(), [addresses[2]]);
    let schedule = Schedule::new(&Rate::Constant(20_000.0), Spread::Even, 300_000, 1);
    let workload = Box::new(Plain::new(schedule.unwrap()));
    let outcome = run_all(LoadConfig {
        sealing: Sealing::Pool(100),
        goal: Goal::Ack,
        targets: Some(one(2)),
        lead: Duration::from_millis(10),
        ..LoadConfig::new(directory, ROLLUP, workload)
    });
    let tally = &outcome.tally;
    assert_eq!(
        (tally.offered, tally.accepted, tally.lost),
        (6_000, 6_000, 0)
    );
    assert!(outcome.is_drained);
    let until = Instant::now() + Duration::from_secs(5);
    while sink.counts().open > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let counts = sink.counts();
    assert_eq!((counts.envelopes, counts.connections), (6_000, 1));
    assert_eq!((counts.refused, counts.open), (0, 0));
    // 400 bytes and 14 of frame.
    assert_eq!(counts.bytes, 6_000 * 414);
}

#[test]
fn parts_that_do_not_go_together_are_refused_in_a_sentence() {
    let nodes = nodes(|_, _, _| true);
    let refusal = |change: &dyn Fn(&mut LoadConfig)| {
        let mut config = config(&nodes, 10.0, 100);
        change(&mut config);
        let refused = run(config, &mut |_| {}, &Control::new());
        refused.unwrap_err().to_string()
    };
    let closed = |clients| {
        let duration = Duration::from_millis(10);
        Some(ClosedLoop { clients, duration })
    };
    type Change<'a> = &'a dyn Fn(&mut LoadConfig);
    let cases: [(Change<'_>, &str); 8] = [
        (
            &|config| config.sealing = Sealing::Pool(5),
            "ends with the ack",
        ),
        (&|config| config.closed = closed(0), "1 to 10000 clients"),
        (
            &|config| {
                config.closed = closed(1);
                config.workload = trading(1.0, 10, 0.1);
            },
            "closed loop has no races",
        ),
        (
            &|config| {
                config.transport = Transport::Udp;
                config.hostile = "expired=1%".parse().unwrap();
            },
            "over TCP alone",
        ),
        (
            &|config| {
                config.transport = Transport::Udp;
                config.busy_retries = 1;
            },
            "sent again over TCP alone",
        ),
        (
            &|config| {
                config.open = true;
                config.hostile = "bad-proof=1%".parse().unwrap();
            },
            "no proof",
        ),
        (
            &|config| config.targets = Some(one(4)),
            "authorities of the committee",
        ),
        (
            &|config| config.rollups = RollupMix::one(RollupId(9)),
            "does not order for rollup 9",
        ),
    ];
    for (change, words) in cases {
        let said = refusal(change);
        assert!(said.contains(words), "{said:?} should say {words:?}");
    }
}
