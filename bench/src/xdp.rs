//! Ways to receive UDP, side by side: how many datagrams come through, and what each costs the receiving thread.
//!
//! A sender pinned to one processor sends as fast as it can (sendmmsg of 64) over a veth pair to a receiver pinned to
//! another. Both ends are in network namespaces that nobody else sees and that end with the run, also when it is killed.
//! Ways take turns, and each is held against recvmmsg of the same turn, as the machine's speed drifts.
//!
//! On a veth pair the kernel's part of receiving (also the XDP program, and the copy into the memory that AF_XDP shares)
//! runs in the sender's softirq on the sender's processor: it is in the rate, not in the receiver's cost.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use fairlane_loadgen::host::{COMMIT, Host};
use serde::Serialize;

use self::network::{Network, RECEIVER_CORE, pin};
use self::receive::{Way, receive};

mod network;
mod receive;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct XdpPlan {
    /// Turns of every way.
    pub repeat: u32,
    /// How long each is sent to.
    pub time: Duration,
    /// Bytes of payload of a datagram.
    pub payload_bytes: usize,
}

/// What one way did in one turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    /// Datagrams that the sender's kernel took.
    pub sent: u64,
    /// Datagrams that the receiver got.
    pub received: u64,
    /// The same a second of sending.
    pub received_per_s: f64,
    /// Of the receiving thread, a datagram, nanoseconds: its processor time where it sleeps; the turns of its loop that found
    /// something where it spins.
    pub cost_ns: f64,
}

/// All turns of one way.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub way: String,
    /// In the order in which they were taken.
    pub turns: Vec<Turn>,
    /// Median of its rates to those of recvmmsg in the same turn.
    pub rate_ratio: f64,
    /// The same of its costs.
    pub cost_ratio: f64,
}

/// What was measured, and where.
#[derive(Clone, Debug, Serialize)]
pub struct XdpReport {
    /// Of this program.
    pub commit: String,
    /// Processor, cores and kernel.
    pub host: String,
    /// Bytes of payload of a datagram.
    pub payload_bytes: usize,
    /// How long each was sent to, milliseconds.
    pub milliseconds: u128,
    /// One a way.
    pub rows: Vec<Row>,
}

/// Measures; `progress` hears of each turn.
///
/// # Errors
/// In a sentence: no second processor, no privilege, no `ip` command, or what the kernel refused.
pub fn run(plan: &XdpPlan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<XdpReport> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    anyhow::ensure!(
        cores >= 2,
        "a sender and a receiver need a processor each, and this process may use one only"
    );
    // A thread of its own enters the namespace; whoever called stays where it is.
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| measure(plan));
        progress(&format!(
            "{} turns of {} ways, {} ms each",
            plan.repeat,
            Way::ALL.len(),
            plan.time.as_millis()
        ));
        let measured = measuring.join();
        measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn measure(plan: &XdpPlan) -> anyhow::Result<XdpReport> {
    // Before this thread is kept on one processor, which is then all that it sees.
    let host = Host::read().to_string();
    let network = Network::new(plan.payload_bytes)?;
    pin(RECEIVER_CORE)?;
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); Way::ALL.len()];
    for _ in 0..plan.repeat {
        for (way, turns) in Way::ALL.iter().zip(&mut turns) {
            let turn = receive(*way, &network, plan.time)
                .with_context(|| format!("cannot measure {}", way.name()))?;
            turns.push(turn);
        }
    }
    let yardstick = turns[0].clone();
    let rows = Way::ALL.iter().zip(turns).map(|(way, turns)| {
        let ratio = |of: fn(&Turn) -> f64| {
            let ratios = turns.iter().zip(&yardstick);
            median(ratios.map(|(turn, other)| of(turn) / of(other)).collect())
        };
        Row {
            way: way.name().to_owned(),
            rate_ratio: ratio(|turn| turn.received_per_s),
            cost_ratio: ratio(|turn| turn.cost_ns),
            turns,
        }
    });
    Ok(XdpReport {
        commit: COMMIT.to_owned(),
        host,
        payload_bytes: plan.payload_bytes,
        milliseconds: plan.time.as_millis(),
        rows: rows.collect(),
    })
}

impl fmt::Display for XdpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fairlane-bench xdp, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        writeln!(
            f,
            "  UDP of {} bytes over a veth pair, {} ms a turn, medians (least to most)\n",
            self.payload_bytes, self.milliseconds
        )?;
        writeln!(
            f,
            "{:<32}{:>28}{:>8}{:>24}{:>8}{:>9}",
            "", "datagrams a second", "ratio", "ns each, receiver", "ratio", "lost"
        )?;
        for row in &self.rows {
            let spread = |of: fn(&Turn) -> f64| {
                let mut all: Vec<f64> = row.turns.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                format!(
                    "{:.0} ({:.0} to {:.0})",
                    median(all.clone()),
                    all[0],
                    all[all.len() - 1]
                )
            };
            let sent: u64 = row.turns.iter().map(|turn| turn.sent).sum();
            let received: u64 = row.turns.iter().map(|turn| turn.received).sum();
            writeln!(
                f,
                "{:<32}{:>28}{:>8.2}{:>24}{:>8.3}{:>7.2} %",
                row.way,
                spread(|turn| turn.received_per_s),
                row.rate_ratio,
                spread(|turn| turn.cost_ns),
                row.cost_ratio,
                100.0 * (1.0 - received as f64 / sent as f64)
            )?;
        }
        Ok(())
    }
}

/// The middle one, or the lower of two; there is at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 3.0, 2.0]), 2.0);
    }

    #[test]
    fn every_way_gets_what_is_sent_and_the_namespaces_are_gone_afterwards() {
        use std::io::Write as _;
        let plan = XdpPlan {
            repeat: 1,
            time: Duration::from_millis(20),
            payload_bytes: 64,
        };
        let before = std::fs::read_to_string("/proc/net/dev").unwrap();
        let report = match run(&plan, &mut |_| {}) {
            Ok(report) => report,
            Err(error) => {
                let said = format!("{error:#}");
                assert!(!said.contains('\n'), "{said}");
                let is_lack = ["root", "processor", "`ip`"]
                    .iter()
                    .any(|lack| said.contains(lack));
                assert!(is_lack, "{said}");
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED every_way_gets_what_is_sent: {said}"
                );
                return;
            }
        };
        assert_eq!(report.rows.len(), Way::ALL.len());
        for row in &report.rows {
            let turn = row.turns[0];
            assert!(turn.received > 0 && turn.received <= turn.sent, "{row:?}");
            assert!(turn.cost_ns > 0.0, "{row:?}");
        }
        let names = |text: &str| -> Vec<String> {
            let names = text.lines().filter_map(|line| line.split_once(':'));
            names.map(|(name, _)| name.trim().to_owned()).collect()
        };
        let after = std::fs::read_to_string("/proc/net/dev").unwrap();
        assert_eq!(names(&before), names(&after));
    }
}
