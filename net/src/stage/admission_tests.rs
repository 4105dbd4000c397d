use ed25519_dalek::SigningKey;
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::reveal::RevealKeys;
use fairlane_engine::seal::{EnvelopeKind, SealingKey, deal};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId};

use super::*;
use crate::stage::bucket::Allowance;
use crate::stage::key_watch::{KeyCell, KeyWatch};

const NOW: TimestampUs = TimestampUs(1_000_000);
const SUFFERED: u32 = 2;

struct Setup {
    admission: Admission,
    engine: Engine,
    outbox: Outbox,
    key: SealingKey,
    made: u8,
}

impl Setup {
    fn new() -> Self {
        let signing: Vec<SigningKey> = (1..=4)
            .map(|byte| SigningKey::from_bytes(&[byte; 32]))
            .collect();
        let committee = Committee::new(
            ChainId(7),
            Epoch(0),
            TimestampUs(1),
            Parameters::default(),
            vec![Rollup {
                id: RollupId(1),
                policy: RollupPolicy::Sealed,
            }],
            signing.iter().map(SigningKey::verifying_key).collect(),
        );
        let (key, mut shares) = deal(ChainId(7), Epoch(0), 4, 3, &[9; 32]).unwrap();
        let keys = RevealKeys {
            sealing: Arc::new(key.clone()),
            share: shares.swap_remove(0),
            signing: signing[0].clone(),
            process_secret: [1; 32],
        };
        let (committee, own) = (Arc::new(committee.unwrap()), AuthorityIndex(0));
        let engine = Engine::new(committee, own, keys, EngineConfig::default());
        let mut verifier = EnvelopeVerifier::without_keys([2; 32]);
        let mut watch = KeyWatch::new(KeyCell::default(), None);
        watch.look(&engine, &mut verifier).unwrap();
        let failures = Allowance {
            burst: SUFFERED,
            refill_us: 1_000_000,
        };
        let admission = Admission::new(verifier, Standings::new(failures), RollupQuotas::new(0));
        Self {
            admission,
            engine,
            outbox: Outbox::default(),
            key,
            made: 0,
        }
    }

    /// Its last byte is not the one that its proof is of.
    fn bad_proof(&mut self) -> Arc<[u8]> {
        self.made += 1;
        let sealer = Sealer {
            key: self.key.clone(),
            rollup: RollupId(1),
            kind: EnvelopeKind::Sealed,
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        };
        let sealed = sealer
            .make(&[self.made; 40], NOW.plus_us(9_000_000))
            .unwrap();
        let mut bytes = sealed.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    }

    fn send_bad_proofs(&mut self, connection: u64, count: u64) {
        for tag in 0..count {
            let bytes = self.bad_proof();
            self.admission.queue(ClientTag { connection, tag }, bytes);
        }
    }

    fn take_portion(&mut self) {
        let mut around = Surroundings {
            engine: &mut self.engine,
            effects: &mut Vec::new(),
            outbox: &mut self.outbox,
            now: NOW,
        };
        self.admission.screen(false, &mut around);
        self.admission
            .check_proofs(&mut CoreSteps::default(), &mut around);
    }
}

#[test]
fn who_leaves_with_its_bad_proofs_is_judged_by_them_and_then_forgotten() {
    let mut setup = Setup::new();
    setup.send_bad_proofs(5, 3);
    setup.admission.leave(5);
    setup.take_portion();
    let counts = setup.admission.counts;
    assert_eq!((counts.refused, counts.put_off), (3, 0));
    assert_eq!(setup.admission.standings.len(), 0, "nothing is kept for it");

    setup.send_bad_proofs(6, 3);
    setup.take_portion();
    assert_eq!(setup.admission.standings.len(), 1);
    setup.send_bad_proofs(6, 10);
    setup.admission.leave(6);
    setup.take_portion();
    let counts = setup.admission.counts;
    assert_eq!(
        (counts.refused, counts.put_off),
        (6, 10),
        "none of the ten costs a check"
    );
    assert_eq!(setup.admission.standings.len(), 0);
}
