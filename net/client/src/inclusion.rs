//! Inclusion: the proof that an envelope stands at a place of the order that a quorum has certified.
//!
//! ```text
//! entry --path--> payload_root of its batch's header --hash chain of headers--> certified header --certificate--> q authorities
//! ```
//!
//! Both halves are checked from the committee file alone: [`Inclusion::verify`] leads from the entry to its header, and
//! [`CertifiedChain::verify`] says which headers are certified. What is proven is that the entry is there. That nothing else
//! is there is not: whoever needs all of a rollup's entries runs a settlement worker.
//!
//! Cost: one SHA-256 a level of the tree and a header; one pairing equation (1.1 ms) a certificate.

use std::collections::VecDeque;

use fairlane_engine::batch::{BatchHeader, Outcome, payload_leaf};
use fairlane_engine::certificate::{Certificate, CertificateError, CertifiedHeader};
use fairlane_engine::committee::Committee;
use fairlane_engine::merkle;
use fairlane_engine::types::{Digest, RollupId, Sha256Hash};

use crate::protocol::{Certified, FollowTarget, Included, IncludedItem, Reveal};

/// An entry of a batch, with the path to the batch's `payload_root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The batch's header; [`BatchHeader::seq`] is the batch's place in the order.
    pub header: BatchHeader,
    /// The entry's place in the batch, from 0.
    pub index: u32,
    /// Digest of the envelope.
    pub digest: Digest,
    /// The rollup that it is for.
    pub rollup_id: RollupId,
    /// What became of it.
    pub reveal: Reveal,
    /// What it carried; empty when it is void.
    pub payload: Vec<u8>,
    /// Siblings from the entry's leaf up to `payload_root`, lowest first.
    pub path: Vec<Sha256Hash>,
}

impl Inclusion {
    /// Of an entry of a notice.
    pub fn of(header: &BatchHeader, item: &IncludedItem<'_>) -> Self {
        Self {
            header: *header,
            index: item.index,
            digest: item.digest,
            rollup_id: item.rollup_id,
            reveal: item.reveal,
            payload: item.payload.to_vec(),
            path: item.path.hashes(),
        }
    }

    /// Checks that the entry is what was asked for and stands under its header. Whether that header counts is the
    /// certificate's to say. Errors: the first thing that does not hold.
    pub fn verify(
        &self,
        committee: &Committee,
        target: FollowTarget,
    ) -> Result<(), InclusionError> {
        let is_asked_for = match target {
            FollowTarget::Digest(digest) => self.digest == digest,
            FollowTarget::Rollup(rollup) => self.rollup_id == rollup,
        };
        if !is_asked_for {
            return Err(InclusionError::Target);
        }
        let header = &self.header;
        if (header.chain_id, header.epoch) != (committee.chain_id, committee.epoch) {
            return Err(InclusionError::Chain);
        }
        let (at, of) = (u64::from(self.index), u64::from(header.entries));
        match merkle::verify_path(self.leaf(), at, of, &self.path, header.payload_root) {
            true => Ok(()),
            false => Err(InclusionError::Path),
        }
    }

    fn leaf(&self) -> Sha256Hash {
        let (offset, len) = (0, 0);
        let outcome = match self.reveal {
            Reveal::Open => Outcome::Open { offset, len },
            Reveal::Revealed { r } => Outcome::Revealed { r, offset, len },
            Reveal::Void => Outcome::Void,
        };
        payload_leaf(self.digest, self.rollup_id, &outcome, &self.payload)
    }
}

/// A certificate and the headers that lead up to the one that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedChain {
    /// Ascending; the last is the certified one.
    pub headers: Vec<BatchHeader>,
    /// The certificate.
    pub certificate: Certificate,
}

impl CertifiedChain {
    /// Of a notice.
    pub fn of(certified: Certified<'_>) -> Self {
        Self {
            headers: certified.headers().collect(),
            certificate: certified.certificate,
        }
    }

    /// Checks that each header follows the one before, that the last is the certified one, and the certificate.
    ///
    /// Errors: the first thing that does not hold.
    pub fn verify(&self, committee: &Committee) -> Result<(), InclusionError> {
        self.check_headers()?;
        let keys = committee.certificate_keys().ok_or(InclusionError::Keys)?;
        Ok(self.certificate.verify(keys)?)
    }

    fn check_headers(&self) -> Result<(), InclusionError> {
        let follows = |pair: &[BatchHeader]| pair[1].follows(&pair[0]);
        let last = self.headers.last().ok_or(InclusionError::Headers)?;
        if !self.headers.windows(2).all(follows)
            || CertifiedHeader::from(last) != self.certificate.header
        {
            return Err(InclusionError::Headers);
        }
        Ok(())
    }

    /// Whether `header` is one of those that are certified, given that [`Self::verify`] holds.
    pub fn covers(&self, header: &BatchHeader) -> bool {
        let at = self.headers.binary_search_by_key(&header.seq, |of| of.seq);
        at.is_ok_and(|at| self.headers[at] == *header)
    }
}

/// Why a proof proves nothing: the node is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// Neither the digest nor the rollup that was asked for.
    #[error("the entry is not what was asked for")]
    Target,
    /// A header of another chain or epoch.
    #[error("the entry's batch is of another chain or epoch")]
    Chain,
    /// The path does not lead from the entry to the root.
    #[error("the entry is not under its batch's payload root")]
    Path,
    /// The headers are no chain up to the certified one.
    #[error("the headers do not lead to the certified one")]
    Headers,
    /// The committee file has no keys for certificates.
    #[error("the committee file has no keys for certificates")]
    Keys,
    /// The certificate does not hold.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
}

/// Entries that one node has told of and no certificate covers yet.
///
/// The pairing equation is for certificates that are new: a node's certificates ascend, so one that is repeated, or older than
/// the last, costs no more than its bytes.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    entries: VecDeque<(u64, Inclusion)>,
    payload_bytes: usize,
    /// What the newest certificate that held is of.
    newest: Option<CertifiedHeader>,
}

impl Unproven {
    /// Keeps the entries of a notice that `target` knows and that hold; gives each, or what is wrong with it, and how many
    /// older ones went for lack of room.
    pub(crate) fn take(
        &mut self,
        included: Included<'_>,
        committee: &Committee,
        target: impl Fn(u64) -> Option<FollowTarget>,
        mut tell: impl FnMut(u64, Result<&Inclusion, InclusionError>),
    ) -> u64 {
        let mut let_go = 0;
        for item in included.iter() {
            let Some(target) = target(item.name) else {
                continue;
            };
            let inclusion = Inclusion::of(&included.header, &item);
            let verdict = inclusion.verify(committee, target);
            tell(item.name, verdict.map(|()| &inclusion));
            if verdict.is_err() {
                continue;
            }
            self.payload_bytes += inclusion.payload.len();
            self.entries.push_back((item.name, inclusion));
            while self.entries.len() > UNPROVEN_MAX || self.payload_bytes > UNPROVEN_BYTES_MAX {
                self.pop();
                let_go += 1;
            }
        }
        let_go
    }

    /// Gives what the chain, which was verified, covers.
    pub(crate) fn prove(&mut self, chain: &CertifiedChain) -> Vec<(u64, Inclusion)> {
        let up_to = chain.certificate.header.seq;
        let mut proven = Vec::new();
        while let Some((_, first)) = self.entries.front()
            && first.header.seq <= up_to
            && let Some((name, inclusion)) = self.pop()
        {
            // One of a header that is not in the chain is of no chain that is certified.
            if chain.covers(&inclusion.header) {
                proven.push((name, inclusion));
            }
        }
        proven
    }

    /// Whether a certificate may cover something that waits here.
    pub(crate) fn is_of_use(&self, certificate: &Certificate) -> bool {
        let seq = certificate.header.seq;
        let is_old = self.newest.is_some_and(|newest| seq < newest.seq);
        let first = self.entries.front();
        !is_old && first.is_some_and(|(_, first)| first.header.seq <= seq)
    }

    /// [`CertifiedChain::verify`], but that what was certified before is not verified again: whether it was verified now.
    /// Errors: the same.
    pub(crate) fn check(
        &mut self,
        chain: &CertifiedChain,
        committee: &Committee,
    ) -> Result<bool, InclusionError> {
        let certified = chain.certificate.header;
        if self.newest == Some(certified) {
            return chain.check_headers().map(|()| false);
        }
        chain.verify(committee)?;
        self.newest = Some(certified);
        Ok(true)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn pop(&mut self) -> Option<(u64, Inclusion)> {
        let (name, inclusion) = self.entries.pop_front()?;
        self.payload_bytes -= inclusion.payload.len();
        Some((name, inclusion))
    }
}

/// Entries of one node that wait for a certificate; the oldest goes, counted.
const UNPROVEN_MAX: usize = 8192;
/// And bytes of their payload.
const UNPROVEN_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
#[path = "inclusion_tests.rs"]
mod tests;
