//! The page of a saturation: latency against throughput, a line a committee, and the steps as tables.
//!
//! One HTML file that needs nothing else: no script, no font and no picture from elsewhere.

use std::fmt::Write as _;

use fairlane_loadgen::ticks::short_number;

use super::Saturation;
use super::knee::{Curve, Step};
use crate::chart::{Axes, COLORS, Series, drawn, logarithmic_ticks};
use crate::e2e::page::{escaped, head};

/// Draws the page. Errors: a picture that cannot be drawn.
pub fn page(all: &Saturation) -> anyhow::Result<String> {
    let mut html = head("saturate") + "<h1>Latency against throughput</h1>\n";
    writeln!(
        html,
        "<p>{}; commit {}; {} s a step. {}.</p>",
        escaped(&all.host.to_string()),
        escaped(&all.commit),
        all.step_s,
        escaped(&all.rule.to_string())
    )?;
    let curves: Vec<(String, &Curve)> = (all.saturated.iter())
        .map(|of| (of.cell.to_string(), &of.curve))
        .collect();
    writeln!(
        html,
        "<figure>{}</figure>",
        picture(
            "Settled latency, ms, against settled envelopes a second",
            &curves
        )?
    )?;
    for (name, curve) in &curves {
        let knee = curve.knee().map_or("none".to_owned(), |knee| {
            format!("{:.0} a second", knee.rate)
        });
        writeln!(html, "<h2>{}: knee {knee}</h2>", escaped(name))?;
        table(&mut html, curve)?;
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

/// Two panels, p50 and p99 on a logarithmic scale, a color a curve; an upright line where each has its knee.
pub(crate) fn picture(title: &str, curves: &[(String, &Curve)]) -> anyhow::Result<String> {
    let ms = |us: u64| (us.max(1) as f64 / 1e3).log10();
    let steps = || curves.iter().flat_map(|(_, curve)| curve.by_rate());
    let least = steps().map(|step| ms(step.p50_us)).fold(1.0, f64::min) - 0.1;
    let most = steps()
        .map(|step| ms(step.p99_us))
        .fold(least + 0.5, f64::max)
        + 0.1;
    let panel = |latency: fn(&Step) -> u64| -> Vec<Series> {
        let mut series = Vec::new();
        for ((name, curve), color) in curves.iter().zip(COLORS.iter().cycle()) {
            let points = curve.by_rate().into_iter();
            series.push(Series {
                name: name.clone(),
                color: *color,
                points: points
                    .map(|step| (step.settled_tps, ms(latency(step))))
                    .collect(),
            });
            if let Some(knee) = curve.knee() {
                series.push(Series {
                    name: String::new(),
                    color: *color,
                    points: vec![(knee.settled_tps, least), (knee.settled_tps, most)],
                });
            }
        }
        series
    };
    let axes = Axes {
        x_title: "settled envelopes a second; upright: the knee",
        x_label: |rate| format!("{rate:.0}"),
        y: least..most,
        y_ticks: logarithmic_ticks(&(least..most)),
        y_label: |exponent| short_number(10f64.powf(*exponent)),
        dots: true,
    };
    let panels = [
        ("p50".to_owned(), panel(|step| step.p50_us)),
        ("p99".to_owned(), panel(|step| step.p99_us)),
    ];
    drawn(title, &axes, &panels)
}

fn table(html: &mut String, curve: &Curve) -> std::fmt::Result {
    html.push_str(
        "<table><thead><tr><th>offered/s<th>settled/s<th>in time/s<th>in time<th>p50, ms<th>p99, ms<th>p99.9, ms\
         <th>refused<th>lost<th>CPU, us an envelope<th></tr></thead>\n",
    );
    for step in curve.by_rate() {
        let ms = |us: u64| us as f64 / 1e3;
        writeln!(
            html,
            "<tr><td>{:.0}<td>{:.0}<td>{:.0}<td>{:.2} %<td>{:.2}<td>{:.2}<td>{:.2}<td>{}<td>{}<td>{:.0}<td>{}</tr>",
            step.rate,
            step.settled_tps,
            step.goodput_tps,
            100.0 * step.in_time,
            ms(step.p50_us),
            ms(step.p99_us),
            ms(step.p999_us),
            step.refused,
            step.lost,
            step.cpu_us,
            if step.holds { "holds" } else { "fails" }
        )?;
    }
    html.push_str("</table>\n");
    Ok(())
}
