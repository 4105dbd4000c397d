//! That what is void is void: t proven share messages give D, and under it the envelope shows no r of which U = r g.

use std::collections::BTreeMap;

use crate::committee::Committee;
use crate::seal::{
    Outcome, SealingKey, ShareMessage, VerifiedShare, combine, open_into, opened_len,
};
use crate::types::AuthorityIndex;

use super::fault::{Found, Rule};
use super::sequence::Planned;

/// The share messages recorded since the last batch, by author.
pub(super) type Shares = BTreeMap<AuthorityIndex, ShareMessage>;

/// Shows that the entries with these indices are void. False where no share message says anything.
///
/// O(t) checked messages a batch, each as dear as when a node checks it.
pub(super) fn prove(
    committee: &Committee,
    planned: &Planned,
    shares: &Shares,
    void: &[usize],
) -> Result<bool, Found> {
    let plan = &planned.plan;
    let first = void.first().copied().unwrap_or_default();
    let wrong = |what: String| Found::new(Rule::Void, what).in_entry(first);
    let Some(key) = planned.key.as_deref().map(|key| &key.sealing) else {
        return Err(wrong("nothing in its batch is sealed".to_owned()));
    };
    if shares.is_empty() {
        return Ok(false);
    }
    let proven = proven(committee, planned, key, shares)?;
    let threshold = key.threshold() as usize;
    if proven.len() < threshold {
        let count = proven.len();
        return Err(wrong(format!(
            "{count} authorities' share messages are recorded and {threshold} decide"
        )));
    }
    let chosen: Vec<&VerifiedShare> = proven.iter().take(threshold).collect();
    let points = combine(key, &chosen).map_err(|error| wrong(error.to_string()))?;
    let sealed = plan.envelopes.iter().enumerate();
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
    Ok(true)
}

fn proven(
    committee: &Committee,
    planned: &Planned,
    key: &SealingKey,
    shares: &Shares,
) -> Result<Vec<VerifiedShare>, Found> {
    let plan = &planned.plan;
    let us = plan.sealed_points();
    let checked = shares.values().map(|message| {
        let author = message.author;
        let signing_key = &committee.signing_keys()[author.as_usize()];
        let verified = message.verify(key, signing_key, plan.seq, plan.order_root, &us);
        verified.map_err(|error| {
            let what = format!("the share message of {author} does not hold: {error}");
            Found::new(Rule::Void, what)
        })
    });
    checked.collect()
}
