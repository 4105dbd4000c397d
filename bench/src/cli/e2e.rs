//! `fairlane-bench e2e`.

use std::path::PathBuf;

use fairlane_bench::e2e::{self, Cell, E2ePlan, Program};

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct E2eArguments {
    /// Folder for e2e.json, e2e.html and the logs, current/CELL/ROUND.hlog; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fairlane binary to measure [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Another fairlane binary, run in turns with the first; its logs go to baseline/CELL/ROUND.hlog.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Runs of each cell and version.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999))]
    repeat: u32,
    /// How long each run sends: 10s, 500ms, 2m.
    #[arg(long, default_value = "10s", value_name = "TIME")]
    duration: String,
    /// Authorities: one number or several, like 4,5,7.
    #[arg(long, default_value = "5", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: Vec<u8>,
    /// Envelopes a second; one number or several.
    #[arg(long, default_value = "500", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Vec<u32>,
    /// Bytes of payload in each; one number or several.
    #[arg(
        long,
        default_value = "128",
        value_name = "BYTES,...",
        value_delimiter = ','
    )]
    payload: Vec<u32>,
    /// sync, async, or both.
    #[arg(long, default_value = "sync", value_name = "NAME,...", value_delimiter = ',', value_parser = ["sync", "async"])]
    durability: Vec<String>,
    /// auto, uring, mio, or several.
    #[arg(long, default_value = "auto", value_name = "NAME,...", value_delimiter = ',', value_parser = ["auto", "uring", "mio"])]
    backend: Vec<String>,
    /// Further flags of `fairlane localnet` for the measured version only, in one argument.
    #[arg(
        long,
        default_value = "",
        value_name = "FLAGS",
        allow_hyphen_values = true
    )]
    flags: String,
    /// The same for the version that it is held against.
    #[arg(
        long,
        default_value = "",
        value_name = "FLAGS",
        allow_hyphen_values = true
    )]
    against_flags: String,
}

/// Whether every check of every run holds.
pub(crate) fn run(arguments: E2eArguments) -> anyhow::Result<bool> {
    let flags = |flags: &str| flags.split_whitespace().map(str::to_owned).collect();
    let path = binary(arguments.fairlane.as_deref())?;
    let against = match (arguments.against, arguments.against_flags.is_empty()) {
        (None, true) => None,
        // Other flags of the same binary are another version, too.
        (None, false) => Some(path.clone()),
        (given, _) => given,
    };
    let mut cells = Vec::new();
    for nodes in &arguments.nodes {
        for rate in &arguments.rate {
            for payload in &arguments.payload {
                for durability in &arguments.durability {
                    for backend in &arguments.backend {
                        cells.push(Cell {
                            nodes: *nodes,
                            rate: *rate,
                            payload: *payload,
                            durability: durability.clone(),
                            backend: backend.clone(),
                        });
                    }
                }
            }
        }
    }
    let plan = E2ePlan {
        out: arguments.out,
        current: Program {
            path,
            flags: flags(&arguments.flags),
        },
        baseline: against.map(|path| Program {
            path,
            flags: flags(&arguments.against_flags),
        }),
        cells,
        repeat: arguments.repeat,
        duration: arguments.duration,
    };
    let all = e2e::run(&plan, &mut |next| eprintln!("{next}"))?;
    print!("{all}");
    Ok(all.holds())
}
