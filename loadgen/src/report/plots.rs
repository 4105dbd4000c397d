//! The plots of a report, each an SVG that needs nothing else.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::LoadReport;
use crate::latencies::{Interval, Stage};
use crate::ticks::{one_two_five, short_number};

type Drawn = Result<String, String>;
type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Latency by percentile, a line a stage; the distance to 100 % shrinks tenfold from tick to tick.
pub(super) fn percentiles(report: &LoadReport) -> Drawn {
    let mut lines = Vec::new();
    for stage in Stage::ALL {
        let all = report.histogram(stage);
        let values = all.iter_quantiles(PERCENTILE_STEPS);
        let points = values.filter(|value| value.quantile_iterated_to() < 1.0);
        let points = points.map(|value| {
            let rest = 1.0 - value.quantile_iterated_to();
            (1.0 / rest, value.value_iterated_to() as f64 / 1e3)
        });
        let mut points: Vec<(f64, f64)> = points.collect();
        // The last value has no distance to 100 % to stand at: one of so many.
        points.push((all.len() as f64, all.max() as f64 / 1e3));
        if !all.is_empty() {
            lines.push((stage, points));
        }
    }
    let x_max = lines.iter().flat_map(|(_, points)| points).map(|p| p.0);
    let x_max = x_max.fold(10.0, f64::max) * 1.5;
    let values = lines.iter().flat_map(|(_, points)| points).map(|p| p.1);
    let (y_min, y_max) = values.fold((f64::MAX, 1.0f64), |(least, most), ms| {
        (least.min(ms), most.max(ms))
    });
    let y_min = if y_min < y_max { y_min.max(0.01) } else { 0.1 };
    let y = y_min * 0.8..y_max * 1.3;
    drawn(|root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(
                (1.0..x_max).log_scale(),
                y.clone().log_scale().with_key_points(one_two_five(&y)),
            )?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("percentile")
            .y_desc("ms from the planned send time")
            .x_label_formatter(&|x| percentile_name(*x))
            .y_label_formatter(&|ms| short_number(*ms))
            .label_style((FONT, 13))
            .draw()?;
        for (stage, points) in &lines {
            let color = color_of(*stage);
            let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
            let drawn = chart.draw_series(line)?;
            legend(drawn.label(stage.name()), color);
        }
        name_lines(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// How many were offered, accepted and settled in each second.
pub(super) fn throughput(report: &LoadReport) -> Drawn {
    let intervals = &report.outcome.intervals;
    let counts = [
        ("offered", GREY, &report.outcome.offered_by_second),
        (
            "accepted",
            color_of(Stage::Ack),
            &per_second(intervals, Stage::Ack),
        ),
        (
            "settled",
            color_of(Stage::Settled),
            &per_second(intervals, Stage::Settled),
        ),
    ];
    let lines = counts.map(|(name, color, counts)| Steps {
        name: name.to_owned(),
        color,
        points: steps(counts),
    });
    drawn(|root| draw_steps(root, &lines, "envelopes a second"))
}

/// Refusing answers in each second, a line a code.
pub(super) fn refusals(report: &LoadReport) -> Drawn {
    let seconds = &report.outcome.refusals_by_second;
    let codes = report.outcome.refusals_by_code.keys();
    let lines: Vec<Steps> = codes
        .zip(COLORS.into_iter().cycle())
        .map(|(code, color)| {
            let counts = seconds.iter().filter_map(|second| {
                let count = second.by_code.get(code)?;
                Some((second.second, *count))
            });
            Steps {
                name: code.clone(),
                color,
                points: steps(&counts.collect::<Vec<_>>()),
            }
        })
        .collect();
    drawn(|root| draw_steps(root, &lines, "refusing answers a second"))
}

/// A count that is the same all through a second.
struct Steps {
    name: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The corners of a line over `counts`, by second and ascending; a second that is not there counts nothing.
fn steps(counts: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut end = 0;
    for (second, count) in counts {
        if *second > end {
            points.extend([(end as f64, 0.0), (*second as f64, 0.0)]);
        }
        end = second + 1;
        points.extend([(*second as f64, *count as f64), (end as f64, *count as f64)]);
    }
    points
}

fn draw_steps<'b>(root: &Canvas<'b>, lines: &[Steps], y_desc: &str) -> Result<(), PlotError<'b>> {
    let all = lines.iter().flat_map(|line| &line.points);
    let (x_max, y_max) = all.fold((1.0f64, 1.0f64), |(x, y), point| {
        (x.max(point.0), y.max(point.1))
    });
    // Room above for the names.
    let mut chart = time_chart(root, x_max, y_max * 1.35, y_desc)?;
    for line in lines {
        let color = line.color;
        let series = LineSeries::new(line.points.iter().copied(), color.stroke_width(2));
        let drawn = chart.draw_series(series)?;
        legend(drawn.label(line.name.as_str()), color);
    }
    name_lines(&mut chart, SeriesLabelPosition::UpperRight)
}

/// Latency to settlement over time: the darker, the more envelopes.
pub(super) fn heat_map(report: &LoadReport) -> Drawn {
    let settled = report.outcome.intervals.iter();
    let settled: Vec<&Interval> = settled
        .filter(|interval| interval.stage == Stage::Settled)
        .collect();
    let end_us = settled
        .iter()
        .map(|interval| interval.start_us + interval.len_us);
    let x_max = end_us.max().unwrap_or(1_000_000) as f64 / 1e6;
    let values = settled.iter().flat_map(|interval| &interval.counts);
    let (least, most) = values.fold((f64::MAX, 0.0f64), |(least, most), (us, _)| {
        (least.min(*us as f64), most.max(*us as f64))
    });
    let least = if most == 0.0 { 1.0 } else { least.max(1.0) };
    let (low, high) = (least.ln(), (most.max(least * 1.1) * 1.02).ln());
    let row_of = |us: u64| {
        let part = ((us.max(1) as f64).ln() - low) / (high - low);
        (part * HEAT_ROWS as f64) as usize
    };
    let edge = |row: usize| (low + (high - low) * row as f64 / HEAT_ROWS as f64).exp() / 1e3;
    let y = edge(0)..edge(HEAT_ROWS);
    drawn(|root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(
                0.0..x_max,
                y.clone().log_scale().with_key_points(one_two_five(&y)),
            )?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("seconds after the start")
            .y_desc("ms to settlement")
            .y_label_formatter(&|ms| short_number(*ms))
            .label_style((FONT, 13))
            .draw()?;
        let columns: Vec<[u64; HEAT_ROWS]> = settled
            .iter()
            .map(|interval| {
                let mut rows = [0; HEAT_ROWS];
                for (us, count) in &interval.counts {
                    rows[row_of(*us).min(HEAT_ROWS - 1)] += count;
                }
                rows
            })
            .collect();
        let most = columns.iter().flatten().max().copied().unwrap_or(1).max(1);
        for (interval, rows) in settled.iter().zip(columns) {
            let from = interval.start_us as f64 / 1e6;
            let to = (interval.start_us + interval.len_us) as f64 / 1e6;
            for (row, count) in rows.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                let color = heat(count as f64 / most as f64);
                let corners = [(from, edge(row)), (to, edge(row + 1))];
                chart.draw_series([Rectangle::new(corners, color.filled())])?;
            }
        }
        let medians = settled.iter().map(|interval| {
            let middle = (interval.start_us + interval.len_us / 2) as f64 / 1e6;
            (middle, median_ms(interval).clamp(edge(0), edge(HEAT_ROWS)))
        });
        chart.draw_series(LineSeries::new(
            medians,
            color_of(Stage::Settled).stroke_width(2),
        ))?;
        Ok(())
    })
}

/// What each stage adds to the one before, at the median and at the 99th percentile.
pub(super) fn stages(report: &LoadReport) -> Drawn {
    let stages = report.outcome.latency_us.stages();
    let most = stages.iter().map(|(_, latency)| latency.p99).max();
    let x_max = most.unwrap_or(0).max(1) as f64 / 1e3 * 1.05;
    drawn(|root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..x_max, 0.0..2.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(0)
            .x_desc("ms from the planned send time")
            .label_style((FONT, 13))
            .draw()?;
        for (bottom, quantile) in [(1.0, 0usize), (0.0, 1)] {
            let mut from = 0.0;
            for (stage, latency) in stages {
                let to = [latency.p50, latency.p99][quantile] as f64 / 1e3;
                let color = color_of(stage);
                let corners = [(from, bottom + 0.25), (to.max(from), bottom + 0.75)];
                let bar = chart.draw_series([Rectangle::new(corners, color.filled())])?;
                if quantile == 0 {
                    legend(bar.label(stage.name()), color);
                }
                from = to.max(from);
            }
        }
        for (y, name) in [(1.5, "p50"), (0.5, "p99")] {
            let (x, y) = chart.backend_coord(&(0.0, y));
            let words = Text::new(name, (x - 34, y - 8), (FONT, 14).into_font());
            root.draw(&words)?;
        }
        name_lines(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

/// How many latencies to `stage` were noticed in each second that has any.
fn per_second(intervals: &[Interval], stage: Stage) -> Vec<(u64, u64)> {
    let of_stage = intervals.iter().filter(|interval| interval.stage == stage);
    let counts = of_stage.map(|interval| {
        let count = interval.counts.iter().map(|(_, count)| count).sum();
        (interval.start_us / 1_000_000, count)
    });
    counts.collect()
}

/// The median of a second, in ms.
fn median_ms(interval: &Interval) -> f64 {
    let all: u64 = interval.counts.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let at = interval.counts.iter().find(|(_, count)| {
        below += count;
        2 * below >= all
    });
    at.map_or(0.0, |(us, _)| *us as f64 / 1e3)
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type PlotError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn time_chart<'a, 'b>(
    root: &'a Canvas<'b>,
    x_max: f64,
    y_max: f64,
    y_desc: &str,
) -> Result<Chart<'a, 'b>, PlotError<'b>> {
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds after the start")
        .y_desc(y_desc)
        .y_label_formatter(&|count| format!("{count:.0}"))
        .label_style((FONT, 13))
        .draw()?;
    Ok(chart)
}

fn legend<'a, 'b, DB: DrawingBackend + 'a>(
    series: &mut plotters::chart::SeriesAnno<'a, DB>,
    color: RGBColor,
) {
    series.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
}

fn name_lines<'a, 'b, CT>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, CT>,
    position: SeriesLabelPosition,
) -> Result<(), PlotError<'b>>
where
    'b: 'a,
    CT: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 13))
        .draw()
}

fn drawn(draw: impl for<'a, 'b> FnOnce(&'a Canvas<'b>) -> Result<(), PlotError<'b>>) -> Drawn {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let wrong = |error: PlotError<'_>| error.to_string();
        root.fill(&WHITE).map_err(wrong)?;
        draw(&root).map_err(wrong)?;
        root.present().map_err(wrong)?;
    }
    Ok(text)
}

/// The percentile at 1 / (1 - q).
fn percentile_name(inverse: f64) -> String {
    match inverse {
        x if x < 1.5 => "0".to_owned(),
        x => {
            let nines = x.log10().round() as usize;
            let percent = 100.0 * (1.0 - 10f64.powi(-(nines as i32)));
            format!("{percent:.*}", nines.saturating_sub(2))
        }
    }
}

/// White to dark blue, faster at the start so that a single envelope is seen.
fn heat(part: f64) -> RGBColor {
    let part = part.clamp(0.0, 1.0).powf(0.4);
    let mixed = |light: f64, dark: f64| (light + (dark - light) * part) as u8;
    RGBColor(mixed(235.0, 8.0), mixed(243.0, 48.0), mixed(251.0, 107.0))
}

/// Told apart by most eyes: Okabe and Ito.
const fn color_of(stage: Stage) -> RGBColor {
    match stage {
        Stage::Ack => RGBColor(0, 114, 178),
        Stage::Receipt => RGBColor(230, 159, 0),
        Stage::Ordered => RGBColor(0, 158, 115),
        Stage::Settled => RGBColor(213, 94, 0),
    }
}

/// For what is neither good nor bad.
const GREY: RGBColor = RGBColor(120, 120, 120);
/// Codes of refusals, in turn.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    GREY,
];
const SIZE: (u32, u32) = (760, 360);
const FONT: &str = "sans-serif";
/// Rows of the heat map.
const HEAT_ROWS: usize = 48;
/// Points of the percentile curve to each halving of the distance to 100 %.
const PERCENTILE_STEPS: u32 = 8;
