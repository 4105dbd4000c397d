//! What a generated envelope carries: one trading record in a fixed layout, then zeros.
//!
//! Layout, big-endian, 56 bytes: version u8 = 1 | kind u8 (1 order, 2 cancel, 3 trade, 4 take) | side u8 (0 none, 1 buy, 2
//! sell) | reserved u8 = 0 | symbol 12 (ASCII, zero-filled) | sequence u64 | source time u64 (nanoseconds since the
//! Unix epoch, 0 if none) | price u64 | quantity u64 (both in units of 10^-8) | reference u64 (trade id, or the
//! sequence of the order that is cancelled or taken).
//!
//! The sequence makes every payload of a run different, so open envelopes with equal content are not one envelope.

use fairlane_engine::wire::{DecodeError, Reader, Writer};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeRecord {
    /// What it asks for.
    pub kind: RecordKind,
    /// Buy or sell; `None` for a cancel.
    pub side: Option<Side>,
    /// The instrument.
    pub symbol: Symbol,
    /// Number of the record in its run, from 0.
    pub sequence: u64,
    /// Nanoseconds since the Unix epoch at which the source saw it; 0 if there is no source.
    pub source_time_ns: u64,
    /// Price in units of 10^-8.
    pub price_e8: u64,
    /// Quantity in units of 10^-8.
    pub quantity_e8: u64,
    /// Trade id, or the sequence of the order that is cancelled or taken.
    pub reference: u64,
}

/// What a record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A new order.
    Order = 1,
    /// Takes an order back.
    Cancel = 2,
    /// A trade, from a recorded market.
    Trade = 3,
    /// Takes what an order offers.
    Take = 4,
}

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Buys.
    Buy = 1,
    /// Sells.
    Sell = 2,
}

/// An instrument's name: 1 to 12 visible ASCII characters, zero-filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol([u8; SYMBOL_LEN]);

impl Symbol {
    /// `None` unless `name` has 1 to 12 visible ASCII characters.
    pub fn new(name: &str) -> Option<Self> {
        let is_visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !(1..=SYMBOL_LEN).contains(&name.len()) {
            return None;
        }
        let mut bytes = [0; SYMBOL_LEN];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// The name.
    pub fn name(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0);
        str::from_utf8(&self.0[..len.unwrap_or(SYMBOL_LEN)])
            .expect("only visible ASCII becomes a symbol")
    }
}

impl TradeRecord {
    /// The record followed by zeros, `payload_len` bytes in all. Panics below [`RECORD_LEN`].
    pub fn encode(&self, payload_len: usize) -> Vec<u8> {
        assert!(
            payload_len >= RECORD_LEN,
            "the caller leaves room for a record"
        );
        let mut payload = Vec::with_capacity(payload_len);
        Writer::new(&mut payload)
            .u8(RECORD_VERSION)
            .u8(self.kind as u8)
            .u8(self.side.map_or(0, |side| side as u8))
            .u8(0)
            .bytes(&self.symbol.0)
            .u64(self.sequence)
            .u64(self.source_time_ns)
            .u64(self.price_e8)
            .u64(self.quantity_e8)
            .u64(self.reference);
        payload.resize(payload_len, 0);
        payload
    }

    /// Reads a record back from a payload. Errors: anything that [`TradeRecord::encode`] does not write.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8()?;
        if version != RECORD_VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = match reader.u8()? {
            1 => RecordKind::Order,
            2 => RecordKind::Cancel,
            3 => RecordKind::Trade,
            4 => RecordKind::Take,
            _ => return Err(DecodeError::NotCanonical("record kind")),
        };
        let side = match reader.u8()? {
            0 => None,
            1 => Some(Side::Buy),
            2 => Some(Side::Sell),
            _ => return Err(DecodeError::NotCanonical("side")),
        };
        if reader.u8()? != 0 {
            return Err(DecodeError::NotCanonical("reserved byte"));
        }
        let bytes: [u8; SYMBOL_LEN] = reader.array()?;
        let symbol = str::from_utf8(&bytes)
            .ok()
            .and_then(|name| Symbol::new(name.trim_end_matches('\0')))
            .ok_or(DecodeError::NotCanonical("symbol"))?;
        let record = Self {
            kind,
            side,
            symbol,
            sequence: reader.u64()?,
            source_time_ns: reader.u64()?,
            price_e8: reader.u64()?,
            quantity_e8: reader.u64()?,
            reference: reader.u64()?,
        };
        if reader.bytes(reader.left())?.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::NotCanonical("zero filling"));
        }
        Ok(record)
    }
}

/// Bytes of a record, the least that a payload has.
pub const RECORD_LEN: usize = 56;
/// Longest symbol.
pub const SYMBOL_LEN: usize = 12;
const RECORD_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: TradeRecord = TradeRecord {
        kind: RecordKind::Trade,
        side: Some(Side::Sell),
        symbol: Symbol(*b"BTCUSDT\0\0\0\0\0"),
        sequence: 1,
        source_time_ns: 2,
        price_e8: 3,
        quantity_e8: 4,
        reference: 5,
    };

    #[test]
    fn a_record_has_these_bytes_and_reads_back() {
        let payload = RECORD.encode(60);
        let numbers: Vec<u8> = (1..=5u64).flat_map(u64::to_be_bytes).collect();
        let golden = [&[1, 3, 2, 0][..], b"BTCUSDT\0\0\0\0\0", &numbers, &[0; 4]].concat();
        assert_eq!(payload, golden);
        assert_eq!(TradeRecord::decode(&payload), Ok(RECORD));
        assert_eq!(RECORD.encode(RECORD_LEN).len(), RECORD_LEN);
    }

    #[test]
    fn what_encode_does_not_write_is_refused() {
        let payload = RECORD.encode(60);
        for cut in 0..RECORD_LEN {
            assert!(TradeRecord::decode(&payload[..cut]).is_err());
        }
        for (at, value) in [
            (0, 2),
            (1, 0),
            (1, 5),
            (2, 3),
            (3, 1),
            (4, 0),
            (5, 0),
            (59, 1),
        ] {
            let mut changed = payload.clone();
            changed[at] = value;
            assert!(
                TradeRecord::decode(&changed).is_err(),
                "byte {at} = {value}"
            );
        }
    }

    #[test]
    fn symbols_are_visible_and_short() {
        assert_eq!(Symbol::new("ETHUSDT").unwrap().name(), "ETHUSDT");
        assert_eq!(Symbol::new("ABCDEFGHIJKL").unwrap().name(), "ABCDEFGHIJKL");
        for name in ["", "ABCDEFGHIJKLM", "A B", "É", "A\0"] {
            assert!(Symbol::new(name).is_none(), "{name:?}");
        }
    }
}
