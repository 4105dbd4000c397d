//! Cancel against take: who was ordered first, by how far apart they were due.
//!
//! A maker takes an order back while somebody else takes it. The two come over different connections, as those of two traders
//! do, and the places that the committee gives them decide who was in time. A fair order puts the earlier one first once they
//! are further apart than the authorities' links differ; where they are closer it has nothing to tell them apart by, and about
//! half is what a coin would give.
//!
//! Pure. Cost: O(1) a leg, O(races) at the end.

use std::collections::BTreeMap;

use fairlane_engine::types::BatchSeq;
use serde::{Deserialize, Serialize};

use crate::workload::synthetic::RACE_LEADS_US;

/// One of the two envelopes of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaceLeg {
    /// Which race of the run, from 0.
    pub race: u64,
    /// How much earlier than the take the cancel is due, in microseconds; negative if it is later.
    pub lead_us: i64,
    /// The take; else the cancel.
    pub is_take: bool,
}

/// The races of which the cancel was handed over so much earlier than the take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RaceOutcome {
    /// How much earlier, in microseconds, rounded to a lead that races are planned with; negative if later.
    pub lead_us: i64,
    /// How many races.
    pub races: u64,
    /// Those in which the cancel was ordered before the take.
    pub cancel_first: u64,
    /// Those in which the take was.
    pub take_first: u64,
    /// Those of which one was never ordered, or whose places in one batch were not heard.
    pub unknown: u64,
    /// How much earlier on average, in microseconds.
    pub sent_lead_mean_us: f64,
}

impl RaceOutcome {
    /// The part of the decided races in which the cancel was first; `None` where none was decided.
    pub fn cancel_first_part(&self) -> Option<f64> {
        let decided = self.cancel_first + self.take_first;
        (decided > 0).then(|| self.cancel_first as f64 / decided as f64)
    }
}

/// The races of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Races(BTreeMap<u64, Race>);

#[derive(Clone, Copy, Debug, Default)]
struct Race {
    cancel: Option<Leg>,
    take: Option<Leg>,
}

#[derive(Clone, Copy, Debug)]
struct Leg {
    tag: u64,
    sent_us: u64,
}

/// A place in the order; the index may not be known.
pub(crate) type Place = (BatchSeq, Option<u32>);

impl Races {
    /// Notes that a leg was sent as `tag`.
    pub(crate) fn on_sent(&mut self, leg: RaceLeg, tag: u64, sent_us: u64) {
        let race = self.0.entry(leg.race).or_default();
        let sent = Some(Leg { tag, sent_us });
        if leg.is_take {
            race.take = sent;
        } else {
            race.cancel = sent;
        }
    }

    /// What came of them, by lead; races of which only one leg was sent are left out.
    ///
    /// The lead is the one with which they were sent: a generator that is late for both sends them at once, and that
    /// says nothing of what the planned lead would have decided.
    pub(crate) fn outcomes(&self, place: impl Fn(u64) -> Option<Place>) -> Vec<RaceOutcome> {
        let mut by_lead: BTreeMap<i64, (RaceOutcome, f64)> = BTreeMap::new();
        for race in self.0.values() {
            let (Some(cancel), Some(take)) = (race.cancel, race.take) else {
                continue;
            };
            let sent_lead_us = take.sent_us as i64 - cancel.sent_us as i64;
            let lead_us = rounded(sent_lead_us);
            let (outcome, sum) = by_lead.entry(lead_us).or_default();
            outcome.lead_us = lead_us;
            outcome.races += 1;
            *sum += sent_lead_us as f64;
            match is_before(place(cancel.tag), place(take.tag)) {
                Some(true) => outcome.cancel_first += 1,
                Some(false) => outcome.take_first += 1,
                None => outcome.unknown += 1,
            }
        }
        let all = by_lead.into_values();
        all.map(|(outcome, sum)| RaceOutcome {
            sent_lead_mean_us: sum / outcome.races as f64,
            ..outcome
        })
        .collect()
    }
}

/// The planned lead that is nearest to it, by ratio; the middle lies between 0 and its neighbours.
fn rounded(lead_us: i64) -> i64 {
    let limit = |pair: &[i64]| match (pair[0], pair[1]) {
        (less, 0) => less as f64 / 2.0,
        (0, more) => more as f64 / 2.0,
        (less, more) => (less as f64 * more as f64).sqrt().copysign(more as f64),
    };
    let above = RACE_LEADS_US
        .windows(2)
        .filter(|pair| lead_us as f64 > limit(pair));
    RACE_LEADS_US[above.count()]
}

/// Whether one place is before another; `None` where that cannot be told.
fn is_before(one: Option<Place>, other: Option<Place>) -> Option<bool> {
    let ((seq, index), (other_seq, other_index)) = (one?, other?);
    if seq != other_seq {
        return Some(seq < other_seq);
    }
    Some(index? < other_index?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_is_decided_by_batch_then_by_index() {
        let place = |seq, index| Some((BatchSeq(seq), index));
        for (cancel, take, expected) in [
            (place(3, Some(9)), place(4, Some(0)), Some(true)),
            (place(4, None), place(3, None), Some(false)),
            (place(3, Some(1)), place(3, Some(2)), Some(true)),
            (place(3, Some(2)), place(3, Some(1)), Some(false)),
            (place(3, None), place(3, Some(1)), None),
            (None, place(3, Some(1)), None),
        ] {
            assert_eq!(is_before(cancel, take), expected, "{cancel:?} {take:?}");
        }
    }

    #[test]
    fn a_lead_is_rounded_to_the_nearest_planned_one() {
        for (lead_us, expected) in [
            (-90_000, -5_000),
            (-2_300, -5_000),
            (-2_200, -1_000),
            (-101, -200),
            (-99, -50),
            (-26, -50),
            (-24, 0),
            (0, 0),
            (24, 0),
            (26, 50),
            (440, 200),
            (450, 1_000),
            (90_000, 5_000),
        ] {
            assert_eq!(rounded(lead_us), expected, "{lead_us}");
        }
        for lead_us in RACE_LEADS_US {
            assert_eq!(rounded(lead_us), lead_us);
        }
    }

    #[test]
    fn races_are_counted_by_the_lead_with_which_they_were_sent() {
        let mut races = Races::default();
        let mut send = |race, lead_us, is_take, tag, sent_us| {
            races.on_sent(
                RaceLeg {
                    race,
                    lead_us,
                    is_take,
                },
                tag,
                sent_us,
            );
        };
        send(0, 50, false, 0, 1_000);
        send(0, 50, true, 1, 1_070);
        send(1, 50, false, 2, 2_000);
        send(1, 50, true, 3, 2_050);
        send(2, -50, true, 4, 3_000);
        send(2, -50, false, 5, 3_050);
        send(3, 50, false, 6, 4_000);
        // Due long apart, and sent as if at once.
        send(4, 5_000, false, 7, 5_000);
        send(4, 5_000, true, 8, 5_060);
        // Tag 3 is nowhere; the take of race 3 was never sent.
        let places = [
            (0, 0),
            (0, 1),
            (1, 0),
            (9, 9),
            (2, 0),
            (2, 1),
            (3, 0),
            (5, 1),
            (5, 0),
        ];
        let outcomes = races.outcomes(|tag| {
            let (seq, index) = places[tag as usize];
            (tag != 3).then_some((BatchSeq(seq), Some(index)))
        });
        let [late, early] = &outcomes[..] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(
            (late.lead_us, late.cancel_first, late.take_first),
            (-50, 0, 1)
        );
        assert_eq!((early.lead_us, early.races, early.unknown), (50, 3, 1));
        assert_eq!(early.cancel_first_part(), Some(0.5));
        assert!((early.sent_lead_mean_us - 60.0).abs() < 1e-9);
        assert_eq!(RaceOutcome::default().cancel_first_part(), None);
    }
}
