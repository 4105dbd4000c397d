//! A node that takes its clients' datagrams by AF_XDP, and what it says where it cannot.

use crate::sandbox::Sandbox;

/// A committee of four; `change` has the first node's configuration. Gives the path of that.
fn testnet(sandbox: &Sandbox, change: impl Fn(&str) -> String) -> String {
    let ran = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let path = sandbox.path("net/node-0.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains("udp_listen"), "{config}");
    std::fs::write(&path, change(&config)).unwrap();
    sandbox.argument("net/node-0.toml")
}

#[test]
fn an_interface_without_an_address_for_datagrams_is_refused() {
    let sandbox = Sandbox::new();
    let config = testnet(&sandbox, |config| {
        let lines = config
            .lines()
            .filter(|line| !line.starts_with("udp_listen"));
        let lines: Vec<&str> = ["udp_xdp = \"lo\""].into_iter().chain(lines).collect();
        lines.join("\n")
    });
    let ran = sandbox.run(&["node", "--config", &config]);
    ran.assert_refused(&["udp_xdp", "needs udp_listen"]);
}

#[test]
fn an_interface_that_is_not_there_or_a_binary_without_af_xdp_is_refused() {
    let sandbox = Sandbox::new();
    let config = testnet(&sandbox, |config| {
        format!("udp_xdp = \"nosuch0\"\n{config}")
    });
    let ran = sandbox.run(&["node", "--config", &config]);
    let word = if cfg!(feature = "xdp") {
        "`ip link`"
    } else {
        "--features xdp"
    };
    ran.assert_refused(&["nosuch0", word]);
}

#[cfg(feature = "xdp")]
mod on_lo {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use fairlane_client::committee_file::Roster;
    use fairlane_client::protocol::{DatagramNotice, Hello, encode_datagram_hello};
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::Value;

    use super::testnet;
    use crate::own_network::in_own_network;
    use crate::sandbox::{Sandbox, wait};

    #[test]
    fn a_client_of_a_node_with_af_xdp_is_welcomed() {
        in_own_network("a_client_of_a_node_with_af_xdp", visit);
    }

    fn visit() {
        let sandbox = Sandbox::new();
        let config = testnet(&sandbox, |config| format!("udp_xdp = \"lo\"\n{config}"));
        let listens = std::fs::read_to_string(&config).unwrap();
        let listens: toml::Table = toml::from_str(&listens).unwrap();
        let node_address = listens["udp_listen"].as_str().unwrap().to_owned();
        let mut node = sandbox.start(&["node", "--config", &config]);
        let give_up = Instant::now() + Duration::from_secs(60);
        let said = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
        while !said("said/stdout").contains("ready") {
            assert!(Instant::now() < give_up, "{}", said("said/stderr"));
            std::thread::sleep(Duration::from_millis(20));
        }

        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(&node_address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let roster = Roster::load(&sandbox.path("net/committee.json")).unwrap();
        let hello = Hello {
            chain_id: roster.committee.chain_id,
            receipts: false,
            ordered: false,
            settled: false,
            keys: false,
        };
        let ask = |token: u64| {
            let mut bytes = Vec::new();
            encode_datagram_hello(&mut bytes, &hello, 77, token);
            client.send(&bytes).unwrap();
            let mut answer = [0; 2048];
            let length = client.recv(&mut answer).unwrap();
            answer[..length].to_vec()
        };
        let answer = ask(0);
        let Ok(DatagramNotice::Token { nonce: 77, token }) = DatagramNotice::decode(&answer) else {
            panic!("{answer:?}");
        };
        let answer = ask(token);
        let notices = DatagramNotice::decode(&answer);
        assert!(
            matches!(notices, Ok(DatagramNotice::Notices { nonce: 77, .. })),
            "{answer:?}"
        );

        let pid = Pid::from_child(&node);
        kill_process(pid, Signal::INT).unwrap();
        let status = wait(&mut node);
        assert_eq!(status, Some(0), "{}", said("said/stderr"));
        assert!(
            said("said/stderr").contains("AF_XDP on lo, generic (SKB) mode, copy, 1 queue"),
            "{}",
            said("said/stderr")
        );
        let report = std::fs::read(sandbox.path("net/node-0/report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let io = &report["io"];
        assert_eq!(io["xdp"]["datagrams"], 2, "{io}");
        assert_eq!(io["datagrams"]["received"], 2, "{io}");
        assert_eq!(io["datagrams"]["clients"], 1, "{io}");
    }
}
