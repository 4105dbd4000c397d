//! Keys of simulated committees: the same for every seed, dealt once a size, because dealing costs more than a short run.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::clock::START;
use super::scenario::key_changes::KeyChanges;
use crate::committee::{Committee, Parameters, Rollup, RollupPolicy, Thresholds};
use crate::dkg::{DecryptionKey, KeyPlan};
use crate::keyring::{CommitteeKey, EngineKeys};
use crate::seal::{KeyShare, SealingKey, deal};
use crate::types::{ChainId, Epoch, RollupId};

/// Committees' keys by their size.
#[derive(Default)]
pub struct Keyring {
    by_size: BTreeMap<u8, Arc<CommitteeKeys>>,
}

/// All keys of one committee, secret ones too.
pub(crate) struct CommitteeKeys {
    pub(crate) sealing: Arc<SealingKey>,
    pub(crate) signing: Vec<SigningKey>,
    decryption: Vec<Arc<DecryptionKey>>,
    shares: Vec<Zeroizing<Vec<u8>>>,
}

impl Keyring {
    /// The keys of a committee of `n`. Panics: a size that no committee has.
    pub(crate) fn of_size(&mut self, n: u8) -> Arc<CommitteeKeys> {
        let keys = self.by_size.entry(n);
        keys.or_insert_with(|| Arc::new(CommitteeKeys::new(n)))
            .clone()
    }
}

impl CommitteeKeys {
    fn new(n: u8) -> Self {
        let thresholds = Thresholds::new(n as usize).expect("a scenario has a committee");
        let threshold = thresholds.quorum();
        let dealt = deal(CHAIN, EPOCH, u32::from(n), threshold, &[n; 32]);
        let (sealing, shares) = dealt.expect("the default threshold is in range");
        Self {
            sealing: Arc::new(sealing),
            signing: (0..n)
                .map(|index| SigningKey::from_bytes(&[index + 1; 32]))
                .collect(),
            decryption: (0..n)
                .map(|index| Arc::new(DecryptionKey::generate(&[index + 1; 32])))
                .collect(),
            shares: shares.iter().map(KeyShare::to_bytes).collect(),
        }
    }

    /// The committee with these keys, which renews the sealing key where that changes.
    pub(crate) fn committee(
        &self,
        parameters: Parameters,
        changes: Option<&KeyChanges>,
    ) -> Arc<Committee> {
        let rollups = vec![Rollup {
            id: ROLLUP,
            policy: RollupPolicy::Either,
        }];
        let keys = self.signing.iter().map(SigningKey::verifying_key).collect();
        let committee = Committee::new(CHAIN, EPOCH, START, parameters, rollups, keys);
        let mut committee = committee.expect("scenarios draw parameters that are in range");
        if let Some(changes) = changes {
            let public = self.decryption.iter().map(|key| key.public());
            let plan = KeyPlan {
                encryption_keys: public.collect(),
                threshold: self.sealing.threshold(),
                window_anchors: changes.window_anchors,
                renew_us: Some(changes.renew_us),
            };
            committee = committee.with_key_plan(plan).expect("a plan in range");
        }
        Arc::new(committee)
    }

    /// The share of authority `index`.
    pub(crate) fn share(&self, index: usize) -> KeyShare {
        KeyShare::from_bytes(&self.sealing, &self.shares[index]).expect("it was dealt so")
    }

    /// What authority `index` starts with; no two of its processes deal the same where keys change, so `process` tells
    /// them apart.
    pub(crate) fn engine_keys(
        &self,
        index: usize,
        changes: Option<&KeyChanges>,
        process: u64,
    ) -> EngineKeys {
        let mut process_secret = [index as u8; 32];
        if changes.is_some() {
            process_secret[..8].copy_from_slice(&process.to_be_bytes());
        }
        EngineKeys {
            dealt: Some(CommitteeKey {
                sealing: (*self.sealing).clone(),
                share: Some(self.share(index)),
            }),
            decryption: changes.map(|_| self.decryption[index].clone()),
            signing: self.signing[index].clone(),
            process_secret,
        }
    }
}

/// The simulated chain.
pub(crate) const CHAIN: ChainId = ChainId(1);
/// Its only epoch.
pub(crate) const EPOCH: Epoch = Epoch(0);
/// Its only rollup, which takes sealed and open envelopes.
pub(crate) const ROLLUP: RollupId = RollupId(7);
