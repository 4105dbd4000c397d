//! The canonical state: all that sections 5 and 6 of the protocol carry from anchor to anchor, in one encoding.
//!
//! A node that holds it goes on from the anchor whose state it is and commits, orders and cuts what every other node does.
//! Its hash, the state root, stands in the header of the checkpoint: the last batch of the first anchor at or past each
//! multiple of [`crate::committee::Parameters::checkpoint_interval_rounds`] (an empty batch where that anchor emits
//! nothing), and so is chained, settled and vouched for like any batch.
//!
//! Encoding: version u8 = 1, chain id u64, epoch u32; the commit rule's part (anchors, consensus time, forks, tips with
//! positions and times, committed vertices above the floor); the fair order's part (pending pairs, lists, deferrals,
//! hashes of what was emitted and has not expired); for a committee that makes its keys itself, those and the generation
//! under way ([`crate::keyring`]). Each component writes and reads its own part (`encode_state`,
//! `decode_state`). The next batch's seq and the hash before it follow from the checkpoint's header. Emitted pairs are
//! transferred behind the state, each emission checked against its hash.
//!
//! I1: equal committed sequences give equal bytes; nothing local (what is undecided, which vertices are here) is in it.
//! I2: what is read back encodes to the same bytes.
//!
//! Cost: nothing at an anchor that is no checkpoint but one hash of what it emits; at a checkpoint one pass over the
//! window's references, the pending pairs and 36 bytes an emission of the last 90 s, and SHA-256 over those. Measured at
//! n = 4, G = 256, 6,000 emitted pairs: 96 KB, 0.12 ms a checkpoint; 336 KB are transferred.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::commit::sequence::Committer;
use crate::committee::Committee;
use crate::fair::{FairOrder, encode_pairs};
use crate::keyring::{Agreed, Keyring};
use crate::types::{Entry, Round, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// The state after one anchor, and what is transferred with it.
#[derive(Clone, Debug)]
pub struct State {
    /// SHA-256 of the encoding.
    pub root: Sha256Hash,
    /// The anchor's round.
    pub anchor_round: Round,
    bytes: Arc<[u8]>,
    emissions: Vec<Arc<[Entry]>>,
}

/// What a state restores.
#[derive(Debug)]
pub struct Restored {
    /// Goes on after the anchor.
    pub committer: Committer,
    /// Goes on after the anchor.
    pub fair: FairOrder,
    /// The keys at the anchor; none where a dealer made the only one.
    pub(crate) keys: Option<Agreed>,
}

impl State {
    /// The state after the anchor of `anchor_round`: the commit rule's part, encoded, the fair order and the keys.
    pub(crate) fn new(
        committee: &Committee,
        anchor_round: Round,
        (committed, fair, keys): (&[u8], &FairOrder, &Keyring),
    ) -> Self {
        let mut agreed = Vec::new();
        keys.encode_state(&mut agreed);
        Self::of_parts(committee, anchor_round, committed, fair, &agreed)
    }

    fn of_parts(
        committee: &Committee,
        anchor_round: Round,
        committed: &[u8],
        fair: &FairOrder,
        keys: &[u8],
    ) -> Self {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes)
            .u8(STATE_VERSION)
            .u64(committee.chain_id.0)
            .u32(committee.epoch.0)
            .bytes(committed);
        fair.encode_state(&mut bytes);
        bytes.extend_from_slice(keys);
        Self {
            root: Sha256Hash(Sha256::digest(&bytes).into()),
            anchor_round,
            bytes: bytes.into(),
            emissions: fair.emissions(),
        }
    }

    /// Length of the transferred form in bytes.
    pub fn transfer_len(&self) -> usize {
        let pairs: usize = self.emissions.iter().map(|entries| entries.len()).sum();
        4 + self.bytes.len() + pairs * PAIR_LEN
    }

    /// The transferred form: length of the encoding u32, the encoding, the emitted pairs.
    pub fn transfer(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.transfer_len());
        Writer::new(&mut out)
            .count_u32(self.bytes.len())
            .bytes(&self.bytes);
        for entries in &self.emissions {
            encode_pairs(entries, &mut out);
        }
        out
    }

    /// Reads the transferred form of the state with this root.
    ///
    /// Errors: another root, or bytes that no state has.
    pub fn restore(
        committee: &Committee,
        root: Sha256Hash,
        transferred: &[u8],
    ) -> Result<Restored, DecodeError> {
        let mut reader = Reader::new(transferred);
        let most = transferred.len().try_into().unwrap_or(u32::MAX);
        let len = reader.count_u32("state", most)?;
        let bytes = reader.bytes(len)?;
        if Sha256Hash(Sha256::digest(bytes).into()) != root {
            return Err(DecodeError::NotCanonical("state root"));
        }
        let mut state = Reader::new(bytes);
        match state.u8()? {
            STATE_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        if (state.u64()?, state.u32()?) != (committee.chain_id.0, committee.epoch.0) {
            return Err(DecodeError::NotCanonical("chain or epoch"));
        }
        let committer = Committer::decode_state(committee, &mut state)?;
        let params = (committee.thresholds(), committee.parameters.deferral_cap);
        let fair = FairOrder::decode_state(params, &mut state, &mut reader)?;
        let keys = Agreed::decode(committee, &mut state)?;
        state.finish()?;
        reader.finish()?;
        Ok(Restored {
            committer,
            fair,
            keys,
        })
    }
}

impl Restored {
    /// The state again, as it was.
    pub fn state(&self, committee: &Committee) -> State {
        let mut committed = Vec::new();
        self.committer.encode_state(&mut committed);
        let anchor_round = self.committer.last_anchor();
        let mut keys = Vec::new();
        if let Some(agreed) = &self.keys {
            agreed.encode(&mut keys);
        }
        State::of_parts(committee, anchor_round, &committed, &self.fair, &keys)
    }
}

const STATE_VERSION: u8 = 1;
const PAIR_LEN: usize = 40;
