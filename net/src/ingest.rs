//! A node as far as its local order, for `fairlane-bench ingest`: no part of what a node runs.
//!
//! The IO stage with a real backend, its links, framing and gate, and the core stage's [`Admission`] around a real
//! engine, on one pinned thread as on a machine of two cores: what a client sends gets its ack and its position, and
//! nothing behind that is done: no record is written, no vertex made. The node's window follows what is opened; here
//! everything counts as opened at once. It stands in this crate because it is made of parts that nobody else shall use.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::Effect;
use fairlane_engine::engine::Engine;
use fairlane_engine::input::ClientTag;
use fairlane_engine::reveal::RevealKeys;
use fairlane_engine::seal::{EnvelopeVerifier, KeyShare, SealingKey, deal};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};

use crate::backend::{self, BackendConfig, BackendKind};
use crate::node::{STAGE_RING_DEPTH, pin};
use crate::session::keys::{LinkKeys, LinkSecret};
use crate::stage::admission::{Admission, Surroundings};
use crate::stage::bucket::Allowance;
use crate::stage::core::PORTION_MAX;
use crate::stage::io::{CLIENTS, DATAGRAMS, IoAddresses, IoCounters, IoPorts, IoStage};
use crate::stage::key_watch::{KeyCell, KeyWatch};
use crate::stage::links::datagrams::DatagramClients;
use crate::stage::messages::{FromCore, ToCore};
use crate::stage::outbox::Outbox;
use crate::stage::pressure::{Fates, Gauge, Pressure};
use crate::stage::rollup_quotas::RollupQuotas;
use crate::stage::standings::Standings;
use crate::stage::stats::CoreSteps;
use crate::stage::waiting::Wait;
use crate::stage::{Fatal, Polled, Stage, Wake, WakeCell, clock};

/// The rollup that is served; its policy takes open envelopes.
pub const ROLLUP: RollupId = RollupId(1);

/// A node as far as its local order, running on a thread of its own.
pub struct Ingest {
    /// For clients over TCP.
    pub tcp: SocketAddr,
    /// For clients over UDP.
    pub udp: SocketAddr,
    /// What envelopes are made for.
    pub key: SealingKey,
    /// What the thread has done.
    pub done: Arc<Done>,
    /// The thread's number, as in `/proc/self/task`.
    pub thread_id: i32,
    steps: Arc<Mutex<CoreSteps>>,
    io: Arc<Mutex<IoCounters>>,
    stop: Arc<AtomicBool>,
    wake: WakeCell,
    thread: JoinHandle<Result<(), Fatal>>,
}

/// Counts that only grow, for whoever watches.
#[derive(Debug, Default)]
pub struct Done {
    /// Envelopes that got a position.
    pub placed: AtomicU64,
}

/// What it did, once it is stopped.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Envelopes that got a position.
    pub placed: u64,
    /// Time of the steps of admission.
    pub steps: CoreSteps,
    /// What the IO stage counted.
    pub io: IoCounters,
}

impl Ingest {
    /// Starts it on `core`; `udp_gro` as in a node's configuration. Errors: the backend is refused, or no port is free.
    pub fn start(kind: BackendKind, core: usize, wait: Wait, udp_gro: bool) -> Result<Self, Fatal> {
        let signing: Vec<SigningKey> = (1..=AUTHORITIES)
            .map(|byte| SigningKey::from_bytes(&[byte; 32]))
            .collect();
        let committee = Arc::new(committee(&signing)?);
        let (key, shares) = deal(
            CHAIN,
            Epoch(0),
            u32::from(AUTHORITIES),
            u32::from(AUTHORITIES) - 1,
            &[9; 32],
        )
        .map_err(fatal)?;
        let secret = |index: u8| LinkSecret::from_bytes(&[index + 1; 32]);
        let publics: Vec<_> = (0..AUTHORITIES)
            .map(|index| secret(index).public())
            .collect();
        let link_keys = LinkKeys::new(&committee, &publics, OWN, secret(OWN.0)).map_err(fatal)?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (stop, wake) = (Arc::new(AtomicBool::new(false)), WakeCell::default());
        let (done, steps, io) = (Arc::default(), Arc::default(), Arc::default());
        let parts = Parts {
            committee,
            signing,
            key: key.clone(),
            shares,
            link_keys: Arc::new(link_keys),
            addresses: IoAddresses {
                client_listen: any,
                udp_listen: Some(any),
                udp_gro,
                peer_listen: any,
                // The last authority connects to nobody: the others connect to it, and there are none.
                peers: vec![any; usize::from(AUTHORITIES)],
            },
            done: Arc::clone(&done),
            steps: Arc::clone(&steps),
            io: Arc::clone(&io),
        };
        let (ready_sender, ready) = mpsc::channel();
        let thread = {
            let (stop, wake) = (Arc::clone(&stop), wake.clone());
            let run = move || parts.run((kind, core, wait), &wake, &stop, &ready_sender);
            std::thread::Builder::new().name("ingest".into()).spawn(run)
        };
        let thread = thread.map_err(fatal)?;
        let Ok(Ready {
            thread_id,
            tcp,
            udp,
        }) = ready.recv()
        else {
            return Err(match thread.join() {
                Ok(Err(fault)) => fault,
                Ok(Ok(())) | Err(_) => Fatal("the thread ended before it was ready".into()),
            });
        };
        Ok(Self {
            tcp,
            udp,
            key,
            done,
            thread_id,
            steps,
            io,
            stop,
            wake,
            thread,
        })
    }

    /// Ends the thread. Errors: what ended it before.
    pub fn stop(self) -> Result<Figures, Fatal> {
        self.stop.store(true, Ordering::Release);
        self.wake.wake();
        match self.thread.join() {
            Ok(ended) => ended?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Figures {
            placed: self.done.placed.load(Ordering::Acquire),
            steps: *lock(&self.steps),
            io: *lock(&self.io),
        })
    }
}

/// What the thread is started with.
struct Parts {
    committee: Arc<Committee>,
    signing: Vec<SigningKey>,
    key: SealingKey,
    shares: Vec<KeyShare>,
    link_keys: Arc<LinkKeys>,
    addresses: IoAddresses,
    done: Arc<Done>,
    steps: Arc<Mutex<CoreSteps>>,
    io: Arc<Mutex<IoCounters>>,
}

impl Parts {
    fn run(
        mut self,
        (kind, core, wait): (BackendKind, usize, Wait),
        wake: &WakeCell,
        stop: &AtomicBool,
        ready: &mpsc::Sender<Ready>,
    ) -> Result<(), Fatal> {
        pin(core);
        let (to_core, from_io) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let (to_io, from_core) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let share = self.shares.swap_remove(OWN.as_usize());
        let keys = RevealKeys {
            sealing: Arc::new(self.key),
            share,
            signing: self.signing.swap_remove(OWN.as_usize()),
            process_secret: [1; 32],
        };
        let config = EngineConfig {
            // Nothing lists what gets a position.
            unlisted_max: u32::MAX,
            ..EngineConfig::default()
        };
        let engine = Engine::new(self.committee.clone(), OWN, keys, config);
        let mut verifier = EnvelopeVerifier::without_keys([2; 32]);
        let key = KeyCell::default();
        KeyWatch::new(key.clone(), None).look(&engine, &mut verifier)?;
        let failures = Allowance {
            burst: 1,
            refill_us: 1_000_000,
        };
        let pressure = Pressure::new();
        let stage = LocalOrderStage {
            engine,
            admission: Admission::new(verifier, Standings::new(failures), RollupQuotas::new(0)),
            from_io,
            to_io,
            gauge: Gauge::new(pressure.clone()),
            outbox: Outbox::default(),
            effects: Vec::new(),
            steps: CoreSteps::default(),
            publish_steps: self.steps,
            done: self.done,
        };
        let mut config = BackendConfig::default();
        config.uring.gather_want = wait.gather_want;
        let ports = IoPorts {
            to_core,
            from_core,
            core: WakeCell::default(),
            pressure,
            counters: self.io,
            datagram_sources: Vec::new(),
        };
        let mut io = IoStage::new(
            backend::open(kind, config).map_err(fatal)?,
            self.committee,
            self.link_keys,
            key,
            &self.addresses,
            DatagramClients::new([3; 32], 0),
            ports,
        )?;
        let io_wake: Wake = io.wake();
        wake.set(io_wake);
        let bound = |tag| {
            io.bound(tag)
                .ok_or_else(|| Fatal("a listener is missing".into()))
        };
        let is_ready = Ready {
            thread_id: rustix::thread::gettid().as_raw_nonzero().get(),
            tcp: bound(CLIENTS)?,
            udp: bound(DATAGRAMS)?,
        };
        // Whoever started it may have gone; then it is stopped, too.
        let _ = ready.send(is_ready);
        let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(stage)];
        crate::stage::run(&mut stages, &mut io, stop, wait)
    }
}

/// What the thread says when it runs.
struct Ready {
    thread_id: i32,
    tcp: SocketAddr,
    udp: SocketAddr,
}

/// What the core stage does with submissions, and no more.
struct LocalOrderStage {
    engine: Engine,
    admission: Admission,
    from_io: rtrb::Consumer<ToCore>,
    to_io: rtrb::Producer<FromCore>,
    gauge: Gauge,
    outbox: Outbox,
    effects: Vec<Effect>,
    steps: CoreSteps,
    publish_steps: Arc<Mutex<CoreSteps>>,
    done: Arc<Done>,
}

impl LocalOrderStage {
    /// As the core stage takes in a portion; what concerns other authorities does not come.
    fn take_in(&mut self, now: TimestampUs) -> usize {
        let start = std::time::Instant::now();
        let mut taken = 0;
        while taken < PORTION_MAX {
            let Ok(message) = self.from_io.pop() else {
                break;
            };
            taken += 1;
            match message {
                ToCore::Submit {
                    connection,
                    tag,
                    bytes,
                } => {
                    let client = ClientTag { connection, tag };
                    self.admission.queue(client, bytes);
                }
                ToCore::ClientUp {
                    connection,
                    notices,
                } => self.outbox.add_client(connection, notices),
                ToCore::ClientDown { connection } => self.outbox.remove_client(connection),
                ToCore::Follow { .. }
                | ToCore::PeerUp { .. }
                | ToCore::PeerDown { .. }
                | ToCore::Peer { .. } => {}
            }
        }
        if taken > 0 {
            let mut around = Surroundings {
                engine: &mut self.engine,
                effects: &mut self.effects,
                outbox: &mut self.outbox,
                now,
            };
            let screened = self.admission.screen(false, &mut around);
            self.steps.screen.add_since(start, screened);
        }
        taken
    }
}

impl Stage for LocalOrderStage {
    fn poll(&mut self, now: TimestampUs) -> Result<Polled, Fatal> {
        let taken = self.take_in(now);
        let mut around = Surroundings {
            engine: &mut self.engine,
            effects: &mut self.effects,
            outbox: &mut self.outbox,
            now,
        };
        self.admission.check_proofs(&mut self.steps, &mut around);
        for effect in self.effects.drain(..) {
            // What is to be recorded, sent or made of it lies behind the local order.
            if let Effect::Ack { client, outcome } = effect {
                self.outbox.ack(client, outcome);
            }
        }
        let mut is_full = false;
        let to_io = &mut self.to_io;
        (self.outbox).drain(|message| is_full |= to_io.push(message).is_err());
        if is_full {
            return Err(Fatal("the ring to the IO stage is full".into()));
        }
        let placed = self.engine.counters().accepted;
        self.done.placed.store(placed, Ordering::Release);
        let fates = Fates {
            taken: placed,
            opened: placed,
            dropped: 0,
        };
        self.gauge.look(now, fates, self.steps.proof, true);
        Ok(match taken {
            PORTION_MAX => Polled::Busy,
            _ => Polled::Idle(None),
        })
    }

    fn finish(&mut self) -> Result<(), Fatal> {
        *lock(&self.publish_steps) = self.steps;
        Ok(())
    }
}

fn committee(signing: &[SigningKey]) -> Result<Committee, Fatal> {
    let keys = signing.iter().map(SigningKey::verifying_key).collect();
    let rollups = vec![Rollup {
        id: ROLLUP,
        policy: RollupPolicy::Open,
    }];
    let parameters = Parameters::default();
    Committee::new(CHAIN, Epoch(0), clock(), parameters, rollups, keys).map_err(fatal)
}

fn fatal(error: impl std::fmt::Display) -> Fatal {
    Fatal(error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Figures are plain numbers, whole at any instant.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

const AUTHORITIES: u8 = 5;
/// The last one.
const OWN: AuthorityIndex = AuthorityIndex(AUTHORITIES - 1);
const CHAIN: ChainId = ChainId(1);
