//! The committee: who orders, and every threshold that follows from how many they are.
//!
//! Thresholds are methods, integers, and written here only: nobody computes 2f + 1 at a call site.

use std::sync::Arc;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::certificate::{CertificateKeys, CertificateKeysError, KEY_LEN, Possession};
use crate::dkg::{KeyPlan, SessionError};
use crate::ed25519::StrictVerifier;
use crate::types::{AUTHORITIES_MAX, AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};

/// Sizes and thresholds of a committee of n authorities of which f < n/3 may be Byzantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    authorities: u32,
}

impl Thresholds {
    /// For `authorities` members. Errors: none, or more than [`AUTHORITIES_MAX`].
    pub fn new(authorities: usize) -> Result<Self, CommitteeError> {
        match u32::try_from(authorities) {
            Ok(n) if n > 0 && authorities <= AUTHORITIES_MAX => Ok(Self { authorities: n }),
            _ => Err(CommitteeError::Size(authorities)),
        }
    }

    /// n, the number of authorities.
    pub const fn authorities(self) -> u32 {
        self.authorities
    }

    /// f, how many may be Byzantine: floor((n - 1) / 3).
    pub const fn faulty_max(self) -> u32 {
        (self.authorities - 1) / 3
    }

    /// q = n - f: any two quorums share a correct authority.
    pub const fn quorum(self) -> u32 {
        self.authorities - self.faulty_max()
    }

    /// v = f + 1: at least one of them is correct.
    pub const fn validity(self) -> u32 {
        self.faulty_max() + 1
    }

    /// The members, ascending.
    pub fn members(self) -> impl Iterator<Item = AuthorityIndex> {
        // AUTHORITIES_MAX fits a u8, so the cast keeps the value.
        (0..self.authorities).map(|index| AuthorityIndex(index as u8))
    }

    /// Whether `index` names a member.
    pub const fn has_member(self, index: AuthorityIndex) -> bool {
        (index.0 as u32) < self.authorities
    }
}

/// What a rollup lets into its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RollupPolicy {
    /// Sealed envelopes only.
    #[default]
    Sealed,
    /// Open envelopes only.
    Open,
    /// Both kinds.
    Either,
}

/// Parameters on which every authority must agree: they are part of the committee file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// D: anchors after which a ready entry is emitted regardless. From 1.
    pub deferral_cap: u32,
    /// G: rounds below the previous anchor that a sub-DAG still takes in.
    pub gc_depth_rounds: u64,
    /// How many entries one vertex may list.
    pub vertex_entries_max: u32,
    /// Anchors that must cite a leader's vertices after it missed a slot before it leads again; 1 to
    /// [`LEADER_RETURN_LIMIT`].
    pub leader_return_anchors: u32,
    /// The first anchor at or past each multiple of so many rounds is a checkpoint. From 8 to
    /// [`CHECKPOINT_INTERVAL_LIMIT`].
    pub checkpoint_interval_rounds: u64,
    /// The last batch in each such stretch of consensus time is certified, microseconds. From 1,000 to
    /// [`CERTIFICATE_INTERVAL_US_LIMIT`].
    pub certificate_interval_us: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            deferral_cap: 64,
            gc_depth_rounds: 256,
            vertex_entries_max: 1024,
            leader_return_anchors: 32,
            // As G: what a node must keep for one that returns is then at most three times its DAG, and one that returns
            // has at most that many rounds to go over.
            checkpoint_interval_rounds: 256,
            certificate_interval_us: 100_000,
        }
    }
}

/// A rollup that the committee orders for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// Its id.
    pub id: RollupId,
    /// What it lets in.
    pub policy: RollupPolicy,
}

/// The public description of a committee in one epoch.
#[derive(Clone, Debug)]
pub struct Committee {
    /// The chain it serves.
    pub chain_id: ChainId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Consensus time before the first anchor.
    pub epoch_start: TimestampUs,
    /// Agreed parameters.
    pub parameters: Parameters,
    /// Rollups served, ascending by id.
    pub rollups: Vec<Rollup>,
    /// How the committee makes its sealing keys; none where a dealer makes the only one.
    pub(crate) key_plan: Option<Arc<KeyPlan>>,
    /// What its certificates are checked with; none where nobody certifies.
    certificate_keys: Option<Arc<CertificateKeys>>,
    signing_keys: Vec<VerifyingKey>,
    /// One a key, shared by copies of this committee: each keeps a table from its first use.
    verifiers: Arc<[StrictVerifier]>,
    thresholds: Thresholds,
}

impl Committee {
    /// Puts a committee together.
    ///
    /// Errors: a size outside 1..=[`AUTHORITIES_MAX`], a signing key that stands twice, a rollup that stands twice, or
    /// a parameter out of range.
    pub fn new(
        chain_id: ChainId,
        epoch: Epoch,
        epoch_start: TimestampUs,
        parameters: Parameters,
        mut rollups: Vec<Rollup>,
        signing_keys: Vec<VerifyingKey>,
    ) -> Result<Self, CommitteeError> {
        let thresholds = Thresholds::new(signing_keys.len())?;
        let mut seen: Vec<[u8; 32]> = signing_keys.iter().map(|key| key.to_bytes()).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CommitteeError::DuplicateKey);
        }
        rollups.sort_unstable_by_key(|rollup| rollup.id);
        if rollups.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(CommitteeError::DuplicateRollup);
        }
        let in_range = parameters.deferral_cap >= 1
            && parameters.gc_depth_rounds >= 8
            && (1..=VERTEX_ENTRIES_LIMIT).contains(&parameters.vertex_entries_max)
            && (1..=LEADER_RETURN_LIMIT).contains(&parameters.leader_return_anchors)
            && (8..=CHECKPOINT_INTERVAL_LIMIT).contains(&parameters.checkpoint_interval_rounds)
            && (CERTIFICATE_INTERVAL_US_MIN..=CERTIFICATE_INTERVAL_US_LIMIT)
                .contains(&parameters.certificate_interval_us);
        if !in_range {
            return Err(CommitteeError::Parameters);
        }
        let verifiers = signing_keys.iter().map(|key| StrictVerifier::new(*key));
        Ok(Self {
            verifiers: verifiers.collect(),
            chain_id,
            epoch,
            epoch_start,
            parameters,
            rollups,
            key_plan: None,
            certificate_keys: None,
            signing_keys,
            thresholds,
        })
    }

    /// The same committee, which makes its sealing keys itself.
    ///
    /// Errors: not one encryption key an authority, one that stands twice, a threshold outside v..=q, or no window.
    pub fn with_key_plan(mut self, plan: KeyPlan) -> Result<Self, SessionError> {
        let authorities = self.thresholds.authorities();
        if plan.encryption_keys.len() != authorities as usize {
            return Err(SessionError::Count {
                keys: plan.encryption_keys.len(),
                authorities,
            });
        }
        plan.session(self.chain_id, self.epoch)?;
        self.key_plan = Some(Arc::new(plan));
        Ok(self)
    }

    /// How the committee makes its sealing keys, if it does.
    pub fn key_plan(&self) -> Option<&KeyPlan> {
        self.key_plan.as_deref()
    }

    /// The same committee, which certifies its batches: a key and its proof of possession for each member, by index.
    ///
    /// Errors: not one an authority; the first that does not hold.
    pub fn with_certificate_keys(
        mut self,
        encoded: &[([u8; KEY_LEN], Possession)],
    ) -> Result<Self, CertificateKeysError> {
        let authorities = self.thresholds.authorities();
        if encoded.len() != authorities as usize {
            return Err(CertificateKeysError::Count {
                keys: encoded.len(),
                authorities,
            });
        }
        let keys = CertificateKeys::new(self.chain_id, self.epoch, encoded)?;
        self.certificate_keys = Some(Arc::new(keys));
        Ok(self)
    }

    /// What its certificates are checked with, if it certifies.
    pub const fn certificate_keys(&self) -> Option<&Arc<CertificateKeys>> {
        self.certificate_keys.as_ref()
    }

    /// Sizes and thresholds.
    pub const fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Ed25519 keys that sign vertices and share messages, one an authority.
    pub fn signing_keys(&self) -> &[VerifyingKey] {
        &self.signing_keys
    }

    /// Whether `signature` is one of `message` by `author`, strictly (see [`crate::ed25519`]). Never by who is no member.
    pub fn verify(&self, author: AuthorityIndex, message: &[u8], signature: &Signature) -> bool {
        let verifier = self.verifiers.get(author.as_usize());
        verifier.is_some_and(|verifier| verifier.verify(message, signature))
    }

    /// The policy of `rollup`, if the committee serves it.
    pub fn rollup_policy(&self, rollup: RollupId) -> Option<RollupPolicy> {
        let at = self
            .rollups
            .binary_search_by_key(&rollup, |known| known.id)
            .ok()?;
        Some(self.rollups[at].policy)
    }
}

/// Largest `vertex_entries_max` that a committee file may ask for; a decoder allocates for no more.
pub const VERTEX_ENTRIES_LIMIT: u32 = 8192;

/// Largest `leader_return_anchors`.
pub const LEADER_RETURN_LIMIT: u32 = 65_536;

/// Largest `checkpoint_interval_rounds`: what is kept for nodes that return grows with it.
pub const CHECKPOINT_INTERVAL_LIMIT: u64 = 65_536;

/// Longest `certificate_interval_us`.
pub const CERTIFICATE_INTERVAL_US_LIMIT: u64 = 60_000_000;

/// Shortest `certificate_interval_us`: a signature takes some 0.15 ms.
pub const CERTIFICATE_INTERVAL_US_MIN: u64 = 1_000;

/// Why a committee cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// Not between 1 and [`AUTHORITIES_MAX`] authorities.
    #[error("a committee has 1 to {AUTHORITIES_MAX} authorities, not {0}")]
    Size(usize),
    /// Two authorities share a signing key.
    #[error("two authorities have the same signing key")]
    DuplicateKey,
    /// A rollup id stands twice.
    #[error("a rollup id stands twice")]
    DuplicateRollup,
    /// A parameter is out of range.
    #[error(
        "a parameter is out of range: deferral_cap from 1, gc_depth_rounds from 8, vertex_entries_max 1 to {VERTEX_ENTRIES_LIMIT}, leader_return_anchors 1 to {LEADER_RETURN_LIMIT}, checkpoint_interval_rounds 8 to {CHECKPOINT_INTERVAL_LIMIT}, certificate_interval_us {CERTIFICATE_INTERVAL_US_MIN} to {CERTIFICATE_INTERVAL_US_LIMIT}"
    )]
    Parameters,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateSecret;

    #[test]
    fn thresholds_hold_their_laws_from_1_to_100() {
        for n in 1..=100usize {
            let t = Thresholds::new(n).unwrap();
            let (n, f, q, v) = (n as u32, t.faulty_max(), t.quorum(), t.validity());
            assert!(n > 3 * f, "f is below a third");
            assert!(n <= 3 * (f + 1), "f is the largest such");
            assert_eq!(q, n - f);
            assert!(2 * q > n + f, "two quorums share a correct authority");
            assert!(q > 2 * f && v == f + 1 && v <= q);
            assert_eq!(t.members().count() as u32, n);
        }
    }

    #[test]
    fn a_committee_certifies_with_one_key_a_member() {
        let signing = |index: u8| ed25519_dalek::SigningKey::from_bytes(&[index + 1; 32]);
        let committee = Committee::new(
            ChainId(1),
            Epoch(0),
            TimestampUs(0),
            Parameters::default(),
            Vec::new(),
            (0..4).map(|index| signing(index).verifying_key()).collect(),
        )
        .unwrap();
        assert!(committee.certificate_keys().is_none());
        let secrets = (0..4u8).map(|index| CertificateSecret::generate(&[index; 32]));
        let encoded: Vec<_> = secrets
            .map(|secret| (secret.public().bytes(), secret.possession()))
            .collect();
        let short = committee.clone().with_certificate_keys(&encoded[..3]);
        assert!(matches!(
            short.unwrap_err(),
            CertificateKeysError::Count {
                keys: 3,
                authorities: 4
            }
        ));
        let committee = committee.with_certificate_keys(&encoded).unwrap();
        let keys = committee.certificate_keys().unwrap();
        assert_eq!((keys.chain_id(), keys.epoch()), (ChainId(1), Epoch(0)));
    }

    #[test]
    fn committees_of_no_size_or_too_many_are_refused() {
        assert_eq!(Thresholds::new(0), Err(CommitteeError::Size(0)));
        assert!(Thresholds::new(AUTHORITIES_MAX).is_ok());
        let above = AUTHORITIES_MAX + 1;
        assert_eq!(Thresholds::new(above), Err(CommitteeError::Size(above)));
    }
}
