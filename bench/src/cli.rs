//! The command line: a file a command, each with its arguments and the few lines that make them a plan.

pub(crate) mod attack;
pub(crate) mod compare;
pub(crate) mod crash;
pub(crate) mod e2e;
pub(crate) mod gate;
pub(crate) mod hostile;
pub(crate) mod hosts;
pub(crate) mod idle;
pub(crate) mod overload;
pub(crate) mod ring;
pub(crate) mod rtt;
pub(crate) mod saturate;
pub(crate) mod syscalls;
pub(crate) mod xdp;

use std::path::{Path, PathBuf};

/// The binary that was named, or the one beside this. Errors: there is none.
pub(crate) fn binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("fairlane"),
    };
    anyhow::ensure!(
        path.is_file(),
        "{} is not there: build it (cargo build --release), or name one with --fairlane",
        path.display()
    );
    Ok(path)
}

/// Below the help of commands that judge.
pub(crate) const EXIT_STATUS: &str = "Exit status: 0 all holds; 1 a run does not hold, or something is worse than allowed; \
                                      2 unusable input, said in one sentence.";
/// Below the help of `crash`.
pub(crate) const CRASH_STATUS: &str = "Exit status: 0 everything held; 1 something did not: what, where the journals are, and how to \
repeat it is said; 2 bad input, or the machine lacks something.";
