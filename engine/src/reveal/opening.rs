//! Decrypting a batch in place, and deciding its entries once it is known what the points are worth.
//!
//! I1: an entry counts as revealed only if U = r g and D = r X, or U = r g under a D from proven shares. I2: an entry is void
//! only under a D from proven shares: that takes a [`Proven`], which only they give. I3: an entry's payload is what the client
//! put in: the padding that its label announces is cut off, and becomes a gap. A payload that has not got it stays as carried.
//!
//! Cost an entry: the cipher, and two points in one multi-scalar multiplication. Where that does not hold although the
//! shares do, which takes a client that sealed another r than its own, one fixed-base multiplication an entry more.

use super::collect::Proven;
use super::plan::BatchPlan;
use crate::batch::archive::{BatchEntry, Outcome, PAYLOAD_SLACK_LEN};
use crate::seal::group::EncodedPoint;
use crate::seal::key::SealingKey;
use crate::seal::open::{self, ClaimedPoint, ClaimedReveal};

/// A batch decrypted under points that may be false.
pub(super) struct Opening<'a> {
    plan: &'a BatchPlan,
    /// One a sealed entry, in order: U, D, and what the envelope holds under that D, if anything.
    sealed: Vec<(&'a EncodedPoint, &'a ClaimedPoint, Option<ClaimedReveal>)>,
}

impl<'a> Opening<'a> {
    /// Puts every payload to its place in `out`, the last one first; `points` has one D a sealed entry, in order.
    ///
    /// The cipher writes r (32 bytes) directly before a payload, over the tail of the payload before it; going backwards that
    /// tail is written afterwards, so payloads end up contiguous and no byte is moved. The first r lies in the slack.
    ///
    /// Panics when `out` is not the region of slack and payloads, or points are lacking: both are known before.
    pub(super) fn decrypt(plan: &'a BatchPlan, points: &'a [ClaimedPoint], out: &mut [u8]) -> Self {
        let mut points = points.iter().rev();
        let mut sealed = Vec::with_capacity(points.len());
        let mut end = PAYLOAD_SLACK_LEN + plan.payload_len();
        for envelope in plan.envelopes.iter().rev() {
            let start = end - envelope.label().payload_len as usize;
            if let Some(u) = envelope.u() {
                let d = points.next().expect("one combined point a sealed entry");
                let out = &mut out[start - PAYLOAD_SLACK_LEN..end];
                sealed.push((u, d, open::open_claimed(envelope, d, out)));
            } else {
                let payload = envelope.open_payload();
                out[start..end].copy_from_slice(payload.expect("an open envelope has a payload"));
            }
            end = start;
        }
        sealed.reverse();
        Self { plan, sealed }
    }

    /// Whether every sealed entry shows an r.
    pub(super) fn is_whole(&self) -> bool {
        self.sealed.iter().all(|(_, _, reveal)| reveal.is_some())
    }

    /// Whether U = r g and D = r X for every r that shows: then those entries are revealed, whoever gave the shares.
    pub(super) fn reveals_hold(&self, key: &SealingKey, process_secret: &[u8; 32]) -> bool {
        let reveals = self.sealed.iter();
        let reveals: Vec<_> = reveals
            .filter_map(|(u, d, reveal)| Some((*u, *d, (*reveal)?)))
            .collect();
        open::reveals_hold(key, process_secret, &reveals)
    }

    /// The entries, all of which are revealed: for an opening that is whole and whose reveals hold.
    ///
    /// `out` is what was decrypted into.
    pub(super) fn revealed(self, out: &[u8]) -> Vec<BatchEntry> {
        assert!(self.is_whole(), "only proven shares make an entry void");
        self.entries(out, |_, reveal| reveal)
    }

    /// Decides every entry, the points being true: what shows no r is void, and unless `hold`, each r is held against U.
    ///
    /// `out` is what was decrypted into.
    pub(super) fn judged(self, _: Proven, hold: bool, out: &[u8]) -> Vec<BatchEntry> {
        self.entries(out, |u, reveal| {
            reveal.filter(|reveal| hold || reveal.is_of(u))
        })
    }

    fn entries(
        self,
        out: &[u8],
        accept: impl Fn(&EncodedPoint, Option<ClaimedReveal>) -> Option<ClaimedReveal>,
    ) -> Vec<BatchEntry> {
        let mut sealed = self.sealed.into_iter();
        let mut offset = 0;
        let entry = |envelope: &crate::seal::VerifiedEnvelope| {
            let label = envelope.label();
            let start = offset;
            offset += label.payload_len;
            let carried = &out[PAYLOAD_SLACK_LEN..][start as usize..offset as usize];
            // No more than is carried, so it fits.
            let len = label.content(carried).unwrap_or(carried).len() as u32;
            let outcome = if envelope.u().is_some() {
                let (u, _, reveal) = sealed.next().expect("one a sealed entry");
                match accept(u, reveal) {
                    Some(ClaimedReveal { r, .. }) => Outcome::Revealed {
                        r,
                        offset: start,
                        len,
                    },
                    None => Outcome::Void,
                }
            } else {
                Outcome::Open { offset: start, len }
            };
            BatchEntry {
                digest: envelope.digest().0,
                rollup_id: label.rollup.0,
                outcome,
            }
        };
        self.plan.envelopes.iter().map(entry).collect()
    }
}
