//! Hand-made Ethernet frames for tests.

use std::net::SocketAddr;

use super::{KIND_IPV4, KIND_IPV6, PROTOCOL_UDP, fold, sum};

/// A correct frame with this datagram; both addresses are of one family.
pub(in crate::backend::xdp) fn frame(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    let length = u16::try_from(8 + payload.len()).unwrap();
    let addresses = match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            frame.extend(KIND_IPV4.to_be_bytes());
            let mut head = vec![0x45, 0];
            head.extend((20 + length).to_be_bytes());
            head.extend([0, 7, 0x40, 0, 64, PROTOCOL_UDP, 0, 0]);
            head.extend(from.ip().octets());
            head.extend(to.ip().octets());
            let checksum = !fold(sum(&head));
            head[10..12].copy_from_slice(&checksum.to_ne_bytes());
            frame.extend(&head);
            head[12..].to_vec()
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            frame.extend(KIND_IPV6.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([PROTOCOL_UDP, 64]);
            let mut addresses = from.ip().octets().to_vec();
            addresses.extend(to.ip().octets());
            frame.extend(&addresses);
            addresses
        }
        _ => panic!("two families"),
    };
    let mut datagram = Vec::new();
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let pseudo = pseudo_sum(&addresses, length);
    let checksum = match !fold(pseudo + sum(&datagram)) {
        0 => 0xffff,
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_ne_bytes());
    frame.extend(datagram);
    frame
}

/// Puts the sum of the pseudo header alone where the checksum stands, as a sender on the same machine does.
pub(in crate::backend::xdp) fn leave_checksum_to_hardware(frame: &mut [u8]) {
    let (addresses, udp) = if frame[12..14] == KIND_IPV4.to_be_bytes() {
        (26..34, 34)
    } else {
        (22..54, 54)
    };
    let length = u16::from_be_bytes([frame[udp + 4], frame[udp + 5]]);
    let pseudo = fold(pseudo_sum(&frame[addresses], length));
    frame[udp + 6..udp + 8].copy_from_slice(&pseudo.to_ne_bytes());
}

/// Makes the checksum of an IPv4 header right again.
pub(in crate::backend::xdp) fn mend_header(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let checksum = !fold(sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&checksum.to_ne_bytes());
}

fn pseudo_sum(addresses: &[u8], length: u16) -> u64 {
    let [high, low] = length.to_be_bytes();
    sum(addresses) + sum(&[0, PROTOCOL_UDP, high, low])
}
