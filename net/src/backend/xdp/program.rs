//! The XDP program: plain UDP to our port goes to the socket of its receive queue, all else to the kernel.
//!
//! Written as instructions, so that building needs no compiler for BPF and no object file lies in the repository. What it
//! takes is exactly what [`super::packet`] can read: IPv4 without options and fragments, IPv6 without extension headers,
//! no VLAN tag, at most [`PACKET_LEN_MAX`] bytes. Whatever it does not take, and whatever comes through a queue without a
//! socket, goes the kernel's way, where a UDP socket is bound to the same port: nothing is lost by not being taken.
//!
//! Source: RFC 9669 (the instruction set); Linux, Documentation/bpf and linux/bpf.h. 27 instructions for IPv4.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::bpf::{self, Instruction, Mode};
use super::packet::{
    ETHERNET_LEN, FRAGMENT_MASK, IPV4_LEN, IPV6_LEN, KIND_IPV4, KIND_IPV6, PROTOCOL_UDP, UDP_LEN,
    VERSION_4_WITHOUT_OPTIONS,
};

/// The longest frame that fits a chunk of 2 KiB: the kernel keeps 256 bytes of it free.
pub(super) const PACKET_LEN_MAX: usize = 2048 - 256;

/// A program in the kernel and the map through which it finds sockets.
#[derive(Debug)]
pub(super) struct Program {
    map: OwnedFd,
    program: OwnedFd,
}

impl Program {
    /// Loads the program for datagrams to `bound`, on an interface with `queues` receive queues.
    ///
    /// Of an address that is unspecified only the family counts.
    ///
    /// # Errors
    /// EPERM without CAP_BPF and CAP_NET_ADMIN; a kernel without AF_XDP.
    pub(super) fn load(bound: SocketAddr, queues: u32) -> io::Result<Self> {
        let map = bpf::socket_map(queues)?;
        let program = bpf::load(&assemble(bound, map.as_fd()))?;
        Ok(Self { map, program })
    }

    /// Attaches it to an interface, until what this gives is dropped.
    ///
    /// # Errors
    /// See [`bpf::attach`].
    pub(super) fn attach(&self, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
        bpf::attach(self.program.as_fd(), interface, mode)
    }

    /// Gives the queue's datagrams to `socket`, which is bound to that queue.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        bpf::set_socket(self.map.as_fd(), queue, socket)
    }
}

/// The instructions.
///
/// Registers: r6 context, r2 start of the frame, r3 its end, r4 a place in it, r5 a field of it.
fn assemble(bound: SocketAddr, map: BorrowedFd<'_>) -> Vec<Instruction> {
    let mut code = Code::default();
    code.push(MOVE, 6, 1, 0, 0);
    code.push(LOAD_32, 2, 1, CONTEXT_DATA, 0);
    code.push(LOAD_32, 3, 1, CONTEXT_DATA_END, 0);
    // Longer than a chunk takes: the kernel would drop it on its way to the socket.
    code.place(PACKET_LEN_MAX + 1);
    code.pass_if(JUMP_IF_LESS_OR_EQUAL, 4, 3);
    match bound {
        SocketAddr::V4(_) => {
            code.need(ETHERNET_LEN + IPV4_LEN + UDP_LEN);
            code.match_u16(12, KIND_IPV4);
            code.match_u8(14, VERSION_4_WITHOUT_OPTIONS);
            code.match_u8(23, PROTOCOL_UDP);
            code.push(LOAD_16, 5, 2, 20, 0);
            code.push(AND, 5, 0, 0, network_order(FRAGMENT_MASK));
            code.pass_if_not(0);
        }
        SocketAddr::V6(_) => {
            code.need(ETHERNET_LEN + IPV6_LEN + UDP_LEN);
            code.match_u16(12, KIND_IPV6);
            code.push(LOAD_8, 5, 2, 14, 0);
            code.push(AND, 5, 0, 0, 0xf0);
            code.pass_if_not(0x60);
            code.match_u8(20, PROTOCOL_UDP);
        }
    }
    match bound.ip() {
        ip if ip.is_unspecified() => {}
        IpAddr::V4(ip) => code.match_bytes(30, &ip.octets()),
        IpAddr::V6(ip) => code.match_bytes(38, &ip.octets()),
    }
    let port_at = if bound.is_ipv4() { 36 } else { 56 };
    code.match_u16(port_at, bound.port());
    // bpf_redirect_map(map, queue, what to answer when the slot is empty)
    code.push(LOAD_32, 2, 6, CONTEXT_QUEUE, 0);
    code.push(LOAD_MAP, 1, SOURCE_MAP_FD, 0, map.as_raw_fd());
    code.push(0, 0, 0, 0, 0);
    code.push(MOVE_CONSTANT, 3, 0, 0, XDP_PASS);
    code.push(CALL, 0, 0, 0, REDIRECT_MAP);
    code.push(EXIT, 0, 0, 0, 0);
    code.finish()
}

/// Instructions in the making; all jumps go to one place behind them that answers XDP_PASS.
#[derive(Default)]
struct Code {
    instructions: Vec<Instruction>,
    /// Which of them jump.
    jumps: Vec<usize>,
}

impl Code {
    fn push(&mut self, operation: u8, to: u8, from: u8, offset: i16, constant: i32) {
        let registers = if cfg!(target_endian = "little") {
            to | (from << 4)
        } else {
            (to << 4) | from
        };
        let [offset_0, offset_1] = offset.to_ne_bytes();
        let [c0, c1, c2, c3] = constant.to_ne_bytes();
        self.instructions
            .push([operation, registers, offset_0, offset_1, c0, c1, c2, c3]);
    }

    /// r4 = start of the frame + `offset`.
    fn place(&mut self, offset: usize) {
        self.push(MOVE, 4, 2, 0, 0);
        self.push(ADD, 4, 0, 0, offset as i32);
    }

    fn pass_if(&mut self, jump: u8, left: u8, right: u8) {
        self.jumps.push(self.instructions.len());
        self.push(jump, left, right, 0, 0);
    }

    /// Passes unless the low 32 bits of r5 are `expected`.
    fn pass_if_not(&mut self, expected: i32) {
        self.jumps.push(self.instructions.len());
        self.push(JUMP_32_IF_NOT_EQUAL, 5, 0, 0, expected);
    }

    /// Passes a frame of fewer than `length` bytes; without this the kernel's checker lets no byte be read.
    fn need(&mut self, length: usize) {
        self.place(length);
        self.pass_if(JUMP_IF_GREATER, 4, 3);
    }

    fn match_u8(&mut self, at: i16, expected: u8) {
        self.push(LOAD_8, 5, 2, at, 0);
        self.pass_if_not(i32::from(expected));
    }

    fn match_u16(&mut self, at: i16, expected: u16) {
        self.push(LOAD_16, 5, 2, at, 0);
        self.pass_if_not(network_order(expected));
    }

    fn match_bytes(&mut self, at: i16, expected: &[u8]) {
        for (index, word) in expected.chunks_exact(4).enumerate() {
            self.push(LOAD_32, 5, 2, at + 4 * index as i16, 0);
            self.pass_if_not(i32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }

    fn finish(mut self) -> Vec<Instruction> {
        let pass = self.instructions.len();
        self.push(MOVE_CONSTANT, 0, 0, 0, XDP_PASS);
        self.push(EXIT, 0, 0, 0, 0);
        for jump in self.jumps {
            // Counted from the instruction behind the jump.
            let distance = (pass - jump - 1) as i16;
            self.instructions[jump][2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        self.instructions
    }
}

/// A field of a packet as a load reads it.
fn network_order(value: u16) -> i32 {
    i32::from(u16::from_ne_bytes(value.to_be_bytes()))
}

const LOAD_8: u8 = 0x71;
const LOAD_16: u8 = 0x69;
const LOAD_32: u8 = 0x61;
const LOAD_MAP: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const JUMP_IF_GREATER: u8 = 0x2d;
const JUMP_IF_LESS_OR_EQUAL: u8 = 0xbd;
const JUMP_32_IF_NOT_EQUAL: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The constant of [`LOAD_MAP`] is a map's descriptor.
const SOURCE_MAP_FD: u8 = 1;
/// Fields of `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;
/// Number of the helper.
const REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;

#[cfg(test)]
mod tests;
