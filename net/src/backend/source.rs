//! Datagrams that come another way than through a socket of the backend: the seam for AF_XDP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::{Counters, Event, ListenerTag};

/// A queue of datagrams with a descriptor that becomes readable when one has come.
///
/// The backend that it was given to watches the descriptor and hands the datagrams out as [`Event::Datagram`], as if they
/// had come through the UDP socket of the same tag.
pub trait DatagramSource: AsFd + Send {
    /// Hands out at most `limit` datagrams that have come; never waits. True when more may be there already.
    fn take(&mut self, limit: u32, each: &mut dyn FnMut(SocketAddr, &[u8])) -> bool;

    /// What was counted so far. Asked for at every poll: what costs a system call may be a moment old.
    fn counters(&self) -> SourceCounters;
}

/// Counted since a source was opened, or over several of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceCounters {
    /// Datagrams handed out.
    pub datagrams: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Frames that held no correct datagram for us.
    pub malformed: u64,
    /// Frames lost because no memory was free for them.
    pub dropped: u64,
    /// Frames lost because the receive ring was full: the thread did not come round.
    pub ring_full: u64,
    /// How often the kernel found no free memory ahead; the frames lost by it are in `dropped` too.
    pub fill_empty: u64,
    /// Descriptors of ours that the kernel did not take: a fault of ours.
    pub invalid: u64,
}

impl std::ops::AddAssign for SourceCounters {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.malformed += other.malformed;
        self.dropped += other.dropped;
        self.ring_full += other.ring_full;
        self.fill_empty += other.fill_empty;
        self.invalid += other.invalid;
    }
}

/// The sources of one backend, in the order in which they were given to it; none is ever taken away.
///
/// Invariant: a source that may hold datagrams without another readiness being told is listed.
#[derive(Default)]
pub(super) struct Sources {
    entries: Vec<Entry>,
}

struct Entry {
    source: Box<dyn DatagramSource>,
    tag: ListenerTag,
    bytes_max: usize,
    is_listed: bool,
}

impl Sources {
    /// Adds a source whose datagrams are handed out under `tag`; gives its index.
    ///
    /// # Errors
    /// `InvalidInput` for one source too many.
    pub(super) fn add(
        &mut self,
        source: Box<dyn DatagramSource>,
        tag: ListenerTag,
        bytes_max: usize,
    ) -> io::Result<usize> {
        if self.entries.len() >= DATAGRAM_SOURCES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.entries.push(Entry {
            source,
            tag,
            bytes_max,
            is_listed: false,
        });
        Ok(self.entries.len() - 1)
    }

    /// Takes back the last one, which is not watched yet.
    pub(super) fn remove_last(&mut self) {
        self.entries.pop();
    }

    /// The descriptor of a source.
    pub(super) fn fd(&self, index: usize) -> RawFd {
        self.entries[index].source.as_fd().as_raw_fd()
    }

    /// Hands out a source's share of what has come, and lists it when there is more.
    pub(super) fn take(
        &mut self,
        index: usize,
        counters: &mut Counters,
        events: &mut dyn FnMut(Event<'_>),
    ) {
        let Entry {
            source,
            tag,
            bytes_max,
            is_listed,
        } = &mut self.entries[index];
        *is_listed = source.take(SOURCE_SHARE, &mut |peer, bytes| {
            if bytes.len() > *bytes_max {
                counters.datagrams_truncated += 1;
                return;
            }
            counters.datagrams_received += 1;
            counters.received_bytes += bytes.len() as u64;
            let socket = *tag;
            events(Event::Datagram {
                socket,
                peer,
                bytes,
            });
        });
    }

    /// Goes on with those that are listed.
    pub(super) fn take_listed(
        &mut self,
        counters: &mut Counters,
        events: &mut dyn FnMut(Event<'_>),
    ) {
        for index in 0..self.entries.len() {
            if self.entries[index].is_listed {
                self.take(index, counters, events);
            }
        }
    }

    /// Whether a poll must not sleep.
    pub(super) fn has_listed(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_listed)
    }

    /// Adds what the sources count to what the backend counts.
    pub(super) fn count(&self, counters: &mut Counters) {
        for entry in &self.entries {
            counters.sources += entry.source.counters();
        }
        counters.datagrams_dropped += counters.sources.dropped + counters.sources.ring_full;
    }
}

/// Sources of one backend.
const DATAGRAM_SOURCES_MAX: usize = 16;
/// Datagrams taken from one source before others have their turn.
const SOURCE_SHARE: u32 = 256;
