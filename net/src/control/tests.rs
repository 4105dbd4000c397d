//! The server over a real socket, and that no figure is left out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;

use fairlane_engine::types::AuthorityIndex;
use serde_json::Value;

use super::*;
use crate::backend::BackendKind;
use crate::node::NodeReport;
use crate::stage::core::CoreReport;
use crate::stage::io::IoCounters;

fn figures(core: CoreReport, io: IoCounters) -> Figures {
    let (io, core) = (Arc::new(Mutex::new(io)), Arc::new(Mutex::new(core)));
    let backends = (BackendKind::Mio, "plain".to_owned());
    Figures::new(AuthorityIndex(2), backends, io, core)
}

fn well() -> CoreReport {
    let mut core = CoreReport::default();
    (core.standing.looked_us, core.standing.anchor_us) = (clock().0, clock().0);
    core
}

/// Starts a server; gives it and its address.
fn server(core: CoreReport) -> (Control, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let figures = figures(core, IoCounters::default());
    (Control::start(address, figures).unwrap(), address)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A server that has refused a request may reset instead of closing.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    let end = "HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    ask(address, &format!("GET {path} {end}"))
}

#[test]
fn figures_health_and_the_report_are_served() {
    let (_control, address) = server(well());
    let metrics = get(address, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("\nfairlane_authority 2\n"));
    assert!(metrics.contains("# TYPE fairlane_engine_accepted counter\n"));
    assert!(metrics.ends_with("# EOF\n"));
    let health = get(address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let report = get(address, "/report");
    let body = report.split_once("\r\n\r\n").unwrap().1;
    let report: NodeReport = serde_json::from_str(body).unwrap();
    assert_eq!((report.index, report.backend.as_str()), (2, "mio"));
}

#[test]
fn a_node_that_is_not_well_answers_503_and_says_why() {
    let mut core = well();
    core.standing.is_disk_full = true;
    let (_control, address) = server(core);
    let health = get(address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(health.contains("the disk that holds the journal is full"));
}

#[test]
fn other_requests_are_refused_and_the_next_is_answered() {
    let (_control, address) = server(well());
    assert!(get(address, "/").starts_with("HTTP/1.1 404"));
    let post =
        "POST /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(ask(address, post).starts_with("HTTP/1.1 405"));
    assert!(ask(address, "rubbish\r\n\r\n").starts_with("HTTP/1.1 400"));
    let long = format!(
        "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(2 * HEAD_LEN_MAX)
    );
    let refused = ask(address, &long);
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 431"),
        "{refused}"
    );
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn watchers_beyond_the_bound_wait_until_one_is_gone() {
    let (_control, address) = server(well());
    let mut idle: Vec<TcpStream> = (0..WATCHERS_MAX)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut next = TcpStream::connect(address).unwrap();
    next.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    next.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    assert!(next.read_exact(&mut head).is_err(), "no place yet");
    idle.pop();
    next.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    next.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[test]
fn an_address_in_use_is_said_in_one_sentence() {
    let (_control, address) = server(well());
    let again = Control::start(address, figures(well(), IoCounters::default()));
    let sentence = again.unwrap_err().to_string();
    assert!(sentence.contains("free the port"), "{sentence}");
}

/// Puts numbers that occur once into every figure of a report, then looks for them in the text.
#[test]
fn every_figure_of_the_report_is_a_metric() {
    fn number(value: &mut Value, next: &mut u64) {
        match value {
            Value::Number(_) => {
                *next += 1;
                *value = (*next).into();
            }
            Value::Object(fields) => fields.values_mut().for_each(|field| number(field, next)),
            _ => {}
        }
    }
    fn numbered<T: serde::Serialize + serde::de::DeserializeOwned>(of: &T, next: &mut u64) -> T {
        let mut value = serde_json::to_value(of).unwrap();
        number(&mut value, next);
        serde_json::from_value(value).unwrap()
    }
    let mut next = 7_000_000;
    let io = numbered(&IoCounters::default(), &mut next);
    let mut core = CoreReport {
        journal: numbered(&CoreReport::default().journal, &mut next),
        disk_full: numbered(&CoreReport::default().disk_full, &mut next),
        ..CoreReport::default()
    };
    core.certificates = numbered(&core.certificates, &mut next);
    // It is told in seconds.
    let told_otherwise = std::mem::take(&mut core.certificates.cpu_us);
    let counts = [
        &mut core.submissions_refused,
        &mut core.submissions_put_off,
        &mut core.submissions_over_rate,
        &mut core.round.0,
        &mut core.batches,
        &mut core.standing.settled,
        &mut core.standing.keys,
        &mut core.engine.accepted,
    ];
    for count in counts {
        next += 1;
        *count = next;
    }
    let text = metrics::encode(&figures(core, io));
    for expected in (7_000_001..=next).filter(|number| *number != told_otherwise) {
        let found = text
            .lines()
            .any(|line| line.ends_with(&format!(" {expected}")));
        assert!(found, "figure {expected} is no metric:\n{text}");
    }
    assert!(text.contains("fairlane_step_seconds_total{step=\"proof\"}"));
    assert!(text.contains("fairlane_messages_refused_total{reason=\"envelope_key\"}"));
}
