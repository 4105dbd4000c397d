//! A recorded certificate: of a batch of this chain that stands before it, and signed by at least q.
//!
//! Cost: one pairing equation.

use crate::certificate::Certificate;
use crate::committee::Committee;
use crate::types::{BatchSeq, Sha256Hash};

use super::fault::{Found, Rule};
use super::witness::Witness;

/// What a certificate covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Certified {
    /// It covers all batches below.
    pub(super) next: BatchSeq,
    /// Its batch was recomputed here, or hangs on one that was; else it is too old for that to be remembered.
    pub(super) is_placed: bool,
}

/// Judges the encoded certificate where `next` is the seq behind the last batch, whose chain `witness` remembers.
pub(super) fn judge(
    committee: &Committee,
    witness: &Witness,
    next: BatchSeq,
    bytes: &[u8],
) -> Result<Certified, Found> {
    let certificate =
        Certificate::decode(bytes).map_err(|error| Found::new(Rule::Record, error))?;
    let header = certificate.header;
    let wrong = |what: String| Found::new(Rule::Certificate, what).in_batch(header.seq);
    let keys = committee.certificate_keys();
    let keys =
        keys.ok_or_else(|| wrong("the committee file has no keys for certificates".into()))?;
    if header.seq >= next {
        return Err(wrong("it is certified before it is recorded".into()));
    }
    let recorded: Option<Sha256Hash> = witness.hash(header.seq.0);
    if recorded.is_some_and(|recorded| recorded != header.hash) {
        return Err(wrong("the certificate is of another header".into()));
    }
    let verdict = certificate.verify(keys);
    verdict.map_err(|error| wrong(error.to_string()))?;
    Ok(Certified {
        next: header.seq.next(),
        is_placed: recorded.is_some(),
    })
}
