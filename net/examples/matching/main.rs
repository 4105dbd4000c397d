//! A rollup in two files: a matching engine that settles batches beside a node and keeps a state root.
//!
//! ```text
//! matching run --config settle-1.toml       a settlement worker whose sink is the market
//! matching replay --data settle-1           the same state from a worker's journal, on any machine
//! ```
//!
//! Payloads are the trading records that `fairlane localnet` and `fairlane-loadgen` send: limit orders and cancels. The
//! market ([`market`]) is a function of the batches and nothing else, so whoever has them computes the same root. Here it
//! lives in memory; what is durable is the worker's journal, from which the market is made again at each start. So a batch
//! is in both or in neither, whoever is killed and when: that is all that exactly once takes.
//!
//! What a real one adds: a sender's signature inside the payload (here anybody may cancel any order), accounts, and a
//! snapshot, so that a start need not replay everything.

mod market;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fairlane_engine::batch::{BatchHeader, BatchView, Outcome};
use fairlane_engine::types::{ChainId, RollupId};
use fairlane_net::config::{self, FinalityName};
use fairlane_net::settle::{
    Event, JournalSink, SettleConfig, SettleError, SettleReader, Sink, serve,
};
use market::Market;

/// A matching engine that settles Fairlane's batches.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Settle beside a node until SIGINT or SIGTERM.
    Run {
        /// A settlement worker's configuration, as `fairlane testnet` writes it.
        #[arg(long)]
        config: PathBuf,
    },
    /// Compute the state from a worker's journal.
    Replay {
        /// The worker's folder.
        #[arg(long)]
        data: PathBuf,
        /// The rollup.
        #[arg(long, default_value_t = 1)]
        rollup: u64,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { config } => run(&config),
        Command::Replay { data, rollup } => replay(&data, RollupId(rollup)).map(|market| {
            println!("{}", market.describe());
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("matching: {error}");
            ExitCode::from(2)
        }
    }
}

/// The sink: a journal, and the market that follows from it.
struct MarketSink {
    journal: JournalSink,
    rollup: RollupId,
    market: Market,
}

impl MarketSink {
    /// Opens the journal in `folder` and makes the market of what it holds.
    fn open(folder: &Path, chain: ChainId, rollup: RollupId) -> Result<Self, SettleError> {
        let journal = JournalSink::open(folder, chain, rollup)?;
        let market = replay_settled(folder, rollup)?;
        Ok(Self {
            journal,
            rollup,
            market,
        })
    }
}

impl Sink for MarketSink {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        // First, because it refuses what does not continue the chain.
        self.journal.append(batch)?;
        apply(&mut self.market, self.rollup, batch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        self.journal.sync()
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.journal.settled()
    }
}

/// The rollup's own entries, in order; what is void stands in the batch and does nothing.
fn apply(market: &mut Market, rollup: RollupId, batch: &BatchView<'_>) {
    for entry in batch.entries() {
        if entry.rollup_id == rollup && entry.outcome != Outcome::Void {
            market.apply(entry.payload);
        }
    }
}

fn replay_settled(folder: &Path, rollup: RollupId) -> Result<Market, SettleError> {
    let mut market = Market::default();
    let mut reader = SettleReader::open(folder)?;
    while let Some(batch) = reader.try_next()? {
        apply(&mut market, rollup, &batch.view()?);
    }
    Ok(market)
}

fn replay(folder: &Path, rollup: RollupId) -> anyhow::Result<Market> {
    Ok(replay_settled(folder, rollup)?)
}

fn run(path: &Path) -> anyhow::Result<()> {
    let read: config::SettleConfig = config::read_toml(path)?;
    anyhow::ensure!(
        read.finality == FinalityName::Node,
        "this example takes its node's word: set finality = \"node\""
    );
    let socket = read.socket.as_ref();
    let socket = socket.context("this example runs beside its node: name its socket")?;
    let config = SettleConfig {
        socket: config::resolve(path, socket),
        chain_id: ChainId(read.chain_id),
        rollup_id: RollupId(read.rollup),
        sink_folder: config::resolve(path, &read.data),
        remote: None,
        proofs: fairlane_net::settle::ProofRule::Node,
    };
    let mut sink = MarketSink::open(&config.sink_folder, config.chain_id, config.rollup_id)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            told.store(true, Ordering::Release);
        }
    });
    serve(&config, &mut sink, &stop, |event| match event {
        Event::Attached => println!("attached"),
        Event::Ended(report) => eprintln!("{} batches", report.batches),
        Event::Waiting(error) => eprintln!("waiting for the node: {error}"),
    })?;
    println!("{}", sink.market.describe());
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]
mod tests {
    use fairlane_engine::batch::{
        BatchEntry, BatchWriter, PAYLOAD_SLACK_LEN, archive_len_max, order_root, payload_root,
        validate,
    };
    use fairlane_engine::types::{BatchSeq, Digest, Sha256Hash};

    use super::*;
    use crate::market::tests::records;

    const CHAIN: ChainId = ChainId(1);
    const ROLLUP: RollupId = RollupId(1);

    /// Feeds batches of ten records from `from` on; every third entry is another rollup's, every seventh void.
    fn feed(sink: &mut MarketSink, batches: std::ops::Range<usize>) {
        let records = records(2_000);
        for seq in batches {
            let mut room: rkyv::util::AlignedVec<16> = rkyv::util::AlignedVec::new();
            room.resize(archive_len_max(10, 560), 0);
            let (mut entries, mut at) = (Vec::new(), 0);
            for (index, payload) in records[10 * seq..10 * seq + 10].iter().enumerate() {
                let place = 10 * seq + index;
                let outcome = if place % 7 == 0 {
                    Outcome::Void
                } else {
                    let start = PAYLOAD_SLACK_LEN + at;
                    room[start..start + payload.len()].copy_from_slice(payload);
                    let (offset, len) = (at as u32, payload.len() as u32);
                    at += payload.len();
                    Outcome::Open { offset, len }
                };
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&(place as u64).to_be_bytes());
                entries.push(BatchEntry {
                    digest,
                    rollup_id: if place % 3 == 0 { 2 } else { ROLLUP.0 },
                    outcome,
                });
            }
            let writer = BatchWriter::new(&mut room, at).unwrap();
            let last = sink.settled().copied();
            let void = entries
                .iter()
                .filter(|entry| entry.outcome == Outcome::Void);
            let header = BatchHeader {
                chain_id: CHAIN,
                seq: BatchSeq(seq as u64),
                previous: last.map_or(Sha256Hash::default(), |last| last.hash()),
                order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
                payload_root: payload_root(&entries, writer.payload()).unwrap(),
                entries: entries.len() as u32,
                void: void.count() as u32,
                ..BatchHeader::default()
            };
            let len = writer.finish(&header, &entries).unwrap();
            room.resize(len, 0);
            sink.append(&validate(&room).unwrap()).unwrap();
            sink.sync().unwrap();
        }
    }

    #[test]
    fn a_market_that_was_stopped_and_started_has_the_root_of_one_that_was_not() {
        let (once, often) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut whole = MarketSink::open(once.path(), CHAIN, ROLLUP).unwrap();
        feed(&mut whole, 0..200);
        for start in (0..200).step_by(40) {
            let mut part = MarketSink::open(often.path(), CHAIN, ROLLUP).unwrap();
            feed(&mut part, start..start + 40);
        }
        let root = whole.market.root();
        assert_eq!(replay(often.path(), ROLLUP).unwrap().root(), root);
        assert_eq!(replay(once.path(), ROLLUP).unwrap().root(), root);
        assert_ne!(Market::default().root(), root);
        assert_ne!(replay(once.path(), RollupId(2)).unwrap().root(), root);
    }
}
