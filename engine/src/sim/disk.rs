//! One node's disk: records in order, of which a prefix is durable and survives a crash.
//!
//! One write is under way at a time and covers all that was appended before it began (group commit). Only an own vertex
//! starts one, because nothing else waits for the disk; so what a crash loses is as much as the engine allows.

use super::chance::Chance;
use crate::effect::Record;

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskProfile {
    /// Shortest write, microseconds.
    pub(crate) write_us_min: u64,
    /// Longest write, microseconds.
    pub(crate) write_us_max: u64,
    /// One write in so many takes [`STALL_US`] more; 0 for none.
    pub(crate) stall_one_in: u64,
}

/// One disk.
pub(crate) struct Disk {
    profile: DiskProfile,
    records: Vec<Record>,
    durable: u64,
    /// With durability async: how often what is written is synced, microseconds; and what was when.
    sync_us: Option<u64>,
    synced: u64,
    synced_us: u64,
    is_writing: bool,
    is_urgent: bool,
    chance: Chance,
}

/// A write that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// How long it takes, microseconds.
    pub(crate) takes_us: u64,
    /// What it makes durable: the first so many records.
    pub(crate) covers: u64,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(profile: DiskProfile, chance: Chance) -> Self {
        Self {
            profile,
            records: Vec::new(),
            durable: 0,
            sync_us: None,
            synced: 0,
            synced_us: 0,
            is_writing: false,
            is_urgent: false,
            chance,
        }
    }

    /// With durability async: what is written counts as durable, and is synced after this time.
    pub(crate) const fn set_async(&mut self, sync_us: Option<u64>) {
        self.sync_us = sync_us;
    }

    /// Takes a record; gives its number, from 1.
    pub(crate) fn append(&mut self, record: &Record) -> u64 {
        self.is_urgent |= matches!(record, Record::OwnVertex(_));
        self.records.push(record.clone());
        self.records.len() as u64
    }

    /// Starts a write if one is due and none is under way.
    pub(crate) fn try_write(&mut self) -> Option<Write> {
        if self.is_writing || !self.is_urgent {
            return None;
        }
        (self.is_writing, self.is_urgent) = (true, false);
        let DiskProfile {
            write_us_min,
            write_us_max,
            stall_one_in,
        } = self.profile;
        let mut takes_us = self.chance.between(write_us_min, write_us_max);
        if stall_one_in > 0 && self.chance.one_in(stall_one_in) {
            takes_us += STALL_US;
        }
        Some(Write {
            takes_us,
            covers: self.records.len() as u64,
        })
    }

    /// The write under way is done.
    pub(crate) fn on_written(&mut self, covers: u64, now_us: u64) {
        self.is_writing = false;
        self.durable = covers;
        if self
            .sync_us
            .is_none_or(|sync_us| now_us >= self.synced_us + sync_us)
        {
            (self.synced, self.synced_us) = (covers, now_us);
        }
    }

    /// The machine loses power: with durability async that takes more than a crash of the node.
    pub(crate) fn lose_power(&mut self) {
        self.durable = self.synced;
        self.crash();
    }

    /// The node crashes. What is durable stays; of the rest a beginning may stay, too, as far as it had got to the disk.
    pub(crate) fn crash(&mut self) {
        let at_risk = self.records.len() as u64 - self.durable;
        let kept = match self.chance.one_in(2) {
            true => 0,
            false => self.chance.below(at_risk + 1),
        };
        self.durable += kept;
        self.records.truncate(self.durable as usize);
        self.synced = self.synced.min(self.durable);
        (self.is_writing, self.is_urgent) = (false, false);
    }

    /// The node starts again: it syncs what it has found before it does anything with it, whatever the durability.
    pub(crate) const fn on_start(&mut self) {
        self.synced = self.durable;
    }

    /// All records, in order.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many records are durable.
    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }
}

/// What a stalled write takes longer, microseconds.
const STALL_US: u64 = 40_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_what_is_durable_and_a_beginning_of_the_rest() {
        let profile = DiskProfile {
            write_us_min: 1,
            write_us_max: 1,
            stall_one_in: 0,
        };
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut disk = Disk::new(profile, Chance::new(seed, "disk"));
            for byte in 0..5 {
                disk.append(&Record::Envelope([byte][..].into()));
            }
            disk.on_written(2, 0);
            disk.crash();
            assert_eq!(disk.durable(), disk.records().len() as u64);
            let first = |at: usize| Record::Envelope([at as u8][..].into());
            assert!(
                (0..)
                    .zip(disk.records())
                    .all(|(at, record)| *record == first(at))
            );
            left.insert(disk.records().len());
        }
        assert_eq!(left, (2..=5).collect());
    }

    #[test]
    fn what_a_start_has_found_survives_the_loss_of_power_after_it() {
        let profile = DiskProfile {
            write_us_min: 1,
            write_us_max: 1,
            stall_one_in: 0,
        };
        for seed in 0..100 {
            let mut disk = Disk::new(profile, Chance::new(seed, "disk"));
            for byte in 0..5 {
                disk.append(&Record::Envelope([byte][..].into()));
            }
            disk.on_written(2, 0);
            disk.crash();
            let found = disk.durable();
            disk.on_start();
            disk.lose_power();
            assert_eq!(disk.durable(), found);
        }
    }

    #[test]
    fn with_async_a_crash_leaves_what_is_written_and_the_loss_of_power_what_is_synced() {
        let profile = DiskProfile {
            write_us_min: 1,
            write_us_max: 1,
            stall_one_in: 0,
        };
        let mut shortest = [5, 5];
        for seed in 0..100 {
            for is_power in [false, true] {
                let mut disk = Disk::new(profile, Chance::new(seed, "disk"));
                disk.set_async(Some(10));
                for (byte, at_us) in [(0, 10), (1, 12), (2, 19)] {
                    let covers = disk.append(&Record::Envelope([byte][..].into()));
                    disk.on_written(covers, at_us);
                }
                disk.append(&Record::Envelope([3][..].into()));
                match is_power {
                    true => disk.lose_power(),
                    false => disk.crash(),
                }
                let left = &mut shortest[usize::from(is_power)];
                *left = disk.records().len().min(*left);
            }
        }
        assert_eq!(shortest, [3, 1]);
    }
}
