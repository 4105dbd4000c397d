//! How much an engine holds: one count for everything that it keeps, so that flatness can be asserted over a long run.
//!
//! Cost: sums over rounds and authorities, no walk over entries; cheap enough for every few hundred rounds.

use super::*;

macro_rules! footprint {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Items held, by kind.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Footprint { $($(#[$doc])* pub $name: usize),* }

        impl Footprint {
            /// Name and value of each, in order of declaration.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// The larger of the two, kind by kind.
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                Self { $($name: self.$name.max(other.$name)),* }
            }
        }
    };
}

footprint! {
    /// Envelopes held: until they have expired and are settled or dropped.
    envelopes,
    /// Accepted envelopes that no own vertex lists yet.
    unlisted,
    /// Own vertices with entries that no sub-DAG holds yet.
    own_uncommitted,
    /// Accepted vertices above the floor: bounded by G rounds.
    vertices,
    /// Vertices below the floor kept for peers: bounded by two checkpoint intervals.
    vertices_retained,
    /// Committed vertices above the floor that are known by name only, after a state sync.
    vertices_named,
    /// Vertices that wait for parents.
    vertices_pending,
    /// Committed references above the floor.
    committed,
    /// Vertices with entries that are in no sub-DAG yet.
    vertices_uncommitted,
    /// Missing envelopes.
    envelope_wants,
    /// Missing vertices.
    vertex_wants,
    /// Emissions whose envelopes are not all here.
    emissions,
    /// Pairs pending in the fair order.
    fair_pending,
    /// Emitted pairs that have not expired.
    fair_emitted,
    /// Emissions with such a pair.
    fair_emissions,
    /// Batches cut and not opened.
    batches_active,
    /// Bytes of envelopes that are ordered and not opened.
    unopened_bytes,
    /// Share messages for batches not cut yet.
    shares_early,
    /// Own share messages kept for peers.
    shares_kept,
    /// Header hashes kept to compare with peers'.
    header_hashes,
    /// Checkpoints kept for peers.
    checkpoints,
    /// Places of the journal from which a snapshot may have it read.
    snapshot_marks,
    /// Settled batches kept for peers.
    batches_kept,
    /// Bytes of them.
    batches_kept_bytes,
    /// Requests of peers that wait for the disk.
    loads_waiting,
    /// Bytes kept that were read from it.
    loaded_bytes,
    /// Things that are being fetched from peers.
    downloads,
    /// Hashes and batches of a gap.
    gap,
}

impl Engine {
    /// What this engine holds now.
    pub fn footprint(&self) -> Footprint {
        let (vertices, vertices_retained, vertices_named) = self.dag.kept_len();
        let (fair_emitted, fair_emissions) = self.fair.emitted_len();
        let (shares_early, shares_kept) = self.reveal.shares_len();
        let (loads_waiting, loaded_bytes) = self.syncing.loads.len();
        let (batches_kept, batches_kept_bytes) = self.syncing.served.len();
        Footprint {
            envelopes: self.table.len(),
            unlisted: self.local.unlisted_len(),
            own_uncommitted: self.local.uncommitted_len(),
            vertices,
            vertices_retained,
            vertices_named,
            vertices_pending: self.dag.pending_len(),
            committed: self.committer.committed().len(),
            vertices_uncommitted: self.uncommitted_with_entries.len(),
            envelope_wants: self.envelope_wants.len() + self.want_expiries.len(),
            vertex_wants: self.vertex_wants.len(),
            emissions: self.emissions.len(),
            fair_pending: self.fair.pending_len(),
            fair_emitted,
            fair_emissions,
            batches_active: self.reveal.active_len(),
            unopened_bytes: self.unopened_bytes(),
            shares_early,
            shares_kept,
            header_hashes: self.header_hashes.len(),
            checkpoints: self.checkpoints.len(),
            snapshot_marks: self.snapshots.len(),
            batches_kept,
            batches_kept_bytes,
            loads_waiting,
            loaded_bytes,
            downloads: self.syncing.downloads.len(),
            gap: self.syncing.gap.as_ref().map_or(0, |gap| gap.len()),
        }
    }
}
