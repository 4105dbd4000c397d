//! Datagrams that come another way than through a socket of the backend: the seam for AF_XDP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// A queue of datagrams with a descriptor that becomes readable when one has come.
///
/// The backend that it was given to watches the descriptor and hands the datagrams out as
/// [`Event::Datagram`](super::Event::Datagram), as if they had come through the UDP socket of the same tag.
pub trait DatagramSource: AsFd {
    /// Hands out at most `limit` datagrams that have come; never waits. True when more may be there already.
    ///
    /// # Errors
    /// A local fault; the source is of no more use.
    fn take(&mut self, limit: u32, each: &mut dyn FnMut(SocketAddr, &[u8])) -> io::Result<bool>;

    /// What was counted so far.
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
