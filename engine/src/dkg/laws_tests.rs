//! Laws, over random committees, orders and faulty dealers.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::trial::{Trial, Vice, WINDOW};
use crate::committee::Thresholds;

fn vice() -> impl Strategy<Value = Vice> {
    prop_oneof![
        Just(Vice::Silent),
        Just(Vice::Mute),
        any::<u8>().prop_map(Vice::WrongToOne),
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
    #![proptest_config(ProptestConfig::with_cases(96))]

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
                    Vice::Mute | Vice::FalseComplaints | Vice::ForgedComplaints | Vice::TwoDeals
                )
            );
            // A faulty victim may keep quiet about it.
            let unsaid = match vice {
                Some(Vice::WrongToOne(victim)) => case.vices[usize::from(victim)].is_some(),
                _ => false,
            };
            prop_assert!(harmless || unsaid, "{:?} qualified", vice);
        }
        for (index, vice) in case.vices.iter().enumerate() {
            prop_assert!(vice.is_some() || trial.secret(index).is_some(), "{} has a share", index);
        }
        let have = |index: &usize| trial.secret(*index).is_some();
        if case.chosen.iter().all(have) {
            prop_assert!(trial.recovers(&case.chosen));
            prop_assert!(!trial.recovers(&case.chosen[1..]));
        }
        prop_assert!(trial.anchors < 2 * WINDOW);
    }
}
