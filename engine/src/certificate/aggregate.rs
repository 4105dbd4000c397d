//! Many signatures of one header into a certificate: aggregated first, verified once, halved on failure.
//!
//! Cost: with all signatures good one pairing equation, a decoding (0.1 ms with its subgroup check) and an addition each;
//! each bad one adds at most 2 ceil(log2 n) equations.

use blst::min_sig::AggregateSignature;

use super::cert::{Certificate, CertifiedHeader, is_signed_by};
use super::key::{SignatureBytes, decode_signature};
use super::keys::CertificateKeys;
use crate::types::{AuthorityIndex, AuthoritySet};

/// What became of a set of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregated {
    /// All that hold, together; none when fewer than q do.
    pub certificate: Option<Certificate>,
    /// Whose signatures hold.
    pub good: AuthoritySet,
    /// Whose do not.
    pub bad: AuthoritySet,
}

/// Aggregates signatures of `header`, at most one a member: a further one of the same author, or of who is no member, is
/// left out.
pub fn aggregate(
    header: &CertifiedHeader,
    signatures: &[(AuthorityIndex, SignatureBytes)],
    keys: &CertificateKeys,
) -> Aggregated {
    aggregate_but(header, signatures, AuthoritySet::EMPTY, keys)
}

/// As [`aggregate`], but each signature of `suspects` is checked alone: one equation each, good or bad, where bad ones
/// among the rest would have it halved again and again.
pub(super) fn aggregate_but(
    header: &CertifiedHeader,
    signatures: &[(AuthorityIndex, SignatureBytes)],
    suspects: AuthoritySet,
    keys: &CertificateKeys,
) -> Aggregated {
    let (mut good, mut bad) = (AuthoritySet::EMPTY, AuthoritySet::EMPTY);
    let mut members = AuthoritySet::EMPTY;
    let mut points = Vec::with_capacity(signatures.len());
    for (author, bytes) in signatures {
        if keys.find(*author).is_none() || !members.insert(*author) {
            continue;
        }
        match decode_signature(bytes) {
            Some(point) => points.push((*author, point)),
            None => {
                bad.insert(*author);
            }
        }
    }
    let sum_of = |part: &[(AuthorityIndex, blst::min_sig::Signature)]| {
        let points: Vec<_> = part.iter().map(|(_, point)| point).collect();
        // Subgroup and identity were checked one by one. Only an empty part has no sum.
        let sum = AggregateSignature::aggregate(&points, false).ok()?;
        Some(sum.to_signature().compress())
    };
    let holds = |part: &[(AuthorityIndex, blst::min_sig::Signature)]| {
        let mut signers = AuthoritySet::EMPTY;
        for (author, _) in part {
            signers.insert(*author);
        }
        let sum = sum_of(part)?;
        is_signed_by(header, signers, &sum, keys)
    };
    points.sort_by_key(|(author, _)| suspects.contains(*author));
    let trusted = points.partition_point(|(author, _)| !suspects.contains(*author));
    let (together, alone) = points.split_at(trusted);
    let mut parts: Vec<_> = alone.chunks(1).collect();
    parts.push(together);
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let is_good = holds(part) == Some(true);
        if !is_good && part.len() > 1 {
            let (low, high) = part.split_at(part.len() / 2);
            parts.extend([low, high]);
            continue;
        }
        for (author, _) in part {
            match is_good {
                true => good.insert(*author),
                false => bad.insert(*author),
            };
        }
    }
    points.retain(|(author, _)| good.contains(*author));
    let is_enough = good.len() >= keys.thresholds().quorum();
    let certificate = sum_of(&points)
        .filter(|_| is_enough)
        .map(|signature| Certificate {
            header: *header,
            signers: good,
            signature,
        });
    Aggregated {
        certificate,
        good,
        bad,
    }
}
