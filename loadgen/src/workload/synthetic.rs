//! Synthetic trading: orders and cancels, a few busy instruments and many quiet ones.
//!
//! When they are due is the schedule's; instruments follow Zipf's law with exponent 1; three records
//! of ten cancel one of the last orders; prices walk by ticks. Everything follows from the seed.

use super::{Arrival, Workload, WorkloadError};
use crate::arrivals::{Rate, Schedule, Spread};
use crate::content::Content;
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
    /// Ring of the latest orders that a cancel may name: (sequence, instrument).
    orders: Vec<(u64, usize)>,
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
        }
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
        let order = (self.sequence, instrument);
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
            quantity_e8: (1 + self.rng.next_below(1_000)) * LOT_E8,
            reference: 0,
        }
    }

    fn cancel(&mut self) -> TradeRecord {
        let at = self.rng.next_below(self.orders.len() as u64) as usize;
        let (reference, instrument) = self.orders[at];
        TradeRecord {
            kind: RecordKind::Cancel,
            side: None,
            symbol: symbol(instrument),
            sequence: self.sequence,
            source_time_ns: 0,
            price_e8: 0,
            quantity_e8: 0,
            reference,
        }
    }
}

impl Workload for Synthetic {
    fn next_arrival(&mut self) -> Result<Option<Arrival>, WorkloadError> {
        let Some(at_us) = self.schedule.next_us() else {
            return Ok(None);
        };
        let record = self.record();
        self.sequence += 1;
        let content = Content::Trade(record);
        Ok(Some(Arrival { at_us, content }))
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
const LOT_E8: u64 = UNIT_E8 / 1_000;

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
                RecordKind::Trade => panic!("nothing is traded before it is ordered"),
            }
        }
        let share = f64::from(cancels) / arrivals.len() as f64;
        assert!((0.25..0.35).contains(&share), "{share}");
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
