//! What an envelope of a generated load carries.
//!
//! Each kind has its own first byte or layout, and each content of a run differs from every other, so open envelopes with
//! equal content are not one envelope.

use fairlane_engine::wire::Writer;

use crate::record::{RECORD_LEN, RecordKind, TradeRecord};

/// The content of one envelope, before it is filled up to its length with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An order, a cancel or a trade.
    Trade(TradeRecord),
    /// What a player did in a tick.
    Input(GameInput),
    /// A number, and nothing that means anything.
    Plain {
        /// From 0.
        sequence: u64,
    },
}

/// What a player did in a tick.
///
/// Layout, big-endian, 32 bytes: version u8 = 2 | reserved 3 = 0 | session u32 | tick u64 | sequence u64 | buttons u32 |
/// turn i32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GameInput {
    /// Whose.
    pub session: u32,
    /// Of which tick, from 0.
    pub tick: u64,
    /// Number of the input in its run, from 0.
    pub sequence: u64,
    /// A bit a button.
    pub buttons: u32,
    /// Millionths of a turn.
    pub turn: i32,
}

impl Content {
    /// The content and zeros, `payload_len` bytes in all. Panics below [`CONTENT_LEN_MIN`].
    pub fn encode(&self, payload_len: usize) -> Vec<u8> {
        if let Self::Trade(record) = self {
            return record.encode(payload_len);
        }
        assert!(payload_len >= CONTENT_LEN_MIN, "the caller leaves room");
        let mut payload = Vec::with_capacity(payload_len);
        let mut writer = Writer::new(&mut payload);
        match self {
            Self::Trade(_) => {}
            Self::Input(input) => {
                writer
                    .u8(INPUT_VERSION)
                    .bytes(&[0; 3])
                    .u32(input.session)
                    .u64(input.tick)
                    .u64(input.sequence)
                    .u32(input.buttons)
                    .bytes(&input.turn.to_be_bytes());
            }
            Self::Plain { sequence } => {
                writer.u8(PLAIN_VERSION).bytes(&[0; 7]).u64(*sequence);
            }
        }
        payload.resize(payload_len, 0);
        payload
    }

    /// What it is about, by number: the order that it makes or names, its session, or itself. What has one subject belongs
    /// together.
    pub const fn subject(&self) -> u64 {
        match self {
            Self::Trade(record) => match record.kind {
                RecordKind::Cancel | RecordKind::Take => record.reference,
                RecordKind::Order | RecordKind::Trade => record.sequence,
            },
            Self::Input(input) => input.session as u64,
            Self::Plain { sequence } => *sequence,
        }
    }

    /// The trading record, if it is one.
    pub const fn trade(&self) -> Option<&TradeRecord> {
        match self {
            Self::Trade(record) => Some(record),
            Self::Input(_) | Self::Plain { .. } => None,
        }
    }
}

/// The least bytes of payload: what the longest content takes.
pub const CONTENT_LEN_MIN: usize = RECORD_LEN;
const INPUT_VERSION: u8 = 2;
const PLAIN_VERSION: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_these_bytes() {
        let input = Content::Input(GameInput {
            session: 1,
            tick: 2,
            sequence: 3,
            buttons: 4,
            turn: -5,
        });
        let mut golden = vec![2, 0, 0, 0, 0, 0, 0, 1];
        golden.extend([2u64, 3].map(u64::to_be_bytes).concat());
        golden.extend([0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfb]);
        assert_eq!(golden.len(), 32);
        golden.resize(64, 0);
        assert_eq!(input.encode(64), golden);

        let plain = Content::Plain { sequence: 9 }.encode(CONTENT_LEN_MIN);
        assert_eq!(
            plain[..16],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]
        );
        assert_eq!(plain.len(), CONTENT_LEN_MIN);
    }
}
