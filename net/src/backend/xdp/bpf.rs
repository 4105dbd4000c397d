//! The few commands of bpf(2) that an XDP program needs: make a map, load, attach, set a map's slot, run on a frame.
//!
//! No library: all of them are one system call with a block of numbers, laid out in linux/bpf.h (`union bpf_attr`). A
//! block has 128 bytes, of which those not set are zero, as the kernel demands. What hangs on a descriptor ends when it is
//! closed: the map, the program, and the link, with which the program leaves its interface, also when the process is
//! killed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction as the kernel takes it.
pub(super) type Instruction = [u8; 8];

/// Makes a map from queue numbers to AF_XDP sockets, with `slots` slots.
///
/// # Errors
/// EPERM without CAP_BPF; EINVAL from a kernel without AF_XDP.
pub(super) fn socket_map(slots: u32) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::new();
    attributes.set_u32(0, MAP_TYPE_XSKMAP);
    attributes.set_u32(4, size_of::<u32>() as u32);
    attributes.set_u32(8, size_of::<u32>() as u32);
    attributes.set_u32(12, slots);
    attributes.set_name(28, MAP_NAME);
    // SAFETY: the block names no memory.
    unsafe { call_for_fd(MAP_CREATE, &mut attributes) }
}

/// Puts `socket` into the slot `queue` of `map`; it leaves the slot when it is closed.
///
/// # Errors
/// What the kernel says; the socket must be bound.
pub(super) fn set_socket(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
) -> io::Result<()> {
    let value = socket.as_raw_fd();
    let mut attributes = Attributes::new();
    attributes.set_fd(0, map);
    attributes.set_address(8, (&raw const queue).cast());
    attributes.set_address(16, (&raw const value).cast());
    // SAFETY: key and value are 4 bytes each, as the map was made, and live until the call is over.
    unsafe { call(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Has the kernel check `program` and compile it.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN; else what the checker wrote last.
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut log = vec![0_u8; LOG_LEN];
    let mut attributes = Attributes::new();
    attributes.set_u32(0, PROGRAM_TYPE_XDP);
    attributes.set_u32(4, program.len() as u32);
    attributes.set_address(8, program.as_ptr().cast());
    attributes.set_address(16, LICENCE.as_ptr().cast());
    attributes.set_u32(24, 1);
    attributes.set_u32(28, LOG_LEN as u32);
    attributes.set_address(32, log.as_mut_ptr());
    attributes.set_name(48, PROGRAM_NAME);
    // SAFETY: instructions, licence (ended by a zero) and log live until the call is over, with the lengths given; the log
    // is written through the pointer of a mutable borrow.
    let loaded = unsafe { call_for_fd(PROG_LOAD, &mut attributes) };
    loaded.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::EACCES) => {
            let text = String::from_utf8_lossy(&log);
            let lines = text.trim_end_matches('\0').trim_end().lines();
            let reason: Vec<&str> = lines.rev().take(3).collect();
            let reason: Vec<&str> = reason.into_iter().rev().collect();
            io::Error::new(error.kind(), format!("{error}: {}", reason.join(" / ")))
        }
        _ => error,
    })
}

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver, before the kernel has made a packet buffer; not every driver can.
    Native,
    /// By the kernel's generic code, on packet buffers; on every interface.
    Generic,
}

/// Attaches `program` to the interface with this index, until the descriptor given is closed.
///
/// # Errors
/// EOPNOTSUPP, or what else the driver says, where it cannot run programs; EBUSY when another program is there.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::new();
    attributes.set_fd(0, program);
    attributes.set_u32(4, interface);
    attributes.set_u32(8, ATTACH_TYPE_XDP);
    attributes.set_u32(
        12,
        match mode {
            Mode::Native => FLAG_DRIVER_MODE,
            Mode::Generic => FLAG_GENERIC_MODE,
        },
    );
    // SAFETY: the block names no memory.
    unsafe { call_for_fd(LINK_CREATE, &mut attributes) }
}

/// Runs `program` once on `frame`, as if it had come through queue 0, and gives its answer (an `XDP_` action).
///
/// # Errors
/// EPERM without the capabilities that loading needs; EINVAL for a frame shorter than an Ethernet header.
#[cfg(test)]
pub(super) fn run_once(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<u32> {
    let mut attributes = Attributes::new();
    attributes.set_fd(0, program);
    attributes.set_u32(8, frame.len() as u32);
    attributes.set_address(16, frame.as_ptr());
    attributes.set_u32(32, 1);
    // SAFETY: the frame lives until the call is over, with the length given; no room for an output is named.
    unsafe { call(PROG_TEST_RUN, &mut attributes) }?;
    Ok(attributes.u32(4))
}

/// `union bpf_attr`.
#[repr(C, align(8))]
struct Attributes([u8; 128]);

impl Attributes {
    const fn new() -> Self {
        Self([0; 128])
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn set_fd(&mut self, at: usize, fd: BorrowedFd<'_>) {
        // Descriptors are not negative.
        self.set_u32(at, fd.as_raw_fd() as u32);
    }

    fn set_address(&mut self, at: usize, address: *const u8) {
        let address = address.expose_provenance() as u64;
        self.0[at..at + 8].copy_from_slice(&address.to_ne_bytes());
    }

    /// A name of at most 15 bytes, shown by the kernel's tools.
    fn set_name(&mut self, at: usize, name: &str) {
        self.0[at..at + name.len()].copy_from_slice(name.as_bytes());
    }

    #[cfg(test)]
    fn u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }
}

/// One system call.
///
/// # Safety
/// All memory that `attributes` names for `command` is valid for its reads and writes until the call is over.
unsafe fn call(command: libc::c_int, attributes: &mut Attributes) -> io::Result<libc::c_long> {
    let block = attributes.0.as_mut_ptr();
    // SAFETY: `block` has 128 bytes, all initialized; the caller vouches for what they name.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, block, size_of::<Attributes>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// One system call that makes a descriptor (close-on-exec, as all of bpf(2)).
///
/// # Safety
/// As for [`call`]; `command` makes a descriptor.
unsafe fn call_for_fd(command: libc::c_int, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for what the block names.
    let fd = unsafe { call(command, attributes) }?;
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the call has just made this descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const FLAG_GENERIC_MODE: u32 = 1 << 1;
const FLAG_DRIVER_MODE: u32 = 1 << 2;
/// No function that it calls is reserved to the GPL.
const LICENCE: &std::ffi::CStr = c"Apache-2.0 OR MIT";
const MAP_NAME: &str = "fairlane_queues";
const PROGRAM_NAME: &str = "fairlane_udp";
/// What the checker writes of some forty instructions.
const LOG_LEN: usize = 64 << 10;
