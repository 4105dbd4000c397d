//! That what is void is void: t proven share messages give D, and under it the envelope shows no r of which U = r g.

use std::collections::BTreeMap;

use crate::committee::Committee;
use crate::seal::{
    EncodedPoint, Outcome, SealingKey, ShareMessage, VerifiedEnvelope, VerifiedShare, combine,
    open_into, opened_len,
};
use crate::types::{AuthorityIndex, BatchSeq, Sha256Hash};

use super::fault::{Found, Rule};

/// The share messages recorded since the last batch, by author.
pub(super) type Shares = BTreeMap<AuthorityIndex, ShareMessage>;

/// Shows that of a batch's envelopes those with the indices `void`, ascending, are void.
///
/// O(t) checked messages a batch, each as dear as when a node checks it.
pub(super) fn prove(
    committee: &Committee,
    key: Option<&SealingKey>,
    order: (BatchSeq, Sha256Hash),
    (envelopes, void): (&[VerifiedEnvelope], &[usize]),
    shares: &Shares,
) -> Result<(), Found> {
    let first = void.first().copied().unwrap_or_default();
    let wrong = |what: String| Found::new(Rule::Void, what).in_entry(first);
    let key = key.ok_or_else(|| wrong("nothing in its batch is sealed".to_owned()))?;
    let us = envelopes
        .iter()
        .filter_map(|envelope| envelope.u().copied());
    let us: Vec<EncodedPoint> = us.collect();
    let mut proven = Vec::with_capacity(shares.len());
    for (author, message) in shares {
        let signing_key = &committee.signing_keys()[author.as_usize()];
        let verified = message.verify(key, signing_key, order.0, order.1, &us);
        proven.push(verified.map_err(|error| {
            wrong(format!(
                "the share message of {author} does not hold: {error}"
            ))
        })?);
    }
    let threshold = key.threshold() as usize;
    if proven.len() < threshold {
        let count = proven.len();
        return Err(wrong(format!(
            "{count} authorities' share messages are recorded and {threshold} decide"
        )));
    }
    let chosen: Vec<&VerifiedShare> = proven.iter().take(threshold).collect();
    let points = combine(key, &chosen).map_err(|error| wrong(error.to_string()))?;
    let sealed = envelopes.iter().enumerate();
    let sealed = sealed.filter_map(|(index, envelope)| Some((index, envelope, envelope.u()?)));
    for ((index, envelope, u), d) in sealed.zip(&points) {
        if void.binary_search(&index).is_err() {
            continue;
        }
        let mut out = vec![0; opened_len(envelope)];
        if open_into(envelope, u, d, &mut out) != Outcome::Void {
            let what = "it is said to be void, and it opens";
            return Err(Found::new(Rule::Void, what).in_entry(index));
        }
    }
    Ok(())
}
