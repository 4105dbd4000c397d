//! What is read out of frames, and that no bytes make the reader panic.

use proptest::prelude::*;

use super::frames::{frame, leave_checksum_to_hardware, mend_header};
use super::*;

fn scope(bound: &str) -> Scope {
    Scope {
        bound: bound.parse().unwrap(),
        interface: 7,
        is_loopback: false,
    }
}

fn sample(from: &str, to: &str) -> Vec<u8> {
    frame(from.parse().unwrap(), to.parse().unwrap(), b"sealed")
}

const V4: [&str; 2] = ["10.0.0.2:4000", "10.0.0.1:7000"];
const V6: [&str; 2] = ["[fd00::2]:4000", "[fd00::1]:7000"];

#[test]
fn a_datagram_of_either_family_is_read_with_its_peer() {
    for [from, to] in [V4, V6] {
        let frame = sample(from, to);
        for bound in [to, "0.0.0.0:7000", "[::]:7000"] {
            let scope = scope(bound);
            let read = read_datagram(&frame, scope);
            let is_same_family = scope.bound.is_ipv4() == from.starts_with('1');
            if is_same_family {
                assert_eq!(read, Ok((from.parse().unwrap(), &b"sealed"[..])));
            } else {
                assert_eq!(read, Err(Malformed::Kind));
            }
        }
    }
}

#[test]
fn an_empty_datagram_and_padding_behind_it_are_as_the_kernel_sees_them() {
    for [from, to] in [V4, V6] {
        let mut frame = frame(from.parse().unwrap(), to.parse().unwrap(), b"");
        frame.extend([0xaa; 18]);
        let read = read_datagram(&frame, scope(to));
        assert_eq!(read, Ok((from.parse().unwrap(), &b""[..])));
    }
}

#[test]
fn a_link_local_peer_is_answered_through_its_interface() {
    let frame = sample("[fe80::2]:4000", "[fe80::1]:7000");
    let (peer, _) = read_datagram(&frame, scope("[::]:7000")).unwrap();
    assert_eq!(Ok(peer), "[fe80::2%7]:4000".parse::<SocketAddr>());
}

#[test]
fn one_changed_byte_is_noticed_by_a_checksum_or_a_header_check() {
    for [from, to] in [V4, V6] {
        let whole = sample(from, to);
        for at in ETHERNET_LEN..whole.len() {
            let mut frame = whole.clone();
            frame[at] ^= 0x10;
            let read = read_datagram(&frame, scope(to));
            // Traffic class, flow label and hop limit of IPv6 are under no checksum.
            let is_uncovered = to == V6[1] && ((14..18).contains(&at) || at == 21);
            assert!(
                read.is_err() || is_uncovered,
                "byte {at} of {from}: {read:?}"
            );
        }
    }
}

#[test]
fn a_checksum_left_to_hardware_is_taken_and_a_missing_one_only_over_ipv4() {
    for [from, to] in [V4, V6] {
        let mut frame = sample(from, to);
        leave_checksum_to_hardware(&mut frame);
        let read = read_datagram(&frame, scope(to));
        assert_eq!(read, Ok((from.parse().unwrap(), &b"sealed"[..])));
    }
    let mut frame = sample(V4[0], V4[1]);
    frame[40..42].fill(0);
    assert!(read_datagram(&frame, scope(V4[1])).is_ok());
    let mut frame = sample(V6[0], V6[1]);
    frame[60..62].fill(0);
    assert_eq!(
        read_datagram(&frame, scope(V6[1])),
        Err(Malformed::Checksum)
    );
}

#[test]
fn sources_that_no_wire_has_are_refused() {
    for from in [
        "127.0.0.1:9",
        "0.0.0.0:9",
        "0.1.2.3:9",
        "224.0.0.1:9",
        "255.255.255.255:9",
        "10.0.0.1:9",
        "10.0.0.2:0",
    ] {
        let read = frame(from.parse().unwrap(), V4[1].parse().unwrap(), b"x");
        assert_eq!(
            read_datagram(&read, scope("0.0.0.0:7000")),
            Err(Malformed::Source),
            "{from}"
        );
    }
    for from in [
        "[::1]:9",
        "[::]:9",
        "[ff02::1]:9",
        "[::ffff:10.0.0.9]:9",
        "[fd00::1]:9",
        "[fd00::2]:0",
    ] {
        let read = frame(from.parse().unwrap(), V6[1].parse().unwrap(), b"x");
        assert_eq!(
            read_datagram(&read, scope("[::]:7000")),
            Err(Malformed::Source),
            "{from}"
        );
    }
    let read = sample("10.0.0.2:9", "127.0.0.1:7000");
    assert_eq!(
        read_datagram(&read, scope("0.0.0.0:7000")),
        Err(Malformed::Source)
    );
}

#[test]
fn on_the_loopback_interface_its_own_addresses_are_welcome() {
    for address in ["127.0.0.1", "[::1]"] {
        let to = format!("{address}:7000");
        let frame = sample(&format!("{address}:4000"), &to);
        let scope = Scope {
            is_loopback: true,
            ..scope(&to)
        };
        assert!(read_datagram(&frame, scope).is_ok());
    }
}

#[test]
fn another_address_or_port_is_not_ours() {
    for bound in ["10.0.0.9:7000", "10.0.0.1:7001"] {
        let read = sample(V4[0], V4[1]);
        assert_eq!(
            read_datagram(&read, scope(bound)),
            Err(Malformed::Destination)
        );
    }
    for bound in ["[fd00::9]:7000", "[fd00::1]:7001"] {
        let read = sample(V6[0], V6[1]);
        assert_eq!(
            read_datagram(&read, scope(bound)),
            Err(Malformed::Destination)
        );
    }
}

#[test]
fn options_fragments_and_other_protocols_are_not_read() {
    let changes: [(usize, u8); 5] = [(14, 0x46), (20, 0x20), (21, 1), (23, 6), (14, 0x65)];
    for (at, value) in changes {
        let mut frame = sample(V4[0], V4[1]);
        frame[at] = value;
        mend_header(&mut frame);
        assert_eq!(
            read_datagram(&frame, scope(V4[1])),
            Err(Malformed::Kind),
            "byte {at}"
        );
    }
    for (at, value) in [(14, 0x40), (20, 44), (20, 6)] {
        let mut frame = sample(V6[0], V6[1]);
        frame[at] = value;
        assert_eq!(
            read_datagram(&frame, scope(V6[1])),
            Err(Malformed::Kind),
            "byte {at}"
        );
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    // Of IPv4: below its header, beyond the frame, without room for a UDP header; of UDP: below 8, beyond the packet.
    let v4: [(usize, u16); 5] = [(16, 19), (16, 35), (16, 27), (38, 7), (38, 15)];
    for (at, length) in v4 {
        let mut frame = sample(V4[0], V4[1]);
        frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        mend_header(&mut frame);
        assert_eq!(
            read_datagram(&frame, scope(V4[1])),
            Err(Malformed::Length),
            "{length} at {at}"
        );
    }
    let v6: [(usize, u16); 5] = [(18, 0), (18, 7), (18, 15), (58, 7), (58, 15)];
    for (at, length) in v6 {
        let mut frame = sample(V6[0], V6[1]);
        frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            read_datagram(&frame, scope(V6[1])),
            Err(Malformed::Length),
            "{length} at {at}"
        );
    }
}

#[test]
fn every_cut_of_a_frame_is_an_error() {
    for [from, to] in [V4, V6] {
        let whole = sample(from, to);
        for length in 0..whole.len() {
            assert!(read_datagram(&whole[..length], scope(to)).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic_and_what_is_read_lies_in_the_frame(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        is_v6: bool,
        is_loopback: bool,
        // How many of the fields that choose a path are right; the rest is noise.
        right in 0_usize..8,
    ) {
        let hints: &[(usize, &[u8])] = if is_v6 {
            &[(12, &[0x86, 0xdd]), (14, &[0x60]), (20, &[17]), (18, &[0, 30]), (56, &[0x1b, 0x58]), (58, &[0, 20])]
        } else {
            &[(12, &[8, 0]), (14, &[0x45]), (23, &[17]), (20, &[0, 0]), (16, &[0, 60]), (36, &[0x1b, 0x58]), (38, &[0, 20])]
        };
        for (at, value) in hints.iter().take(right) {
            if let Some(place) = bytes.get_mut(*at..at + value.len()) {
                place.copy_from_slice(value);
            }
        }
        if !is_v6 && bytes.len() >= 34 {
            mend_header(&mut bytes);
        }
        let bound = if is_v6 { "[::]:7000" } else { "0.0.0.0:7000" };
        let scope = Scope { is_loopback, ..scope(bound) };
        if let Ok((_, payload)) = read_datagram(&bytes, scope) {
            let frame = bytes.as_ptr_range();
            let inside = payload.as_ptr_range();
            prop_assert!(frame.start <= inside.start && inside.end <= frame.end);
            prop_assert!(payload.len() <= bytes.len() - 42);
        }
    }

    #[test]
    fn what_is_sent_is_what_is_read(
        payload in proptest::collection::vec(any::<u8>(), 0..1_472),
        from: (u32, u16),
        is_left: bool,
    ) {
        let source = std::net::Ipv4Addr::from(0x0a00_0000 | (from.0 & 0xff_fffe) | 2);
        let from = SocketAddr::from((source, from.1.max(1)));
        let to = "10.0.0.1:7000".parse().unwrap();
        let mut bytes = frame(from, to, &payload);
        if is_left {
            leave_checksum_to_hardware(&mut bytes);
        }
        prop_assert_eq!(read_datagram(&bytes, scope("10.0.0.1:7000")), Ok((from, &payload[..])));
    }
}
