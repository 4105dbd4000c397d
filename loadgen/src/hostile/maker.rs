//! Makes what hostile clients send beside an honest envelope.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlane_client::sealing::{Sealer, SealerError};
use fairlane_engine::seal::{Envelope, KeyError, SealingKey, deal};
use fairlane_engine::types::{Epoch, TimestampUs};

use super::{HostileKind, HostilePlan};
use crate::rng::Rng;

/// What is sent beside an honest envelope.
#[derive(Clone, Debug)]
pub(crate) struct Companion {
    pub(crate) kind: HostileKind,
    /// What is submitted; nothing for kinds that only say how often.
    pub(crate) bytes: Arc<[u8]>,
}

/// The maker. Seeded apart from the workload, which stays the same with and without it.
#[derive(Clone, Debug)]
pub(crate) struct HostileMaker {
    plan: HostilePlan,
    rng: Rng,
    /// The last honest envelopes, of which duplicates are taken.
    recent: VecDeque<Arc<[u8]>>,
    wrong_key: SealingKey,
}

impl HostileMaker {
    /// Errors: no key like `key` can be dealt.
    pub(crate) fn new(plan: HostilePlan, key: &SealingKey, seed: u64) -> Result<Self, KeyError> {
        let authorities = key.thresholds().authorities();
        let epoch = Epoch(key.epoch().0.wrapping_add(1));
        let (wrong_key, _) = deal(
            key.chain_id(),
            epoch,
            authorities,
            key.threshold(),
            &[7; 32],
        )?;
        Ok(Self {
            plan,
            rng: Rng::new(seed ^ STREAM),
            recent: VecDeque::with_capacity(RECENT_MAX),
            wrong_key,
        })
    }

    /// What goes beside `honest`, which is due at `due` by consensus time and carries `payload`; `sealer` made it.
    ///
    /// Errors: the operating system gives no randomness.
    pub(crate) fn beside(
        &mut self,
        honest: &Envelope,
        sealer: &Sealer,
        payload: &[u8],
        due: TimestampUs,
    ) -> Result<Vec<Companion>, SealerError> {
        let mut companions = Vec::new();
        for kind in HostileKind::ALL {
            let amount = self.plan.amount(kind);
            if kind.is_held() || amount == 0.0 || self.rng.next_unit() >= amount {
                continue;
            }
            let bytes = self.make(kind, honest, sealer, (payload, due))?;
            companions.push(Companion { kind, bytes });
        }
        if self.plan.amount(HostileKind::Duplicate) > 0.0 {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(honest.bytes().clone());
        }
        Ok(companions)
    }

    fn make(
        &mut self,
        kind: HostileKind,
        honest: &Envelope,
        sealer: &Sealer,
        (payload, due): (&[u8], TimestampUs),
    ) -> Result<Arc<[u8]>, SealerError> {
        let valid_until = honest.label().valid_until;
        let sealed = |sealer: &Sealer, valid_until| -> Result<Arc<[u8]>, SealerError> {
            Ok(sealer.make(payload, valid_until)?.bytes().clone())
        };
        match kind {
            HostileKind::BadProof => {
                let mut bytes = sealed(sealer, valid_until)?.to_vec();
                // The lowest bit of z, which stands at the end, the lowest byte first.
                let z = bytes.len() - 32;
                bytes[z] ^= 1;
                Ok(bytes.into())
            }
            HostileKind::Expired => {
                let past = TimestampUs(due.0.saturating_sub(EXPIRED_US));
                sealed(sealer, past)
            }
            HostileKind::WrongEpoch => {
                let stranger = Sealer {
                    key: self.wrong_key.clone(),
                    ..sealer.clone()
                };
                sealed(&stranger, valid_until)
            }
            HostileKind::OneAuthority => sealed(sealer, valid_until),
            HostileKind::Duplicate => {
                let at = self.rng.next_below(self.recent.len().max(1) as u64);
                let earlier = self.recent.get(at as usize);
                Ok(earlier.unwrap_or_else(|| honest.bytes()).clone())
            }
            HostileKind::Oversize | HostileKind::HalfOpen | HostileKind::SlowReaders => {
                Ok(Arc::from([]))
            }
        }
    }
}

/// Of so many honest envelopes duplicates are taken.
const RECENT_MAX: usize = 256;
/// How long before it is sent an expired envelope has expired.
const EXPIRED_US: u64 = 1_000_000;
/// Apart from the streams of the workloads.
const STREAM: u64 = 0x5bd1_e995_97f4_a7c5;

#[cfg(test)]
mod tests {
    use fairlane_client::sealing::PadTo;
    use fairlane_engine::seal::{EnvelopeError, EnvelopeKind, EnvelopeVerifier};
    use fairlane_engine::types::{ChainId, RollupId};

    use super::*;

    #[test]
    fn each_kind_is_wrong_in_its_own_way_and_comes_as_often_as_asked() {
        let (key, _) = deal(ChainId(7), Epoch(2), 4, 3, &[1; 32]).unwrap();
        let sealer = Sealer {
            key: key.clone(),
            rollup: RollupId(1),
            kind: EnvelopeKind::Sealed,
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        };
        let plan = "bad-proof=20%,duplicate=20%,expired=20%,wrong-epoch=20%,one-authority=20%,oversize=20%";
        let mut maker = HostileMaker::new(plan.parse().unwrap(), &key, 3).unwrap();
        let due = TimestampUs(1_000_000_000);
        let valid_until = due.plus_us(50_000_000);
        let verifier = EnvelopeVerifier::new(key.clone(), [1; 32]);
        let verdict = |bytes: &Arc<[u8]>| {
            let envelope = Envelope::decode(bytes.clone()).unwrap();
            verifier.check(vec![envelope]).remove(0).map(|_| ())
        };
        let label = |bytes: &Arc<[u8]>| *Envelope::decode(bytes.clone()).unwrap().label();
        let mut sent = Vec::new();
        let mut counts = [0usize; 8];
        for at in 0..500u64 {
            let honest = sealer.make(&at.to_be_bytes(), valid_until).unwrap();
            let companions = maker.beside(&honest, &sealer, b"x", due).unwrap();
            for Companion { kind, bytes } in companions {
                counts[kind as usize] += 1;
                match kind {
                    HostileKind::BadProof => {
                        assert_eq!(verdict(&bytes).err(), Some(EnvelopeError::BadProof));
                    }
                    HostileKind::Duplicate => {
                        assert!(sent.contains(&bytes) || bytes == *honest.bytes());
                    }
                    HostileKind::Expired => {
                        assert!(label(&bytes).valid_until < due && verdict(&bytes).is_ok());
                    }
                    HostileKind::WrongEpoch => assert_ne!(label(&bytes).key_id, key.key_id()),
                    HostileKind::OneAuthority => assert!(verdict(&bytes).is_ok()),
                    HostileKind::Oversize => assert!(bytes.is_empty()),
                    HostileKind::HalfOpen | HostileKind::SlowReaders => panic!("held"),
                }
            }
            sent.push(honest.bytes().clone());
        }
        // 100 expected of each, standard deviation 9.
        assert!(
            counts[..6].iter().all(|count| (55..145).contains(count)),
            "{counts:?}"
        );
    }
}
