//! The law of the fair order, from the receive orders of correct nodes alone.
//!
//! (x, y) is forced when more correct authorities received x before y than y before x by over 2f. A forced x is never
//! ordered after y, except inside a cycle, or when a wait was cut, which headers count. What is a cycle follows from the
//! lists of all authorities, faulty ones too, and is asked of [`super::fair`].

use std::collections::BTreeMap;

use super::chain::Chain;
use super::{Found, faulty_max};
use crate::types::{Digest, Round};

/// Which pairs were judged, and how they stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LawTally {
    /// Forced pairs.
    pub forced: u64,
    /// Turned round inside a cycle.
    pub in_cycle: u64,
    /// Turned round behind a cut wait.
    pub after_cut: u64,
}

/// Judges all pairs of settled envelopes; `received` are the receive orders of the correct authorities among `n`.
///
/// O(m^2) pairs for m envelopes settled or received, times the correct authorities.
pub(crate) fn judge(
    n: usize,
    received: &[&[Digest]],
    chain: &Chain,
    are_in_one_cycle: impl Fn(&Digest, &Digest) -> bool,
    may_be_missing: impl Fn(&Digest) -> bool,
) -> Result<LawTally, String> {
    let settled: Vec<Settled> = settled(chain);
    let known: BTreeMap<Digest, usize> =
        (0..).zip(&settled).map(|(at, s)| (s.digest, at)).collect();
    let mut all: Vec<Digest> = settled.iter().map(|settled| settled.digest).collect();
    for digest in received.iter().copied().flatten() {
        if !known.contains_key(digest)
            && !may_be_missing(digest)
            && !all[settled.len()..].contains(digest)
        {
            all.push(*digest);
        }
    }
    let pairs = Pairs::new(n, received, &all);
    let mut tally = LawTally::default();
    for y in 0..settled.len() {
        for x in 0..all.len() {
            if x == y || !pairs.is_forced(x, y) {
                continue;
            }
            tally.forced += 1;
            if x < y {
                continue;
            }
            let first = settled.get(x);
            if settled[y].is_after_cut {
                tally.after_cut += 1;
            } else if are_in_one_cycle(&all[x], &all[y]) {
                tally.in_cycle += 1;
            } else {
                return Err(format!(
                    "({:?}, {:?}) is forced and stands turned round: {:?} before {first:?}",
                    all[x], all[y], settled[y]
                ));
            }
        }
    }
    Ok(tally)
}

/// A settled envelope, in the order of settlement.
#[derive(Clone, Debug)]
struct Settled {
    digest: Digest,
    /// Its emission, or one before it, cut a wait short.
    is_after_cut: bool,
}

fn settled(chain: &Chain) -> Vec<Settled> {
    let mut settled = Vec::new();
    let mut cap_fired = false;
    // A cut stands in the first batch of its emission.
    let mut cut: Option<Round> = None;
    for batch in chain.batches() {
        let header = &batch.header;
        cap_fired |= header.cap_fired > 0;
        if header.group_wait_cut > 0 {
            cut = Some(header.anchor_round);
        }
        for digest in &batch.digests {
            settled.push(Settled {
                digest: *digest,
                is_after_cut: cap_fired || cut == Some(header.anchor_round),
            });
        }
    }
    settled
}

/// How many correct authorities received one before another.
struct Pairs {
    faulty: usize,
    /// For each authority the place of each envelope in its receive order.
    ranks: Vec<Vec<usize>>,
}

impl Pairs {
    fn new(n: usize, received: &[&[Digest]], all: &[Digest]) -> Self {
        let ranks = received
            .iter()
            .map(|list| {
                let place: BTreeMap<&Digest, usize> = list.iter().zip(0..).collect();
                all.iter()
                    .map(|digest| place.get(digest).copied().unwrap_or(usize::MAX))
                    .collect()
            })
            .collect();
        Self {
            faulty: faulty_max(n),
            ranks,
        }
    }

    fn before(&self, x: usize, y: usize) -> usize {
        self.ranks.iter().filter(|rank| rank[x] < rank[y]).count()
    }

    fn is_forced(&self, x: usize, y: usize) -> bool {
        self.before(x, y) > self.before(y, x) + 2 * self.faulty
    }
}

/// Judges and keeps the tally.
pub(crate) fn add(total: &mut LawTally, judged: Result<LawTally, String>) -> Found {
    let judged = judged?;
    total.forced += judged.forced;
    total.in_cycle += judged.in_cycle;
    total.after_cut += judged.after_cut;
    Ok(())
}
