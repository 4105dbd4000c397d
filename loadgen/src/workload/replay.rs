//! Replays a recorded market: a gzipped CSV file of trades, with its own timing, faster, or at an even rate.
//!
//! Columns, named in the first line: [`HEADER`]. receive_time_ns counts nanoseconds since the Unix epoch and does not
//! go back; symbol has 1 to 12 visible characters; kind is `trade`; side is `buy` or `sell`; price and quantity are
//! decimal numbers with at most 8 decimals, above zero; trade_id is an integer. A malformed line is an error that names
//! the file, the line and the column; nothing is skipped or guessed.
//!
//! Cost: a streaming read; memory for one line, whatever the length of the file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{Arrival, Pace, Workload, WorkloadError};
use crate::content::Content;
use crate::record::{RecordKind, Side, Symbol, TradeRecord};

/// A trace being replayed.
#[derive(Debug)]
pub struct Replay {
    lines: Lines,
    pace: Pace,
    end_us: Option<u64>,
    sequence: u64,
    first_time_ns: Option<u64>,
    last_time_ns: u64,
}

impl Replay {
    /// Opens the trace at `path`; arrivals from `end_us` on are left out.
    ///
    /// Errors: the file cannot be read, is not gzip, or has another header; a pace that is none.
    pub fn open(path: &Path, pace: Pace, end_us: Option<u64>) -> Result<Self, WorkloadError> {
        Ok(Self {
            pace: pace.validate()?,
            lines: Lines::open(path)?,
            end_us,
            sequence: 0,
            first_time_ns: None,
            last_time_ns: 0,
        })
    }

    /// Reads the whole trace at `path` once, so that a malformed line is found before anything is started.
    ///
    /// Errors: as [`Replay::open`], any malformed line, or no events.
    pub fn survey(path: &Path) -> Result<TraceSummary, WorkloadError> {
        let mut replay = Self::open(path, Pace::Speed(1.0), None)?;
        while replay.next_arrival()?.is_some() {}
        let Some(first_time_ns) = replay.first_time_ns else {
            return Err(WorkloadError::Empty {
                path: replay.lines.path,
            });
        };
        Ok(TraceSummary {
            events: replay.sequence,
            span_us: (replay.last_time_ns - first_time_ns) / 1_000,
        })
    }

    fn parse(&self, line: &str) -> Result<TradeRecord, WorkloadError> {
        let mut fields = Fields {
            rest: Some(line),
            lines: &self.lines,
        };
        let source_time_ns =
            fields.next("receive_time_ns", "an integer", |text| text.parse().ok())?;
        if source_time_ns < self.last_time_ns {
            let back = self.last_time_ns - source_time_ns;
            return Err(self.lines.malformed(
                "receive_time_ns",
                format!("goes back by {back} ns, but a trace is in order of time"),
            ));
        }
        let symbol = fields.next("symbol", "1 to 12 visible characters", Symbol::new)?;
        let kind = fields.next("kind", "`trade`", |text| {
            (text == "trade").then_some(RecordKind::Trade)
        })?;
        let side = fields.next("side", "`buy` or `sell`", |text| match text {
            "buy" => Some(Side::Buy),
            "sell" => Some(Side::Sell),
            _ => None,
        })?;
        let price_e8 = fields.next("price", DECIMAL, parse_decimal_e8)?;
        let quantity_e8 = fields.next("quantity", DECIMAL, parse_decimal_e8)?;
        let reference = fields.next("trade_id", "an integer", |text| text.parse().ok())?;
        fields.finish()?;
        Ok(TradeRecord {
            kind,
            side: Some(side),
            symbol,
            sequence: self.sequence,
            source_time_ns,
            price_e8,
            quantity_e8,
            reference,
        })
    }
}

impl Workload for Replay {
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError> {
        let Some(line) = self.lines.next_line()? else {
            return Ok(None);
        };
        let record = self.parse(&line)?;
        let first = *self.first_time_ns.get_or_insert(record.source_time_ns);
        let at_us = self
            .pace
            .due_us(self.sequence, record.source_time_ns - first);
        if self.end_us.is_some_and(|end| at_us >= end) {
            return Ok(None);
        }
        self.last_time_ns = record.source_time_ns;
        self.sequence += 1;
        let content = Content::Trade(record);
        Ok(Some(Arrival::new(at_us, content)))
    }
}

/// What a trace holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSummary {
    /// How many events.
    pub events: u64,
    /// From the first to the last, in microseconds.
    pub span_us: u64,
}

/// The first line of every trace.
pub const HEADER: &str = "receive_time_ns,symbol,kind,side,price,quantity,trade_id";

/// The lines of a gzipped file after its header, with their numbers.
#[derive(Debug)]
struct Lines {
    path: String,
    reader: BufReader<MultiGzDecoder<BufReader<File>>>,
    /// Number of the line read last, from 1.
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, WorkloadError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| WorkloadError::Read {
            path: name.clone(),
            reason: error.to_string(),
        })?;
        let mut lines = Self {
            path: name,
            reader: BufReader::new(MultiGzDecoder::new(BufReader::new(file))),
            number: 0,
        };
        let found = lines.next_line()?.unwrap_or_default();
        if found != HEADER {
            return Err(WorkloadError::Header {
                path: lines.path,
                found,
            });
        }
        Ok(lines)
    }

    /// The next line without its end; `None` at the end of the file.
    fn next_line(&mut self) -> Result<Option<String>, WorkloadError> {
        self.number += 1;
        let mut line = Vec::new();
        // One byte more than allowed, so that a longer line is told from one that just fits.
        let mut limited = (&mut self.reader).take(LINE_LEN_MAX + 1);
        let read = limited.read_until(b'\n', &mut line);
        read.map_err(|error| WorkloadError::Read {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() as u64 > LINE_LEN_MAX {
            let reason = format!("the line is longer than {LINE_LEN_MAX} bytes");
            return Err(self.malformed("receive_time_ns", reason));
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        match String::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(_) => Err(self.malformed("receive_time_ns", "the line is not text".to_owned())),
        }
    }

    fn malformed(&self, column: &'static str, reason: String) -> WorkloadError {
        WorkloadError::Line {
            path: self.path.clone(),
            line: self.number,
            column,
            reason,
        }
    }
}

/// The comma-separated fields of one line.
struct Fields<'a> {
    rest: Option<&'a str>,
    lines: &'a Lines,
}

impl<'a> Fields<'a> {
    /// The next field, which must be `wanted`.
    fn next<T>(
        &mut self,
        column: &'static str,
        wanted: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, WorkloadError> {
        let Some(rest) = self.rest else {
            let reason = "is missing, the line ends before it".to_owned();
            return Err(self.lines.malformed(column, reason));
        };
        let (text, rest) = match rest.split_once(',') {
            Some((text, rest)) => (text, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        parse(text).ok_or_else(|| {
            let reason = format!("{text:?} is not {wanted}");
            self.lines.malformed(column, reason)
        })
    }

    fn finish(self) -> Result<(), WorkloadError> {
        match self.rest {
            None => Ok(()),
            Some(rest) => {
                let reason = format!("{rest:?} follows the last column");
                Err(self.lines.malformed("trade_id", reason))
            }
        }
    }
}

/// A decimal number as a multiple of 10^-8: digits, perhaps a point and 1 to 8 digits; above zero and below 2^64.
fn parse_decimal_e8(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 8 {
        return None;
    }
    let scale = 10u64.pow(8 - decimals.len() as u32);
    let decimals = decimals.parse::<u64>().ok()? * scale;
    let whole = whole.parse::<u64>().ok()?.checked_mul(100_000_000)?;
    whole.checked_add(decimals).filter(|value| *value > 0)
}

const DECIMAL: &str = "a decimal number above 0 with at most 8 decimals";
/// Longest line, in bytes with its end.
const LINE_LEN_MAX: u64 = 256;

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
