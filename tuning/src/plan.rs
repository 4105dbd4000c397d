//! The core plan: a pure function of cores and authorities, which the node follows.
//!
//! The node hands over the processors that it may run on, ascending, so whoever starts it chooses the cores by its
//! affinity (`taskset`, `CPUAffinity=`); which choice is best on a machine is what [`crate::placement`] answers.

use std::fmt;

use serde::Serialize;

/// A step of an authority's pipeline that can be given a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Client and peer sockets.
    Io,
    /// Admission, DAG, fair order, reveal and the settlement ring.
    Core,
    /// The write-ahead log: one thread that blocks in write and fdatasync.
    Journal,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "io",
            Self::Core => "core",
            Self::Journal => "journal",
        })
    }
}

/// One thread: what it runs and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadPlan {
    /// Stages, polled in this order.
    pub stages: Vec<Stage>,
    /// Index of the core it is pinned to, as the operating system counts.
    pub core: usize,
}

/// The threads of one authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CorePlan {
    /// In order of the pipeline.
    pub threads: Vec<ThreadPlan>,
    /// Other authorities of this machine run on the same cores.
    pub is_shared: bool,
    /// Why it is so, in a sentence.
    pub reason: String,
}

/// Threads that an authority needs to give each stage its own.
const STAGES: usize = 3;

/// Plans the threads of authority `place` (from 0) of the `authorities` that share `cores` (at least one of each).
///
/// Io never shares a thread with core, whose turns are long; where cores are few it shares a core with it, as waking a
/// thread on another one costs more than a change of threads, and the journal has the other core.
///
/// Panics when `cores` is empty or `authorities` is 0: a running process has a core, and a plan is for somebody.
pub fn plan(cores: &[usize], place: usize, authorities: usize) -> CorePlan {
    plan_with(cores, place, authorities, FewCores::OwnIo)
}

/// As [`plan`], but where cores are few io and core share a thread, too, so that a message crosses none on its way.
///
/// Panics as [`plan`].
pub fn plan_with_shared_io(cores: &[usize], place: usize, authorities: usize) -> CorePlan {
    plan_with(cores, place, authorities, FewCores::SharedIo)
}

/// What io does where stages have no core each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FewCores {
    OwnIo,
    SharedIo,
}

fn plan_with(cores: &[usize], place: usize, authorities: usize, few: FewCores) -> CorePlan {
    assert!(
        !cores.is_empty() && authorities > 0,
        "a plan is for a core and an authority"
    );
    let share = cores.len() / authorities;
    if share >= STAGES {
        let own = &cores[(place % authorities) * share..][..share];
        let threads = [Stage::Io, Stage::Core, Stage::Journal]
            .into_iter()
            .zip(own)
            .map(|(stage, core)| ThreadPlan {
                stages: vec![stage],
                core: *core,
            })
            .collect();
        let reason = format!(
            "{} cores for {authorities} authorities of this machine: a thread and a core for every stage",
            cores.len()
        );
        return CorePlan {
            threads,
            is_shared: false,
            reason,
        };
    }
    // Two cores each: a pair of its own. Fewer: they go round over all.
    let (own, start) = match share {
        2 => (&cores[(place % authorities) * 2..][..2], 0),
        _ => (cores, place),
    };
    let core = |offset: usize| own[(start + offset) % own.len()];
    let thread = |stages: &[Stage], offset| ThreadPlan {
        stages: stages.to_vec(),
        core: core(offset),
    };
    let journal = thread(&[Stage::Journal], 1);
    let (threads, what) = match few {
        FewCores::OwnIo => (
            vec![thread(&[Stage::Io], 0), thread(&[Stage::Core], 0), journal],
            "io and core share a core",
        ),
        FewCores::SharedIo => (
            vec![thread(&[Stage::Io, Stage::Core], 0), journal],
            "io and core share a thread",
        ),
    };
    let reason = format!(
        "{} cores for {authorities} authorities of this machine, fewer than {STAGES} for each: {what}",
        cores.len()
    );
    CorePlan {
        threads,
        is_shared: share < 2 && authorities > 1,
        reason,
    }
}

impl CorePlan {
    /// Whether a thread of this plan has its core to itself, as far as authorities go: none of the others is planned there.
    pub fn has_own_core(&self, thread: &ThreadPlan) -> bool {
        let there = self
            .threads
            .iter()
            .filter(|other| other.core == thread.core);
        !self.is_shared && there.count() == 1
    }
}

impl fmt::Display for CorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "core plan: {}", self.reason)?;
        for thread in &self.threads {
            let stages: Vec<String> = thread.stages.iter().map(Stage::to_string).collect();
            writeln!(f, "  core {:>3}  {}", thread.core, stages.join(" + "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_for_five_authorities_share_threads_and_spread_over_both() {
        let cores = [0, 1];
        let used: Vec<usize> = (0..5)
            .map(|place| plan_with_shared_io(&cores, place, 5).threads[0].core)
            .collect();
        assert_eq!(used, [0, 1, 0, 1, 0]);
        let one = plan_with_shared_io(&cores, 0, 5);
        assert_eq!(one.threads[0].stages, [Stage::Io, Stage::Core]);
        assert_eq!(
            one.threads[1],
            ThreadPlan {
                stages: vec![Stage::Journal],
                core: 1
            }
        );
    }

    #[test]
    fn io_has_a_thread_beside_core_where_cores_are_few() {
        let threads = plan(&[4, 5], 0, 1).threads;
        let expected = [(Stage::Io, 4), (Stage::Core, 4), (Stage::Journal, 5)];
        let expected = expected.map(|(stage, core)| ThreadPlan {
            stages: vec![stage],
            core,
        });
        assert_eq!(threads, expected);
        let cores = [0, 1, 2];
        assert_eq!(plan_with_shared_io(&cores, 0, 1), plan(&cores, 0, 1));
    }

    #[test]
    fn enough_cores_give_each_stage_one_of_its_own() {
        let cores: Vec<usize> = (0..16).collect();
        let mut used = Vec::new();
        for place in 0..5 {
            let plan = plan(&cores, place, 5);
            assert_eq!(plan.threads.len(), STAGES);
            used.extend(plan.threads.iter().map(|thread| thread.core));
        }
        used.dedup();
        assert_eq!(used.len(), 15, "no core is used twice");
    }

    #[test]
    fn two_cores_each_are_a_pair_of_ones_own() {
        let cores = [0, 1, 2, 3];
        let used: Vec<usize> = (0..2)
            .flat_map(|place| plan_with_shared_io(&cores, place, 2).threads)
            .map(|thread| thread.core)
            .collect();
        assert_eq!(used, [0, 1, 2, 3]);
    }

    #[test]
    fn a_core_is_ones_own_only_where_no_other_thread_and_no_other_authority_is() {
        let owned = |cores: &[usize], place, authorities| {
            let plan = plan_with_shared_io(cores, place, authorities);
            let own = plan.threads.iter().map(|thread| plan.has_own_core(thread));
            own.collect::<Vec<bool>>()
        };
        assert_eq!(owned(&[0, 1, 2], 0, 1), [true; 3]);
        assert_eq!(owned(&[0, 1], 0, 1), [true; 2]);
        assert_eq!(owned(&[0, 1, 2, 3], 1, 2), [true; 2]);
        assert_eq!(owned(&[0, 1], 1, 5), [false; 2]);
        assert_eq!(owned(&[0, 1, 2], 1, 2), [false; 2]);
        assert_eq!(owned(&[0], 0, 1), [false; 2]);
        let beside = plan(&[0, 1], 0, 1);
        let own = beside.threads.iter().map(|of| beside.has_own_core(of));
        assert_eq!(own.collect::<Vec<bool>>(), [false, false, true]);
    }

    #[test]
    fn one_core_holds_everything() {
        let plan = plan(&[7], 3, 5);
        assert!(plan.threads.iter().all(|thread| thread.core == 7));
    }
}
