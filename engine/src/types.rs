//! The words of the protocol as types: one newtype a concept, none convertible by accident.
//!
//! No `From<u64>` anywhere: a round cannot become a position without somebody writing it down.

use std::fmt;

/// Microseconds since the Unix epoch, as the protocol counts time (no floating point, no leap seconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampUs(pub u64);

impl TimestampUs {
    /// This time plus `us` microseconds, saturating.
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A key period of the committee, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A round of the DAG. Round 0 holds one implicit genesis vertex an authority; proposals start at round 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(pub u64);

impl Round {
    /// The following round.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The round `rounds` later.
    pub const fn plus(self, rounds: u64) -> Self {
        Self(self.0 + rounds)
    }

    /// The round `rounds` earlier, not below round 0.
    pub const fn minus(self, rounds: u64) -> Self {
        Self(self.0.saturating_sub(rounds))
    }
}

/// A committee member, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityIndex(pub u8);

impl AuthorityIndex {
    /// As an index into per-authority tables.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// The point at which this authority's Shamir share is evaluated: index + 1, never 0 (the secret).
    pub const fn share_point(self) -> u64 {
        self.0 as u64 + 1
    }
}

impl fmt::Display for AuthorityIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authority {}", self.0)
    }
}

/// A place in one authority's local order, from 0 in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A place in the chain of batches, from 0 in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSeq(pub u64);

impl BatchSeq {
    /// The following batch.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The rollup (namespace) that an envelope is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupId(pub u64);

/// The chain that a committee serves; bound into every label, vertex, share and header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub u64);

/// Names a committee key: 16 bytes derived from chain, epoch, n, t, Delta and X.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

/// BLAKE3-256 of all bytes of an envelope, or of a vertex header.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A SHA-256 hash: Merkle roots and batch header hashes, which contracts must be able to check.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hash(pub [u8; 32]);

macro_rules! hex_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(&self.0[..4]))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
    )*};
}
hex_debug!(Digest, Sha256Hash, KeyId);

/// What a local order and the fair order are made of: an envelope's digest with its expiry, both signed in vertices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Digest of the envelope's bytes.
    pub digest: Digest,
    /// Consensus time after which the entry is dropped unless it is already ready.
    pub valid_until: TimestampUs,
}

/// A set of authorities as a bit mask; its size is the only way votes are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthoritySet(u128);

impl AuthoritySet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Adds `authority`; true if it was not in the set before.
    pub fn insert(&mut self, authority: AuthorityIndex) -> bool {
        let bit = 1u128 << authority.0;
        let fresh = self.0 & bit == 0;
        self.0 |= bit;
        fresh
    }

    /// Takes `authority` out; true if it was in the set.
    pub fn remove(&mut self, authority: AuthorityIndex) -> bool {
        let bit = 1u128 << authority.0;
        let present = self.0 & bit != 0;
        self.0 &= !bit;
        present
    }

    /// Whether `authority` is in the set.
    pub const fn contains(self, authority: AuthorityIndex) -> bool {
        self.0 & (1u128 << authority.0) != 0
    }

    /// Who is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many different authorities are in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether nobody is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as a mask: bit i stands for authority i.
    pub const fn mask(self) -> u128 {
        self.0
    }

    /// The set of a mask.
    pub const fn from_mask(mask: u128) -> Self {
        Self(mask)
    }

    /// The members, ascending.
    pub fn iter(self) -> impl Iterator<Item = AuthorityIndex> {
        (0..128u8)
            .map(AuthorityIndex)
            .filter(move |authority| self.contains(*authority))
    }
}

/// Largest committee: sets of authorities are 128-bit masks.
pub const AUTHORITIES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_each_authority_once() {
        let mut set = AuthoritySet::EMPTY;
        assert!(set.insert(AuthorityIndex(3)));
        assert!(!set.insert(AuthorityIndex(3)));
        assert!(set.insert(AuthorityIndex(127)));
        assert_eq!(set.len(), 2);
        assert_eq!(set.iter().map(|a| a.0).collect::<Vec<_>>(), vec![3, 127]);
        assert!(set.remove(AuthorityIndex(3)));
        assert!(!set.contains(AuthorityIndex(3)));
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(TimestampUs(u64::MAX).plus_us(1), TimestampUs(u64::MAX));
        assert_eq!(TimestampUs(3).since_us(TimestampUs(5)), 0);
    }
}
