//! A batch before it is opened: whose envelopes, in what order, and how long the result may get.

use crate::batch::archive::{self, BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX};
use crate::batch::header::BatchHeader;
use crate::evidence::Evidence;
use crate::seal::group::EncodedPoint;
use crate::seal::proof::VerifiedEnvelope;
use crate::seal::share::ShareMessage;
use crate::seal::{Envelope, EnvelopeKind};
use crate::types::{BatchSeq, Digest, KeyId, Round, Sha256Hash, TimestampUs};

/// A batch whose order is final.
#[derive(Clone, Debug)]
pub struct BatchPlan<E = VerifiedEnvelope> {
    /// Its place in the chain.
    pub seq: BatchSeq,
    /// Round of the anchor that emitted it.
    pub anchor_round: Round,
    /// Consensus time of that anchor.
    pub time: TimestampUs,
    /// The envelopes in order.
    pub envelopes: Vec<E>,
    /// Merkle root of their digests.
    pub order_root: Sha256Hash,
    /// The state root where the batch is a checkpoint, else all zero.
    pub state_root: Sha256Hash,
    /// Entries of the emission that a group-wait cut let go; stands in the emission's first batch.
    pub group_wait_cut: u32,
    /// Entries of the emission for which the deferral cap fired; stands in the emission's first batch.
    pub cap_fired: u32,
}

impl<E: AsRef<Envelope>> BatchPlan<E> {
    /// Length of the contiguous payload region, voids included (their places are zeroed).
    pub fn payload_len(&self) -> usize {
        self.envelopes
            .iter()
            .map(|envelope| envelope.as_ref().label().payload_len as usize)
            .sum()
    }

    /// Bytes that the archive takes at most, slack included.
    pub fn archive_len_max(&self) -> usize {
        archive::archive_len_max(self.envelopes.len(), self.payload_len())
    }

    /// Digests in order.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.envelopes
            .iter()
            .map(|envelope| envelope.as_ref().digest())
    }

    /// Whether `header` is of this batch, as far as the order decides it.
    pub fn is_of(&self, header: &BatchHeader) -> bool {
        header.seq == self.seq
            && header.anchor_round == self.anchor_round
            && header.time_us == self.time
            && header.order_root == self.order_root
            && header.state_root == self.state_root
            && header.entries as usize == self.envelopes.len()
    }

    /// The key that its sealed entries are sealed to, if it has any: the same for all.
    pub fn key_id(&self) -> Option<KeyId> {
        let mut labels = self
            .envelopes
            .iter()
            .map(|envelope| envelope.as_ref().label());
        let sealed = labels.find(|label| label.kind == EnvelopeKind::Sealed);
        sealed.map(|label| label.key_id)
    }
}

impl BatchPlan {
    /// Bytes of its envelopes.
    pub fn envelopes_len(&self) -> usize {
        let lens = self.envelopes.iter().map(|envelope| envelope.bytes().len());
        lens.sum()
    }

    /// Evidence against the author of a signed message that does not hold for this batch, if it is not too long.
    pub fn evidence_against(&self, message: &ShareMessage) -> Option<Evidence> {
        let envelopes = self.envelopes.iter().map(|envelope| &**envelope);
        Evidence::of_bad_share(message, envelopes)
    }

    /// The points U of the sealed entries, in order.
    pub fn sealed_points(&self) -> Vec<EncodedPoint> {
        self.envelopes
            .iter()
            .filter_map(|envelope| envelope.u().copied())
            .collect()
    }
}

/// What one anchor emits, its envelopes all there.
#[derive(Clone, Debug)]
pub struct Emission<E = VerifiedEnvelope> {
    /// The anchor's round.
    pub anchor_round: Round,
    /// Its consensus time.
    pub time: TimestampUs,
    /// The envelopes in order.
    pub envelopes: Vec<E>,
    /// See [`BatchPlan`].
    pub group_wait_cut: u32,
    /// See [`BatchPlan`].
    pub cap_fired: u32,
    /// Hash of the state after the anchor, where it is a checkpoint.
    pub state_root: Option<Sha256Hash>,
}

impl<E: AsRef<Envelope>> Emission<E> {
    /// Cuts it into batches, the first of which is `seq`. What emits nothing is one empty batch.
    pub fn cut(self, mut seq: BatchSeq) -> Vec<BatchPlan<E>> {
        let entries = self.envelopes.iter().map(|envelope| {
            let label = envelope.as_ref().label();
            let is_sealed = label.kind == EnvelopeKind::Sealed;
            (label.payload_len, is_sealed.then_some(label.key_id))
        });
        let mut runs = cut_runs(entries);
        if runs.is_empty() {
            runs.push(0);
        }
        let mut rest = self.envelopes.into_iter();
        let mut plans = Vec::with_capacity(runs.len());
        for (run, len) in runs.into_iter().enumerate() {
            let envelopes: Vec<E> = rest.by_ref().take(len).collect();
            let digests = envelopes.iter().map(|envelope| envelope.as_ref().digest());
            plans.push(BatchPlan {
                seq,
                anchor_round: self.anchor_round,
                time: self.time,
                order_root: archive::order_root(digests),
                envelopes,
                state_root: Sha256Hash::default(),
                group_wait_cut: if run == 0 { self.group_wait_cut } else { 0 },
                cap_fired: if run == 0 { self.cap_fired } else { 0 },
            });
            seq = seq.next();
        }
        if let (Some(root), Some(last)) = (self.state_root, plans.last_mut()) {
            last.state_root = root;
        }
        plans
    }
}

/// Cuts entries, of which only payload length and key count, into runs of at most [`BATCH_ENTRIES_MAX`] entries and
/// [`BATCH_PAYLOAD_MAX`] bytes, sealed to one key; gives the length of each run. So every node cuts alike before anything is
/// opened, and one share message, which is for one key, covers a batch. Open entries (no key) go with any.
///
/// A payload is always below [`BATCH_PAYLOAD_MAX`] (an envelope has at most 16 KiB), so no run is empty. While two keys are in
/// use, a run ends wherever they meet.
pub fn cut_runs(entries: impl Iterator<Item = (u32, Option<KeyId>)>) -> Vec<usize> {
    let (mut runs, mut run_key) = (Vec::new(), None);
    let (all, mut entries, mut bytes) = (entries, 0usize, 0usize);
    for (len, key) in all {
        let len = len as usize;
        let is_full = entries == BATCH_ENTRIES_MAX || bytes + len > BATCH_PAYLOAD_MAX;
        let is_of_another = run_key.is_some() && key.is_some() && key != run_key;
        if entries > 0 && (is_full || is_of_another) {
            runs.push(entries);
            (entries, bytes, run_key) = (0, 0, None);
        }
        run_key = run_key.or(key);
        entries += 1;
        bytes += len;
    }
    if entries > 0 {
        runs.push(entries);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emission_is_cut_at_either_bound_and_nothing_is_lost() {
        let cut_lens = |lens: &[u32]| cut_runs(lens.iter().map(|len| (*len, None)));
        assert_eq!(cut_lens(&[]), Vec::<usize>::new());
        let (entries, bytes) = (BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX as u32);
        assert_eq!(cut_lens(&vec![1; entries + 1]), vec![entries, 1]);
        assert_eq!(cut_lens(&[bytes - 1, 1, 1]), vec![2, 1]);
        assert_eq!(cut_lens(&[bytes, bytes]), vec![1, 1]);
    }

    #[test]
    fn a_run_is_sealed_to_one_key_and_open_entries_go_with_any() {
        let (a, b) = (Some(KeyId([1; 16])), Some(KeyId([2; 16])));
        let cut = |keys: &[Option<KeyId>]| cut_runs(keys.iter().map(|key| (1, *key)));
        assert_eq!(cut(&[a, a, b, b, b]), [2, 3]);
        assert_eq!(cut(&[a, b, a]), [1, 1, 1], "the order stands");
        assert_eq!(cut(&[None, a, None, a, None]), [5]);
        assert_eq!(cut(&[None, a, None, b, None]), [3, 2]);
        assert_eq!(cut(&[None, None]), [2]);
    }
}
