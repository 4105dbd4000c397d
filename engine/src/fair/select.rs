//! Which ready pairs an anchor emits: those that wait for nobody, and those that have waited long enough.
//!
//! Fairlane protocol, fair order, rules 1 to 3. A forced pair looks strong whenever its second is ready, so waiting for
//! strong predecessors is what keeps the law; the group wait and the cap bound what a client that builds cycles costs
//! others (the attack of Kelkar et al., Themis, CCS 2023).
//!
//! I1 Without cap and group wait, what is emitted is closed under strong predecessors, save overlooked ones.
//! I2 Overlooked pairs (unready, the cap fired waiting for them) are as if absent when it is asked who waits for whom;
//!    they still count when it is asked who belongs to one group.
//! I3 The group wait lets a pair go before unready members of its own group, never before an unready outsider that
//!    precedes it directly or through ready ones. (An outsider above an unready member alone is not waited for: that
//!    member was the only reason to.)
//!
//! Cost: O(m^2 / 64) word operations; where somebody waited ceil(D/8) anchors, O(m^2) steps more.

use super::bits::{Bits, ones};
use super::condense::Components;
use super::params::FairParams;
use super::precedence::Relation;

/// What the rules ask about one pending pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Listed by a quorum.
    pub(super) is_ready: bool,
    /// Unready, and the cap fired waiting for it.
    pub(super) is_overlooked: bool,
    /// Anchors at which it was ready and not emitted.
    pub(super) deferred: u32,
}

/// What one anchor emits, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// The pairs to emit.
    pub(super) emitted: Bits,
    /// Unready pairs that the cap waited for at this anchor.
    pub(super) overlooked: Bits,
    /// Pairs emitted because the group wait ended, without those that they took along.
    pub(super) group_wait_cut: u32,
    /// Pairs emitted because the cap fired, without those that they took along.
    pub(super) cap_fired: u32,
}

/// Applies rules 1 to 3 to pending pairs of these `standings`, related by `relation`.
pub(super) fn select(standings: &[Standing], relation: &Relation, params: FairParams) -> Selection {
    let set_of = |belongs: &dyn Fn(&Standing) -> bool| {
        let mut set = Bits::empty(standings.len());
        let members = standings
            .iter()
            .enumerate()
            .filter(|(_, standing)| belongs(standing));
        members.for_each(|(at, _)| set.insert(at));
        set
    };
    let ready = set_of(&|pair| pair.is_ready);
    let blocking = set_of(&|pair| !pair.is_ready && !pair.is_overlooked);
    let mut counted = ready.clone();
    counted.union(&blocking);

    let blocked = reached(&blocking, &counted, |at| relation.successors(at));
    let mut emitted = ready.clone();
    emitted.subtract(&blocked);
    let mut selection = Selection {
        emitted,
        ..Selection::default()
    };

    let has_waited = |anchors: u32, at: usize| standings[at].deferred >= anchors;
    let mut waiting = ready.clone();
    waiting.subtract(&selection.emitted);
    if waiting.iter().any(|at| has_waited(params.group_wait(), at)) {
        let mut late = waiting.clone();
        keep(&mut late, |at| has_waited(params.group_wait(), at));
        let freed = freed_by_group_wait(&late, &ready, &blocking, relation);
        selection.group_wait_cut = freed.count();
        let taken = reached(&freed, &ready, |at| relation.predecessors(at));
        selection.emitted.union(&taken);
    }
    waiting.subtract(&selection.emitted);
    if waiting
        .iter()
        .any(|at| has_waited(params.deferral_cap(), at))
    {
        let mut fired = waiting;
        keep(&mut fired, |at| has_waited(params.deferral_cap(), at));
        selection.cap_fired = fired.count();
        let taken = reached(&fired, &ready, |at| relation.predecessors(at));
        selection.emitted.union(&taken);
        let mut waited_for = reached(&fired, &counted, |at| relation.predecessors(at));
        waited_for.subtract(&ready);
        selection.overlooked = waited_for;
    }
    selection
}

/// Those of `late` that only unready members of their own group keep back.
fn freed_by_group_wait(late: &Bits, ready: &Bits, blocking: &Bits, relation: &Relation) -> Bits {
    let mut all = Bits::empty(relation.len());
    (0..relation.len()).for_each(|at| all.insert(at));
    let groups = Components::find(relation, &all);
    let kept_back = kept_back_by(&groups, ready, blocking, relation);
    let mut freed = late.clone();
    keep(&mut freed, |at| {
        kept_back[at] == KeptBack::By(groups.of(at))
    });
    freed
}

/// Whose unready members keep a pair back, directly or through ready pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeptBack {
    ByNobody,
    By(usize),
    BySeveral,
}

/// Spreads from the blocking pairs through ready ones who keeps each pair back. An answer changes at most twice.
fn kept_back_by(
    groups: &Components,
    ready: &Bits,
    blocking: &Bits,
    relation: &Relation,
) -> Vec<KeptBack> {
    let mut kept_back = vec![KeptBack::ByNobody; relation.len()];
    let mut open = ready.clone();
    let mut left: Vec<usize> = blocking.iter().collect();
    left.iter()
        .for_each(|at| kept_back[*at] = KeptBack::By(groups.of(*at)));
    while let Some(at) = left.pop() {
        let by = kept_back[at];
        for (word, row) in relation.successors(at).iter().enumerate() {
            for bit in ones(std::iter::once(row & open.words()[word])) {
                let next = word * 64 + bit;
                let joined = match kept_back[next] {
                    KeptBack::ByNobody => by,
                    known if known == by => continue,
                    _ => KeptBack::BySeveral,
                };
                if joined == KeptBack::BySeveral {
                    open.remove(next);
                }
                kept_back[next] = joined;
                left.push(next);
            }
        }
    }
    kept_back
}

/// `from`, and all that a walk along `row` reaches from it without leaving `through`.
fn reached<'a>(from: &Bits, through: &Bits, row: impl Fn(usize) -> &'a [u64]) -> Bits {
    let mut seen = from.clone();
    let mut left: Vec<usize> = from.iter().collect();
    while let Some(at) = left.pop() {
        for (word, row) in row(at).iter().enumerate() {
            let mut fresh = row & through.words()[word] & !seen.words()[word];
            while fresh != 0 {
                let next = word * 64 + fresh.trailing_zeros() as usize;
                fresh &= fresh - 1;
                seen.insert(next);
                left.push(next);
            }
        }
    }
    seen
}

/// Takes out of `set` what `belongs` refuses.
fn keep(set: &mut Bits, belongs: impl Fn(usize) -> bool) {
    let out: Vec<usize> = set.iter().filter(|at| !belongs(*at)).collect();
    out.into_iter().for_each(|at| set.remove(at));
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Standing = Standing {
        is_ready: true,
        is_overlooked: false,
        deferred: 0,
    };
    const UNREADY: Standing = Standing {
        is_ready: false,
        ..READY
    };
    const OVERLOOKED: Standing = Standing {
        is_overlooked: true,
        ..UNREADY
    };

    const fn waited(deferred: u32) -> Standing {
        Standing { deferred, ..READY }
    }

    /// Rules for five authorities and D = 64 over pairs 0.. with these standings and strong predecessors.
    fn selected(standings: &[Standing], edges: &[(usize, usize)]) -> (Vec<usize>, Selection) {
        let relation = Relation::drawn(standings.len(), edges);
        let params = FairParams::new(5, 1, 64).unwrap();
        let selection = select(standings, &relation, params);
        (selection.emitted.iter().collect(), selection)
    }

    #[test]
    fn an_unready_ancestor_holds_back_all_that_come_after_it() {
        let (emitted, selection) = selected(&[UNREADY, READY, READY, READY], &[(0, 1), (1, 2)]);
        assert_eq!(emitted, vec![3]);
        assert_eq!((selection.group_wait_cut, selection.cap_fired), (0, 0));
    }

    #[test]
    fn an_unready_pair_holds_back_through_other_unready_ones() {
        let (emitted, _) = selected(&[UNREADY, UNREADY, READY], &[(0, 1), (1, 2)]);
        assert!(emitted.is_empty());
    }

    #[test]
    fn an_unready_successor_holds_nobody_back() {
        let (emitted, _) = selected(&[READY, READY, UNREADY], &[(0, 1), (1, 2)]);
        assert_eq!(emitted, vec![0, 1]);
    }

    #[test]
    fn the_group_wait_ends_after_an_eighth_of_the_cap_and_not_before() {
        let cycle = [(0, 1), (1, 2), (2, 0)];
        assert!(
            selected(&[UNREADY, waited(7), waited(7)], &cycle)
                .0
                .is_empty()
        );
        let (emitted, selection) = selected(&[UNREADY, waited(8), waited(7)], &cycle);
        // 2 comes after 1 in the cycle: it is neither late itself nor a predecessor of 1 through ready ones.
        assert_eq!(emitted, vec![1]);
        assert_eq!((selection.group_wait_cut, selection.cap_fired), (1, 0));
        let (emitted, selection) = selected(&[UNREADY, waited(0), waited(8)], &cycle);
        assert_eq!(emitted, vec![1, 2], "2 takes its ready predecessor 1 along");
        assert_eq!(
            selection.group_wait_cut, 1,
            "what is taken along is not counted"
        );
    }

    #[test]
    fn the_group_wait_never_passes_an_unready_outsider() {
        let edges = [(0, 1), (1, 2), (2, 0), (3, 2)];
        let (emitted, _) = selected(&[UNREADY, waited(63), waited(63), UNREADY], &edges);
        assert_eq!(
            emitted,
            vec![1],
            "3 precedes 2 and is unready; 1 has only its own group above it"
        );
        let (emitted, _) = selected(&[UNREADY, waited(63), waited(63), READY], &edges);
        assert_eq!(emitted, vec![1, 2, 3]);
    }

    #[test]
    fn an_outsider_above_an_unready_member_alone_is_not_waited_for_after_the_group_wait() {
        let edges = [(0, 1), (1, 2), (2, 0), (3, 0)];
        assert!(
            selected(&[UNREADY, waited(7), waited(7), UNREADY], &edges)
                .0
                .is_empty()
        );
        assert_eq!(
            selected(&[UNREADY, waited(8), waited(8), UNREADY], &edges).0,
            vec![1, 2]
        );
    }

    #[test]
    fn the_cap_emits_regardless_with_ready_predecessors_and_overlooks_what_it_waited_for() {
        // 0 and 1 unready, 1 before 2; 3 ready before 4; 4 and 2 before 5; 6 after 1 alone.
        let edges = [(0, 1), (1, 2), (3, 4), (1, 4), (4, 5), (2, 5), (1, 6)];
        let standings = [
            UNREADY,
            UNREADY,
            waited(3),
            waited(3),
            waited(3),
            waited(64),
            waited(3),
        ];
        let (emitted, selection) = selected(&standings, &edges);
        assert_eq!(
            emitted,
            vec![2, 3, 4, 5],
            "6 is no predecessor of 5 and goes on waiting"
        );
        assert_eq!((selection.group_wait_cut, selection.cap_fired), (0, 1));
        assert_eq!(selection.overlooked.iter().collect::<Vec<_>>(), vec![0, 1]);
        let almost = [UNREADY, UNREADY, READY, READY, READY, waited(63), READY];
        assert_eq!(selected(&almost, &edges).0, vec![3]);
    }

    #[test]
    fn an_overlooked_pair_blocks_nobody_until_it_is_ready() {
        let edges = [(0, 1), (2, 0)];
        assert_eq!(selected(&[OVERLOOKED, READY, UNREADY], &edges).0, vec![1]);
        let again = Standing {
            is_ready: true,
            ..OVERLOOKED
        };
        assert_eq!(selected(&[again, READY, UNREADY], &edges).0, vec![]);
        assert_eq!(selected(&[again, READY, READY], &edges).0, vec![0, 1, 2]);
    }
}
