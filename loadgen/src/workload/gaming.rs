//! Game sessions: each sends a small input every tick.
//!
//! The sessions of one server tick together (`synchronised`), which makes a burst of as many inputs as there are sessions
//! at every tick, or each ticks at an offset of its own. Either way an input comes up to a tenth of a tick late, as from
//! players at different distances, and never after its tick. Everything follows from the seed.

use super::{Arrival, Workload, WorkloadError};
use crate::content::{Content, GameInput};
use crate::rng::Rng;

/// The generator.
#[derive(Clone, Debug)]
pub struct Gaming {
    rng: Rng,
    tick_us: f64,
    /// By session: when in the tick it sends, before jitter.
    offsets_us: Vec<f64>,
    end_us: u64,
    tick: u64,
    sequence: u64,
    /// The rest of the current tick, the earliest last.
    due: Vec<(u64, u32)>,
}

impl Gaming {
    /// `sessions` at `ticks` a second each, for `duration_us`. Errors: none of either, or more than the bounds.
    pub fn new(
        sessions: u32,
        ticks: u32,
        synchronised: bool,
        duration_us: u64,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        if !(1..=SESSIONS_MAX).contains(&sessions) || !(1..=TICKS_MAX).contains(&ticks) {
            return Err(WorkloadError::Sessions { sessions, ticks });
        }
        let mut rng = Rng::new(seed);
        let tick_us = 1_000_000.0 / f64::from(ticks);
        let offsets = (0..sessions).map(|_| match synchronised {
            true => 0.0,
            false => rng.next_unit() * tick_us * (1.0 - JITTER),
        });
        Ok(Self {
            tick_us,
            offsets_us: offsets.collect(),
            rng,
            end_us: duration_us,
            tick: 0,
            sequence: 0,
            due: Vec::with_capacity(sessions as usize),
        })
    }

    /// Inputs a second.
    pub fn rate(&self) -> f64 {
        self.offsets_us.len() as f64 * 1_000_000.0 / self.tick_us
    }

    /// Fills `due` with the next tick.
    fn begin_tick(&mut self) {
        let start_us = self.tick as f64 * self.tick_us;
        for (session, offset_us) in (0..).zip(&self.offsets_us) {
            let late_us = self.rng.next_unit() * self.tick_us * JITTER;
            let at_us = start_us + offset_us + late_us;
            self.due.push((at_us as u64, session));
        }
        self.due.sort_unstable_by(|a, b| b.cmp(a));
        self.tick += 1;
    }
}

impl Workload for Gaming {
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError> {
        if self.due.is_empty() {
            self.begin_tick();
        }
        let Some((at_us, session)) = self.due.pop() else {
            return Ok(None);
        };
        if at_us >= self.end_us {
            return Ok(None);
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let bits = self.rng.next_u64();
        let content = Content::Input(GameInput {
            session,
            tick: self.tick - 1,
            sequence,
            buttons: (bits & 0xff) as u32,
            turn: (bits >> 32) as i32 % 500_000,
        });
        Ok(Some(Arrival::new(at_us, content)))
    }
}

/// Most sessions.
pub const SESSIONS_MAX: u32 = 100_000;
/// Most ticks a second.
pub const TICKS_MAX: u32 = 1_000;
/// How late an input may be, in ticks.
const JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn all(sessions: u32, ticks: u32, synchronised: bool) -> Vec<(u64, GameInput)> {
        let mut workload = Gaming::new(sessions, ticks, synchronised, 5_000_000, 3).unwrap();
        let arrivals = std::iter::from_fn(|| workload.next_arrival().unwrap());
        let inputs = arrivals.map(|arrival| match arrival.content {
            Content::Input(input) => (arrival.at_us, input),
            other => panic!("{other:?}"),
        });
        inputs.collect()
    }

    #[test]
    fn every_session_sends_one_input_a_tick_in_its_tick() {
        for synchronised in [true, false] {
            let all = all(40, 20, synchronised);
            assert_eq!(all.len(), 40 * 20 * 5);
            assert!(all.is_sorted_by_key(|(at, _)| *at));
            let mut ticks: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for (sequence, (at_us, input)) in (0..).zip(&all) {
                assert_eq!(input.sequence, sequence);
                assert_eq!(at_us / 50_000, input.tick);
                ticks.entry(input.session).or_default().push(input.tick);
            }
            assert_eq!(ticks.len(), 40);
            assert!(ticks.values().all(|ticks| *ticks == Vec::from_iter(0..100)));
        }
    }

    #[test]
    fn synchronised_sessions_come_in_a_burst_and_others_do_not() {
        let early = |synchronised| {
            let all = all(100, 20, synchronised);
            let is_early = |(at, _): &&(u64, GameInput)| at % 50_000 < 5_000;
            all.iter().filter(is_early).count() as f64 / all.len() as f64
        };
        assert!(early(true) > 0.999);
        assert!(early(false) < 0.25);
    }

    #[test]
    fn what_is_no_game_is_refused() {
        for (sessions, ticks) in [(0, 20), (1, 0), (SESSIONS_MAX + 1, 1), (1, TICKS_MAX + 1)] {
            let refused = Gaming::new(sessions, ticks, true, 1, 1).unwrap_err();
            assert!(refused.to_string().contains("sessions"), "{refused}");
        }
    }
}
