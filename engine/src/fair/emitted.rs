//! What was emitted and has not expired, emission by emission: the part of the state that would cost most to hash.
//!
//! The duplicate filter must know every emitted pair until it expires, at a full load some hundred thousand. So the state
//! holds one hash an emission, made when it is emitted, and whoever takes over the state is given the pairs behind it.
//!
//! I1: an emission is kept until the last of its pairs has expired, so the pairs kept are those of the filter and expired
//! ones, and the filter follows from them: it holds them all, and who asks it looks at the expiry first. Correct authorities list nothing that is valid for longer than 90 s, and an
//! emitted pair is listed by one of them, so an emission is kept for 90 s. I2: what is kept is a function of the
//! emissions and of consensus time.
//!
//! Cost: a hash of 40 bytes a pair, once; O(log emissions) an anchor; 40 bytes of memory a pair in the log and about 60 in
//! the filter, a table for each second of expiries: none is large when it grows.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;

use super::table::hash_of as bucket_of;
use crate::types::{Digest, Entry, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// The emissions with an unexpired pair.
#[derive(Clone, Debug, Default)]
pub(super) struct EmittedLog {
    /// By latest expiry, then order of emission.
    emissions: BTreeMap<(TimestampUs, u64), Emitted>,
    emitted: u64,
    /// The pairs of the emissions, by expiry in parts of 2^20 us.
    filter: BTreeMap<u64, HashTable<Entry>>,
    pairs: usize,
    encoded: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Emitted {
    hash: Digest,
    entries: Arc<[Entry]>,
}

impl EmittedLog {
    /// Takes in what one anchor emitted; nothing when that is nothing.
    pub(super) fn push(&mut self, entries: &[Entry]) {
        if !entries.is_empty() {
            let hash = hash_of(entries, &mut self.encoded);
            let entries = entries.into();
            self.insert(Emitted { hash, entries });
        }
    }

    fn insert(&mut self, emitted: Emitted) {
        for entry in &*emitted.entries {
            let part = self.filter.entry(part_of(entry)).or_default();
            part.insert_unique(bucket_of(entry), *entry, bucket_of);
        }
        self.pairs += emitted.entries.len();
        let expiries = emitted.entries.iter().map(|entry| entry.valid_until);
        if let Some(latest) = expiries.max() {
            self.emissions.insert((latest, self.emitted), emitted);
            self.emitted += 1;
        }
    }

    /// Whether a kept emission has `entry`.
    pub(super) fn contains(&self, entry: &Entry) -> bool {
        let part = self.filter.get(&part_of(entry));
        part.is_some_and(|part| {
            part.find(bucket_of(entry), |other| other == entry)
                .is_some()
        })
    }

    /// Forgets the emissions of which every pair expired before `now`.
    pub(super) fn forget_expired(&mut self, now: TimestampUs) {
        while let Some(first) = self.emissions.first_entry()
            && first.key().0 < now
        {
            let entries = first.remove().entries;
            self.pairs -= entries.len();
            for entry in &*entries {
                let part = self
                    .filter
                    .get_mut(&part_of(entry))
                    .expect("a pair is in its part");
                let found = part.find_entry(bucket_of(entry), |other| other == entry);
                found.expect("a kept pair is in the filter").remove();
                if part.is_empty() {
                    self.filter.remove(&part_of(entry));
                }
            }
        }
    }

    /// How many emissions are kept.
    pub(super) fn len(&self) -> usize {
        self.emissions.len()
    }

    /// How many pairs they have.
    pub(super) const fn pairs_len(&self) -> usize {
        self.pairs
    }

    /// The emissions, in the order of the state.
    pub(super) fn emissions(&self) -> Vec<Arc<[Entry]>> {
        let emissions = self.emissions.values();
        emissions.map(|emitted| emitted.entries.clone()).collect()
    }

    /// Appends the number of emissions u32, and of each the number of pairs u32 and their hash 32.
    pub(super) fn encode_state(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.count_u32(self.emissions.len());
        for emitted in self.emissions.values() {
            writer
                .count_u32(emitted.entries.len())
                .bytes(&emitted.hash.0);
        }
    }

    /// Reads the hashes from `state` and the pairs (digest 32, valid_until u64 each) from `emissions`.
    ///
    /// Errors: not in order of expiry, pairs that do not have the hash, or too few bytes.
    pub(super) fn decode_state(
        state: &mut Reader<'_>,
        emissions: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut log = Self::default();
        let most = (state.left() / EMISSION_LEN).try_into();
        let count = state.count_u32("emissions", most.unwrap_or(u32::MAX))?;
        for _ in 0..count {
            let most = (emissions.left() / PAIR_LEN).try_into();
            let pairs = state.count_u32("emitted pairs", most.unwrap_or(u32::MAX))?;
            let hash = state.digest()?;
            let entries: Result<Arc<[Entry]>, DecodeError> =
                (0..pairs).map(|_| decode_pair(emissions)).collect();
            let entries = entries?;
            if entries.is_empty() || hash_of(&entries, &mut log.encoded) != hash {
                return Err(DecodeError::NotCanonical("emitted pairs"));
            }
            log.insert(Emitted { hash, entries });
            let last = log.emissions.last_key_value();
            if last.is_none_or(|((_, order), _)| order + 1 != log.emitted)
                || log.emitted != log.emissions.len() as u64
            {
                return Err(DecodeError::NotCanonical("emissions"));
            }
        }
        Ok(log)
    }
}

/// Appends the pairs as [`EmittedLog::decode_state`] reads them.
pub(crate) fn encode_pairs(entries: &[Entry], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    for entry in entries {
        writer.bytes(&entry.digest.0).u64(entry.valid_until.0);
    }
}

fn decode_pair(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    Ok(Entry {
        digest: reader.digest()?,
        valid_until: reader.timestamp()?,
    })
}

/// Hashed in one piece, which is several times as fast as pair by pair. `encoded` is a buffer.
fn hash_of(entries: &[Entry], encoded: &mut Vec<u8>) -> Digest {
    encoded.clear();
    encode_pairs(entries, encoded);
    let mut hasher = blake3::Hasher::new_derive_key("fairlane/1/emitted");
    hasher.update(encoded);
    Digest(*hasher.finalize().as_bytes())
}

/// Which part of the filter an entry is in.
const fn part_of(entry: &Entry) -> u64 {
    entry.valid_until.0 >> 20
}

const PAIR_LEN: usize = 40;
const EMISSION_LEN: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    fn emission(id: u8, expiries: &[u64]) -> Vec<Entry> {
        let entry = |valid_until: &u64| Entry {
            digest: Digest([id; 32]),
            valid_until: TimestampUs(*valid_until),
        };
        expiries.iter().map(entry).collect()
    }

    fn encoded(log: &EmittedLog) -> (Vec<u8>, Vec<u8>) {
        let (mut state, mut bodies) = (Vec::new(), Vec::new());
        log.encode_state(&mut state);
        for entries in log.emissions() {
            encode_pairs(&entries, &mut bodies);
        }
        (state, bodies)
    }

    fn decoded(state: &[u8], bodies: &[u8]) -> Result<EmittedLog, DecodeError> {
        EmittedLog::decode_state(&mut Reader::new(state), &mut Reader::new(bodies))
    }

    #[test]
    fn an_emission_is_kept_until_its_last_pair_has_expired() {
        let mut log = EmittedLog::default();
        log.push(&emission(1, &[5, 9]));
        log.push(&emission(2, &[7]));
        log.push(&[]);
        assert_eq!(log.len(), 2, "nothing is no emission");
        log.forget_expired(TimestampUs(8));
        assert_eq!(log.emissions()[0][..], emission(1, &[5, 9]));
        log.forget_expired(TimestampUs(9));
        assert_eq!(log.len(), 1);
        assert!(log.contains(&emission(1, &[9])[0]) && !log.contains(&emission(2, &[7])[0]));
        log.forget_expired(TimestampUs(10));
        assert_eq!((log.len(), log.pairs_len(), log.filter.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_read_back_encodes_alike_and_other_pairs_or_another_order_are_refused() {
        let mut log = EmittedLog::default();
        for (id, expiry) in [(1, 9), (2, 9), (3, 4)] {
            log.push(&emission(id, &[expiry, 3]));
        }
        let (state, bodies) = encoded(&log);
        assert_eq!(
            encoded(&decoded(&state, &bodies).unwrap()),
            (state.clone(), bodies.clone())
        );
        let mut other = bodies.clone();
        other[0] ^= 1;
        assert!(decoded(&state, &other).is_err(), "another pair");
        assert!(decoded(&state, &bodies[..bodies.len() - 1]).is_err());
        let late_first = [&state[..4], &state[40..76], &state[4..40], &state[76..]].concat();
        let bodies = [&bodies[80..160], &bodies[..80], &bodies[160..]].concat();
        assert!(decoded(&late_first, &bodies).is_err(), "another order");
    }
}
