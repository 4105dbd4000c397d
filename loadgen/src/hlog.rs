//! Latencies second by second as an HdrHistogram log, which the standard tools of HdrHistogram read.
//!
//! Format: the interval log of the Java `HistogramLogWriter`, version 1.3, with V2 compressed histograms. One line an
//! interval and stage; the stage's name is the line's tag. Values are microseconds; the readable maximum of a line is
//! in milliseconds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::latencies::{Interval, histogram};
use crate::outcome::LoadOutcome;

/// Writes the intervals of a run that began at `start`; `comments` lead the file.
///
/// Errors: what `out` fails with.
pub fn write(
    out: &mut impl Write,
    start: SystemTime,
    comments: &[String],
    intervals: &[Interval],
) -> std::io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]");
    for comment in comments {
        builder.add_comment(comment);
    }
    builder
        .add_comment("latencies in microseconds from the planned send time; the maximum of a line in milliseconds")
        .with_base_time(start)
        .with_start_time(start)
        .with_max_value_divisor(1_000.0);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for interval in intervals {
        log.write_histogram(
            &histogram_of(interval),
            Duration::from_micros(interval.start_us),
            Duration::from_micros(interval.len_us),
            Tag::new(interval.stage.name()),
        )
        .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}

/// Writes the latencies of a run to a file, as [`write`]. Errors: what the file system says.
pub fn write_file(path: &Path, comments: &[String], outcome: &LoadOutcome) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(outcome.start_us);
    write(&mut file, start, comments, &outcome.intervals)?;
    file.flush()
}

/// One line of a log.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its tag, if it has one.
    pub tag: Option<String>,
    /// When it began, since the time that the log counts from.
    pub start: Duration,
    /// How long it is.
    pub len: Duration,
    /// What was measured in it.
    pub histogram: Histogram<u64>,
}

/// Reads a log, also one that another program wrote; any encoding of HdrHistogram, compressed or not.
///
/// Errors: the number of the interval that cannot be read, from 1, in a sentence.
pub fn read(log: &[u8]) -> Result<Vec<Line>, String> {
    let mut deserializer = Deserializer::new();
    let mut lines = Vec::new();
    for entry in IntervalLogIterator::new(log) {
        let number = lines.len() + 1;
        let LogEntry::Interval(interval) =
            entry.map_err(|_| format!("interval {number} is no line of an HdrHistogram log"))?
        else {
            continue;
        };
        let bytes = STANDARD
            .decode(interval.encoded_histogram())
            .map_err(|error| format!("interval {number} is no base64: {error}"))?;
        let histogram = deserializer
            .deserialize(&mut &bytes[..])
            .map_err(|error| format!("interval {number} holds no histogram: {error}"))?;
        lines.push(Line {
            tag: interval.tag().map(|tag| tag.as_str().to_owned()),
            start: interval.start_timestamp(),
            len: interval.duration(),
            histogram,
        });
    }
    Ok(lines)
}

fn histogram_of(interval: &Interval) -> Histogram<u64> {
    let mut all = histogram();
    for (latency_us, count) in &interval.counts {
        all.saturating_record_n(*latency_us, *count);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::Stage;

    #[test]
    fn a_log_reads_back_as_what_was_recorded() {
        let intervals = [
            Interval {
                stage: Stage::Ack,
                start_us: 0,
                len_us: 1_000_000,
                counts: vec![(380, 3), (920, 1)],
            },
            Interval {
                stage: Stage::Settled,
                start_us: 3_000_000,
                len_us: 1_000_000,
                counts: vec![(10_303, 250)],
            },
        ];
        let mut log = Vec::new();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        write(&mut log, start, &["commit 0".to_owned()], &intervals).expect("memory");

        let text = String::from_utf8(log.clone()).expect("text");
        assert!(
            text.starts_with("#[Histogram log format version 1.3]\n#commit 0\n"),
            "{text}"
        );
        assert!(text.contains("#[BaseTime: 1700000000.000 (seconds since epoch)]\n"));
        let lines = read(&log).expect("a log");
        assert_eq!(lines.len(), intervals.len());
        for (line, interval) in lines.iter().zip(&intervals) {
            assert_eq!(line.tag.as_deref(), Some(interval.stage.name()));
            assert_eq!(line.start, Duration::from_micros(interval.start_us));
            assert_eq!(line.len, Duration::from_secs(1));
            assert_eq!(line.histogram, histogram_of(interval));
        }
    }

    #[test]
    fn what_is_no_log_is_refused_with_the_interval() {
        let refuse = |text: &str, words: &str| {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(error.contains(words), "{error}");
        };
        refuse("p50=10\n", "interval 1 is no line");
        refuse("Tag=a,0.1,1.0,2.7,???\n", "interval 1 is no base64");
        refuse(
            "Tag=a,0.1,1.0,2.7,aGVsbG8gd29ybGQ=\n",
            "interval 1 holds no histogram",
        );
        assert!(
            read(b"#[nothing measured]\n")
                .expect("an empty log")
                .is_empty()
        );
    }
}
