//! What a run looks like while it is under way: three lines on a terminal, nothing elsewhere.

use std::time::Duration;

use fairlane_client::protocol::AckCode;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::control::{Phase, Progress};

/// The lines.
pub(super) struct View {
    lines: MultiProgress,
    sending: ProgressBar,
    latency: ProgressBar,
    refusals: ProgressBar,
}

impl View {
    pub(super) fn new(described: &str) -> Self {
        let lines = MultiProgress::new();
        let line = || {
            let line = lines.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{msg}");
            line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            line
        };
        // A line that stays.
        let _ = lines.println(described);
        let (sending, latency, refusals) = (line(), line(), line());
        Self {
            sending,
            latency,
            refusals,
            lines,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let [sending, latency, refusals] = texts(progress);
        self.sending.set_message(sending);
        self.latency.set_message(latency);
        self.refusals.set_message(refusals);
    }

    pub(super) fn end(&mut self) {
        // What stood there is in the report.
        let _ = self.lines.clear();
    }
}

fn texts(progress: &Progress) -> [String; 3] {
    let phase = match progress.phase {
        Phase::Preparing => "sealing ahead",
        Phase::Sending => "sending",
        Phase::Draining => "draining",
    };
    let elapsed = Duration::from_micros(progress.elapsed_us).as_secs_f64();
    let sending = format!(
        "{phase:<13} {elapsed:6.1} s   offered {} ({}/s)   accepted {}   settled {} ({}/s)   nodes {}",
        progress.offered,
        progress.last_second.offered,
        progress.acked,
        progress.settled,
        progress.last_second.settled.count,
        progress.live,
    );
    let ms = |us: u64| us as f64 / 1e3;
    let last = &progress.last_second.settled;
    let latency = match last.count {
        0 => "settled, last second: none".to_owned(),
        _ => format!(
            "settled, last second: p50 {:.1}   p99 {:.1}   p99.9 {:.1}   max {:.1} ms      all: p50 {:.1} ms",
            ms(last.p50),
            ms(last.p99),
            ms(last.p999),
            ms(last.max),
            ms(progress.settled_p50_us),
        ),
    };
    let refused = AckCode::ALL.into_iter().zip(progress.refused);
    let refused: Vec<String> = refused
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| format!("{} {count}", code.name()))
        .collect();
    let mut refusals = match refused.is_empty() {
        true => "refusals: none".to_owned(),
        false => format!("refusals: {}", refused.join("   ")),
    };
    if let Some(hostile) = progress.hostile_refused {
        refusals += &format!("      of hostile ones: {hostile}");
    }
    [sending, latency, refusals]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::LastSecond;
    use crate::outcome::Distribution;

    #[test]
    fn the_lines_say_rates_the_last_second_and_refusals_by_code() {
        let mut progress = Progress {
            phase: Phase::Sending,
            elapsed_us: 4_200_000,
            offered: 2_100,
            acked: 2_098,
            ordered: 2_090,
            settled: 2_088,
            refused: [0; AckCode::ALL.len()],
            hostile_refused: None,
            live: 5,
            settled_p50_us: 11_000,
            last_second: LastSecond::default(),
        };
        let quiet = texts(&progress);
        assert_eq!(quiet[1], "settled, last second: none");
        assert_eq!(quiet[2], "refusals: none");
        progress.last_second = LastSecond {
            offered: 501,
            settled: Distribution {
                count: 499,
                p50: 10_500,
                p90: 12_000,
                p99: 15_000,
                p999: 18_000,
                max: 19_000,
            },
        };
        let busy = AckCode::ALL.iter().position(|code| *code == AckCode::Busy);
        progress.refused[busy.unwrap()] = 7;
        let texts = texts(&progress);
        assert!(texts[0].contains("offered 2100 (501/s)"), "{}", texts[0]);
        assert!(texts[0].contains("settled 2088 (499/s)"), "{}", texts[0]);
        assert!(
            texts[1].contains("p50 10.5   p99 15.0   p99.9 18.0"),
            "{}",
            texts[1]
        );
        assert_eq!(texts[2], format!("refusals: {} 7", AckCode::Busy.name()));
        progress.hostile_refused = Some(12);
        assert!(super::texts(&progress)[2].ends_with("7      of hostile ones: 12"));
    }
}
