//! What authorities have signed of the chain of batches: every vertex names how many its author had settled, and the hash of
//! the last header.
//!
//! A header names the one before it, so who names a hash of ours vouches for all batches up to it. With f + 1 of them one is
//! correct, and a correct authority has settled only what it has checked itself, or f + 1 others vouched for. So what cannot
//! be recomputed from a journal (a state that was taken over, a void entry of a batch that was fetched) can at least be
//! vouched for.
//!
//! I1: at most [`CLAIMS_MAX`] claims an author wait for their batch, and as many header hashes are remembered.

use std::collections::{BTreeMap, VecDeque};

use crate::committee::Thresholds;
use crate::dag::Settled;
use crate::types::{AuthorityIndex, AuthoritySet, BatchSeq, Sha256Hash};

use super::fault::{Found, Rule};

/// Claims and the chain that they are held against.
#[derive(Debug)]
pub(super) struct Witness {
    thresholds: Thresholds,
    /// Hashes of the newest headers; `next` is the seq behind them.
    hashes: VecDeque<Sha256Hash>,
    next: u64,
    /// Up to how many batches each author has named our hashes.
    agreed: Vec<u64>,
    /// What authors said of batches that have not come yet, by seq.
    claims: Vec<BTreeMap<u64, Sha256Hash>>,
    contradicting: AuthoritySet,
}

impl Witness {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        let authors = thresholds.authorities() as usize;
        Self {
            thresholds,
            hashes: VecDeque::new(),
            next: 0,
            agreed: vec![0; authors],
            claims: vec![BTreeMap::new(); authors],
            contradicting: AuthoritySet::EMPTY,
        }
    }

    /// A vertex of `author` says so. O(log claims).
    pub(super) fn on_vertex(
        &mut self,
        author: AuthorityIndex,
        settled: Settled,
    ) -> Result<(), Found> {
        let Some(seq) = settled.count.checked_sub(1) else {
            return Ok(());
        };
        if seq >= self.next {
            let claims = &mut self.claims[author.as_usize()];
            claims.insert(seq, settled.hash);
            if claims.len() > CLAIMS_MAX {
                claims.pop_first();
            }
            return Ok(());
        }
        match self.hash(seq) {
            Some(hash) => self.judge(author, seq, hash == settled.hash),
            None => Ok(()),
        }
    }

    /// The next header of the chain, or after a state that was taken over, its checkpoint's. O(n log claims).
    pub(super) fn on_header(&mut self, seq: BatchSeq, hash: Sha256Hash) -> Result<(), Found> {
        if seq.0 != self.next {
            self.hashes.clear();
        }
        self.next = seq.0 + 1;
        self.hashes.push_back(hash);
        if self.hashes.len() > CLAIMS_MAX {
            self.hashes.pop_front();
        }
        for author in self.thresholds.members() {
            let claims = &mut self.claims[author.as_usize()];
            while let Some(first) = claims.first_entry()
                && *first.key() <= seq.0
            {
                let (at, claimed) = first.remove_entry();
                if at == seq.0 {
                    self.judge(author, at, claimed == hash)?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The hash of the header with this seq, while it is remembered.
    pub(super) fn hash(&self, seq: u64) -> Option<Sha256Hash> {
        let back = self.next.checked_sub(seq)?;
        let at = self.hashes.len().checked_sub(usize::try_from(back).ok()?)?;
        self.hashes.get(at).copied()
    }

    /// How many batches, from the first of the epoch, f + 1 authorities have vouched for.
    pub(super) fn vouched(&self) -> u64 {
        let mut agreed = self.agreed.clone();
        agreed.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let at = self.thresholds.faulty_max() as usize;
        agreed.get(at).copied().unwrap_or_default()
    }

    fn judge(&mut self, author: AuthorityIndex, seq: u64, agrees: bool) -> Result<(), Found> {
        if agrees {
            let agreed = &mut self.agreed[author.as_usize()];
            *agreed = (*agreed).max(seq + 1);
            return Ok(());
        }
        self.contradicting.insert(author);
        if self.contradicting.len() <= self.thresholds.faulty_max() {
            return Ok(());
        }
        let names: Vec<String> = self
            .contradicting
            .iter()
            .map(|author| author.to_string())
            .collect();
        let what = format!("{} have signed another header for it", names.join(" and "));
        Err(Found::new(Rule::Settled, what).in_batch(BatchSeq(seq)))
    }
}

/// Claims of one author that wait for their batch, and header hashes that are remembered.
pub const CLAIMS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: [Sha256Hash; 3] = [
        Sha256Hash([1; 32]),
        Sha256Hash([2; 32]),
        Sha256Hash([3; 32]),
    ];

    fn witness() -> Witness {
        Witness::new(Thresholds::new(4).unwrap())
    }

    fn settled(count: u64, hash: Sha256Hash) -> Settled {
        Settled { count, hash }
    }

    #[test]
    fn f_plus_one_vouch_whether_they_spoke_before_the_batch_came_or_after() {
        let mut witness = witness();
        let authors = [0, 1].map(AuthorityIndex);
        witness
            .on_vertex(authors[0], settled(2, HASHES[1]))
            .unwrap();
        witness.on_header(BatchSeq(0), HASHES[0]).unwrap();
        witness
            .on_vertex(authors[1], settled(1, HASHES[0]))
            .unwrap();
        assert_eq!(witness.vouched(), 0, "one alone may be the faulty one");
        witness.on_header(BatchSeq(1), HASHES[1]).unwrap();
        assert_eq!(witness.vouched(), 1);
        witness
            .on_vertex(authors[1], settled(2, HASHES[1]))
            .unwrap();
        assert_eq!(witness.vouched(), 2);
    }

    #[test]
    fn more_than_f_that_name_another_header_are_a_fault_and_f_are_none() {
        let mut witness = witness();
        witness.on_header(BatchSeq(0), HASHES[0]).unwrap();
        let lie = settled(1, HASHES[2]);
        witness.on_vertex(AuthorityIndex(0), lie).unwrap();
        witness.on_vertex(AuthorityIndex(0), lie).unwrap();
        assert!(witness.on_vertex(AuthorityIndex(3), lie).is_err());
    }

    #[test]
    fn claims_and_hashes_are_bounded() {
        let mut witness = witness();
        let count = CLAIMS_MAX as u64 + 5;
        for seq in 0..count {
            let claim = settled(seq + 1, HASHES[0]);
            witness.on_vertex(AuthorityIndex(0), claim).unwrap();
        }
        assert_eq!(witness.claims[0].len(), CLAIMS_MAX);
        for seq in 0..count {
            witness.on_header(BatchSeq(seq), HASHES[0]).unwrap();
        }
        assert_eq!(witness.hashes.len(), CLAIMS_MAX);
        assert!(witness.claims[0].is_empty());
        assert_eq!(witness.hash(4), None);
        assert!(witness.hash(5).is_some() && witness.hash(count).is_none());
    }
}
