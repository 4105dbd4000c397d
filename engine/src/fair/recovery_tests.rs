//! An order that is read back from its state, again and again, emits what comparing all pairs gives, and has the state of
//! one that was never interrupted: liars, gaps, late and silent authorities, cut waits, caps and expiries, n = 4 to 16.

use super::*;

#[path = "../../tests/fair_law/plain.rs"]
mod plain;
#[allow(dead_code, reason = "the law's tests use more of it")]
#[path = "../../tests/fair_law/traffic.rs"]
mod traffic;

use plain::Plain;
use traffic::{Rng, Traffic, entry};

/// The state and what is transferred behind it.
fn encoded(order: &FairOrder) -> (Vec<u8>, Vec<u8>) {
    let (mut state, mut emissions) = (Vec::new(), Vec::new());
    order.encode_state(&mut state);
    for entries in order.emissions() {
        encode_pairs(&entries, &mut emissions);
    }
    (state, emissions)
}

fn restored(params: FairParams, (state, emissions): &(Vec<u8>, Vec<u8>)) -> FairOrder {
    let (mut state, mut emissions) = (Reader::new(state), Reader::new(emissions));
    let order = FairOrder::decode_state(params, &mut state, &mut emissions).unwrap();
    assert_eq!((state.left(), emissions.left()), (0, 0));
    order
}

#[test]
fn an_order_read_back_at_any_anchor_emits_and_states_the_same() {
    let (mut recoveries, mut pending, mut late) = (0, 0, 0);
    for seed in 0..300 {
        let mut rng = Rng(seed ^ 0x5ec0);
        let authorities = 4 + rng.below(13);
        let faulty = (authorities - 1) / 3;
        let deferral_cap = [1, 3, 9, 64][rng.below(4)];
        let params = FairParams::new(authorities as u32, faulty as u32, deferral_cap).unwrap();
        let (pairs, jitter) = (20 + rng.below(200), 1 << rng.below(8));
        let traffic = Traffic::draw(&mut rng, params, faulty, pairs, jitter);
        // Half of the runs are over before anything expires.
        let anchor_us = [2_000_000, 1_000][rng.below(2)];
        let until: Vec<u64> = (0..pairs).map(|_| rng.next() % 80_000_000).collect();
        let mut uninterrupted = FairOrder::new(params);
        let (mut order, mut oracle) = (uninterrupted.clone(), Plain::new(params));
        let idle = vec![vec![Vec::new(); authorities]; deferral_cap as usize + 1];
        for (number, lists) in (1u64..).zip(traffic.anchors.iter().chain(&idle)) {
            let entries =
                |list: &Vec<usize>| list.iter().map(|at| entry(*at, until[*at])).collect();
            let appends: Vec<Vec<Entry>> = lists.iter().map(entries).collect();
            let anchor = Anchor {
                consensus_time: TimestampUs(number * anchor_us),
                tie_seed: *blake3::hash(&number.to_be_bytes()).as_bytes(),
                appends: &appends,
            };
            let emission = order.step(&anchor);
            assert_eq!(
                emission,
                oracle.step(&anchor),
                "seed {seed}, anchor {number}"
            );
            uninterrupted.step_ordered(&anchor);
            let state = encoded(&order);
            assert_eq!(
                state,
                encoded(&uninterrupted),
                "seed {seed}, anchor {number}"
            );
            assert_eq!(order.emitted_len(), uninterrupted.emitted_len());
            late += u64::from(emission.group_wait_cut + emission.cap_fired);
            if rng.below(3) == 0 {
                order = restored(params, &state);
                assert_eq!(encoded(&order), state, "seed {seed}, anchor {number}");
                assert!(order.pending().eq(uninterrupted.pending()));
                recoveries += 1;
                pending += order.pending_len();
            }
        }
    }
    assert!(
        recoveries > 3_000 && pending > 30_000 && late > 500,
        "too little was met: {recoveries}, {pending}, {late}"
    );
}

#[test]
fn a_state_with_an_unready_pair_out_of_its_time_is_refused() {
    let params = FairParams::new(4, 1, 8).unwrap();
    let mut order = FairOrder::new(params);
    let waits = vec![vec![entry(1, 50)], vec![], vec![], vec![]];
    order.step(&Anchor {
        consensus_time: TimestampUs(50),
        tie_seed: [0; 32],
        appends: &waits,
    });
    let (mut state, emissions) = encoded(&order);
    restored(params, &(state.clone(), emissions.clone()));
    // Consensus time stands first, big-endian.
    state[7] = 51;
    let refused = FairOrder::decode_state(
        params,
        &mut Reader::new(&state),
        &mut Reader::new(&emissions),
    );
    assert!(refused.is_err());
}
