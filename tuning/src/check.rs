//! What of a machine helps or hurts a node: every knob read, judged and explained.
//!
//! A [`Finding`] says what is there, what is wanted, why, how much it matters, and what would mend it. Judging is a pure
//! function of the files under a [`Tree`] and of what was [`Probed`] from the kernel by other means, so tests show it any
//! machine. What could not be read is a finding of its own, [`Verdict::Unread`], with the kernel's reason.
//!
//! Nothing needs a privilege, nothing is changed. A mending that a machine can undo is a list of [`Change`]s, which
//! `apply` makes; the rest is a sentence for a person.

use std::fmt;

use serde::Serialize;

use crate::network::Interface;
use crate::topology::Topology;
use crate::tree::{Tree, Unread};

mod cgroup;
mod cpu;
mod idle;
mod interrupts;
mod limits;
mod memory;
mod nic;
mod sockets;
mod surroundings;
mod uring;

pub(crate) use memory::selected;
pub use surroundings::Surroundings;
pub use uring::{UringFacts, probe as probe_uring};

/// One knob: what it is, what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, unique, as `apply --only` takes it.
    pub knob: &'static str,
    /// What is to be made of it.
    pub verdict: Verdict,
    /// How much it matters to a node's latency or safety.
    pub matters: Matters,
    /// What it is now, or why that could not be read.
    pub now: String,
    /// What is wanted.
    pub wanted: String,
    /// Why.
    pub why: String,
    /// What would mend it.
    pub remedy: Option<Remedy>,
}

/// What is to be made of a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As wanted.
    Good,
    /// Not as wanted.
    Off,
    /// Could not be read; nothing is known.
    Unread,
    /// This machine does not have it, or nothing depends on it here.
    Absent,
}

/// How much a knob matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "command", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Matters {
    /// Hardly visible.
    Low,
    /// Visible in the tail of the latencies.
    Medium,
    /// Latency is several times what it could be, or a node cannot work.
    High,
}

/// What would mend a knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// Files to be written, which `apply` does and `undo` takes back.
    Apply(Vec<Change>),
    /// For a person: it outlives this machine's run, or cannot be undone.
    Hand(String),
    /// Only whoever runs the host can do it.
    Host(String),
}

/// A file of the kernel to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path, without the root of the tree.
    pub path: String,
    /// What to write.
    pub value: String,
}

/// What is known of the machine before any knob is judged.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Its files.
    pub tree: &'a Tree,
    /// Its processors.
    pub topology: &'a Topology,
    /// The processors that the node's stages will have, ascending.
    pub stages: &'a [usize],
    /// The interface of the node's traffic.
    pub interface: Option<&'a Interface>,
    /// Virtual machine, container.
    pub surroundings: &'a Surroundings,
    /// What is not in files.
    pub probed: &'a Probed,
}

/// What the kernel says when asked by a system call; of a machine that is not this one, why it could not be asked.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Whether io_uring works, and what of it.
    pub uring: Result<UringFacts, String>,
    /// The interface's rings, coalescing and offloads.
    pub nic: Result<crate::ethtool::NicFacts, String>,
}

/// Judges every knob, in the order in which they are shown.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    cpu::check(context, &mut findings);
    idle::check(context, &mut findings);
    interrupts::check(context, &mut findings);
    cgroup::check(context, &mut findings);
    memory::check(context, &mut findings);
    limits::check(context, &mut findings);
    uring::check(context, &mut findings);
    sockets::check(context, &mut findings);
    nic::check(context, &mut findings);
    findings
}

/// Whether nothing that matters at least `least` is off.
pub fn is_good_enough(findings: &[Finding], least: Matters) -> bool {
    !(findings.iter()).any(|finding| finding.verdict == Verdict::Off && finding.matters >= least)
}

impl Context<'_> {
    /// Online processors that run no stage.
    fn spare(&self) -> Vec<usize> {
        let mut ids = self.topology.ids();
        ids.retain(|id| !self.stages.contains(id));
        ids
    }
}

/// A knob about to be judged: what is said of it whatever it is.
#[derive(Clone, Copy)]
struct Knob<'a> {
    name: &'static str,
    matters: Matters,
    wanted: &'a str,
    why: &'a str,
}

impl Knob<'_> {
    fn finding(self, verdict: Verdict, now: impl Into<String>) -> Finding {
        Finding {
            knob: self.name,
            verdict,
            matters: self.matters,
            now: now.into(),
            wanted: self.wanted.to_owned(),
            why: self.why.to_owned(),
            remedy: None,
        }
    }

    fn good(self, now: impl Into<String>) -> Finding {
        self.finding(Verdict::Good, now)
    }

    fn absent(self, now: impl Into<String>) -> Finding {
        self.finding(Verdict::Absent, now)
    }

    fn unread(self, unread: &Unread) -> Finding {
        self.finding(Verdict::Unread, format!("cannot be read: {unread}"))
    }

    /// Off, with files to write.
    fn apply(self, now: impl Into<String>, changes: Vec<Change>) -> Finding {
        Finding {
            remedy: Some(Remedy::Apply(changes)),
            ..self.finding(Verdict::Off, now)
        }
    }

    /// Off, with something for a person to do.
    fn hand(self, now: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding {
            remedy: Some(Remedy::Hand(what.into())),
            ..self.finding(Verdict::Off, now)
        }
    }

    /// Off, with something for the host's owner to do.
    fn host(self, now: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding {
            remedy: Some(Remedy::Host(what.into())),
            ..self.finding(Verdict::Off, now)
        }
    }

    /// A knob that is one number in one file, wanted to be exactly `value`.
    fn exactly(self, tree: &Tree, path: &str, value: i64) -> Finding {
        self.number(tree, path, value, |now| now == value)
    }

    /// A knob that is one number in one file, wanted to be at least `value`.
    fn at_least(self, tree: &Tree, path: &str, value: i64) -> Finding {
        self.number(tree, path, value, |now| now >= value)
    }

    fn number(self, tree: &Tree, path: &str, value: i64, is_good: impl Fn(i64) -> bool) -> Finding {
        match tree.read_number(path) {
            Ok(now) if is_good(now) => self.good(now.to_string()),
            Ok(now) => self.apply(now.to_string(), vec![Change::new(path, value)]),
            Err(unread) if unread.is_absent => self.absent("this kernel does not have it"),
            Err(unread) => self.unread(&unread),
        }
    }
}

impl Change {
    fn new(path: impl Into<String>, value: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            value: value.to_string(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Off => "OFF",
            Self::Unread => "unread",
            Self::Absent => "-",
        })
    }
}

impl fmt::Display for Matters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl Probed {
    /// Asks this machine.
    pub fn here(interface: Option<&Interface>) -> Self {
        Self {
            uring: probe_uring(),
            nic: interface.map_or_else(
                || Err("no interface was chosen".to_owned()),
                |interface| crate::ethtool::probe(&interface.name),
            ),
        }
    }

    /// Nothing, for a machine that is not this one.
    pub fn nothing() -> Self {
        Self {
            uring: Err(ELSEWHERE.to_owned()),
            nic: Err(ELSEWHERE.to_owned()),
        }
    }

    fn is_elsewhere(&self) -> bool {
        self.uring.as_ref().is_err_and(|why| why == ELSEWHERE)
    }
}

const ELSEWHERE: &str = "cannot be asked: the files under --root are a copy of a machine";
