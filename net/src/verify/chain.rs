//! What journals of one folder have in common, in files that nobody else sees: 32 bytes a batch or vertex, by its number.
//!
//! The one chain of batches that all of them must hold: whoever comes first with a seq writes the header's hash down, and all
//! others are held to it; so journals may be read in any order, beside each other, and may begin anywhere. And what was
//! found to hold in one of them, which need not be checked again in the next: signatures of vertices, and what batches say
//! of their envelopes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Digest, Round, Sha256Hash};
use fairlane_engine::verify::Known;

/// Hashes by number; all zero, which nothing hashes to, where there is none.
#[derive(Debug)]
struct Hashes {
    file: File,
}

impl Hashes {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir();
        let file = tempfile::tempfile()
            .with_context(|| format!("cannot make a file in {}", folder.display()))?;
        Ok(Self { file })
    }

    fn find(&self, number: u64) -> anyhow::Result<Option<[u8; 32]>> {
        let mut hash = [0; HASH_LEN as usize];
        let read = self.file.read_at(&mut hash, place(number)?);
        let len = read.context("cannot read a temporary file")?;
        let is_there = len == hash.len() && hash != [0; HASH_LEN as usize];
        Ok(is_there.then_some(hash))
    }

    fn put(&self, number: u64, hash: &[u8; 32]) -> anyhow::Result<()> {
        let written = self.file.write_all_at(hash, place(number)?);
        written.context("cannot write a temporary file")
    }
}

/// Numbers follow each other in a journal whose records hold, so this bound is far above any.
fn place(number: u64) -> anyhow::Result<u64> {
    anyhow::ensure!(
        number < 1 << 40,
        "number {number} is above any that there is"
    );
    Ok(number * HASH_LEN)
}

/// Header hashes by seq.
#[derive(Debug)]
pub(super) struct Chain {
    hashes: Mutex<Hashes>,
}

impl Chain {
    /// Knows nothing. Errors: no temporary file can be made.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            hashes: Mutex::new(Hashes::new()?),
        })
    }

    /// The hash at `seq`, if some journal holds it.
    pub(super) fn find(&self, seq: u64) -> anyhow::Result<Option<Sha256Hash>> {
        let hashes = self.hashes.lock().expect("nobody panics while it is held");
        Ok(hashes.find(seq)?.map(Sha256Hash))
    }

    /// Notes that the batch `seq` has this header hash. False when another journal holds another one.
    pub(super) fn agree(&self, seq: u64, hash: Sha256Hash) -> anyhow::Result<bool> {
        let hashes = self.hashes.lock().expect("nobody panics while it is held");
        if let Some(known) = hashes.find(seq)? {
            return Ok(known == hash.0);
        }
        hashes.put(seq, &hash.0)?;
        Ok(true)
    }
}

/// What was found to hold in some journal of the folder.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    authorities: u64,
    vertices: Arc<Hashes>,
    batches: Arc<Hashes>,
}

impl Seen {
    /// Nothing. Errors: no temporary file can be made.
    pub(super) fn new(authorities: u32) -> anyhow::Result<Self> {
        Ok(Self {
            authorities: authorities.into(),
            vertices: Arc::new(Hashes::new()?),
            batches: Arc::new(Hashes::new()?),
        })
    }

    fn number(&self, (round, author): (Round, AuthorityIndex)) -> u64 {
        let first = round.0.saturating_mul(self.authorities);
        first.saturating_add(author.0.into())
    }
}

/// A file that fails to answer makes things be checked again, and nothing worse. Two threads may write one place at once:
/// what is read then is one of both, or a mixture that equals no hash.
impl Known for Seen {
    fn has_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest) -> bool {
        let found = self.vertices.find(self.number(slot));
        found.is_ok_and(|found| found == Some(hash.0))
    }

    fn note_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest) {
        let _ = self.vertices.put(self.number(slot), &hash.0);
    }

    fn has_batch(&self, seq: BatchSeq, hash: &Digest) -> bool {
        let found = self.batches.find(seq.0);
        found.is_ok_and(|found| found == Some(hash.0))
    }

    fn note_batch(&self, seq: BatchSeq, hash: &Digest) {
        let _ = self.batches.put(seq.0, &hash.0);
    }
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

    #[test]
    fn what_was_seen_is_known_by_its_bytes_in_its_place_and_nothing_else_is() {
        let seen = Seen::new(4).unwrap();
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let slot = |round, author| (Round(round), AuthorityIndex(author));
        seen.note_vertex(slot(7, 3), &one);
        assert!(seen.has_vertex(slot(7, 3), &one));
        assert!(!seen.has_vertex(slot(7, 3), &other));
        assert!(!seen.has_vertex(slot(8, 0), &one) && !seen.has_vertex(slot(7, 2), &one));
        assert!(!seen.has_batch(BatchSeq(31), &one), "of another kind");
        seen.note_batch(BatchSeq(9), &other);
        assert!(seen.has_batch(BatchSeq(9), &other) && !seen.has_batch(BatchSeq(9), &one));
        // A round that no vertex has is nowhere, and no failure.
        seen.note_vertex(slot(u64::MAX, 1), &one);
        assert!(!seen.has_vertex(slot(u64::MAX, 1), &one));
    }
}
