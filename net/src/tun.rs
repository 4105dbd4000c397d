//! A TUN device: whatever the kernel routes into it is read here, packet by packet, and what is written is received.
//!
//! Trials on one machine use it as the cable between hosts that are network namespaces: a process that holds the other
//! ends can delay and lose what goes through. Nothing of a node's own work passes it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

/// One device; it is gone when this is dropped. Reads and writes never wait.
#[derive(Debug)]
pub struct Tun(File);

impl Tun {
    /// Makes the device `name` in the network namespace of the calling process, for bare IP packets.
    ///
    /// # Errors
    /// Not root, no `/dev/net/tun`, a name that is taken or longer than 15 bytes.
    pub fn create(name: &str) -> io::Result<Self> {
        let mut request = Request {
            name: [0; NAME_LEN],
            flags: (libc::IFF_TUN | libc::IFF_NO_PI) as i16,
            _rest: [0; REST_LEN],
        };
        // One byte stays 0: the kernel wants the name to end.
        if name.len() >= NAME_LEN {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE)?;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`; `Request` has its size and layout and lives through the call.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(file))
    }

    /// The next packet; `None` when there is none now. `buffer` must hold the longest: what does not fit is lost.
    ///
    /// # Errors
    /// The device is down or gone.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel receive a packet; false when it does not take it, and it is lost.
    pub fn write(&self, packet: &[u8]) -> bool {
        (&self.0).write(packet).is_ok_and(|len| len == packet.len())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `struct ifreq` as TUNSETIFF takes it.
#[repr(C)]
struct Request {
    name: [u8; NAME_LEN],
    flags: i16,
    _rest: [u8; REST_LEN],
}

const DEVICE: &str = "/dev/net/tun";
/// IFNAMSIZ.
const NAME_LEN: usize = 16;
/// What `struct ifreq` has behind the flags.
const REST_LEN: usize = 22;
const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());
