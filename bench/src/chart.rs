//! Line charts, side by side under a title, with the colors named at the right; an SVG that needs nothing else.

use std::ops::Range;

use anyhow::anyhow;
use fairlane_loadgen::ticks::one_two_five;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// What the axes say, the same for every chart of a picture.
pub(crate) struct Axes {
    pub(crate) x_title: &'static str,
    pub(crate) x_label: fn(&f64) -> String,
    pub(crate) y: Range<f64>,
    pub(crate) y_ticks: Vec<f64>,
    pub(crate) y_label: fn(&f64) -> String,
    /// Whether points are marked, as where there are few.
    pub(crate) dots: bool,
}

/// Ticks of an axis of the logarithm, to base 10, of what it shows.
pub(crate) fn logarithmic_ticks(y: &Range<f64>) -> Vec<f64> {
    let shown = 10f64.powf(y.start)..10f64.powf(y.end);
    let ticks = one_two_five(&shown).into_iter();
    ticks.map(f64::log10).collect()
}

/// An axis with ticks of its own; plotters' way to have them takes no range of `f64`, whose labels have a format.
struct Marked {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

/// One line.
pub(crate) struct Series {
    /// Empty: not in the legend.
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) points: Vec<(f64, f64)>,
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A picture under a title: panels side by side, each a chart of its series, and at the right what the colors mean.
pub(crate) fn drawn(
    title: &str,
    axes: &Axes,
    panels: &[(String, Vec<Series>)],
) -> anyhow::Result<String> {
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
        .build_cartesian_2d(
            0.0..x_most,
            Marked {
                range: axes.y.clone().into(),
                ticks: axes.y_ticks.clone(),
            },
        )
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(axes.x_title)
        .x_label_formatter(&axes.x_label)
        .y_label_formatter(&axes.y_label)
        .label_style((FONT, 13))
        .draw()
        .map_err(wrong)?;
    for series in series {
        let points = || series.points.iter().copied();
        let line = LineSeries::new(points(), series.color.stroke_width(2));
        chart.draw_series(line).map_err(wrong)?;
        if !axes.dots {
            continue;
        }
        let dots = points().map(|point| Circle::new(point, 2, series.color.filled()));
        chart.draw_series(dots).map_err(wrong)?;
    }
    Ok(())
}

/// Says which color is whose, a line a series.
fn name(area: &Panel<'_>, series: &[Series]) -> anyhow::Result<()> {
    let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    let named = series.iter().filter(|series| !series.name.is_empty());
    for (at, series) in (0..).zip(named) {
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
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];
