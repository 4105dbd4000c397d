//! The `fairlane-loadgen` command; see `fairlane-loadgen --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairlane_loadgen::cli::main()
}
