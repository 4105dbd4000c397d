//! `fairlane-loadgen sink`: says every second what comes in, and at the end what came in.

use std::time::{Duration, Instant};

use fairlane_client::committee_file::Directory;

use super::flags::SinkFlags;
use super::stop_on_signal;
use crate::Control;
use crate::sink::{Sink, SinkCounts, authorities_of};

/// Serves until an interrupt or the end of the duration. Errors: bad input or an address that is taken, in a sentence.
pub(super) fn run(flags: &SinkFlags) -> Result<(), String> {
    let directory = Directory::load(&flags.committee).map_err(|error| error.to_string())?;
    let served = authorities_of(&directory, &flags.authority)?;
    let sink =
        Sink::start(&directory, served, !flags.no_acks).map_err(|error| error.to_string())?;
    let control = Control::new();
    stop_on_signal(&control)?;
    let addresses: Vec<String> = sink.addresses().iter().map(ToString::to_string).collect();
    let answer = if flags.no_acks {
        "no answers"
    } else {
        "acks alone"
    };
    eprintln!("listening at {}, {answer}", addresses.join(", "));
    let began = Instant::now();
    let is_over = || {
        let is_late = flags
            .duration
            .is_some_and(|duration| began.elapsed() >= duration);
        control.is_stopped() || is_late
    };
    let (mut before, mut next) = (SinkCounts::default(), began + SECOND);
    let mut busy = Busy::default();
    while !is_over() {
        std::thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
        if Instant::now() < next {
            continue;
        }
        next += SECOND;
        let counts = sink.counts();
        let envelopes = counts.envelopes - before.envelopes;
        if envelopes > 0 {
            let bytes = counts.bytes - before.bytes;
            busy.add(envelopes);
            eprintln!(
                "{envelopes} envelopes a second   {:.1} MB/s   {} connections",
                bytes as f64 / 1e6,
                counts.open
            );
        }
        before = counts;
    }
    let counts = sink.counts();
    println!(
        "{} envelopes, {:.1} MB, over {} connections; {} connections refused",
        counts.envelopes,
        counts.bytes as f64 / 1e6,
        counts.connections,
        counts.refused
    );
    if let Some(median) = busy.median() {
        println!(
            "{median} envelopes a second in the median of {} seconds in which any came",
            busy.0.len()
        );
    }
    Ok(())
}

/// Envelopes in each second that had any.
#[derive(Debug, Default)]
struct Busy(Vec<u64>);

impl Busy {
    fn add(&mut self, envelopes: u64) {
        self.0.push(envelopes);
    }

    fn median(&mut self) -> Option<u64> {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).copied()
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Between two looks whether it is over.
const TICK: Duration = Duration::from_millis(50);
