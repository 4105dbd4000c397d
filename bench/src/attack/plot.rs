//! The pictures: who comes first by gap, and what waiting costs by jitter. Each is an SVG that needs nothing else.

use plotters::coord::ranged1d::Ranged as _;
use plotters::coord::types::RangedCoordf64;

use super::delay::Sweep;
use super::report::{Report, sweep_name};
use super::rules::Rule;
use crate::chart::{Axes, COLORS, Series, drawn};

/// The share of attackers that come first, by gap: all correct at the left, f liars at the right.
pub fn race(report: &Report, n: usize, (network, words): (&str, &str)) -> anyhow::Result<String> {
    let series = |at: usize| -> Vec<Series> {
        let of = |(place, rule): (usize, &Rule)| Series {
            name: rule.name().to_owned(),
            color: COLORS[place],
            points: points(
                &report.gaps_ms,
                &report.shares(n, network, *rule)[at],
                100.0,
            ),
        };
        Rule::ALL.iter().enumerate().map(of).collect()
    };
    let faulty = (n - 1) / 3;
    let axes = Axes {
        x_title: "sent after the victim, ms",
        x_label: plain,
        y: 0.0..100.0,
        y_ticks: (0..=10).map(|tenth| f64::from(tenth) * 10.0).collect(),
        y_label: whole,
        dots: true,
    };
    let lied =
        format!("{faulty} of {n} authorities help the attacker, by the best lie at each gap");
    let panels = [
        (format!("all {n} authorities correct"), series(0)),
        (lied, series(1)),
    ];
    let title = format!("Attacker ordered before its victim, % ({})", words);
    drawn(&title, &axes, &panels)
}

/// Mean ordering delay by jitter.
pub fn delay(report: &Report, n: usize) -> anyhow::Result<String> {
    let of = |(place, sweep): (usize, &Sweep)| {
        let delays: Vec<f64> = sweep.delays.iter().map(|delays| delays.mean_ms).collect();
        Series {
            name: sweep_name(sweep),
            color: COLORS[place],
            points: points(&report.jitters_ms, &delays, 1.0),
        }
    };
    let sweeps = report.sweeps.iter().filter(|sweep| sweep.authorities == n);
    let series: Vec<Series> = sweeps.enumerate().map(of).collect();
    let heights = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.1)
    };
    let (least, most) = (heights().fold(0.0, f64::min), heights().fold(1.0, f64::max));
    let y = least.floor()..most.ceil();
    let axes = Axes {
        x_title: "jitter of clients' messages, mean, ms",
        x_label: plain,
        y_ticks: RangedCoordf64::from(y.clone()).key_points(10),
        y,
        y_label: whole,
        dots: true,
    };
    let title = format!("Ordering delay after a quorum's listing, mean, ms (n = {n}, LAN)");
    drawn(
        &title,
        &axes,
        &[(String::from("1,000 envelopes a second"), series)],
    )
}

fn plain(x: &f64) -> String {
    format!("{x}")
}

fn whole(y: &f64) -> String {
    format!("{y:.0}")
}

fn points(x: &[f64], y: &[f64], scale: f64) -> Vec<(f64, f64)> {
    x.iter().copied().zip(y.iter().map(|y| y * scale)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::waiting::Attack;
    use super::super::{AttackPlan, run};
    use super::*;

    #[test]
    fn pictures_name_every_rule_and_ask_for_nothing_from_elsewhere() {
        let plan = AttackPlan {
            authorities: vec![4],
            pairs: 2,
            attacks: vec![Attack::Condorcet],
            seconds: 1,
            seed: 1,
        };
        let report = run(&plan, &mut |_| {});
        let race = race(&report, 4, report.networks[1]).expect("a picture");
        for rule in Rule::ALL {
            // SVG writes an apostrophe as an entity.
            let name = rule.name().replace('\'', "&apos;");
            assert!(race.contains(&name), "{name}");
        }
        let delay = delay(&report, 4).expect("a picture");
        assert!(delay.contains("f reverse"));
        for picture in [race, delay] {
            assert!(picture.trim_end().ends_with("</svg>"));
            let links = picture.replace("http://www.w3.org/2000/svg", "");
            assert!(!links.contains("http") && !links.contains("href"));
            assert!(picture.matches("<polyline").count() >= 6);
        }
        let text = report.to_string();
        assert!(text.contains("attacks on waiting, n = 4"), "{text}");
        assert_eq!(
            text,
            run(&plan, &mut |_| {}).to_string(),
            "the same seed, the same text"
        );
    }
}
