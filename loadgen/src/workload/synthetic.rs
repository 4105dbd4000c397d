//! Synthetic trading: orders and cancels, a few busy instruments and many quiet ones.
//!
//! When they are due is the schedule's; instruments follow Zipf's law with exponent 1; three records
//! of ten cancel one of the last orders; prices walk by ticks, sizes are those of a real feed. Everything follows from the seed.
//!
//! With races ([`Synthetic::with_races`]) a part of the records are pairs: the cancel of an order and, by somebody else, the
//! take of it, due up to 5 ms before or after it. A pair takes two places of the schedule, so the rate stays what it is.

use std::collections::BTreeMap;

use super::{Arrival, Workload, WorkloadError, quantity};
use crate::arrivals::{Rate, Schedule, Spread};
use crate::content::Content;
use crate::races::RaceLeg;
use crate::record::{RecordKind, Side, Symbol, TradeRecord};
use crate::rng::Rng;

/// The generator.
#[derive(Clone, Debug)]
pub struct Synthetic {
    rng: Rng,
    schedule: Schedule,
    sequence: u64,
    /// Cumulative weight of each instrument, ascending; its number is the index.
    weights: Vec<f64>,
    prices_e8: Vec<u64>,
    /// Ring of the latest orders that a cancel may name.
    orders: Vec<KeptOrder>,
    /// Part of the schedule's places at which a race begins.
    races_share: f64,
    races: u64,
    /// The schedule's next place, if it was looked at already.
    place: Option<u64>,
    /// The second legs of races, by when they are due and which race it is.
    later: BTreeMap<(u64, u64), (KeptOrder, RaceLeg)>,
}

#[derive(Clone, Copy, Debug)]
struct KeptOrder {
    sequence: u64,
    instrument: usize,
    side: Side,
    price_e8: u64,
    quantity_e8: u64,
}

impl Synthetic {
    /// `rate` a second on average for `duration_us`, exponential gaps as of many independent traders. Errors: a rate that
    /// is no pace.
    pub fn new(rate: f64, duration_us: u64, seed: u64) -> Result<Self, WorkloadError> {
        let rate = Rate::Constant(rate);
        let schedule = Schedule::new(&rate, Spread::Poisson, duration_us, seed)?;
        Ok(Self::on(schedule, seed))
    }

    /// One record at each time of `schedule`.
    pub fn on(schedule: Schedule, seed: u64) -> Self {
        let mut total = 0.0;
        let weights = (1..=INSTRUMENTS).map(|rank| {
            total += 1.0 / rank as f64;
            total
        });
        Self {
            // Another stream than the schedule's.
            rng: Rng::new(!seed),
            schedule,
            sequence: 0,
            weights: weights.collect(),
            prices_e8: (1..=INSTRUMENTS as u64)
                .map(|rank| rank * 100 * UNIT_E8)
                .collect(),
            orders: Vec::with_capacity(ORDERS_KEPT),
            races_share: 0.0,
            races: 0,
            place: None,
            later: BTreeMap::new(),
        }
    }

    /// `share` of all records are those of races, two each. Errors: no part.
    pub fn with_races(self, share: f64) -> Result<Self, WorkloadError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(WorkloadError::Races(share));
        }
        // A race takes two places: with r races and s single records, 2 r / (2 r + s) = share.
        let races_share = share / (2.0 - share);
        Ok(Self {
            races_share,
            ..self
        })
    }

    fn instrument(&mut self) -> usize {
        let total = self.weights[INSTRUMENTS - 1];
        let at = self.rng.next_unit() * total;
        let index = self.weights.partition_point(|weight| *weight < at);
        index.min(INSTRUMENTS - 1)
    }

    fn record(&mut self) -> TradeRecord {
        if !self.orders.is_empty() && self.rng.next_below(10) < CANCELS_OF_TEN {
            return self.cancel();
        }
        let instrument = self.instrument();
        let side = if self.rng.next_below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        // One tick down, none or up, and never below one tick.
        let price = &mut self.prices_e8[instrument];
        *price = (*price + self.rng.next_below(3) * TICK_E8)
            .saturating_sub(TICK_E8)
            .max(TICK_E8);
        let (price_e8, slot) = (*price, self.sequence as usize % ORDERS_KEPT);
        let quantity_e8 = quantity::draw(&mut self.rng);
        let order = KeptOrder {
            sequence: self.sequence,
            instrument,
            side,
            price_e8,
            quantity_e8,
        };
        match self.orders.get_mut(slot) {
            Some(kept) => *kept = order,
            None => self.orders.push(order),
        }
        TradeRecord {
            kind: RecordKind::Order,
            side: Some(side),
            symbol: symbol(instrument),
            sequence: self.sequence,
            source_time_ns: 0,
            price_e8,
            quantity_e8,
            reference: 0,
        }
    }

    fn cancel(&mut self) -> TradeRecord {
        let order = self.kept_order();
        self.cancel_of(&order)
    }

    fn kept_order(&mut self) -> KeptOrder {
        let at = self.rng.next_below(self.orders.len() as u64) as usize;
        self.orders[at]
    }

    fn cancel_of(&self, order: &KeptOrder) -> TradeRecord {
        TradeRecord {
            kind: RecordKind::Cancel,
            side: None,
            symbol: symbol(order.instrument),
            sequence: self.sequence,
            source_time_ns: 0,
            price_e8: 0,
            quantity_e8: 0,
            reference: order.sequence,
        }
    }

    fn take_of(&self, order: &KeptOrder) -> TradeRecord {
        TradeRecord {
            kind: RecordKind::Take,
            side: Some(match order.side {
                Side::Buy => Side::Sell,
                Side::Sell => Side::Buy,
            }),
            price_e8: order.price_e8,
            quantity_e8: order.quantity_e8,
            ..self.cancel_of(order)
        }
    }

    /// The first leg of a race at `at_us`; the second one is kept for its time.
    fn begin_race(&mut self, at_us: u64) -> Arrival {
        let order = self.kept_order();
        let drawn = self.rng.next_below(RACE_LEADS_US.len() as u64) as usize;
        let lead_us = RACE_LEADS_US[drawn];
        let is_take = match lead_us {
            0 => self.rng.next_below(2) == 0,
            _ => lead_us < 0,
        };
        let leg = RaceLeg {
            race: self.races,
            lead_us,
            is_take,
        };
        let other = RaceLeg {
            is_take: !is_take,
            ..leg
        };
        let key = (at_us + lead_us.unsigned_abs(), self.races);
        self.later.insert(key, (order, other));
        self.races += 1;
        // It stands for two records.
        self.place = None;
        let _ = self.schedule.next_us();
        self.leg(at_us, &order, leg)
    }

    fn leg(&mut self, at_us: u64, order: &KeptOrder, leg: RaceLeg) -> Arrival {
        let record = match leg.is_take {
            true => self.take_of(order),
            false => self.cancel_of(order),
        };
        self.sequence += 1;
        Arrival {
            race: Some(leg),
            ..Arrival::new(at_us, Content::Trade(record))
        }
    }
}

impl Workload for Synthetic {
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError> {
        self.place = self.place.or_else(|| self.schedule.next_us());
        if let Some(entry) = self.later.first_entry()
            && self.place.is_none_or(|place| entry.key().0 <= place)
        {
            let ((at_us, _), (order, leg)) = entry.remove_entry();
            return Ok(Some(self.leg(at_us, &order, leg)));
        }
        let Some(at_us) = self.place.take() else {
            return Ok(None);
        };
        let is_race = self.races_share > 0.0 && self.rng.next_unit() < self.races_share;
        if is_race && !self.orders.is_empty() {
            return Ok(Some(self.begin_race(at_us)));
        }
        let record = self.record();
        self.sequence += 1;
        Ok(Some(Arrival::new(at_us, Content::Trade(record))))
    }

    fn has_races(&self) -> bool {
        self.races_share > 0.0
    }
}

fn symbol(instrument: usize) -> Symbol {
    Symbol::new(&format!("FL{instrument:03}USDT")).expect("nine visible characters")
}

/// How many instruments are traded.
const INSTRUMENTS: usize = 64;
/// How many of the latest orders a cancel may name.
const ORDERS_KEPT: usize = 256;
const CANCELS_OF_TEN: u64 = 3;
const UNIT_E8: u64 = 100_000_000;
const TICK_E8: u64 = UNIT_E8 / 100;
/// By how much cancels lead takes in races, in microseconds; negative where the take leads.
pub const RACE_LEADS_US: [i64; 9] = [-5_000, -1_000, -200, -50, 0, 50, 200, 1_000, 5_000];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn all(rate: f64, seconds: u64, seed: u64) -> Vec<Arrival> {
        let mut workload = Synthetic::new(rate, seconds * 1_000_000, seed).unwrap();
        std::iter::from_fn(|| workload.next_arrival().unwrap()).collect()
    }

    #[test]
    fn the_rate_is_met_and_gaps_are_those_of_a_poisson_process() {
        let arrivals = all(1_000.0, 20, 7);
        // 20,000 expected, standard deviation 141.
        assert!(
            (19_400..20_600).contains(&arrivals.len()),
            "{}",
            arrivals.len()
        );
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at_us));
        assert!(arrivals.iter().all(|arrival| arrival.at_us < 20_000_000));
        let mean = arrivals.len() as f64 / 20_000.0;
        let mut per_ms = vec![0.0; 20_000];
        for arrival in &arrivals {
            per_ms[(arrival.at_us / 1_000) as usize] += 1.0;
        }
        let variance = per_ms
            .iter()
            .map(|count| (count - mean) * (count - mean))
            .sum::<f64>()
            / 20_000.0;
        // Even spacing would give a variance near 0, a Poisson process one equal to its mean.
        assert!(
            (0.9..1.1).contains(&(variance / mean)),
            "{variance} / {mean}"
        );
    }

    #[test]
    fn a_seed_gives_one_workload_and_another_seed_another() {
        assert_eq!(all(500.0, 2, 1), all(500.0, 2, 1));
        assert_ne!(all(500.0, 2, 1), all(500.0, 2, 2));
    }

    #[test]
    fn records_are_unique_and_cancels_name_earlier_orders_of_their_instrument() {
        let arrivals = all(1_000.0, 5, 3);
        let mut orders = BTreeMap::new();
        let mut cancels = 0;
        let mut payloads = BTreeSet::new();
        for (at, arrival) in arrivals.iter().enumerate() {
            let record = arrival.content.trade().unwrap();
            assert_eq!(record.sequence, at as u64);
            assert!(payloads.insert(record.encode(128)));
            match record.kind {
                RecordKind::Order => {
                    assert!(record.price_e8 > 0 && record.quantity_e8 > 0);
                    orders.insert(record.sequence, record.symbol.name().to_owned());
                }
                RecordKind::Cancel => {
                    cancels += 1;
                    assert_eq!(orders[&record.reference], record.symbol.name());
                }
                other => panic!("{other:?} without a race"),
            }
        }
        let share = f64::from(cancels) / arrivals.len() as f64;
        assert!((0.25..0.35).contains(&share), "{share}");
    }

    #[test]
    fn races_are_pairs_about_one_order_so_far_apart_as_they_say_and_keep_the_rate() {
        let plain = all(1_000.0, 20, 3).len();
        let raced = Synthetic::new(1_000.0, 20_000_000, 3).unwrap();
        let mut raced = raced.with_races(0.2).unwrap();
        assert!(raced.has_races());
        let arrivals = std::iter::from_fn(|| raced.next_arrival().unwrap());
        let arrivals: Vec<Arrival> = arrivals.collect();
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at_us));
        assert!(
            arrivals.len().abs_diff(plain) < 5 * 141,
            "{}",
            arrivals.len()
        );
        let mut legs: BTreeMap<u64, Vec<(&Arrival, RaceLeg)>> = BTreeMap::new();
        for (at, arrival) in arrivals.iter().enumerate() {
            let record = arrival.content.trade().unwrap();
            assert_eq!(record.sequence, at as u64);
            match arrival.race {
                Some(leg) => legs.entry(leg.race).or_default().push((arrival, leg)),
                None => assert_ne!(record.kind, RecordKind::Take),
            }
        }
        let part = 2.0 * legs.len() as f64 / arrivals.len() as f64;
        assert!((0.17..0.23).contains(&part), "{part}");
        let mut leads = BTreeSet::new();
        for pair in legs.values() {
            assert_eq!(pair.len(), 2);
            let of = |is_take| pair.iter().find(|(_, leg)| leg.is_take == is_take).unwrap();
            let ((take, leg), (cancel, _)) = (of(true), of(false));
            assert_eq!(take.at_us as i64 - cancel.at_us as i64, leg.lead_us);
            leads.insert(leg.lead_us);
            let [take, cancel] = [take, cancel].map(|leg| leg.content.trade().unwrap());
            assert_eq!(take.kind, RecordKind::Take);
            assert_eq!(cancel.kind, RecordKind::Cancel);
            assert_eq!(
                (take.reference, take.symbol),
                (cancel.reference, cancel.symbol)
            );
            assert_eq!(
                arrivals[take.reference as usize].content.subject(),
                take.reference
            );
        }
        assert_eq!(leads, RACE_LEADS_US.into());
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(
                Synthetic::new(1.0, 1, 1)
                    .unwrap()
                    .with_races(share)
                    .is_err()
            );
        }
    }

    #[test]
    fn a_few_instruments_have_most_of_the_orders() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for arrival in all(1_000.0, 10, 5) {
            *counts
                .entry(arrival.content.trade().unwrap().symbol.name().to_owned())
                .or_default() += 1;
        }
        assert!(counts.len() > 50, "quiet ones are there too");
        let (first, second) = (counts["FL000USDT"], counts["FL001USDT"]);
        assert!(
            first > 3 * second / 2 && first < 3 * second,
            "{first} and {second}: Zipf halves"
        );
    }
}
