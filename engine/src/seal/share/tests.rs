//! Laws of share messages.

use super::*;
use crate::seal::fixture::{Net, ROOT, SEQ, us};
use crate::types::Epoch;

fn batch_us(net: &Net, count: u8) -> Vec<EncodedPoint> {
    let verified: Vec<_> = (0..count)
        .map(|i| net.check(net.sealed(b"payload", i)).unwrap())
        .collect();
    us(&verified)
}

/// As a faulty author would: changed, then signed again.
fn resigned(
    net: &Net,
    message: &ShareMessage,
    change: impl FnOnce(&mut ShareMessage),
) -> ShareMessage {
    let mut changed = message.clone();
    change(&mut changed);
    let signing_key = &net.signing_keys[changed.author.as_usize()];
    changed.signature = signing_key.sign(&changed.signed_bytes()).to_bytes();
    changed
}

#[test]
fn a_message_verifies_and_gives_x_i_u() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 3);
    for author in 0..5 {
        let (message, own) = net.make(author, &us);
        let verified = net.verify(&message, &us).unwrap();
        assert_eq!(verified.points(), own.points());
        for (u, point) in us.iter().zip(verified.points()) {
            assert_eq!(point.library(), u.point() * net.key_shares[author].secret());
        }
        assert_eq!(verified.author(), AuthorityIndex(author as u8));
        assert_eq!((verified.seq(), verified.order_root()), (SEQ, ROOT));
    }
}

#[test]
fn a_message_survives_its_bytes_and_they_are_these() {
    let net = Net::new(0, 5, 4);
    let message = net.make(2, &batch_us(&net, 2)).0;
    let bytes = message.encode();
    assert_eq!(bytes.len(), SHARE_MESSAGE_OVERHEAD + 64);
    assert_eq!(ShareMessage::decode(&bytes), Ok(message.clone()));
    assert_eq!(bytes[..17], [&[1][..], &net.key.key_id().0].concat());
    assert_eq!(bytes[17..25], 12u64.to_be_bytes());
    assert_eq!(bytes[25..57], [0x77; 32]);
    assert_eq!(bytes[57..62], [2, 0, 0, 0, 2]);
    assert_eq!(bytes[62..94], message.shares[0]);
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "212ded474e9a3820e58b7ac06e7203a4be9314fdf9b978fedb4c4de2de7a5ce6"
    );
}

#[test]
fn a_message_with_any_bit_flipped_is_refused() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 1);
    let bytes = net.make(2, &us).0.encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(message) = ShareMessage::decode(&flipped) {
                let author = net.verifying_key(AuthorityIndex(2));
                let verdict = message.verify(&net.key, &author, SEQ, ROOT, &us);
                assert!(verdict.is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn missing_surplus_and_oversized_bytes_are_refused_before_allocation() {
    let net = Net::new(0, 5, 4);
    let bytes = net.make(0, &batch_us(&net, 2)).0.encode();
    for len in 0..bytes.len() {
        let refused = ShareMessage::decode(&bytes[..len]);
        assert!(
            matches!(refused, Err(DecodeError::Truncated { .. })),
            "{len}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(ShareMessage::decode(&longer), Err(DecodeError::Trailing(1)));
    let with_count = |count: u32| {
        let mut bytes = bytes.clone();
        bytes[58..62].copy_from_slice(&count.to_be_bytes());
        ShareMessage::decode(&bytes).unwrap_err()
    };
    assert_eq!(with_count(0), DecodeError::NotCanonical("share count"));
    assert!(matches!(with_count(4096), DecodeError::Truncated { .. }));
    assert!(matches!(with_count(4097), DecodeError::TooLarge { .. }));
    assert!(matches!(with_count(u32::MAX), DecodeError::TooLarge { .. }));
}

#[test]
fn permuted_short_and_long_messages_are_evidence() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 3);
    let message = net.make(1, &us).0;
    let verdict = |change: fn(&mut ShareMessage)| {
        net.verify(&resigned(&net, &message, change), &us)
            .unwrap_err()
    };
    assert_eq!(verdict(|m| m.shares.swap(0, 1)), ShareError::Proof);
    assert_eq!(verdict(|m| m.shares.truncate(2)), ShareError::Count);
    assert_eq!(verdict(|m| m.shares.push(m.shares[0])), ShareError::Count);
    assert_eq!(verdict(|m| m.shares[2] = m.shares[0]), ShareError::Proof);
    assert_eq!(verdict(|m| m.shares[0] = [0; 32]), ShareError::Malformed);
    assert_eq!(verdict(|m| m.a = [0xff; 32]), ShareError::Malformed);
    assert_eq!(verdict(|m| m.b = [0; 32]), ShareError::Malformed);
    assert_eq!(verdict(|m| m.zeta = [0xff; 32]), ShareError::Malformed);
    assert_eq!(
        verdict(|m| m.zeta = Scalar::ONE.to_bytes()),
        ShareError::Proof
    );
    assert_eq!(
        verdict(|m| std::mem::swap(&mut m.a, &mut m.b)),
        ShareError::Proof
    );
    for evidence in [ShareError::Proof, ShareError::Count, ShareError::Malformed] {
        assert!(evidence.is_evidence());
    }
}

#[test]
fn the_same_shares_for_permuted_envelopes_are_refused() {
    let net = Net::new(0, 5, 4);
    let mut us = batch_us(&net, 3);
    let message = net.make(1, &us).0;
    us.swap(1, 2);
    assert_eq!(net.verify(&message, &us).unwrap_err(), ShareError::Proof);
    us.pop();
    assert_eq!(net.verify(&message, &us).unwrap_err(), ShareError::Count);
    assert_eq!(net.verify(&message, &[]).unwrap_err(), ShareError::Count);
}

#[test]
fn errors_that_cancel_in_a_plain_sum_do_not_pass() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 2);
    let message = net.make(1, &us).0;
    let moved = |share: &[u8; 32], by: RistrettoPoint| {
        let point = EncodedPoint::decode(share).unwrap().point() + by;
        point.compress().to_bytes()
    };
    let by = us[0].point();
    let bad = resigned(&net, &message, |m| {
        m.shares = vec![moved(&m.shares[0], by), moved(&m.shares[1], -by)];
    });
    assert_eq!(net.verify(&bad, &us).unwrap_err(), ShareError::Proof);
}

#[test]
fn another_batch_order_key_or_author_is_refused_and_no_evidence() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 2);
    let message = net.make(1, &us).0;
    let verifying_key = net.verifying_key(AuthorityIndex(1));
    let verify = |message: &ShareMessage, seq, root| {
        message
            .verify(&net.key, &verifying_key, seq, root, &us)
            .unwrap_err()
    };
    let refused = [
        (verify(&message, SEQ.next(), ROOT), ShareError::WrongBatch),
        (
            verify(&message, SEQ, Sha256Hash([0; 32])),
            ShareError::WrongBatch,
        ),
        (
            net.verify(&Net::new(1, 5, 4).make(1, &us).0, &us)
                .unwrap_err(),
            ShareError::WrongKey,
        ),
        (
            verify(
                &resigned(&net, &message, |m| m.author = AuthorityIndex(2)),
                SEQ,
                ROOT,
            ),
            ShareError::Signature,
        ),
        (
            verify(
                &ShareMessage {
                    author: AuthorityIndex(5),
                    ..message.clone()
                },
                SEQ,
                ROOT,
            ),
            ShareError::Author,
        ),
        (
            verify(
                &ShareMessage {
                    signature: [0; 64],
                    ..message.clone()
                },
                SEQ,
                ROOT,
            ),
            ShareError::Signature,
        ),
    ];
    for (found, expected) in refused {
        assert_eq!(found, expected);
        assert!(!found.is_evidence());
    }
}

#[test]
fn a_message_moved_to_another_batch_or_author_proves_nothing_there() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 2);
    let message = net.make(1, &us).0;
    let moved = [
        resigned(&net, &message, |m| m.seq = SEQ.next()),
        resigned(&net, &message, |m| m.order_root = Sha256Hash([1; 32])),
        resigned(&net, &message, |m| m.author = AuthorityIndex(2)),
    ];
    for message in moved {
        let verifying_key = net.verifying_key(message.author);
        let (seq, root) = (message.seq, message.order_root);
        let verdict = message.verify(&net.key, &verifying_key, seq, root, &us);
        assert_eq!(verdict.unwrap_err(), ShareError::Proof);
    }
}

#[test]
fn messages_that_nobody_could_verify_are_not_made() {
    let net = Net::new(0, 5, 4);
    let us = batch_us(&net, 1);
    let make = |key: &SealingKey, us: &[EncodedPoint]| {
        let (share, signing_key) = (&net.key_shares[0], &net.signing_keys[0]);
        ShareMessage::make(share, key, signing_key, SEQ, ROOT, us).map(|(m, _)| m.shares.len())
    };
    let next = Net::new(1, 5, 4).key;
    assert_eq!(next.epoch(), Epoch(1));
    assert_eq!(make(&next, &us), Err(ShareError::WrongKey));
    assert_eq!(make(&net.key, &[]), Err(ShareError::Count));
    assert_eq!(
        make(&net.key, &vec![us[0]; SHARES_MAX + 1]),
        Err(ShareError::Count)
    );
}

#[test]
fn a_full_message_fits_its_bounds() {
    let net = Net::new(0, 1, 1);
    let us = vec![batch_us(&net, 1)[0]; SHARES_MAX];
    let bytes = net.make(0, &us).0.encode();
    assert_eq!(bytes.len(), SHARE_MESSAGE_OVERHEAD + 32 * SHARES_MAX);
    assert!(
        net.verify(&ShareMessage::decode(&bytes).unwrap(), &us)
            .is_ok()
    );
}
