//! How a committee makes its sealing keys: agreed, a part of the committee's description.

use std::sync::Arc;

use crate::dkg::keys::EncryptionKey;
use crate::dkg::session::{Session, SessionError};
use crate::types::{ChainId, Epoch};

/// What every key generation of a committee has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Whom shares are encrypted to, in authority order.
    pub encryption_keys: Vec<EncryptionKey>,
    /// t, the number of authorities that open together.
    pub threshold: u32,
    /// W, see [`Session::window_anchors`].
    pub window_anchors: u64,
    /// Consensus time from one key to the start of the generation of the next, microseconds; none for one key for ever.
    pub renew_us: Option<u64>,
}

impl KeyPlan {
    /// The generation of the key for `epoch`. Errors: the plan cannot be.
    pub fn session(&self, chain_id: ChainId, epoch: Epoch) -> Result<Arc<Session>, SessionError> {
        let keys = self.encryption_keys.clone();
        Session::new(chain_id, epoch, self.threshold, keys, self.window_anchors).map(Arc::new)
    }
}
