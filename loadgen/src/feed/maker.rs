//! Makes the envelope of an arrival: its content, its rollup, its validity, sealed to the newest key.

use std::time::{Duration, Instant};

use fairlane_client::sealing::Sealer;
use fairlane_engine::seal::Envelope;
use fairlane_engine::types::TimestampUs;

use super::{FeedError, KeyCell, Prepared};
use crate::content::Content;
use crate::hostile::maker::HostileMaker;
use crate::rollups::RollupMix;
use crate::workload::Arrival;

/// What makes envelopes.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    pub(crate) key: KeyCell,
    /// For any rollup and with any key: both are replaced.
    pub(crate) sealer: Sealer,
    pub(crate) rollups: RollupMix,
    pub(crate) payload_len: usize,
    /// The start of the run by both clocks.
    pub(crate) start: Instant,
    pub(crate) start_time: TimestampUs,
    pub(crate) validity: Validity,
    /// What is sent beside it.
    pub(crate) hostile: Option<HostileMaker>,
}

/// From when on an envelope is valid for [`VALIDITY_US`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// From when it is due.
    FromDue,
    /// From when it is made: nobody knows when it will be sent.
    FromNow,
}

impl Maker {
    /// When it is due by the host's clock.
    pub(crate) fn due(&self, arrival: &Arrival) -> Instant {
        self.start + Duration::from_micros(arrival.at_us)
    }

    /// Its envelope. Errors: a payload that does not fit, or no randomness.
    pub(crate) fn make(&mut self, arrival: &Arrival) -> Result<Prepared, FeedError> {
        self.sealer.key = self.key.load();
        let rollup = self.take_rollup(&arrival.content);
        let payload = arrival.content.encode(self.payload_len);
        let valid_until = self.valid_until(arrival.at_us);
        let envelope = self.sealer.make(&payload, valid_until)?;
        let companions = match &mut self.hostile {
            Some(hostile) => {
                let due = self.start_time.plus_us(arrival.at_us);
                hostile.beside(&envelope, &self.sealer, &payload, due)?
            }
            None => Vec::new(),
        };
        let is_late = self.validity == Validity::FromDue && Instant::now() > self.due(arrival);
        Ok(Prepared {
            at_us: arrival.at_us,
            envelope,
            rollup,
            race: arrival.race,
            companions,
            is_late,
        })
    }

    /// `len` envelopes of numbers. Errors: as [`Maker::make`].
    pub(crate) fn make_pool(mut self, len: usize) -> Result<Vec<Prepared>, FeedError> {
        self.sealer.key = self.key.load();
        let mut pool = Vec::with_capacity(len);
        while pool.len() < len {
            let from = pool.len();
            let rollup = self.take_rollup(&Content::Plain {
                sequence: from as u64,
            });
            let payloads: Vec<Vec<u8>> = (from..len.min(from + MADE_TOGETHER))
                .map(|sequence| {
                    let sequence = sequence as u64;
                    Content::Plain { sequence }.encode(self.payload_len)
                })
                .collect();
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let valid_until = self.valid_until(0);
            for envelope in self.sealer.make_all(&payloads, valid_until) {
                pool.push(pooled(envelope?, rollup));
            }
        }
        Ok(pool)
    }

    /// Draws the rollup of `content`, and seals for it from now on.
    fn take_rollup(&mut self, content: &Content) -> u8 {
        let index = self.rollups.index_of(content.subject());
        self.sealer.rollup = self.rollups.shares()[index].id;
        // At most ROLLUPS_MAX.
        index as u8
    }

    fn valid_until(&self, at_us: u64) -> TimestampUs {
        let at_us = match self.validity {
            Validity::FromDue => at_us,
            Validity::FromNow => {
                let since = Instant::now().saturating_duration_since(self.start);
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            }
        };
        self.start_time.plus_us(at_us).plus_us(VALIDITY_US)
    }
}

const fn pooled(envelope: Envelope, rollup: u8) -> Prepared {
    Prepared {
        at_us: 0,
        envelope,
        rollup,
        race: None,
        companions: Vec::new(),
        is_late: false,
    }
}

/// How long an envelope is valid: below the 60 s that nodes allow, by what clocks may differ.
const VALIDITY_US: u64 = 50_000_000;
/// Envelopes of a pool that are sealed at once, in half the time.
const MADE_TOGETHER: usize = 64;
