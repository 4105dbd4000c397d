//! The report as text.

use std::fmt;

use super::LoadReport;
use crate::hostile::HostileOutcome;
use crate::outcome::{Distribution, LoadOutcome, RollupOutcome};
use crate::races::RaceOutcome;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = &self.outcome;
        writeln!(f, "fairlane-loadgen, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        let rollups = match self.rollups.contains(',') {
            true => "rollups",
            false => "rollup",
        };
        let kind = if self.sealed { "sealed" } else { "open" };
        writeln!(
            f,
            "  {} authorities, {rollups} {}, {kind} envelopes of {} bytes",
            self.authorities, self.rollups, self.payload_len
        )?;
        writeln!(f, "  {}", self.load)?;
        self.envelopes(f)?;
        self.latencies(f)?;
        races(f, &outcome.races)?;
        rollup_table(f, &outcome.rollups)?;
        hostile(f, &outcome.hostile)?;
        writeln!(f, "\nload generator")?;
        for line in limit_lines(outcome) {
            writeln!(f, "  {line}")?;
        }
        if outcome.is_stopped {
            writeln!(f, "  stopped before its plan was over")?;
        }
        if !outcome.is_drained {
            writeln!(f, "  gave up waiting for what was still open")?;
        }
        let checks = self.checks();
        if !checks.is_empty() {
            writeln!(f, "\nchecks")?;
        }
        for (words, holds) in checks {
            let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
            writeln!(f, "  {words:<33}{verdict}")?;
        }
        Ok(())
    }
}

impl LoadReport {
    fn envelopes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = &self.outcome;
        let (tally, offering) = (&outcome.tally, &outcome.offering);
        writeln!(f, "\nenvelopes")?;
        writeln!(
            f,
            "  offered {}  accepted {}  refused {}  unanswered {}",
            tally.offered, tally.accepted, tally.refused, tally.unanswered
        )?;
        for (code, count) in &tally.refused_by_code {
            writeln!(f, "    refused {code}: {count}")?;
        }
        if outcome.retried > 0 {
            let (retried, retries) = (outcome.retried, outcome.retries);
            writeln!(
                f,
                "  told Busy by all and sent again {retried}, {retries} times in all"
            )?;
        }
        if self.acks_only {
            writeln!(
                f,
                "  planned {:.0} a second, sent {:.0}; nothing was waited for but acks",
                offering.planned_tps, offering.achieved_tps
            )?;
            return Ok(());
        }
        writeln!(f, "  settled {}  lost {}", tally.settled, tally.lost)?;
        let planned = match outcome.closed_clients {
            0 => format!("planned {:.0} a second, ", offering.planned_tps),
            _ => String::new(),
        };
        writeln!(
            f,
            "  {planned}sent {:.0}{}, settled {:.0}",
            offering.achieved_tps,
            if planned.is_empty() { " a second" } else { "" },
            outcome.throughput_tps
        )?;
        if outcome.resent > 0 {
            writeln!(f, "  datagrams sent again {}", outcome.resent)?;
        }
        Ok(())
    }
}

impl LoadReport {
    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_closed = self.outcome.closed_clients > 0;
        let table = self.outcome.latency_us.to_string();
        let from = if is_closed {
            "sending"
        } else {
            "planned send time"
        };
        writeln!(f, "\nlatency from the {from}, ms")?;
        // Its title, then the head of its columns, then a line a stage.
        let rows = table
            .lines()
            .skip(1)
            .take(if self.acks_only { 2 } else { 5 });
        for row in rows {
            writeln!(f, "{row}")?;
        }
        if is_closed {
            writeln!(f, "  {CLOSED}")?;
        }
        Ok(())
    }
}

fn races(f: &mut fmt::Formatter<'_>, races: &[RaceOutcome]) -> fmt::Result {
    if races.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\nraces: cancel against take, from different connections"
    )?;
    writeln!(
        f,
        "  {:>12}{:>12}{:>8}{:>15}{:>13}{:>10}",
        "cancel led", "on average", "races", "cancel first", "take first", "unknown"
    )?;
    for race in races {
        let part = race.cancel_first_part();
        let part = part.map_or_else(String::new, |part| format!(" {:>4.0} %", part * 100.0));
        writeln!(
            f,
            "  {:>9.2} ms{:>9.2} ms{:>8}{:>8}{part:>7}{:>13}{:>10}",
            race.lead_us as f64 / 1e3,
            race.sent_lead_mean_us / 1e3,
            race.races,
            race.cancel_first,
            race.take_first,
            race.unknown
        )?;
    }
    Ok(())
}

fn rollup_table(f: &mut fmt::Formatter<'_>, rollups: &[RollupOutcome]) -> fmt::Result {
    if rollups.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nby rollup, settled in ms")?;
    writeln!(
        f,
        "  {:>8}{:>8}{:>10}{:>10}{:>9}{:>10}{:>9}{:>9}",
        "rollup", "weight", "offered", "accepted", "refused", "settled", "p50", "p99"
    )?;
    for rollup in rollups {
        let Distribution { p50, p99, .. } = rollup.settled_us;
        writeln!(
            f,
            "  {:>8}{:>8}{:>10}{:>10}{:>9}{:>10}{:>9.2}{:>9.2}",
            rollup.rollup,
            rollup.weight,
            rollup.offered,
            rollup.accepted,
            rollup.refused,
            rollup.settled,
            p50 as f64 / 1e3,
            p99 as f64 / 1e3
        )?;
    }
    Ok(())
}

fn hostile(f: &mut fmt::Formatter<'_>, hostile: &[HostileOutcome]) -> fmt::Result {
    if hostile.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nhostile traffic, in no figure above")?;
    for kind in hostile {
        let what = if kind.kind.is_held() {
            "opened"
        } else {
            "sent"
        };
        write!(f, "  {:<14}{what} {}", kind.kind.name(), kind.sent)?;
        if kind.failed > 0 {
            write!(f, "   failed {}", kind.failed)?;
        }
        if kind.ordered > 0 {
            let Distribution { p50, p99, .. } = kind.ordered_us;
            let (p50, p99) = (p50 as f64 / 1e3, p99 as f64 / 1e3);
            write!(
                f,
                "   ordered {}, p50 {p50:.2} p99 {p99:.2} ms",
                kind.ordered
            )?;
        }
        if kind.hung_up > 0 || kind.answers.is_empty() {
            write!(f, "   hung up on {}", kind.hung_up)?;
        }
        if !kind.answers.is_empty() {
            let answers = kind.answers.iter();
            let answers: Vec<String> = answers
                .map(|(code, count)| format!("{code} {count}"))
                .collect();
            write!(f, "   answers: {}", answers.join(", "))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Whether the generator was the limit, and what then.
pub(super) fn limit_lines(outcome: &LoadOutcome) -> Vec<String> {
    let offering = &outcome.offering;
    let mut lines = Vec::new();
    if outcome.closed_clients == 0 {
        lines.push(format!(
            "sent p99 {:.2} ms after the planned time, {} sealed late",
            offering.send_lag_us.p99 as f64 / 1e3,
            offering.sealed_late,
        ));
    } else {
        lines.push(format!(
            "{} times a client waited for sealing",
            offering.sealed_late
        ));
    }
    let undelivered: u64 = outcome.links.iter().map(|link| link.undelivered).sum();
    if offering.was_limited {
        let what = match offering.sealing_was_limit {
            true => "sealing does not keep up",
            false => "sending does not keep up",
        };
        lines.push(format!(
            "IT WAS THE LIMIT, {what}: {:.0} a second of {:.0} planned; read no latency above as the committee's",
            offering.achieved_tps, offering.planned_tps
        ));
    } else {
        lines.push("it was not the limit".to_owned());
    }
    if undelivered > 0 {
        lines.push(format!(
            "{undelivered} submissions found an authority away or 8 MiB waiting for it: the target did not keep up"
        ));
    }
    lines
}

/// What a closed loop's latencies leave out.
pub(super) const CLOSED: &str = "closed loop: latencies do not count what waited to be sent";
