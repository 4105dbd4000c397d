//! Who comes to the peer port of a running committee without being of it, and who is of it and faulty: cut, counted, and the
//! others go on.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::{Directory, Roster};
use fairlane_engine::types::AuthorityIndex;
use fairlane_net::frame;
use fairlane_net::session::handshake::{GREETING_LEN, Handshake, OPENING_LEN, REPLY_LEN};
use fairlane_net::session::keys::{LinkKeys, LinkSecret};
use fairlane_net::session::records::Session;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clients::{Client, read_report};
use crate::runs::{assert_contract, turn};
use crate::sandbox::{Sandbox, wait};

#[test]
fn impostors_at_the_peer_port_are_refused_and_counted_and_the_committee_goes_on_over_io_uring() {
    visit_a_committee("auto");
}

#[test]
fn impostors_at_the_peer_port_are_refused_and_counted_and_the_committee_goes_on_over_epoll() {
    visit_a_committee("mio");
}

fn visit_a_committee(backend: &str) {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let data = sandbox.argument("data");
    let mut flags = vec!["localnet", "--nodes", "4", "--json", "report.json"];
    flags.extend(["--duration", "3s", "--rate", "100"]);
    flags.extend(["--backend", backend, "--data", &data]);
    let mut run = sandbox.start(&flags);
    let roster = wait_for_links(&sandbox);
    // The connections are held until the end.
    let held: Vec<Vec<TcpStream>> = (1..4).map(|index| visit(&roster, index)).collect();
    let status = wait(&mut run);
    drop(held);
    let ran = sandbox.ran(status);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let json = std::fs::read(sandbox.path("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&json).unwrap();
    assert_contract(&report);
    assert_eq!(report["settled"], report["offered"]);
    for (index, node) in report["node_reports"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let links = &node["io"]["links"];
        let count = |name: &str| links[name].as_u64().unwrap();
        assert_eq!(count("sessions"), 3, "no link was lost: {links}");
        if index > 0 {
            // The forged key, and a frame of the protocol instead of an opening.
            assert_eq!(count("gate"), 1, "{links}");
            let log = sandbox.path(&format!("data/node-{index}.log"));
            let log = std::fs::read_to_string(log).unwrap();
            assert_eq!(log.matches("refused somebody").count(), 1, "{log}");
            assert_eq!(count("version"), 1, "{links}");
            assert_eq!(count("index"), 1, "{links}");
        }
    }
}

/// The committee's file, once its nodes listen.
pub(crate) fn wait_for_links(sandbox: &Sandbox) -> Roster {
    let until = Instant::now() + Duration::from_secs(30);
    let path = sandbox.path("data/committee.json");
    loop {
        let listens = |address: &SocketAddr| TcpStream::connect(address).is_ok();
        let roster = Roster::load(&path).ok();
        let roster = roster.filter(|roster| {
            let mut peers = roster.addresses.iter().map(|addresses| addresses.peer);
            peers.all(|address| listens(&address))
        });
        if let Some(roster) = roster {
            return roster;
        }
        assert!(Instant::now() < until, "{:?}", sandbox.ran(None));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Comes to authority `index` in four ways; gives the connections that only stall.
fn visit(roster: &Roster, index: usize) -> Vec<TcpStream> {
    let address = roster.addresses[index].peer;
    let greeted = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut greeting = [0; GREETING_LEN];
        stream.read_exact(&mut greeting).unwrap();
        (stream, greeting)
    };

    // Authority 0 by index, with all public keys of the committee and a secret of its own.
    let secret = LinkSecret::from_bytes(&[42; 32]);
    let mut publics = roster.link_keys.clone();
    publics[0] = secret.public();
    let keys = LinkKeys::new(&roster.committee, &publics, AuthorityIndex(0), secret);
    let called = AuthorityIndex(index as u8);
    let mut handshake = Handshake::connect(Arc::new(keys.unwrap()), called);
    let (mut impostor, greeting) = greeted();
    let mut opening = Vec::new();
    let fed = handshake.feed(&mut &greeting[..], &mut opening, &mut |_| true);
    assert!(fed.unwrap().is_none());
    impostor.write_all(&opening).unwrap();
    assert_ended(impostor);

    let (mut speaks_frames, _) = greeted();
    let mut frame = vec![0, 0, 0, 15, 1, 0x41];
    frame.resize(OPENING_LEN, 0);
    speaks_frames.write_all(&frame).unwrap();
    assert_ended(speaks_frames);

    let (mut nobody, _) = greeted();
    let mut opening = vec![1, 77];
    opening.resize(OPENING_LEN, 0);
    nobody.write_all(&opening).unwrap();
    assert_ended(nobody);

    let (mut half, _) = greeted();
    half.write_all(&[1, 0, 1]).unwrap();
    let (silent, _) = greeted();
    vec![half, silent]
}

/// The node has said no more and ended the connection.
fn assert_ended(mut stream: TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(said) => assert_eq!(said, 0, "it answered"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn an_authority_that_sends_rubbish_or_nothing_is_cut_and_counted_and_the_others_go_on() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let base = free_base_port(8).to_string();
    let flags = [
        "testnet",
        "--nodes",
        "4",
        "--out",
        "net",
        "--base-port",
        &base,
    ];
    let made = sandbox.run(&flags);
    assert_eq!(made.status, Some(0), "{made:?}");
    let directory = Directory::load(&sandbox.path("net/committee.json")).unwrap();
    let configs = [1, 2, 3].map(|index| format!("net/node-{index}.toml"));
    let mut nodes = configs.map(|config| sandbox.start(&["node", "--config", &config]));
    let faulty = Faulty::new(&sandbox, &directory);

    // Messages that no correct authority sends; then it is kept out.
    let (mut stream, mut session) = faulty.link(1);
    send_frames(&mut stream, &mut session, 0x7f, 100);
    assert_cut(stream);
    let (mut stream, opening) = faulty.opening(1);
    stream.write_all(&opening.0).unwrap();
    assert_ended(stream);
    // A record that holds and carries no frame.
    let (mut stream, mut session) = faulty.link(2);
    let mut record = Vec::new();
    session.seal(&[0; 8], &mut record);
    stream.write_all(&record).unwrap();
    assert_cut(stream);
    // A record that was sent before.
    let (mut stream, mut session) = faulty.link(3);
    let mut record = Vec::new();
    session.seal(&[], &mut record);
    stream.write_all(&record.repeat(2)).unwrap();
    assert_cut(stream);
    // Nothing at all.
    let (stream, _session) = faulty.link(3);
    assert_cut(stream);

    let mut client = Client::connect(directory.addresses[1].client, directory);
    client.submit(5, false);
    client.wait_for_places(5);
    for node in &mut nodes {
        let pid = Pid::from_raw(node.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(wait(node), Some(0), "{:?}", sandbox.ran(None));
    }
    let count = |index: u8, name: &str| {
        let report = read_report(&sandbox.path(&format!("net/node-{index}/report.json")));
        report["io"]["links"][name].as_u64().unwrap()
    };
    assert_eq!((count(1, "rubbish"), count(1, "too_often")), (1, 1));
    assert_eq!(count(2, "frame"), 1);
    assert_eq!((count(3, "record"), count(3, "silent")), (1, 1));
}

/// Authority 0 with its true key, in this test's hands.
struct Faulty {
    keys: Arc<LinkKeys>,
    peers: Vec<SocketAddr>,
}

impl Faulty {
    fn new(sandbox: &Sandbox, directory: &Directory) -> Self {
        let config = std::fs::read_to_string(sandbox.path("net/node-0.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        let secret = hex::decode(config["link_key"].as_str().unwrap()).unwrap();
        let secret = LinkSecret::from_bytes(&secret.try_into().unwrap());
        let (committee, publics) = (&directory.committee, &directory.link_keys);
        let keys = LinkKeys::new(committee, publics, AuthorityIndex(0), secret).unwrap();
        Self {
            keys: Arc::new(keys),
            peers: directory.addresses.iter().map(|of| of.peer).collect(),
        }
    }

    /// Connects, waiting for the node to listen, and is greeted; gives what it would answer.
    fn opening(&self, to: u8) -> (TcpStream, (Vec<u8>, Handshake)) {
        let until = Instant::now() + Duration::from_secs(30);
        let mut stream = loop {
            match TcpStream::connect(self.peers[usize::from(to)]) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        let mut greeting = [0; GREETING_LEN];
        stream.read_exact(&mut greeting).unwrap();
        let mut handshake = Handshake::connect(self.keys.clone(), AuthorityIndex(to));
        let mut opening = Vec::new();
        let fed = handshake.feed(&mut &greeting[..], &mut opening, &mut |_| true);
        assert!(fed.unwrap().is_none());
        (stream, (opening, handshake))
    }

    /// A link that the node believes in.
    fn link(&self, to: u8) -> (TcpStream, Session) {
        let (mut stream, (opening, mut handshake)) = self.opening(to);
        stream.write_all(&opening).unwrap();
        let mut reply = [0; REPLY_LEN];
        stream.read_exact(&mut reply).unwrap();
        let session = handshake.feed(&mut &reply[..], &mut Vec::new(), &mut |_| true);
        let mut session = session.unwrap().unwrap();
        let mut first = Vec::new();
        session.seal(&[], &mut first);
        stream.write_all(&first).unwrap();
        (stream, session)
    }
}

fn send_frames(stream: &mut TcpStream, session: &mut Session, kind: u8, count: usize) {
    let (mut frames, mut records) = (Vec::new(), Vec::new());
    for _ in 0..count {
        frame::append(&mut frames, kind, b"rubbish", 64).unwrap();
    }
    session.seal(&frames, &mut records);
    stream.write_all(&records).unwrap();
}

/// The node ends the connection, whatever it has said before.
fn assert_cut(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                return;
            }
        }
    }
}

/// The first of so many ports in a row of this host that nobody uses just now.
fn free_base_port(count: u16) -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let start = 20_000 + (std::process::id() % 1_000) as u16 * 8;
    let mut bases = (start..30_000).step_by(usize::from(count));
    let base = bases.find(|base| (*base..base + count).all(|port| is_free(&port)));
    base.expect("some ports are free")
}
