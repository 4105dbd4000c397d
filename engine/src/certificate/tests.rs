//! Laws of certificates.

use blst::min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature};

use super::*;
use crate::types::{AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, Sha256Hash};

fn secrets(n: u8) -> Vec<CertificateSecret> {
    (0..n)
        .map(|index| CertificateSecret::generate(&[index + 1; 32]))
        .collect()
}

fn keys_of(secrets: &[CertificateSecret]) -> CertificateKeys {
    let encoded: Vec<_> = secrets.iter().map(published).collect();
    CertificateKeys::new(ChainId(7), Epoch(2), &encoded).unwrap()
}

fn published(secret: &CertificateSecret) -> ([u8; KEY_LEN], Possession) {
    (secret.public().bytes(), secret.possession())
}

fn header() -> CertifiedHeader {
    CertifiedHeader {
        chain_id: ChainId(7),
        epoch: Epoch(2),
        seq: BatchSeq(11),
        hash: Sha256Hash([0xAB; 32]),
    }
}

fn signed_by(
    secrets: &[CertificateSecret],
    signers: impl IntoIterator<Item = u8>,
) -> Vec<(AuthorityIndex, SignatureBytes)> {
    let signature = |index: u8| secrets[usize::from(index)].sign(&header());
    let signers = signers.into_iter();
    signers
        .map(|index| (AuthorityIndex(index), signature(index)))
        .collect()
}

fn set(members: impl IntoIterator<Item = u8>) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    for member in members {
        set.insert(AuthorityIndex(member));
    }
    set
}

/// The sum of `signatures`, said to be of `signers`.
fn claimed(signatures: &[SignatureBytes], signers: AuthoritySet) -> Certificate {
    let points: Vec<Signature> = signatures
        .iter()
        .map(|bytes| Signature::uncompress(bytes).unwrap())
        .collect();
    let points: Vec<&Signature> = points.iter().collect();
    let sum = AggregateSignature::aggregate(&points, false).unwrap();
    Certificate {
        header: header(),
        signers,
        signature: sum.to_signature().compress(),
    }
}

fn bytes_of(signatures: &[(AuthorityIndex, SignatureBytes)]) -> Vec<SignatureBytes> {
    signatures.iter().map(|(_, bytes)| *bytes).collect()
}

#[test]
fn golden_message_and_certificate() {
    let message = concat!(
        "666169726c616e652f312f636865636b706f696e74",
        "0000000000000007",
        "00000002",
        "000000000000000b",
        "abababababababababababababababababababababababababababababababab",
    );
    assert_eq!(hex::encode(header().message()), message);
    let certificate = Certificate {
        header: header(),
        signers: set([0, 2, 127]),
        signature: [0x5C; SIGNATURE_LEN],
    };
    let golden = format!(
        "01{}{}{}",
        &message[42..],
        "80000000000000000000000000000005",
        "5c".repeat(48)
    );
    let bytes = certificate.encode();
    assert_eq!(hex::encode(bytes), golden);
    assert_eq!(bytes.len(), 117);
    assert_eq!(Certificate::decode(&bytes), Ok(certificate));
    for len in 0..bytes.len() {
        assert!(Certificate::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(Certificate::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn every_quorum_certifies_and_nothing_less_does() {
    for n in 1..=7u8 {
        let secrets = secrets(n);
        let keys = keys_of(&secrets);
        let quorum = keys.thresholds().quorum();
        for mask in 0..1u8 << n {
            let members = (0..n).filter(|index| mask >> index & 1 == 1);
            let signatures = signed_by(&secrets, members);
            let made = aggregate(&header(), &signatures, &keys);
            assert_eq!(made.good, AuthoritySet::from_mask(mask.into()));
            assert_eq!(made.certificate.is_some(), mask.count_ones() >= quorum);
            if let Some(certificate) = made.certificate {
                assert_eq!(certificate.verify(&keys), Ok(()));
                assert_eq!(certificate.signers, made.good);
            } else if mask != 0 {
                let short = claimed(&bytes_of(&signatures), made.good);
                let signers = mask.count_ones();
                let refused = CertificateError::Quorum { signers, quorum };
                assert_eq!(short.verify(&keys), Err(refused));
            }
        }
    }
}

#[test]
fn a_quorum_of_names_over_too_few_signatures_does_not_hold() {
    let secrets = secrets(4);
    let two = claimed(&bytes_of(&signed_by(&secrets, [0, 1])), set([0, 1, 2]));
    let keys = keys_of(&secrets);
    assert_eq!(two.verify(&keys), Err(CertificateError::Signature));
    let all = bytes_of(&signed_by(&secrets, 0..4));
    let unnamed = claimed(&all, set([0, 1, 2]));
    assert_eq!(
        unnamed.verify(&keys),
        Err(CertificateError::Signature),
        "exactly the signers named"
    );
}

#[test]
fn who_signs_twice_counts_once() {
    let secrets = secrets(4);
    let keys = keys_of(&secrets);
    let twice = signed_by(&secrets, [0, 1, 1, 1]);
    let made = aggregate(&header(), &twice, &keys);
    assert_eq!((made.certificate, made.good), (None, set([0, 1])));
    for signers in [set([0, 1]), set([0, 1, 2])] {
        let certificate = claimed(&bytes_of(&twice), signers);
        assert!(certificate.verify(&keys).is_err());
    }
}

#[test]
fn a_key_that_cancels_the_others_is_refused_for_want_of_possession() {
    let secrets = secrets(4);
    let attacker = SecretKey::key_gen(&[99; 32], &[]).unwrap();
    // Its own key minus those of three others: the four sum up to its own key.
    let mut rogue = AggregatePublicKey::from_public_key(&attacker.sk_to_pk());
    for victim in &secrets[..3] {
        let point = PublicKey::uncompress(&victim.public().bytes()).unwrap();
        rogue.sub_aggregate(&AggregatePublicKey::from_public_key(&point));
    }
    let rogue = rogue.to_public_key();
    let alone = attacker.sign(&header().message(), SIGNATURE_DST, &[]);
    let all: Vec<PublicKey> = secrets[..3]
        .iter()
        .map(|secret| PublicKey::uncompress(&secret.public().bytes()).unwrap())
        .chain([rogue])
        .collect();
    let all: Vec<&PublicKey> = all.iter().collect();
    let fooled = alone.fast_aggregate_verify(true, &header().message(), SIGNATURE_DST, &all);
    assert_eq!(
        fooled,
        blst::BLST_ERROR::BLST_SUCCESS,
        "without possession one would sign for all"
    );

    let rogue_bytes = rogue.compress();
    let best_effort = attacker.sign(&rogue_bytes, POSSESSION_DST, &[]).compress();
    let others = secrets[..3].iter().map(published);
    for possession in [best_effort, secrets[0].possession().0] {
        let encoded: Vec<_> = others
            .clone()
            .chain([(rogue_bytes, Possession(possession))])
            .collect();
        assert_eq!(
            CertificateKeys::new(ChainId(7), Epoch(2), &encoded),
            Err(CertificateKeysError::Possession(AuthorityIndex(3)))
        );
    }
}

#[test]
fn keys_of_no_committee_are_refused() {
    let secrets = secrets(4);
    let good: Vec<_> = secrets.iter().map(published).collect();
    let refused = |encoded: &[([u8; KEY_LEN], Possession)]| {
        CertificateKeys::new(ChainId(7), Epoch(2), encoded).unwrap_err()
    };
    assert!(matches!(refused(&[]), CertificateKeysError::Size(_)));
    let last = AuthorityIndex(3);
    let mut twice = good.clone();
    twice[3] = twice[0];
    assert_eq!(refused(&twice), CertificateKeysError::Twice(last));
    let mut infinity = good.clone();
    infinity[3].0 = [0; KEY_LEN];
    infinity[3].0[0] = 0xC0;
    assert_eq!(refused(&infinity), CertificateKeysError::Key(last));
    let mut outside = good.clone();
    outside[3].0 = outside_of_subgroup(|bytes| {
        let key = PublicKey::uncompress(bytes).ok()?;
        Some(key.validate().is_err())
    });
    assert_eq!(refused(&outside), CertificateKeysError::Key(last));
    let mut swapped = good;
    (swapped[2].1, swapped[3].1) = (swapped[3].1, swapped[2].1);
    let refused = refused(&swapped);
    assert_eq!(refused, CertificateKeysError::Possession(AuthorityIndex(2)));
}

/// A compressed point on the curve and not in its subgroup, found by counting up x.
fn outside_of_subgroup<const N: usize>(is_outside: impl Fn(&[u8; N]) -> Option<bool>) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[0] = 0x80;
    (1..=255)
        .map(|x| {
            bytes[N - 1] = x;
            bytes
        })
        .find(|bytes| is_outside(bytes) == Some(true))
        .unwrap()
}

#[test]
fn a_signature_that_is_no_point_or_outside_of_the_subgroup_or_the_identity_is_refused() {
    let secrets = secrets(4);
    let keys = keys_of(&secrets);
    let outside: SignatureBytes = outside_of_subgroup(|bytes| {
        let point = Signature::uncompress(bytes).ok()?;
        Some(point.validate(false).is_err())
    });
    let mut infinity = [0; SIGNATURE_LEN];
    infinity[0] = 0xC0;
    let no_point = [0xFF; SIGNATURE_LEN];
    let uncompressed = [0x11; SIGNATURE_LEN];
    for bytes in [outside, infinity, no_point, uncompressed] {
        let certificate = Certificate {
            header: header(),
            signers: set(0..4),
            signature: bytes,
        };
        assert_eq!(certificate.verify(&keys), Err(CertificateError::Point));
        let mut signatures = signed_by(&secrets, 0..4);
        signatures[2].1 = bytes;
        let made = aggregate(&header(), &signatures, &keys);
        assert_eq!(made.bad, set([2]));
        assert_eq!(made.certificate.unwrap().verify(&keys), Ok(()));
        assert!(!secrets[0].public().verify(&header(), &bytes));
        assert!(!secrets[0].public().is_possessed(&Possession(bytes)));
    }
}

#[test]
fn a_signature_under_another_domain_is_none() {
    let secrets = secrets(4);
    let keys = keys_of(&secrets);
    let raw = SecretKey::from_bytes(&*secrets[0].to_bytes()).unwrap();
    for dst in [
        POSSESSION_DST,
        b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_",
        b"",
    ] {
        let foreign = raw.sign(&header().message(), dst, &[]).compress();
        assert!(
            !keys
                .find(AuthorityIndex(0))
                .unwrap()
                .verify(&header(), &foreign)
        );
    }
    let key = secrets[0].public().bytes();
    let as_message = raw.sign(&key, SIGNATURE_DST, &[]).compress();
    assert!(!secrets[0].public().is_possessed(&Possession(as_message)));
}

#[test]
fn keys_in_another_order_another_chain_epoch_seq_or_hash_do_not_verify() {
    let mut secrets = secrets(5);
    let keys = keys_of(&secrets);
    let made = aggregate(&header(), &signed_by(&secrets, [0, 1, 2, 3]), &keys);
    let certificate = made.certificate.unwrap();
    secrets.swap(3, 4);
    let swapped = keys_of(&secrets);
    assert_eq!(
        certificate.verify(&swapped),
        Err(CertificateError::Signature)
    );
    let mut other = certificate;
    other.header.seq = BatchSeq(12);
    assert_eq!(other.verify(&keys), Err(CertificateError::Signature));
    let mut other = certificate;
    other.header.hash.0[31] ^= 1;
    assert_eq!(other.verify(&keys), Err(CertificateError::Signature));
    let mut other = certificate;
    other.header.chain_id = ChainId(8);
    assert_eq!(
        other.verify(&keys),
        Err(CertificateError::Chain(ChainId(8)))
    );
    let mut other = certificate;
    other.header.epoch = Epoch(3);
    assert_eq!(other.verify(&keys), Err(CertificateError::Epoch(Epoch(3))));
    let mut other = certificate;
    other.signers.insert(AuthorityIndex(5));
    let stranger = CertificateError::Stranger(AuthorityIndex(5));
    assert_eq!(other.verify(&keys), Err(stranger));
    // The keys themselves are of one chain and epoch: signatures for another are none for this one.
    let encoded: Vec<_> = keys
        .iter()
        .map(|(key, proof)| (key.bytes(), *proof))
        .collect();
    for (chain, epoch) in [(ChainId(8), Epoch(2)), (ChainId(7), Epoch(3))] {
        let foreign = CertificateKeys::new(chain, epoch, &encoded).unwrap();
        let mut moved = certificate;
        (moved.header.chain_id, moved.header.epoch) = (chain, epoch);
        assert_eq!(moved.verify(&foreign), Err(CertificateError::Signature));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let secrets = secrets(4);
    let keys = keys_of(&secrets);
    let made = aggregate(&header(), &signed_by(&secrets, 0..4), &keys);
    let bytes = made.certificate.unwrap().encode();
    for bit in 0..8 * CERTIFICATE_LEN {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(certificate) = Certificate::decode(&flipped) {
            assert_eq!(certificate.encode(), flipped);
            assert!(certificate.verify(&keys).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn the_guilty_are_found_whoever_they_are_and_the_others_certify() {
    let secrets = secrets(7);
    let keys = keys_of(&secrets);
    let other = CertifiedHeader {
        seq: BatchSeq(12),
        ..header()
    };
    for mask in 0..1u8 << 7 {
        let mut signatures = signed_by(&secrets, 0..7);
        for index in (0..7).filter(|index| mask >> index & 1 == 1) {
            signatures[index].1 = secrets[index].sign(&other);
        }
        let made = aggregate(&header(), &signatures, &keys);
        assert_eq!(made.bad, AuthoritySet::from_mask(mask.into()));
        assert_eq!(made.good.union(made.bad), set(0..7));
        assert_eq!(made.certificate.is_some(), mask.count_ones() <= 2);
        if let Some(certificate) = made.certificate {
            assert_eq!(certificate.verify(&keys), Ok(()));
        }
    }
    let stranger = (AuthorityIndex(7), secrets[0].sign(&header()));
    let made = aggregate(&header(), &[stranger], &keys);
    assert!(made.good.is_empty() && made.bad.is_empty());
}

#[test]
fn a_secret_survives_its_bytes_and_prints_nothing_of_them() {
    let secret = CertificateSecret::generate(&[5; 32]);
    let again = CertificateSecret::from_bytes(&secret.to_bytes()).unwrap();
    assert_eq!(again.public(), secret.public());
    assert_eq!(again.sign(&header()), secret.sign(&header()));
    assert!(CertificateSecret::from_bytes(&[0; 32]).is_none());
    assert!(CertificateSecret::from_bytes(&[0xFF; 32]).is_none());
    assert!(!format!("{secret:?}").contains(&hex::encode(&secret.to_bytes()[..4])));
    let key = secret.public();
    assert_eq!(CertificateKey::decode(&key.bytes()), Some(key));
}
