//! Reads, plans, tunes and measures the machine that a Fairlane authority runs on.
//!
//! What this crate must never know: anything else of Fairlane. It reads the machine and names stages; the node builds
//! its threads from the plan and prints it at start.
//!
//! # The plan
//!
//! The rule: with at least one core a stage for every authority of this machine, each stage gets a thread and a core of
//! its own. With fewer, ingress and peers (io) share a core with admission, core and reveal, and the journal, which blocks
//! in the kernel, has the other. Io keeps its thread, so that it is at its sockets however long core computes; or it
//! shares that of core ([`plan_with_shared_io`]), and a message crosses none on its way. Every thread is pinned: threads
//! that talk to each other and are left to the scheduler end up packed on one core. Nothing spins.
//!
//! ```
//! use fairlane_tuning::{Stage, plan};
//!
//! let plan = plan(&[1, 2, 3], 0, 1);
//! assert_eq!(plan.threads[0].stages, [Stage::Io]);
//! assert_eq!(plan.threads[2].core, 3);
//! ```
//!
//! The node needs [`plan`] only and takes this crate without its default feature `command`.
//!
//! # The command
//!
//! ```text
//! fairlane-tuning check                    what helps and what hurts; changes nothing, needs no privilege
//! fairlane-tuning plan --authorities 1     which processors to start the node with, and what it will do with them
//! fairlane-tuning apply --dry-run          what could be mended by writing to the running kernel
//! fairlane-tuning apply                    mends it, until the next boot (root)
//! fairlane-tuning undo                     takes it back
//! fairlane-tuning measure --dir DIR        wake-ups, ring, loopback, disk of DIR, clock, jitter
//! ```
//!
//! `fairlane-tuning COMMAND --help` explains each. Exit status: 0 good enough, or done; 1 something that matters is off,
//! or could not be done; 2 bad input, or the machine lacks what the command needs, said in one sentence. `check`, `plan`
//! and `measure` take `--json`. `--root DIR` looks at copies of `/sys` and `/proc` under DIR.
//!
//! A first hour with a machine: `check`, and mend by hand what it leaves to you; `plan`, and start the node as it says;
//! `measure`, `apply`, `measure` again; in a pipeline, `check --fail-on medium` before every benchmark, so that figures
//! of a machine that has changed are not compared.
//!
//! What cannot be undone is not done: kernel command lines, services, limits and network devices are left to a person,
//! with the words to type. A reference stands beside a measured figure only where its source is known.
//!
//! # The code
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`](mod@plan), [`placement`] | which stage where; which processors to give to the node |
//! | [`tree`], [`topology`], [`network`], [`cpu_list`] | the machine as its files show it, under any root |
//! | `check` | every knob judged: a pure function of the above and of what the kernel was asked |
//! | `apply` | a check's changes written, recorded first, and taken back |
//! | `measure` | the probes |
//! | `ethtool` | rings, coalescing and offloads of an interface, over netlink |
//!
//! A new knob is a function in a file of `check` that gives a finding, and a test on a machine that has it wrong.

#[cfg(feature = "command")]
pub mod apply;
#[cfg(feature = "command")]
pub mod check;
#[cfg(feature = "command")]
pub mod cli;
pub mod cpu_list;
#[cfg(feature = "command")]
pub mod ethtool;
#[cfg(feature = "command")]
pub mod measure;
#[cfg(feature = "command")]
mod netlink;
pub mod network;
pub mod placement;
pub mod plan;
#[cfg(feature = "command")]
mod text;
pub mod topology;
pub mod tree;

pub use plan::{CorePlan, Stage, ThreadPlan, plan, plan_with_shared_io};
