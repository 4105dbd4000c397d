//! What a node does when the committee makes a key: verify for it, tell clients of it, write it down, and say so.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fairlane_client::committee_file::{CommitteeFile, Roster};
use fairlane_client::protocol::{KeyNotice, encode_key};
use fairlane_engine::engine::Engine;
use fairlane_engine::seal::{EnvelopeVerifier, SealingKey};
use fairlane_engine::types::{Epoch, KeyId};

use super::Fatal;

/// What clients are told of the key to seal to, for the stage that welcomes them.
#[derive(Clone, Debug, Default)]
pub struct KeyCell(Arc<Mutex<KeyWord>>);

/// What a node says of the newest key.
#[derive(Clone, Debug, Default)]
pub struct KeyWord {
    /// Its name; zeros before there is one.
    pub key_id: KeyId,
    /// The frame by which the authority vouches for it; none where the committee keeps the key of its file.
    pub frame: Option<Arc<[u8]>>,
}

impl KeyCell {
    /// The word at present.
    pub fn load(&self) -> KeyWord {
        // It is replaced in whole, so it is sound even if a thread has panicked.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn store(&self, word: KeyWord) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }
}

/// Looks at an engine's keys after every input. O(1) while they stay.
#[derive(Debug)]
pub struct KeyWatch {
    cell: KeyCell,
    /// What is written with the key in it, and where; none where a dealer made the key.
    file: Option<(Roster, PathBuf)>,
    /// The version of the keys that is known here; none before the first look.
    version: Option<u64>,
    newest: Option<KeyId>,
    failed: Option<Epoch>,
    cheated: Option<Epoch>,
}

impl KeyWatch {
    /// A watch that has not looked yet. `file`: the committee without its key, and where to write it with the key.
    pub const fn new(cell: KeyCell, file: Option<(Roster, PathBuf)>) -> Self {
        Self {
            cell,
            file,
            version: None,
            newest: None,
            failed: None,
            cheated: None,
        }
    }

    /// Takes over what has changed; gives the frame that clients are to be sent when there is a new key.
    ///
    /// Errors: the committee file cannot be written.
    pub fn look(
        &mut self,
        engine: &Engine,
        verifier: &mut EnvelopeVerifier,
    ) -> Result<Option<Arc<[u8]>>, Fatal> {
        let keys = engine.keys();
        if let Some((epoch, failure)) = keys.last_failure()
            && self.failed != Some(epoch)
        {
            self.failed = Some(epoch);
            let left = match keys.newest() {
                Some(_) => "the key before it stays in force",
                None => "there is no key, so nothing is taken",
            };
            let epoch = epoch.0;
            eprintln!(
                "warning: the key generation of epoch {epoch} failed: {failure}; {left}; it is tried again"
            );
        }
        if let Some((epoch, dealers)) = keys.cheated_by()
            && self.cheated != Some(epoch)
        {
            self.cheated = Some(epoch);
            let epoch = epoch.0;
            for dealer in dealers.iter() {
                eprintln!(
                    "warning: {dealer} dealt this node a bad share of the key for epoch {epoch} while it was away; \
                     it has a good one from the log"
                );
            }
        }
        if self.version == Some(keys.version()) {
            return Ok(None);
        }
        let is_first_look = self.version.is_none();
        self.version = Some(keys.version());
        verifier.set_keys(keys.keys().iter().map(|key| &key.sealing));
        let newest = keys.newest();
        let Some(newest) = newest.filter(|newest| self.newest != Some(newest.key_id())) else {
            return Ok(None);
        };
        self.newest = Some(newest.key_id());
        let frame = frame_of(engine);
        self.cell.store(KeyWord {
            key_id: newest.key_id(),
            frame: frame.clone(),
        });
        if newest.share.is_none() {
            eprintln!("warning: this node has no share of the new key");
        }
        // After a restart the file has it already, unless the node stopped in between.
        if !(is_first_look && self.is_written(&newest.sealing)) {
            self.write(&newest.sealing)?;
        }
        Ok(frame)
    }

    /// Whether the file is there, with this key in it.
    fn is_written(&self, key: &SealingKey) -> bool {
        let Some((_, path)) = &self.file else {
            return false;
        };
        let written = Roster::load(path).ok().and_then(|file| file.sealing_key);
        written.is_some_and(|written| written == *key)
    }

    fn write(&mut self, key: &SealingKey) -> Result<(), Fatal> {
        let (key_id, epoch) = (key.key_id(), key.epoch().0);
        let Some((roster, path)) = &mut self.file else {
            return Ok(());
        };
        roster.sealing_key = Some(key.clone());
        let json = CommitteeFile::describe_roster(roster).to_json();
        // Whoever waits for the file finds all of it.
        let part = path.with_extension("part");
        let written = std::fs::write(&part, json).and_then(|()| std::fs::rename(&part, &*path));
        let path = path.display();
        written.map_err(|error| Fatal(format!("cannot write {path}: {error}")))?;
        eprintln!(
            "the committee made key {key_id} for epoch {epoch}; the committee file with it is {path}"
        );
        Ok(())
    }
}

/// The notice by which this authority vouches for the newest key.
fn frame_of(engine: &Engine) -> Option<Arc<[u8]>> {
    let (statement, signature) = engine.vouch_for_key()?;
    let mut frame = Vec::new();
    let notice = KeyNotice {
        signature: &signature.to_bytes(),
        statement: &statement,
    };
    encode_key(&mut frame, &notice);
    Some(frame.into())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use fairlane_client::committee_file::Addresses;
    use fairlane_client::protocol::{LENGTH_LEN, Notice};
    use fairlane_engine::certificate::CertificateSecret;
    use fairlane_engine::committee::{Committee, Parameters};
    use fairlane_engine::config::EngineConfig;
    use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
    use fairlane_engine::keyring::statement::KeyStatement;
    use fairlane_engine::keyring::{CommitteeKey, EngineKeys};
    use fairlane_engine::seal::deal;
    use fairlane_engine::types::{AuthorityIndex, ChainId, TimestampUs};

    use super::*;
    use crate::session::keys::LinkSecret;

    /// The engine of a committee of one, with a key by `seed`; it renews its keys, or not.
    fn engine(seed: u8, renews: bool) -> (Engine, Roster) {
        let signing = SigningKey::from_bytes(&[1; 32]);
        let decryption = DecryptionKey::generate(&[1; 32]);
        let (chain, start) = (ChainId(1), TimestampUs(1));
        let keys = vec![signing.verifying_key()];
        let parameters = Parameters::default();
        let committee = Committee::new(chain, Epoch(0), start, parameters, vec![], keys);
        let certificate = CertificateSecret::generate(&[5; 32]);
        let certificate = (certificate.public().bytes(), certificate.possession());
        let committee = committee.unwrap().with_certificate_keys(&[certificate]);
        let mut committee = committee.unwrap();
        if renews {
            let plan = KeyPlan {
                encryption_keys: vec![decryption.public()],
                threshold: 1,
                window_anchors: 8,
                renew_us: Some(1_000_000),
            };
            committee = committee.with_key_plan(plan).unwrap();
        }
        let (sealing, mut shares) = deal(chain, Epoch(0), 1, 1, &[seed; 32]).unwrap();
        let share = shares.pop();
        let keys = EngineKeys {
            dealt: Some(CommitteeKey { sealing, share }),
            decryption: renews.then(|| Arc::new(decryption)),
            signing,
            process_secret: [3; 32],
        };
        let address = |port| ([127, 0, 0, 1], port).into();
        let roster = Roster {
            committee: committee.clone(),
            sealing_key: None,
            link_keys: vec![LinkSecret::from_bytes(&[4; 32]).public()],
            addresses: vec![Addresses {
                client: address(1),
                peer: address(2),
            }],
        };
        let committee = Arc::new(committee);
        let config = EngineConfig::default();
        let engine = Engine::new(committee, AuthorityIndex(0), keys, config);
        (engine, roster)
    }

    #[test]
    fn a_node_that_starts_again_writes_the_key_that_it_has_and_leaves_a_file_with_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("committee.json");
        let read = || Roster::load(&path).unwrap().sealing_key.unwrap();
        for (seed, rewritten) in [(1, true), (1, false), (2, true)] {
            let (engine, roster) = engine(seed, true);
            if path.exists() {
                // A blank at the end shows whether it was written anew.
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(&path, text + " ").unwrap();
            }
            let cell = KeyCell::default();
            let mut watch = KeyWatch::new(cell.clone(), Some((roster, path.clone())));
            let mut verifier = EnvelopeVerifier::without_keys([0; 32]);
            let frame = watch.look(&engine, &mut verifier).unwrap().unwrap();
            assert_eq!(read(), engine.keys().newest().unwrap().sealing);
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(!text.ends_with(' '), rewritten);
            assert_eq!(cell.load().key_id, read().key_id());
            assert_eq!(cell.load().frame, Some(frame.clone()));
            let Ok(Notice::Key(notice)) = Notice::decode(&frame[LENGTH_LEN..]) else {
                panic!("it vouches for the key")
            };
            assert_eq!(KeyStatement::decode(notice.statement).unwrap().key, read());
            assert!(watch.look(&engine, &mut verifier).unwrap().is_none());
        }
    }

    #[test]
    fn a_node_whose_committee_keeps_its_key_names_it_and_vouches_for_nothing() {
        let (engine, _) = engine(1, false);
        let cell = KeyCell::default();
        let mut watch = KeyWatch::new(cell.clone(), None);
        let mut verifier = EnvelopeVerifier::without_keys([0; 32]);
        assert!(watch.look(&engine, &mut verifier).unwrap().is_none());
        let word = cell.load();
        assert_eq!(word.key_id, engine.keys().newest().unwrap().key_id());
        assert!(word.frame.is_none());
    }
}
