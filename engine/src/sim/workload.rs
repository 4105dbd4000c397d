//! What clients send: envelopes, each with its content as the maker knows it, and to whom they go when.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::Chance;
use super::clock::START;
use super::hostile;
use super::keys::{CommitteeKeys, ROLLUP};
use crate::seal::{LabelFields, SealingKey, open_envelope, seal};
use crate::types::{Digest, TimestampUs};

/// How clients behave in one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clients {
    /// Envelopes in all.
    pub(crate) envelopes: u64,
    /// Of a thousand, sealed ones.
    pub(crate) sealed_permille: u64,
    /// Of a thousand, sealed ones whose content nobody can open, or that open only under a wrong share.
    pub(crate) void_permille: u64,
    /// Of a thousand, those that go to one authority only.
    pub(crate) to_one_permille: u64,
    /// Of a thousand, those that go to some of the committee only.
    pub(crate) to_some_permille: u64,
    /// Of a thousand, those that are submitted again later.
    pub(crate) again_permille: u64,
    /// Of a thousand, those that expire soon.
    pub(crate) short_permille: u64,
    /// Time over which they are sent, microseconds.
    pub(crate) during_us: u64,
    /// Longest way from a client to an authority, microseconds.
    pub(crate) way_us_max: u64,
}

/// What an envelope must turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// This payload.
    Payload(Vec<u8>),
    /// Void, on every node.
    Void,
}

/// One submission.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// When it arrives, microseconds of virtual time.
    pub(crate) at_us: u64,
    /// At which node.
    pub(crate) node: usize,
    /// Which envelope, by its place in [`Workload::envelopes`].
    pub(crate) envelope: usize,
}

/// All that clients will do in one run.
#[derive(Default)]
pub(crate) struct Workload {
    pub(crate) envelopes: Vec<Arc<[u8]>>,
    pub(crate) submissions: Vec<Submission>,
    pub(crate) truth: BTreeMap<Digest, (Truth, TimestampUs)>,
}

/// The nodes as clients see them.
pub(crate) struct Audience<'a> {
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// For each node how much longer its submissions may take: faulty authorities order as they like.
    pub(crate) held_up_us_max: &'a [u64],
    /// An authority that gives shares that are off by [`hostile::SHARE_ERROR`], if there is one.
    pub(crate) accomplice: Option<usize>,
}

impl Workload {
    /// Draws all envelopes and submissions.
    pub(crate) fn draw(
        clients: &Clients,
        audience: &Audience<'_>,
        keys: &CommitteeKeys,
        chance: &mut Chance,
    ) -> Self {
        let mut workload = Self::default();
        for id in 0..clients.envelopes {
            let sent_us = chance.below(clients.during_us);
            workload.add_envelope(id, sent_us, clients, audience, keys, chance);
            workload.submit(sent_us, clients, audience, chance);
        }
        workload
    }

    fn add_envelope(
        &mut self,
        id: u64,
        sent_us: u64,
        clients: &Clients,
        audience: &Audience<'_>,
        keys: &CommitteeKeys,
        chance: &mut Chance,
    ) {
        let valid_us = match chance.permille(clients.short_permille) {
            true => chance.between(2_100_000, 4_000_000),
            false => chance.between(40_000_000, 55_000_000),
        };
        let fields = LabelFields {
            rollup: ROLLUP,
            valid_until: START.plus_us(sent_us + valid_us),
            sender_tag: [0; 16],
            padded_len: None,
        };
        let mut payload = id.to_be_bytes().to_vec();
        payload.resize(8 + chance.below(200) as usize, 0x5a);
        let (bytes, truth) = if chance.permille(clients.void_permille) {
            let r: [u8; 32] = chance.bytes();
            let bytes = match audience.accomplice {
                Some(author) => {
                    hostile::opens_under_a_wrong_share(keys, author, &fields, r, chance)
                }
                None => hostile::garbage(keys, &fields, r),
            };
            (bytes, Truth::Void)
        } else if chance.permille(clients.sealed_permille) {
            let sealed = seal(&keys.sealing, &fields, &payload, &chance.bytes());
            (sealed.expect("it is short"), Truth::Payload(payload))
        } else {
            let open = open_envelope(&keys.sealing, &fields, &payload);
            (open.expect("it is short"), Truth::Payload(payload))
        };
        let bytes: Arc<[u8]> = bytes.into();
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        self.truth.insert(digest, (truth, fields.valid_until));
        self.envelopes.push(bytes);
    }

    /// Adds an envelope that is sealed to `key` at `now_us`; gives its place.
    pub(crate) fn seal_to(&mut self, key: &SealingKey, now_us: u64, chance: &mut Chance) -> usize {
        let fields = LabelFields {
            rollup: ROLLUP,
            valid_until: START.plus_us(now_us + chance.between(40_000_000, 55_000_000)),
            sender_tag: [1; 16],
            padded_len: None,
        };
        let payload = (self.envelopes.len() as u64).to_be_bytes().to_vec();
        let sealed = seal(key, &fields, &payload, &chance.bytes());
        let bytes: Arc<[u8]> = sealed.expect("it is short").into();
        let digest = Digest(*blake3::hash(&bytes).as_bytes());
        let truth = Truth::Payload(payload);
        self.truth.insert(digest, (truth, fields.valid_until));
        self.envelopes.push(bytes);
        self.envelopes.len() - 1
    }

    /// Submits the newest envelope.
    fn submit(
        &mut self,
        sent_us: u64,
        clients: &Clients,
        audience: &Audience<'_>,
        chance: &mut Chance,
    ) {
        let mut nodes: Vec<usize> = (0..audience.nodes).collect();
        chance.shuffle(&mut nodes);
        if chance.permille(clients.to_one_permille) {
            nodes.truncate(1);
        } else if chance.permille(clients.to_some_permille) {
            nodes.truncate(chance.between(1, audience.nodes as u64) as usize);
        }
        let again_us = chance
            .permille(clients.again_permille)
            .then(|| chance.between(1, 3_000_000));
        for node in nodes {
            let mut way = || {
                let held_up_us = audience.held_up_us_max[node];
                chance.below(clients.way_us_max + 1) + chance.below(held_up_us + 1)
            };
            for sent_us in std::iter::once(sent_us).chain(again_us.map(|later| sent_us + later)) {
                self.submissions.push(Submission {
                    at_us: sent_us + way(),
                    node,
                    envelope: self.envelopes.len() - 1,
                });
            }
        }
    }
}
