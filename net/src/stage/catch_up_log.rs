//! Says how far a node is that takes part again from a peer's state: a line a second at most, and none when nothing changed.

use fairlane_engine::sync::CatchUp;
use fairlane_engine::types::{BatchSeq, TimestampUs};

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct CatchUpLog {
    said: Option<(TimestampUs, CatchUp)>,
    /// The first batch that was missed.
    first: Option<BatchSeq>,
}

impl CatchUpLog {
    /// The line to write at `now`, if one is due.
    pub(super) fn line(&mut self, now: TimestampUs, catch_up: Option<CatchUp>) -> Option<String> {
        if let Some((next, _)) = catch_up.and_then(|catch_up| catch_up.batches) {
            self.first.get_or_insert(next);
        }
        match (self.said, catch_up) {
            (None, None) => return None,
            (Some((at, _)), _) if now < at.plus_us(INTERVAL_US) => return None,
            (Some((_, before)), Some(catch_up)) if before == catch_up => return None,
            _ => {}
        }
        self.said = catch_up.map(|catch_up| (now, catch_up));
        let Some(catch_up) = catch_up else {
            self.first = None;
            return Some("caught up: nothing is taken from peers any more".into());
        };
        let state = catch_up.state_parts.map(|parts| match parts {
            (_, 0) => "a state is asked for".into(),
            (here, of) => format!("{here} of {of} parts of a state are here"),
        });
        let batches = catch_up.batches.map(|(next, end)| {
            let first = self.first.unwrap_or(next).0;
            let settled = next.0.saturating_sub(first);
            let of = end.0.saturating_sub(first);
            format!("{settled} of {of} missed batches are fetched and settled")
        });
        let said: Vec<String> = state.into_iter().chain(batches).collect();
        Some(format!("catching up from peers: {}", said.join(", ")))
    }
}

/// Between two lines at least.
const INTERVAL_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(here: u32, of: u32) -> Option<CatchUp> {
        Some(CatchUp {
            state_parts: Some((here, of)),
            batches: None,
        })
    }

    fn batches(next: u64, end: u64) -> Option<CatchUp> {
        Some(CatchUp {
            state_parts: None,
            batches: Some((BatchSeq(next), BatchSeq(end))),
        })
    }

    #[test]
    fn a_line_a_second_says_how_far_it_is_and_one_that_it_is_over() {
        let mut log = CatchUpLog::default();
        let steps = [
            (0, None, None),
            (1, state(0, 0), Some("a state is asked for")),
            (500_000, state(1, 9), None),
            (
                1_000_001,
                state(3, 9),
                Some("3 of 9 parts of a state are here"),
            ),
            (3_000_000, state(3, 9), None),
            (
                3_100_000,
                batches(100, 400),
                Some("0 of 300 missed batches are fetched and settled"),
            ),
            (3_200_000, batches(150, 400), None),
            (
                4_200_000,
                batches(150, 450),
                Some("50 of 350 missed batches are fetched and settled"),
            ),
            (5_000_000, None, None),
            (
                5_200_000,
                None,
                Some("caught up: nothing is taken from peers any more"),
            ),
            (9_000_000, None, None),
            (
                9_000_001,
                batches(450, 460),
                Some("0 of 10 missed batches are fetched and settled"),
            ),
        ];
        for (now, catch_up, expected) in steps {
            let line = log.line(TimestampUs(now), catch_up);
            let said = line
                .as_deref()
                .map(|line| line.trim_start_matches("catching up from peers: "));
            assert_eq!(said, expected, "at {now}");
        }
    }

    #[test]
    fn a_newer_state_that_is_fetched_beside_batches_is_said_with_them() {
        let mut log = CatchUpLog::default();
        let both = CatchUp {
            state_parts: Some((2, 5)),
            batches: Some((BatchSeq(7), BatchSeq(9))),
        };
        let line = log.line(TimestampUs(0), Some(both));
        assert_eq!(
            line.as_deref(),
            Some(
                "catching up from peers: 2 of 5 parts of a state are here, 0 of 2 missed batches are fetched and settled"
            )
        );
    }
}
