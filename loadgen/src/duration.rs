//! Times as users write them.

use std::time::Duration;

/// Reads 10s, 500ms, 2m, 24h; a bare number is seconds. Errors: what is none, in a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a time is a number with us, ms, s, m or h, like 10s".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "a time is a number with us, ms, s, m or h, like 10s".to_owned())?;
    let duration = Duration::try_from_secs_f64(number * seconds);
    let duration = duration.map_err(|_| "a time is above 0 and at most a day".to_owned())?;
    if duration.is_zero() || duration > Duration::from_secs(86_400) {
        return Err("a time is above 0 and at most a day".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_written() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("0s").is_err() && parse_duration("1d").is_err());
        assert!(parse_duration("-1s").is_err() && parse_duration("NaN").is_err());
    }
}
