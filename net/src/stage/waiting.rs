//! How a thread waits when its stages have nothing to do: a setting, and what it demands of the core plan.
//!
//! What the modes cost was measured on loopback: gathering for a moment saves most system calls under load and costs that
//! moment at low load; sleeping at once pays a wake-up an event; spinning saves the wake-up and costs a core.

use std::fmt;
use std::time::Duration;

use fairlane_tuning::{CorePlan, Stage, ThreadPlan};
use serde::{Deserialize, Serialize};

/// What an idle thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WaitMode {
    /// Sleeps in the kernel, and handles each thing as soon as it comes.
    Park,
    /// Gathers what comes for a moment, then sleeps in the kernel; as [`Self::Park`] with [`ReceiveMode::Arrival`].
    #[default]
    Batch,
    /// Never sleeps: looks again and again. Only on a core of its own.
    Spin,
}

/// When bytes leave the TCP sockets, and so what the order between connections is worth.
///
/// A socket tells nobody when its bytes came. Who reads several after a while knows which became readable first, and
/// reads each to its end: late bytes of a busy connection come before earlier ones of a quiet one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReceiveMode {
    /// At once: io has a thread of its own that asks the scheduler for a short slice, and no thread gathers.
    #[default]
    Arrival,
    /// Once a turn: io shares a thread with core where cores are few, and threads gather as it is set. Cheaper, and of
    /// the order between connections that within a turn is lost.
    Turn,
}

/// How the threads of a node wait; `wait.*` of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wait {
    /// See [`WaitMode`].
    pub mode: WaitMode,
    /// With `batch`: how long an idle thread gathers what comes, microseconds.
    pub gather_us: u64,
    /// With `batch` and io_uring: so many completions end the gathering before its time.
    pub gather_want: u32,
    /// See [`ReceiveMode`].
    pub receive: ReceiveMode,
}

impl Default for Wait {
    /// Handled together, what comes costs fewer system calls and context switches, and proofs come in larger batches.
    fn default() -> Self {
        Self {
            mode: WaitMode::Batch,
            gather_us: 200,
            gather_want: 64,
            receive: ReceiveMode::Arrival,
        }
    }
}

impl Wait {
    /// How long an idle thread gathers. Where io takes things at once it would be two that gather, one behind the other.
    pub const fn gather(&self) -> Duration {
        match (self.mode, self.receive) {
            (WaitMode::Batch, ReceiveMode::Turn) => Duration::from_micros(self.gather_us),
            (WaitMode::Batch, ReceiveMode::Arrival) | (WaitMode::Park | WaitMode::Spin, _) => {
                Duration::ZERO
            }
        }
    }

    /// The threads of authority `place` of the `authorities` that share `cores`. Where threads spin each has to have its
    /// core, and io shares a thread with core rather than a core.
    pub fn plan(&self, cores: &[usize], place: usize, authorities: usize) -> CorePlan {
        match self.receive {
            ReceiveMode::Arrival if !self.is_spin() => {
                fairlane_tuning::plan(cores, place, authorities)
            }
            ReceiveMode::Arrival | ReceiveMode::Turn => {
                fairlane_tuning::plan_with_shared_io(cores, place, authorities)
            }
        }
    }

    /// What an operator is told of how bytes leave the TCP sockets.
    pub fn said_of(&self, plan: &CorePlan) -> &'static str {
        let is_alone = plan.threads.iter().any(is_io_alone);
        match self.receive {
            ReceiveMode::Arrival if is_alone => {
                "arrival: io takes at once what comes over TCP: between connections the order of arrival, as far as io gets a processor"
            }
            ReceiveMode::Arrival | ReceiveMode::Turn => {
                "turn: io takes what has come over TCP once a turn; of the order between connections that within a turn is lost"
            }
        }
    }

    /// Whether threads never sleep.
    pub fn is_spin(&self) -> bool {
        self.mode == WaitMode::Spin
    }

    /// Errors, in one sentence that says what to do: a number out of its range, or a thread that would spin on a core
    /// that it has not to itself.
    pub fn check(&self, plan: &CorePlan) -> Result<(), String> {
        if self.gather_us > GATHER_US_LIMIT {
            return Err(format!(
                "wait.gather_us = {} is too long: at most {GATHER_US_LIMIT}",
                self.gather_us
            ));
        }
        if !(1..=GATHER_WANT_LIMIT).contains(&self.gather_want) {
            return Err(format!(
                "wait.gather_want = {} cannot be: from 1 to {GATHER_WANT_LIMIT}",
                self.gather_want
            ));
        }
        let mut spinning = plan.threads.iter().filter(|thread| spins(thread));
        match spinning.find(|thread| !plan.has_own_core(thread)) {
            Some(thread) if self.is_spin() => Err(format!(
                "wait.mode = \"spin\" needs a core of its own for each thread that spins, and core {} is shared: give the \
                 node more cores (taskset, authorities_here), or set wait.mode to \"batch\" or \"park\"",
                thread.core
            )),
            _ => Ok(()),
        }
    }

    /// What a thread of the plan does when it is idle.
    pub fn of(&self, thread: &ThreadPlan) -> String {
        if spins(thread) {
            self.to_string()
        } else {
            "sleeps until records come".to_owned()
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_spin() {
            f.write_str("spin: never sleeps, on a core of its own")
        } else if self.gather().is_zero() {
            f.write_str("park: sleeps until something comes")
        } else {
            write!(
                f,
                "batch: gathers for {} us (with io_uring at most {} completions), then sleeps until something comes",
                self.gather_us, self.gather_want
            )
        }
    }
}

fn is_io_alone(thread: &ThreadPlan) -> bool {
    thread.stages == [Stage::Io]
}

/// Whether a thread follows the setting: the journal's blocks in its writes whatever is set.
pub fn spins(thread: &ThreadPlan) -> bool {
    thread.stages.iter().any(|stage| *stage != Stage::Journal)
}

/// Longest gathering, microseconds: beyond it a thread would be late for its deadlines.
pub const GATHER_US_LIMIT: u64 = 10_000;
/// Most completions that a gathering waits for: half of what the completion queue holds.
pub const GATHER_WANT_LIMIT: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SPIN: Wait = Wait {
        mode: WaitMode::Spin,
        gather_us: 200,
        gather_want: 64,
        receive: ReceiveMode::Arrival,
    };

    #[test]
    fn nothing_spins_by_default() {
        assert!(!Wait::default().is_spin());
    }

    #[test]
    fn spinning_is_refused_where_a_core_is_shared() {
        for (cores, authorities) in [(vec![0], 1), (vec![0, 1], 5), (vec![0, 1, 2], 2)] {
            let plan = fairlane_tuning::plan_with_shared_io(&cores, 0, authorities);
            let refused = SPIN.check(&plan).unwrap_err();
            assert!(refused.contains("core of its own"), "{refused}");
            for mode in [WaitMode::Park, WaitMode::Batch] {
                Wait { mode, ..SPIN }.check(&plan).unwrap();
            }
        }
    }

    #[test]
    fn spinning_is_taken_where_each_thread_that_spins_has_its_core() {
        for (cores, authorities) in [(vec![0, 1], 1), (vec![0, 1, 2], 1), (vec![0, 1, 2, 3], 2)] {
            SPIN.check(&fairlane_tuning::plan_with_shared_io(
                &cores,
                0,
                authorities,
            ))
            .unwrap();
        }
    }

    #[test]
    fn what_comes_is_taken_at_arrival_unless_it_is_set_otherwise() {
        let arrival = Wait::default();
        let turn = Wait {
            receive: ReceiveMode::Turn,
            ..arrival
        };
        assert_eq!(arrival.gather(), Duration::ZERO);
        assert_eq!(turn.gather(), Duration::from_micros(200));
        let threads = |wait: Wait| wait.plan(&[0, 1], 0, 1).threads.len();
        assert_eq!([threads(arrival), threads(turn), threads(SPIN)], [3, 2, 2]);
    }

    #[test]
    fn an_operator_is_told_when_bytes_are_taken() {
        let shared = fairlane_tuning::plan_with_shared_io(&[0, 1], 0, 1);
        let own = fairlane_tuning::plan(&[0, 1], 0, 1);
        let turn = Wait {
            receive: ReceiveMode::Turn,
            ..Wait::default()
        };
        for (wait, plan, expected) in [
            (Wait::default(), &own, "arrival: "),
            (SPIN, &shared, "turn: "),
            (turn, &shared, "turn: "),
            (turn, &own, "turn: "),
        ] {
            let said = wait.said_of(plan);
            assert!(said.starts_with(expected), "{wait:?}: {said}");
        }
        let io = |wait: Wait| wait.of(&own.threads[0]);
        assert!(io(Wait::default()).starts_with("park: "));
        assert!(io(turn).starts_with("batch: gathers for 200 us"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let plan = fairlane_tuning::plan_with_shared_io(&[0, 1], 0, 1);
        let with = |gather_us, gather_want| Wait {
            gather_us,
            gather_want,
            ..Wait::default()
        };
        assert!(
            with(GATHER_US_LIMIT, GATHER_WANT_LIMIT)
                .check(&plan)
                .is_ok()
        );
        assert!(with(GATHER_US_LIMIT + 1, 64).check(&plan).is_err());
        assert!(with(200, GATHER_WANT_LIMIT + 1).check(&plan).is_err());
        assert!(with(200, 0).check(&plan).is_err());
    }
}
