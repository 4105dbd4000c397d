//! The certificate keys of a committee.

use super::KEY_LEN;
use super::key::{CertificateKey, Possession};
use crate::committee::{CommitteeError, Thresholds};
use crate::types::{AuthorityIndex, ChainId, Epoch};

/// What certificates of one chain and epoch are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateKeys {
    chain_id: ChainId,
    epoch: Epoch,
    thresholds: Thresholds,
    /// By index, each with the proof that its owner knows the secret.
    keys: Vec<(CertificateKey, Possession)>,
}

impl CertificateKeys {
    /// Checks the keys of a committee, by index: some 0.7 ms an authority.
    ///
    /// Errors: no keys or too many; the first authority whose key or possession does not hold, or whose key is another's.
    pub fn new(
        chain_id: ChainId,
        epoch: Epoch,
        encoded: &[([u8; KEY_LEN], Possession)],
    ) -> Result<Self, CertificateKeysError> {
        let thresholds = Thresholds::new(encoded.len())?;
        let mut keys: Vec<(CertificateKey, Possession)> = Vec::with_capacity(encoded.len());
        for (author, (bytes, possession)) in thresholds.members().zip(encoded) {
            let key = CertificateKey::decode(bytes).ok_or(CertificateKeysError::Key(author))?;
            if !key.is_possessed(possession) {
                return Err(CertificateKeysError::Possession(author));
            }
            if keys.iter().any(|(other, _)| *other == key) {
                return Err(CertificateKeysError::Twice(author));
            }
            keys.push((key, *possession));
        }
        Ok(Self {
            chain_id,
            epoch,
            thresholds,
            keys,
        })
    }

    /// The chain that they certify.
    pub const fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The epoch that they certify.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sizes and thresholds.
    pub const fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// The key of a member; none of anybody else.
    pub fn find(&self, author: AuthorityIndex) -> Option<&CertificateKey> {
        self.keys.get(author.as_usize()).map(|(key, _)| key)
    }

    /// Keys and proofs of possession, by index.
    pub fn iter(&self) -> impl Iterator<Item = &(CertificateKey, Possession)> {
        self.keys.iter()
    }
}

/// Why a committee cannot certify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateKeysError {
    /// No authority, or too many.
    #[error(transparent)]
    Size(#[from] CommitteeError),
    /// Not one an authority.
    #[error("{keys} certificate keys for {authorities} authorities")]
    Count {
        /// How many keys.
        keys: usize,
        /// How many authorities.
        authorities: u32,
    },
    /// The bytes are no key.
    #[error("the certificate key of {0} is not a point of G2's subgroup, or is the identity")]
    Key(AuthorityIndex),
    /// Nobody has shown to know the secret.
    #[error("the certificate key of {0} is not possessed by whoever published it")]
    Possession(AuthorityIndex),
    /// Two authorities have it.
    #[error("the certificate key of {0} is another authority's, too")]
    Twice(AuthorityIndex),
}
