//! Whole runs against nodes that settle, refuse, stall, die or forget.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]

#[path = "support/nodes.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod nodes;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlane_client::protocol::{Ack, AckCode, encode_acks};
use fairlane_engine::seal::{Envelope, EnvelopeKind, EnvelopeVerifier};
use fairlane_engine::types::{AuthorityIndex, RollupId};
use fairlane_loadgen::record::TradeRecord;
use fairlane_loadgen::rollups::RollupMix;
use fairlane_loadgen::{Control, LoadConfig, LoadError, LoadOutcome, Phase, run};
use nodes::fake_node::{FakeNode, ROLLUP, key_plan, sealing_key};
use nodes::{answer, assert_adds_up, config, key, nodes, order_and_settle, run_all};

#[test]
fn sealed_envelopes_arrive_provably_sealed_and_every_one_settles() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let nodes = nodes(move |index, peer, submissions| {
        if index == 0 {
            kept.lock().unwrap().extend_from_slice(submissions);
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let mut phases = Vec::new();
    let outcome = run(
        config(&nodes, 300.0, 600),
        &mut |progress| {
            phases.push(progress.phase);
            assert_eq!(progress.live, 4);
        },
        &Control::new(),
    )
    .unwrap();
    assert_adds_up(&outcome);
    let tally = &outcome.tally;
    assert_eq!(
        (tally.settled, tally.lost, tally.refused),
        (tally.offered, 0, 0)
    );
    assert!(outcome.is_drained && !outcome.is_stopped);
    let latency = outcome.latency_us;
    for measured in [latency.ack, latency.ordered, latency.settled] {
        assert_eq!(measured.count, tally.offered);
        assert!(measured.p50 <= measured.p99 && measured.p99 <= measured.max);
    }
    assert_eq!((latency.receipt.count, outcome.order_disagreements), (0, 0));
    assert!(outcome.throughput_tps > 0.0 && outcome.links.len() == 4);
    assert!(phases.contains(&Phase::Preparing) && phases.contains(&Phase::Sending));

    let envelopes: Vec<Envelope> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, bytes)| Envelope::decode(bytes.as_slice().into()).unwrap())
        .collect();
    assert_eq!(envelopes.len() as u64, tally.offered);
    for envelope in &envelopes {
        let label = envelope.label();
        assert_eq!((label.kind, label.payload_len), (EnvelopeKind::Sealed, 128));
        assert_eq!(label.rollup, ROLLUP);
    }
    let checked = EnvelopeVerifier::new(key(), [3; 32]).check(envelopes);
    assert!(checked.iter().all(Result::is_ok));
}

#[test]
fn open_envelopes_carry_readable_records_in_planned_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let nodes = nodes(move |index, peer, submissions| {
        if index == 2 {
            kept.lock().unwrap().extend_from_slice(submissions);
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let outcome = run_all(LoadConfig {
        open: true,
        payload_len: 64,
        coalesce: Duration::from_millis(5),
        ..config(&nodes, 500.0, 300)
    });
    assert_eq!(outcome.tally.settled, outcome.tally.offered);
    let mut digests = BTreeSet::new();
    for (at, (tag, bytes)) in seen.lock().unwrap().iter().enumerate() {
        let envelope = Envelope::decode(bytes.as_slice().into()).unwrap();
        let payload = envelope.open_payload().unwrap();
        assert_eq!(payload.len(), 64);
        let record = TradeRecord::decode(payload).unwrap();
        assert_eq!((*tag, record.sequence), (at as u64, at as u64));
        assert!(
            digests.insert(envelope.digest()),
            "each is another envelope"
        );
    }
    assert_eq!(digests.len() as u64, outcome.tally.offered);
}

#[test]
fn what_every_node_refuses_is_refused_by_its_code() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Busy);
        true
    });
    let outcome = run_all(config(&nodes, 200.0, 300));
    assert_adds_up(&outcome);
    let offered = outcome.tally.offered;
    assert_eq!(
        (outcome.tally.refused, outcome.tally.accepted),
        (offered, 0)
    );
    assert_eq!(outcome.tally.refused_by_code["busy"], offered);
    assert_eq!(outcome.refusals_by_code["busy"], 4 * offered);
    assert!(outcome.is_drained, "a refusal is an end");
}

/// Each node tells an envelope Busy the first time that it comes, and the first one names the longest wait.
fn busy_the_first_time() -> Vec<FakeNode> {
    const WAIT_US: u64 = 60_000;
    let seen: [Arc<Mutex<BTreeSet<u64>>>; 4] = Default::default();
    nodes(move |index, peer, submissions| {
        let mut seen = seen[usize::from(index)].lock().unwrap();
        for submission in submissions {
            if seen.insert(submission.0) {
                let ack = Ack {
                    tag: submission.0,
                    code: AckCode::Busy,
                    detail: if index == 0 { WAIT_US } else { 1 },
                };
                peer.send(|out| encode_acks(out, &[ack]));
            } else {
                answer(peer, std::slice::from_ref(submission), AckCode::Accepted);
                order_and_settle(peer, std::slice::from_ref(submission));
            }
        }
        true
    })
}

#[test]
fn what_all_told_busy_is_sent_again_after_their_wait_if_that_is_asked_for() {
    let nodes = busy_the_first_time();
    let outcome = run_all(LoadConfig {
        busy_retries: 1,
        ..config(&nodes, 200.0, 300)
    });
    assert_adds_up(&outcome);
    let offered = outcome.tally.offered;
    assert_eq!((outcome.tally.settled, outcome.tally.refused), (offered, 0));
    assert_eq!((outcome.retried, outcome.retries), (offered, offered));
    assert_eq!(outcome.refusals_by_code["busy"], 4 * offered, "as heard");
    assert!(outcome.is_drained && outcome.stray_notices == 0);
    // From the first planned time, or the wait would not be in it.
    assert!(outcome.latency_us.ack.p50 >= 60_000);
}

#[test]
fn what_is_told_busy_every_time_is_refused_in_the_end() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Busy);
        true
    });
    let outcome = run_all(LoadConfig {
        busy_retries: 3,
        ..config(&nodes, 100.0, 200)
    });
    assert_adds_up(&outcome);
    let offered = outcome.tally.offered;
    assert_eq!(outcome.tally.refused_by_code["busy"], offered);
    assert_eq!((outcome.retried, outcome.retries), (offered, 3 * offered));
    assert!(outcome.is_drained, "a refusal is an end");
}

#[test]
fn what_never_settles_is_lost_when_the_drain_gives_up() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Accepted);
        true
    });
    let outcome = run_all(config(&nodes, 200.0, 300));
    assert_adds_up(&outcome);
    assert_eq!(outcome.tally.lost, outcome.tally.offered);
    assert_eq!(outcome.backlog, outcome.tally.offered);
    assert!(!outcome.is_drained);
}

#[test]
fn a_killed_nodes_word_does_not_count_and_the_others_carry_the_run() {
    // Authority 1 alone accepts the first submissions, then dies; the others accept only later ones.
    let nodes = nodes(|index, peer, submissions| {
        if index == 1 {
            answer(peer, submissions, AckCode::Accepted);
            return submissions.iter().all(|(tag, _)| *tag < 20);
        }
        let (early, late): (Vec<_>, Vec<_>) =
            submissions.iter().cloned().partition(|(tag, _)| *tag < 20);
        answer(peer, &early, AckCode::Busy);
        answer(peer, &late, AckCode::Accepted);
        order_and_settle(peer, &late);
        true
    });
    let control = Control::new();
    let hand = control.clone();
    let mut outcome = run(
        config(&nodes, 300.0, 500),
        &mut |progress| {
            if progress.phase == Phase::Sending && progress.offered > 30 {
                hand.declare_killed(AuthorityIndex(1));
            }
        },
        &control,
    )
    .unwrap();
    assert_adds_up(&outcome);
    let tally = &mut outcome.tally;
    assert_eq!((tally.refused, tally.lost, tally.unanswered), (20, 0, 0));
    assert_eq!(tally.accepted, tally.offered - 20);
    assert!(outcome.links[1].disconnects >= 1);
    assert_eq!(outcome.links[0].disconnects, 0);
}

#[test]
fn a_committee_that_stalls_shows_in_the_latency_and_does_not_slow_the_offering() {
    let nodes = nodes(|_, peer, submissions| {
        // The first envelope finds every node asleep for longer than the plan lasts.
        if submissions[0].0 == 0 {
            std::thread::sleep(Duration::from_millis(500));
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let outcome = run_all(LoadConfig {
        drain_timeout: Duration::from_secs(5),
        ..config(&nodes, 400.0, 300)
    });
    assert_adds_up(&outcome);
    assert_eq!(outcome.tally.lost, 0);
    let ack = outcome.latency_us.ack;
    assert!(
        ack.p50 > 200_000,
        "half waited for 200 ms and more, not {} us",
        ack.p50
    );
    assert!(
        outcome.offering.send_lag_us.p50 < 100_000,
        "sending went on as planned"
    );
}

#[test]
fn what_is_sent_after_a_change_of_keys_is_sealed_to_the_new_one_and_nothing_is_lost() {
    let next = sealing_key(1, 7);
    let verifier = Arc::new(EnvelopeVerifier::new(next.clone(), [1; 32]));
    let to_next = Arc::new(Mutex::new([0u64; 4]));
    let (counted, vouched) = (to_next.clone(), next.clone());
    let nodes = nodes(move |index, peer, submissions| {
        if submissions[0].0 == 0 {
            peer.vouch(index, &vouched);
        }
        for (_, bytes) in submissions {
            let envelope = Envelope::decode(bytes.as_slice().into()).unwrap();
            let holds = verifier.check(vec![envelope]).remove(0).is_ok();
            counted.lock().unwrap()[usize::from(index)] += u64::from(holds);
        }
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let mut config = config(&nodes, 200.0, 500);
    config.look_ahead_time = Duration::from_millis(20);
    let committee = config.directory.committee.clone();
    config.directory.committee = committee.with_key_plan(key_plan()).unwrap();
    let outcome = run_all(config);
    assert_adds_up(&outcome);
    let tally = &outcome.tally;
    assert_eq!((tally.refused, tally.unanswered, tally.lost), (0, 0, 0));
    let keys = &outcome.keys;
    let names: Vec<&str> = keys.iter().map(|key| key.key_id.as_str()).collect();
    let expected = [key().key_id(), next.key_id()].map(|id| id.to_string());
    assert_eq!(names, expected);
    assert_eq!(keys[0].envelopes + keys[1].envelopes, tally.offered);
    assert!(keys[0].envelopes > 0 && keys[1].envelopes > 0, "{keys:?}");
    assert!(keys[0].from_s == 0.0 && keys[1].from_s > 0.0);
    assert_eq!(*to_next.lock().unwrap(), [keys[1].envelopes; 4]);
    assert_eq!(outcome.keys_refused, 0);
}

#[test]
fn a_load_that_cannot_be_offered_in_time_says_so() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    // A million a second is more than one thread seals.
    let outcome = run_all(LoadConfig {
        lead: Duration::ZERO,
        look_ahead: 64,
        ..config(&nodes, 1_000_000.0, 3)
    });
    assert!(
        outcome.tally.offered > 1_000,
        "what is late is sent all the same"
    );
    assert!(outcome.offering.was_limited && outcome.offering.sealed_late > 0);
    assert!(outcome.offering.achieved_tps < outcome.offering.planned_tps);
    assert_eq!(outcome.tally.lost, 0);
}

#[test]
fn a_stopped_run_still_accounts_for_what_it_offered() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let control = Control::new();
    let hand = control.clone();
    let outcome = run(
        config(&nodes, 200.0, 60_000),
        &mut |progress| {
            if progress.offered > 20 {
                hand.stop();
            }
        },
        &control,
    )
    .unwrap();
    assert_adds_up(&outcome);
    assert!(outcome.is_stopped && outcome.tally.offered < 2_000);
    assert_eq!(outcome.tally.lost, 0);
}

#[test]
fn runs_that_cannot_be_are_refused_in_a_sentence() {
    let nodes = nodes(|_, _, _| true);
    let refusal = |config: LoadConfig| run(config, &mut |_| {}, &Control::new()).unwrap_err();
    let base = || config(&nodes, 10.0, 100);
    let cases: Vec<(LoadConfig, &str)> = vec![
        (
            LoadConfig {
                payload_len: 55,
                ..base()
            },
            "a payload has 56 to 16112 bytes, not 55",
        ),
        (
            LoadConfig {
                payload_len: 16_113,
                ..base()
            },
            "not 16113",
        ),
        (
            LoadConfig {
                rollups: RollupMix::one(RollupId(9)),
                ..base()
            },
            "does not order for rollup 9",
        ),
        (
            LoadConfig {
                rollups: RollupMix::one(RollupId(2)),
                open: true,
                ..base()
            },
            "rollup 2 takes no open envelopes",
        ),
    ];
    for (config, words) in cases {
        let message = refusal(config).to_string();
        assert!(message.contains(words), "{message:?} should say {words:?}");
    }
    let mut absent = base();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    absent.directory.addresses[3].client = listener.local_addr().unwrap();
    drop(listener);
    absent.connect_timeout = Duration::from_millis(200);
    let error = refusal(absent);
    assert!(matches!(
        error,
        LoadError::TooFewLive {
            live: 3,
            wanted: 4,
            ..
        }
    ));
    assert!(
        error.to_string().contains("authority 3 at 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn an_outcome_reads_back_from_its_json() {
    let nodes = nodes(|_, peer, submissions| {
        answer(peer, submissions, AckCode::Accepted);
        order_and_settle(peer, submissions);
        true
    });
    let outcome = run_all(config(&nodes, 100.0, 200));
    let json = serde_json::to_value(&outcome).unwrap();
    for field in [
        "offered",
        "accepted",
        "refused",
        "refused_by_code",
        "unanswered",
        "settled",
        "lost",
    ] {
        assert!(json.get(field).is_some(), "{field} stands at the top");
    }
    assert!(json["latency_us"]["settled"]["p999"].is_u64());
    let read: LoadOutcome = serde_json::from_value(json).unwrap();
    assert_eq!(read.tally, outcome.tally);
    assert_eq!(read.latency_us, outcome.latency_us);
}
