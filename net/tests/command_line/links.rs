//! Who comes to the peer port of a running committee without being of it: refused, counted, and nothing else happens.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::Roster;
use fairlane_engine::types::AuthorityIndex;
use fairlane_net::session::handshake::{GREETING_LEN, Handshake, OPENING_LEN};
use fairlane_net::session::keys::{LinkKeys, LinkSecret};
use serde_json::Value;

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
            assert_eq!(count("version"), 1, "{links}");
            assert_eq!(count("index"), 1, "{links}");
        }
    }
}

/// The committee's file, once its nodes listen.
fn wait_for_links(sandbox: &Sandbox) -> Roster {
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
