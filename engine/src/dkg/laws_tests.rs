//! Laws, over random committees, orders and faulty dealers.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::outcome::Outcome;
use super::trial::{Trial, Vice, WINDOW};
use crate::committee::Thresholds;

fn vice() -> impl Strategy<Value = Vice> {
    prop_oneof![
        Just(Vice::Silent),
        Just(Vice::Mute),
        any::<u8>().prop_map(Vice::WrongToOne),
        any::<u8>().prop_map(Vice::WrongThenAssures),
        Just(Vice::AssuresBadly),
        Just(Vice::Away),
        Just(Vice::WrongToAll),
        any::<u16>().prop_map(Vice::Junk),
        Just(Vice::FalseComplaints),
        Just(Vice::ForgedComplaints),
        Just(Vice::TwoDeals),
        Just(Vice::Late),
        Just(Vice::Copycat),
    ]
}

/// A committee, t, the order in which its members speak, up to f faulty with their vices, and t members.
#[derive(Clone, Debug)]
struct Case {
    threshold: u32,
    order: Vec<u8>,
    vices: Vec<Option<Vice>>,
    chosen: Vec<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop::sample::select(vec![1u8, 2, 3, 4, 5, 7, 10]);
    sizes.prop_flat_map(|n| {
        let thresholds = Thresholds::new(usize::from(n)).unwrap();
        let f = thresholds.faulty_max() as usize;
        let thresholds = thresholds.validity()..=thresholds.quorum();
        let all: Vec<u8> = (0..n).collect();
        let faulty = subsequence(all.clone(), 0..=f);
        let vices = prop::collection::vec(vice(), f);
        let order = Just(all).prop_shuffle();
        (thresholds, order, faulty, vices).prop_flat_map(
            move |(threshold, order, faulty, drawn)| {
                let mut vices = vec![None; usize::from(n)];
                for (author, vice) in faulty.iter().zip(drawn) {
                    vices[usize::from(*author)] = Some(match vice {
                        Vice::WrongToOne(victim) => Vice::WrongToOne(victim % n),
                        Vice::WrongThenAssures(victim) => Vice::WrongThenAssures(victim % n),
                        other => other,
                    });
                }
                let all: Vec<usize> = (0..usize::from(n)).collect();
                subsequence(all, threshold as usize).prop_map(move |chosen| Case {
                    threshold,
                    order: order.clone(),
                    vices: vices.clone(),
                    chosen,
                })
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_f_dealers_do_all_hold_shares_of_one_key_that_any_t_recover(case in cases()) {
        let n = case.order.len();
        let mut trial = Trial::new(n as u8, case.threshold);
        trial.run(&case.order, &case.vices);
        let (key, qualified) = trial.agreed();
        prop_assert_eq!(key.threshold(), case.threshold);
        prop_assert_eq!(qualified.len(), key.thresholds().quorum());
        for dealer in qualified.iter() {
            let vice = case.vices[dealer.as_usize()];
            let harmless = matches!(
                vice,
                None | Some(
                    Vice::Mute
                        | Vice::AssuresBadly
                        | Vice::FalseComplaints
                        | Vice::ForgedComplaints
                        | Vice::TwoDeals
                )
            );
            // A faulty victim may keep quiet about it.
            let unsaid = match vice {
                Some(Vice::WrongToOne(victim) | Vice::WrongThenAssures(victim)) => {
                    case.vices[usize::from(victim)].is_some()
                }
                _ => false,
            };
            prop_assert!(harmless || unsaid, "{:?} qualified", vice);
        }
        for (index, vice) in case.vices.iter().enumerate() {
            let is_correct = matches!(vice, None | Some(Vice::Away));
            prop_assert!(!is_correct || trial.secret(index).is_some(), "{} has a share", index);
        }
        let have = |index: &usize| trial.secret(*index).is_some();
        if case.chosen.iter().all(have) {
            prop_assert!(trial.recovers(&case.chosen));
            prop_assert!(!trial.recovers(&case.chosen[1..]));
        }
        prop_assert!(trial.anchors <= 3 * WINDOW);
    }

    /// More may be away than leave q dealers; then there is no key, and the old one stays.
    #[test]
    fn of_a_key_that_is_made_every_correct_one_has_a_share_however_many_are_away(
        case in cases(),
        away in prop::collection::vec(any::<bool>(), 10),
    ) {
        let mut vices = case.vices.clone();
        for (vice, is_away) in vices.iter_mut().zip(away) {
            if is_away && vice.is_none() {
                *vice = Some(Vice::Away);
            }
        }
        let mut trial = Trial::new(case.order.len() as u8, case.threshold);
        trial.run(&case.order, &vices);
        prop_assert!(trial.anchors <= 3 * WINDOW);
        if matches!(trial.outcomes[0], Outcome::Done(_)) {
            trial.agreed();
            for (index, vice) in vices.iter().enumerate() {
                let is_correct = matches!(vice, None | Some(Vice::Away));
                prop_assert!(!is_correct || trial.secret(index).is_some(), "{} has one", index);
            }
        }
    }
}
