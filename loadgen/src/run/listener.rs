//! What the connections of a run hear: honest ones on one account, hostile ones on another.

use std::time::Instant;

use fairlane_client::{Event, Observer, Observers};
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::{AuthorityIndex, Entry, KeyId};

use super::{duration_us, seconds};
use crate::feed::KeyCell;
use crate::hostile::listener::HostileListener;
use crate::ledger::Ledger;
use crate::outcome::KeyUse;
use crate::retries::Retries;

/// Who hears which client.
pub(super) struct Ears {
    pub(super) honest: Listener,
    /// Of the last client, if there is hostile traffic.
    pub(super) hostile: Option<(usize, HostileListener)>,
}

impl Observers for Ears {
    fn observer(&mut self, client: usize) -> &mut dyn Observer {
        match &mut self.hostile {
            Some((at, hostile)) if *at == client => hostile,
            _ => &mut self.honest,
        }
    }
}

/// The ledger as an observer: adds the time.
pub(super) struct Listener {
    pub(super) start: Instant,
    pub(super) ledger: Ledger,
    /// Why links failed, for the error when too few come up.
    pub(super) failures: Vec<Option<String>>,
    pub(super) keys: Keys,
    /// What may have to be sent again.
    pub(super) retries: Retries,
}

/// The keys of the run.
pub(super) struct Keys {
    /// What envelopes are sealed to.
    pub(super) cell: KeyCell,
    /// In the order in which they were taken.
    pub(super) used: Vec<(KeyId, KeyUse)>,
    pub(super) refused: u64,
}

impl Keys {
    pub(super) fn new(key: &SealingKey) -> Self {
        let mut keys = Self {
            cell: KeyCell::new(key.clone()),
            used: Vec::new(),
            refused: 0,
        };
        keys.take(0, key);
        keys
    }

    fn take(&mut self, now_us: u64, key: &SealingKey) {
        // Each of several clients finds out for itself.
        if self.used.iter().any(|(id, _)| *id == key.key_id()) {
            return;
        }
        self.cell.store(key.clone());
        let key_use = KeyUse {
            key_id: key.key_id().to_string(),
            epoch: key.epoch().0,
            from_s: seconds(now_us),
            envelopes: 0,
        };
        self.used.push((key.key_id(), key_use));
    }

    pub(super) fn count(&mut self, key_id: KeyId) {
        let mut newest_first = self.used.iter_mut().rev();
        if let Some((_, key_use)) = newest_first.find(|(id, _)| *id == key_id) {
            key_use.envelopes += 1;
        }
    }
}

impl Listener {
    pub(super) fn now_us(&self) -> u64 {
        duration_us(Instant::now().saturating_duration_since(self.start))
    }

    /// Nothing is sent again from now on: what waits for it is refused.
    pub(super) fn end_retries(&mut self) {
        for tag in self.retries.end() {
            self.ledger.hold(tag, false);
        }
    }
}

impl Observer for Listener {
    fn receipt_wanted(&self, tag: u64) -> Option<Entry> {
        self.ledger.receipt_wanted(tag)
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        if let Event::Disconnected { reason } | Event::ConnectFailed { reason } = &event {
            self.failures[authority.as_usize()] = Some(reason.to_string());
        }
        match &event {
            Event::NewKey { statement } => self.keys.take(self.now_us(), &statement.key),
            Event::KeyRefused { .. } => self.keys.refused += 1,
            _ => {}
        }
        let now_us = self.now_us();
        self.ledger.on_event(now_us, authority, &event);
        if let Event::Ack(ack) = &event {
            let is_refused = self.ledger.is_refused(ack.tag);
            if self.retries.on_ack(now_us, ack, is_refused) {
                self.ledger.hold(ack.tag, true);
            }
        }
    }
}
