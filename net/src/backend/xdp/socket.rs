//! An AF_XDP socket that only receives, on one queue of an interface.
//!
//! Replies leave through the kernel's UDP socket, so there is no transmit ring; the completion ring, which the kernel
//! insists on, stays empty.
//!
//! A full receive ring and an empty fill ring lose packets, and both run full while this thread does not: rings of 2,048
//! entries lost a third of 250,000 packets a second beside a compile, rings of 8,192 none.
//!
//! Invariant: S1. Dropped in this order: rings, socket, memory. A ring that is mapped keeps the socket's hold on its queue,
//! and the next bind is told EBUSY.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_UMEM_PGOFF_FILL_RING,
    XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::bpf::Mode;
use super::ring::{FillRing, ReceiveRing};
use super::umem::{CHUNK_LEN, CHUNKS, UMEM_LEN, Umem, chunk_of};

/// Entries of the receive and fill rings, and chunks, of one queue: 16 MiB.
pub(super) const RING_DEPTH: u32 = 8192;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    receive: ReceiveRing,
    fill: FillRing,
    /// Chunks that were read while the fill ring had no room; as many as there are at most.
    spare: Vec<u64>,
    fd: OwnedFd,
    umem: Umem,
    is_zero_copy: bool,
}

impl Socket {
    /// Binds to a queue of the interface with this index, where a program runs in `mode`.
    ///
    /// Zero-copy where the driver has it. Waits up to [`BIND_TIME_MAX`] for a socket that was just closed to let go.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENOBUFS when the limit on locked memory is too low (and CAP_IPC_LOCK missing);
    /// EAFNOSUPPORT from a kernel without AF_XDP; EBUSY when another process has the queue.
    pub(super) fn bind(interface: u32, queue: u32, mode: Mode) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = net::socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)?;
        let umem = Umem::new()?;
        let registration = XdpUmemReg {
            addr: umem.address(),
            len: UMEM_LEN as u64,
            chunk_size: CHUNK_LEN,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        sockopt::set_xdp_umem_reg(&fd, registration)?;
        sockopt::set_xdp_umem_fill_ring_size(&fd, RING_DEPTH)?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, COMPLETIONS)?;
        sockopt::set_xdp_rx_ring_size(&fd, RING_DEPTH)?;
        let offsets = sockopt::xdp_mmap_offsets(&fd)?;
        let at = XDP_PGOFF_RX_RING;
        let receive = ReceiveRing::map(fd.as_fd(), at, offsets.rx, RING_DEPTH)?;
        let at = XDP_UMEM_PGOFF_FILL_RING;
        let mut fill = FillRing::map(fd.as_fd(), at, offsets.fr, RING_DEPTH)?;
        for chunk in 0..CHUNKS {
            let has_room = fill.try_push(u64::from(chunk) * u64::from(CHUNK_LEN));
            assert!(
                has_room,
                "the kernel has read nothing yet, and there are as many entries as chunks"
            );
        }
        fill.publish();
        bind_patiently(fd.as_fd(), interface, queue, mode)?;
        let options = sockopt::xdp_options(&fd)?;
        Ok(Self {
            receive,
            fill,
            spare: Vec::new(),
            is_zero_copy: options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY),
            fd,
            umem,
        })
    }

    /// Whether the driver writes frames straight into our memory.
    pub(super) const fn is_zero_copy(&self) -> bool {
        self.is_zero_copy
    }

    /// Whether that memory lies in huge pages.
    pub(super) const fn has_huge_pages(&self) -> bool {
        self.umem.is_huge()
    }

    /// Hands out at most `limit` frames that have come; never waits. True when more are there already.
    pub(super) fn take(&mut self, limit: u32, each: &mut dyn FnMut(&[u8])) -> bool {
        let waiting = self.receive.look();
        let count = waiting.min(limit);
        for index in 0..count {
            let frame = self.receive.frame(index);
            // SAFETY: the receive ring has just named these bytes, and their chunk is given back below, when the slice is
            // gone.
            each(unsafe { self.umem.bytes(frame.addr, frame.len) });
            self.give_back(chunk_of(frame.addr));
        }
        if count > 0 {
            self.receive.release(count);
            while let Some(chunk) = self.spare.pop() {
                if !self.fill.try_push(chunk) {
                    self.spare.push(chunk);
                    break;
                }
            }
            self.fill.publish();
        }
        if self.fill.needs_wakeup() {
            self.wake_driver();
        }
        waiting > count
    }

    fn give_back(&mut self, chunk: u64) {
        if !self.fill.try_push(chunk) {
            self.spare.push(chunk);
        }
    }

    /// Sleeps until a frame is there, at most `timeout`.
    ///
    /// # Errors
    /// What poll says.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What the kernel counts as lost, since the socket was made.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn losses(&self) -> io::Result<Losses> {
        let counted = sockopt::xdp_statistics(&self.fd)?;
        Ok(Losses {
            dropped: counted.rx_dropped,
            ring_full: counted.rx_ring_full.unwrap_or(0),
            fill_empty: counted.rx_fill_ring_empty_descs.unwrap_or(0),
            invalid: counted.rx_invalid_descs,
        })
    }

    /// Has a driver look that sleeps because it found the fill ring empty.
    fn wake_driver(&self) {
        // An error is passing (the driver is busy), or the interface is down or gone: then nothing comes from it either, and
        // what is for us takes the kernel's way.
        let _ = net::recv(&self.fd, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Frames that our program let through and that were lost on the way to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// No chunk was free, or the frame was longer than one.
    pub(super) dropped: u64,
    /// The receive ring was full.
    pub(super) ring_full: u64,
    /// How often the fill ring was found empty; in copy mode such a frame is in `dropped` too.
    pub(super) fill_empty: u64,
    /// Entries of the fill ring that the kernel did not take: a fault of ours.
    pub(super) invalid: u64,
}

fn bind_patiently(fd: BorrowedFd<'_>, interface: u32, queue: u32, mode: Mode) -> io::Result<()> {
    let mut flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    if mode == Mode::Generic {
        // Without it the kernel would ask the driver for zero-copy, whose frames generic code cannot fill.
        flags |= SocketAddrXdpFlags::XDP_COPY;
    }
    let address = SocketAddrXdp::new(flags, interface, queue);
    let give_up = Instant::now() + BIND_TIME_MAX;
    loop {
        match net::bind(fd, &address) {
            Err(Errno::BUSY) if Instant::now() < give_up => std::thread::sleep(BIND_RETRY),
            result => return Ok(result?),
        }
    }
}

/// Entries of the completion ring, which nothing is ever put into.
const COMPLETIONS: u32 = 2;
/// How long a queue may be held by a socket that was just closed: the kernel lets go some milliseconds later.
pub(super) const BIND_TIME_MAX: Duration = Duration::from_secs(1);
const BIND_RETRY: Duration = Duration::from_millis(5);
