//! The core stage's end of settlement: room in the ring for the next batch, and how far the worker has settled.
//!
//! A node without a worker opens its batches into memory of its own and keeps only their headers. Once a worker was
//! attached, every batch goes into the ring, also while the worker is away, so that it can go on where it stopped; if it
//! stays away for too long it is cut off for good, and the node goes on without.

use std::path::Path;

use fairlane_engine::batch::{BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, archive_len_max};
use fairlane_engine::committee::Committee;
use fairlane_engine::types::BatchSeq;

use crate::ring::{self, Producer, RingWatch};
use crate::settle::{ServerConfig, SettleServer};

/// Room for batches and the way to the worker.
#[derive(Debug)]
pub struct SettlePort {
    producer: Producer,
    /// `None` once the worker was cut off.
    server: Option<SettleServer>,
    /// A worker was attached at some time.
    engaged: bool,
    watch: RingWatch,
}

impl SettlePort {
    /// Listens for a worker on `socket`. `wake` is called when the worker has settled something.
    ///
    /// Errors: somebody else listens there, the size is no power of two or too small for a batch, or the system refuses.
    pub fn start(
        socket: &Path,
        ring_bytes: u64,
        committee: &Committee,
        wake: impl Fn() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (producer, watch, fds) = ring::create(ring_bytes, 0)?;
        let longest = archive_len_max(BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX) as u64;
        anyhow::ensure!(
            ring::record_len_max(ring_bytes) >= longest,
            "settle_ring_bytes = {ring_bytes} is too small: a batch may take {longest} bytes, and the ring holds twice that"
        );
        let config = ServerConfig {
            socket: socket.to_path_buf(),
            chain_id: committee.chain_id,
            rollups: committee.rollups.iter().map(|rollup| rollup.id).collect(),
        };
        let server = SettleServer::start(config, fds, watch.clone(), move |_| wake())?;
        Ok(Self {
            producer,
            server: Some(server),
            engaged: false,
            watch,
        })
    }

    /// Whether batches go into the ring.
    pub fn is_engaged(&mut self) -> bool {
        let Some(server) = &self.server else {
            return false;
        };
        self.engaged |= server.is_attached();
        self.engaged
    }

    /// Room for an archive of at most `len_max` bytes; none while the worker is too far behind.
    pub fn reserve(&mut self, len_max: usize) -> Option<&mut [u8]> {
        self.producer.reserve(len_max)
    }

    /// Publishes what was written to the room that was reserved.
    pub fn commit(&mut self, seq: BatchSeq, len: usize) {
        self.producer.commit(seq.0, len);
    }

    /// Hangs up on the worker for good.
    pub fn cut_off(&mut self) {
        if self.server.take().is_some() {
            eprintln!(
                "the settlement worker is too far behind and was cut off; the node goes on without one"
            );
        }
    }

    /// The worker has settled every batch below this seq; read from its cursor, so that it is known at the next poll.
    pub fn settled_count(&self) -> u64 {
        self.watch.settled_count()
    }
}
