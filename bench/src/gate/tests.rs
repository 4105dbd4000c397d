use std::time::{Duration, SystemTime};

use fairlane_loadgen::hlog;
use fairlane_loadgen::latencies::{Interval, Stage};
use tempfile::TempDir;

use super::*;

/// Logs of runs that are a host's: each run slower or faster as a whole, within it a long tail.
struct Host {
    folder: TempDir,
    state: u64,
}

impl Host {
    fn new(seed: u64) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            state: seed,
        }
    }

    /// Uniform in 0..1 (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    /// Writes a run whose latencies are `slower` times what they would be; true drift of the host up to 6 % each way.
    fn run(&mut self, name: &str, slower: f64) -> PathBuf {
        let drift = 1.0 + 0.12 * (self.draw() - 0.5);
        let mut values: Vec<u64> = (0..2_000)
            .map(|_| {
                let tail = -self.draw().max(1e-9).ln() * 2_000.0;
                ((8_000.0 + tail) * drift * slower) as u64
            })
            .collect();
        values.sort_unstable();
        let counts = values.into_iter().map(|value| (value, 1)).collect();
        let interval = Interval {
            stage: Stage::Settled,
            start_us: 0,
            len_us: 1_000_000,
            counts,
        };
        let path = self.folder.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        hlog::write(&mut file, start, &[], &[interval]).expect("a disk");
        path
    }

    /// As many runs of each side, in turns.
    fn plan(&mut self, pairs: usize, slower: f64) -> GatePlan {
        let mut plan = GatePlan {
            baseline: Vec::new(),
            current: Vec::new(),
            tag: "settled".to_owned(),
            limits: ["p50=10%", "p99=15%", "shift=10%"]
                .map(|limit| limit.parse().expect("a limit"))
                .to_vec(),
            confidence: 0.95,
            injected: 1.0,
        };
        for pair in 0..pairs {
            plan.baseline.push(self.run(&format!("a-{pair}.hlog"), 1.0));
            plan.current
                .push(self.run(&format!("b-{pair}.hlog"), slower));
        }
        plan
    }
}

#[test]
fn a_slowdown_by_a_quarter_is_found_and_an_unchanged_program_never_called_worse() {
    for seed in 0..50 {
        let mut host = Host::new(seed);
        let slower = run(&host.plan(5, 1.25)).expect("usable");
        assert!(slower.is_worse(), "seed {seed}\n{slower}");
        let same = run(&host.plan(5, 1.0)).expect("usable");
        assert!(!same.is_worse(), "seed {seed}\n{same}");
    }
}

/// The same runs judged as they are and with 20 % injected, on hosts that drift as much as in the test above.
#[test]
fn runs_of_one_version_are_never_worse_as_they_are_and_mostly_with_a_fifth_injected() {
    let mut found = 0;
    for seed in 100..200 {
        let mut host = Host::new(seed);
        let mut plan = host.plan(5, 1.0);
        let same = run(&plan).expect("usable");
        assert!(!same.is_worse(), "seed {seed}\n{same}");
        plan.injected = 1.2;
        let slower = run(&plan).expect("usable");
        found += u32::from(slower.is_worse());
        for (slower, same) in slower.limited.iter().zip(&same.limited) {
            // Up to the three digits that a histogram keeps.
            let ratio = slower.ratio / same.ratio;
            assert!((ratio - 1.2).abs() < 0.004, "seed {seed}: {ratio}");
        }
        assert!(
            slower
                .to_string()
                .contains("INJECTED: each current latency is taken 20.0 %")
        );
    }
    assert!(found >= 95, "found in {found} of 100");
}

#[test]
fn ten_pairs_find_a_slowdown_by_a_fifth_and_call_no_unchanged_program_worse() {
    for seed in 100..150 {
        let mut host = Host::new(seed);
        let slower = run(&host.plan(10, 1.2)).expect("usable");
        assert!(slower.is_worse(), "seed {seed}\n{slower}");
        let same = run(&host.plan(10, 1.0)).expect("usable");
        assert!(!same.is_worse(), "seed {seed}\n{same}");
    }
}

#[test]
fn what_got_faster_holds() {
    let gated = run(&Host::new(7).plan(6, 0.8)).expect("usable");
    assert!(!gated.is_worse() && !gated.is_unclear(), "{gated}");
    assert!(gated.to_string().contains("holds: nothing"), "{gated}");
}

#[test]
fn runs_that_cannot_tell_say_so() {
    // The limit is just what changed: no number of runs decides that, and three least of all.
    let mut unclear = 0;
    for seed in 0..20 {
        let gated = run(&Host::new(seed).plan(3, 1.1)).expect("usable");
        unclear += u32::from(gated.is_unclear());
    }
    assert!(unclear >= 15, "{unclear}");
}

#[test]
fn a_folder_stands_for_its_logs() {
    let mut host = Host::new(1);
    let mut plan = host.plan(3, 1.0);
    let folder = host.folder.path().to_path_buf();
    let sorted = run(&GatePlan {
        baseline: vec![folder.clone()],
        current: vec![folder],
        ..plan.clone()
    })
    .expect("usable");
    assert_eq!(sorted.pairs, 6);
    assert!(
        sorted
            .limited
            .iter()
            .all(|judgement| judgement.ratio == 1.0)
    );
    plan.current.pop();
    let error = run(&plan).expect_err("unequal").to_string();
    assert!(
        error.contains("3 runs of the baseline and 2 current ones"),
        "{error}"
    );
}

#[test]
fn unusable_input_is_named() {
    let mut host = Host::new(1);
    let mut plan = host.plan(3, 1.0);
    plan.tag = "nothing".to_owned();
    let error = run(&plan).expect_err("no such tag").to_string();
    assert!(error.contains("its tags are: settled"), "{error}");
    plan.tag = "settled".to_owned();
    plan.baseline.truncate(2);
    plan.current.truncate(2);
    let error = run(&plan).expect_err("too few").to_string();
    assert!(error.contains("at least 3"), "{error}");
    plan.baseline[0] = host.folder.path().join("absent.hlog");
    let error = run(&plan).expect_err("absent").to_string();
    assert!(error.contains("absent.hlog"), "{error}");

    for (limit, words) in [
        ("p50", "p99=15%"),
        ("p50=10", "per cent"),
        ("p50=-1%", "from 0%"),
        ("p100=5%", "no figure"),
        ("median=5%", "no figure"),
    ] {
        let error = limit.parse::<Limit>().expect_err(limit);
        assert!(error.contains(words), "{error}");
    }
}
