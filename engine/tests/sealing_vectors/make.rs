//! The vectors, each value from the formulas and held against the engine's.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signer, SigningKey};
use fairlane_engine::batch::archive::order_root;
use fairlane_engine::seal::{
    self, EncodedPoint, EnvelopeVerifier, KeyShare, LabelFields, Outcome, SealingKey, ShareMessage,
    VerifiedEnvelope, VerifiedShare, check_reveal, combine, open_into, opened_len,
};
use fairlane_engine::types::{
    AuthorityIndex, BatchSeq, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs,
};

use crate::format::{
    Batch, Combination, Envelope, Fields, Group, Hex, Key, OpenEnvelope, Opened, Shares,
    Transcript, Vectors,
};
use crate::{plain, refused};

/// A dealt key, as the engine has it and as the formulas give it.
pub(crate) struct Dealt {
    pub(crate) key: SealingKey,
    pub(crate) shares: Vec<KeyShare>,
    pub(crate) plain: plain::Key,
}

pub(crate) fn vectors() -> Vectors {
    let dealt: Vec<Dealt> = KEYS
        .iter()
        .map(|(c, e, n, t)| deal(*c, *e, *n, *t))
        .collect();
    let envelopes: Vec<Envelope> = SEALED
        .iter()
        .enumerate()
        .map(|(at, sealed)| seal(&dealt, at as u8, sealed))
        .collect();
    let batches: Vec<Batch> = BATCHES
        .iter()
        .map(|(seq, of)| batch(&dealt, *seq, of, &envelopes))
        .collect();
    Vectors {
        format: "fairlane sealing vectors, 1".to_owned(),
        group: group(),
        transcripts: transcripts(),
        keys: dealt.iter().zip(&KEYS).map(|(d, k)| key(d, k)).collect(),
        open_envelopes: vec![open_envelope(&dealt, None), open_envelope(&dealt, Some(9))],
        refused_envelopes: refused::envelopes(&dealt, &envelopes),
        refused_shares: refused::shares(&dealt, &batches, &envelopes),
        voids: refused::voids(&dealt),
        envelopes,
        batches,
    }
}

fn group() -> Group {
    let refused_points = refused::POINTS.map(str::to_owned).to_vec();
    for point in &refused_points {
        assert!(EncodedPoint::decode(&bytes(point)).is_none());
    }
    let order = hex::encode(refused::ORDER);
    Group {
        g: hex::encode(plain::encode(&plain::g())),
        g2: hex::encode(plain::encode(&plain::g2())),
        refused_points,
        refused_scalars: vec![order.clone(), "ff".repeat(32)],
        order,
    }
}

fn transcripts() -> Vec<Transcript> {
    let lists: [&[&[u8]]; 4] = [&[], &[b""], &[b"ab", b"c"], &[b"a", b"bc"]];
    let one = |parts: &&[&[u8]]| Transcript {
        tag: "fairlane/1/example".to_owned(),
        parts: parts.iter().map(hex::encode).collect(),
        hash: hex::encode(plain::hash("fairlane/1/example", parts)),
        scalar: hex::encode(plain::wide("fairlane/1/example", parts).as_bytes()),
    };
    lists.iter().map(one).collect()
}

fn deal(chain_id: u64, epoch: u32, n: u32, t: u32) -> Dealt {
    let plain = plain::deal(chain_id, epoch, n, t, &DEAL);
    let (key, shares) = seal::deal(ChainId(chain_id), Epoch(epoch), n, t, &DEAL).unwrap();
    assert_eq!(*key.committee_key().bytes(), plain::encode(&plain.x));
    assert_eq!(key.key_id().0, plain.key_id);
    assert_eq!(key.delta(), plain.delta);
    for (share, (secret, public)) in shares
        .iter()
        .zip(plain.secrets.iter().zip(key.verification_shares()))
    {
        assert_eq!(share.to_bytes()[18..], *secret.as_bytes());
        assert_eq!(*public.bytes(), plain::encode(&(plain::g() * secret)));
    }
    Dealt { key, shares, plain }
}

fn key(dealt: &Dealt, (chain_id, epoch, authorities, threshold): &(u64, u32, u32, u32)) -> Key {
    let public = dealt.key.verification_shares().iter();
    let key_shares = dealt.shares.iter().map(|share| {
        let bytes = share.to_bytes();
        KeyShare::from_bytes(&dealt.key, &bytes).unwrap();
        hex::encode(&*bytes)
    });
    Key {
        chain_id: *chain_id,
        epoch: *epoch,
        authorities: *authorities,
        threshold: *threshold,
        entropy: hex::encode(DEAL),
        polynomial: dealt.plain.polynomial.iter().map(scalar).collect(),
        delta: dealt.plain.delta.to_string(),
        committee_key: hex::encode(plain::encode(&dealt.plain.x)),
        key_id: hex::encode(dealt.plain.key_id),
        verification_shares: public.map(|share| hex::encode(share.bytes())).collect(),
        key_shares: key_shares.collect(),
    }
}

/// What goes into an envelope: the key, its payload and the length to pad it to.
type Content = (usize, &'static [u8], Option<u32>);

fn fields(padded_len: Option<u32>) -> LabelFields {
    LabelFields {
        rollup: RollupId(5),
        valid_until: TimestampUs(1_700_000_000_000_000),
        sender_tag: *b"sender tag bytes",
        padded_len,
    }
}

fn shown(fields: &LabelFields, payload: &[u8]) -> Fields {
    Fields {
        rollup: fields.rollup.0,
        valid_until_us: fields.valid_until.0,
        sender_tag: hex::encode(fields.sender_tag),
        padded_len: fields.padded_len,
        payload: hex::encode(payload),
    }
}

/// The label's fields, written out at their places.
fn label(dealt: &Dealt, fields: &LabelFields, kind: u8, payload: &[u8]) -> [u8; 64] {
    let mut label = [0; 64];
    let mut put = |at: usize, bytes: &[u8]| label[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[1, kind, u8::from(fields.padded_len.is_some()), 0]);
    put(4, &fields.rollup.0.to_be_bytes());
    put(12, &dealt.key.chain_id().0.to_be_bytes());
    put(20, &dealt.plain.key_id);
    put(36, &fields.valid_until.0.to_be_bytes());
    put(44, &fields.sender_tag);
    let carried_len = fields.padded_len.unwrap_or(payload.len() as u32);
    put(60, &carried_len.to_be_bytes());
    label
}

/// The payload, and where it is padded one byte 0x80 and zeros behind it.
fn carried(fields: &LabelFields, payload: &[u8]) -> Vec<u8> {
    let mut carried = payload.to_vec();
    if let Some(padded_len) = fields.padded_len {
        carried.push(0x80);
        carried.resize(padded_len as usize, 0);
    }
    carried
}

fn seal(dealt: &[Dealt], number: u8, (key, payload, padded_len): &Content) -> Envelope {
    let (entropy, fields) = ([number + 1; 64], fields(*padded_len));
    let of = &dealt[*key];
    let label = label(of, &fields, 1, payload);
    let plain = plain::seal(
        &of.plain.x,
        &label,
        payload,
        &carried(&fields, payload),
        &entropy,
    );
    let [u, u2, w, w2] = &plain.points;
    let (ciphertext, z) = (&plain.ciphertext[..], plain.z.as_bytes());
    let envelope = [&label[..], u, u2, w, w2, ciphertext, z].concat();
    assert_eq!(
        seal::seal(&of.key, &fields, payload, &entropy).unwrap(),
        envelope
    );
    let digest = check(of, &envelope).digest();
    assert_eq!(digest.0, *blake3::hash(&envelope).as_bytes());
    Envelope {
        key: *key,
        fields: shown(&fields, payload),
        entropy: hex::encode(entropy),
        label: hex::encode(label),
        r: scalar(&plain.r),
        s: scalar(&plain.s),
        u: hex::encode(u),
        u2: hex::encode(u2),
        w: hex::encode(w),
        w2: hex::encode(w2),
        d: hex::encode(plain.d),
        content_key: hex::encode(plain.content_key),
        ciphertext: hex::encode(ciphertext),
        e: scalar(&plain.e),
        z: scalar(&plain.z),
        envelope: hex::encode(&envelope),
        digest: hex::encode(digest.0),
    }
}

fn open_envelope(dealt: &[Dealt], padded_len: Option<u32>) -> OpenEnvelope {
    let (of, fields, payload) = (&dealt[1], fields(padded_len), b"in clear");
    let label = label(of, &fields, 0, payload);
    let envelope = [&label[..], &carried(&fields, payload)].concat();
    assert_eq!(
        seal::open_envelope(&of.key, &fields, payload).unwrap(),
        envelope
    );
    OpenEnvelope {
        key: 1,
        fields: shown(&fields, payload),
        digest: hex::encode(check(of, &envelope).digest().0),
        envelope: hex::encode(envelope),
    }
}

pub(crate) fn check(of: &Dealt, envelope: &[u8]) -> VerifiedEnvelope {
    let envelope = seal::Envelope::decode(envelope.into()).unwrap();
    let verifier = EnvelopeVerifier::new(of.key.clone(), [1; 32]);
    verifier.check(vec![envelope]).remove(0).unwrap()
}

pub(crate) fn signing_key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author + 1; 32])
}

fn batch(dealt: &[Dealt], seq: u64, members: &[usize], envelopes: &[Envelope]) -> Batch {
    let key = envelopes[members[0]].key;
    let of = &dealt[key];
    let checked: Vec<VerifiedEnvelope> = members
        .iter()
        .map(|at| check(of, &hex::decode(&envelopes[*at].envelope).unwrap()))
        .collect();
    let us: Vec<EncodedPoint> = checked.iter().map(|e| *e.u().unwrap()).collect();
    let root = order_root(checked.iter().map(|envelope| envelope.digest()));
    let made: Vec<(Shares, VerifiedShare)> = (0..of.shares.len())
        .map(|author| share(of, author as u8, seq, root, &us))
        .collect();
    let (n, t) = (made.len() as u8, of.key.threshold() as u8);
    let choices = [Vec::from_iter(0..t), Vec::from_iter((n - t..n).rev())];
    let combinations: Vec<Combination> = choices
        .into_iter()
        .map(|authors| combination(of, authors, &made, &checked))
        .collect();
    for combination in &combinations {
        let expected = members.iter().map(|at| &envelopes[*at].d);
        assert!(
            combination.d.iter().eq(expected),
            "any t shares give D = r X"
        );
    }
    Batch {
        key,
        envelopes: members.to_vec(),
        seq,
        order_root: hex::encode(root.0),
        shares: made.into_iter().map(|(shares, _)| shares).collect(),
        combinations,
        opened: members
            .iter()
            .map(|at| opened(*at, &envelopes[*at]))
            .collect(),
    }
}

fn share(
    of: &Dealt,
    author: u8,
    seq: u64,
    root: Sha256Hash,
    us: &[EncodedPoint],
) -> (Shares, VerifiedShare) {
    let secret = &of.plain.secrets[usize::from(author)];
    let points: Vec<RistrettoPoint> = us.iter().map(|u| u.point()).collect();
    let (key_id, seq_bytes) = (of.plain.key_id, seq.to_be_bytes());
    let plain = plain::shares(secret, author, [&key_id, &seq_bytes, &root.0], &points);

    let count = (us.len() as u32).to_be_bytes();
    let head = [&[1][..], &key_id, &seq_bytes, &root.0, &[author], &count].concat();
    let proof = [plain.a, plain.b, plain.zeta.to_bytes()].concat();
    let unsigned = [&head[..], plain.shares.as_flattened(), &proof].concat();
    let hash = plain::hash("fairlane/1/share-message", &[&unsigned]);
    let signed = [&b"fairlane/1/share-message"[..], &hash].concat();
    let signing = signing_key(author);
    let signature = signing.sign(&signed).to_bytes();
    let message = [&unsigned[..], &signature].concat();

    let (key, share) = (&of.key, &of.shares[usize::from(author)]);
    let (made, _) = ShareMessage::make(share, key, &signing, BatchSeq(seq), root, us).unwrap();
    assert_eq!(made.encode(), message);
    assert_eq!(made.author, AuthorityIndex(author));
    let verifying_key = signing.verifying_key();
    let read = ShareMessage::decode(&message).unwrap();
    let verified = read.verify(key, &verifying_key, BatchSeq(seq), root, us);
    let shown = Shares {
        author,
        signing_key: hex::encode(signing.to_bytes()),
        verifying_key: hex::encode(verifying_key.to_bytes()),
        shares: plain.shares.iter().map(hex::encode).collect(),
        t: hex::encode(plain.t),
        rho: plain.rho.iter().map(scalar).collect(),
        u_star: hex::encode(plain.u_star),
        d_star: hex::encode(plain.d_star),
        nonce: scalar(&plain.nonce),
        a: hex::encode(plain.a),
        b: hex::encode(plain.b),
        c: scalar(&plain.c),
        zeta: scalar(&plain.zeta),
        signed: hex::encode(signed),
        message: hex::encode(message),
    };
    (shown, verified.unwrap())
}

/// D of every entry: the sum over `authors` of 2 Delta lambda times share.
fn combination(
    of: &Dealt,
    authors: Vec<u8>,
    made: &[(Shares, VerifiedShare)],
    checked: &[VerifiedEnvelope],
) -> Combination {
    let scale = Scalar::from(2 * of.plain.delta);
    let coefficients: Vec<_> = authors
        .iter()
        .map(|author| plain::lambda(*author, &authors) * scale)
        .collect();
    let chosen: Vec<&(Shares, VerifiedShare)> = authors
        .iter()
        .map(|author| &made[usize::from(*author)])
        .collect();
    let of_entry = |entry: usize| -> RistrettoPoint {
        let points = chosen.iter().map(|(shares, _)| {
            let encoding = CompressedRistretto(bytes(&shares.shares[entry]));
            encoding.decompress().unwrap()
        });
        coefficients.iter().zip(points).map(|(c, d)| c * d).sum()
    };
    let d: Vec<[u8; 32]> = (0..checked.len())
        .map(|entry| plain::encode(&of_entry(entry)))
        .collect();
    let verified: Vec<&VerifiedShare> = chosen.iter().map(|(_, share)| share).collect();
    let combined = combine(&of.key, &verified).unwrap();
    for ((envelope, plain), combined) in checked.iter().zip(&d).zip(&combined) {
        assert_eq!(plain, combined.bytes());
        let mut out = vec![0xee; opened_len(envelope)];
        let outcome = open_into(envelope, envelope.u().unwrap(), combined, &mut out);
        let Outcome::Revealed { r } = outcome else {
            panic!("an honest envelope is revealed");
        };
        let mut again = vec![0; out.len()];
        assert!(check_reveal(&of.key, envelope, &r, &mut again));
        assert_eq!((out[..32].to_vec(), again), (r.to_vec(), out));
    }
    Combination {
        authors,
        coefficients: coefficients.iter().map(scalar).collect(),
        d: d.iter().map(hex::encode).collect(),
    }
}

fn opened(at: usize, envelope: &Envelope) -> Opened {
    let payload = hex::decode(&envelope.fields.payload).unwrap();
    let fields = fields(envelope.fields.padded_len);
    Opened {
        envelope: at,
        r: envelope.r.clone(),
        carried: hex::encode(carried(&fields, &payload)),
    }
}

pub(crate) fn bytes<const LEN: usize>(hex: &str) -> [u8; LEN] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn scalar(scalar: &Scalar) -> Hex {
    hex::encode(scalar.as_bytes())
}

/// The dealer's randomness.
const DEAL: [u8; 32] = *b"thirty-two bytes of dealt chance";
/// Chain id, epoch, n and t: one authority, four, five with the least threshold, and more than sixteen.
const KEYS: [(u64, u32, u32, u32); 5] = [
    (1, 0, 1, 1),
    (7, 2, 4, 3),
    (7, 3, 4, 3),
    (9, 0, 5, 2),
    (9, 1, 17, 12),
];
/// An order, nothing, padding, a payload of several cipher blocks, and one each for the other keys.
const SEALED: [Content; 7] = [
    (1, b"buy 3 at 101.5", None),
    (1, b"", None),
    (1, b"sell 1", Some(64)),
    (1, &[0x5a; 300], None),
    (0, b"alone", None),
    (3, b"any two of five", None),
    (4, b"twelve of seventeen", Some(32)),
];
/// Seq and entries of each batch.
const BATCHES: [(u64, &[usize]); 4] = [
    (12, &[0, 1, 2, 3]),
    (0, &[4]),
    (u64::MAX, &[5]),
    (1 << 40, &[6]),
];
