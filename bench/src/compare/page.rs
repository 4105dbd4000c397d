//! The page of two reports: what was said in words, as a table, and both curves in one picture.
//!
//! One HTML file that needs nothing else: no script, no font and no picture from elsewhere.

use std::fmt::Write as _;
use std::path::Path;

use super::{Comparison, Pair, common};
use crate::chart::COLORS;
use crate::e2e::Side;
use crate::e2e::page::{curve_series, escaped, head, percentiles};
use crate::saturate::page::picture;

/// Draws the page. Errors: a log of a run of `e2e`, which lies beside its report, cannot be read.
pub fn page(pair: &Pair, comparison: &Comparison) -> anyhow::Result<String> {
    let mut html = head("compare") + "<h1>Two reports</h1>\n";
    writeln!(
        html,
        "<p>A: {}<br>B: {}</p>",
        escaped(&comparison.a),
        escaped(&comparison.b)
    )?;
    for warning in &comparison.warnings {
        writeln!(html, "<p>Note: {}</p>", escaped(warning))?;
    }
    html.push_str("<table class=\"names\"><thead><tr><th>cell<th>figure<th>B against A<th>A<th>B</tr></thead>\n");
    for line in &comparison.lines {
        let [a, b] = line.medians;
        writeln!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{a:.2}<td>{b:.2}</tr>",
            escaped(&line.cell),
            line.figure,
            escaped(&line.words())
        )?;
    }
    html.push_str("</table>\n");
    match pair {
        Pair::E2e(pair) => {
            let [a, b] = &**pair;
            let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_path_buf();
            for cell in common(&a.report, &b.report) {
                let mut series = Vec::new();
                for (name, of, color) in [("A", a, COLORS[1]), ("B", b, COLORS[0])] {
                    let runs = of.report.of(cell, Side::Current);
                    series.extend(curve_series(name, color, &runs, &folder(&of.path))?);
                }
                let drawn = percentiles(&cell.name(), series)?;
                writeln!(html, "<figure>{drawn}</figure>")?;
            }
        }
        Pair::Saturation(pair) => {
            let [a, b] = &**pair;
            for one in &a.report.saturated {
                let others = b.report.saturated.iter();
                for other in others.filter(|other| other.cell == one.cell) {
                    let curves = [("A".to_owned(), &one.curve), ("B".to_owned(), &other.curve)];
                    let title = format!("Settled latency, ms, against settled/s: {}", one.cell);
                    writeln!(html, "<figure>{}</figure>", picture(&title, &curves)?)?;
                }
            }
        }
    }
    html.push_str("</body></html>\n");
    Ok(html)
}
