//! What figures were measured with: the commit, and the machine.

use serde::{Deserialize, Serialize};

/// The commit that this was built from, `+changes` behind it where files differed from it.
pub const COMMIT: &str = env!("FAIRLANE_COMMIT");

/// A machine, as far as figures need it named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Model of the processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Release of the Linux kernel.
    pub kernel: String,
}

impl Host {
    /// This machine.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = text("/proc/cpuinfo");
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = text("/proc/sys/kernel/osrelease");
        Self {
            processor: model
                .map_or("unknown processor", |(_, name)| name.trim())
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: match kernel.trim() {
                "" => "of unknown release".to_owned(),
                kernel => kernel.to_owned(),
            },
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            processor,
            cores,
            kernel,
        } = self;
        write!(f, "{processor}, {cores} cores, Linux {kernel}")
    }
}
