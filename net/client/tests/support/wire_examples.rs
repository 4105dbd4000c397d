//! The examples of `WIRE.md`, made by the encoders: one small committee, one envelope sealed and open, one of each frame.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_client::committee_file::{Addresses, Directory};
use fairlane_client::protocol::{
    Ack, AckCode, FollowCode, FollowTarget, GoodbyeCode, Hello, IncludedEntry, KeyNotice,
    OrderedItem, Reveal, Welcome, encode_acks, encode_certified, encode_datagram_hello,
    encode_datagram_submit, encode_datagram_token, encode_datagram_unknown, encode_follow,
    encode_following, encode_goodbye, encode_hello, encode_included, encode_key, encode_ordered,
    encode_receipts, encode_settled, encode_submit, encode_welcome, pack_notices,
};
use fairlane_client::{CertifiedChain, Inclusion};
use fairlane_engine::batch::{BatchHeader, Outcome, payload_leaf};
use fairlane_engine::certificate::{
    CERTIFICATE_LEN, CertificateSecret, CertifiedHeader, aggregate,
};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::dag::{Settled, SignedHeader, VertexHeader, entry_leaf};
use fairlane_engine::keyring::statement::{KeyStatement, sign_statement};
use fairlane_engine::merkle::Tree;
use fairlane_engine::seal::{Envelope, LabelFields, SealingKey, deal, open_envelope, seal};
use fairlane_engine::types::{
    AuthorityIndex, BatchSeq, ChainId, Digest, Entry, Epoch, Position, RollupId, Round, Sha256Hash,
    TimestampUs,
};

use crate::recipe;

/// Fields of a format in order, with their lengths in bytes.
pub(crate) type Fields = &'static [(&'static str, usize)];

pub(crate) const LABEL: Fields = &[
    ("version", 1),
    ("kind", 1),
    ("padding", 1),
    ("reserved", 1),
    ("rollup_id", 8),
    ("chain_id", 8),
    ("key_id", 16),
    ("valid_until_us", 8),
    ("sender_tag", 16),
    ("payload_len", 4),
];
pub(crate) const SIGNED_HEADER: Fields = &[
    ("version", 1),
    ("chain_id", 8),
    ("epoch", 4),
    ("round", 8),
    ("author", 1),
    ("timestamp_us", 8),
    ("first_position", 8),
    ("entry_count", 4),
    ("entries_root", 32),
    ("parent_count", 1),
    ("parents_root", 32),
    ("settled_count", 8),
    ("settled_hash", 32),
    ("signature", 64),
];
const FRAME_HEAD: Fields = &[("length", 4), ("version", 1), ("kind", 1)];
const CARRIED_LEN: usize = 16;

/// The committee of the page's examples.
pub(crate) fn directory() -> Directory {
    let (sealing_key, _) = deal(ChainId(7), Epoch(2), 4, 3, &[1; 32]).unwrap();
    let rollup = Rollup {
        id: RollupId(1),
        policy: RollupPolicy::Either,
    };
    let committee = Committee::new(
        ChainId(7),
        Epoch(2),
        TimestampUs(1_700_000_000_000_000),
        Parameters::default(),
        vec![rollup],
        (0..4).map(|i| signing_key(i).verifying_key()).collect(),
    );
    let addresses = (0..4u16).map(|index| Addresses {
        client: SocketAddr::from(([127, 0, 0, 1], 7_000 + index)),
        peer: SocketAddr::from(([127, 0, 0, 1], 7_100 + index)),
    });
    let certificate_keys: Vec<_> = (0..4u8)
        .map(|index| CertificateSecret::generate(&[index + 1; 32]))
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let committee = committee.unwrap();
    Directory {
        committee: committee.with_certificate_keys(&certificate_keys).unwrap(),
        sealing_key,
        addresses: addresses.collect(),
        link_keys: (0..4u8).map(|index| [index + 60; 32]).collect(),
    }
}

pub(crate) fn signing_key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

const PAYLOAD: &[u8] = b"buy 1 at 100";
pub(crate) const VALID_UNTIL: TimestampUs = TimestampUs(1_700_000_030_000_000);

fn entropy() -> [u8; 64] {
    std::array::from_fn(|at| at as u8)
}

fn fields(padded_len: Option<u32>) -> LabelFields {
    LabelFields {
        rollup: RollupId(1),
        valid_until: VALID_UNTIL,
        sender_tag: [0x5e; 16],
        padded_len,
    }
}

pub(crate) fn sealed() -> Envelope {
    let key = directory().sealing_key;
    let fields = fields(Some(CARRIED_LEN as u32));
    let bytes = seal(&key, &fields, PAYLOAD, &entropy()).unwrap();
    Envelope::decode(Arc::from(bytes)).unwrap()
}

fn opened() -> Envelope {
    let key = directory().sealing_key;
    let bytes = open_envelope(&key, &fields(None), PAYLOAD).unwrap();
    Envelope::decode(Arc::from(bytes)).unwrap()
}

/// A vertex of authority 3 that lists the sealed envelope third of three.
pub(crate) fn receipt() -> (SignedHeader, Vec<Sha256Hash>, Entry) {
    let entry = Entry {
        digest: sealed().digest(),
        valid_until: VALID_UNTIL,
    };
    let other = |byte| Entry {
        digest: Digest([byte; 32]),
        valid_until: VALID_UNTIL,
    };
    let tree = Tree::new([other(1), other(2), entry].iter().map(entry_leaf).collect());
    let header = VertexHeader {
        chain_id: ChainId(7),
        epoch: Epoch(2),
        round: Round(41),
        author: AuthorityIndex(3),
        timestamp: TimestampUs(1_700_000_001_000_000),
        first_position: Position(900),
        entry_count: 3,
        entries_root: tree.root(),
        parent_count: 4,
        parents_root: Digest([0xdd; 32]),
        settled: Settled {
            count: 12,
            hash: Sha256Hash([0xee; 32]),
        },
    };
    (header.sign(&signing_key(3)), tree.path(2), entry)
}

pub(crate) fn receipts_frame() -> Vec<u8> {
    let (signed, path, _) = receipt();
    let (mut header, mut out) = (Vec::new(), Vec::new());
    signed.encode(&mut header);
    let header = header.as_slice().try_into().unwrap();
    encode_receipts(&mut out, header, &[(5, 2, &path)]);
    out
}

pub(crate) const KEY_STATEMENT: Fields = &[
    ("version", 1),
    ("chain_id", 8),
    ("epoch", 4),
    ("since_us", 8),
    ("authorities", 4),
    ("threshold", 4),
    ("committee_key", 32),
];

/// What authority 3 says of the key that the committee made for epoch 3, and that key.
pub(crate) fn key_frame() -> (Vec<u8>, SealingKey) {
    let (key, _) = deal(ChainId(7), Epoch(3), 4, 3, &[2; 32]).unwrap();
    let statement = KeyStatement {
        since: TimestampUs(1_700_000_600_000_000),
        key: key.clone(),
    };
    let (statement, mut out) = (statement.encode(), Vec::new());
    let notice = KeyNotice {
        signature: &sign_statement(&statement, &signing_key(3)).to_bytes(),
        statement: &statement,
    };
    encode_key(&mut out, &notice);
    (out, key)
}

/// Batch 12 holds the open envelope second of two; batch 13 follows it, and authorities 0, 1 and 3 have certified that.
pub(crate) fn inclusion() -> (Inclusion, CertifiedChain) {
    let (directory, opened) = (directory(), opened());
    let (digest, rollup_id) = (opened.digest(), RollupId(1));
    let len = PAYLOAD.len() as u32;
    let outcome = Outcome::Open { offset: 0, len };
    let other = payload_leaf(Digest([1; 32]), rollup_id, &Outcome::Void, &[]);
    let tree = Tree::new(vec![
        other,
        payload_leaf(digest, rollup_id, &outcome, PAYLOAD),
    ]);
    let header = BatchHeader {
        chain_id: ChainId(7),
        epoch: Epoch(2),
        seq: BatchSeq(12),
        previous: Sha256Hash([0xaa; 32]),
        anchor_round: Round(43),
        time_us: TimestampUs(1_700_000_001_200_000),
        order_root: Sha256Hash([0xbb; 32]),
        payload_root: tree.root(),
        entries: 2,
        void: 1,
        ..BatchHeader::default()
    };
    let next = BatchHeader {
        seq: BatchSeq(13),
        previous: header.hash(),
        anchor_round: Round(44),
        ..header
    };
    let certified = CertifiedHeader::from(&next);
    let signed = [0u8, 1, 3].map(|index| {
        let secret = CertificateSecret::generate(&[index + 1; 32]);
        (AuthorityIndex(index), secret.sign(&certified))
    });
    let keys = directory.committee.certificate_keys().unwrap();
    let inclusion = Inclusion {
        header,
        index: 1,
        digest,
        rollup_id,
        reveal: Reveal::Open,
        payload: PAYLOAD.to_vec(),
        path: tree.path(1),
    };
    let chain = CertifiedChain {
        headers: vec![header, next],
        certificate: aggregate(&certified, &signed, keys).certificate.unwrap(),
    };
    (inclusion, chain)
}

pub(crate) fn included_frame() -> Vec<u8> {
    let (inclusion, _) = inclusion();
    let entry = IncludedEntry {
        name: 9,
        index: inclusion.index,
        digest: inclusion.digest,
        rollup_id: inclusion.rollup_id,
        reveal: inclusion.reveal,
        payload: &inclusion.payload,
        path: &inclusion.path,
    };
    let mut out = Vec::new();
    encode_included(&mut out, &inclusion.header, &[entry]);
    out
}

/// Writes `bytes` as the page does: a line a field, longer fields 32 bytes a line.
fn draw(bytes: &[u8], fields: &[(&str, usize)]) -> String {
    let (mut text, mut rest) = (String::new(), bytes);
    for (name, len) in fields {
        let (field, after) = rest.split_at(*len);
        let mut lines: Vec<String> = field.chunks(32).map(hex::encode).collect();
        write!(lines[0], "  # {name}").unwrap();
        writeln!(text, "{}", lines.join("\n")).unwrap();
        rest = after;
    }
    assert!(rest.is_empty(), "the fields cover all bytes");
    text
}

fn frame(encode: impl FnOnce(&mut Vec<u8>), body: &[(&str, usize)]) -> String {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    draw(&bytes, &[FRAME_HEAD, body].concat())
}

/// What a client drew, and what the node made of it.
const NONCE: u64 = 0x1122_3344_5566_7788;
const TOKEN: u64 = 0x99aa_bbcc_ddee_ff00;

fn datagram(encode: impl FnOnce(&mut Vec<u8>), body: &[(&str, usize)]) -> String {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    draw(&bytes, &[&[("version", 1), ("kind", 1)], body].concat())
}

/// The page's blocks by name, as the code would have them.
pub(crate) fn expected() -> BTreeMap<&'static str, String> {
    let directory = directory();
    let key_id = directory.sealing_key.key_id();
    let hello = Hello {
        chain_id: ChainId(7),
        receipts: true,
        ordered: true,
        settled: true,
        keys: true,
    };
    let welcome = Welcome {
        authority: AuthorityIndex(3),
        chain_id: ChainId(7),
        epoch: Epoch(2),
        key_id,
    };
    let acks = [
        (5, AckCode::Accepted, 0),
        (6, AckCode::Busy, 20_000),
        (7, AckCode::Duplicate, 11),
    ]
    .map(|(tag, code, detail)| Ack { tag, code, detail });
    let ordered = [(5, 0), (8, 1)].map(|(tag, index)| OrderedItem { tag, index });
    let ack = [("tag", 8), ("code", 1), ("detail", 8)];
    let place = [("tag", 8), ("index", 4)];
    let sealed_fields = [
        ("label", 64),
        ("U", 32),
        ("U2", 32),
        ("W", 32),
        ("W2", 32),
        ("C", 32 + CARRIED_LEN + 16),
        ("z", 32),
    ];
    let (sealed, opened) = (sealed(), opened());
    let made = recipe_of(&sealed);
    let secrets = [made.r, made.s, made.d, made.k, made.e].concat();
    let secret_fields = [("r", 32), ("s", 32), ("D", 32), ("K", 32), ("e", 32)];
    let g2 = recipe::second_generator().compress().to_bytes();
    let receipt_fields = [
        SIGNED_HEADER,
        &[("count", 4), ("tag", 8), ("entry_index", 4)],
        &[("path_len", 1), ("path", 32)],
    ]
    .concat();
    BTreeMap::from([
        (
            "hello",
            frame(
                |out| encode_hello(out, &hello),
                &[("chain_id", 8), ("flags", 1)],
            ),
        ),
        (
            "submit",
            frame(
                |out| encode_submit(out, 5, opened.bytes()).unwrap(),
                &[("tag", 8), ("envelope", opened.bytes().len())],
            ),
        ),
        (
            "welcome",
            frame(
                |out| encode_welcome(out, &welcome),
                &[
                    ("authority", 1),
                    ("chain_id", 8),
                    ("epoch", 4),
                    ("key_id", 16),
                ],
            ),
        ),
        (
            "acks",
            frame(
                |out| encode_acks(out, &acks),
                &[&[("count", 4)][..], &ack, &ack, &ack].concat(),
            ),
        ),
        (
            "receipts",
            frame(|out| *out = receipts_frame(), &receipt_fields),
        ),
        (
            "ordered",
            frame(
                |out| encode_ordered(out, BatchSeq(12), &ordered),
                &[&[("seq", 8), ("count", 4)][..], &place, &place].concat(),
            ),
        ),
        (
            "settled",
            frame(|out| encode_settled(out, 13), &[("count", 8)]),
        ),
        (
            "key",
            frame(
                |out| *out = key_frame().0,
                &[
                    &[("signature", 64)][..],
                    KEY_STATEMENT,
                    &[("verification_shares", 4 * 32)],
                ]
                .concat(),
            ),
        ),
        (
            "follow",
            frame(
                |out| encode_follow(out, 9, FollowTarget::Digest(opened.digest())),
                &[("name", 8), ("what", 1), ("digest", 32)],
            ),
        ),
        (
            "follow-rollup",
            frame(
                |out| encode_follow(out, 10, FollowTarget::Rollup(RollupId(1))),
                &[("name", 8), ("what", 1), ("rollup_id", 8)],
            ),
        ),
        (
            "following",
            frame(
                |out| encode_following(out, 9, FollowCode::Following),
                &[("name", 8), ("code", 1)],
            ),
        ),
        (
            "included",
            frame(
                |out| *out = included_frame(),
                &[
                    ("header", 181),
                    ("count", 4),
                    ("name", 8),
                    ("index", 4),
                    ("digest", 32),
                    ("rollup_id", 8),
                    ("outcome", 1),
                    ("r", 32),
                    ("payload_len", 4),
                    ("payload", PAYLOAD.len()),
                    ("path_len", 1),
                    ("path", 32),
                ],
            ),
        ),
        (
            "certified",
            frame(
                |out| {
                    let (_, chain) = inclusion();
                    encode_certified(out, &chain.certificate, chain.headers.into_iter());
                },
                &[
                    ("certificate", CERTIFICATE_LEN),
                    ("count", 4),
                    ("header", 181),
                    ("header", 181),
                ],
            ),
        ),
        (
            "goodbye",
            frame(
                |out| encode_goodbye(out, GoodbyeCode::BadFrame, "a second hello"),
                &[("code", 1), ("text", 14)],
            ),
        ),
        (
            "datagram-hello",
            datagram(
                |out| encode_datagram_hello(out, &hello, NONCE, TOKEN),
                &[("chain_id", 8), ("flags", 1), ("nonce", 8), ("token", 8)],
            ),
        ),
        (
            "datagram-submit",
            datagram(
                |out| encode_datagram_submit(out, TOKEN, 5, opened.bytes()).unwrap(),
                &[("token", 8), ("tag", 8), ("envelope", opened.bytes().len())],
            ),
        ),
        (
            "datagram-token",
            datagram(
                |out| encode_datagram_token(out, NONCE, TOKEN),
                &[("nonce", 8), ("token", 8)],
            ),
        ),
        (
            "datagram-notices",
            datagram(
                |out| {
                    let mut frames = Vec::new();
                    encode_acks(&mut frames, &acks[..1]);
                    encode_settled(&mut frames, 13);
                    pack_notices(&frames, NONCE, &mut |bytes| *out = bytes.to_vec());
                },
                &[
                    &[("nonce", 8)][..],
                    FRAME_HEAD,
                    &[("count", 4)],
                    &ack,
                    FRAME_HEAD,
                    &[("count", 8)],
                ]
                .concat(),
            ),
        ),
        (
            "datagram-unknown",
            datagram(|out| encode_datagram_unknown(out, TOKEN), &[("token", 8)]),
        ),
        ("label", draw(&sealed.bytes()[..64], LABEL)),
        ("sealed-envelope", draw(sealed.bytes(), &sealed_fields)),
        ("sealing-secrets", draw(&secrets, &secret_fields)),
        ("sealed-digest", draw(&sealed.digest().0, &[("digest", 32)])),
        ("g2", draw(&g2, &[("g2", 32)])),
        (
            "open-envelope",
            draw(opened.bytes(), &[("label", 64), ("payload", PAYLOAD.len())]),
        ),
        ("open-digest", draw(&opened.digest().0, &[("digest", 32)])),
    ])
}

/// The sealed envelope of the examples, made by the page's recipe.
pub(crate) fn recipe_of(sealed: &Envelope) -> recipe::Sealed {
    let key = directory().sealing_key;
    let label = sealed.bytes().first_chunk().unwrap();
    let carried = [PAYLOAD, &[0x80, 0, 0, 0]].concat();
    let x = key.committee_key().bytes();
    recipe::seal(x, label, PAYLOAD, &carried, &entropy())
}
