//! The `fairlane` command; see `fairlane --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairlane_net::cli::main()
}
