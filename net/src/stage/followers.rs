//! Clients that follow a digest or a rollup: they are told of entries as batches are opened, with the path to the batch's
//! `payload_root`, and then of the certificate that covers these, with the headers that lead up to it.
//!
//! A batch is looked through only while somebody follows; its tree is made when something in it is followed. What a client
//! does not read waits in its connection's queue, whose bound cuts it.
//!
//! Telling multiplies a batch by its followers, on the thread that orders. So it is counted before it is written, and who cannot
//! be told of all that it follows in a batch is told that, and its wish ends: nobody misses something without knowing.
//!
//! I1 every list is bounded: wishes a connection ([`FOLLOWS_A_CLIENT_MAX`]), connections that follow ([`FOLLOWERS_MAX`]), headers
//!    that wait for a certificate ([`CERTIFIED_HEADERS_MAX`]), bytes told ([`TOLD_BYTES_MAX`]).
//! I2 the headers that are kept are one chain, without a gap.
//! I3 a connection follows a target under one name: an entry is told to it twice at most, by digest and by rollup.

mod budget;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fairlane_client::protocol::{
    CERTIFIED_HEADERS_MAX, FollowCode, FollowTarget, IncludedEntry, Reveal, encode_certified,
    encode_following, encode_included, included_len_max,
};
use fairlane_engine::batch::{
    ArchivedBatch, BatchEntry, BatchHeader, Outcome, access, payload_leaf,
};
use fairlane_engine::certificate::Certificate;
use fairlane_engine::committee::Rollup;
use fairlane_engine::merkle::Tree;
use fairlane_engine::types::{BatchSeq, Digest, RollupId, Sha256Hash};

use budget::Budget;
pub use budget::{TOLD_BYTES_A_CLIENT_MAX, TOLD_BYTES_MAX};

/// What the clients of a node follow.
#[derive(Debug)]
pub struct Followers {
    rollups: BTreeSet<RollupId>,
    clients: BTreeMap<u64, Follower>,
    /// Who follows what: connection and name.
    wishes: BTreeMap<FollowTarget, BTreeSet<(u64, u64)>>,
    /// Those of batches since the last certificate that somebody was told of; the newest [`CERTIFIED_HEADERS_MAX`].
    headers: VecDeque<BatchHeader>,
    budget: Budget,
    counts: FollowCounts,
}

/// One connection.
#[derive(Debug, Default)]
struct Follower {
    wishes: BTreeMap<u64, FollowTarget>,
    /// Batches that it was told of and that no certificate covers yet.
    unproven: BTreeSet<BatchSeq>,
}

/// What was done for followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FollowCounts {
    /// Wishes that were granted.
    pub followed: u64,
    /// Wishes that were refused.
    pub refused: u64,
    /// Entries told of.
    pub included: u64,
    /// Certificates handed on, once a follower.
    pub certified: u64,
    /// Batches that a follower was told of and that got no certificate in time.
    pub unproven: u64,
    /// Wishes that ended because there was more to tell than is told at a time.
    pub overrun: u64,
}

impl Followers {
    /// Nobody follows anything. `rollups` are those of the committee.
    pub fn new(rollups: &[Rollup]) -> Self {
        Self {
            rollups: rollups.iter().map(|rollup| rollup.id).collect(),
            clients: BTreeMap::new(),
            wishes: BTreeMap::new(),
            headers: VecDeque::new(),
            budget: Budget::default(),
            counts: FollowCounts::default(),
        }
    }

    /// A client wants to follow something.
    pub fn follow(&mut self, connection: u64, name: u64, target: FollowTarget) -> FollowCode {
        let code = self.judge(connection, name, target);
        if code != FollowCode::Following {
            self.counts.refused += 1;
            return code;
        }
        self.counts.followed += 1;
        let client = self.clients.entry(connection).or_default();
        client.wishes.insert(name, target);
        let wishes = self.wishes.entry(target).or_default();
        wishes.insert((connection, name));
        code
    }

    fn judge(&self, connection: u64, name: u64, target: FollowTarget) -> FollowCode {
        if let FollowTarget::Rollup(rollup) = target
            && !self.rollups.contains(&rollup)
        {
            return FollowCode::UnknownRollup;
        }
        match self.clients.get(&connection) {
            None if self.clients.len() >= FOLLOWERS_MAX => FollowCode::TooMany,
            None => FollowCode::Following,
            Some(client) if client.wishes.contains_key(&name) => FollowCode::NameInUse,
            Some(client) if client.wishes.values().any(|of| *of == target) => {
                FollowCode::AlreadyFollowed
            }
            Some(client) if client.wishes.len() >= FOLLOWS_A_CLIENT_MAX => FollowCode::TooMany,
            Some(_) => FollowCode::Following,
        }
    }

    /// A client is gone.
    pub fn forget(&mut self, connection: u64) {
        let Some(client) = self.clients.remove(&connection) else {
            return;
        };
        for (name, target) in client.wishes {
            self.drop_wish(target, (connection, name));
        }
        self.drop_headers();
    }

    /// Whether somebody follows, or waits for a certificate: then certificates are wanted.
    pub fn is_wanted(&self) -> bool {
        !self.clients.is_empty()
    }

    /// What was done.
    pub const fn counts(&self) -> FollowCounts {
        self.counts
    }

    /// What was told is sent: there is room for as much again.
    pub fn refill(&mut self) {
        self.budget = Budget::default();
    }

    /// A batch is opened: gives frames for those who follow something in it, by connection.
    ///
    /// Two look-ups an entry; where something is told a hash of every payload byte and of each node of the tree. All that is
    /// told until [`Self::refill`] is at most [`TOLD_BYTES_MAX`] bytes.
    pub fn on_opened(&mut self, header: &BatchHeader, archive: &[u8]) -> Vec<(u64, Vec<u8>)> {
        if self.clients.is_empty() {
            return Vec::new();
        }
        let batch = access(archive).expect("the engine has just written this archive");
        let found = self.find(batch);
        let mut frames = Vec::new();
        let told = self.grant(&found, batch.entries.len(), &mut frames);
        if told.is_empty() && self.headers.is_empty() {
            return frames;
        }
        self.keep_header(header);
        if told.is_empty() {
            return frames;
        }
        let entries: Vec<Entry<'_>> = batch
            .entries
            .iter()
            .map(|of| Entry::of(&of.to_entry(), batch))
            .collect();
        let tree = Tree::new(entries.iter().map(|entry| entry.leaf).collect());
        for share in told {
            let items = share.items(&found);
            frames.push((share.connection, included(header, &entries, &tree, &items)));
            self.counts.included += items.len() as u64;
            self.on_told(&share, header.seq);
        }
        frames
    }

    /// Where what is followed stands in a batch.
    fn find(&self, batch: &ArchivedBatch) -> BTreeMap<FollowTarget, Found> {
        let mut found: BTreeMap<FollowTarget, Found> = BTreeMap::new();
        for (index, archived) in (0..).zip(batch.entries.iter()) {
            let digest = FollowTarget::Digest(Digest(archived.digest));
            let rollup = FollowTarget::Rollup(RollupId(archived.rollup_id.to_native()));
            for target in [digest, rollup] {
                if self.wishes.contains_key(&target) {
                    let range = archived.to_entry().outcome.range();
                    let found = found.entry(target).or_default();
                    found.places.push(index);
                    found.payload_len += range.map_or(0, |(_, len)| len as usize);
                }
            }
        }
        found
    }

    /// Who is told of what was found, those first who are told least; the wishes of the others end, which `frames` say.
    fn grant(
        &mut self,
        found: &BTreeMap<FollowTarget, Found>,
        entries: usize,
        frames: &mut Vec<(u64, Vec<u8>)>,
    ) -> Vec<Share> {
        let mut shares: BTreeMap<u64, Share> = BTreeMap::new();
        for (target, of) in found {
            for (connection, name) in self.wishes.get(target).into_iter().flatten() {
                let share = shares.entry(*connection).or_default();
                share.connection = *connection;
                share.entries += of.places.len();
                share.payload_len += of.payload_len;
                share.wishes.push((*name, *target));
            }
        }
        let path_len = entries.next_power_of_two().trailing_zeros() as usize;
        let mut shares: Vec<(usize, Share)> = (shares.into_values())
            .map(|share| (share.len_max(path_len), share))
            .collect();
        shares.sort_by_key(|(len, share)| (*len, share.connection));
        let mut granted = Vec::new();
        for (len, share) in shares {
            if self.budget.take(share.connection, len) {
                granted.push(share);
                continue;
            }
            let mut bytes = Vec::new();
            for (name, _) in &share.wishes {
                encode_following(&mut bytes, *name, FollowCode::Overrun);
            }
            frames.push((share.connection, bytes));
            self.counts.overrun += share.wishes.len() as u64;
            self.end(share.connection, &share.wishes);
        }
        granted
    }

    /// A digest is followed until it was told of; the connection now waits for a certificate.
    fn on_told(&mut self, share: &Share, seq: BatchSeq) {
        if let Some(client) = self.clients.get_mut(&share.connection) {
            client.unproven.insert(seq);
        }
        let mut done = share.wishes.clone();
        done.retain(|(_, target)| matches!(target, FollowTarget::Digest(_)));
        self.end(share.connection, &done);
    }

    /// Ends wishes of a connection; one that wishes for nothing and waits for nothing is forgotten.
    fn end(&mut self, connection: u64, wishes: &[(u64, FollowTarget)]) {
        let Some(client) = self.clients.get_mut(&connection) else {
            return;
        };
        for (name, _) in wishes {
            client.wishes.remove(name);
        }
        if client.wishes.is_empty() && client.unproven.is_empty() {
            self.clients.remove(&connection);
        }
        for (name, target) in wishes {
            self.drop_wish(*target, (connection, *name));
        }
    }

    fn drop_wish(&mut self, target: FollowTarget, whose: (u64, u64)) {
        if let Some(wishes) = self.wishes.get_mut(&target) {
            wishes.remove(&whose);
            if wishes.is_empty() {
                self.wishes.remove(&target);
            }
        }
    }

    fn keep_header(&mut self, header: &BatchHeader) {
        // After a state that was taken over batches in between are missing (I2).
        if self
            .headers
            .back()
            .is_some_and(|last| !header.follows(last))
        {
            self.headers.clear();
        }
        if self.headers.len() == CERTIFIED_HEADERS_MAX as usize {
            self.headers.pop_front();
        }
        self.headers.push_back(*header);
        let first = self.headers.front().map_or(header.seq, |first| first.seq);
        for client in self.clients.values_mut() {
            let kept = client.unproven.split_off(&first);
            let lost = std::mem::replace(&mut client.unproven, kept);
            self.counts.unproven += lost.len() as u64;
        }
    }

    /// A certificate was made: gives it, with the headers that lead up to it, to those who wait for one.
    pub fn on_certified(&mut self, certificate: &Certificate) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        let (Some(first), seq) = (self.headers.front(), certificate.header.seq) else {
            return frames;
        };
        let first = first.seq;
        let len = (seq.0 + 1).saturating_sub(first.0) as usize;
        if len == 0 || len > self.headers.len() {
            return frames;
        }
        let mut gone = Vec::new();
        for (connection, client) in &mut self.clients {
            let Some(oldest) = client.unproven.first().filter(|oldest| **oldest <= seq) else {
                continue;
            };
            let skip = (oldest.0 - first.0) as usize;
            let headers: Vec<BatchHeader> = self.headers.range(skip..len).copied().collect();
            let mut bytes = Vec::new();
            encode_certified(&mut bytes, certificate, headers.into_iter());
            frames.push((*connection, bytes));
            self.counts.certified += 1;
            client.unproven = client.unproven.split_off(&BatchSeq(seq.0 + 1));
            if client.wishes.is_empty() && client.unproven.is_empty() {
                gone.push(*connection);
            }
        }
        for connection in gone {
            self.clients.remove(&connection);
        }
        self.drop_headers();
        frames
    }

    /// Lets go of headers that nobody waits for.
    fn drop_headers(&mut self) {
        let oldest = self.clients.values().filter_map(|of| of.unproven.first());
        match oldest.min() {
            Some(oldest) => self.headers.retain(|header| header.seq >= *oldest),
            None => self.headers.clear(),
        }
    }
}

/// Where something that is followed stands in a batch.
#[derive(Debug, Default)]
struct Found {
    places: Vec<u32>,
    payload_len: usize,
}

/// What of a batch one connection is to be told.
#[derive(Debug, Default)]
struct Share {
    connection: u64,
    wishes: Vec<(u64, FollowTarget)>,
    entries: usize,
    payload_len: usize,
}

impl Share {
    fn len_max(&self, path_len: usize) -> usize {
        included_len_max(self.entries, self.payload_len, path_len)
    }

    /// Names and places, in the batch's order.
    fn items(&self, found: &BTreeMap<FollowTarget, Found>) -> Vec<(u64, u32)> {
        let mut items = Vec::with_capacity(self.entries);
        for (name, target) in &self.wishes {
            let places = found.get(target).map(|of| of.places.iter());
            items.extend(places.into_iter().flatten().map(|place| (*name, *place)));
        }
        items.sort_unstable_by_key(|(name, place)| (*place, *name));
        items
    }
}

/// An entry of an archive with its leaf.
struct Entry<'a> {
    digest: Digest,
    rollup_id: RollupId,
    reveal: Reveal,
    payload: &'a [u8],
    leaf: Sha256Hash,
}

impl<'a> Entry<'a> {
    fn of(entry: &BatchEntry, batch: &'a ArchivedBatch) -> Self {
        let range = entry.outcome.range().unwrap_or((0, 0));
        let (start, end) = (range.0 as usize, range.0 as usize + range.1 as usize);
        let payload = &batch.payload[start..end];
        let (digest, rollup_id) = (Digest(entry.digest), RollupId(entry.rollup_id));
        Self {
            digest,
            rollup_id,
            reveal: match entry.outcome {
                Outcome::Open { .. } => Reveal::Open,
                Outcome::Revealed { r, .. } => Reveal::Revealed { r },
                Outcome::Void => Reveal::Void,
            },
            payload,
            leaf: payload_leaf(digest, rollup_id, &entry.outcome, payload),
        }
    }
}

/// Frames for one connection.
fn included(
    header: &BatchHeader,
    entries: &[Entry<'_>],
    tree: &Tree,
    items: &[(u64, u32)],
) -> Vec<u8> {
    let paths: Vec<Vec<Sha256Hash>> = items
        .iter()
        .map(|(_, index)| tree.path(*index as usize))
        .collect();
    let included = items.iter().zip(&paths).map(|((name, index), path)| {
        let entry = &entries[*index as usize];
        IncludedEntry {
            name: *name,
            index: *index,
            digest: entry.digest,
            rollup_id: entry.rollup_id,
            reveal: entry.reveal,
            payload: entry.payload,
            path,
        }
    });
    let included: Vec<IncludedEntry<'_>> = included.collect();
    let mut bytes = Vec::new();
    encode_included(&mut bytes, header, &included);
    bytes
}

/// What one connection may follow.
pub const FOLLOWS_A_CLIENT_MAX: usize = 64;
/// Connections of a node that follow something.
pub const FOLLOWERS_MAX: usize = 256;

#[cfg(test)]
#[path = "followers_tests.rs"]
mod tests;
