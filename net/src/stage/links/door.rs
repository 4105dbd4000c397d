//! Who may begin a session with this node, and how often.
//!
//! A stranger must not take the place of an authority: handshakes under way are bounded, for each address and together,
//! and a new one takes the place of an old one rather than wait for it, since an honest one is over in a round trip.
//! Addresses at which the committee file has no authority get few places, and only so many failures in a time. At the
//! addresses of authorities failures are not held against the address: whoever shares it could lock them out.
//!
//! An authority that is known by its keys may begin so many sessions in a time, and none for a while after it was cut
//! for what it sent.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use crate::backend::ConnId;
use crate::stage::bucket::{Allowance, Bucket};

/// Handshakes under way on connections that others opened.
pub const HANDSHAKES_MAX: usize = 128;
/// Of these, from one address with no authority; elsewhere twice the authorities there are added.
pub const HANDSHAKES_AN_ADDRESS_MAX: usize = 4;
/// Addresses whose failed handshakes are remembered.
pub const STRANGERS_MAX: usize = 1024;
/// Failed handshakes of an address with no authority.
const FAILURES: Allowance = Allowance {
    burst: 8,
    refill_us: 2_000_000,
};
/// Sessions that one authority begins.
const SESSIONS: Allowance = Allowance {
    burst: 8,
    refill_us: 1_000_000,
};
/// How long an authority that sent what no correct one sends is kept out.
const BARRED_US: u64 = 10_000_000;

/// Handshakes under way, failures lately, and who is barred.
#[derive(Debug)]
pub struct Door {
    /// How many authorities the committee file has at an address.
    residents: BTreeMap<IpAddr, usize>,
    /// Oldest first.
    handshakes: VecDeque<(ConnId, IpAddr)>,
    strangers: BTreeMap<IpAddr, Bucket>,
    /// By index.
    authorities: Vec<Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    sessions: Bucket,
    barred_until: TimestampUs,
}

/// What becomes of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Knock {
    /// It may begin a handshake.
    Enter,
    /// It may, in the place of this one, which is to be reset.
    Replace(ConnId),
    /// Its address has failed too often lately.
    Throttled,
}

impl Door {
    /// Nobody has come yet. `addresses` are those of the committee file, by index.
    pub fn new(addresses: impl Iterator<Item = IpAddr>) -> Self {
        let mut residents = BTreeMap::new();
        let mut authorities = Vec::new();
        for address in addresses {
            *residents.entry(address).or_default() += 1;
            authorities.push(Standing {
                sessions: Bucket::full(SESSIONS),
                barred_until: TimestampUs(0),
            });
        }
        Self {
            residents,
            handshakes: VecDeque::new(),
            strangers: BTreeMap::new(),
            authorities,
        }
    }

    /// Somebody connected.
    pub fn knock(&mut self, conn: ConnId, address: IpAddr, now: TimestampUs) -> Knock {
        let bucket = self.strangers.get_mut(&address);
        if bucket.is_some_and(|bucket| bucket.tokens(FAILURES, now) == 0) {
            return Knock::Throttled;
        }
        let residents = self.residents.get(&address).copied().unwrap_or(0);
        let of_address = self.handshakes.iter().filter(|(_, of)| *of == address);
        let replaced = if of_address.count() >= HANDSHAKES_AN_ADDRESS_MAX + 2 * residents {
            self.handshakes.iter().position(|(_, of)| *of == address)
        } else if self.handshakes.len() >= HANDSHAKES_MAX {
            let is_strange = |(_, of): &(ConnId, IpAddr)| !self.residents.contains_key(of);
            Some(self.handshakes.iter().position(is_strange).unwrap_or(0))
        } else {
            None
        };
        let replaced = replaced.and_then(|place| self.handshakes.remove(place));
        self.handshakes.push_back((conn, address));
        replaced.map_or(Knock::Enter, |(conn, _)| Knock::Replace(conn))
    }

    /// A handshake is over, whatever came of it; `failed`: for what the other end did or did not.
    pub fn leave(&mut self, conn: ConnId, failed: bool, now: TimestampUs) {
        let place = self.handshakes.iter().position(|(of, _)| *of == conn);
        let Some((_, address)) = place.and_then(|place| self.handshakes.remove(place)) else {
            return;
        };
        if failed && !self.residents.contains_key(&address) {
            self.note_failure(address, now);
        }
    }

    fn note_failure(&mut self, address: IpAddr, now: TimestampUs) {
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&address) {
            self.strangers
                .retain(|_, bucket| !bucket.is_full(FAILURES, now));
            if self.strangers.len() >= STRANGERS_MAX {
                // All of them failed just now. One is forgotten: the table bounds work, it guards nothing.
                self.strangers.pop_first();
            }
        }
        let bucket = self.strangers.entry(address);
        bucket.or_insert(Bucket::full(FAILURES)).take(FAILURES, now);
    }

    /// Whether an authority that has passed the gate may begin a session; counts it.
    pub fn admit(&mut self, authority: AuthorityIndex, now: TimestampUs) -> bool {
        let is_barred = self.is_barred(authority, now);
        let standing = &mut self.authorities[authority.as_usize()];
        !is_barred && standing.sessions.take(SESSIONS, now)
    }

    /// Keeps an authority out for a while.
    pub fn bar(&mut self, authority: AuthorityIndex, now: TimestampUs) {
        self.authorities[authority.as_usize()].barred_until = now.plus_us(BARRED_US);
    }

    /// Whether an authority is kept out.
    pub fn is_barred(&self, authority: AuthorityIndex, now: TimestampUs) -> bool {
        now < self.authorities[authority.as_usize()].barred_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampUs = TimestampUs(1_000_000_000);

    fn resident(index: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, index])
    }

    fn stranger(index: u16) -> IpAddr {
        let [high, low] = index.to_be_bytes();
        IpAddr::from([192, 168, high, low])
    }

    /// Two authorities share an address, two have one each.
    fn door() -> Door {
        Door::new([1, 1, 2, 3].into_iter().map(resident))
    }

    fn conn(slot: u32) -> ConnId {
        ConnId::from_bits(u64::from(slot) << 32)
    }

    #[test]
    fn a_stranger_gets_few_places_and_a_new_one_takes_its_oldest() {
        let mut door = door();
        for slot in 0..HANDSHAKES_AN_ADDRESS_MAX as u32 {
            assert_eq!(door.knock(conn(slot), stranger(1), NOW), Knock::Enter);
        }
        let next = door.knock(conn(90), stranger(1), NOW);
        assert_eq!(next, Knock::Replace(conn(0)));
        assert_eq!(door.knock(conn(91), resident(1), NOW), Knock::Enter);
        door.leave(conn(2), false, NOW);
        assert_eq!(door.knock(conn(92), stranger(1), NOW), Knock::Enter);
    }

    #[test]
    fn strangers_cannot_keep_an_authority_out() {
        let mut door = door();
        for slot in 0..HANDSHAKES_MAX as u32 {
            assert_eq!(
                door.knock(conn(slot), stranger(slot as u16), NOW),
                Knock::Enter
            );
        }
        let of_authority = conn(500);
        let first = door.knock(of_authority, resident(2), NOW);
        assert_eq!(first, Knock::Replace(conn(0)));
        for slot in 1_000..3_000 {
            let replaced = door.knock(conn(slot), stranger(slot as u16), NOW);
            assert_ne!(replaced, Knock::Replace(of_authority));
            assert_ne!(replaced, Knock::Enter, "all places are taken");
        }
        assert_eq!(door.handshakes.len(), HANDSHAKES_MAX);
    }

    #[test]
    fn a_stranger_that_fails_is_throttled_and_forgiven_with_time() {
        let mut door = door();
        let mut fails = |at: TimestampUs| {
            let knock = door.knock(conn(1), stranger(1), at);
            door.leave(conn(1), true, at);
            knock
        };
        for _ in 0..FAILURES.burst {
            assert_eq!(fails(NOW), Knock::Enter);
        }
        assert_eq!(fails(NOW), Knock::Throttled);
        let later = NOW.plus_us(FAILURES.refill_us);
        assert_eq!(fails(later), Knock::Enter);
        assert_eq!(fails(later), Knock::Throttled);
    }

    #[test]
    fn failures_are_not_held_against_the_address_of_an_authority() {
        let mut door = door();
        for slot in 0..100 {
            assert_eq!(door.knock(conn(slot), resident(1), NOW), Knock::Enter);
            door.leave(conn(slot), true, NOW);
        }
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut door = door();
        for index in 0..2 * STRANGERS_MAX as u16 {
            door.knock(conn(1), stranger(index), NOW);
            door.leave(conn(1), true, NOW);
        }
        assert_eq!(door.strangers.len(), STRANGERS_MAX);
    }

    #[test]
    fn an_authority_begins_so_many_sessions_in_a_time_and_the_others_are_not_charged() {
        let mut door = door();
        let (greedy, other) = (AuthorityIndex(1), AuthorityIndex(2));
        for _ in 0..SESSIONS.burst {
            assert!(door.admit(greedy, NOW));
        }
        assert!(!door.admit(greedy, NOW) && door.admit(other, NOW));
        assert!(door.admit(greedy, NOW.plus_us(SESSIONS.refill_us)));
    }

    #[test]
    fn a_barred_authority_stays_out_for_its_time() {
        let mut door = door();
        let barred = AuthorityIndex(3);
        door.bar(barred, NOW);
        assert!(door.is_barred(barred, NOW) && !door.admit(barred, NOW));
        let later = NOW.plus_us(BARRED_US);
        assert!(!door.is_barred(barred, later) && door.admit(barred, later));
    }
}
