//! Sealing keys: one key an epoch on all correct nodes, stated in the same bytes by all, and a share of each on every one.
//!
//! That what is sealed to a key opens the checkers of contents and liveness see: clients seal to every key that there is.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::keyring::statement::{KeyStatement, is_signed_by};
use crate::seal::{KeyShare, SealingKey};
use crate::types::{AuthorityIndex, Epoch};

/// What the first correct node to have a key had.
#[derive(Default)]
pub(crate) struct Keys {
    by_epoch: BTreeMap<Epoch, SealingKey>,
    statements: BTreeMap<Epoch, Vec<u8>>,
    /// The version of its keys that was last looked at, by node and life.
    seen: BTreeMap<(usize, u64), u64>,
    /// Keys that the committee made.
    pub(crate) made: u64,
}

impl Keys {
    /// A node has handled something; gives a key that nobody had before.
    pub(crate) fn on_handled(
        &mut self,
        (node, life): (usize, u64),
        own: AuthorityIndex,
        engine: &Engine,
    ) -> Result<Option<SealingKey>, String> {
        let keys = engine.keys();
        if self.seen.insert((node, life), keys.version()) == Some(keys.version()) {
            return Ok(None);
        }
        let mut fresh = None;
        for key in keys.keys() {
            let (epoch, sealing) = (key.sealing.epoch(), &key.sealing);
            match self.by_epoch.get(&epoch) {
                Some(known) if known == sealing => {}
                Some(_) => return Err(format!("node {node} has another key for {epoch:?}")),
                None => {
                    self.made += u64::from(!self.by_epoch.is_empty());
                    self.by_epoch.insert(epoch, sealing.clone());
                    fresh = Some(sealing.clone());
                }
            }
            let share = key.share.as_ref();
            let share = share.ok_or(format!("node {node} has no share of {epoch:?}"))?;
            let read = KeyShare::from_bytes(sealing, &share.to_bytes());
            if !read.is_ok_and(|read| read.author() == own) {
                return Err(format!("node {node} has a share of {epoch:?} that is none"));
            }
        }
        self.judge_statement(node, own, engine)?;
        Ok(fresh)
    }

    /// What nodes say of a key to clients.
    fn judge_statement(
        &mut self,
        node: usize,
        own: AuthorityIndex,
        engine: &Engine,
    ) -> Result<(), String> {
        let Some((bytes, signature)) = engine.vouch_for_key() else {
            return Ok(());
        };
        let committee = engine.committee();
        let statement = KeyStatement::decode(&bytes);
        let newest = engine.keys().newest().map(|newest| &newest.sealing);
        let names_newest = statement.is_ok_and(|statement| Some(&statement.key) == newest);
        let Some(newest) = newest.filter(|_| names_newest) else {
            return Err(format!("node {node} states another key than its newest"));
        };
        let known = self.statements.entry(newest.epoch());
        let is_same = *known.or_insert_with(|| bytes.clone()) == bytes;
        match is_same && is_signed_by(&bytes, committee, own, &signature) {
            true => Ok(()),
            false => Err(format!("node {node} states what others do not")),
        }
    }
}
