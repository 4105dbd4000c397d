//! The node's side of the ring.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::memory::{Mapping, seal_writes, sized_memfd};
use super::{
    CAPACITY_AT, CAPACITY_MAX, CAPACITY_MIN, HEAD_AT, KIND_CERTIFICATE, KIND_DATA, KIND_SKIP,
    MAGIC, MAGIC_AT, NODE_PARKED_AT, PAGE_LEN, READER_PARKED_AT, RECORD_HEADER_LEN, RecordHeader,
    RingError, SETTLED_AT, TAIL_AT, record_len_max,
};

/// Makes a ring of `capacity` bytes of records; `first_seq` is the seq of the first record that will be committed.
///
/// Memory is taken as it is first written. Errors: the capacity, or the system refuses.
pub fn create(capacity: u64, first_seq: u64) -> Result<(Producer, RingWatch, RingFds), RingError> {
    if !capacity.is_power_of_two() || !(CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) {
        return Err(RingError::Capacity(capacity));
    }
    let data_file = sized_memfd("fairlane-ring", PAGE_LEN + capacity)?;
    let cursor_file = sized_memfd("fairlane-cursor", PAGE_LEN)?;
    let data = Mapping::writable(&data_file)?;
    let control = Mapping::writable(&data_file)?;
    seal_writes(&data_file)?;
    let cursor = Mapping::read_only(&cursor_file)?;
    // SAFETY: mapped writable above.
    unsafe { control.store(CAPACITY_AT, capacity) };
    // SAFETY: mapped writable above.
    unsafe { control.store(MAGIC_AT, MAGIC) };
    // SAFETY: mapped writable above.
    unsafe { control.store(NODE_PARKED_AT, 1) };

    let (wake_read, wake_write) = std::io::pipe().map_err(RingError::os("making a pipe"))?;
    set_nonblocking(wake_read.as_fd())?;
    set_nonblocking(wake_write.as_fd())?;
    let shared = Arc::new(Shared {
        control,
        cursor,
        published: AtomicU64::new(first_seq),
        settled: AtomicU64::new(first_seq),
    });
    let producer = Producer {
        data,
        shared: Arc::clone(&shared),
        wake: wake_write,
        capacity,
        head: 0,
        tail: 0,
        next_seq: first_seq,
        reservation: None,
        lies: 0,
        lie: None,
    };
    let fds = RingFds {
        data: data_file,
        cursor: cursor_file,
        wake: wake_read,
    };
    Ok((producer, RingWatch { shared }, fds))
}

/// The only writer of a ring.
#[derive(Debug)]
pub struct Producer {
    data: Mapping,
    shared: Arc<Shared>,
    wake: PipeWriter,
    capacity: u64,
    /// Everything before is published.
    head: u64,
    /// Last believed tail; `tail <= head <= tail + capacity`.
    tail: u64,
    /// Least seq that the next record may have.
    next_seq: u64,
    reservation: Option<Reservation>,
    lies: u64,
    /// The last of them.
    lie: Option<u64>,
}

impl Producer {
    /// Room for a record of up to `len_max` bytes, at a 16-byte aligned address; none while the reader is too far behind.
    ///
    /// Holds whatever the ring held there before. A reservation that is not committed is replaced by the next one.
    /// Panics when `len_max` is above [`record_len_max`] of the capacity: such a record would never fit.
    pub fn reserve(&mut self, len_max: usize) -> Option<&mut [u8]> {
        let len_max = len_max as u64;
        assert!(
            len_max <= record_len_max(self.capacity),
            "a record is at most half the ring"
        );
        let need = RECORD_HEADER_LEN + len_max.next_multiple_of(RECORD_HEADER_LEN);
        let to_end = self.capacity - self.head % self.capacity;
        let skip = if need > to_end { to_end } else { 0 };
        if !self.has_room(skip + need) {
            self.refresh_tail();
            if !self.has_room(skip + need) {
                self.reservation = None;
                return None;
            }
        }
        self.reservation = Some(Reservation {
            start: self.head + skip,
            skip,
            len_max,
        });
        self.reserved_mut()
    }

    /// The room that was reserved and not committed yet.
    pub fn reserved_mut(&mut self) -> Option<&mut [u8]> {
        let Reservation { start, len_max, .. } = self.reservation?;
        Some(self.owned_mut(start + RECORD_HEADER_LEN, len_max))
    }

    /// Publishes the first `len` bytes of the reservation as the record `seq`, and wakes the reader if it is parked.
    ///
    /// `seq` must grow over the life of the ring. Panics without a reservation, when `len` is above it, or when `seq`
    /// does not grow: all three are bugs of the caller.
    pub fn commit(&mut self, seq: u64, len: usize) {
        assert!(seq >= self.next_seq, "sequence numbers grow");
        self.next_seq = seq + 1;
        self.publish(KIND_DATA, seq, len);
    }

    /// Publishes them as a certificate of a record that was committed before. Panics as [`Self::commit`] does.
    pub fn commit_certificate(&mut self, len: usize) {
        self.publish(KIND_CERTIFICATE, self.next_seq, len);
    }

    fn publish(&mut self, kind: u32, seq: u64, len: usize) {
        let reservation = self
            .reservation
            .take()
            .expect("a commit follows a reservation");
        let Reservation {
            start,
            skip,
            len_max,
        } = reservation;
        assert!(len as u64 <= len_max, "a record fits its reservation");
        if skip > 0 {
            // Positions are multiples of the header's length, so at least a header fits before the end.
            let skip_len = u32::try_from(skip - RECORD_HEADER_LEN)
                .expect("a skip is at most half the ring, which is at most 4 GiB");
            let header = RecordHeader {
                len: skip_len,
                kind: KIND_SKIP,
                seq,
            };
            self.owned_mut(self.head, RECORD_HEADER_LEN)
                .copy_from_slice(&header.encode());
        }
        let len =
            u32::try_from(len).expect("a record is at most half the ring, which is at most 4 GiB");
        let header = RecordHeader { len, kind, seq };
        self.owned_mut(start, RECORD_HEADER_LEN)
            .copy_from_slice(&header.encode());

        let padded = u64::from(len).next_multiple_of(RECORD_HEADER_LEN);
        self.head = start + RECORD_HEADER_LEN + padded;
        // Before the head: whoever has settled this record must find it published.
        self.shared
            .published
            .store(self.next_seq, Ordering::Release);
        let Shared {
            control, cursor, ..
        } = &*self.shared;
        // SAFETY: `create` mapped it writable.
        if unsafe { control.publish(HEAD_AT, self.head, (cursor, READER_PARKED_AT)) } {
            self.wake_reader();
        }
    }

    /// Counts every seq below `seq` as published: the reader has them from elsewhere, and may say that they are settled.
    ///
    /// Panics after a commit: a bug of the caller.
    pub fn start_at(&mut self, seq: u64) {
        assert_eq!(self.head, 0, "a ring starts once");
        self.next_seq = seq;
        self.shared.published.store(seq, Ordering::Release);
    }

    /// Positions in the cursor that no correct reader writes, each counted once while it stands there.
    pub const fn lies(&self) -> u64 {
        self.lies
    }

    /// Bytes that are published and not given back, as last seen.
    pub const fn backlog_len(&self) -> u64 {
        self.head - self.tail
    }

    /// As [`Self::backlog_len`], after a look at the cursor.
    pub fn look_at_backlog(&mut self) -> u64 {
        if self.tail < self.head {
            self.refresh_tail();
        }
        self.backlog_len()
    }

    fn has_room(&self, need: u64) -> bool {
        self.head - self.tail + need <= self.capacity
    }

    fn refresh_tail(&mut self) {
        let claimed = self.shared.cursor.load(TAIL_AT);
        let aligned = claimed.is_multiple_of(RECORD_HEADER_LEN);
        if aligned && (self.tail..=self.head).contains(&claimed) {
            self.tail = claimed;
        } else if self.lie != Some(claimed) {
            self.lie = Some(claimed);
            self.lies += 1;
        }
    }

    /// Bytes of the ring from position `start`, which the producer owns.
    fn owned_mut(&mut self, start: u64, len: u64) -> &mut [u8] {
        assert!(
            start >= self.head && start + len <= self.tail + self.capacity,
            "the producer writes only what it owns"
        );
        let at = PAGE_LEN + start % self.capacity;
        // SAFETY: mapped writable in `create`; positions from head up to tail + capacity are the producer's alone until
        // the head passes them (I2: a lying tail never passes the head), and readers cannot map the data writable (I1).
        unsafe { self.data.bytes_mut(at as usize, len as usize) }
    }

    fn wake_reader(&mut self) {
        // A full pipe means that wake-ups are waiting already; a closed one cannot be, the node keeps the other end.
        let _ = self.wake.write(&[1]);
    }
}

/// What any thread of the node may ask about a ring.
#[derive(Clone, Debug)]
pub struct RingWatch {
    shared: Arc<Shared>,
}

impl RingWatch {
    /// The reader has settled every seq below this; never above what was published, never going back.
    pub fn settled_count(&self) -> u64 {
        let claimed = self.shared.cursor.load(SETTLED_AT);
        if claimed <= self.shared.published.load(Ordering::Acquire) {
            self.shared.settled.fetch_max(claimed, Ordering::AcqRel);
        }
        self.shared.settled.load(Ordering::Acquire)
    }

    /// Says whether the reader shall send a wake-up when it has settled something; true from the start.
    ///
    /// After setting it, look at [`settled_count`](Self::settled_count) (and try to reserve) once more before parking.
    pub fn set_parked(&self, parked: bool) {
        // SAFETY: `create` mapped it writable.
        unsafe { self.shared.control.park(NODE_PARKED_AT, parked) };
    }
}

/// The descriptors that a worker is given.
#[derive(Debug)]
pub struct RingFds {
    data: File,
    cursor: File,
    wake: PipeReader,
}

impl RingFds {
    /// Data, cursor, and the end of the pipe that becomes readable when the node wakes the worker; in this order.
    pub fn as_fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.data.as_fd(), self.cursor.as_fd(), self.wake.as_fd()]
    }
}

#[derive(Debug)]
struct Shared {
    /// A second mapping of the data memfd, for the words of its first page.
    control: Mapping,
    cursor: Mapping,
    /// One above the last committed seq.
    published: AtomicU64,
    /// Highest believable settled count seen.
    settled: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Reservation {
    /// Position of the record's header.
    start: u64,
    /// Bytes between the head and `start`: 0, or the rest of the ring.
    skip: u64,
    len_max: u64,
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), RingError> {
    let what = "making a pipe non-blocking";
    let flags = fcntl_getfl(fd).map_err(|errno| RingError::os(what)(errno.into()))?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(|errno| RingError::os(what)(errno.into()))
}
