//! What one client can cost a node, and the others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::{
    Ack, AckCode, Hello, NOTICE_LEN_MAX, Notice, encode_hello, encode_submit, next_frame,
};
use fairlane_engine::seal::{LabelFields, seal};
use fairlane_engine::types::RollupId;
use fairlane_net::stage::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::runs::{free_ports, turn};
use crate::sandbox::{Sandbox, wait};

#[test]
fn a_client_whose_proofs_fail_is_put_off_and_the_others_are_not() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let directory = Directory::load(&sandbox.path("net/committee.json")).unwrap();
    let ports = free_ports(3);
    let [client, peer, metrics] = [0, 1, 2].map(|at| format!("127.0.0.1:{}", ports[at]));
    // One node is enough: nothing is ordered, and acks come all the same.
    let config = std::fs::read_to_string(sandbox.path("net/node-0.toml")).unwrap();
    let mut config: toml::Table = config.parse().unwrap();
    config.insert("client_listen".to_owned(), client.clone().into());
    config.insert("peer_listen".to_owned(), peer.into());
    config.insert("metrics_listen".to_owned(), metrics.clone().into());
    let text = toml::to_string(&config).unwrap();
    std::fs::write(sandbox.path("net/node-0.toml"), text).unwrap();
    let mut node = sandbox.start(&["node", "--config", "net/node-0.toml"]);

    let mut forger = Client::connect(client.parse().unwrap(), directory.clone());
    let mut honest = Client::connect(client.parse().unwrap(), directory);
    let allowed = 16;
    for _ in 0..allowed {
        let acks = forger.submit(1, true);
        assert_eq!(acks[0].code, AckCode::BadProof, "{acks:?}");
    }
    let acks = forger.submit(100, true);
    let busy = |ack: &&Ack| ack.code == AckCode::Busy && ack.detail > 0;
    // One more may be checked every half second.
    assert!(acks.iter().filter(busy).count() > 80, "{acks:?}");
    let acks = honest.submit(100, false);
    assert!(
        acks.iter().all(|ack| ack.code == AckCode::Accepted),
        "{acks:?}"
    );
    // The core stage publishes after it has answered.
    let until = Instant::now() + Duration::from_secs(10);
    let figures = loop {
        let figures = read_over_http(&metrics, "/metrics");
        if figures.contains("\nfairlane_engine_accepted_total 100\n") || Instant::now() > until {
            break figures;
        }
    };
    assert!(figures.contains("\nfairlane_engine_accepted_total 100\n"));
    let put_off = "fairlane_submissions_refused_total{reason=\"bad_proofs_before\"} ";
    let put_off = figures.lines().find_map(|line| line.strip_prefix(put_off));
    assert!(put_off.unwrap().parse::<u64>().unwrap() > 80, "{figures}");
    let health = read_over_http(&metrics, "/healthz");
    assert!(health.contains("\"reasons\""), "{health}");

    let pid = Pid::from_raw(node.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(wait(&mut node), Some(0), "{:?}", sandbox.ran(None));
    let report = read_report(&sandbox.path("net/node-0/report.json"));
    assert!(
        report["submissions_put_off"].as_u64().unwrap() > 80,
        "{report}"
    );
}

fn read_over_http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn read_report(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A client of one node that seals each envelope afresh.
pub(crate) struct Client {
    stream: TcpStream,
    directory: Directory,
    received: Vec<u8>,
    sent: u64,
    placed: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, directory: Directory) -> Self {
        let until = Instant::now() + Duration::from_secs(30);
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut client = Self {
            stream,
            directory,
            received: Vec::new(),
            sent: 0,
            placed: 0,
        };
        let mut hello = Vec::new();
        encode_hello(
            &mut hello,
            &Hello {
                chain_id: client.directory.committee.chain_id,
                receipts: false,
                ordered: true,
                settled: false,
                keys: false,
            },
        );
        client.stream.write_all(&hello).unwrap();
        client
    }

    /// Submits so many envelopes in one write and gives the answers to them.
    pub(crate) fn submit(&mut self, count: u64, forged: bool) -> Vec<Ack> {
        let mut bytes = Vec::new();
        let fields = LabelFields {
            rollup: RollupId(1),
            valid_until: clock().plus_us(50_000_000),
            sender_tag: [0; 16],
            padded_len: None,
        };
        for _ in 0..count {
            self.sent += 1;
            let mut entropy = [7; 64];
            entropy[..8].copy_from_slice(&self.sent.to_be_bytes());
            let sealed = seal(&self.directory.sealing_key, &fields, b"an order", &entropy);
            let mut sealed = sealed.unwrap();
            if forged {
                *sealed.last_mut().unwrap() ^= 1;
            }
            encode_submit(&mut bytes, self.sent, &sealed).unwrap();
        }
        self.stream.write_all(&bytes).unwrap();
        let mut acks = Vec::new();
        while (acks.len() as u64) < count {
            acks.extend(self.read_notice());
        }
        acks
    }

    /// Waits until so many of the envelopes have a place in a batch.
    pub(crate) fn wait_for_places(&mut self, count: usize) {
        while self.placed < count {
            self.read_notice();
        }
    }

    /// Reads one notice; gives the acks in it.
    fn read_notice(&mut self) -> Vec<Ack> {
        loop {
            if let Some((content, used)) = next_frame(&self.received, NOTICE_LEN_MAX).unwrap() {
                let mut acks = Vec::new();
                match Notice::decode(content).unwrap() {
                    Notice::Acks(some) => acks.extend(some.iter()),
                    Notice::Ordered(places) => self.placed += places.iter().count(),
                    _ => {}
                }
                self.received.drain(..used);
                return acks;
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the node has closed");
            self.received.extend_from_slice(&bytes[..read]);
        }
    }
}
