//! The share arithmetic held against frost-ristretto255, an audited implementation on another curve library.
//!
//! It evaluates and verifies Feldman shares, adds up commitments and reconstructs secrets with code that shares nothing with
//! ours but the group.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use frost_ristretto255::Identifier;
use frost_ristretto255::keys::{
    KeyPackage, PublicKeyPackage, SecretShare, SigningShare, VerifiableSecretSharingCommitment,
    reconstruct,
};

use super::deal::VerifiedDeal;
use super::ending::shift;
use super::trial::Trial;
use crate::types::AuthorityIndex;

fn identifier(index: usize) -> Identifier {
    Identifier::try_from(index as u16 + 1).unwrap()
}

fn commitment(deal: &VerifiedDeal) -> VerifiableSecretSharingCommitment {
    let coefficients = deal.commitments().iter().map(|point| point.bytes());
    VerifiableSecretSharingCommitment::deserialize(coefficients).unwrap()
}

fn signing_share(secret: &Scalar) -> SigningShare {
    SigningShare::deserialize(secret.as_bytes()).unwrap()
}

#[test]
fn every_dealt_share_holds_for_frost_and_a_changed_one_does_not() {
    for (n, t) in [(4u8, 3), (5, 2), (7, 5), (10, 7)] {
        let mut trial = Trial::new(n, t);
        let order: Vec<u8> = (0..n).collect();
        trial.run(&order, &vec![None; usize::from(n)]);
        for (deal, _) in trial.logged_deals() {
            let commitment = commitment(&deal);
            for (index, key) in trial.keys.iter().enumerate() {
                let receiver = AuthorityIndex(index as u8);
                let share = deal.own_share(&trial.session, receiver, key).unwrap();
                let verify = |secret: &Scalar| {
                    let share = signing_share(secret);
                    SecretShare::new(identifier(index), share, commitment.clone()).verify()
                };
                assert!(verify(&share).is_ok());
                assert!(verify(&(*share + Scalar::ONE)).is_err());
            }
        }
    }
}

#[test]
fn frost_adds_the_qualified_deals_up_to_the_same_keys_and_reconstructs_the_same_secret() {
    for (n, t) in [(4u8, 3), (5, 2), (7, 5)] {
        let mut trial = Trial::new(n, t);
        let order: Vec<u8> = (0..n).rev().collect();
        trial.run(&order, &vec![None; usize::from(n)]);
        let (key, qualified) = trial.agreed();
        let deals = trial.logged_deals();
        let deals = deals
            .iter()
            .filter(|(deal, _)| qualified.contains(deal.dealer()));
        let commitments: BTreeMap<Identifier, VerifiableSecretSharingCommitment> = deals
            .map(|(deal, _)| (identifier(deal.dealer().as_usize()), commitment(deal)))
            .collect();
        let public = PublicKeyPackage::from_dkg_commitments(
            &commitments.iter().map(|(id, sum)| (*id, sum)).collect(),
        )
        .unwrap();
        // Ours are of the sum and its shift, theirs of the sum alone.
        let summed = trial.logged_deals();
        let summed = summed
            .iter()
            .filter(|(deal, _)| qualified.contains(deal.dealer()))
            .map(|(_, bytes)| &bytes[..]);
        let shift = shift(&trial.session, summed);
        for dealer in qualified.iter() {
            let theirs = &public.verifying_shares()[&identifier(dealer.as_usize())];
            let ours = key.verification_share(dealer).unwrap().point();
            let at = Scalar::from(dealer.share_point());
            let unshifted = ours - RistrettoPoint::mul_base(&(shift * at));
            assert_eq!(theirs.serialize().unwrap(), unshifted.compress().to_bytes());
        }
        let packages: Vec<KeyPackage> = qualified
            .iter()
            .take(t as usize)
            .map(|author| {
                let id = identifier(author.as_usize());
                let at = Scalar::from(author.share_point());
                let unshifted = trial.secret(author.as_usize()).unwrap() - shift * at;
                let secret = signing_share(&unshifted);
                let verifying_key = *public.verifying_key();
                KeyPackage::new(
                    id,
                    secret,
                    public.verifying_shares()[&id],
                    verifying_key,
                    t as u16,
                )
            })
            .collect();
        let secret = reconstruct(&packages).unwrap().serialize();
        let secret = Scalar::from_canonical_bytes(secret.try_into().unwrap()).unwrap();
        let x = RistrettoPoint::mul_base(&(secret * Scalar::from(2 * key.delta())));
        assert_eq!(x, key.committee_key().point());
    }
}
