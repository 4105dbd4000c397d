//! What a network interface says of itself: number, queues, whether it is up, loopback, or hardware.
//!
//! By ioctl rather than from /sys, which shows the interfaces of the network namespace that it was mounted in. Source:
//! netdevice(7); Linux, linux/ethtool.h.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// As `ip link` shows it.
    pub(super) name: String,
    /// The kernel's number for it.
    pub(super) index: u32,
    /// Receive queues in use, at least 1.
    pub(super) queues: u32,
    /// Receives and sends.
    pub(super) is_up: bool,
    /// It is `lo`.
    pub(super) is_loopback: bool,
    /// A device on a bus is behind it, so its driver may run programs before the kernel's own work.
    pub(super) is_hardware: bool,
}

impl Interface {
    /// Asks the kernel for the interface with this name, in the calling thread's network namespace.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn find(name: &str) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        let index = name_to_index(&socket, name)?;
        let flags = flags_of(&socket, name)?;
        Ok(Self {
            name: name.to_owned(),
            index,
            queues: queues_of(&socket, name).unwrap_or(1).max(1),
            is_up: flags & libc::IFF_UP != 0,
            is_loopback: flags & libc::IFF_LOOPBACK != 0,
            is_hardware: has_bus(&socket, name).unwrap_or(false),
        })
    }
}

/// Brings an interface up.
#[cfg(test)]
pub(super) fn set_up(name: &str) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_flags = (flags_of(&socket, name)? | libc::IFF_UP) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of this request, and nothing else.
    unsafe { ask(&socket, libc::SIOCSIFFLAGS, &mut request) }
}

fn flags_of(socket: &OwnedFd, name: &str) -> io::Result<libc::c_int> {
    let mut request = request_for(name)?;
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of this request, and nothing else.
    unsafe { ask(socket, libc::SIOCGIFFLAGS, &mut request) }?;
    // SAFETY: the kernel has just written this field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags))
}

/// How many queues receive; an error where the driver does not say, as `lo`'s does not.
fn queues_of(socket: &OwnedFd, name: &str) -> io::Result<u32> {
    let mut channels = [0_u32; CHANNELS_WORDS];
    channels[0] = GET_CHANNELS;
    ask_driver(socket, name, &mut channels)?;
    Ok(channels[CHANNELS_RX].saturating_add(channels[CHANNELS_COMBINED]))
}

/// Whether the driver names the bus that its device is on; an error where there is no driver.
fn has_bus(socket: &OwnedFd, name: &str) -> io::Result<bool> {
    let mut about = [0_u32; ABOUT_WORDS];
    about[0] = GET_DRIVER_INFO;
    ask_driver(socket, name, &mut about)?;
    let [first, ..] = about[ABOUT_BUS].to_ne_bytes();
    Ok(first != 0)
}

/// One question of ethtool; `words` begins with its number and has the size of its structure.
fn ask_driver(socket: &OwnedFd, name: &str, words: &mut [u32]) -> io::Result<()> {
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: for both questions asked here the kernel reads and writes one structure of fixed size at the address given:
    // `words`, which has that size and lives until the call is over.
    unsafe { ask(socket, SIOCETHTOOL, &mut request) }
}

fn request_for(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid request: an empty name and null data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    Ok(request)
}

/// # Safety
/// `code` is a request of netdevice(7) on a `struct ifreq`, and what that names is valid for it.
unsafe fn ask(socket: &OwnedFd, code: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let request: *mut libc::ifreq = request;
    // SAFETY: `request` is valid for reads and writes; the caller vouches for the rest.
    if unsafe { libc::ioctl(fd, code, request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// ETHTOOL_GDRVINFO and `struct ethtool_drvinfo`: a number, five texts of 32 bytes, 12 bytes, five numbers.
const GET_DRIVER_INFO: u32 = 3;
const ABOUT_WORDS: usize = 49;
/// The fourth text: the bus.
const ABOUT_BUS: usize = 25;
/// ETHTOOL_GCHANNELS and `struct ethtool_channels`: nine numbers.
const GET_CHANNELS: u32 = 0x3c;
const CHANNELS_WORDS: usize = 9;
const CHANNELS_RX: usize = 5;
const CHANNELS_COMBINED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known_for_what_it_is() {
        let lo = Interface::find("lo").unwrap();
        assert!(lo.is_loopback && !lo.is_hardware, "{lo:?}");
        assert_eq!((lo.index, lo.queues), (1, 1));
    }

    #[test]
    fn a_name_that_no_interface_has_is_an_error() {
        for name in ["nosuch0", "", "a name that is longer than any"] {
            assert!(Interface::find(name).is_err(), "{name}");
        }
    }
}
