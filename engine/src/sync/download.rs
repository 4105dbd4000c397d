//! Items that are being fetched part by part, each from one peer at a time, from the next one when that does not answer.
//!
//! I1: at most [`DOWNLOADS_MAX`] items at a time, and one part of each on its way. I2: an item takes no more memory than
//! its kind may have, whatever a peer announces. I3: a peer that has not the item, does not answer in time or answers
//! wrongly is followed by the next one, at once, and when all were asked after a wait that doubles
//! each time; the item starts from its first part.

use std::collections::BTreeMap;

use super::part::{HEADERS_MAX, Item, PART_LEN_MAX, Part, WantPart};
use crate::batch::archive::{BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, archive_len_max};
use crate::batch::header::HEADER_LEN;
use crate::types::{AuthorityIndex, TimestampUs};

/// Items fetched at a time.
pub const DOWNLOADS_MAX: usize = 8;
/// Longest transferred state that is taken, bytes.
pub const STATE_LEN_MAX: usize = 128 << 20;
/// The wait between attempts doubles at most this often.
const DOWNLOAD_DOUBLINGS_MAX: u32 = 5;

/// What is being fetched.
#[derive(Debug)]
pub struct Downloads {
    items: BTreeMap<Item, Download>,
    own: AuthorityIndex,
    authorities: u32,
    retry_us: u64,
    /// Whom to begin with next.
    next_peer: u32,
}

#[derive(Debug)]
struct Download {
    peer: AuthorityIndex,
    of_len: Option<u32>,
    bytes: Vec<u8>,
    attempts: u32,
    /// When to ask for the next part, or again.
    due: TimestampUs,
    /// The part has been asked for: when it is due it did not come.
    asked: bool,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// More parts are needed.
    Partial,
    /// The item is whole.
    Whole(Vec<u8>),
    /// The peer has not got it.
    NotHere,
    /// Nobody asked this peer for it.
    Unasked,
    /// It does not fit what was asked for.
    Bad,
}

impl Downloads {
    /// Nothing is fetched yet. `retry_us` is the first wait for an answer.
    pub const fn new(own: AuthorityIndex, authorities: u32, retry_us: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            own,
            authorities,
            retry_us,
            next_peer: 0,
        }
    }

    /// Fetches `item` unless it is being fetched. False when there is no peer, or no room.
    pub fn start(&mut self, item: Item, now: TimestampUs) -> bool {
        if self.items.contains_key(&item) {
            return true;
        }
        if self.items.len() >= DOWNLOADS_MAX || self.authorities < 2 {
            return false;
        }
        let download = Download {
            peer: self.turn(),
            of_len: None,
            bytes: Vec::new(),
            attempts: 0,
            due: now,
            asked: false,
        };
        self.items.insert(item, download);
        true
    }

    /// The item is not needed any more.
    pub fn stop(&mut self, is_needless: impl Fn(&Item) -> bool) {
        self.items.retain(|item, _| !is_needless(item));
    }

    /// The items that every peer was asked for in vain.
    pub fn in_vain(&self) -> impl Iterator<Item = Item> {
        let peers = self.authorities - 1;
        let items = self.items.iter();
        items.filter_map(move |(item, download)| (download.attempts >= peers).then_some(*item))
    }

    /// Whether such an item is being fetched.
    pub fn has(&self, is_one: impl Fn(&Item) -> bool) -> bool {
        self.items.keys().any(is_one)
    }

    /// How many parts of an item are here, and of how many; these are 0 until the first has come.
    pub fn parts(&self, is_one: impl Fn(&Item) -> bool) -> Option<(u32, u32)> {
        let mut items = self.items.iter();
        let (_, download) = items.find(|(item, _)| is_one(item))?;
        let of = download.of_len.unwrap_or(0).div_ceil(PART_LEN_MAX as u32);
        Some(((download.bytes.len() / PART_LEN_MAX) as u32, of))
    }

    /// How many items are being fetched.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is being fetched.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A part came.
    pub fn take(&mut self, from: AuthorityIndex, part: &Part, now: TimestampUs) -> Taken {
        let WantPart { item, index } = part.want;
        let Some(download) = self.items.get_mut(&item) else {
            return Taken::Unasked;
        };
        let is_next = index as usize * PART_LEN_MAX == download.bytes.len();
        if download.peer != from || !download.asked || !is_next {
            return Taken::Unasked;
        }
        if part.of_len == 0 && part.bytes.is_empty() {
            self.again(item, now);
            return Taken::NotHere;
        }
        let of_len = part.of_len as usize;
        let left = of_len.saturating_sub(download.bytes.len());
        let fits = download.of_len.is_none_or(|known| known == part.of_len)
            && of_len <= len_max(item)
            && part.bytes.len() == left.min(PART_LEN_MAX)
            && left > 0;
        if !fits {
            self.again(item, now);
            return Taken::Bad;
        }
        download.of_len = Some(part.of_len);
        download.bytes.extend_from_slice(&part.bytes);
        if download.bytes.len() < of_len {
            (download.asked, download.due) = (false, now);
            return Taken::Partial;
        }
        // It stays until the caller has found it good: see `done` and `again`.
        download.due = TimestampUs(u64::MAX);
        Taken::Whole(std::mem::take(&mut download.bytes))
    }

    /// A whole item was good.
    pub fn done(&mut self, item: Item) {
        self.items.remove(&item);
    }

    /// What came is of no use: the next peer is asked, after a wait.
    pub fn again(&mut self, item: Item, now: TimestampUs) {
        let peer = self.turn();
        if let Some(download) = self.items.get_mut(&item) {
            let wait = wait_us(self.retry_us, download.attempts, self.authorities);
            download.attempts += 1;
            // The others may have it: only when all were asked is there reason to wait.
            let all_asked = download.attempts % (self.authorities - 1).max(1) == 0;
            download.due = if all_asked { now.plus_us(wait) } else { now };
            (download.peer, download.of_len, download.asked) = (peer, None, false);
            download.bytes.clear();
        }
    }

    /// The requests due at `now`.
    pub fn take_due(&mut self, now: TimestampUs) -> Vec<(AuthorityIndex, WantPart)> {
        let late = |download: &Download| download.asked && download.due <= now;
        let late: Vec<Item> = self
            .items
            .iter()
            .filter_map(|(item, download)| late(download).then_some(*item))
            .collect();
        for item in late {
            self.again(item, now);
        }
        let mut requests = Vec::new();
        for (item, download) in &mut self.items {
            if download.asked || download.due > now {
                continue;
            }
            let wait = wait_us(self.retry_us, download.attempts, self.authorities);
            download.due = now.plus_us(wait);
            download.asked = true;
            let index = (download.bytes.len() / PART_LEN_MAX) as u32;
            let want = WantPart { item: *item, index };
            requests.push((download.peer, want));
        }
        requests
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<TimestampUs> {
        self.items.values().map(|download| download.due).min()
    }

    /// The next peer in turn, never oneself.
    fn turn(&mut self) -> AuthorityIndex {
        self.next_peer = (self.next_peer + 1) % (self.authorities - 1).max(1);
        let peer = (u32::from(self.own.0) + 1 + self.next_peer) % self.authorities;
        AuthorityIndex(peer as u8)
    }
}

/// How long to wait: doubled each time that all peers have been asked.
fn wait_us(retry_us: u64, attempts: u32, authorities: u32) -> u64 {
    let doublings = attempts / (authorities - 1).max(1);
    retry_us << doublings.min(DOWNLOAD_DOUBLINGS_MAX)
}

/// Bytes that an item of this kind takes at most.
fn len_max(item: Item) -> usize {
    match item {
        // Headers, one vertex header an authority, counts.
        Item::Proof(_) => 2 * PART_LEN_MAX,
        Item::State(_) => STATE_LEN_MAX,
        Item::Headers(_) => HEADERS_MAX * HEADER_LEN,
        Item::Batch(_) => archive_len_max(BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BatchSeq;

    const ITEM: Item = Item::State(BatchSeq(7));

    fn downloads() -> Downloads {
        let mut downloads = Downloads::new(AuthorityIndex(0), 4, 100);
        assert!(downloads.start(ITEM, TimestampUs(0)));
        downloads
    }

    fn part(of: &[u8], index: u32) -> Part {
        Part::of(WantPart { item: ITEM, index }, Some(of))
    }

    #[test]
    fn an_item_comes_part_by_part_from_one_peer() {
        let bytes: Vec<u8> = (0..2 * PART_LEN_MAX + 9).map(|at| at as u8).collect();
        let mut downloads = downloads();
        for index in 0..3 {
            let now = TimestampUs(u64::from(index) * 10);
            let requests = downloads.take_due(now);
            assert_eq!(requests.len(), 1);
            let (peer, want) = requests[0];
            assert_eq!(want.index, index);
            assert!(downloads.take_due(now).is_empty(), "asked once");
            let other = AuthorityIndex(peer.0 % 3 + 1);
            let early = part(&bytes, index + 1);
            assert_eq!(
                downloads.take(other, &part(&bytes, index), now),
                Taken::Unasked
            );
            assert_eq!(downloads.take(peer, &early, now), Taken::Unasked);
            let of = if index == 0 { 0 } else { 3 };
            assert_eq!(downloads.parts(|item| *item == ITEM), Some((index, of)));
            let taken = downloads.take(peer, &part(&bytes, index), now);
            match index {
                2 => assert_eq!(taken, Taken::Whole(bytes.clone())),
                _ => assert_eq!(taken, Taken::Partial),
            }
        }
        downloads.done(ITEM);
        assert!(downloads.is_empty() && downloads.next_due().is_none());
        assert_eq!(downloads.parts(|item| *item == ITEM), None);
    }

    #[test]
    fn silence_a_wrong_answer_and_none_lead_to_the_next_peer_and_after_all_to_a_wait() {
        let mut downloads = downloads();
        let mut asked = Vec::new();
        let mut now = TimestampUs(0);
        let first = downloads.take_due(now)[0].0;
        asked.push(first);
        now = TimestampUs(100);
        asked.push(downloads.take_due(now)[0].0);
        let mut wrong = part(&[1, 2, 3], 0);
        wrong.bytes.pop();
        assert_eq!(downloads.take(asked[1], &wrong, now), Taken::Bad);
        asked.push(downloads.take_due(now)[0].0);
        let none = Part::of(wrong.want, None);
        assert_eq!(downloads.take(asked[2], &none, now), Taken::NotHere);
        let mut different = asked.clone();
        different.sort_unstable();
        assert_eq!(different, [1, 2, 3].map(AuthorityIndex), "{asked:?}");
        assert!(downloads.take_due(now).is_empty(), "all were asked");
        assert_eq!(downloads.next_due(), Some(now.plus_us(100)));
        assert_eq!(downloads.take_due(now.plus_us(100)).len(), 1);
        let none_again = now.plus_us(299);
        assert!(
            downloads.take_due(none_again).is_empty(),
            "200 us for an answer now"
        );
    }

    #[test]
    fn what_a_peer_announces_is_bounded_before_it_takes_memory() {
        let mut downloads = downloads();
        let (peer, want) = downloads.take_due(TimestampUs(0))[0];
        let of_len = STATE_LEN_MAX as u32 + 1;
        let bytes = vec![0; PART_LEN_MAX];
        let huge = Part {
            want,
            of_len,
            bytes,
        };
        assert_eq!(downloads.take(peer, &huge, TimestampUs(1)), Taken::Bad);
    }
}
