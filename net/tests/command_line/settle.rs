//! A settlement worker as its operator meets it.

use crate::sandbox::{Sandbox, is_private};

#[test]
fn a_sink_that_is_half_said_is_refused_in_one_sentence() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let path = sandbox.path("net/settle-1.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let journal = "sink = \"journal\"\n";
    assert!(text.contains(journal), "{text}");
    let with = |lines: &str| text.replace(journal, lines);
    for (text, words) in [
        (
            with("sink = \"ndjson\"\n"),
            "sink = \"ndjson\" needs ndjson",
        ),
        (with("ndjson = \"lines\"\n"), "of no use without"),
        (with("sink = \"paper\"\n"), "paper"),
        (
            with("sink = \"ndjson\"\nndjson = \"no/such/folder/lines\"\n"),
            "no/such/folder/lines",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = sandbox.run(&["settle", "--config", "net/settle-1.toml"]);
        ran.assert_refused(&[words]);
    }
}

#[test]
fn a_worker_of_another_machine_that_is_half_said_is_refused_in_one_sentence() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", "net"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let key = sandbox.run(&["settle-key", "--out", "net/worker.key"]);
    assert_eq!(key.status, Some(0), "{key:?}");
    assert_eq!(key.stdout.trim().len(), 64, "the public half");
    assert!(is_private(&sandbox.path("net/worker.key")));
    sandbox
        .run(&["settle-key", "--out", "net/worker.key"])
        .assert_refused(&["is there already"]);
    let path = sandbox.path("net/settle-1.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let socket = "socket = \"node-0.sock\"\n";
    assert!(text.contains(socket), "{text}");
    let with = |lines: &str| text.replace(socket, lines);
    let whole = "authority = 0\nkey = \"worker.key\"\n";
    for (text, words) in [
        (with(""), "name the node"),
        (
            with(&format!("{socket}node = \"tcp://127.0.0.1:1\"\n")),
            "two ways to a node",
        ),
        (with("node = \"127.0.0.1:1\"\n"), "node is not like"),
        (
            with("node = \"tcp://127.0.0.1:1\"\n"),
            "node needs committee",
        ),
        (
            with("node = \"tcp://127.0.0.1:1\"\nauthority = 9\nkey = \"worker.key\"\n"),
            "authority names none",
        ),
        (
            with("node = \"tcp://127.0.0.1:1\"\nauthority = 0\nkey = \"settle-1.toml\"\n"),
            "holds no key",
        ),
        (
            with(&format!("node = \"tcp://127.0.0.1:1\"\n{whole}")),
            "connecting to 127.0.0.1:1",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = sandbox.run(&["settle", "--config", "net/settle-1.toml"]);
        ran.assert_refused(&[words]);
    }
}
