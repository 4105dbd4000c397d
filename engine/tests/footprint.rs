//! What an engine holds does not grow with time: everything it keeps is let go of again.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::engine::Footprint;

const SECOND: u64 = 1_000_000;

/// Steady load with short validity, one authority at a time away, over some ten thousand rounds.
#[test]
fn nothing_grows_over_ten_thousand_rounds() {
    let parameters = Parameters {
        gc_depth_rounds: 8,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 1_000,
        leader_timeout_us: 1_500,
        round_interval_us_min: 500,
        ..EngineConfig::default()
    };
    let mut world = World::new(4, parameters, config);
    let mut id = 0;
    let mut maxima = Vec::new();
    for period in 0..4 {
        let mut most = [Footprint::default(); 4];
        for step in 0..30 {
            for _ in 0..10 {
                let envelope = world.open_envelope(id, 5 * SECOND / 2);
                for to in 0..4 {
                    world.submit(to, id, envelope.clone(), (id % 10) * 9_000);
                }
                id += 1;
            }
            match step % 10 {
                3 => world.part((step / 10) as usize + period % 2),
                6 => world.join((step / 10) as usize + period % 2),
                _ => {}
            }
            world.run_for(SECOND / 10);
            for (node, most) in world.nodes.iter().zip(&mut most) {
                *most = most.max(node.engine.footprint());
            }
        }
        maxima.push(most);
    }
    assert!(world.nodes[3].engine.round().0 > 6_000);
    // Batches, their share messages, hashes and marks are kept by count, and fill up over a longer time; envelopes are kept for
    // half a minute past their expiry.
    let by_count = [
        "batches_kept",
        "batches_kept_bytes",
        "envelopes",
        "header_hashes",
        "shares_kept",
        "snapshot_marks",
    ];
    for (early, late) in maxima[1].iter().zip(&maxima[3]) {
        for ((name, early), (_, late)) in early.named().zip(late.named()) {
            let may_fill = by_count.contains(&name);
            assert!(
                may_fill || late <= early + early / 3 + 24,
                "{name}: {early}, then {late}"
            );
        }
    }
}
