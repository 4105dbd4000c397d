//! Hosts that are network namespaces, and the network between them: a thread that reads every packet, holds it for as long
//! as the way takes, loses some, and hands it to its receiver's host.
//!
//! TUN devices and not veth pairs: a delay needs something that holds packets, and the queueing discipline that does it on a
//! veth pair (netem) is missing from many kernels (what others have, tbf and htb, shapes a rate and delays nothing). With the other end of
//! each device in this process, delay, jitter, loss and cuts are a few lines, drawn from a seed, and the same everywhere; a
//! packet costs this process two system calls, which is little beside the delays.
//!
//! Each host has one TUN device with one address; this process holds the other ends. One more host is this process's own
//! namespace, without delay: whoever measures sits there. Packets of one pair of hosts stay in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fairlane_net::tun::Tun;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::attack::chance::Chance;

/// How the network between two hosts is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// One way.
    pub delay: Duration,
    /// Up to so much more, drawn for each packet.
    pub jitter: Duration,
    /// Of 10,000 packets, so many are lost.
    pub loss: u32,
}

/// The hosts. Dropping it removes them.
pub struct Hosts {
    names: Names,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What whoever holds the hosts changes while the network runs.
struct Shared {
    way: Mutex<Way>,
    /// Whose packets are all lost, a bit a host.
    cut: AtomicUsize,
    is_over: AtomicBool,
    carried: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

/// The namespaces, removed when this is dropped, also when making them failed half way.
#[derive(Clone, Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// Removes every namespace, once those that are being made are there. For whoever ends the process from another thread:
    /// nothing is made afterwards.
    pub fn remove_for_good(&self) {
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove();
        // Never given back.
        std::mem::forget(making);
    }

    /// Removes every namespace that is there. May be called twice.
    pub fn remove(&self) {
        for name in &self.0 {
            // One that was not made, or is removed already, is no loss.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// Removes the namespaces at the end of a scope.
struct Removed(Names);

impl Drop for Removed {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl Hosts {
    /// The names that [`Self::start`] gives to `count` hosts of this process.
    pub fn names(count: u8) -> Names {
        let pid = std::process::id();
        Names(
            (0..count)
                .map(|host| format!("fairlane-{pid}-{host}"))
                .collect(),
        )
    }

    /// The address of a host; `count` is this process's own.
    pub fn address(host: u8) -> Ipv4Addr {
        let [a, b, c] = SUBNET;
        Ipv4Addr::new(a, b, c, host + FIRST)
    }

    /// Makes `count` hosts and runs the network between them.
    ///
    /// Errors, in a sentence: not root, no `ip` command, no TUN devices.
    pub fn start(count: u8, way: Way, seed: u64) -> anyhow::Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "network namespaces and TUN devices need root: run this as root"
        );
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let names = Self::names(count);
        let removed = Removed(names.clone());
        let mut devices = Vec::new();
        for host in 0..=count {
            let device = format!("fl{}-{host}", std::process::id() % 1_000_000);
            let tun = Tun::create(&device);
            devices.push(tun.with_context(|| format!("cannot make the TUN device {device}"))?);
            let address = format!("{}/24", Self::address(host));
            match names.0.get(usize::from(host)) {
                Some(name) => {
                    ip(&["netns", "add", name])?;
                    ip(&["link", "set", &device, "netns", name])?;
                    ip(&["-n", name, "link", "set", "lo", "up"])?;
                    ip(&["-n", name, "address", "add", &address, "dev", &device])?;
                    ip(&["-n", name, "link", "set", &device, "up"])?;
                }
                None => {
                    ip(&["address", "add", &address, "dev", &device])?;
                    ip(&["link", "set", &device, "up"])?;
                }
            }
        }
        let shared = Arc::new(Shared {
            way: Mutex::new(way),
            cut: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            carried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        });
        let thread = {
            let shared = shared.clone();
            let mut network = Network::new(devices, seed, shared);
            std::thread::Builder::new()
                .name("network".into())
                .spawn(move || network.run())?
        };
        std::mem::forget(removed);
        Ok(Self {
            names,
            shared,
            thread: Some(thread),
        })
    }

    /// The words that run a command on a host.
    pub fn command(&self, host: u8) -> Vec<String> {
        let name = self.names.0[usize::from(host)].as_str();
        ["ip", "netns", "exec", name].map(str::to_owned).to_vec()
    }

    /// From now on the network is like this.
    pub fn set_way(&self, way: Way) {
        *self
            .shared
            .way
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Cuts a host off, or joins it again.
    pub fn set_cut(&self, host: u8, is_cut: bool) {
        if is_cut {
            self.shared.cut.fetch_or(1 << host, Ordering::Relaxed);
        } else {
            self.shared.cut.fetch_and(!(1 << host), Ordering::Relaxed);
        }
    }

    /// Packets carried, lost on the way by chance or cut, and lost as too many were held.
    pub fn counts(&self) -> (u64, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (
            load(&self.shared.carried),
            load(&self.shared.lost),
            load(&self.shared.overflowed),
        )
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed when it happened; the hosts are removed all the same.
            let _ = thread.join();
        }
        self.names.remove();
    }
}

/// The thread's state.
struct Network {
    devices: Vec<Tun>,
    chance: Chance,
    shared: Arc<Shared>,
    /// Held packets, the next due first.
    held: BinaryHeap<Reverse<Held>>,
    numbered: u64,
    /// When the last packet from one host to another is due.
    last: Vec<Vec<Instant>>,
}

/// A packet on its way; ordered by when it is due, then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

impl Network {
    fn new(devices: Vec<Tun>, seed: u64, shared: Arc<Shared>) -> Self {
        let hosts = devices.len();
        Self {
            devices,
            chance: Chance::new(seed, "network"),
            shared,
            held: BinaryHeap::new(),
            numbered: 0,
            last: vec![vec![Instant::now(); hosts]; hosts],
        }
    }

    fn run(&mut self) {
        let mut buffer = vec![0; PACKET_LEN];
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.deliver();
            let now = Instant::now();
            let wait = self.held.peek().map_or(IDLE, |Reverse(Held { due, .. })| {
                due.saturating_duration_since(now).min(IDLE)
            });
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(wait.subsec_nanos()),
            };
            let mut fds: Vec<PollFd<'_>> = self
                .devices
                .iter()
                .map(|device| PollFd::new(device, PollFlags::IN))
                .collect();
            // An interrupted or failed wait is the same as one that timed out.
            let _ = poll(&mut fds, Some(&timeout));
            let ready: Vec<usize> = (0..fds.len())
                .filter(|index| !fds[*index].revents().is_empty())
                .collect();
            drop(fds);
            for from in ready {
                // A share each, so that one host's flood holds nobody up.
                for _ in 0..PACKETS_A_TURN {
                    match self.devices[from].try_read(&mut buffer) {
                        Ok(Some(len)) => self.take(from, &buffer[..len]),
                        // A device whose host is gone says so for ever: nothing comes from it.
                        Ok(None) | Err(_) => break,
                    }
                }
            }
        }
    }

    fn take(&mut self, from: usize, packet: &[u8]) {
        let Some(to) = self.receiver(packet) else {
            return;
        };
        let way = *self
            .shared
            .way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let cut = self.shared.cut.load(Ordering::Relaxed);
        let is_cut = cut & (1 << from | 1 << to) != 0;
        let own = self.devices.len() - 1;
        let is_measuring = from == own || to == own;
        let is_lost = !is_measuring && self.chance.below(LOSS_OF as usize) < way.loss as usize;
        if is_cut || is_lost {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.held.len() >= HELD_MOST {
            self.shared.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let jitter_us = way.jitter.as_micros() as usize;
        let mut due = Instant::now();
        if !is_measuring {
            due += way.delay + Duration::from_micros(self.chance.below(jitter_us + 1) as u64);
        }
        let last = &mut self.last[from][to];
        *last = due.max(*last);
        let due = *last;
        self.numbered += 1;
        self.held.push(Reverse(Held {
            due,
            number: self.numbered,
            to,
            packet: packet.to_vec(),
        }));
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self
            .held
            .peek()
            .is_some_and(|Reverse(Held { due, .. })| *due <= now)
        {
            if let Some(Reverse(Held { to, packet, .. })) = self.held.pop() {
                // What the receiving kernel does not take is lost, as in a full queue of an interface.
                let taken = self.devices[to].write(&packet);
                let count = if taken {
                    &self.shared.carried
                } else {
                    &self.shared.lost
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Which host an IPv4 packet is for.
    fn receiver(&self, packet: &[u8]) -> Option<usize> {
        let header = packet.get(..20).filter(|header| header[0] >> 4 == 4)?;
        let [a, b, c, host] = header[16..20].try_into().ok()?;
        let host = usize::from(u8::checked_sub(host, FIRST)?);
        ([a, b, c] == SUBNET && host < self.devices.len()).then_some(host)
    }
}

/// Held while hosts are made.
static MAKING: Mutex<()> = Mutex::new(());

/// Runs `ip` with these words. Errors: it is not there, or what it says.
fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output();
    let output = output.context("the ip command is not there: install iproute2")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("ip {}: {said}", words.join(" "));
    }
    Ok(())
}

/// Set aside for tests of networks (RFC 2544).
const SUBNET: [u8; 3] = [198, 18, 77];
/// Last byte of the first host's address.
const FIRST: u8 = 1;
const IDLE: Duration = Duration::from_millis(50);
/// Longest packet with large segments.
const PACKET_LEN: usize = 68 << 10;
const PACKETS_A_TURN: usize = 64;
/// Packets on their way, all together: some 100 MB of full ones.
const HELD_MOST: usize = 65_536;
const LOSS_OF: u32 = 10_000;
