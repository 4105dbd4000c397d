//! Reads the UDP datagram out of an Ethernet frame, with every check that the kernel would have made.
//!
//! AF_XDP hands over frames before the kernel's IP and UDP layers have seen them, so what those refuse must be refused
//! here: lengths that contradict each other, wrong checksums, and source addresses that no packet from a wire may have
//! (loopback, multicast, broadcast, nobody's, our own: a reply to such a source would go to a service of this machine,
//! or round and round). The program in the kernel has looked at the headers too; nothing here relies on that.
//!
//! A sender on this machine leaves the UDP checksum to hardware that is not there: on `lo` and on a veth pair the field
//! holds the sum of the pseudo header alone. That is taken for right, as the kernel does, which knows it from the packet's
//! metadata; bytes that were broken on a wire pass for such by chance once in 2^16.
//!
//! Cost: one pass over the datagram's bytes for the checksum. Allocates nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What frames are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// Where the kernel's socket is bound: the family, the port, and the address unless it is unspecified.
    pub(super) bound: SocketAddr,
    /// The interface that the frames come from; the scope of link-local peers.
    pub(super) interface: u32,
    /// It is the loopback interface: loopback addresses, and peers with our own address, are as they should be.
    pub(super) is_loopback: bool,
}

/// Why a frame holds no datagram for us. The kernel drops the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The frame ends inside of its headers.
    #[error("the frame is too short")]
    Short,
    /// No plain IP packet of the socket's family: another protocol, options, extension headers, a fragment.
    #[error("no plain UDP packet of the family bound")]
    Kind,
    /// The lengths of IP and UDP contradict each other or the frame.
    #[error("the lengths contradict each other")]
    Length,
    /// To another address or port.
    #[error("for somebody else")]
    Destination,
    /// From an address that nobody on the wire can have.
    #[error("from an impossible source")]
    Source,
    /// The IP header or the datagram was changed on its way.
    #[error("a checksum does not hold")]
    Checksum,
}

/// Gives the peer and the payload of the datagram in `frame`.
///
/// The payload may be empty. What follows it in the frame is padding.
///
/// # Errors
/// [`Malformed`]; never a panic, whatever the bytes.
pub(super) fn read_datagram(frame: &[u8], scope: Scope) -> Result<(SocketAddr, &[u8]), Malformed> {
    let (head, packet) = split(frame, ETHERNET_LEN)?;
    let kind = u16_at(head, 12);
    match scope.bound {
        SocketAddr::V4(bound) if kind == KIND_IPV4 => read_v4(packet, bound, scope),
        SocketAddr::V6(bound) if kind == KIND_IPV6 => read_v6(packet, bound, scope),
        SocketAddr::V4(_) | SocketAddr::V6(_) => Err(Malformed::Kind),
    }
}

fn read_v4(
    packet: &[u8],
    bound: SocketAddrV4,
    scope: Scope,
) -> Result<(SocketAddr, &[u8]), Malformed> {
    let (head, rest) = split(packet, IPV4_LEN)?;
    let is_whole = u16_at(head, 6) & FRAGMENT_MASK == 0;
    if head[0] != VERSION_4_WITHOUT_OPTIONS || head[9] != PROTOCOL_UDP || !is_whole {
        return Err(Malformed::Kind);
    }
    let length = usize::from(u16_at(head, 2))
        .checked_sub(IPV4_LEN)
        .ok_or(Malformed::Length)?;
    let content = rest.get(..length).ok_or(Malformed::Length)?;
    if fold(sum(head)) != ALL_ONES {
        return Err(Malformed::Checksum);
    }
    let source = Ipv4Addr::from(array_at::<4>(head, 12));
    let destination = Ipv4Addr::from(array_at::<4>(head, 16));
    if !bound.ip().is_unspecified() && destination != *bound.ip() {
        return Err(Malformed::Destination);
    }
    let is_foreign_loopback = source.is_loopback() || destination.is_loopback();
    let is_nobody = source.octets()[0] == 0 || source.is_multicast() || source.is_broadcast();
    if is_nobody || (!scope.is_loopback && (is_foreign_loopback || source == destination)) {
        return Err(Malformed::Source);
    }
    let (port, payload) = read_udp(content, &head[12..20], bound.port(), true)?;
    let peer = SocketAddr::from((IpAddr::V4(source), port));
    Ok((peer, payload))
}

fn read_v6(
    packet: &[u8],
    bound: SocketAddrV6,
    scope: Scope,
) -> Result<(SocketAddr, &[u8]), Malformed> {
    let (head, rest) = split(packet, IPV6_LEN)?;
    if head[0] >> 4 != 6 || head[6] != PROTOCOL_UDP {
        return Err(Malformed::Kind);
    }
    let length = usize::from(u16_at(head, 4));
    let content = rest.get(..length).ok_or(Malformed::Length)?;
    let source = Ipv6Addr::from(array_at::<16>(head, 8));
    let destination = Ipv6Addr::from(array_at::<16>(head, 24));
    if !bound.ip().is_unspecified() && destination != *bound.ip() {
        return Err(Malformed::Destination);
    }
    let is_foreign_loopback = source.is_loopback() || destination.is_loopback();
    let is_nobody =
        source.is_unspecified() || source.is_multicast() || source.to_ipv4_mapped().is_some();
    if is_nobody || (!scope.is_loopback && (is_foreign_loopback || source == destination)) {
        return Err(Malformed::Source);
    }
    let (port, payload) = read_udp(content, &head[8..40], bound.port(), false)?;
    let link = if source.is_unicast_link_local() {
        scope.interface
    } else {
        0
    };
    let peer = SocketAddrV6::new(source, port, 0, link);
    Ok((SocketAddr::V6(peer), payload))
}

/// The peer's port and the payload of `content`, what the IP packet carries between `addresses`.
fn read_udp<'a>(
    content: &'a [u8],
    addresses: &[u8],
    port: u16,
    may_lack_checksum: bool,
) -> Result<(u16, &'a [u8]), Malformed> {
    let (head, _) = split(content, UDP_LEN).map_err(|_| Malformed::Length)?;
    let length = u16_at(head, 4);
    let datagram = content
        .get(..usize::from(length))
        .filter(|datagram| datagram.len() >= UDP_LEN)
        .ok_or(Malformed::Length)?;
    if u16_at(head, 2) != port {
        return Err(Malformed::Destination);
    }
    let from = u16_at(head, 0);
    if from == 0 {
        // Nothing can be sent there.
        return Err(Malformed::Source);
    }
    let checksum = array_at::<2>(head, 6);
    if checksum == [0, 0] {
        return if may_lack_checksum {
            Ok((from, &datagram[UDP_LEN..]))
        } else {
            Err(Malformed::Checksum)
        };
    }
    let mut rest_of_pseudo = [0, PROTOCOL_UDP, 0, 0];
    rest_of_pseudo[2..].copy_from_slice(&length.to_be_bytes());
    let pseudo = sum(addresses) + sum(&rest_of_pseudo);
    let is_left_to_hardware = fold(pseudo) == u16::from_ne_bytes(checksum);
    if !is_left_to_hardware && fold(pseudo + sum(datagram)) != ALL_ONES {
        return Err(Malformed::Checksum);
    }
    Ok((from, &datagram[UDP_LEN..]))
}

/// Adds up 16-bit words as they lie in memory; the order of bytes does not matter to a sum in ones' complement.
///
/// At most 64 KiB: 2^14 words of 32 bits stay far below 2^64.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    let tail = u64::from(u32::from_ne_bytes(last));
    words.fold(tail, |sum, word| {
        sum + u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
    })
}

/// A sum in ones' complement, 16 bits wide.
fn fold(sum: u64) -> u16 {
    let mut sum = (sum >> 32) + (sum & 0xffff_ffff);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Malformed> {
    bytes.split_at_checked(at).ok_or(Malformed::Short)
}

/// The big-endian number at `at`, which is inside of a header that was split off.
fn u16_at(head: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(head, at))
}

fn array_at<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&head[at..at + N]);
    array
}

/// Bytes of an Ethernet header without tags.
pub(super) const ETHERNET_LEN: usize = 14;
/// Bytes of an IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// Bytes of an IPv6 header without extensions.
pub(super) const IPV6_LEN: usize = 40;
/// Bytes of a UDP header.
pub(super) const UDP_LEN: usize = 8;
/// The Ethernet types.
pub(super) const KIND_IPV4: u16 = 0x0800;
pub(super) const KIND_IPV6: u16 = 0x86dd;
/// The first byte of an IPv4 header of five words.
pub(super) const VERSION_4_WITHOUT_OPTIONS: u8 = 0x45;
/// The protocol number of UDP.
pub(super) const PROTOCOL_UDP: u8 = 17;
/// In the fragment field of IPv4: there is more, or this is not the first.
pub(super) const FRAGMENT_MASK: u16 = 0x3fff;
/// What the words of a header or datagram add up to, its checksum included.
const ALL_ONES: u16 = 0xffff;

#[cfg(test)]
pub(super) mod frames;

#[cfg(test)]
mod tests;
