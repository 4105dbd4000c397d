//! The program run in the kernel on hand-made frames: what it takes and what it leaves.

use super::super::interface::Interface;
use super::super::packet::frames::{frame, mend_header};
use super::super::socket::Socket;
use super::super::testing::in_own_network;
use super::*;

/// The program for `bound`, with a socket in the slot of queue 0, so that taking shows as XDP_REDIRECT.
struct Loaded {
    program: Program,
    _socket: Socket,
}

impl Loaded {
    fn new(bound: &str) -> Self {
        let lo = Interface::find("lo").unwrap();
        let program = Program::load(bound.parse().unwrap(), 1).unwrap();
        let socket = Socket::bind(lo.index, 0, Mode::Generic).unwrap();
        program.set_socket(0, socket.as_fd()).unwrap();
        Self {
            program,
            _socket: socket,
        }
    }

    fn takes(&self, frame: &[u8]) -> bool {
        match bpf::run_once(self.program.program.as_fd(), frame).unwrap() {
            XDP_REDIRECT => true,
            2 => false,
            action => panic!("the program answered {action}"),
        }
    }
}

fn to(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    frame(from.parse().unwrap(), to.parse().unwrap(), payload)
}

#[test]
fn plain_udp_to_the_port_and_address_is_taken() {
    in_own_network("plain_udp_to_the_port_and_address_is_taken", || {
        for payload in [0, 1, 256, 1_232, PACKET_LEN_MAX - 42] {
            let payload = vec![7; payload];
            let frame = to("10.0.0.2:4000", "10.0.0.1:7000", &payload);
            assert!(Loaded::new("10.0.0.1:7000").takes(&frame));
            assert!(Loaded::new("0.0.0.0:7000").takes(&frame));
        }
        for payload in [0, 256, PACKET_LEN_MAX - 62] {
            let frame = to("[fd00::2]:4000", "[fd00::1]:7000", &vec![7; payload]);
            assert!(Loaded::new("[fd00::1]:7000").takes(&frame));
            assert!(Loaded::new("[::]:7000").takes(&frame));
        }
    });
}

#[test]
fn without_a_socket_everything_is_left() {
    in_own_network("without_a_socket_everything_is_left", || {
        let program = Program::load("10.0.0.1:7000".parse().unwrap(), 1).unwrap();
        let frame = to("10.0.0.2:4000", "10.0.0.1:7000", b"sealed");
        let answer = bpf::run_once(program.program.as_fd(), &frame).unwrap();
        assert_eq!(answer, XDP_PASS as u32);
    });
}

#[test]
fn other_ports_addresses_and_families_are_left() {
    in_own_network("other_ports_addresses_and_families_are_left", || {
        let v4 = Loaded::new("10.0.0.1:7000");
        for address in [
            "10.0.0.1:7001",
            "10.0.0.1:22555",
            "10.0.0.2:7000",
            "11.0.0.1:7000",
        ] {
            assert!(!v4.takes(&to("10.0.0.9:7000", address, b"x")), "{address}");
        }
        assert!(!v4.takes(&to("[fd00::9]:7000", "[fd00::1]:7000", b"x")));
        drop(v4);
        let v6 = Loaded::new("[fd00::1]:7000");
        // The last four differ in one word of the address each.
        for address in [
            "[fd00::1]:7001",
            "[fd01::1]:7000",
            "[fd00:0:1::1]:7000",
            "[fd00::1:0:1]:7000",
            "[fd00::2]:7000",
        ] {
            assert!(!v6.takes(&to("[fd00::9]:7000", address, b"x")), "{address}");
        }
        assert!(!v6.takes(&to("10.0.0.9:7000", "10.0.0.1:7000", &[0; 64])));
    });
}

#[test]
fn what_is_not_plain_ipv4_udp_is_left() {
    in_own_network("what_is_not_plain_ipv4_udp_is_left", || {
        let loaded = Loaded::new("10.0.0.1:7000");
        let whole = to("10.0.0.2:4000", "10.0.0.1:7000", b"sealed");
        assert!(loaded.takes(&whole));
        // VLAN tag, ARP; options; IPv5; more fragments, a later fragment (two bits of its place); TCP, ICMP.
        let changes: [(usize, &[u8]); 9] = [
            (12, &[0x81, 0]),
            (12, &[8, 6]),
            (14, &[0x46]),
            (14, &[0x55]),
            (20, &[0x20, 0]),
            (20, &[0, 1]),
            (20, &[0x10, 0]),
            (23, &[6]),
            (23, &[1]),
        ];
        for (at, value) in changes {
            let mut frame = whole.clone();
            frame[at..at + value.len()].copy_from_slice(value);
            mend_header(&mut frame);
            assert!(!loaded.takes(&frame), "{value:?} at {at}");
        }
        let mut may_not_fragment = whole.clone();
        may_not_fragment[20] = 0;
        mend_header(&mut may_not_fragment);
        assert!(
            loaded.takes(&may_not_fragment),
            "neither flag set is plain too"
        );
    });
}

#[test]
fn what_is_not_plain_ipv6_udp_is_left() {
    in_own_network("what_is_not_plain_ipv6_udp_is_left", || {
        let loaded = Loaded::new("[fd00::1]:7000");
        let whole = to("[fd00::2]:4000", "[fd00::1]:7000", b"sealed");
        assert!(loaded.takes(&whole));
        // VLAN tag; IPv4's version; hop-by-hop options, a fragment, TCP.
        for (at, value) in [(12, 0x81), (14, 0x40), (20, 0), (20, 44), (20, 6)] {
            let mut frame = whole.clone();
            frame[at] = value;
            assert!(!loaded.takes(&frame), "{value} at {at}");
        }
        let mut marked = whole.clone();
        marked[14] = 0x6b;
        marked[15] = 0xff;
        assert!(
            loaded.takes(&marked),
            "traffic class and flow label are free"
        );
    });
}

#[test]
fn short_and_long_frames_are_left() {
    in_own_network("short_and_long_frames_are_left", || {
        let v4 = Loaded::new("0.0.0.0:7000");
        let whole = to("10.0.0.2:4000", "10.0.0.1:7000", b"");
        assert_eq!(whole.len(), 42);
        assert!(v4.takes(&whole));
        for length in 14..whole.len() {
            assert!(!v4.takes(&whole[..length]), "{length} bytes");
        }
        let long = vec![7; PACKET_LEN_MAX - 42 + 1];
        assert!(!v4.takes(&to("10.0.0.2:4000", "10.0.0.1:7000", &long)));
        drop(v4);
        let v6 = Loaded::new("[::]:7000");
        let whole = to("[fd00::2]:4000", "[fd00::1]:7000", b"");
        assert_eq!(whole.len(), 62);
        for length in 14..whole.len() {
            assert!(!v6.takes(&whole[..length]), "{length} bytes");
        }
        let long = vec![7; PACKET_LEN_MAX - 62 + 1];
        assert!(!v6.takes(&to("[fd00::2]:4000", "[fd00::1]:7000", &long)));
    });
}

#[test]
fn what_the_program_takes_is_what_the_reader_reads() {
    use super::super::packet::{Malformed, Scope, read_datagram};
    in_own_network("what_the_program_takes_is_what_the_reader_reads", || {
        let mut changed = 0;
        for (from, address) in [
            ("10.0.0.2:4000", "10.0.0.1:7000"),
            ("[fd00::2]:4000", "[fd00::1]:7000"),
        ] {
            let loaded = Loaded::new(address);
            let scope = Scope {
                bound: address.parse().unwrap(),
                interface: 1,
                is_loopback: false,
            };
            let whole = to(from, address, b"sealed");
            for at in 12..whole.len() {
                for bit in 0..8 {
                    let mut frame = whole.clone();
                    frame[at] ^= 1 << bit;
                    if address.starts_with('1') {
                        mend_header(&mut frame);
                    }
                    let read = read_datagram(&frame, scope);
                    let is_for_us = !matches!(read, Err(Malformed::Kind | Malformed::Destination));
                    // A length is looked at by the reader only, and before the port.
                    let is_length = read == Err(Malformed::Length);
                    assert!(
                        loaded.takes(&frame) == is_for_us || is_length,
                        "bit {bit} of byte {at}: {read:?}"
                    );
                    changed += 1;
                }
            }
        }
        assert_eq!(changed, 8 * (48 + 68 - 24));
    });
}

/// `enum xdp_action`.
const XDP_REDIRECT: u32 = 4;
