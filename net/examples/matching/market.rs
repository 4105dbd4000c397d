//! The market: a book an instrument, limit orders matched by price, then by place in the settled order.
//!
//! Integers only, ordered maps only, no clock: the state is a function of the payloads and their order, on every machine.
//! A payload that is no record, or asks for what cannot be, is counted and does nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fairlane_engine::wire::Writer;
use fairlane_loadgen::record::{RecordKind, Side, TradeRecord};

/// All books.
#[derive(Debug, Default)]
pub(crate) struct Market {
    /// By the instrument's name.
    books: BTreeMap<String, Book>,
    /// Orders taken, and so the place of the next.
    orders: u64,
    cancels: u64,
    trades: u64,
    refused: u64,
}

#[derive(Debug, Default)]
struct Book {
    /// Best first: the highest price, then the earliest place.
    bids: BTreeMap<(Reverse<u64>, u64), Resting>,
    /// Best first: the lowest price, then the earliest place.
    asks: BTreeMap<(u64, u64), Resting>,
    /// Where an order rests, by the sequence that a cancel names.
    resting: BTreeMap<u64, (Side, u64, u64)>,
    last_price_e8: u64,
    /// In units of 10^-8 of the instrument.
    traded_e8: u128,
}

#[derive(Debug)]
struct Resting {
    sequence: u64,
    quantity_e8: u64,
}

impl Market {
    /// Applies one payload.
    pub(crate) fn apply(&mut self, payload: &[u8]) {
        let is_applied = TradeRecord::decode(payload).is_ok_and(|record| match record.kind {
            RecordKind::Order => self.order(&record),
            RecordKind::Cancel => self.cancel(&record),
            RecordKind::Take => self.take_offer(&record),
            // Of a recorded market: no order of anybody's.
            RecordKind::Trade => false,
        });
        self.refused += u64::from(!is_applied);
    }

    fn order(&mut self, record: &TradeRecord) -> bool {
        let Some(side) = record.side else {
            return false;
        };
        let name = record.symbol.name();
        let is_taken = match self.books.get(name) {
            Some(book) => {
                !book.resting.contains_key(&record.sequence) && book.resting.len() < BOOK_ORDERS_MAX
            }
            None => self.books.len() < BOOKS_MAX,
        };
        if !is_taken || record.price_e8 == 0 || record.quantity_e8 == 0 {
            return false;
        }
        // What is refused makes no book, so it leaves no trace but in the count.
        let book = self.books.entry(name.to_owned()).or_default();
        let place = self.orders;
        self.orders += 1;
        let (price, mut left) = (record.price_e8, record.quantity_e8);
        while left > 0
            && let Some((at, taken)) = book.take(side, price, left)
        {
            left -= taken;
            self.trades += 1;
            book.last_price_e8 = at;
            book.traded_e8 += u128::from(taken);
        }
        if left > 0 {
            book.rest(side, price, place, record.sequence, left);
        }
        true
    }

    fn cancel(&mut self, record: &TradeRecord) -> bool {
        let book = self.books.get_mut(record.symbol.name());
        let removed = book.and_then(|book| book.remove(record.reference));
        self.cancels += u64::from(removed.is_some());
        removed.is_some()
    }

    /// Somebody takes all that an order still offers, if it was not cancelled or taken before.
    fn take_offer(&mut self, record: &TradeRecord) -> bool {
        let Some(book) = self.books.get_mut(record.symbol.name()) else {
            return false;
        };
        let Some((price, taken)) = book.remove(record.reference) else {
            return false;
        };
        self.trades += 1;
        book.last_price_e8 = price;
        book.traded_e8 += u128::from(taken.quantity_e8);
        true
    }

    /// BLAKE3 of the whole state in a fixed encoding.
    pub(crate) fn root(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer
            .u64(self.orders)
            .u64(self.cancels)
            .u64(self.trades)
            .u64(self.refused);
        for (name, book) in &self.books {
            writer.u8(name.len() as u8).bytes(name.as_bytes());
            writer
                .u64(book.last_price_e8)
                .bytes(&book.traded_e8.to_be_bytes());
            let bids = book.bids.iter();
            let bids = bids.map(|((Reverse(price), place), order)| (price, place, order));
            let asks = book.asks.iter();
            let asks = asks.map(|((price, place), order)| (price, place, order));
            writer.u64(book.bids.len() as u64);
            for (price, place, order) in bids.chain(asks) {
                writer
                    .u64(*price)
                    .u64(*place)
                    .u64(order.sequence)
                    .u64(order.quantity_e8);
            }
            writer.u64(book.asks.len() as u64);
        }
        blake3::derive_key("fairlane example matching state 1", &bytes)
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let resting: usize = self.books.values().map(|book| book.resting.len()).sum();
        format!(
            "{} orders, {} cancels, {} trades, {} payloads without effect, {resting} orders resting in {} books\nstate root {}",
            self.orders,
            self.cancels,
            self.trades,
            self.refused,
            self.books.len(),
            hex::encode(self.root())
        )
    }
}

impl Book {
    /// Takes up to `quantity` from the best order against `side` at `price` or better: its price, and how much.
    fn take(&mut self, side: Side, price: u64, quantity: u64) -> Option<(u64, u64)> {
        match side {
            Side::Buy => {
                let mut best = self.asks.first_entry()?;
                let at = best.key().0;
                if at > price {
                    return None;
                }
                let taken = best.get().quantity_e8.min(quantity);
                best.get_mut().quantity_e8 -= taken;
                if best.get().quantity_e8 == 0 {
                    self.resting.remove(&best.remove().sequence);
                }
                Some((at, taken))
            }
            Side::Sell => {
                let mut best = self.bids.first_entry()?;
                let Reverse(at) = best.key().0;
                if at < price {
                    return None;
                }
                let taken = best.get().quantity_e8.min(quantity);
                best.get_mut().quantity_e8 -= taken;
                if best.get().quantity_e8 == 0 {
                    self.resting.remove(&best.remove().sequence);
                }
                Some((at, taken))
            }
        }
    }

    /// Takes an order out of the book: its price, and what it still offered.
    fn remove(&mut self, sequence: u64) -> Option<(u64, Resting)> {
        let (side, price, place) = self.resting.remove(&sequence)?;
        let order = match side {
            Side::Buy => self.bids.remove(&(Reverse(price), place)),
            Side::Sell => self.asks.remove(&(price, place)),
        };
        order.map(|order| (price, order))
    }

    fn rest(&mut self, side: Side, price: u64, place: u64, sequence: u64, quantity_e8: u64) {
        let order = Resting {
            sequence,
            quantity_e8,
        };
        self.resting.insert(sequence, (side, price, place));
        match side {
            Side::Buy => self.bids.insert((Reverse(price), place), order),
            Side::Sell => self.asks.insert((price, place), order),
        };
    }
}

/// Instruments; an order for a further one is refused.
const BOOKS_MAX: usize = 4096;
/// Orders that rest in a book; a further one is refused.
const BOOK_ORDERS_MAX: usize = 1 << 20;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]
pub(crate) mod tests {
    use fairlane_loadgen::record::Symbol;

    use super::*;

    /// The same payloads on every machine: orders around a price that walks, and cancels of earlier ones.
    pub(crate) fn records(count: u64) -> Vec<Vec<u8>> {
        let mut state = 0x5EED_u64;
        let mut draw = |below: u64| {
            // An LCG of Knuth's (MMIX); its high bits.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let record = |sequence| {
            let symbol = Symbol::new(["AAAUSD", "BBBUSD", "CCCUSD"][draw(3) as usize]).unwrap();
            let is_cancel = sequence > 0 && draw(10) < 3;
            TradeRecord {
                kind: if is_cancel {
                    RecordKind::Cancel
                } else {
                    RecordKind::Order
                },
                side: match (is_cancel, draw(2)) {
                    (true, _) => None,
                    (false, 0) => Some(Side::Buy),
                    (false, _) => Some(Side::Sell),
                },
                symbol,
                sequence,
                source_time_ns: 0,
                price_e8: if is_cancel { 0 } else { 1_000 + draw(20) },
                quantity_e8: if is_cancel { 0 } else { 1 + draw(50) },
                reference: if is_cancel { draw(sequence) } else { 0 },
            }
            .encode(56)
        };
        (0..count).map(record).collect()
    }

    fn order(market: &mut Market, side: Side, sequence: u64, price_e8: u64, quantity_e8: u64) {
        order_of("X", market, side, (sequence, price_e8, quantity_e8));
    }

    fn order_of(
        symbol: &str,
        market: &mut Market,
        side: Side,
        (sequence, price_e8, quantity_e8): (u64, u64, u64),
    ) {
        let record = TradeRecord {
            kind: RecordKind::Order,
            side: Some(side),
            symbol: Symbol::new(symbol).unwrap(),
            sequence,
            source_time_ns: 0,
            price_e8,
            quantity_e8,
            reference: 0,
        };
        market.apply(&record.encode(56));
    }

    #[test]
    fn golden_root() {
        let mut market = Market::default();
        for payload in records(5_000) {
            market.apply(&payload);
        }
        assert!(market.trades > 500 && market.cancels > 20 && market.refused > 50);
        assert_eq!(hex::encode(market.root()), GOLDEN);
    }

    #[test]
    fn better_prices_go_first_then_earlier_places_and_the_rest_stays() {
        let mut market = Market::default();
        order(&mut market, Side::Sell, 1, 102, 5);
        order(&mut market, Side::Sell, 2, 101, 5);
        order(&mut market, Side::Sell, 3, 101, 5);
        order(&mut market, Side::Buy, 4, 101, 7);
        let book = &market.books["X"];
        assert_eq!(
            (market.trades, book.traded_e8, book.last_price_e8),
            (2, 7, 101)
        );
        let left: Vec<_> = book
            .asks
            .iter()
            .map(|((price, _), order)| (*price, order.sequence, order.quantity_e8))
            .collect();
        assert_eq!(left, [(101, 3, 3), (102, 1, 5)]);
        order(&mut market, Side::Buy, 5, 200, 20);
        let book = &market.books["X"];
        assert!(book.asks.is_empty());
        assert_eq!(book.bids.len(), 1);
        assert_eq!(book.resting.keys().copied().collect::<Vec<_>>(), [5]);
    }

    /// What a race of a cancel and a take comes to: whichever is settled first.
    #[test]
    fn a_cancel_and_a_take_of_one_order_exclude_each_other() {
        let ask_for = |market: &mut Market, kind| {
            let record = TradeRecord {
                kind,
                side: (kind == RecordKind::Take).then_some(Side::Buy),
                symbol: Symbol::new("X").unwrap(),
                sequence: 9,
                source_time_ns: 0,
                price_e8: 0,
                quantity_e8: 0,
                reference: 1,
            };
            market.apply(&record.encode(56));
        };
        for (first, second) in [
            (RecordKind::Cancel, RecordKind::Take),
            (RecordKind::Take, RecordKind::Cancel),
        ] {
            let mut market = Market::default();
            order(&mut market, Side::Sell, 1, 102, 5);
            ask_for(&mut market, first);
            ask_for(&mut market, second);
            let is_taken = u64::from(first == RecordKind::Take);
            assert_eq!((market.trades, market.cancels), (is_taken, 1 - is_taken));
            assert_eq!(market.refused, 1);
            let book = &market.books["X"];
            assert!(book.asks.is_empty() && book.resting.is_empty());
            assert_eq!(book.traded_e8, 5 * u128::from(is_taken));
        }
    }

    #[test]
    fn what_is_no_order_is_counted_and_changes_nothing_else() {
        let mut market = Market::default();
        order(&mut market, Side::Buy, 1, 100, 5);
        let places = market.orders;
        for payload in [&[][..], &[9; 56], &[1; 10]] {
            market.apply(payload);
        }
        order(&mut market, Side::Buy, 1, 100, 5);
        order(&mut market, Side::Buy, 2, 0, 5);
        order(&mut market, Side::Buy, 3, 100, 0);
        assert_eq!((market.refused, market.orders), (6, places));
        assert_eq!(market.books["X"].bids.len(), 1);
    }

    #[test]
    fn a_refused_order_makes_no_book_and_books_are_bounded() {
        let mut market = Market::default();
        order_of("NEW", &mut market, Side::Buy, (1, 0, 5));
        order_of("NEW", &mut market, Side::Buy, (2, 100, 0));
        assert!(market.books.is_empty());
        for index in 0..BOOKS_MAX + 5 {
            let symbol = format!("S{index}");
            order_of(&symbol, &mut market, Side::Buy, (index as u64, 100, 1));
        }
        assert_eq!(market.books.len(), BOOKS_MAX);
        assert_eq!(market.refused, 2 + 5);
        order_of("S0", &mut market, Side::Sell, (9_999, 100, 1));
        assert_eq!(market.trades, 1, "those that are there go on");
    }

    const GOLDEN: &str = "c3876cf3da45e63b0cfc7c3be63076b93bf27c1e94f6974fee28ba93564dbe0b";
}
