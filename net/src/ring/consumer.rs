//! The worker's side of the ring.

use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::memory::{Mapping, received_memfd};
use super::{
    CAPACITY_AT, CAPACITY_MAX, CAPACITY_MIN, HEAD_AT, KIND_CERTIFICATE, KIND_DATA, KIND_SKIP,
    MAGIC, MAGIC_AT, NODE_PARKED_AT, PAGE_LEN, READER_PARKED_AT, RECORD_HEADER_LEN, RecordHeader,
    RingError, SETTLED_AT, TAIL_AT,
};

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A batch's archive.
    Batch,
    /// A certificate of a batch before it.
    Certificate,
}

/// One record, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRecord<'a> {
    /// As the node committed it; of a certificate, one above the last batch before it.
    pub seq: u64,
    /// What it holds.
    pub kind: RecordKind,
    /// The record's bytes, at a 16-byte aligned address.
    pub bytes: &'a [u8],
}

/// The only reader of a ring. A later consumer of the same ring goes on where this one gave back.
#[derive(Debug)]
pub struct Consumer {
    data: Mapping,
    cursor: Mapping,
    wake: PipeReader,
    capacity: u64,
    /// Position behind the last record that was handed out.
    read: u64,
    /// Last seen head; `read <= head`.
    head: u64,
}

impl Consumer {
    /// Takes the descriptors that the node handed over, in the order of [`super::RingFds::as_fds`].
    ///
    /// Errors: they are not those of a ring of this version, or the system refuses to map them.
    pub fn attach(fds: [OwnedFd; 3]) -> Result<Self, RingError> {
        let [data, cursor, wake] = fds;
        let data = Mapping::read_only(&received_memfd(data)?)?;
        let cursor = Mapping::writable(&received_memfd(cursor)?)?;
        let page_len = PAGE_LEN as usize;
        if data.len() < page_len || cursor.len() < page_len {
            return Err(RingError::Layout("a mapping is too short"));
        }
        if data.load(MAGIC_AT) != MAGIC {
            return Err(RingError::Layout("its version is unknown"));
        }
        let capacity = data.load(CAPACITY_AT);
        let in_bounds = (CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity);
        if !in_bounds || !capacity.is_power_of_two() || data.len() as u64 != PAGE_LEN + capacity {
            return Err(RingError::Layout("its capacity is not its length"));
        }
        let read = cursor.load(TAIL_AT);
        let mut consumer = Self {
            data,
            cursor,
            wake: wake.into(),
            capacity,
            read,
            head: read,
        };
        consumer.refresh_head()?;
        Ok(consumer)
    }

    /// The next record, if the node has published one. It stays valid until [`advance`](Self::advance).
    pub fn try_next(&mut self) -> Result<Option<RingRecord<'_>>, RingError> {
        loop {
            if self.read == self.head {
                self.refresh_head()?;
                if self.read == self.head {
                    return Ok(None);
                }
            }
            let position = self.read;
            let impossible = RingError::Record { position };
            let header = self
                .published(position, RECORD_HEADER_LEN)
                .and_then(RecordHeader::decode);
            match header {
                Some(RecordHeader {
                    kind: KIND_SKIP, ..
                }) => {
                    let next = position + (self.capacity - position % self.capacity);
                    if next > self.head {
                        return Err(impossible);
                    }
                    self.read = next;
                }
                Some(RecordHeader {
                    kind: kind @ (KIND_DATA | KIND_CERTIFICATE),
                    len,
                    seq,
                }) => {
                    let start = position + RECORD_HEADER_LEN;
                    let end = start + u64::from(len).next_multiple_of(RECORD_HEADER_LEN);
                    if end > self.head {
                        return Err(impossible);
                    }
                    self.read = end;
                    let bytes = self.published(start, u64::from(len)).ok_or(impossible)?;
                    let kind = match kind {
                        KIND_CERTIFICATE => RecordKind::Certificate,
                        _ => RecordKind::Batch,
                    };
                    return Ok(Some(RingRecord { seq, kind, bytes }));
                }
                Some(_) | None => return Err(impossible),
            }
        }
    }

    /// Gives back every record handed out so far, and says that every seq below `settled_count` is settled.
    ///
    /// True when the node asks to be woken for it.
    #[must_use = "the node may be waiting for this wake-up"]
    pub fn advance(&mut self, settled_count: u64) -> bool {
        // SAFETY: `attach` mapped the cursor writable.
        unsafe { self.cursor.store(SETTLED_AT, settled_count) };
        // SAFETY: `attach` mapped the cursor writable.
        unsafe { (self.cursor).publish(TAIL_AT, self.read, (&self.data, NODE_PARKED_AT)) }
    }

    /// Asks to be woken, then looks once more: true when there is still nothing to read, so that waiting on
    /// [`wake_fd`](Self::wake_fd) is safe. Call [`on_wake`](Self::on_wake) afterwards in any case.
    pub fn is_idle_after_parking(&mut self) -> Result<bool, RingError> {
        self.set_parked(true);
        self.refresh_head()?;
        Ok(self.read == self.head)
    }

    /// Takes back the wish to be woken and empties the pipe.
    pub fn on_wake(&mut self) {
        self.set_parked(false);
        let mut bytes = [0; 256];
        // The pipe is non-blocking: an error or a short read means that it is empty.
        while matches!(self.wake.read(&mut bytes), Ok(len) if len == bytes.len()) {}
    }

    /// Becomes readable when the node wakes the worker.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn set_parked(&self, parked: bool) {
        // SAFETY: `attach` mapped the cursor writable.
        unsafe { self.cursor.park(READER_PARKED_AT, parked) };
    }

    fn refresh_head(&mut self) -> Result<(), RingError> {
        let head = self.data.load(HEAD_AT);
        let aligned = head.is_multiple_of(RECORD_HEADER_LEN);
        let behind = head.checked_sub(self.read);
        if !aligned || behind.is_none_or(|len| len > self.capacity) {
            return Err(RingError::Layout("its head is impossible"));
        }
        self.head = head;
        Ok(())
    }

    /// Bytes from position `start`, none when they would pass the ring's end.
    fn published(&self, start: u64, len: u64) -> Option<&[u8]> {
        let at = start % self.capacity;
        if at + len > self.capacity {
            return None;
        }
        // SAFETY: the bytes lie between tail and head (callers check against `head`), where the node, which the worker
        // trusts for memory (I3), does not write until the tail passes them; `advance` needs `&mut self`.
        Some(unsafe { self.data.bytes((PAGE_LEN + at) as usize, len as usize) })
    }
}
