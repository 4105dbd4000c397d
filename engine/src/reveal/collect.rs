//! Share messages of one batch, and opening it from t of them: optimistically, and else from proven ones.
//!
//! I1: at most one share an author counts. I2: an author that signed a share that does not hold is done with for the
//! batch; a message that it did not sign says nothing of it, and it may send another. I3: void is decided from t proven shares only.

use crate::seal::group::EncodedPoint;
use crate::seal::key::SealingKey;
use crate::seal::open::{self, ClaimedPoint};
use crate::seal::share::{ClaimedShare, ShareError, ShareMessage, SharePoints, VerifiedShare};
use crate::types::{AuthorityIndex, AuthoritySet};

/// Whether a batch has the shares that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// More are needed.
    Partial,
    /// t different authorities' shares are there, or the batch has no sealed entry.
    Complete,
}

/// That all shares of a batch are proven. Only this module makes it.
#[derive(Clone, Copy, Debug)]
pub struct Proven(());

/// The points of one batch and the shares for them.
#[derive(Debug)]
pub struct Collect {
    points: Vec<EncodedPoint>,
    threshold: u32,
    /// Whose shares are there.
    authors: AuthoritySet,
    /// Whose proof failed.
    refused: AuthoritySet,
    proven: Vec<VerifiedShare>,
    claimed: Vec<(AuthorityIndex, ClaimedShare)>,
}

impl Collect {
    /// For the sealed points of a batch, of which `threshold` authorities' shares open each.
    pub const fn new(points: Vec<EncodedPoint>, threshold: u32) -> Self {
        Self {
            points,
            threshold,
            authors: AuthoritySet::EMPTY,
            refused: AuthoritySet::EMPTY,
            proven: Vec::new(),
            claimed: Vec::new(),
        }
    }

    /// The points that shares are for.
    pub fn points(&self) -> &[EncodedPoint] {
        &self.points
    }

    /// From whom nothing more is taken: their shares are there, or their proof failed.
    pub fn done_with(&self) -> AuthoritySet {
        self.authors.union(self.refused)
    }

    /// Whether nothing more is taken from this author.
    pub const fn is_done_with(&self, author: AuthorityIndex) -> bool {
        self.authors.contains(author) || self.refused.contains(author)
    }

    /// Whether the batch can be opened.
    pub fn is_complete(&self) -> bool {
        self.points.is_empty() || self.authors.len() >= self.threshold
    }

    /// How many more shares open the batch.
    pub fn shares_lacking(&self) -> u32 {
        match self.points.is_empty() {
            true => 0,
            false => self.threshold.saturating_sub(self.authors.len()),
        }
    }

    /// Adds a proven share; a second one of its author, or one more than needed, changes nothing.
    pub fn add_proven(&mut self, share: VerifiedShare) -> Collected {
        let author = share.as_ref().author();
        if !self.is_complete() && !self.is_done_with(author) {
            self.authors.insert(author);
            self.proven.push(share);
        }
        self.collected()
    }

    /// Adds an unproven share; see [`Self::add_proven`].
    pub fn add_claimed(&mut self, share: ClaimedShare) -> Collected {
        let author = share.as_ref().author();
        if !self.is_complete() && !self.is_done_with(author) {
            self.authors.insert(author);
            self.claimed.push((author, share));
        }
        self.collected()
    }

    /// Nothing more is taken from `author` for this batch: its share did not hold.
    pub fn refuse(&mut self, author: AuthorityIndex) {
        self.refused.insert(author);
    }

    /// That every share that is there is proven, if so: what they give is then final.
    pub fn proven(&self) -> Option<Proven> {
        self.claimed.is_empty().then_some(Proven(()))
    }

    /// The messages of the proven shares.
    pub fn proofs(&self) -> impl Iterator<Item = &ShareMessage> {
        self.proven.iter().map(VerifiedShare::message)
    }

    /// Combines all shares, proven or not, one result a point, in order.
    ///
    /// Panics when the batch is not complete: the caller has asked.
    pub fn combine(&self, key: &SealingKey) -> Vec<ClaimedPoint> {
        if self.points.is_empty() {
            return Vec::new();
        }
        assert!(
            self.is_complete(),
            "a batch opens when its shares are there"
        );
        let proven = self.proven.iter().map(|share| share.as_ref());
        let claimed = self.claimed.iter().map(|(_, share)| share.as_ref());
        let shares: Vec<&SharePoints> = proven.chain(claimed).collect();
        open::combine_claimed(key, &shares).expect("t authors' shares for one batch combine")
    }

    /// Checks signature and proof of the unproven shares. Errors: drops those that fail and gives their messages and why.
    pub fn prove_all(
        &mut self,
        key: &SealingKey,
        signing_keys: &[ed25519_dalek::VerifyingKey],
    ) -> Result<Proven, Vec<(Box<ShareMessage>, ShareError)>> {
        let mut failed = Vec::new();
        for (author, share) in std::mem::take(&mut self.claimed) {
            match share.prove(key, &signing_keys[author.as_usize()], &self.points) {
                Ok(proven) => self.proven.push(proven),
                Err((message, error)) => {
                    self.authors.remove(author);
                    if error.is_evidence() {
                        self.refused.insert(author);
                    }
                    failed.push((message, error));
                }
            }
        }
        match failed.is_empty() {
            true => Ok(Proven(())),
            false => Err(failed),
        }
    }

    fn collected(&self) -> Collected {
        if self.is_complete() {
            Collected::Complete
        } else {
            Collected::Partial
        }
    }
}
