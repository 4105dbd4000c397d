//! What must be refused, and what must be void: each held against the engine.

use curve25519_dalek::scalar::Scalar;
use fairlane_engine::batch::archive::order_root;
use fairlane_engine::seal::{
    self, EnvelopeError, EnvelopeVerifier, Outcome, ShareError, ShareMessage, VerifiedShare,
    combine, open_into, opened_len,
};
use fairlane_engine::types::{BatchSeq, RollupId, Sha256Hash, TimestampUs};

use crate::format::{Batch, Envelope, RefusedEnvelope, RefusedShares, Void};
use crate::hostile;
use crate::make::{Dealt, bytes, check, signing_key};
use crate::plain;

/// A field element above p, negative ones, no square, negative x y, y = 0 (RFC 9496, appendix A.2), and the identity.
pub(crate) const POINTS: [&str; 7] = [
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

/// The group order, least byte first.
pub(crate) const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The scalar plus the group order, which is the same scalar written otherwise.
fn plus_order(scalar: &[u8]) -> [u8; 32] {
    let mut carry = 0;
    std::array::from_fn(|at| {
        let sum = u16::from(scalar[at]) + u16::from(ORDER[at]) + carry;
        carry = sum >> 8;
        sum as u8
    })
}

pub(crate) fn envelopes(dealt: &[Dealt], sealed: &[Envelope]) -> Vec<RefusedEnvelope> {
    let honest = hex::decode(&sealed[0].envelope).unwrap();
    let end = honest.len();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = honest.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let flipped = |at: usize| with(at, &[honest[at] ^ 1]);
    let mut cases = vec![
        ("empty", vec![]),
        ("one byte missing", honest[..end - 1].to_vec()),
        ("one byte too many", [&honest[..], &[0]].concat()),
        ("another version", with(0, &[2])),
        ("an unknown kind", with(1, &[2])),
        ("an unknown padding", with(2, &[2])),
        ("a reserved byte that is not 0", with(3, &[1])),
        ("another rollup", flipped(11)),
        ("another chain", flipped(19)),
        ("another key id", flipped(35)),
        (
            "the key id of the next epoch",
            with(20, &dealt[2].plain.key_id),
        ),
        ("another expiry", flipped(43)),
        ("another sender tag", flipped(59)),
        ("another payload length", flipped(63)),
        ("another content", flipped(192)),
        ("another cipher tag", flipped(end - 33)),
        ("another z", flipped(end - 32)),
        (
            "z plus the order",
            with(end - 32, &plus_order(&honest[end - 32..])),
        ),
    ];
    for (name, at) in [("U", 64), ("U2", 96), ("W", 128), ("W2", 160)] {
        for point in [POINTS[3], POINTS[6]] {
            cases.push((name, with(at, &bytes::<32>(point))));
        }
    }
    let foreign = hex::decode(&sealed[1].envelope).unwrap();
    cases.push((
        "the points of another envelope",
        with(64, &foreign[64..192]),
    ));
    cases
        .into_iter()
        .map(|(what, envelope)| RefusedEnvelope {
            what: what.to_owned(),
            key: 1,
            verdict: format!("{:?}", refusal(&dealt[1], &envelope)),
            envelope: hex::encode(envelope),
        })
        .collect()
}

fn refusal(of: &Dealt, envelope: &[u8]) -> EnvelopeError {
    match seal::Envelope::decode(envelope.into()) {
        Err(error) => error,
        Ok(envelope) => {
            let verifier = EnvelopeVerifier::new(of.key.clone(), [1; 32]);
            verifier.check(vec![envelope]).remove(0).unwrap_err()
        }
    }
}

/// For the first batch.
pub(crate) fn shares(
    dealt: &[Dealt],
    batches: &[Batch],
    sealed: &[Envelope],
) -> Vec<RefusedShares> {
    let (batch, of) = (&batches[0], &dealt[1]);
    let us: Vec<_> = batch
        .envelopes
        .iter()
        .map(|at| {
            *check(of, &hex::decode(&sealed[*at].envelope).unwrap())
                .u()
                .unwrap()
        })
        .collect();
    let honest = hex::decode(&batch.shares[2].message).unwrap();
    let honest = ShareMessage::decode(&honest).unwrap();
    let signing = signing_key(honest.author.0);
    let with = |change: &dyn Fn(&mut ShareMessage)| hostile::resigned(&honest, &signing, change);
    let g = plain::g();
    let cases = [
        ("too short", with(&|m| m.shares.truncate(3))),
        ("too long", with(&|m| m.shares.push(m.shares[0]))),
        ("permuted", with(&|m| m.shares.swap(0, 1))),
        (
            "one wrong share",
            with(&|m| m.shares[3] = hostile::bent(&m.shares[3], &g)),
        ),
        (
            "two wrong shares with the right sum",
            with(&|m| {
                m.shares[0] = hostile::bent(&m.shares[0], &g);
                m.shares[1] = hostile::bent(&m.shares[1], &-g);
            }),
        ),
        ("moved to the next batch", with(&|m| m.seq = BatchSeq(13))),
        (
            "moved to another order",
            with(&|m| m.order_root = Sha256Hash([0; 32])),
        ),
        ("under another key id", with(&|m| m.key_id.0 = [0; 16])),
        (
            "a share that is no point",
            with(&|m| m.shares[0] = bytes(POINTS[3])),
        ),
        ("the identity as a share", with(&|m| m.shares[0] = [0; 32])),
        ("A that is no point", with(&|m| m.a = bytes(POINTS[3]))),
        (
            "zeta plus the order",
            with(&|m| m.zeta = plus_order(&m.zeta)),
        ),
        ("zeta of another proof", with(&|m| m.zeta = [1; 32])),
        (
            "A and B swapped",
            with(&|m| std::mem::swap(&mut m.a, &mut m.b)),
        ),
        (
            "signed by nobody",
            ShareMessage {
                signature: [0; 64],
                ..honest.clone()
            },
        ),
    ];
    let root = Sha256Hash(bytes(&batch.order_root));
    let refusal = |message: &ShareMessage| -> ShareError {
        let verifying_key = signing.verifying_key();
        let seq = BatchSeq(batch.seq);
        let verdict = message.verify(&of.key, &verifying_key, seq, root, &us);
        verdict.unwrap_err()
    };
    cases
        .into_iter()
        .map(|(what, message)| RefusedShares {
            what: what.to_owned(),
            batch: 0,
            verdict: format!("{:?}", refusal(&message)),
            message: hex::encode(message.encode()),
        })
        .collect()
}

/// Envelopes with proofs that hold and content that does not, and their true D.
pub(crate) fn voids(dealt: &[Dealt]) -> Vec<Void> {
    let of = &dealt[1];
    let (key, rollup, until) = (&of.key, RollupId(5), TimestampUs(1_700_000_000_000_000));
    let (r, other) = (hostile::client_r(0), hostile::client_r(1));
    let sealed = |d_of, inner| {
        let d = of.plain.x * d_of;
        hostile::envelope_under(key, rollup, until, r, &d, inner)
    };
    let garbage = hostile::garbage_envelope(key, rollup, until, 0);
    [
        ("content that does not open", garbage),
        ("content sealed under another D", sealed(other, &r)),
        ("another r inside", sealed(r, &other)),
        ("zero for r inside", sealed(r, &Scalar::ZERO)),
    ]
    .into_iter()
    .map(|(what, envelope)| void(of, what, &envelope))
    .collect()
}

fn void(of: &Dealt, what: &str, bytes: &[u8]) -> Void {
    let envelope = check(of, bytes);
    let u = *envelope.u().unwrap();
    let root = order_root([envelope.digest()].into_iter());
    let shares: Vec<VerifiedShare> = of
        .shares
        .iter()
        .map(|share| {
            let signing = signing_key(share.author().0);
            let made = ShareMessage::make(share, &of.key, &signing, BatchSeq(0), root, &[u]);
            made.unwrap().1
        })
        .collect();
    let chosen: Vec<&VerifiedShare> = shares.iter().take(of.key.threshold() as usize).collect();
    let d = combine(&of.key, &chosen).unwrap().remove(0);
    let mut out = vec![0xee; opened_len(&envelope)];
    assert_eq!(open_into(&envelope, &u, &d, &mut out), Outcome::Void);
    Void {
        what: what.to_owned(),
        key: 1,
        envelope: hex::encode(bytes),
        d: hex::encode(d.bytes()),
    }
}
