//! The one chain of batches that all journals must hold: header hashes by seq, in a file that nobody else sees.
//!
//! Whoever comes first with a seq writes its hash down, and all others are held to it; so journals may be read in any
//! order, beside each other, and may begin anywhere.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use anyhow::Context as _;
use fairlane_engine::types::Sha256Hash;

/// Header hashes by seq.
#[derive(Debug)]
pub(super) struct Chain {
    file: Mutex<File>,
}

impl Chain {
    /// Knows nothing. Errors: no temporary file can be made.
    pub(super) fn new() -> anyhow::Result<Self> {
        let file = tempfile::tempfile()
            .with_context(|| format!("cannot make a file in {}", std::env::temp_dir().display()))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// The hash at `seq`, if some journal holds it.
    pub(super) fn find(&self, seq: u64) -> anyhow::Result<Option<Sha256Hash>> {
        let file = self.file.lock().expect("nobody panics while it is held");
        read(&file, seq)
    }

    /// Notes that the batch `seq` has this header hash. False when another journal holds another one.
    ///
    /// Seqs follow each other in a journal whose batches hold, so the file is as long as the chain.
    pub(super) fn agree(&self, seq: u64, hash: Sha256Hash) -> anyhow::Result<bool> {
        let file = self.file.lock().expect("nobody panics while it is held");
        if let Some(known) = read(&file, seq)? {
            return Ok(known == hash);
        }
        file.write_all_at(&hash.0, seq * HASH_LEN)
            .context("cannot write a temporary file")?;
        Ok(true)
    }
}

fn read(file: &File, seq: u64) -> anyhow::Result<Option<Sha256Hash>> {
    let mut hash = [0; HASH_LEN as usize];
    let read = file.read_at(&mut hash, seq * HASH_LEN);
    let len = read.context("cannot read a temporary file")?;
    // No header hashes to zeros.
    let is_there = len == hash.len() && hash != [0; HASH_LEN as usize];
    Ok(is_there.then_some(Sha256Hash(hash)))
}

const HASH_LEN: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_second_is_held_to_the_first() {
        let chain = Chain::new().unwrap();
        let hashes = [1, 2].map(|byte| Sha256Hash([byte; 32]));
        assert_eq!(chain.find(5).unwrap(), None);
        assert!(chain.agree(5, hashes[0]).unwrap());
        assert!(chain.agree(5, hashes[0]).unwrap());
        assert!(!chain.agree(5, hashes[1]).unwrap());
        assert_eq!(chain.find(5).unwrap(), Some(hashes[0]));
        assert_eq!(chain.find(4).unwrap(), None, "a hole");
        assert_eq!(chain.find(6).unwrap(), None, "beyond the end");
    }
}
