//! The `fairlane` command; see `fairlane --help`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Why: [`fairlane_net::memory`].
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    fairlane_net::cli::main()
}
