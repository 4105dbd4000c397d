//! The rules of the fair order, each as a claim on small orders drawn as words: "AB" lists A, then B.

use super::*;
use crate::committee::Thresholds;
use crate::types::Digest;

/// An order under test. Drawn pairs are valid until 60 s, drawn anchors stand at 1 s.
struct Drawn(FairOrder);

impl Drawn {
    fn of(authorities: usize, deferral_cap: u32) -> Self {
        let thresholds = Thresholds::new(authorities).unwrap();
        Self(FairOrder::new((thresholds, deferral_cap)))
    }

    /// One anchor at `now_us` that appends `lists`.
    fn at(&mut self, now_us: u64, lists: &[Vec<Entry>]) -> Emission {
        let anchor = Anchor {
            consensus_time: TimestampUs(now_us),
            tie_seed: [3; 32],
            appends: lists,
        };
        self.0.step(&anchor)
    }

    fn emission(&mut self, lists: &[&str]) -> Emission {
        let drawn = |list: &&str| {
            list.bytes()
                .map(|letter| pair(letter, 60 * SECOND_US))
                .collect()
        };
        self.at(SECOND_US, &lists.iter().map(drawn).collect::<Vec<_>>())
    }

    /// The groups that an anchor with these lists emits, as words.
    fn groups(&mut self, lists: &[&str]) -> Vec<String> {
        words(&self.emission(lists))
    }

    /// Anchors with nothing to append until something is emitted: how many emitted nothing, and what came then.
    fn empty_anchors_until_emission(&mut self) -> (u32, Emission) {
        let nothing = vec![""; self.0.params.authorities() as usize];
        for silent in 0..1000 {
            let emission = self.emission(&nothing);
            if !emission.groups.is_empty() {
                return (silent, emission);
            }
        }
        panic!("a ready pair is emitted at last");
    }

    fn pending(&self) -> String {
        word(&self.0.pending().copied().collect::<Vec<_>>())
    }
}

fn pair(letter: u8, valid_until_us: u64) -> Entry {
    Entry {
        digest: Digest([letter; 32]),
        valid_until: TimestampUs(valid_until_us),
    }
}

fn word(entries: &[Entry]) -> String {
    let letters = entries.iter().map(|entry| char::from(entry.digest.0[0]));
    letters.collect()
}

fn words(emission: &Emission) -> Vec<String> {
    emission.groups.iter().map(|group| word(group)).collect()
}

/// `entry` appended by the authorities below `by` of `n`.
fn listed(entry: Entry, by: usize, n: usize) -> Vec<Vec<Entry>> {
    (0..n)
        .map(|authority| if authority < by { vec![entry] } else { vec![] })
        .collect()
}

const SECOND_US: u64 = 1_000_000;

// Rule 1: ready is listed by a quorum.

#[test]
fn a_pair_below_the_quorum_is_not_emitted() {
    let mut order = Drawn::of(4, 64);
    assert!(order.groups(&["A", "A", "", ""]).is_empty());
    assert_eq!(order.pending(), "A");
    assert_eq!(order.groups(&["", "", "A", ""]), ["A"]);
    assert_eq!(order.0.pending_len(), 0);
}

#[test]
fn a_pair_listed_often_by_one_authority_counts_once_and_at_its_first_place() {
    let mut order = Drawn::of(4, 64);
    assert!(order.groups(&["AAAA", "A", "", ""]).is_empty());
    assert!(order.groups(&["A", "A", "", ""]).is_empty());
    // A stands before B in the first two lists, whatever they repeat.
    assert_eq!(order.groups(&["BA", "BA", "AB", "B"]), ["A", "B"]);
}

#[test]
fn a_smaller_f_waits_for_more_lists() {
    let mut order = Drawn(FairOrder::new(FairParams::new(4, 0, 64).unwrap()));
    assert!(order.groups(&["A", "A", "A", ""]).is_empty());
    assert_eq!(order.groups(&["", "", "", "A"]), ["A"]);
}

#[test]
fn one_authority_alone_orders_as_it_lists() {
    let mut order = Drawn::of(1, 64);
    assert_eq!(order.groups(&["CAB"]), ["C", "A", "B"]);
}

// Rule 2: a ready pair waits for its unready strong ancestors.

#[test]
fn a_ready_pair_waits_for_an_unready_strong_predecessor() {
    let mut order = Drawn::of(5, 64);
    // A leads B 3 : 1, but only three list A and the quorum is four.
    assert!(order.groups(&["AB", "AB", "AB", "B", ""]).is_empty());
    assert_eq!(order.groups(&["", "", "", "A", ""]), ["A", "B"]);
}

#[test]
fn a_ready_pair_does_not_wait_for_one_that_half_a_quorum_puts_after_it() {
    let mut order = Drawn::of(5, 64);
    assert_eq!(order.groups(&["AB", "AB", "B", "B", ""]), ["B"]);
    assert_eq!(order.pending(), "A");
}

#[test]
fn a_ready_pair_waits_for_ancestors_known_only_through_others() {
    let mut order = Drawn::of(5, 64);
    // W before X 2 : 1 and X before Y 3 : 1, while W against Y is 2 : 2. W and X are unready.
    assert!(order.groups(&["WXY", "WXY", "XY", "Y", ""]).is_empty());
    // X is ready now, W is not and leads X 3 : 1: Y still waits for W, through X alone.
    assert!(order.groups(&["", "", "", "", "WX"]).is_empty());
    assert_eq!(order.groups(&["", "", "W", "", ""]), ["W", "X", "Y"]);
}

#[test]
fn an_ancestor_stops_blocking_once_the_lists_no_longer_let_it_be_forced() {
    let mut order = Drawn::of(5, 64);
    assert!(order.groups(&["WXY", "WXY", "XY", "Y", ""]).is_empty());
    // The fourth list has X without W: 2 : 2.
    assert_eq!(order.groups(&["", "", "", "X", ""]), ["X", "Y"]);
    assert_eq!(order.pending(), "W");
}

#[test]
fn those_who_wait_for_nobody_are_not_held_back_by_those_who_do() {
    let mut order = Drawn::of(5, 64);
    assert_eq!(order.groups(&["CAB", "CAB", "CAB", "CB", ""]), ["C"]);
    assert_eq!(order.pending(), "AB");
}

// Rule 3: waits are bounded.

/// n = 5: A > B > C > D > A, each 3 : 1; A is listed by three only, B, C and D by four.
const HALF_SEEN_CYCLE: [&str; 5] = ["ABCD", "DABC", "CDAB", "BCD", ""];

#[test]
fn a_cycle_with_an_unready_member_is_cut_after_an_eighth_of_the_cap() {
    for (cap, wait) in [(64, 8), (16, 2), (9, 2), (8, 1), (1, 1)] {
        let mut order = Drawn::of(5, cap);
        assert!(order.groups(&HALF_SEEN_CYCLE).is_empty());
        let (silent, emission) = order.empty_anchors_until_emission();
        assert_eq!(silent + 1, wait, "D = {cap}: so many anchors deferred them");
        assert_eq!(words(&emission), ["B", "C", "D"]);
        assert_eq!((emission.group_wait_cut, emission.cap_fired), (3, 0));
        assert_eq!(order.pending(), "A");
    }
}

#[test]
fn a_cycle_whose_members_become_ready_in_time_is_emitted_whole() {
    let mut order = Drawn::of(5, 64);
    assert!(order.groups(&HALF_SEEN_CYCLE).is_empty());
    let emission = order.emission(&["", "", "", "A", ""]);
    assert_eq!((emission.groups.len(), emission.groups[0].len()), (1, 4));
    assert_eq!((emission.group_wait_cut, emission.cap_fired), (0, 0));
}

#[test]
fn the_cap_fires_after_exactly_d_anchors_and_is_counted() {
    for cap in [1, 8, 64] {
        let mut order = Drawn::of(5, cap);
        assert!(order.groups(&["AB", "AB", "AB", "B", ""]).is_empty());
        let (silent, emission) = order.empty_anchors_until_emission();
        assert_eq!(silent + 1, cap);
        assert_eq!(words(&emission), ["B"]);
        assert_eq!((emission.group_wait_cut, emission.cap_fired), (0, 1));
    }
}

#[test]
fn the_cap_takes_ready_predecessors_along_in_their_place() {
    let mut order = Drawn::of(5, 4);
    // A and P unready; A leads B, and P leads B, and A leads P, all 3 : 1.
    assert!(order.groups(&["APB", "APB", "APB", "B", ""]).is_empty());
    // P becomes ready late, and waits for A too.
    assert!(order.groups(&["", "", "", "", "P"]).is_empty());
    let (silent, emission) = order.empty_anchors_until_emission();
    assert_eq!(silent + 2, 4);
    assert_eq!(words(&emission), ["P", "B"]);
    assert_eq!(
        emission.cap_fired, 1,
        "P was taken along, the cap did not fire for it"
    );
}

#[test]
fn what_the_cap_gave_up_on_blocks_nobody_until_it_is_ready() {
    let mut order = Drawn::of(5, 2);
    assert!(order.groups(&["AB", "AB", "AB", "B", ""]).is_empty());
    assert_eq!(words(&order.empty_anchors_until_emission().1), ["B"]);
    // A leads C 3 : 1 as it led B.
    let emission = order.emission(&["C", "C", "C", "C", ""]);
    assert_eq!(
        (words(&emission), emission.cap_fired),
        (vec!["C".into()], 0)
    );
    // E waits for the unready Z, not for A; with A ready, A leads E and goes first.
    assert!(order.groups(&["ZE", "ZE", "ZE", "E", ""]).is_empty());
    assert_eq!(order.groups(&["", "", "", "ZA", ""]), ["A", "Z", "E"]);
}

#[test]
fn without_patience_nothing_ready_ever_waits() {
    let mut order = Drawn::of(5, 0);
    assert_eq!(order.groups(&["AB", "AB", "AB", "B", ""]), ["B"]);
}

// Rule 4: the order of one emission. The parts have tests of their own; here they meet.

#[test]
fn what_is_emitted_together_follows_the_strong_relation_then_rank() {
    let mut order = Drawn::of(4, 64);
    // X leads Y everywhere. Z is not related to either (2 : 2) and has median rank 0, as X has: rank, then hash.
    let groups = order.groups(&["XYZ", "ZXY", "ZXY", "XYZ"]);
    let at = |letter: &str| groups.iter().position(|group| group == letter).unwrap();
    assert!(groups.len() == 3 && at("X") < at("Y") && at("Z") < at("Y"));
}

#[test]
fn ranks_do_not_count_what_was_emitted_before() {
    let mut order = Drawn::of(4, 64);
    // P, Q and R take the first places of two lists and leave; only then do Y and X meet, 2 : 2.
    assert_eq!(order.groups(&["PQR", "PQR", "PQR", ""]).len(), 3);
    // Ranks among what is left: Y 0 0 1 2, X 1 1 0 0, U 2 2 2 1. Counting P, Q, R they would be Y 3 3 4 2.
    let groups = order.groups(&["YXU", "YXU", "XYU", "XUY"]);
    assert_eq!(groups[2], "U");
    let mut tied = [pair(b'X', 0), pair(b'Y', 0)];
    tied.sort_by_key(|entry| *blake3::keyed_hash(&[3; 32], &entry.digest.0).as_bytes());
    assert_eq!(
        groups[..2].concat(),
        word(&tied),
        "equal lower medians, so the hash decides"
    );
}

// Expiry and memory.

#[test]
fn an_unready_pair_is_dropped_once_its_expiry_is_past() {
    let mut order = Drawn::of(4, 64);
    let entry = pair(b'A', 10 * SECOND_US);
    assert!(order.at(SECOND_US, &listed(entry, 2, 4)).dropped.is_empty());
    assert!(
        order
            .at(10 * SECOND_US, &listed(entry, 0, 4))
            .dropped
            .is_empty()
    );
    assert_eq!(
        order.at(10 * SECOND_US + 1, &listed(entry, 0, 4)).dropped,
        [entry]
    );
    assert_eq!(order.0.pending_len(), 0);
}

#[test]
fn a_pair_valid_for_longer_than_ninety_seconds_is_dropped_unless_a_quorum_lists_it() {
    let mut order = Drawn::of(4, 64);
    let far = pair(b'A', 91 * SECOND_US + 1);
    let near = pair(b'B', 91 * SECOND_US);
    assert_eq!(order.at(SECOND_US, &listed(far, 2, 4)).dropped, [far]);
    assert_eq!(order.at(SECOND_US, &listed(far, 3, 4)).groups, [[far]]);
    assert!(order.at(SECOND_US, &listed(near, 2, 4)).dropped.is_empty());
}

#[test]
fn a_pair_dropped_too_far_ahead_may_be_listed_again_in_its_time() {
    let mut order = Drawn::of(4, 64);
    let entry = pair(b'A', 95 * SECOND_US);
    assert_eq!(order.at(SECOND_US, &listed(entry, 2, 4)).dropped, [entry]);
    assert!(
        order
            .at(6 * SECOND_US, &listed(entry, 2, 4))
            .dropped
            .is_empty()
    );
    assert!(
        order
            .at(6 * SECOND_US, &listed(entry, 2, 4))
            .groups
            .is_empty(),
        "two lists, not four"
    );
}

#[test]
fn a_ready_pair_does_not_expire() {
    let mut order = Drawn::of(5, 64);
    let (first, second) = (pair(b'A', 60 * SECOND_US), pair(b'B', 10 * SECOND_US));
    let both = vec![first, second];
    let lists = [both.clone(), both.clone(), both, vec![second], vec![]];
    assert!(order.at(SECOND_US, &lists).groups.is_empty());
    let emission = order.at(20 * SECOND_US, &listed(first, 0, 5));
    assert_eq!(
        (
            emission.groups.len(),
            emission.dropped.len(),
            order.0.pending_len()
        ),
        (0, 0, 2)
    );
    // B is long past its expiry and still goes out, after A.
    let lists = [vec![], vec![], vec![], vec![first], vec![]];
    assert_eq!(words(&order.at(30 * SECOND_US, &lists)), ["A", "B"]);
}

#[test]
fn a_dropped_predecessor_no_longer_blocks() {
    let mut order = Drawn::of(5, 64);
    let (first, second) = (pair(b'A', 10 * SECOND_US), pair(b'B', 60 * SECOND_US));
    let both = vec![first, second];
    let lists = [both.clone(), both.clone(), both, vec![second], vec![]];
    assert!(order.at(SECOND_US, &lists).groups.is_empty());
    let emission = order.at(11 * SECOND_US, &listed(first, 0, 5));
    assert_eq!(
        (words(&emission), emission.dropped),
        (vec!["B".into()], vec![first])
    );
}

#[test]
fn a_pair_listed_again_after_its_emission_is_not_emitted_again() {
    let mut order = Drawn::of(4, 64);
    let entry = pair(b'A', 60 * SECOND_US);
    assert_eq!(order.at(SECOND_US, &listed(entry, 3, 4)).groups, [[entry]]);
    for now_us in [SECOND_US, 60 * SECOND_US] {
        assert_eq!(order.at(now_us, &listed(entry, 4, 4)), Emission::default());
        assert_eq!(order.0.pending_len(), 0);
    }
    // Once it has expired, its memory is gone, and what 2f authorities can still do is dropped at once.
    let late = order.at(60 * SECOND_US + 1, &listed(entry, 2, 4));
    assert_eq!((late.groups.len(), late.dropped), (0, vec![entry]));
}

#[test]
fn one_digest_with_two_expiries_is_two_pairs() {
    let mut order = Drawn::of(4, 64);
    let (one, other) = (pair(b'A', 60 * SECOND_US), pair(b'A', 61 * SECOND_US));
    let lists = [vec![one], vec![one], vec![one, other], vec![other]];
    assert_eq!(order.at(SECOND_US, &lists).groups, [[one]]);
    assert_eq!(order.0.pending_len(), 1);
}

#[test]
fn consensus_time_never_goes_back() {
    let mut order = Drawn::of(4, 64);
    let entry = pair(b'A', 10 * SECOND_US);
    order.at(20 * SECOND_US, &listed(entry, 0, 4));
    assert_eq!(order.at(SECOND_US, &listed(entry, 2, 4)).dropped, [entry]);
}

// What the idle rule asks.

#[test]
fn the_idle_question_follows_the_most_listed_pending_pair() {
    let mut order = Drawn::of(5, 64);
    assert!(!order.0.is_pending_listed_by(0), "nothing is pending");
    order.groups(&["AB", "A", "", "", ""]);
    assert!(order.0.is_pending_listed_by(2) && !order.0.is_pending_listed_by(3));
    order.groups(&["", "", "A", "A", ""]);
    assert_eq!(order.pending(), "B");
    assert!(order.0.is_pending_listed_by(1) && !order.0.is_pending_listed_by(2));
}

#[test]
#[should_panic(expected = "one list an authority")]
fn an_anchor_for_another_committee_is_our_own_bug() {
    Drawn::of(4, 64).groups(&["A", "A", "A"]);
}

/// Traffic in which authorities disagree and pairs wait, cut in two by the encoding of the state.
#[test]
fn an_order_read_back_from_its_state_goes_on_alike() {
    let mut random = 7u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let params = FairParams::new(4, 1, 6).unwrap();
    let mut order = FairOrder::new(params);
    let (mut waited, mut emitted) = (0, 0);
    for step in 0..400u64 {
        let mut appends = vec![Vec::new(); 4];
        for list in &mut appends {
            for _ in 0..draw(4) {
                let id = step / 2 + draw(6);
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&id.to_be_bytes());
                list.push(Entry {
                    digest: Digest(digest),
                    valid_until: TimestampUs(1_000 * id + 20_000),
                });
            }
        }
        let anchor = Anchor {
            consensus_time: TimestampUs(500 * step),
            tie_seed: [step as u8; 32],
            appends: &appends,
        };
        let (mut state, mut emissions) = (Vec::new(), Vec::new());
        order.encode_state(&mut state);
        for entries in order.emissions() {
            encode_pairs(&entries, &mut emissions);
        }
        let (mut state, mut emissions) = (Reader::new(&state), Reader::new(&emissions));
        let mut restored = FairOrder::decode_state(params, &mut state, &mut emissions).unwrap();
        assert_eq!((state.left(), emissions.left()), (0, 0));
        let emission = order.step(&anchor);
        assert_eq!(restored.step(&anchor), emission, "step {step}");
        assert_eq!(restored.emitted_len(), order.emitted_len(), "step {step}");
        waited += order.pending_len();
        emitted += emission.groups.len();
    }
    assert!(waited > 400 && emitted > 100, "{waited}, {emitted}");
}

#[test]
fn a_pair_that_was_past_before_it_was_listed_is_dropped_however_many_list_it() {
    let mut order = Drawn::of(4, 8);
    let late = pair(b'A', 2 * SECOND_US);
    assert!(order.at(SECOND_US, &listed(late, 1, 4)).groups.is_empty());
    let nothing = listed(late, 0, 4);
    assert_eq!(order.at(3 * SECOND_US, &nothing).dropped, [late]);
    // The three that had not listed it do so within one anchor: its bytes are gone everywhere.
    let emission = order.at(4 * SECOND_US, &listed(late, 3, 4));
    assert_eq!((words(&emission).len(), emission.dropped), (0, vec![late]));
}

#[test]
fn a_pair_that_becomes_ready_at_the_anchor_at_which_it_would_be_dropped_is_emitted() {
    let mut order = Drawn::of(4, 8);
    let late = pair(b'A', 2 * SECOND_US);
    assert!(order.at(SECOND_US, &listed(late, 2, 4)).groups.is_empty());
    let emission = order.at(3 * SECOND_US, &listed(late, 4, 4));
    assert_eq!(words(&emission), ["A"]);
}
