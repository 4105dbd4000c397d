//! What is missing and whom to ask for it: the likeliest holder after a grace time, then the others in turn.
//!
//! I1: one request an item is outstanding at a time. I2: at most [`WANTED_MAX`] items; beyond that the oldest stay and
//! new ones are refused and counted by the caller (whatever is needed is wanted again when it is met again).

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{AuthorityIndex, TimestampUs};

/// Items of one kind that may be missing at once.
pub const WANTED_MAX: usize = 65_536;
/// The wait between attempts doubles at most this often.
const BACK_OFF_DOUBLINGS_MAX: u32 = 5;

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

    /// Notes that `key` is missing; `holder` very likely has it. Asked for at `at`, or earlier if already due earlier.
    ///
    /// Gives false when [`WANTED_MAX`] items are missing already.
    pub fn want(&mut self, key: K, holder: AuthorityIndex, at: TimestampUs) -> bool {
        if let Some(want) = self.items.get_mut(&key) {
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
        let want = Want {
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
            let doublings = want.attempts.min(BACK_OFF_DOUBLINGS_MAX);
            let asked = nth_holder(want.holder, want.attempts, self.own, self.authorities);
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

/// Whom to ask at the `attempt`-th time: the likeliest holder, then the others in turn, never oneself.
fn nth_holder(
    holder: AuthorityIndex,
    attempt: u32,
    own: AuthorityIndex,
    authorities: u32,
) -> Option<AuthorityIndex> {
    let others = |skip: u32| AuthorityIndex(((u32::from(holder.0) + skip) % authorities) as u8);
    let peers: u32 = authorities.checked_sub(1).filter(|peers| *peers > 0)?;
    let mut candidates = (0..authorities).map(others).filter(|peer| *peer != own);
    candidates.nth((attempt % peers) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wants: &mut Wants<u32>, now: u64) -> Vec<(u8, Vec<u32>)> {
        let due = wants.take_due(TimestampUs(now), 100);
        due.into_iter().map(|(peer, keys)| (peer.0, keys)).collect()
    }

    #[test]
    fn the_likely_holder_is_asked_after_the_grace_and_then_the_others_with_back_off() {
        let mut wants = Wants::new(AuthorityIndex(0), 4, 100);
        assert!(wants.want(7, AuthorityIndex(3), TimestampUs(50)));
        assert_eq!(asked(&mut wants, 49), vec![]);
        assert_eq!(asked(&mut wants, 50), vec![(3, vec![7])]);
        assert_eq!(asked(&mut wants, 149), vec![]);
        assert_eq!(asked(&mut wants, 150), vec![(1, vec![7])], "never itself");
        assert_eq!(asked(&mut wants, 350), vec![(2, vec![7])], "200 us later");
        assert_eq!(asked(&mut wants, 750), vec![(3, vec![7])]);
        wants.forget(&7);
        assert!(wants.is_empty() && wants.next_due().is_none());
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
