//! Who leads, as the header of the schedule's module says it, and nothing shared with that module.
//!
//! Follows the sequence slot by slot. Cost: O(n) a slot, and a pass over the sub-DAG an anchor.

use std::collections::BTreeMap;

use super::faulty_max;
use crate::dag::VertexRef;
use crate::types::{AuthorityIndex, Round};

/// The leaders from the next slot on.
#[derive(Clone)]
pub(crate) struct Leaders {
    n: usize,
    /// Fresh deliveries that bring one back who was put out once.
    needed: u32,
    /// Deliveries of those who are out; none for one that forked.
    out: BTreeMap<AuthorityIndex, Option<u32>>,
    /// How often each was put out and did not make up for, at most [`STRIKES_MAX`].
    strikes: BTreeMap<AuthorityIndex, u32>,
}

impl Leaders {
    /// Everybody in turn.
    pub(crate) const fn new(n: usize, needed: u32) -> Self {
        Self {
            n,
            needed,
            out: BTreeMap::new(),
            strikes: BTreeMap::new(),
        }
    }

    /// The leader of `round`, from 1.
    pub(crate) fn of(&self, round: Round) -> AuthorityIndex {
        let n = self.n as u64;
        let regular = AuthorityIndex((round.0 % n) as u8);
        if !self.out.contains_key(&regular) {
            return regular;
        }
        let members = (0..self.n as u8).map(AuthorityIndex);
        let leading: Vec<_> = members
            .filter(|member| !self.out.contains_key(member))
            .collect();
        leading[(round.0 / n + u64::from(regular.0)) as usize % leading.len()]
    }

    /// The slot of `round`, the next one, has no anchor.
    pub(crate) fn on_skip(&mut self, round: Round) {
        let leader = self.of(round);
        if self.is_full() {
            match self.busiest() {
                Some((delivered, back)) if delivered > 0 => self.out.remove(&back),
                _ => return,
            };
        }
        self.put_out(leader, Some(0));
    }

    /// The next slot has this anchor, which commits `vertices` and shows the forks of `new_forks`.
    pub(crate) fn on_anchor(
        &mut self,
        anchor: &VertexRef,
        vertices: &[VertexRef],
        new_forks: &[AuthorityIndex],
    ) {
        if let Some(strikes) = self.strikes.get_mut(&anchor.author) {
            *strikes = strikes.saturating_sub(1);
        }
        let (strikes, needed) = (&self.strikes, self.needed);
        self.out.retain(|author, delivered| {
            let Some(delivered) = delivered else {
                return true;
            };
            let is_fresh = |vertex: &VertexRef| {
                vertex.author == *author && vertex.round.0 + FRESH_ROUNDS >= anchor.round.0
            };
            *delivered += u32::from(vertices.iter().any(is_fresh));
            *delivered < needed * 2u32.pow(strikes[author] - 1)
        });
        for author in new_forks {
            if let Some(delivered) = self.out.get_mut(author) {
                *delivered = None;
                continue;
            }
            if self.is_full()
                && let Some((_, back)) = self.busiest()
            {
                self.out.remove(&back);
            }
            if !self.is_full() {
                self.put_out(*author, None);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.out.len() >= faulty_max(self.n)
    }

    fn put_out(&mut self, author: AuthorityIndex, delivered: Option<u32>) {
        self.out.insert(author, delivered);
        let strikes = self.strikes.entry(author).or_default();
        *strikes = STRIKES_MAX.min(*strikes + 1);
    }

    /// Of those who are out and did not fork, who delivered most; of equals the least index.
    fn busiest(&self) -> Option<(u32, AuthorityIndex)> {
        let delivered = self
            .out
            .iter()
            .filter_map(|(author, delivered)| Some((delivered.as_ref()?, author)));
        delivered
            .max_by_key(|(delivered, author)| (**delivered, std::cmp::Reverse(**author)))
            .map(|(delivered, author)| (*delivered, *author))
    }
}

/// A vertex is a delivery up to so many rounds below the anchor that commits it.
const FRESH_ROUNDS: u64 = 3;
/// What the doubling of deliveries ends at, and one.
const STRIKES_MAX: u32 = 7;
