//! `WIRE.md` against the code: every example on the page is what the encoders write, every number on it is the code's.
//!
//! The page's hexadecimal blocks are compared line by line, field names included, so that a field that moves, grows or
//! is renamed fails here. On a difference the block as it should be is printed, ready to be copied into the page.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]

#[path = "support/wire_examples.rs"]
mod examples;
#[path = "support/wire_recipe.rs"]
mod recipe;

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::Signature;
use examples::{
    Fields, KEY_STATEMENT, LABEL, SIGNED_HEADER, VALID_UNTIL, directory, expected, included_frame,
    inclusion, key_frame, receipt, receipts_frame, recipe_of, sealed, signing_key,
};
use fairlane_client::committee_file::CommitteeFile;
use fairlane_client::protocol::{
    AckCode, CERTIFIED_HEADERS_MAX, DATAGRAM_ENVELOPE_LEN_MAX, DATAGRAM_LEN_MAX, ENVELOPE_LEN_MAX,
    FollowCode, GOODBYE_TEXT_LEN_MAX, GoodbyeCode, Hello, NOTICE_LEN_MAX, Notice, REQUEST_LEN_MAX,
    encode_hello, next_frame,
};
use fairlane_client::receipt::Receipt;
use fairlane_engine::admit::label_rules::{TIME_AHEAD_US_MAX, TIME_LEFT_US_MIN};
use fairlane_engine::admit::table::CLIENTS_AN_ENVELOPE_MAX;
use fairlane_engine::batch::{self, BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, Outcome, header};
use fairlane_engine::certificate::CERTIFICATE_LEN;
use fairlane_engine::committee::{LEADER_RETURN_LIMIT, VERTEX_ENTRIES_LIMIT};
use fairlane_engine::dag::header::{POSITION_MAX, ROUND_MAX};
use fairlane_engine::dag::{SignedHeader, VertexRef};
use fairlane_engine::merkle::PATH_LEN_MAX;
use fairlane_engine::message::{PeerMessage, VOUCH_KIND, WANT_ENVELOPES_MAX, WANT_VERTICES_MAX};
use fairlane_engine::seal::share::SHARE_MESSAGE_OVERHEAD;
use fairlane_engine::seal::{
    EncodedPoint, LABEL_LEN, SEALED_OVERHEAD, SHARES_MAX, ShareMessage, deal,
};
use fairlane_engine::sync::part::{Item, Part, WantPart};
use fairlane_engine::types::{
    AUTHORITIES_MAX, BatchSeq, ChainId, Epoch, Round, Sha256Hash, TimestampUs,
};

const PAGE: &str = include_str!("../WIRE.md");

/// The fenced blocks of the page whose info string is `language` and a name.
fn blocks(language: &str) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let name = line
            .strip_prefix("```")
            .and_then(|info| info.strip_prefix(language));
        if let Some(name) = name.and_then(|name| name.strip_prefix(' ')) {
            let body = lines.by_ref().take_while(|line| *line != "```");
            let text = body.fold(String::new(), |text, line| text + line + "\n");
            assert!(
                found.insert(name, text).is_none(),
                "block {name} stands twice"
            );
        }
    }
    found
}

/// The rows of the table under the heading `heading`, cells trimmed and without backquotes.
fn table(heading: &str) -> Vec<Vec<String>> {
    let mut lines = PAGE
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some(), "no heading {heading:?}");
    lines
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

/// The first two cells of each row.
fn pairs(heading: &str) -> Vec<(String, String)> {
    let rows = table(heading).into_iter();
    rows.map(|row| (row[0].clone(), row[1].clone())).collect()
}

fn owned(rows: impl IntoIterator<Item = (String, &'static str)>) -> Vec<(String, String)> {
    rows.into_iter()
        .map(|(number, name)| (number, name.to_owned()))
        .collect()
}

#[test]
fn every_example_is_what_the_encoders_write() {
    let (page, expected) = (blocks("hex"), expected());
    let differing: String = expected
        .iter()
        .filter(|(name, text)| page.get(*name) != Some(*text))
        .map(|(name, text)| format!("```hex {name}\n{text}```\n"))
        .collect();
    assert!(differing.is_empty(), "WIRE.md should have\n{differing}");
    assert_eq!(
        page.len(),
        expected.len(),
        "the page has a block that no encoder writes"
    );
}

#[test]
fn the_pages_recipe_seals_as_the_engine_does() {
    let (sealed, key) = (sealed(), directory().sealing_key);
    assert_eq!(recipe_of(&sealed).envelope, sealed.bytes()[..]);
    let parts: [&[u8]; 6] = [
        &7u64.to_be_bytes(),
        &2u32.to_be_bytes(),
        &4u32.to_be_bytes(),
        &3u32.to_be_bytes(),
        &key.delta().to_be_bytes(),
        key.committee_key().bytes(),
    ];
    let key_id = recipe::hash("fairlane/1/key-id", &parts);
    assert_eq!(key_id[..16], key.key_id().0);
    for tag in [
        "second-generator",
        "kem",
        "envelope",
        "seal-r",
        "seal-s",
        "key-id",
        "vertex",
    ] {
        assert!(PAGE.contains(&format!("\"fairlane/1/{tag}\"")), "{tag}");
    }
}

#[test]
fn the_pages_rule_verifies_its_receipt_and_refuses_another() {
    let bytes = receipts_frame();
    let (content, _) = next_frame(&bytes, NOTICE_LEN_MAX).unwrap().unwrap();
    let Notice::Receipts(list) = Notice::decode(content).unwrap() else {
        panic!("receipts are receipts")
    };
    let (signed_header, path, entry) = receipt();
    let receipt = Receipt {
        signed_header,
        entry_index: 2,
        path,
    };
    receipt.verify(&directory().committee, &entry).unwrap();
    let item = &content[2 + SignedHeader::LEN + 4..];
    let holds = |item: &[u8], author: u8, until: TimestampUs| {
        let key = signing_key(author).verifying_key();
        recipe::is_receipt_for(list.signed_header, item, &key, &entry.digest.0, until.0)
    };
    assert!(holds(item, 3, VALID_UNTIL));
    assert!(!holds(item, 2, VALID_UNTIL), "another author");
    assert!(!holds(item, 3, VALID_UNTIL.plus_us(1)), "another entry");
    let mut moved = item.to_vec();
    moved[11] = 1;
    assert!(!holds(&moved, 3, VALID_UNTIL), "another place");
}

#[test]
fn the_pages_rule_verifies_a_key_statement_and_refuses_another() {
    let (frame, key) = key_frame();
    let (content, _) = next_frame(&frame, NOTICE_LEN_MAX).unwrap().unwrap();
    let holds = |content: &[u8], author: u8| {
        let (signature, statement) = content[2..].split_at(64);
        let hash = *blake3::hash(statement).as_bytes();
        let message = [b"fairlane/1/key-statement", &hash[..]].concat();
        let signature = Signature::from_slice(signature).unwrap();
        let signer = signing_key(author).verifying_key();
        signer.verify_strict(&message, &signature).is_ok()
    };
    assert!(holds(content, 3));
    assert!(!holds(content, 2), "another authority");
    let mut changed = content.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert!(!holds(&changed, 3), "another key");
    assert_eq!(content[2 + 64 + 29..][..32], *key.committee_key().bytes());
    assert!(PAGE.contains("\"fairlane/1/key-statement\""));
}

#[test]
fn the_pages_rule_proves_an_inclusion_and_refuses_another() {
    let committee = directory().committee;
    let (inclusion, chain) = inclusion();
    chain.verify(&committee).unwrap();
    assert!(chain.covers(&inclusion.header));
    let frame = included_frame();
    let (content, _) = next_frame(&frame, NOTICE_LEN_MAX).unwrap().unwrap();
    let (header, item) = (&content[2..][..181], &content[2 + 181 + 4..]);
    assert_eq!(header, inclusion.header.encode());
    assert!(recipe::is_included(header, item));
    for at in [11, 12, 44, 52, 53, 90, item.len() - 1] {
        let mut other = item.to_vec();
        other[at] ^= 1;
        assert!(!recipe::is_included(header, &other), "byte {at}");
    }
}

#[test]
fn the_pages_committee_file_is_the_examples_committee() {
    let (page, expected) = (blocks("json"), CommitteeFile::describe(&directory()));
    let file = CommitteeFile::parse(&page["committee"]);
    assert_eq!(
        file.as_ref(),
        Ok(&expected),
        "it should be\n{}",
        expected.to_json()
    );
    file.unwrap().resolve().unwrap();
}

#[test]
fn every_kind_and_code_stands_on_the_page_with_its_number_and_no_other() {
    for (module, heading, count) in [
        ("kind", "Client frames", 13),
        ("datagram_kind", "Datagrams", 5),
    ] {
        let kinds = kinds_of(module);
        assert_eq!(kinds.len(), count, "a new kind needs an example too");
        assert_eq!(pairs(heading), kinds);
    }

    let codes = AckCode::ALL.map(|code| (code.as_u8().to_string(), code.name()));
    assert_eq!(pairs("Ack codes"), owned(codes));
    let codes = GoodbyeCode::ALL.map(|code| {
        let name = match code {
            GoodbyeCode::Stopping => "stopping",
            GoodbyeCode::BadFrame => "bad_frame",
            GoodbyeCode::WrongChain => "wrong_chain",
            GoodbyeCode::TooSlow => "too_slow",
            GoodbyeCode::TooManyConnections => "too_many_connections",
        };
        (code.as_u8().to_string(), name)
    });
    assert_eq!(pairs("Goodbye codes"), owned(codes));
    let codes = FollowCode::ALL.map(|code| (code.as_u8().to_string(), code.name()));
    assert_eq!(pairs("Follow codes"), owned(codes));
}

/// Numbers and names of a module of kinds in the protocol's source.
fn kinds_of(module: &str) -> Vec<(String, String)> {
    let source = include_str!("../src/protocol.rs");
    let (_, kinds) = source.split_once(&format!("pub mod {module} {{")).unwrap();
    let (kinds, _) = kinds.split_once("\n}").unwrap();
    let constants = kinds
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const "));
    constants
        .map(|line| line.trim_end_matches(';').split_once(": u8 = ").unwrap())
        .map(|(name, number)| (number.to_owned(), name.to_lowercase()))
        .collect()
}

#[test]
fn flags_and_outcomes_mean_what_the_page_says() {
    let flag = |receipts, ordered, settled, keys| {
        let (chain_id, mut out) = (ChainId(7), Vec::new());
        let hello = Hello {
            chain_id,
            receipts,
            ordered,
            settled,
            keys,
        };
        encode_hello(&mut out, &hello);
        *out.last().unwrap()
    };
    let receipts = flag(true, false, false, false);
    let ordered = flag(false, true, false, false);
    let settled = flag(false, false, true, false);
    let keys = flag(false, false, false, true);
    let said = format!("{receipts} receipts, {ordered} ordered, {settled} settled, {keys} keys");
    assert!(PAGE.contains(&said), "{said}");

    let (offset, len, r) = (0, 0, [0; 32]);
    let open = Outcome::Open { offset, len }.code();
    let revealed = Outcome::Revealed { r, offset, len }.code();
    let said = format!(
        "{open} open, {revealed} revealed, {} void",
        Outcome::Void.code()
    );
    assert!(PAGE.contains(&said), "{said}");
}

#[test]
fn the_pages_rule_verifies_a_share_message_and_refuses_a_changed_one() {
    let (key, shares) = deal(ChainId(7), Epoch(2), 4, 3, &[1; 32]).unwrap();
    let sealed = sealed();
    let us = [&sealed.bytes()[64..96], &sealed.bytes()[128..160]];
    let points = us.map(|u| EncodedPoint::decode(u.try_into().unwrap()).unwrap());
    let (seq, root) = (BatchSeq(12), Sha256Hash([0x77; 32]));
    let signing = signing_key(1);
    let (message, _) = ShareMessage::make(&shares[1], &key, &signing, seq, root, &points).unwrap();
    let bytes = message.encode();
    let x_i = key.verification_shares()[1].bytes();
    let holds = |bytes: &[u8]| recipe::share_holds(bytes, x_i, &us, &signing.verifying_key());
    assert_eq!(holds(&bytes), (true, true));
    assert_eq!(bytes.len(), 62 + 2 * 32 + 3 * 32 + 64);
    let mut other_batch = bytes.clone();
    other_batch[24] ^= 1;
    assert_eq!(holds(&other_batch), (false, false));
    for tag in ["share", "share-weights", "share-proof", "share-message"] {
        assert!(PAGE.contains(&format!("\"fairlane/1/{tag}\"")), "{tag}");
    }
}

#[test]
fn every_message_between_authorities_stands_on_the_page_with_its_kind() {
    let name = |message: &PeerMessage| match message {
        PeerMessage::Vertex(_) => "vertex",
        PeerMessage::WantVertices(_) => "want_vertices",
        PeerMessage::WantEnvelopes(_) => "want_envelopes",
        PeerMessage::Envelope(_) => "envelope",
        PeerMessage::Share(_) => "share",
        PeerMessage::WantShare(_) => "want_share",
        PeerMessage::WantRounds { .. } => "want_rounds",
        PeerMessage::WantPart(_) => "want_part",
        PeerMessage::Part(_) => "part",
        PeerMessage::WantNewest { .. } => "want_newest",
        PeerMessage::Newest { .. } => "newest",
    };
    let none = || Arc::from(&b""[..]);
    let want = WantPart {
        item: Item::Proof(Round(0)),
        index: 0,
    };
    let messages = [
        PeerMessage::Vertex(none()),
        PeerMessage::WantVertices(Vec::new()),
        PeerMessage::WantEnvelopes(Vec::new()),
        PeerMessage::Envelope(none()),
        PeerMessage::Share(none()),
        PeerMessage::WantShare(BatchSeq(0)),
        PeerMessage::WantRounds {
            after: Round(0),
            count: 1,
        },
        PeerMessage::WantPart(want),
        PeerMessage::Part(Part::of(want, None)),
        PeerMessage::WantNewest {
            token: TimestampUs(0),
        },
        PeerMessage::Newest {
            token: TimestampUs(0),
            vertex: None,
        },
    ];
    let rows = messages
        .iter()
        .map(|message| (format!("{:#04x}", message.kind()), name(message)))
        .chain([(format!("{VOUCH_KIND:#04x}"), "vouch")]);
    assert_eq!(pairs("Messages between authorities"), owned(rows));
}

const CERTIFICATE: Fields = &[
    ("version", 1),
    ("chain_id", 8),
    ("epoch", 4),
    ("seq", 8),
    ("header_hash", 32),
    ("signers", 16),
    ("signature", 48),
];

#[test]
fn every_layout_on_the_page_has_the_codes_offsets() {
    let share: Fields = &[
        ("version", 1),
        ("key_id", 16),
        ("seq", 8),
        ("order_root", 32),
        ("author", 1),
        ("count", 4),
    ];
    let layouts = [
        ("Label", LABEL),
        ("Signed vertex header", SIGNED_HEADER),
        ("Share message", share),
        ("Key statements", KEY_STATEMENT),
        ("Certificates", CERTIFICATE),
    ];
    for (heading, fields) in layouts {
        let mut offset = 0;
        let rows: Vec<Vec<String>> = fields
            .iter()
            .map(|(name, len)| {
                offset += len;
                vec![
                    (offset - len).to_string(),
                    len.to_string(),
                    (*name).to_owned(),
                ]
            })
            .collect();
        let page: Vec<Vec<String>> = table(heading).iter().map(|row| row[..3].to_vec()).collect();
        // Fields behind a list have no fixed offset and come after these rows.
        assert_eq!(page[..rows.len()], rows, "{heading}");
        assert!(
            page[rows.len()..]
                .iter()
                .all(|row| row[..2].concat().contains('m')),
            "{heading}"
        );
    }
    assert_eq!(LABEL.iter().map(|(_, len)| len).sum::<usize>(), LABEL_LEN);
    let certificate = CERTIFICATE.iter().map(|(_, len)| len).sum::<usize>();
    assert_eq!(certificate, CERTIFICATE_LEN);
    assert_eq!(
        SIGNED_HEADER.iter().map(|(_, len)| len).sum::<usize>(),
        SignedHeader::LEN
    );
    // What the page's text says about lengths without a table.
    assert_eq!(62 + 3 * 32 + 64, SHARE_MESSAGE_OVERHEAD);
    assert_eq!((SignedHeader::LEN, VertexRef::LEN), (211, 8 + 1 + 32));

    let batch = [
        (header::VERSION_AT, "version"),
        (header::CHAIN_ID_AT, "chain_id"),
        (header::EPOCH_AT, "epoch"),
        (header::SEQ_AT, "seq"),
        (header::PREVIOUS_AT, "previous"),
        (header::ANCHOR_ROUND_AT, "anchor_round"),
        (header::TIME_US_AT, "time_us"),
        (header::ORDER_ROOT_AT, "order_root"),
        (header::PAYLOAD_ROOT_AT, "payload_root"),
        (header::STATE_ROOT_AT, "state_root"),
        (header::ENTRIES_AT, "entries"),
        (header::VOID_AT, "void"),
        (header::GROUP_WAIT_CUT_AT, "group_wait_cut"),
        (header::CAP_FIRED_AT, "cap_fired"),
        (batch::HEADER_LEN, ""),
    ];
    let rows: Vec<Vec<String>> = batch
        .windows(2)
        .map(|pair| {
            vec![
                pair[0].0.to_string(),
                (pair[1].0 - pair[0].0).to_string(),
                pair[0].1.to_owned(),
            ]
        })
        .collect();
    let page: Vec<Vec<String>> = table("Batch header")
        .iter()
        .map(|row| row[..3].to_vec())
        .collect();
    assert_eq!(page, rows);
}

#[test]
fn every_limit_on_the_page_is_the_codes() {
    let limits = [
        ("envelope over TCP", ENVELOPE_LEN_MAX as u64),
        ("datagram", DATAGRAM_LEN_MAX as u64),
        ("envelope in a datagram", DATAGRAM_ENVELOPE_LEN_MAX as u64),
        ("bytes that sealing adds", SEALED_OVERHEAD as u64),
        ("length field, from a client", REQUEST_LEN_MAX.into()),
        ("length field, from a node", NOTICE_LEN_MAX.into()),
        ("goodbye text", GOODBYE_TEXT_LEN_MAX as u64),
        ("Merkle path, hashes", PATH_LEN_MAX.into()),
        ("least time left at submission, us", TIME_LEFT_US_MIN),
        ("most time ahead at submission, us", TIME_AHEAD_US_MAX),
        (
            "submissions of one envelope that get notices",
            CLIENTS_AN_ENVELOPE_MAX as u64,
        ),
        ("headers with a certificate", CERTIFIED_HEADERS_MAX.into()),
        ("authorities", AUTHORITIES_MAX as u64),
        ("vertex_entries_max", VERTEX_ENTRIES_LIMIT.into()),
        ("leader_return_anchors", LEADER_RETURN_LIMIT.into()),
        ("round", ROUND_MAX),
        ("first_position", POSITION_MAX),
        ("entries of a batch", BATCH_ENTRIES_MAX as u64),
        ("payload bytes of a batch", BATCH_PAYLOAD_MAX as u64),
        ("shares of a share message", SHARES_MAX as u64),
        ("vertices of a request", WANT_VERTICES_MAX.into()),
        ("envelopes of a request", WANT_ENVELOPES_MAX.into()),
    ];
    let limits = limits.map(|(name, max)| (name.to_owned(), max.to_string()));
    assert_eq!(pairs("Limits"), limits);
}
