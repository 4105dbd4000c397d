//! Generic netlink, as far as asking the kernel one question needs it.
//!
//! A message is a header (length, type, flags, sequence, port), a command with a version, and attributes: length, type,
//! value, padded to four bytes; a value can be attributes again. Source: Linux, Documentation/userspace-api/netlink.
//! The crates for it bring an asynchronous runtime for these hundred lines. Lengths are the kernel's; a message that
//! contradicts itself is an error, never a panic.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A socket towards one family of the kernel's generic netlink.
#[derive(Debug)]
pub(crate) struct Family {
    socket: OwnedFd,
    id: u16,
}

impl Family {
    /// Opens the family of this name.
    ///
    /// # Errors
    /// The kernel has no such family, or refuses.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let socket = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )?;
        net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        net::sockopt::set_socket_timeout(
            &socket,
            net::sockopt::Timeout::Recv,
            Some(ANSWER_TIME_MAX),
        )?;
        let mut control = Self {
            socket,
            id: CONTROL_ID,
        };
        let mut named = Vec::new();
        push_attribute(&mut named, CONTROL_FAMILY_NAME, &terminated(name));
        let answer = control.ask(CONTROL_GET_FAMILY, &named)?;
        control.id = attributes(&answer)?
            .find_map(|(kind, value)| (kind == CONTROL_FAMILY_ID).then(|| as_u16(value)).flatten())
            .ok_or_else(|| malformed("the family has no number"))?;
        Ok(control)
    }

    /// Asks one question; gives the attributes of the answer.
    ///
    /// # Errors
    /// What the kernel refused with, or an answer that contradicts itself.
    pub(crate) fn ask(&self, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let length = HEADER_LEN + COMMAND_LEN + attributes.len();
        let mut request = Vec::with_capacity(length);
        let length = u32::try_from(length).map_err(|_| malformed("a question that long"))?;
        request.extend(length.to_ne_bytes());
        request.extend(self.id.to_ne_bytes());
        request.extend(FLAG_REQUEST.to_ne_bytes());
        request.extend([0; 8]);
        request.extend([command, 1, 0, 0]);
        request.extend(attributes);
        net::send(&self.socket, &request, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER_LEN_MAX];
        let (length, _) = net::recv(&self.socket, &mut answer[..], RecvFlags::empty())?;
        answer.truncate(length);
        body(&answer).map(<[u8]>::to_vec)
    }
}

/// The attributes of an answer, or the error that it carries.
fn body(answer: &[u8]) -> io::Result<&[u8]> {
    let header = answer
        .get(..HEADER_LEN)
        .ok_or_else(|| malformed("no header"))?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let length = usize::try_from(length).map_err(|_| malformed("its length"))?;
    let content = answer
        .get(HEADER_LEN..length)
        .ok_or_else(|| malformed("it is cut off"))?;
    if kind == TYPE_ERROR {
        let code = content.get(..4).and_then(|code| code.try_into().ok());
        let code = code
            .map(i32::from_ne_bytes)
            .ok_or_else(|| malformed("an error without number"))?;
        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
    }
    content
        .get(COMMAND_LEN..)
        .ok_or_else(|| malformed("no command"))
}

/// Appends an attribute.
pub(crate) fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_LEN + value.len()).expect("an attribute of ours is short");
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The attributes in `bytes`: kind and value, in order.
///
/// # Errors
/// A length that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> io::Result<impl Iterator<Item = (u16, &[u8])>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let [low, high, kind_low, kind_high, ..] = *rest else {
            return Err(malformed("an attribute is cut off"));
        };
        let length = usize::from(u16::from_ne_bytes([low, high]));
        // The two highest bits say that it is nested, or in network order.
        let kind = u16::from_ne_bytes([kind_low, kind_high]) & 0x3fff;
        let value = rest
            .get(ATTRIBUTE_LEN..length)
            .ok_or_else(|| malformed("an attribute's length"))?;
        found.push((kind, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found.into_iter())
}

/// A name as the kernel wants it, ended by a zero.
pub(crate) fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// A number of 16 bits.
fn as_u16(value: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(value.try_into().ok()?))
}

/// A number of 32 bits.
pub(crate) fn as_u32(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("netlink answered nonsense: {what}"),
    )
}

const HEADER_LEN: usize = 16;
const COMMAND_LEN: usize = 4;
const ATTRIBUTE_LEN: usize = 4;
const FLAG_REQUEST: u16 = 1;
const TYPE_ERROR: u16 = 2;
const CONTROL_ID: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
/// The longest answer taken; a device's features with their names are some 4 KiB.
const ANSWER_LEN_MAX: usize = 64 << 10;
const ANSWER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_survives_writing_and_reading() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 2, &terminated("eth0"));
        push_attribute(&mut bytes, 7, &5_u32.to_ne_bytes());
        let read: Vec<_> = attributes(&bytes).unwrap().collect();
        assert_eq!(read, [(2, b"eth0\0".as_slice()), (7, &5_u32.to_ne_bytes())]);
    }

    #[test]
    fn an_attribute_that_claims_more_than_there_is_is_refused() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 2, b"abcd");
        bytes[0] = 200;
        assert!(attributes(&bytes).is_err());
        bytes[0] = 3;
        assert!(attributes(&bytes).is_err(), "shorter than its own header");
    }

    #[test]
    fn the_kernels_refusal_keeps_its_number() {
        let mut answer = Vec::new();
        answer.extend(20_u32.to_ne_bytes());
        answer.extend(TYPE_ERROR.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend((-95_i32).to_ne_bytes());
        assert_eq!(body(&answer).unwrap_err().raw_os_error(), Some(95));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = body(&bytes);
            if let Ok(found) = attributes(&bytes) {
                prop_assert!(found.count() <= bytes.len() / ATTRIBUTE_LEN + 1);
            }
        }
    }
}
