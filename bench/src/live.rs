//! Measurements and trials on running committees of the `fairlane` binary.
//!
//! - [`committee`]: the processes of one, started with settings of one's own, watched and stopped;
//! - [`rtt`]: from submission to acknowledgement, beside a bare ping-pong;
//! - [`delayer`]: hosts as network namespaces, and the network between them;
//! - [`hostile`]: malformed traffic beside an honest load;
//! - [`hosts`]: a committee on such hosts, with cuts;
//! - [`idle`]: thousands of clients that say nothing;
//! - [`overload`]: several times as much load as the committee can take;
//! - [`syscalls`]: system calls for each envelope.

pub mod committee;
pub mod delayer;
pub mod hostile;
pub mod hosts;
pub mod idle;
pub mod overload;
pub mod rtt;
pub mod syscalls;

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// Writes a report as JSON where that was asked for. Errors: the file cannot be written.
pub fn write_json(path: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// One bound that a trial is held to.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is asked, with the bound.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Check {
    /// A bound and what was seen of it.
    pub fn new(what: impl Into<String>, seen: impl Into<String>, holds: bool) -> Self {
        Self {
            what: what.into(),
            seen: seen.into(),
            holds,
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.holds { "holds" } else { "DOES NOT HOLD" };
        write!(f, "  {:<62} {:<34} {verdict}", self.what, self.seen)
    }
}
