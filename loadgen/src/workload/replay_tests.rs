//! Traces that are well-formed, malformed in every column, and the real one where it is at hand.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const LINES: &str = "\
1000000,BTCUSDT,trade,buy,61800.30,0.006,5266583935
1050000,BTCUSDT,trade,sell,61800.3,1,5266583936
3000000,ETHUSDT,trade,buy,2500,0.00000001,7
";

struct Trace {
    folder: tempfile::TempDir,
}

impl Trace {
    fn new(text: &str) -> Self {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        Self::of_bytes(&gz.finish().unwrap())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trace.csv.gz"), bytes).unwrap();
        Self { folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("trace.csv.gz")
    }

    fn arrivals(&self, pace: Pace, end_us: Option<u64>) -> Vec<Arrival> {
        let mut replay = Replay::open(&self.path(), pace, end_us).unwrap();
        std::iter::from_fn(|| replay.next_arrival().unwrap()).collect()
    }
}

#[test]
fn events_come_with_their_own_timing_and_content() {
    let trace = Trace::new(&format!("{HEADER}\n{LINES}"));
    let arrivals = trace.arrivals(Pace::Speed(1.0), None);
    let times: Vec<u64> = arrivals.iter().map(|arrival| arrival.at_us).collect();
    assert_eq!(times, [0, 50, 2_000]);
    let record = TradeRecord {
        kind: RecordKind::Trade,
        side: Some(Side::Sell),
        symbol: Symbol::new("BTCUSDT").unwrap(),
        sequence: 1,
        source_time_ns: 1_050_000,
        price_e8: 6_180_030_000_000,
        quantity_e8: 100_000_000,
        reference: 5_266_583_936,
    };
    assert_eq!(*arrivals[1].content.trade().unwrap(), record);
    assert_eq!(arrivals[2].content.trade().unwrap().quantity_e8, 1);
    let survey = Replay::survey(&trace.path()).unwrap();
    assert_eq!((survey.events, survey.span_us), (3, 2_000));
}

#[test]
fn a_pace_and_an_end_are_kept_and_windows_line_ends_are_fine() {
    let trace = Trace::new(&format!("{HEADER}\n{LINES}").replace('\n', "\r\n"));
    let times = |pace, end_us| -> Vec<u64> {
        trace
            .arrivals(pace, end_us)
            .iter()
            .map(|arrival| arrival.at_us)
            .collect()
    };
    assert_eq!(times(Pace::Speed(20.0), None), [0, 2, 100]);
    assert_eq!(times(Pace::Rate(100.0), None), [0, 10_000, 20_000]);
    assert_eq!(times(Pace::Speed(1.0), Some(2_000)), [0, 50]);
}

#[test]
fn a_malformed_line_is_named_with_its_column() {
    let cases = [
        (
            "x,BTCUSDT,trade,buy,1,1,1",
            "receive_time_ns",
            "\"x\" is not an integer",
        ),
        (
            "1,BTCUSDT,trade,buy,1,1,1",
            "receive_time_ns",
            "goes back by 2999999 ns",
        ),
        ("3000000,,trade,buy,1,1,1", "symbol", "is not 1 to 12"),
        (
            "3000000,BTCUSDT,fill,buy,1,1,1",
            "kind",
            "\"fill\" is not `trade`",
        ),
        ("3000000,BTCUSDT,trade,hold,1,1,1", "side", "\"hold\""),
        (
            "3000000,BTCUSDT,trade,buy,-1,1,1",
            "price",
            "\"-1\" is not a decimal",
        ),
        (
            "3000000,BTCUSDT,trade,buy,1.123456789,1,1",
            "price",
            "8 decimals",
        ),
        (
            "3000000,BTCUSDT,trade,buy,999999999999,1,1",
            "price",
            "is not a decimal",
        ),
        ("3000000,BTCUSDT,trade,buy,1,0.0,1", "quantity", "above 0"),
        (
            "3000000,BTCUSDT,trade,buy,1,1e3,1",
            "quantity",
            "is not a decimal",
        ),
        ("3000000,BTCUSDT,trade,buy,1,1", "trade_id", "is missing"),
        (
            "3000000,BTCUSDT,trade,buy,1,1,1,9",
            "trade_id",
            "follows the last column",
        ),
        ("", "receive_time_ns", "\"\" is not an integer"),
    ];
    for (line, column, words) in cases {
        let trace = Trace::new(&format!("{HEADER}\n{LINES}{line}\n"));
        let message = Replay::survey(&trace.path()).unwrap_err().to_string();
        let place = format!("trace.csv.gz line 5, column {column}: ");
        assert!(
            message.contains(&place) && message.contains(words),
            "{message}"
        );
        assert!(!message.contains('\n'));
    }
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let trace = Trace::new(&format!("{HEADER}\n{}", "1".repeat(10_000_000)));
    let message = Replay::survey(&trace.path()).unwrap_err().to_string();
    assert!(
        message.contains("line 2") && message.contains("longer than 256"),
        "{message}"
    );
}

#[test]
fn files_that_are_no_trace_are_refused_in_a_sentence() {
    let missing = Replay::survey(Path::new("/nonexistent.csv.gz")).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("cannot read the trace /nonexistent.csv.gz")
    );
    let plain = Trace::of_bytes(LINES.as_bytes());
    let message = Replay::survey(&plain.path()).unwrap_err().to_string();
    assert!(
        message.contains("cannot read the trace") && message.contains("gzip"),
        "{message}"
    );
    let header = Replay::survey(&Trace::new("time,price\n1,2\n").path()).unwrap_err();
    assert!(
        header
            .to_string()
            .contains("the header must be receive_time_ns,"),
        "{header}"
    );
    let empty = Replay::survey(&Trace::new(&format!("{HEADER}\n")).path()).unwrap_err();
    assert!(empty.to_string().contains("holds no events"), "{empty}");
    // Cut in the middle: an error, not a shorter trace.
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    let many = LINES.lines().next().unwrap();
    let text: String = std::iter::repeat_n(format!("{many}\n"), 5_000).collect();
    gz.write_all(format!("{HEADER}\n{text}").as_bytes())
        .unwrap();
    let whole = gz.finish().unwrap();
    let cut = Trace::of_bytes(&whole[..whole.len() - 20]);
    assert!(Replay::survey(&cut.path()).is_err());
}

/// Set `FAIRLANE_TRACE` to the recorded trade file to run this.
#[test]
fn the_recorded_trace_is_well_formed_and_as_long_as_it_should_be() {
    let Some(path) = std::env::var_os("FAIRLANE_TRACE") else {
        eprintln!("SKIPPED: FAIRLANE_TRACE does not name the recorded trade file");
        return;
    };
    let survey = Replay::survey(Path::new(&path)).unwrap();
    assert_eq!(survey.events, 21_313);
    assert_eq!(survey.span_us / 1_000_000, 343);
}
