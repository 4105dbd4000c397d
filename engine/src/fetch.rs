//! What is missing and whom to ask for it: whoever is known to hold it after a grace time, and the others in turn.
//!
//! Known holders are asked every second time, so that an answer that was lost, or a holder that was cut off, costs one more
//! round of asking and not one through the whole committee; the others are asked in between, because a holder may be faulty.
//!
//! I1: one request an item is outstanding at a time. I2: at most [`WANTED_MAX`] items; beyond that the oldest stay and
//! new ones are refused and counted by the caller (whatever is needed is wanted again when it is met again).

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{AuthorityIndex, AuthoritySet, TimestampUs};

/// Items of one kind that may be missing at once.
pub const WANTED_MAX: usize = 65_536;
/// The wait between attempts doubles at every second one, and at most this often.
const BACK_OFF_DOUBLINGS_MAX: u32 = 3;

/// Missing items of one kind.
#[derive(Debug)]
pub struct Wants<K> {
    items: BTreeMap<K, Want>,
    due: BTreeSet<(TimestampUs, K)>,
    own: AuthorityIndex,
    authorities: u32,
    retry_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Want {
    /// Who has shown that it holds the item.
    holders: AuthoritySet,
    /// The first of them.
    holder: AuthorityIndex,
    attempts: u32,
    due: TimestampUs,
}

impl<K: Ord + Copy> Wants<K> {
    /// Nothing missing yet. `retry_us` is the first wait for an answer.
    pub const fn new(own: AuthorityIndex, authorities: u32, retry_us: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            due: BTreeSet::new(),
            own,
            authorities,
            retry_us,
        }
    }

    /// Notes that `key` is missing; `holder` very likely has it, as do those named before. Asked for at `at`, or earlier if already due earlier.
    ///
    /// Gives false when [`WANTED_MAX`] items are missing already.
    pub fn want(&mut self, key: K, holder: AuthorityIndex, at: TimestampUs) -> bool {
        if let Some(want) = self.items.get_mut(&key) {
            want.holders.insert(holder);
            if want.attempts == 0 && at < want.due {
                self.due.remove(&(want.due, key));
                want.due = at;
                self.due.insert((at, key));
            }
            return true;
        }
        if self.items.len() >= WANTED_MAX {
            return false;
        }
        self.insert(key, holder, at);
        true
    }

    /// As [`Self::want`], for what the order has emitted: noted however much else is missing, so that nobody can keep a
    /// node from fetching it by listing what does not exist.
    pub fn want_emitted(&mut self, key: K, holder: AuthorityIndex, at: TimestampUs) {
        if !self.want(key, holder, at) {
            self.insert(key, holder, at);
        }
    }

    fn insert(&mut self, key: K, holder: AuthorityIndex, at: TimestampUs) {
        let mut holders = AuthoritySet::EMPTY;
        holders.insert(holder);
        let want = Want {
            holders,
            holder,
            attempts: 0,
            due: at,
        };
        self.items.insert(key, want);
        self.due.insert((at, key));
    }

    /// Whether it is missing.
    pub fn is_wanted(&self, key: &K) -> bool {
        self.items.contains_key(key)
    }

    /// How often it was asked for; none when it is not missing.
    pub fn attempts(&self, key: &K) -> Option<u32> {
        self.items.get(key).map(|want| want.attempts)
    }

    /// It came, or is not needed any more.
    pub fn forget(&mut self, key: &K) {
        if let Some(want) = self.items.remove(key) {
            self.due.remove(&(want.due, *key));
        }
    }

    /// Items below `key` are not needed any more.
    pub fn forget_below(&mut self, key: &K) {
        while let Some((first, _)) = self
            .items
            .first_key_value()
            .filter(|(first, _)| *first < key)
        {
            let first = *first;
            self.forget(&first);
        }
    }

    /// How many items are missing.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// When the next request is due.
    pub fn next_due(&self) -> Option<TimestampUs> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The requests due at `now`, at most `keys_max` keys, grouped by whom to ask.
    pub fn take_due(
        &mut self,
        now: TimestampUs,
        keys_max: usize,
    ) -> BTreeMap<AuthorityIndex, Vec<K>> {
        let mut requests: BTreeMap<AuthorityIndex, Vec<K>> = BTreeMap::new();
        for _ in 0..keys_max {
            let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.due.remove(&(at, key));
            let want = self.items.get_mut(&key).expect("what is due is wanted");
            let doublings = (want.attempts / 2).min(BACK_OFF_DOUBLINGS_MAX);
            let asked = want.whom_to_ask(self.own, self.authorities);
            want.attempts += 1;
            want.due = now.plus_us(self.retry_us << doublings);
            self.due.insert((want.due, key));
            if let Some(asked) = asked {
                requests.entry(asked).or_default().push(key);
            }
        }
        requests
    }
}

impl Want {
    /// Whom to ask next: at even attempts the holders in turn, at odd ones the others in turn; never oneself.
    fn whom_to_ask(&self, own: AuthorityIndex, authorities: u32) -> Option<AuthorityIndex> {
        let from_holder = (0..authorities)
            .map(|skip| AuthorityIndex(((u32::from(self.holder.0) + skip) % authorities) as u8))
            .filter(|peer| *peer != own);
        let (holders, others): (Vec<_>, Vec<_>) =
            from_holder.partition(|peer| self.holders.contains(*peer));
        let is_holders_turn = self.attempts.is_multiple_of(2) || others.is_empty();
        let asked = match is_holders_turn && !holders.is_empty() {
            true => holders,
            false => others,
        };
        let turn = (self.attempts / 2) as usize;
        (!asked.is_empty()).then(|| asked[turn % asked.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wants: &mut Wants<u32>, now: u64) -> Vec<(u8, Vec<u32>)> {
        let due = wants.take_due(TimestampUs(now), 100);
        due.into_iter().map(|(peer, keys)| (peer.0, keys)).collect()
    }

    #[test]
    fn the_holder_is_asked_after_the_grace_and_every_second_time_with_back_off() {
        let mut wants = Wants::new(AuthorityIndex(0), 4, 100);
        assert!(wants.want(7, AuthorityIndex(3), TimestampUs(50)));
        assert_eq!(asked(&mut wants, 49), vec![]);
        assert_eq!(asked(&mut wants, 50), vec![(3, vec![7])]);
        assert_eq!(asked(&mut wants, 149), vec![]);
        assert_eq!(asked(&mut wants, 150), vec![(1, vec![7])], "never itself");
        assert_eq!(asked(&mut wants, 250), vec![(3, vec![7])]);
        assert_eq!(asked(&mut wants, 450), vec![(2, vec![7])], "200 us later");
        assert_eq!(asked(&mut wants, 650), vec![(3, vec![7])]);
        wants.forget(&7);
        assert!(wants.is_empty() && wants.next_due().is_none());
    }

    #[test]
    fn a_holder_that_was_cut_off_is_asked_again_before_long() {
        let mut wants = Wants::new(AuthorityIndex(0), 16, 100);
        wants.want(7, AuthorityIndex(9), TimestampUs(0));
        let (mut now, mut last) = (0, 0);
        for _ in 0..40 {
            if asked(&mut wants, now) == vec![(9, vec![7])] {
                assert!(now - last <= 2 * 100 * 8, "asked at {last} and at {now}");
                last = now;
            }
            now = wants.next_due().expect("it is still missing").0;
        }
        assert!(last > 10_000, "and for ever: last at {last}");
    }

    #[test]
    fn all_that_are_known_to_hold_it_are_asked_in_turn() {
        let mut wants = Wants::new(AuthorityIndex(0), 5, 100);
        wants.want(7, AuthorityIndex(3), TimestampUs(0));
        wants.want(7, AuthorityIndex(1), TimestampUs(0));
        let order: Vec<u8> = (0..6)
            .map(|_| {
                let now = wants.next_due().expect("it is still missing").0;
                asked(&mut wants, now)[0].0
            })
            .collect();
        assert_eq!(order, [3, 4, 1, 2, 3, 4], "holders 3 and 1, others 4 and 2");
    }

    #[test]
    fn urgency_brings_a_first_request_forward_but_never_repeats_one() {
        let mut wants = Wants::new(AuthorityIndex(0), 4, 100);
        wants.want(7, AuthorityIndex(1), TimestampUs(50));
        wants.want(7, AuthorityIndex(1), TimestampUs(10));
        assert_eq!(wants.next_due(), Some(TimestampUs(10)));
        assert_eq!(asked(&mut wants, 10), vec![(1, vec![7])]);
        wants.want(7, AuthorityIndex(1), TimestampUs(11));
        assert_eq!(asked(&mut wants, 12), vec![]);
    }

    #[test]
    fn what_is_missing_is_bounded() {
        let mut wants = Wants::new(AuthorityIndex(0), 4, 100);
        for key in 0..WANTED_MAX as u32 {
            assert!(wants.want(key, AuthorityIndex(1), TimestampUs(1)));
        }
        assert!(!wants.want(u32::MAX, AuthorityIndex(1), TimestampUs(1)));
        assert!(
            wants.want(0, AuthorityIndex(1), TimestampUs(1)),
            "already noted"
        );
    }

    #[test]
    fn a_committee_of_one_asks_nobody() {
        let mut wants = Wants::new(AuthorityIndex(0), 1, 100);
        wants.want(1, AuthorityIndex(0), TimestampUs(0));
        assert_eq!(asked(&mut wants, 5), vec![]);
    }
}
