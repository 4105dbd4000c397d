//! What a node does when the committee makes a key: verify for it, tell clients of it, write it down, and say so.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fairlane_client::committee_file::{CommitteeFile, Roster};
use fairlane_engine::keyring::Keyring;
use fairlane_engine::seal::{EnvelopeVerifier, SealingKey};
use fairlane_engine::types::{Epoch, KeyId};

use super::Fatal;

/// The name of the key to seal to, for the stage that welcomes clients; zeros before there is one.
#[derive(Clone, Debug, Default)]
pub struct KeyIdCell(Arc<Mutex<KeyId>>);

impl KeyIdCell {
    /// The name at present.
    pub fn load(&self) -> KeyId {
        // A name is copied in whole, so it is sound even if a thread has panicked.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, key_id: KeyId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key_id;
    }
}

/// Looks at an engine's keys after every input. O(1) while they stay.
#[derive(Debug)]
pub struct KeyWatch {
    cell: KeyIdCell,
    /// What is written with the key in it, and where; none where a dealer made the key.
    file: Option<(Roster, PathBuf)>,
    /// The version of the keys that is known here; none before the first look.
    version: Option<u64>,
    failed: Option<Epoch>,
}

impl KeyWatch {
    /// A watch that has not looked yet. `file`: the committee without its key, and where to write it with the key.
    pub const fn new(cell: KeyIdCell, file: Option<(Roster, PathBuf)>) -> Self {
        Self {
            cell,
            file,
            version: None,
            failed: None,
        }
    }

    /// Takes over what has changed. Errors: the committee file cannot be written.
    pub fn look(&mut self, keys: &Keyring, verifier: &mut EnvelopeVerifier) -> Result<(), Fatal> {
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
        if self.version == Some(keys.version()) {
            return Ok(());
        }
        let is_first_look = self.version.is_none();
        self.version = Some(keys.version());
        verifier.set_keys(keys.keys().iter().map(|key| &key.sealing));
        let Some(newest) = keys.newest() else {
            return Ok(());
        };
        self.cell.store(newest.key_id());
        if newest.share.is_none() {
            eprintln!(
                "warning: this node was dealt a bad share while it was away, and has none of the new key"
            );
        }
        // After a restart the file is there already, unless the node stopped in between.
        let is_written = |(_, path): &(Roster, PathBuf)| path.exists();
        if is_first_look && self.file.as_ref().is_some_and(is_written) {
            return Ok(());
        }
        self.write(&newest.sealing)
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
