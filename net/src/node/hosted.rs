//! A thread of a node and the stages that it hosts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use fairlane_engine::committee::Committee;

use super::Stopper;
use crate::backend::{self, BackendConfig, BackendKind};
use crate::session::keys::LinkKeys;
use crate::stage::core::CoreStage;
use crate::stage::io::{IoAddresses, IoPorts, IoStage};
use crate::stage::key_watch::KeyCell;
use crate::stage::links::datagrams::DatagramClients;
use crate::stage::waiting::{ReceiveMode, Wait};
use crate::stage::{Fatal, ParkWaiter, Stage, Wake, WakeCell};

/// The stages of one thread, before it runs.
pub(super) struct Hosted {
    pub(super) io: Option<(IoPorts, DatagramClients)>,
    pub(super) core: Option<CoreStage>,
    pub(super) wake: WakeCell,
    pub(super) chosen: BackendKind,
    pub(super) committee: Arc<Committee>,
    pub(super) link_keys: Arc<LinkKeys>,
    pub(super) key: KeyCell,
    pub(super) addresses: IoAddresses,
    pub(super) core_index: usize,
    pub(super) wait: Wait,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) ready: mpsc::Sender<Result<(), Fatal>>,
}

impl Hosted {
    /// Makes them and runs them until `stop`. Errors: a local fault, before or after it said that it is ready.
    pub(super) fn run(self) -> Result<(), Fatal> {
        if !pin(self.core_index) && self.wait.is_spin() {
            return Err(Fatal(format!(
                "wait.mode = \"spin\" needs threads pinned to their cores, and core {} is refused: set wait.mode to \"batch\"",
                self.core_index
            )));
        }
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        if let Some(core) = self.core {
            stages.push(Box::new(core));
        }
        let Some((ports, datagrams)) = self.io else {
            self.wake.set(Wake::Thread(std::thread::current()));
            let _ = self.ready.send(Ok(()));
            return crate::stage::run(&mut stages, &mut ParkWaiter, &self.stop, self.wait);
        };
        if stages.is_empty()
            && self.wait.receive == ReceiveMode::Arrival
            && !self.wait.is_spin()
            && let Err(error) = crate::slice::ask()
        {
            eprintln!(
                "the scheduler gives io no shorter slice ({error}): it may wait longer for its processor"
            );
        }
        // Built here: an io_uring belongs to the thread that submits to it.
        let mut config = BackendConfig::default();
        config.uring.gather_want = self.wait.gather_want;
        let backend =
            backend::open(self.chosen, config).map_err(|error| Fatal(error.to_string()))?;
        let mut io = IoStage::new(
            backend,
            self.committee,
            self.link_keys,
            self.key,
            &self.addresses,
            datagrams,
            ports,
        )?;
        self.wake.set(io.wake());
        let _ = self.ready.send(Ok(()));
        crate::stage::run(&mut stages, &mut io, &self.stop, self.wait)
    }
}

/// Ends the node with the thread that holds it, also where that panics: half a node would take clients in and serve none.
pub(super) struct EndsNode(pub(super) Stopper);

impl Drop for EndsNode {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Pins the calling thread; a host that refuses leaves it where the scheduler puts it, which is slower, not wrong.
pub fn pin(core: usize) -> bool {
    let is_pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    if !is_pinned {
        eprintln!(
            "a thread could not be pinned to core {core}; it runs where the scheduler puts it"
        );
    }
    is_pinned
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_stage_that_panics_ends_the_whole_node() {
        let (stop, other) = (Arc::new(AtomicBool::new(false)), WakeCell::default());
        let ends_node = EndsNode(Stopper {
            stop: stop.clone(),
            wakes: vec![other.clone()],
        });
        let stages = {
            let (stop, other) = (stop.clone(), other.clone());
            std::thread::spawn(move || {
                other.set(Wake::Thread(std::thread::current()));
                while !stop.load(Ordering::Acquire) {
                    std::thread::park();
                }
            })
        };
        let panics = std::thread::spawn(move || {
            let _ends_node = ends_node;
            panic!("this panic is the test's own");
        });
        assert!(panics.join().is_err());
        assert!(stop.load(Ordering::Acquire));
        stages.join().unwrap();
    }
}
