//! What makes a node believe a checkpoint: headers that follow it, and vertices whose authors settled them.
//!
//! The checkpoint's header names the state root; each following header names the hash of the one before. An authority
//! whose signed vertex header names a batch of that chain as settled has settled, and so computed itself, everything
//! before it. v = f + 1 different authors are asked for: one of them is correct, and no correct one settles a header that
//! the committed sequence does not give. More would not do: of the q that are correct a node that was away is one, so with
//! q wanted, f authorities that leave `settled` empty would keep it away for ever.
//!
//! Encoding: headers u32 and 181 bytes each, the checkpoint's first; signed vertex headers u32 and 211 bytes each, by
//! author; length of the state's transferred form u32. Bounded by [`PROOF_HEADERS_MAX`] and the committee's size.

use std::collections::BTreeMap;

use crate::batch::header::{BatchHeader, HEADER_LEN};
use crate::committee::Committee;
use crate::dag::SignedHeader;
use crate::types::{AuthorityIndex, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// A checkpoint's header and what has been found to prove it.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The checkpoint's, then those that follow it.
    headers: Vec<BatchHeader>,
    signers: BTreeMap<AuthorityIndex, SignedHeader>,
}

/// Why a proof is none: the fault of who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not the encoding of a proof.
    #[error("proof encoding: {0}")]
    Decode(#[from] DecodeError),
    /// A header does not follow the one before, or is of another chain or epoch.
    #[error("the headers are no chain of this epoch")]
    Chain,
    /// The first header is no checkpoint.
    #[error("the first header is no checkpoint")]
    NoCheckpoint,
    /// A vertex header that is not signed by its author, names no header of the chain, or whose author stands twice.
    #[error("a vertex header of {0} vouches for nothing here")]
    Signer(AuthorityIndex),
    /// Too few authors vouch for the chain.
    #[error("{found} authors vouch for the checkpoint, {wanted} wanted")]
    Few {
        /// How many do.
        found: u32,
        /// v.
        wanted: u32,
    },
}

impl Proof {
    /// Nothing proved yet.
    pub fn new(header: BatchHeader) -> Self {
        Self {
            headers: vec![header],
            signers: BTreeMap::new(),
        }
    }

    /// The checkpoint's header.
    pub fn header(&self) -> &BatchHeader {
        &self.headers[0]
    }

    /// Whether enough authors vouch for it.
    pub fn is_complete(&self, committee: &Committee) -> bool {
        self.signers.len() as u32 >= committee.thresholds().validity()
    }

    /// Takes in the next settled header, while it may still serve.
    pub fn follow(&mut self, header: &BatchHeader) {
        let follows = self.headers.last().is_some_and(|last| header.follows(last));
        if follows && self.headers.len() < PROOF_HEADERS_MAX {
            self.headers.push(*header);
        }
    }

    /// Takes in a vertex header, whose signature was checked, if it vouches for the chain. Gives whether it does.
    pub fn vouch(&mut self, signed: &SignedHeader) -> bool {
        let vouches = self.names(signed);
        if vouches {
            self.signers.entry(signed.header.author).or_insert(*signed);
        }
        vouches
    }

    /// Whether the vertex header names a header of the chain as settled.
    pub(super) fn names(&self, signed: &SignedHeader) -> bool {
        let settled = signed.header.settled;
        let at = settled
            .count
            .checked_sub(1)
            .and_then(|last| last.checked_sub(self.header().seq.0))
            .and_then(|at| usize::try_from(at).ok());
        let named = at.and_then(|at| self.headers.get(at));
        named.is_some_and(|header| header.hash() == settled.hash)
    }

    /// The encoding, with the length of the state's transferred form.
    pub fn encode(&self, state_len: u32) -> Vec<u8> {
        let last_named = self.signers.values().map(|signed| {
            let count = signed.header.settled.count;
            count.saturating_sub(self.header().seq.0)
        });
        let used = last_named.max().unwrap_or(1).max(1) as usize;
        let headers = &self.headers[..used.min(self.headers.len())];
        let mut out = Vec::new();
        Writer::new(&mut out).count_u32(headers.len());
        for header in headers {
            Writer::new(&mut out).bytes(&header.encode());
        }
        Writer::new(&mut out).count_u32(self.signers.len());
        for signed in self.signers.values() {
            signed.encode(&mut out);
        }
        Writer::new(&mut out).u32(state_len);
        out
    }

    /// Reads and checks a proof; gives it with the length of the state that it announces.
    ///
    /// At most one hash a header and one signature check a signer. Errors: the first rule that it breaks.
    pub fn verify(bytes: &[u8], committee: &Committee) -> Result<(Self, u32), ProofError> {
        let mut reader = Reader::new(bytes);
        let mut headers: Vec<BatchHeader> = Vec::new();
        for _ in 0..reader.count_u32("headers", PROOF_HEADERS_MAX as u32)? {
            let header = BatchHeader::decode(reader.bytes(HEADER_LEN)?)?;
            let of_epoch = header.chain_id == committee.chain_id && header.epoch == committee.epoch;
            if !of_epoch || headers.last().is_some_and(|last| !header.follows(last)) {
                return Err(ProofError::Chain);
            }
            headers.push(header);
        }
        if headers
            .first()
            .is_none_or(|first| first.state_root == Sha256Hash::default())
        {
            return Err(ProofError::NoCheckpoint);
        }
        let mut proof = Self {
            headers,
            signers: BTreeMap::new(),
        };
        for _ in 0..reader.count_u32("signers", committee.thresholds().authorities())? {
            let signed = SignedHeader::decode(&mut reader)?;
            let author = signed.header.author;
            let new = !proof.signers.contains_key(&author);
            if !new || !proof.names(&signed) || signed.verify(committee).is_err() {
                return Err(ProofError::Signer(author));
            }
            proof.signers.insert(author, signed);
        }
        let state_len = reader.u32()?;
        reader.finish()?;
        if !proof.is_complete(committee) {
            let found = proof.signers.len() as u32;
            let wanted = committee.thresholds().validity();
            return Err(ProofError::Few { found, wanted });
        }
        Ok((proof, state_len))
    }
}

/// Headers in a proof at most, the checkpoint's among them.
pub const PROOF_HEADERS_MAX: usize = 256;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
