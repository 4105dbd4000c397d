//! The `fairlane-tuning` command; see `fairlane-tuning --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairlane_tuning::cli::main()
}
