//! What faulty clients and authorities make: well formed, properly signed or proven, and wrong.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signer, SigningKey};

use super::chance::Chance;
use super::keys::CommitteeKeys;
use crate::seal::crafted::{crafted_label, crafted_under};
use crate::seal::{EncodedPoint, LabelFields, ShareMessage, combine_claimed};
use crate::types::{BatchSeq, Sha256Hash};

/// How far off a wrong share is: this multiple of g.
pub(crate) const SHARE_ERROR: u64 = 7;

/// A sealed envelope whose proof holds and whose content opens under no key that anybody will compute.
pub(crate) fn garbage(keys: &CommitteeKeys, fields: &LabelFields, r: [u8; 32]) -> Vec<u8> {
    let label = crafted_label(&keys.sealing, fields, 8);
    let r = Scalar::from_bytes_mod_order(r);
    crafted_under(&label, r, &[0x77; 32], &[0; 40])
}

/// A sealed envelope that opens when `author`'s share, off by [`SHARE_ERROR`], is one of some t that are combined, and
/// holds the right r and a payload then: made by a client in league with that authority.
pub(crate) fn opens_under_a_wrong_share(
    keys: &CommitteeKeys,
    author: usize,
    fields: &LabelFields,
    r: [u8; 32],
    chance: &mut Chance,
) -> Vec<u8> {
    let n = keys.signing.len();
    let mut others: Vec<usize> = (0..n).filter(|other| *other != author).collect();
    chance.shuffle(&mut others);
    others.truncate(keys.sealing.threshold() as usize - 1);
    let r = Scalar::from_bytes_mod_order(r);
    let u = EncodedPoint::encode(RistrettoPoint::mul_base(&r)).expect("r is not zero");
    let (seq, root) = (BatchSeq(0), Sha256Hash::default());
    let claims: Vec<_> = std::iter::once(author)
        .chain(others)
        .map(|member| {
            let signing = &keys.signing[member];
            let made = ShareMessage::make(
                &keys.share(member),
                &keys.sealing,
                signing,
                seq,
                root,
                std::slice::from_ref(&u),
            );
            let (mut message, _) = made.expect("one point and an own share");
            if member == author {
                bend_shares(&mut message);
            }
            let claim = message.claim(&keys.sealing, seq, root, 1);
            claim.expect("it is for this batch")
        })
        .collect();
    let points: Vec<_> = claims.iter().map(AsRef::as_ref).collect();
    let combined = combine_claimed(&keys.sealing, &points).expect("t different authors");
    let label = crafted_label(&keys.sealing, fields, 8);
    let content = [r.as_bytes(), &b"stolen!!"[..]].concat();
    crafted_under(&label, r, combined[0].encoding(), &content)
}

/// Moves every share off by [`SHARE_ERROR`]; the message is still to be signed.
pub(crate) fn bend_shares(message: &mut ShareMessage) {
    let error = RistrettoPoint::mul_base(&Scalar::from(SHARE_ERROR));
    for share in &mut message.shares {
        let Some(point) = EncodedPoint::decode(share) else {
            continue;
        };
        if let Some(bent) = EncodedPoint::encode(point.point() + error) {
            *share = *bent.bytes();
        }
    }
}

/// Signs a bent message with its author's key.
pub(crate) fn sign_shares(message: &mut ShareMessage, key: &SigningKey) {
    message.signature = key.sign(&message.signed_bytes()).to_bytes();
}
