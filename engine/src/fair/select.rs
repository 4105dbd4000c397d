//! Which ready pairs an anchor emits: those that wait for nobody, and those that have waited long enough.
//!
//! Fairlane protocol, fair order, rules 1 to 3. A forced pair looks strong whenever its second is ready, so waiting for
//! strong predecessors is what keeps the law; the group wait and the cap bound what a client that builds cycles costs
//! others (the attack of Kelkar et al., Themis, CCS 2023).
//!
//! Rule 2 looks at ready pairs alone ([`unblocked`]): a walk from a blocking pair to a ready one enters the ready ones
//! somewhere, and the last blocking pair on it strongly precedes a ready one. Rule 3 looks at those that have waited and
//! at whatever precedes them ([`late`]): their group lies within that, and so does who keeps them back.
//!
//! I1 Without cap and group wait, what is emitted is closed under strong predecessors, save overlooked ones.
//! I2 Overlooked pairs (unready, the cap fired waiting for them) are as if absent when it is asked who waits for whom;
//!    they still count when it is asked who belongs to one group.
//! I3 The group wait lets a pair go before unready members of its own group, never before an unready outsider that
//!    precedes it directly or through ready ones. (An outsider above an unready member alone is not waited for: that
//!    member was the only reason to.)
//!
//! Cost: rule 2 a walk over the relation of the ready; rule 3, where somebody has waited ceil(D/8) anchors, a walk over that
//! of their ancestors, a group search, and a step for each edge between ready ones.

use super::bits::Bits;
use super::condense::Components;
use super::params::FairParams;
use super::precedence::{Relation, Way, reached};

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

/// What the end of a wait emits, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    /// The pairs to emit.
    pub(super) emitted: Bits,
    /// Unready pairs that the cap waited for at this anchor.
    pub(super) overlooked: Bits,
    /// Pairs emitted because the group wait ended, without those that they took along.
    pub(super) group_wait_cut: u32,
    /// Pairs emitted because the cap fired, without those that they took along.
    pub(super) cap_fired: u32,
}

/// Rule 2: the `ready` ones that no walk among them reaches from the `kept_back`, whom a blocking pair precedes.
pub(super) fn unblocked(relation: &Relation, ready: &Bits, kept_back: &Bits) -> Bits {
    let mut emitted = ready.clone();
    if !kept_back.is_empty() {
        emitted.subtract(&reached(relation, kept_back, ready, Way::Along));
    }
    emitted
}

/// Rule 3: what is emitted besides `emitted`, to which it is added, for those of `waiting` that have waited long enough.
///
/// `relation` is over pending pairs of these `standings` (none where there is no node), all that strongly precede one of
/// them or of those above them among them.
pub(super) fn late(
    standings: &[Option<Standing>],
    relation: &Relation,
    params: FairParams,
    waiting: &Bits,
) -> Late {
    let set_of = |belongs: &dyn Fn(&Standing) -> bool| {
        let mut set = Bits::empty(relation.len());
        for (at, standing) in standings.iter().enumerate() {
            if standing.as_ref().is_some_and(belongs) {
                set.insert(at);
            }
        }
        set
    };
    let all = set_of(&|_| true);
    let ready = set_of(&|pair| pair.is_ready);
    let blocking = set_of(&|pair| !pair.is_ready && !pair.is_overlooked);
    let mut waiting = waiting.clone();
    let mut found = Late {
        emitted: Bits::empty(relation.len()),
        overlooked: Bits::empty(relation.len()),
        ..Late::default()
    };

    let mut freed = waiting.clone();
    freed.intersect(&set_of(&|pair| pair.deferred >= params.group_wait()));
    let groups = Components::find(relation, &all);
    let kept_back = kept_back_by(&groups, &ready, &blocking, relation);
    keep(&mut freed, |at| {
        kept_back[at] == KeptBack::By(groups.of(at))
    });
    found.group_wait_cut = freed.count();
    found
        .emitted
        .union(&reached(relation, &freed, &ready, Way::Against));

    waiting.subtract(&found.emitted);
    let mut fired = waiting;
    fired.intersect(&set_of(&|pair| pair.deferred >= params.deferral_cap()));
    found.cap_fired = fired.count();
    found
        .emitted
        .union(&reached(relation, &fired, &ready, Way::Against));
    let mut counted = ready.clone();
    counted.union(&blocking);
    found.overlooked = reached(relation, &fired, &counted, Way::Against);
    found.overlooked.subtract(&ready);
    found
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
        let mut spread = |block: usize, mask: u64| {
            let mut rest = mask & open.words()[block];
            while rest != 0 {
                let next = block * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                kept_back[next] = match kept_back[next] {
                    KeptBack::ByNobody => by,
                    known if known == by => continue,
                    _ => KeptBack::BySeveral,
                };
                if kept_back[next] == KeptBack::BySeveral {
                    open.remove(next);
                }
                left.push(next);
            }
        };
        let row = relation.successors(at);
        for (block, word) in row.blocks.iter().zip(row.words) {
            spread(*block as usize, *word);
        }
        for block in &relation.by_begin()[relation.first_after(at)..] {
            spread(*block as usize, u64::MAX);
        }
    }
    kept_back
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
    fn selected(standings: &[Standing], edges: &[(usize, usize)]) -> (Vec<usize>, Late) {
        let relation = Relation::drawn(standings.len(), edges);
        let params = FairParams::new(5, 1, 64).unwrap();
        let set_of = |belongs: &dyn Fn(usize) -> bool| {
            let mut set = Bits::empty(relation.len());
            (0..standings.len())
                .filter(|at| belongs(*at))
                .for_each(|at| set.insert(at));
            set
        };
        let ready = set_of(&|at| standings[at].is_ready);
        let is_blocking = |at: usize| !standings[at].is_ready && !standings[at].is_overlooked;
        let kept_back = set_of(&|at| {
            let mut into = edges.iter().filter(|(_, to)| *to == at);
            standings[at].is_ready && into.any(|(from, _)| is_blocking(*from))
        });
        let mut emitted = unblocked(&relation, &ready, &kept_back);
        let mut waiting = ready.clone();
        waiting.subtract(&emitted);
        keep(&mut waiting, |at| {
            standings[at].deferred >= params.group_wait()
        });
        if waiting.is_empty() {
            return (emitted.iter().collect(), Late::default());
        }
        let standings: Vec<_> = standings.iter().copied().map(Some).collect();
        let late = late(&standings, &relation, params, &waiting);
        emitted.union(&late.emitted);
        (emitted.iter().collect(), late)
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
