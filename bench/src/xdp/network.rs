//! Two network namespaces joined by a veth pair, and a sender in one of them.
//!
//! Neither has a name: each lives as long as its thread, so nothing is left behind, however the run ends.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use nix::unistd::{Pid, gettid};

/// The receiver's end, in the calling thread's namespace; dropping it ends the sender.
pub(super) struct Network {
    requests: Sender<Request>,
    answers: Receiver<anyhow::Result<u64>>,
}

/// Send to this port for so long.
struct Request {
    port: u16,
    time: Duration,
}

impl Network {
    /// Moves the calling thread into a namespace of its own, and joins it to another one with a sender in it.
    ///
    /// # Errors
    /// In a sentence: no privilege, or no `ip` command.
    pub(super) fn new(payload_bytes: usize) -> anyhow::Result<Self> {
        enter()?;
        let (say_thread, thread) = channel();
        let (joined, join) = channel();
        let (requests, inbox) = channel::<Request>();
        let (outbox, answers) = channel();
        std::thread::spawn(move || {
            let entered = enter().map(|()| gettid());
            let _ = say_thread.send(entered);
            // Both ends are there when the other side says so.
            if join.recv().is_err() {
                return;
            }
            let ready = set_up(SENDER_END, SENDER).and_then(|()| pin(SENDER_CORE));
            let mut failed = ready.err();
            while let Ok(request) = inbox.recv() {
                let answer = match failed.take() {
                    Some(error) => Err(error),
                    None => send(&request, payload_bytes),
                };
                if outbox.send(answer).is_err() {
                    return;
                }
            }
        });
        let sender = thread.recv().context("the sender has ended")??;
        ip(&["link", "set", "lo", "up"])?;
        let sender = sender.to_string();
        ip(&[
            "link",
            "add",
            RECEIVER_END,
            "type",
            "veth",
            "peer",
            "name",
            SENDER_END,
            "netns",
            &sender,
        ])?;
        set_up(RECEIVER_END, RECEIVER)?;
        joined.send(()).context("the sender has ended")?;
        Ok(Self { requests, answers })
    }

    /// Has datagrams sent to `port` for `time`, while the caller goes on.
    pub(super) fn start(&self, port: u16, time: Duration) -> anyhow::Result<()> {
        let request = Request { port, time };
        self.requests.send(request).context("the sender has ended")
    }

    /// How many datagrams its kernel took, once it has done.
    pub(super) fn sent(&self) -> Option<anyhow::Result<u64>> {
        self.answers.try_recv().ok()
    }
}

fn enter() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN): run it with sudo")
}

fn set_up(end: &str, address: Ipv4Addr) -> anyhow::Result<()> {
    ip(&["address", "add", &format!("{address}/24"), "dev", end])?;
    ip(&["link", "set", end, "up"])
}

/// Runs `ip` in the calling thread's namespace.
fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("the command `ip` is not there: install iproute2")?;
    anyhow::ensure!(
        output.status.success(),
        "`ip {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; ")
    );
    Ok(())
}

/// Keeps the calling thread on one processor.
pub(super) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("cannot keep a thread on processor {core}"))
}

/// Sends as fast as the kernel takes it.
fn send(request: &Request, payload_bytes: usize) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind((SENDER, 0))?;
    let to = SocketAddr::from((RECEIVER, request.port));
    let SocketAddr::V4(to) = to else {
        anyhow::bail!("the receiver has an IPv4 address");
    };
    let to = [Some(SockaddrIn::from(to)); BATCH];
    let payload = vec![0x5a; payload_bytes];
    let slices: Vec<[std::io::IoSlice<'_>; 1]> = (0..BATCH)
        .map(|_| [std::io::IoSlice::new(&payload)])
        .collect();
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let no_control: [ControlMessage<'_>; 0] = [];
    let end = Instant::now() + request.time;
    let mut sent = 0;
    while Instant::now() < end {
        let flags = MsgFlags::empty();
        let results = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            to,
            no_control,
            flags,
        );
        match results {
            Ok(results) => sent += results.count() as u64,
            // The port is closed for a moment while the next way is opened.
            Err(nix::errno::Errno::ECONNREFUSED | nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot send"),
        }
    }
    Ok(sent)
}

/// The receiver's address.
pub(super) const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The receiver's interface.
pub(super) const RECEIVER_END: &str = "fairlane0";
const SENDER_END: &str = "fairlane1";
const SENDER_CORE: usize = 0;
/// The receiver's processor.
pub(super) const RECEIVER_CORE: usize = 1;
const BATCH: usize = 64;
