//! AF_XDP: UDP datagrams to one port, taken off a network interface before the kernel's network stack sees them.
//!
//! A program in the kernel ([`program`]) gives plain UDP to our port to a socket a receive queue ([`socket`]), which is
//! memory shared with the kernel: receiving is reading a ring, without a system call. All else, and everything while
//! nobody is bound, goes the kernel's way, where an ordinary UDP socket stays bound to the same port; through it replies
//! leave. What is handed out is checked as the kernel would have checked it ([`packet`]).
//!
//! What is given up: rules of a firewall (nftables, iptables), `tcpdump` and the kernel's counters do not see these
//! datagrams, as they never get that far. Where the address bound is unspecified, datagrams to the port are taken whatever
//! machine they are for: on a host that forwards packets, name the address.
//!
//! Native mode (in the driver) is tried on hardware, generic mode where that is refused and on `lo` and other interfaces
//! of software, which have no driver to gain from; zero-copy where the driver has it. One program an interface: a second
//! node on the same one is refused.
//!
//! Privileges, for opening only: CAP_NET_RAW (the socket), CAP_BPF and CAP_NET_ADMIN (program and attaching it); CAP_IPC_LOCK
//! or a limit on locked memory of 16 MiB a queue.
//!
//! Cost: no system call a datagram; a look at the ring, one pass over the bytes for the checksum, and a store to give the
//! memory back. The copy into our memory happens in the softirq of whichever core the packet came in on. Beside other ways:
//! `fairlane-bench xdp`.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::interface::Interface;
use self::packet::{Scope, read_datagram};
use self::program::Program;
use self::socket::{Losses, Socket};
use super::source::{DatagramSource, SourceCounters};

mod bpf;
mod interface;
mod packet;
mod program;
mod refusal;
mod ring;
mod socket;
mod umem;

pub use bpf::Mode;
pub use refusal::XdpError;

/// Datagrams to one address that come through one interface.
#[derive(Debug)]
pub struct Xdp {
    /// One for each receive queue that has a socket.
    pub queues: Vec<XdpQueue>,
    /// How they were opened, for the log.
    pub facts: Facts,
}

/// What was chosen, and why it was not something better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The interface.
    pub interface: String,
    /// Where the program runs.
    pub mode: Mode,
    /// Why not in the driver, where that was tried.
    pub native_refused: Option<String>,
    /// The driver writes straight into our memory.
    pub is_zero_copy: bool,
    /// Our memory lies in huge pages.
    pub has_huge_pages: bool,
    /// Receive queues of the interface.
    pub queues: u32,
    /// Queues whose datagrams take the kernel's way.
    pub queues_left: u32,
}

impl Xdp {
    /// Takes datagrams to `bound`, where the kernel's UDP socket is or will be bound, off `interface`.
    ///
    /// `mode`: only that one; none for the best that works. Until what this gives is dropped, also by being killed.
    ///
    /// # Errors
    /// [`XdpError`], a sentence that says what to do.
    pub fn open(interface: &str, bound: SocketAddr, mode: Option<Mode>) -> Result<Self, XdpError> {
        if bound.port() == 0 {
            return Err(XdpError::NoPort);
        }
        let interface = Interface::find(interface)
            .map_err(|source| XdpError::no_interface(interface, source))?;
        if !interface.is_up {
            return Err(XdpError::Down(interface.name));
        }
        refusal::check_capabilities(&interface.name)?;
        let modes: &[Mode] = match mode {
            Some(Mode::Native) => &[Mode::Native],
            Some(Mode::Generic) => &[Mode::Generic],
            None if interface.is_hardware => &[Mode::Native, Mode::Generic],
            None => &[Mode::Generic],
        };
        let mut native_refused = None;
        let mut modes = modes.iter().copied().peekable();
        while let Some(mode) = modes.next() {
            match open_in(&interface, bound, mode) {
                Ok(queues) => {
                    let facts = Facts::of(&interface, mode, native_refused, &queues);
                    return Ok(Self { queues, facts });
                }
                Err(error) if modes.peek().is_none() => return Err(error),
                Err(error) => native_refused = Some(error.cause()),
            }
        }
        unreachable!("the last mode's error was returned")
    }
}

fn open_in(
    interface: &Interface,
    bound: SocketAddr,
    mode: Mode,
) -> Result<Vec<XdpQueue>, XdpError> {
    let failed = |step: &'static str| {
        let name = interface.name.clone();
        move |source: io::Error| XdpError::of(name, step, source)
    };
    let program = Program::load(bound, interface.queues).map_err(failed(refusal::LOADING))?;
    let link = program
        .attach(interface.index, mode)
        .map_err(failed(refusal::ATTACHING))?;
    let attached = Arc::new(Attached {
        _link: link,
        program,
    });
    let scope = Scope {
        bound,
        interface: interface.index,
        is_loopback: interface.is_loopback,
    };
    let open = |queue: u32| {
        let socket =
            Socket::bind(interface.index, queue, mode).map_err(failed(refusal::BINDING))?;
        let program = &attached.program;
        program
            .set_socket(queue, socket.as_fd())
            .map_err(failed(refusal::LOADING))?;
        Ok(XdpQueue {
            socket,
            scope,
            counters: SourceCounters::default(),
            losses: Cell::default(),
            _attached: Arc::clone(&attached),
        })
    };
    (0..interface.queues.min(QUEUES_MAX)).map(open).collect()
}

/// The program's place on its interface.
#[derive(Debug)]
struct Attached {
    /// Closing it takes the program off the interface.
    _link: OwnedFd,
    program: Program,
}

/// The datagrams of one receive queue.
#[derive(Debug)]
pub struct XdpQueue {
    socket: Socket,
    scope: Scope,
    counters: SourceCounters,
    losses: Cell<(Losses, Option<Instant>)>,
    _attached: Arc<Attached>,
}

impl XdpQueue {
    /// Sleeps until a frame is there, at most `timeout`; for those who have no backend to watch it.
    ///
    /// # Errors
    /// What poll says.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        self.socket.wait(timeout)
    }
}

impl DatagramSource for XdpQueue {
    fn take(&mut self, limit: u32, each: &mut dyn FnMut(SocketAddr, &[u8])) -> bool {
        let (scope, counters) = (self.scope, &mut self.counters);
        self.socket.take(limit, &mut |frame| {
            let Ok((peer, bytes)) = read_datagram(frame, scope) else {
                counters.malformed += 1;
                return;
            };
            counters.datagrams += 1;
            counters.bytes += bytes.len() as u64;
            each(peer, bytes);
        })
    }

    fn counters(&self) -> SourceCounters {
        let (mut losses, mut asked_at) = self.losses.get();
        if asked_at.is_none_or(|at| at.elapsed() >= LOSSES_EVERY) {
            // A socket whose interface is gone still answers; an error leaves what was known.
            losses = self.socket.losses().unwrap_or(losses);
            asked_at = Some(Instant::now());
            self.losses.set((losses, asked_at));
        }
        SourceCounters {
            dropped: losses.dropped,
            ring_full: losses.ring_full,
            fill_empty: losses.fill_empty,
            invalid: losses.invalid,
            ..self.counters
        }
    }
}

impl AsFd for XdpQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Facts {
    fn of(
        interface: &Interface,
        mode: Mode,
        native_refused: Option<String>,
        queues: &[XdpQueue],
    ) -> Self {
        let opened = queues.len() as u32;
        Self {
            interface: interface.name.clone(),
            mode,
            native_refused,
            is_zero_copy: queues.iter().all(|queue| queue.socket.is_zero_copy()),
            has_huge_pages: queues.iter().all(|queue| queue.socket.has_huge_pages()),
            queues: opened,
            queues_left: interface.queues - opened,
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Native => "native",
            Mode::Generic => "generic (SKB)",
        };
        let copy = if self.is_zero_copy {
            "zero-copy"
        } else {
            "copy"
        };
        let pages = if self.has_huge_pages {
            "huge"
        } else {
            "normal"
        };
        write!(
            f,
            "AF_XDP on {}, {mode} mode, {copy}, {} of 16 MiB in {pages} pages",
            self.interface,
            match self.queues {
                1 => "1 queue".to_owned(),
                queues => format!("{queues} queues"),
            }
        )?;
        if let Some(refused) = &self.native_refused {
            write!(f, "; native mode was refused: {refused}")?;
        }
        if self.queues_left > 0 {
            write!(
                f,
                "; {} more queues take the kernel's way",
                self.queues_left
            )?;
        }
        Ok(())
    }
}

/// How often the kernel is asked for its counts.
const LOSSES_EVERY: Duration = Duration::from_millis(50);
/// Queues of an interface that get a socket; those beyond take the kernel's way.
pub const QUEUES_MAX: u32 = 16;

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests;
