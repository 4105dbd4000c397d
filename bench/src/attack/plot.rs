//! The pictures: who comes first by gap, and what waiting costs by jitter. Each is an SVG that needs nothing else.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::delay::Sweep;
use super::report::{Report, sweep_name};
use super::rules::Rule;

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
        y: 0.0..100.0,
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
    let axes = Axes {
        x_title: "jitter of clients' messages, mean, ms",
        y: least.floor()..most.ceil(),
    };
    let title = format!("Ordering delay after a quorum's listing, mean, ms (n = {n}, LAN)");
    drawn(
        &title,
        &axes,
        &[(String::from("1,000 envelopes a second"), series)],
    )
}

struct Axes {
    x_title: &'static str,
    y: std::ops::Range<f64>,
}

struct Series {
    name: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn points(x: &[f64], y: &[f64], scale: f64) -> Vec<(f64, f64)> {
    x.iter().copied().zip(y.iter().map(|y| y * scale)).collect()
}

/// A picture under a title: panels side by side, each a chart of its series, and at the right what the colors mean.
fn drawn(title: &str, axes: &Axes, panels: &[(String, Vec<Series>)]) -> anyhow::Result<String> {
    let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    let charts_width = CHART_WIDTH * panels.len() as u32;
    let mut text = String::new();
    {
        let size = (charts_width + LEGEND_WIDTH, HEIGHT);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(wrong)?;
        let below = root.titled(title, (FONT, 17)).map_err(wrong)?;
        let (charts, legend) = below.split_horizontally(charts_width);
        let charts = charts.split_evenly((1, panels.len()));
        for (chart, (title, series)) in charts.iter().zip(panels) {
            draw(chart, title, axes, series)?;
        }
        if let Some((_, series)) = panels.first() {
            name(&legend, series)?;
        }
        root.present().map_err(wrong)?;
    }
    Ok(text)
}

fn draw(panel: &Panel<'_>, title: &str, axes: &Axes, series: &[Series]) -> anyhow::Result<()> {
    let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    let x_most = series.iter().flat_map(|series| &series.points);
    let x_most = x_most.map(|point| point.0).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, (FONT, 14))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..x_most, axes.y.clone())
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(axes.x_title)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style((FONT, 13))
        .draw()
        .map_err(wrong)?;
    for series in series {
        let points = || series.points.iter().copied();
        let line = LineSeries::new(points(), series.color.stroke_width(2));
        chart.draw_series(line).map_err(wrong)?;
        let dots = points().map(|point| Circle::new(point, 2, series.color.filled()));
        chart.draw_series(dots).map_err(wrong)?;
    }
    Ok(())
}

/// Says which color is whose, a line a series.
fn name(area: &Panel<'_>, series: &[Series]) -> anyhow::Result<()> {
    let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    for (at, series) in (0..).zip(series) {
        let y = 48 + 24 * at;
        let line = PathElement::new([(0, y), (20, y)], series.color.stroke_width(3));
        area.draw(&line).map_err(wrong)?;
        let font = (FONT, 13).into_font();
        let words = Text::new(series.name.clone(), (28, y - 7), font);
        area.draw(&words).map_err(wrong)?;
    }
    Ok(())
}

const CHART_WIDTH: u32 = 520;
const LEGEND_WIDTH: u32 = 190;
const HEIGHT: u32 = 440;

const FONT: &str = "sans-serif";

/// Told apart by most eyes: Okabe and Ito.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];

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
