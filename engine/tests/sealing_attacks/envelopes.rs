//! What can be done to an envelope without knowing its r.

use std::ops::Range;

use fairlane_engine::seal::{
    Envelope, EnvelopeError, EnvelopeKind, Label, Padding, SealingKey, check_reveal, opened_len,
};
use fairlane_engine::types::{KeyId, RollupId, TimestampUs};

use crate::common::hostile::{client_r, envelope_under};
use crate::net::{Net, ROLLUP, UNTIL};

/// Where the fields of a sealed envelope stand.
const POINTS: [(&str, usize); 4] = [("U", 64), ("U2", 96), ("W", 128), ("W2", 160)];
const CONTENT_AT: usize = 192;

/// Encodings that no decoder may take: RFC 9496, appendix A.2, and the eight points of small order of the
/// Edwards curve beneath, which have no place in the group.
pub(crate) const BAD_ENCODINGS: [&str; 38] = [
    // Not canonical.
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // Negative.
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    // x^2 is no square.
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    // x y is negative.
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    // y = 0.
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // The identity.
    "0000000000000000000000000000000000000000000000000000000000000000",
    // Edwards points of order 2, 4 and 8, as Ed25519 writes them, where not above already.
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    // The same points with y written plus p, or with a sign that 0 does not have.
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
];

pub(crate) fn bad_encoding(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// A victim's envelope, its label, and that label with each field changed in turn.
fn other_labels(net: &Net, next: &SealingKey) -> (Vec<u8>, Vec<(&'static str, Label)>) {
    let victim = net.sealed(b"victim", 1);
    let label = *Envelope::decode(victim.as_slice().into()).unwrap().label();
    let changed = vec![
        (
            "rollup",
            Label {
                rollup: RollupId(label.rollup.0 + 1),
                ..label
            },
        ),
        (
            "epoch",
            Label {
                key_id: next.key_id(),
                ..label
            },
        ),
        (
            "key",
            Label {
                key_id: KeyId([1; 16]),
                ..label
            },
        ),
        (
            "sender",
            Label {
                sender_tag: [7; 16],
                ..label
            },
        ),
        (
            "expiry",
            Label {
                valid_until: TimestampUs(label.valid_until.0 + 1),
                ..label
            },
        ),
        (
            "padding",
            Label {
                padding: Padding::Iso7816,
                ..label
            },
        ),
    ];
    (victim, changed)
}

#[test]
fn a_seal_copied_under_another_label_is_refused() {
    let (net, next) = (Net::new(0, 4, 3), Net::new(1, 4, 3));
    let (victim, labels) = other_labels(&net, &next.key);
    for (field, label) in labels {
        let copied = [&label.encode()[..], &victim[64..]].concat();
        let refused = match field {
            "epoch" | "key" => EnvelopeError::WrongKey,
            _ => EnvelopeError::BadProof,
        };
        assert_eq!(net.check(copied.clone()).err(), Some(refused), "{field}");
        if field == "epoch" {
            let there = next.check(copied).err();
            assert_eq!(there, Some(EnvelopeError::BadProof), "in the next epoch");
        }
    }
    let stretched = [&victim[..CONTENT_AT], &[0], &victim[CONTENT_AT..]].concat();
    assert_eq!(net.check(stretched).err(), Some(EnvelopeError::Malformed));
}

/// The label is part of the content key too: were a proof ever to pass, the victim's D would still open nothing.
#[test]
fn a_label_changed_after_all_opens_nothing() {
    let (net, next) = (Net::new(0, 4, 3), Net::new(1, 4, 3));
    let r = client_r(1);
    let d = net.key.committee_key().point() * r;
    let honest = envelope_under(&net.key, ROLLUP, UNTIL, r, &d, &r);
    let reveals = |bytes: &[u8]| {
        let envelope = Envelope::decode(bytes.into()).unwrap();
        let mut out = vec![0; opened_len(&envelope)];
        check_reveal(&net.key, &envelope, r.as_bytes(), &mut out)
    };
    assert!(reveals(&honest));
    for (field, label) in other_labels(&net, &next.key).1 {
        let label = Label {
            payload_len: 8,
            ..label
        };
        assert_eq!(label.kind, EnvelopeKind::Sealed);
        let copied = [&label.encode()[..], &honest[64..]].concat();
        assert!(!reveals(&copied), "{field}");
    }
}

#[test]
fn a_copied_u_with_a_proof_of_ones_own_is_refused() {
    let net = Net::new(0, 4, 3);
    let victim = net.sealed(b"victim!!", 1);
    // The thief's own r, and everything sound but the points taken from the victim.
    let own = net.garbage(1);
    let (z_at, end) = (own.len() - 32, own.len());
    for (name, fields) in [
        ("U", [64..96, NONE]),
        ("U and U2", [64..128, NONE]),
        ("U, U2 and C", [64..128, CONTENT_AT..z_at]),
        ("all but the proof", [64..z_at, NONE]),
        ("all but the label", [64..end, NONE]),
    ] {
        let refused = Some(EnvelopeError::BadProof);
        let stolen = with_fields_of(&own, &victim, &fields);
        assert_eq!(net.check(stolen).err(), refused, "{name}");
    }
}

const NONE: Range<usize> = 0..0;

/// `bytes` with these stretches taken from `other`.
fn with_fields_of(bytes: &[u8], other: &[u8], fields: &[Range<usize>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for field in fields {
        bytes[field.clone()].copy_from_slice(&other[field.clone()]);
    }
    bytes
}

#[test]
fn a_proof_replayed_on_other_bytes_is_refused() {
    let net = Net::new(0, 4, 3);
    let (proven, other) = (net.sealed(b"payload1", 1), net.sealed(b"payload2", 2));
    let end = proven.len();
    let z = end - 32..end;
    let replay = |fields: [Range<usize>; 2]| {
        let bytes = with_fields_of(&other, &proven, &fields);
        net.check(bytes).err()
    };
    let refused = Some(EnvelopeError::BadProof);
    assert_eq!(replay([128..192, z.clone()]), refused, "W, W2 and z");
    assert_eq!(replay([64..192, z.clone()]), refused, "all but C");
    assert_eq!(replay([NONE, z]), refused, "z");
    assert_eq!(replay([CONTENT_AT..end - 32, NONE]), refused, "C alone");
    assert_eq!(replay([0..end, NONE]), None, "the whole is the other one");
}

#[test]
fn no_bad_encoding_passes_in_any_field() {
    let net = Net::new(0, 4, 3);
    let sealed = net.sealed(b"payload", 1);
    let (x, shares) = (
        *net.key.committee_key().bytes(),
        net.key.verification_shares().iter(),
    );
    let shares: Vec<[u8; 32]> = shares.map(|share| *share.bytes()).collect();
    let assemble = |x, shares: &[[u8; 32]]| {
        SealingKey::from_parts(net.key.chain_id(), net.key.epoch(), 4, 3, x, shares)
    };
    assert!(assemble(x, &shares).is_ok());
    for bad in BAD_ENCODINGS {
        let encoding = bad_encoding(bad);
        for (field, at) in POINTS {
            let mut bytes = sealed.clone();
            bytes[at..at + 32].copy_from_slice(&encoding);
            let refused = Some(EnvelopeError::Malformed);
            assert_eq!(net.check(bytes).err(), refused, "{field} = {bad}");
        }
        assert!(assemble(encoding, &shares).is_err(), "X = {bad}");
        let mut with_bad = shares.clone();
        with_bad[2] = encoding;
        assert!(assemble(x, &with_bad).is_err(), "X_2 = {bad}");
    }
}
