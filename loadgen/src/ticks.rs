//! Where a logarithmic axis is marked.

use std::ops::Range;

/// 1, 2 and 5 of each decade within `range`, which is positive; fewer or more where that is too many or too few.
pub fn one_two_five(range: &Range<f64>) -> Vec<f64> {
    let steps: &[f64] = match range.end / range.start {
        ratio if ratio > 3e3 => &[1.0],
        ratio if ratio > 12.0 => &[1.0, 2.0, 5.0],
        ratio if ratio > 3.0 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
        _ => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
    };
    let decades = range.start.log10().floor() as i32..=range.end.log10().floor() as i32;
    decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
        .filter(|tick| range.contains(tick))
        .collect()
}

/// As few digits as tell ticks apart.
pub fn short_number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        let labels = |range| {
            let ticks = one_two_five(&range).into_iter();
            ticks.map(short_number).collect::<Vec<_>>()
        };
        assert_eq!(labels(6.4..120.0), ["10", "20", "50", "100"]);
        assert_eq!(labels(12.0..95.0), ["15", "20", "30", "50", "70"]);
        assert_eq!(labels(0.7..3.1), ["0.7", "1", "1.5", "2", "3"]);
        assert_eq!(labels(11.0..21.0), ["12", "15", "20"]);
        assert_eq!(
            labels(0.5..900.0),
            ["0.5", "1", "2", "5", "10", "20", "50", "100", "200", "500"]
        );
        assert_eq!(labels(0.5..90_000.0), ["1", "10", "100", "1000", "10000"]);
    }
}
