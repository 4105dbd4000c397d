//! Bad input gets one clear sentence, exit status 2, and leaves no process, file or folder behind.

use std::net::TcpListener;

use crate::sandbox::Sandbox;

const HEADER: &str = "receive_time_ns,symbol,kind,side,price,quantity,trade_id";
const TRADE: &str = "1723075200000000000,BTCUSDT,trade,buy,55000.5,0.01,1";

/// Runs it and asserts that it was refused with these words, and that everything is as it was before.
fn assert_refused(sandbox: &Sandbox, arguments: &[&str], words: &[&str]) {
    let before = sandbox.listing();
    let ran = sandbox.run(arguments);
    ran.assert_refused(words);
    assert_eq!(sandbox.listing(), before, "left behind by {arguments:?}");
    sandbox.assert_nothing_runs();
}

#[test]
fn a_command_line_that_means_nothing_is_refused() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        (vec!["serve"], vec!["serve"]),
        (vec!["localnet", "--wat"], vec!["--wat"]),
        (vec!["localnet", "--nodes", "0"], vec!["--nodes"]),
        (vec!["localnet", "--nodes", "65"], vec!["--nodes"]),
        (vec!["localnet", "--duration", "soon"], vec!["10s"]),
        (vec!["localnet", "--duration", "0s"], vec!["above 0"]),
        (vec!["localnet", "--rate", "fast"], vec!["--rate", "max"]),
        (vec!["localnet", "--rate", "0"], vec!["--rate", "above 0"]),
        (vec!["localnet", "--rate", "inf"], vec!["--rate"]),
        (vec!["localnet", "--speed", "2"], vec!["--replay"]),
        (vec!["localnet", "--kill", "1"], vec!["--kill", "1@3s"]),
        (
            vec!["localnet", "--kill", "1@later"],
            vec!["--kill", "like 10s"],
        ),
        (
            vec!["localnet", "--kill", "5@1s"],
            vec!["--kill 5", "0 to 4"],
        ),
        (
            vec!["localnet", "--restart", "1@1s"],
            vec!["--restart 1", "--kill 1@"],
        ),
        (
            vec!["localnet", "--settle-at", "5"],
            vec!["--settle-at 5", "0 to 4"],
        ),
        (vec!["localnet", "--durability", "maybe"], vec!["async"]),
        (vec!["localnet", "--backend", "carrier-pigeon"], vec!["mio"]),
        (vec!["localnet", "--base-port", "0"], vec!["--base-port"]),
        (vec!["testnet", "--nodes", "4"], vec!["--out"]),
        (vec!["keygen"], vec!["--out"]),
        (vec!["committee", "--out", "c.json"], vec!["--authority"]),
        (
            vec!["committee", "--authority", "x", "--out", "c.json"],
            vec!["--authority", "FILE,CLIENT,PEER"],
        ),
        (
            vec![
                "committee",
                "--authority",
                "absent.json,127.0.0.1:1,127.0.0.1:2",
                "--out",
                "c.json",
            ],
            vec!["absent.json", "No such file"],
        ),
        (
            vec!["join", "--keys", "absent", "--committee", "c.json"],
            vec!["absent"],
        ),
        (vec!["node"], vec!["--config"]),
        (vec!["settle"], vec!["--config"]),
    ] {
        assert_refused(&sandbox, &arguments, &words);
    }
}

#[test]
fn killing_everybody_is_refused() {
    let sandbox = Sandbox::new();
    let arguments = ["localnet", "--nodes", "1", "--kill", "0@1s"];
    assert_refused(&sandbox, &arguments, &["--kill", "no authority"]);
}

#[test]
fn a_payload_that_fits_no_record_or_no_envelope_is_refused() {
    let sandbox = Sandbox::new();
    for len in ["0", "55", "16113", "100000"] {
        let words = ["payload has 56 to 16112 bytes", len];
        assert_refused(&sandbox, &["localnet", "--payload", len], &words);
    }
    let undealt = ["localnet", "--dkg", "--payload", "55"];
    assert_refused(&sandbox, &undealt, &["56 to 16112"]);
    let open = ["localnet", "--open", "--payload", "16321"];
    assert_refused(&sandbox, &open, &["56 to 16320"]);
}

#[test]
fn a_trace_that_cannot_be_used_is_named_with_the_line_that_is_wrong() {
    let sandbox = Sandbox::new();
    let refuse = |path: &str, words: &[&str]| {
        assert_refused(&sandbox, &["localnet", "--replay", path], words);
    };
    refuse("absent.csv.gz", &["absent.csv.gz", "No such file"]);

    std::fs::write(sandbox.path("plain.csv.gz"), format!("{HEADER}\n{TRADE}\n")).unwrap();
    refuse("plain.csv.gz", &["cannot read the trace plain.csv.gz"]);

    let path = sandbox.trace("header.csv.gz", &["time,price", TRADE]);
    refuse(&path, &["header.csv.gz line 1", HEADER, "time,price"]);

    let path = sandbox.trace("empty.csv.gz", &[HEADER]);
    refuse(&path, &["empty.csv.gz", "no events"]);

    for (name, line, column) in [
        ("time", "later,BTCUSDT,trade,buy,1,1,2", "receive_time_ns"),
        ("back", "1,BTCUSDT,trade,buy,1,1,2", "receive_time_ns"),
        ("kind", "1723075200000000000,B,quote,buy,1,1,2", "kind"),
        ("side", "1723075200000000000,B,trade,both,1,1,2", "side"),
        ("price", "1723075200000000000,B,trade,buy,-1,1,2", "price"),
        ("short", "1723075200000000000,B,trade,buy,1", "quantity"),
    ] {
        let path = sandbox.trace(name, &[HEADER, TRADE, line]);
        refuse(&path, &[&format!("{name} line 3, column {column}")]);
    }

    let path = sandbox.trace("good.csv.gz", &[HEADER, TRADE]);
    let replay = ["localnet", "--replay", path.as_str()];
    for (flags, words) in [
        (vec!["--speed", "0"], vec!["speed", "above 0"]),
        (vec!["--speed", "NaN"], vec!["speed", "above 0"]),
        (vec!["--rate", "max"], vec!["--rate max", "--replay"]),
        (vec!["--rate", "9", "--speed", "2"], vec!["--speed"]),
    ] {
        assert_refused(&sandbox, &[&replay, &flags[..]].concat(), &words);
    }
}

#[test]
fn a_port_that_is_in_use_is_named() {
    let sandbox = Sandbox::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let arguments = ["localnet", "--base-port", port.as_str()];
    assert_refused(&sandbox, &arguments, &[&port, "in use", "--base-port"]);
    for command in [vec!["localnet"], vec!["testnet", "--out", "net"]] {
        let flags = ["--nodes", "5", "--base-port", "65530"];
        let arguments = [&command[..], &flags[..]].concat();
        assert_refused(&sandbox, &arguments, &["--base-port 65530", "no room"]);
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_refused_and_not_touched() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("used")).unwrap();
    std::fs::write(sandbox.path("used/precious"), "x").unwrap();
    let refuse = |data: &str, words: &[&str]| {
        assert_refused(&sandbox, &["localnet", "--data", data], words);
    };
    refuse("used", &["used", "not empty"]);
    refuse("used/precious", &["used/precious", "not a folder"]);
    refuse("used/precious/deeper", &["used/precious/deeper"]);
    let precious = std::fs::read(sandbox.path("used/precious")).unwrap();
    assert_eq!(precious, b"x");
    let arguments = ["testnet", "--nodes", "4", "--out", "used"];
    assert_refused(&sandbox, &arguments, &["used", "not empty"]);
}

#[test]
fn folders_made_for_a_run_that_is_refused_are_removed_again() {
    let sandbox = Sandbox::new();
    let arguments = ["localnet", "--payload", "1", "--data", "a/b/c"];
    assert_refused(&sandbox, &arguments, &["payload"]);
    std::fs::create_dir(sandbox.path("mine")).unwrap();
    let arguments = ["localnet", "--payload", "1", "--data", "mine"];
    assert_refused(&sandbox, &arguments, &["payload"]);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_run() {
    let sandbox = Sandbox::new();
    for flag in ["--json", "--hlog"] {
        let refuse = |file: &str, words: &[&str]| {
            assert_refused(&sandbox, &["localnet", flag, file], words);
        };
        refuse("nowhere/report", &[flag, "no folder nowhere"]);
        refuse("tmp", &[flag, "tmp", "a folder"]);
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_named() {
    let sandbox = Sandbox::new();
    for command in ["node", "settle"] {
        let arguments = [command, "--config", "absent.toml"];
        assert_refused(&sandbox, &arguments, &["cannot read absent.toml"]);
        std::fs::write(sandbox.path("odd.toml"), "index = 0\nport = 1\n").unwrap();
        let arguments = [command, "--config", "odd.toml"];
        assert_refused(&sandbox, &arguments, &["odd.toml", "not a valid"]);
    }
}

#[test]
fn a_node_refuses_keys_that_are_not_its_own_and_a_folder_of_somebody_else() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let own = read_config(&sandbox, 0);
    let other = read_config(&sandbox, 1);
    for (key, words) in [
        ("signing_key", "signing_key is not the key"),
        ("link_key", "link_key is not the key"),
        ("certificate_key", "certificate_key is not the key"),
        ("key_share", "key_share is another authority's"),
    ] {
        let mut mixed = own.clone();
        mixed.insert(key.to_owned(), other[key].clone());
        assert_node_refused(&sandbox, &mixed, &[words]);
        mixed.insert(key.to_owned(), "zz".into());
        assert_node_refused(&sandbox, &mixed, &[key]);
    }
    let mut stranger = own.clone();
    stranger.insert("index".to_owned(), 9.into());
    assert_node_refused(&sandbox, &stranger, &["index names no authority"]);
    let mut lost = own.clone();
    lost.insert("committee".to_owned(), "gone.json".into());
    assert_node_refused(&sandbox, &lost, &["gone.json"]);

    for (quota, value) in [("bad_proofs", 0), ("rollup_rate", 100_001)] {
        let mut odd = own.clone();
        let quotas = toml::Table::from_iter([(quota.to_owned(), value.into())]);
        odd.insert("quotas".to_owned(), quotas.into());
        assert_node_refused(&sandbox, &odd, &["quotas.", quota]);
    }
    for (bytes, words) in [(4096, "too small"), (5_000_000, "power of two")] {
        let mut cramped = own.clone();
        cramped.insert("settle_ring_bytes".to_owned(), bytes.into());
        assert_node_refused(&sandbox, &cramped, &[words]);
    }

    std::fs::create_dir(sandbox.path("net/node-0")).unwrap();
    std::fs::write(sandbox.path("net/node-0/letters"), "x").unwrap();
    assert_node_refused(
        &sandbox,
        &own,
        &["net/node-0", "no journal", "empty folder"],
    );
}

#[test]
fn a_node_whose_port_is_taken_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    for listen in ["client_listen", "peer_listen", "metrics_listen"] {
        let mut config = read_config(&sandbox, 0);
        config.insert(listen.to_owned(), address.clone().into());
        for other in ["client_listen", "peer_listen"] {
            if other != listen {
                config.insert(other.to_owned(), "127.0.0.1:0".into());
            }
        }
        assert_node_refused(&sandbox, &config, &[&address, "cannot listen"]);
    }
}

fn read_config(sandbox: &Sandbox, index: u8) -> toml::Table {
    let path = sandbox.path(&format!("net/node-{index}.toml"));
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Starts a node with this configuration in the folder `net`; it must refuse and leave everything as it was.
fn assert_node_refused(sandbox: &Sandbox, config: &toml::Table, words: &[&str]) {
    let text = toml::to_string(config).unwrap();
    std::fs::write(sandbox.path("net/changed.toml"), text).unwrap();
    let before = sandbox.listing();
    let ran = sandbox.run(&["node", "--config", "net/changed.toml"]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    // A node says first what backend and cores it chose.
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("fairlane: "), "{ran:?}");
    for word in words {
        assert!(last.contains(word), "no {word:?} in {ran:?}");
    }
    assert_eq!(sandbox.listing(), before, "left behind by {config:?}");
    sandbox.assert_nothing_runs();
}
