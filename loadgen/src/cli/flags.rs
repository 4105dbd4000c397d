//! What users type.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fairlane_client::Transport;

use crate::arrivals::{Rate, Spread};
use crate::duration::parse_duration;
use crate::hostile::HostilePlan;
use crate::rollups::RollupMix;

/// Offers a planned load to a committee, and measures what becomes of every envelope.
///
/// The load is open: each envelope has a planned time, it is sent then whatever the committee does, and its latency counts
/// from then. So a committee that stalls cannot hide it. Envelopes are sealed before they are due. What the committee
/// answers is measured to four points: the first ack, the first signed receipt, the place in the order, and the word that the
/// settlement worker has it on disk.
///
/// A committee to try it on: `fairlane testnet --nodes 4 --out net`, then in one terminal each `fairlane node --config
/// net/node-0.toml` to 3 and `fairlane settle --config net/settle-1.toml`; then `fairlane-loadgen --committee
/// net/committee.json`. Without nodes, to see what the generator can send: `fairlane-loadgen sink --help`.
#[derive(Debug, Parser)]
#[command(
    name = "fairlane-loadgen",
    version,
    max_term_width = 100,
    after_help = EXIT_STATUS,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) load: Option<Load>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Stand in for the authorities: read and count envelopes, ack them, order nothing.
    ///
    /// Greets at the addresses of the committee file, so that a load generator can be measured without a committee. Envelopes
    /// are answered with an ack and nothing else, and not looked into. Ends at an interrupt, and prints what came in.
    Sink(SinkFlags),
}

#[derive(Debug, Args)]
pub(super) struct SinkFlags {
    /// The committee file: whom to stand in for, at which addresses.
    #[arg(long, value_name = "FILE")]
    pub(super) committee: PathBuf,
    /// Stand in for these authorities alone [default: all].
    #[arg(long, value_name = "I,J", value_delimiter = ',')]
    pub(super) authority: Vec<u8>,
    /// Read and count, and answer nothing at all.
    #[arg(long)]
    pub(super) no_acks: bool,
    /// End after so long [default: at an interrupt].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) duration: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// The committee file: who orders, under which key, at which addresses.
    #[arg(long, value_name = "FILE", help_heading = WHERE)]
    pub(super) committee: PathBuf,
    /// The rollup that envelopes are for, or several by weight: 1:3,2:1 is three for rollup 1 to one for rollup 2. What belongs
    /// together (an order and its cancel, a session) stays in one [default: the first of the committee file].
    #[arg(long, value_name = "ID[:WEIGHT],..", help_heading = WHERE)]
    pub(super) rollup: Option<RollupMix>,
    /// Submit to these authorities alone; those that they tell fetch what they lack [default: all].
    #[arg(long, value_name = "I,J", value_delimiter = ',', help_heading = WHERE)]
    pub(super) to: Vec<u8>,
    /// How envelopes travel: tcp, or udp, one envelope a datagram, to nodes that listen for them (udp_listen).
    #[arg(long, value_name = "tcp|udp", default_value_t = Transport::Tcp, help_heading = WHERE)]
    pub(super) transport: Transport,

    /// What envelopes carry, and how they come: orders and cancels of a market, inputs of game sessions, or numbers.
    #[arg(long, value_enum, default_value_t = Kind::Trading, conflicts_with = "replay", help_heading = WHAT)]
    pub(super) workload: Kind,
    /// Envelopes a second, for trading and plain: one number, FROM..TO for a ramp, or A,B,C for steps of equal length.
    #[arg(long, value_name = "RATE", default_value = "500", conflicts_with_all = ["replay", "sessions", "ticks"], help_heading = WHAT)]
    pub(super) rate: Rate,
    /// How they are spread at that rate: poisson (as of many senders), even, or bursts:N (N at one instant).
    #[arg(
        long,
        value_name = "SPREAD",
        default_value = "poisson",
        conflicts_with = "replay",
        help_heading = WHAT
    )]
    pub(super) arrivals: Spread,
    /// Part of the trading workload that is races, in which an order's cancel and somebody else's take of it are due up to 5 ms
    /// apart, over connections of their own; who was ordered first is reported [default: 5%, 0% in a closed loop].
    #[arg(long, value_name = "SHARE%", value_parser = parse_share, conflicts_with = "replay", help_heading = WHAT)]
    pub(super) races: Option<f64>,
    /// Sessions of the gaming workload, each of which sends an input a tick.
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = WHAT)]
    pub(super) sessions: u32,
    /// Ticks a second of each session; games commonly have 20, 60 or 128.
    #[arg(long, value_name = "HZ", default_value_t = 20, help_heading = WHAT)]
    pub(super) ticks: u32,
    /// Let sessions tick each at an offset of its own instead of all together, which is a burst every tick.
    #[arg(long, help_heading = WHAT)]
    pub(super) unsynchronised: bool,
    /// Send a recorded market: a gzipped CSV file whose first line is
    /// receive_time_ns,symbol,kind,side,price,quantity,trade_id.
    #[arg(long, value_name = "FILE.csv.gz", help_heading = WHAT)]
    pub(super) replay: Option<PathBuf>,
    /// Replay it X times faster than it was recorded.
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "replay", help_heading = WHAT)]
    pub(super) speed: f64,
    /// How long to send [default: 10s; with --replay all of it].
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = WHAT)]
    pub(super) duration: Option<Duration>,
    /// Bytes of payload in each envelope, from 56.
    #[arg(long, value_name = "BYTES", default_value_t = 128, help_heading = WHAT)]
    pub(super) payload: usize,
    /// The load follows from this number: the same number, the same load.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = WHAT)]
    pub(super) seed: u64,
    /// Send open envelopes, which anybody can read; the rollup's policy must allow them.
    #[arg(long, help_heading = WHAT)]
    pub(super) open: bool,

    /// A closed loop for comparison: N clients, each of which sends when its last envelope is settled or refused. Its latencies
    /// do not count what waited to be sent, so they look better than users' are.
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "arrivals", "races", "speed"], help_heading = HOW)]
    pub(super) closed: Option<u32>,
    /// Seal each envelope when it is due, on the thread that sends, so that sealing is in the latencies, as for a client that has
    /// nothing prepared.
    #[arg(long, help_heading = HOW)]
    pub(super) seal_inline: bool,
    /// Seal N envelopes before the start and send them again and again, for a sink; a committee orders each only once. Done is
    /// what is acked.
    #[arg(long, value_name = "N", conflicts_with_all = ["closed", "seal_inline", "hostile", "races", "replay", "open"], help_heading = HOW)]
    pub(super) pool: Option<usize>,
    /// Send what every authority has told Busy again, up to N times, each after the longest wait that one of them named, as a
    /// client would; its latencies count from its first time [default: never, it is refused].
    #[arg(long, value_name = "N", conflicts_with = "pool", help_heading = HOW)]
    pub(super) retry_busy: Option<u32>,
    /// Hostile traffic beside the load, over connections of its own and reported apart: bad-proof=1%, duplicate=, expired=,
    /// wrong-epoch=, one-authority=, oversize= are shares of the load; half-open=20 and slow-readers= are connections.
    #[arg(long, value_name = "KIND=SHARE%,..", help_heading = HOW)]
    pub(super) hostile: Option<HostilePlan>,
    /// Begin when N authorities are connected [default: all].
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub(super) live: Option<u32>,
    /// How long to wait for them.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s", help_heading = HOW)]
    pub(super) connect_timeout: Duration,
    /// How long to go on listening after the last envelope when nothing changes any more.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s", help_heading = HOW)]
    pub(super) drain_timeout: Duration,

    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) json: Option<PathBuf>,
    /// Write the report to FILE as one HTML page with plots, which needs nothing else.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) html: Option<PathBuf>,
    /// Write the latencies, second by second, to FILE as an HdrHistogram log.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) hlog: Option<PathBuf>,
    /// Write the percentiles of the latencies to FILE as CSV.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) csv: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Orders, cancels and races; a few busy instruments by Zipf's law, sizes as on a real exchange.
    Trading,
    /// Inputs of --sessions sessions at --ticks a second.
    Gaming,
    /// Numbers in envelopes of one size.
    Plain,
}

impl Load {
    pub(super) fn outputs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let outputs = [
            ("--json", &self.json),
            ("--html", &self.html),
            ("--hlog", &self.hlog),
            ("--csv", &self.csv),
        ];
        let outputs = outputs.into_iter();
        outputs.filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }
}

/// `5%` as 0.05.
fn parse_share(text: &str) -> Result<f64, String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "a share is a number from 0% to 100%".to_owned())
}

const WHERE: &str = "Whom it is for";
const WHAT: &str = "What is sent when";
const HOW: &str = "How it is sent";
const OUTPUT: &str = "What is written beside the text";
const EXIT_STATUS: &str = "Exit status: 0, everything accepted was settled, no two nodes disagree on the order and nothing was ordered that \
must be refused; 1, it ran and that does not hold; 2, bad input or environment, said in one sentence.";
