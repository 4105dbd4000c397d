//! A settlement worker as its operator meets it.

use crate::sandbox::Sandbox;

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
