//! What one key generation is for: chain, epoch, sizes, and whom shares are encrypted to.

use crate::committee::Thresholds;
use crate::dkg::keys::EncryptionKey;
use crate::seal::group::Transcript;
use crate::seal::key::{KeyError, check_threshold};
use crate::types::{AuthorityIndex, ChainId, Epoch};

/// The public parameters of one key generation; all who follow it must hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The chain that the key is for.
    pub chain_id: ChainId,
    /// The epoch that the key is for; no two generations of a chain share one.
    pub epoch: Epoch,
    /// W, in anchors: how long deals are taken, after each how long acknowledgements are waited for, and then assurances; from 1.
    pub window_anchors: u64,
    thresholds: Thresholds,
    threshold: u32,
    encryption_keys: Vec<EncryptionKey>,
    id: [u8; 32],
}

impl Session {
    /// For a committee with these encryption keys, in authority order, of which `threshold` open together.
    ///
    /// Errors: sizes and thresholds that no sealing key has, a key that stands twice, or no window.
    pub fn new(
        chain_id: ChainId,
        epoch: Epoch,
        threshold: u32,
        encryption_keys: Vec<EncryptionKey>,
        window_anchors: u64,
    ) -> Result<Self, SessionError> {
        let n = u32::try_from(encryption_keys.len()).unwrap_or(u32::MAX);
        let thresholds = check_threshold(n, threshold)?;
        if window_anchors == 0 {
            return Err(SessionError::Window);
        }
        let mut seen: Vec<&[u8; 32]> = encryption_keys.iter().map(EncryptionKey::bytes).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(SessionError::DuplicateKey);
        }
        let id = Transcript::new(TAG_SESSION)
            .part(&chain_id.0.to_be_bytes())
            .part(&epoch.0.to_be_bytes())
            .part(&n.to_be_bytes())
            .part(&threshold.to_be_bytes())
            .parts(encryption_keys.iter().map(EncryptionKey::bytes))
            .hash();
        Ok(Self {
            chain_id,
            epoch,
            window_anchors,
            thresholds,
            threshold,
            encryption_keys,
            id,
        })
    }

    /// n and the thresholds that follow from it.
    pub const fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// t, the number of authorities that open together.
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// From which anchor on the dealer of a deal that has `at` before it assures others of their shares.
    pub(super) const fn assured_from(&self, at: u64) -> u64 {
        at.saturating_add(self.window_anchors)
    }

    /// E_j of all authorities, in order.
    pub fn encryption_keys(&self) -> &[EncryptionKey] {
        &self.encryption_keys
    }

    /// E_j of a member. Panics for others: the caller has asked.
    pub(super) fn encryption_key(&self, receiver: AuthorityIndex) -> &EncryptionKey {
        &self.encryption_keys[receiver.as_usize()]
    }

    /// Names the session: chain, epoch, sizes and all keys.
    pub(super) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// A transcript bound to this session and a dealer of it: what is proven or masked for one serves no other.
    pub(super) fn transcript(&self, tag: &str, dealer: AuthorityIndex) -> Transcript {
        Transcript::new(tag).part(&self.id).part(&[dealer.0])
    }
}

/// The usual window: some seconds for a committee on one site at full pace, minutes across continents.
pub const WINDOW_ANCHORS: u64 = 1024;

const TAG_SESSION: &str = "fairlane/1/dkg-session";

/// Why a key generation cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A committee or a threshold that no key can have.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Two authorities have the same encryption key.
    #[error("two authorities have the same encryption key")]
    DuplicateKey,
    /// Not one encryption key an authority.
    #[error("{keys} encryption keys for {authorities} authorities")]
    Count {
        /// How many keys there are.
        keys: usize,
        /// How many there must be.
        authorities: u32,
    },
    /// A window of no anchors.
    #[error("a window of no anchors leaves no time to deal")]
    Window,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkg::keys::DecryptionKey;

    fn keys(seeds: &[u8]) -> Vec<EncryptionKey> {
        let pair = |seed: &u8| DecryptionKey::generate(&[*seed; 32]).public();
        seeds.iter().map(pair).collect()
    }

    #[test]
    fn the_session_id_changes_with_each_field() {
        let id = |chain, epoch, t, seeds: &[u8]| {
            let session = Session::new(ChainId(chain), Epoch(epoch), t, keys(seeds), 1);
            session.unwrap().id
        };
        let ids = [
            id(1, 2, 3, &[1, 2, 3, 4]),
            id(2, 2, 3, &[1, 2, 3, 4]),
            id(1, 3, 3, &[1, 2, 3, 4]),
            id(1, 2, 2, &[1, 2, 3, 4]),
            id(1, 2, 3, &[1, 2, 4, 3]),
            id(1, 2, 3, &[1, 2, 3, 4, 5]),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(one), "id {at} stands twice");
        }
    }

    #[test]
    fn a_key_twice_a_threshold_out_of_range_and_no_window_are_refused() {
        let new =
            |t, seeds: &[u8], window| Session::new(ChainId(1), Epoch(1), t, keys(seeds), window);
        assert!(new(3, &[1, 2, 3, 4], 1).is_ok());
        assert_eq!(new(3, &[1, 2, 3, 1], 1), Err(SessionError::DuplicateKey));
        assert_eq!(new(3, &[1, 2, 3, 4], 0), Err(SessionError::Window));
        for (t, seeds) in [(1, &[1, 2, 3, 4][..]), (4, &[1, 2, 3, 4]), (0, &[])] {
            assert!(matches!(new(t, seeds, 1), Err(SessionError::Key(_))));
        }
    }
}
