//! Which stage of a Fairlane authority runs on which core, planned from the cores this process may use.
//!
//! What this crate must never know: anything else of Fairlane. It reads the machine and names stages; the node builds
//! its threads from the plan and prints it at start.
//!
//! The rule: with at least one core a stage for every authority of this machine, each stage gets a thread and a core of
//! its own; with fewer, ingress, peers, admission, core and reveal share one thread, so that a message crosses no
//! thread on its way, and the journal, which blocks in the kernel, keeps its own. Every thread is pinned: threads
//! that talk to each other and are left to the scheduler end up packed on one core. Nothing spins.
//!
//! The node needs [`plan`] only and takes this crate without its default feature `command`.

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
mod netlink;
pub mod network;
pub mod placement;
pub mod plan;
#[cfg(feature = "command")]
mod text;
pub mod topology;
pub mod tree;

pub use plan::{CorePlan, Stage, ThreadPlan, plan};
