//! Clients' parts of what is taken under overload, and which of a client's submissions make up its part.
//!
//! How much: what may be taken in a slot of time is divided so that nobody is refused who offers less than the part of one
//! that offers more (max-min), by what each offered in the slot before.
//!
//! Which: an authority that simply took the first would take other ones than its neighbours do. Each would then fetch from
//! the others what they took and it did not, and the committee would work for the union of what all took. So a submission is
//! drawn, by a hash of its bytes and the second in which it comes, below the part that its client may have of what it
//! offers. All authorities draw alike, without a word between them, and their thresholds differ by little: who takes less
//! takes a subset. The draw knows nothing of who sends, and sealed bytes say nothing of what is in them; a re-send in
//! another second is another draw.
//!
//! A client can seal anew until an envelope draws well. That gets it no more than its part, which is bounded by count as
//! well ([`Parts::takes`]), and costs it a sealing each; offering all of these envelopes gets it as much.

use fairlane_engine::types::TimestampUs;

/// Clients' parts, by slots of time; by default nobody has submitted anything.
#[derive(Debug, Default)]
pub struct Parts {
    /// By the client's slot.
    clients: Vec<Client>,
    /// The current slot of time.
    slot: u64,
    /// Who submitted in it.
    active: Vec<usize>,
    /// How many each client submitted in the slot before, ascending.
    before: Vec<u64>,
    /// One client's part in the current slot; none before it is asked for.
    part: Option<u64>,
    /// Of the draws in the current second.
    salt: (u64, [u8; 32]),
}

#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// Of the counts.
    slot: u64,
    /// Submitted in that slot.
    count: u64,
    /// Of these, taken.
    taken: u64,
    /// Submitted in the slot before.
    before: u64,
}

impl Parts {
    /// Counts a submission of `client`, a small number.
    pub fn count(&mut self, client: usize, now: TimestampUs) {
        let slot = now.0 / SLOT_US;
        if slot != self.slot {
            self.begin(slot);
        }
        if self.clients.len() <= client {
            self.clients.resize(client + 1, Client::default());
        }
        let counted = &mut self.clients[client];
        if counted.slot != slot {
            let is_next = counted.slot + 1 == slot;
            *counted = Client {
                slot,
                before: if is_next { counted.count } else { 0 },
                ..Client::default()
            };
            self.active.push(client);
        }
        counted.count += 1;
    }

    /// Whether the submission of `client` that was counted last is taken; all together may have `budget` a slot, in
    /// [`UNITS`] of a submission.
    ///
    /// At most a quarter more than its part, and one, is taken of a client in a slot.
    pub fn takes(
        &mut self,
        client: usize,
        bytes: &[u8],
        now: TimestampUs,
        budget: impl FnOnce() -> u64,
    ) -> bool {
        let before = &self.before;
        let part = *self.part.get_or_insert_with(|| level(before, budget()));
        let second = now.0 / SALT_US;
        if self.salt.0 != second {
            self.salt = (second, salt_of(second));
        }
        let counted = &mut self.clients[client];
        if counted.taken * UNITS > part + part / 4 {
            return false;
        }
        let offered = counted.count.max(counted.before) * UNITS;
        let is_taken = part >= offered || {
            let threshold = (u128::from(part) << 64) / u128::from(offered);
            u128::from(draw(&self.salt.1, bytes)) < threshold
        };
        counted.taken += u64::from(is_taken);
        is_taken
    }

    fn begin(&mut self, slot: u64) {
        self.before.clear();
        if slot == self.slot + 1 {
            let counts = self.active.iter().map(|client| self.clients[*client].count);
            self.before.extend(counts);
            self.before.sort_unstable();
        }
        self.active.clear();
        (self.slot, self.part) = (slot, None);
    }
}

/// The part of one client of which all have so much that what they offered, cut to it, makes up `budget`; where they
/// offered less, what the largest may offer. In [`UNITS`].
fn level(offered_ascending: &[u64], budget: u64) -> u64 {
    let mut left = budget;
    for (index, offered) in offered_ascending.iter().enumerate() {
        let part = left / (offered_ascending.len() - index) as u64;
        if offered * UNITS > part {
            return part;
        }
        left -= offered * UNITS;
    }
    let most = offered_ascending.last().copied().unwrap_or_default();
    most * UNITS + left
}

fn salt_of(second: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&second.to_be_bytes());
    key
}

/// Uniform for whoever does not choose the bytes by it.
fn draw(salt: &[u8; 32], bytes: &[u8]) -> u64 {
    let hash = blake3::keyed_hash(salt, bytes);
    let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

/// Of a submission: parts may be smaller than one.
pub const UNITS: u64 = 1_024;
/// Over which submissions are counted.
pub const SLOT_US: u64 = 100_000;
/// In which a submission draws alike.
pub const SALT_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> TimestampUs {
        TimestampUs(1_000_000_000 + ms * 1_000)
    }

    fn bytes(id: u64) -> [u8; 400] {
        let mut bytes = [7; 400];
        bytes[100..108].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    /// Offers `each` submissions a slot, evenly, by each client; gives which are taken, by client.
    fn offer(parts: &mut Parts, each: &[u64], budget: u64, slots: u64) -> Vec<Vec<u64>> {
        let mut taken = vec![Vec::new(); each.len()];
        for us in 0..slots * SLOT_US / 10 {
            for (client, count) in each.iter().enumerate() {
                let every = SLOT_US / 10 / count;
                if us % every != client as u64 % every {
                    continue;
                }
                let now = TimestampUs(1_000_000_000 + us * 10);
                parts.count(client, now);
                let id = (us << 8) + client as u64;
                if parts.takes(client, &bytes(id), now, || budget * UNITS) {
                    taken[client].push(id);
                }
            }
        }
        taken
    }

    #[test]
    fn who_offers_less_than_the_part_of_others_is_taken_whole_and_the_others_alike() {
        let taken = offer(&mut Parts::default(), &[2, 500, 20, 1_000], 222, 20);
        let counts: Vec<usize> = taken.iter().map(Vec::len).collect();
        assert_eq!((counts[0], counts[2]), (40, 400));
        // 222 less 22, half for each, and in the first slot nothing was known of anybody.
        for greedy in [counts[1], counts[3]] {
            assert!((1_900..2_300).contains(&greedy), "{counts:?}");
        }
    }

    #[test]
    fn authorities_that_may_take_different_counts_take_subsets() {
        let (mut one, mut other) = (Parts::default(), Parts::default());
        let less = offer(&mut one, &[1_000], 200, 10).remove(0);
        let more = offer(&mut other, &[1_000], 240, 10).remove(0);
        assert!(less.len() > 1_500, "{}", less.len());
        let only_less = less.iter().filter(|id| !more.contains(id)).count();
        // But for the ends of slots, where the bound by count may cut.
        assert!(only_less * 50 < less.len(), "{only_less} of {}", less.len());
    }

    #[test]
    fn ten_thousand_clients_that_say_little_have_parts_below_one() {
        let mut parts = Parts::default();
        let mut taken = 0;
        for slot in 0..10 {
            for client in 0..10_000 {
                parts.count(client, at(slot * 100));
                let bytes = bytes(client as u64 * 100 + slot);
                taken += u64::from(parts.takes(client, &bytes, at(slot * 100), || 300 * UNITS));
            }
        }
        // In the first slot nothing is known of anybody: each has one.
        assert!((12_200..13_200).contains(&taken), "{taken}");
    }

    #[test]
    fn whoever_chooses_bytes_that_draw_well_has_no_more_than_its_part_and_a_quarter() {
        let mut parts = Parts::default();
        let mut taken = 0;
        for slot in 0..10 {
            for _ in 0..1_000 {
                parts.count(1, at(slot * 100));
                // The best bytes there are: with them everybody is drawn.
                parts.salt = (at(slot * 100).0 / SALT_US, salt_of(0));
                let best = (0..64)
                    .map(bytes)
                    .min_by_key(|bytes| draw(&salt_of(0), bytes));
                let best = best.unwrap();
                taken += u64::from(parts.takes(1, &best, at(slot * 100), || 100 * UNITS));
            }
        }
        assert!((1_000..=1_260).contains(&taken), "{taken}");
    }

    #[test]
    fn a_refused_submission_draws_anew_in_another_second() {
        let drawn: Vec<u64> = (0..64)
            .map(|second| draw(&salt_of(second), &bytes(1)))
            .collect();
        let low = drawn.iter().filter(|draw| **draw < u64::MAX / 4).count();
        assert!((6..=28).contains(&low), "{low} of 64 in the lowest quarter");
    }

    #[test]
    fn the_level_divides_what_there_is() {
        assert_eq!(level(&[], 50), 50);
        assert_eq!(level(&[1, 2], 10 * UNITS), (2 + 7) * UNITS);
        assert_eq!(level(&[1, 20, 20], 11 * UNITS), 5 * UNITS);
        assert_eq!(level(&[4, 4, 4, 4], 4 * UNITS), UNITS);
    }
}
