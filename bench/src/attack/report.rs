//! What the attacks came to, as JSON and as text.

use std::fmt;

use serde::Serialize;

use super::delay::{Delays, Sweep};
use super::law::Kept;
use super::lists::Lie;
use super::race::Race;
use super::rules::Rule;
use super::waiting::Wait;

/// Everything that was simulated.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What this is, in words.
    pub title: &'static str,
    /// Of everything that was drawn.
    pub seed: u64,
    /// Pairs of victim and attacker for each gap.
    pub pairs_a_gap: usize,
    /// Simulated seconds of each sweep and wait.
    pub seconds: u64,
    /// Names of the networks raced on, with what they are.
    pub networks: Vec<(&'static str, &'static str)>,
    /// Times from the victim's sending to the attacker's.
    pub gaps_ms: Vec<f64>,
    /// Mean jitters of the sweeps.
    pub jitters_ms: Vec<f64>,
    /// Who came first.
    pub races: Vec<Race>,
    /// What waiting costs.
    pub sweeps: Vec<Sweep>,
    /// What others can make it cost.
    pub waits: Vec<Wait>,
}

impl Report {
    /// Committee sizes, in the order of running.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.races.iter().map(|race| race.authorities).collect();
        sizes.dedup();
        sizes
    }

    /// The races of one rule in one place.
    pub fn races_of(&self, n: usize, network: &str, rule: Rule) -> impl Iterator<Item = &Race> {
        let is_it = move |race: &&Race| {
            race.authorities == n && race.network == network && race.rule == rule
        };
        self.races.iter().filter(is_it)
    }

    /// For each gap the attacker's share when all are correct, and with the lie that serves it best at that gap.
    pub fn shares(&self, n: usize, network: &str, rule: Rule) -> [Vec<f64>; 2] {
        let none = vec![0.0; self.gaps_ms.len()];
        let mut shares = [none.clone(), none];
        for race in self.races_of(n, network, rule) {
            let of = &mut shares[usize::from(race.lie != Lie::None)];
            for (most, share) in of.iter_mut().zip(&race.attacker_first) {
                *most = f64::max(*most, *share);
            }
        }
        shares
    }

    /// What became of the forced pairs of all lies.
    pub fn kept(&self, n: usize, network: &str, rule: Rule) -> Kept {
        let mut all = Kept::default();
        self.races_of(n, network, rule)
            .for_each(|race| all.add(race.kept));
        all
    }

    fn write_races(
        &self,
        f: &mut fmt::Formatter<'_>,
        n: usize,
        (network, words): (&str, &str),
    ) -> fmt::Result {
        writeln!(f, "\nrace, n = {n}, f = {}, {}", (n - 1) / 3, words)?;
        writeln!(
            f,
            "  attacker first, %, of {} pairs a gap",
            self.pairs_a_gap
        )?;
        let head = |f: &mut fmt::Formatter<'_>, what: &str| {
            write!(f, "  {what:<36}")?;
            self.gaps_ms
                .iter()
                .try_for_each(|gap| write!(f, "{gap:>7.2}"))?;
            writeln!(f, "  ms")
        };
        let row = |f: &mut fmt::Formatter<'_>, name: &str, shares: &[f64]| {
            write!(f, "    {name:<34}")?;
            shares
                .iter()
                .try_for_each(|share| write!(f, "{:>7.1}", 100.0 * share))?;
            writeln!(f)
        };
        for (at, what) in ["all correct", "f liars, the best lie at each gap"]
            .iter()
            .enumerate()
        {
            head(f, what)?;
            for rule in Rule::ALL {
                row(f, rule.name(), &self.shares(n, network, rule)[at])?;
            }
        }
        head(f, "Fairlane by lie")?;
        for race in self.races_of(n, network, Rule::Ours) {
            row(f, race.lie.name(), &race.attacker_first)?;
        }
        writeln!(f, "  forced pairs turned round, all lies together")?;
        for rule in Rule::ALL {
            let kept = self.kept(n, network, rule);
            writeln!(
                f,
                "    {:<34}{:>10} of {:>10}, {} of them in a cycle or after a wait was cut",
                rule.name(),
                kept.turned,
                kept.forced,
                kept.excepted
            )?;
        }
        Ok(())
    }

    fn write_sweeps(&self, f: &mut fmt::Formatter<'_>, n: usize) -> fmt::Result {
        writeln!(
            f,
            "\nmean ordering delay after a quorum's listing, ms, n = {n}, LAN, 1,000 envelopes a second"
        )?;
        write!(f, "  {:<36}", "jitter of clients' messages, mean")?;
        self.jitters_ms
            .iter()
            .try_for_each(|jitter| write!(f, "{jitter:>7.2}"))?;
        writeln!(f, "  ms")?;
        for sweep in self.sweeps.iter().filter(|sweep| sweep.authorities == n) {
            write!(f, "    {:<34}", sweep_name(sweep))?;
            let mut delays = sweep.delays.iter();
            delays.try_for_each(|delays| write!(f, "{:>7.2}", delays.mean_ms))?;
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_waits(&self, f: &mut fmt::Formatter<'_>, n: usize) -> fmt::Result {
        writeln!(
            f,
            "\nattacks on waiting, n = {n}, LAN: delay of 1,000 honest envelopes a second over {} s",
            self.seconds
        )?;
        writeln!(
            f,
            "  {:<28}{:^38}{:^26}   FairDAG-RL",
            "", "Fairlane: ms", "anchors"
        )?;
        writeln!(
            f,
            "  {:<28}{:>8}{:>8}{:>8}{:>8}{:>8}{:>6}{:>8}{:>6}{:>7}{:>9}{:>8}{:>12}",
            "",
            "mean",
            "added",
            "p99",
            "max",
            "mean",
            "max",
            "cuts",
            "caps",
            "group",
            "mean ms",
            "p99",
            "never"
        )?;
        let waits = || self.waits.iter().filter(|wait| wait.authorities == n);
        let unharmed = waits().next().map_or(0.0, |wait| wait.ours.mean_ms);
        for wait in waits() {
            let Delays {
                mean_ms,
                p99_ms,
                max_ms,
                mean_anchors,
                max_anchors,
                ..
            } = wait.ours;
            let rl = wait.fairdag_rl;
            let never = 100.0 * rl.never as f64 / rl.envelopes.max(1) as f64;
            writeln!(
                f,
                "  {:<28}{mean_ms:>8.2}{:>8.2}{p99_ms:>8.2}{max_ms:>8.2}{mean_anchors:>8.2}{max_anchors:>6}{:>8}{:>6}{:>7}{:>9.2}{:>8.2}{never:>11.1}%",
                wait.attack.name(),
                mean_ms - unharmed,
                wait.group_wait_cut,
                wait.cap_fired,
                wait.group_len_max,
                rl.mean_ms,
                rl.p99_ms,
            )?;
        }
        let lost: u64 = waits().map(|wait| wait.ours.never).sum();
        writeln!(f, "  never ordered by Fairlane: {lost}")
    }
}

/// As tables and plots name it.
pub fn sweep_name(sweep: &Sweep) -> String {
    let how = match sweep.lie {
        Lie::None => "all correct",
        Lie::Reverse => "f reverse",
        Lie::Delay => "f late",
        other => other.name(),
    };
    format!("{}, {how}", sweep.rule.name())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, seed {}", self.title, self.seed)?;
        for n in self.sizes() {
            for network in &self.networks {
                self.write_races(f, n, *network)?;
            }
            if self.sweeps.iter().any(|sweep| sweep.authorities == n) {
                self.write_sweeps(f, n)?;
            }
            if self.waits.iter().any(|wait| wait.authorities == n) {
                self.write_waits(f, n)?;
            }
        }
        Ok(())
    }
}
