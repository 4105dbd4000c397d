//! What an engine counts: everything refused, recovered or out of the ordinary has a number here.

macro_rules! counters {
    ($(#[doc = $doc:literal] $name:ident),* $(,)?) => {
        /// Counts since start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $(#[doc = $doc] pub $name: u64),* }

        impl Counters {
            /// Name and value of each, in order of declaration.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// As [`Self::named`], with what each says.
            pub fn described(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $doc.trim_ascii(), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Envelopes given a position.
    accepted,
    /// Submissions of an envelope that is held already.
    resubmitted,
    /// Submissions refused after their label was read.
    refused,
    /// Envelopes first met in a peer's vertex and fetched.
    fetched,
    /// Envelopes from peers that are not admissible by bytes, label or consensus time.
    peer_envelopes_refused,
    /// Envelopes from peers of a key, or a time, that this node does not know yet: asked for again.
    peer_envelopes_early,
    /// Envelopes from peers that nobody asked for, or that came twice.
    peer_envelopes_unasked,
    /// Own vertices made.
    vertices_made,
    /// Own vertices made because a timeout passed.
    vertices_by_timeout,
    /// Own vertices made because a quorum was ahead.
    vertices_behind,
    /// Peers' vertices accepted.
    vertices_accepted,
    /// Peers' vertices refused for what they say about the DAG.
    vertices_refused,
    /// Peers' vertices dropped while they waited: a parent was refused, or a lower one needed the place.
    vertices_dropped,
    /// Peers' vertices that wait for parents.
    vertices_waiting,
    /// Peers' vertices that were here already.
    vertices_known,
    /// Peers' vertices of rounds that are pruned.
    vertices_below_floor,
    /// Requests for missing vertices sent.
    vertex_requests,
    /// Missing vertices noted again: they had come and there was no room for them, or no room to note them.
    vertices_wanted_again,
    /// Requests for missing envelopes sent.
    envelope_requests,
    /// Requests for missing shares sent.
    share_requests,
    /// Requests of peers.
    requests_taken,
    /// Vertices, envelopes and share messages that peers asked for and this node does not have.
    requests_unknown,
    /// Vertices pushed to peers that seemed to lack them.
    vertices_pushed,
    /// Times that history was pushed to everybody because the next round could not be entered.
    resends,
    /// Peers' vertices left to be fetched later, because commits are held back.
    vertices_held_off,
    /// Times that commits were held back because too much is decided and not opened.
    pauses,
    /// Anchors committed.
    anchors,
    /// Entries emitted by the fair order.
    emitted,
    /// Entries that expired before q authorities listed them.
    dropped,
    /// Entries whose group stopped waiting for unready members.
    group_wait_cut,
    /// Entries for which the deferral cap fired.
    cap_fired,
    /// Entries emitted that had been ready at an earlier anchor: they waited for what may have to go before them.
    deferred,
    /// How many anchors they waited, all together.
    deferred_anchors,
    /// The longest such wait, in anchors; not a sum.
    deferred_anchors_max,
    /// Groups (Condorcet cycles) of more than one entry emitted.
    cycles,
    /// Entries in them.
    cycle_entries,
    /// Entries in the largest of them; not a sum.
    cycle_entries_max,
    /// Cycles of more than 1,024 entries, ordered inside by rank alone.
    cycles_oversized,
    /// Own entries listed again after their vertex was left out of every sub-DAG.
    relisted,
    /// Batches opened.
    batches,
    /// Void entries in them.
    void,
    /// Share messages taken.
    shares_taken,
    /// Share messages that came late or twice.
    shares_late,
    /// Share messages too far ahead, or not of this committee.
    shares_refused,
    /// Batches that optimistic opening did not decide: a void entry, or a share that does not hold.
    open_fallbacks,
    /// Share messages whose proof failed: evidence.
    shares_bad_proof,
    /// Forks seen: evidence.
    forks,
    /// Pieces of evidence recorded.
    evidence,
    /// Peers' vertices that name another header hash than ours for the same batch: alarm.
    divergence,
    /// Certificates recorded.
    certificates,
    /// Certificates of batches that are not opened, or too old to compare: not recorded.
    certificates_unplaced,
    /// Requests sent because this node was behind.
    sync_requests,
    /// Parts of checkpoints and batches sent to peers that were behind.
    sync_parts_served,
    /// Batches, and headers of batches, read from the disk for them.
    loads,
    /// Such requests answered with none, because too many of one peer wait.
    loads_refused,
    /// Such parts that nobody asked for.
    sync_parts_unasked,
    /// Such parts, or what they made up, that were not what was asked for.
    sync_parts_bad,
    /// Checkpoints offered that lie too many batches ahead to fetch them.
    sync_gap_too_long,
    /// Own vertices that the records lacked, taken over from peers.
    vertices_adopted,
    /// Answers about the newest own vertex that were asked for in another life, or name another author's.
    newest_refused,
    /// Own snapshots recorded.
    snapshots,
    /// States taken over from peers.
    states_taken,
    /// Checkpoints among planned batches that did not open, up to which batches were fetched instead.
    planned_fetched,
    /// Settled batches fetched from peers.
    batches_fetched,
    /// Sealing keys that the committee made.
    keys_made,
    /// Such keys of which this node has no share: it has no key to receive one with.
    keys_without_share,
    /// Shares that dealers have proven to be good, because their receivers did not acknowledge them.
    key_shares_assured,
    /// Bad shares of such keys that this node was dealt and has good ones in place of, from such proofs.
    key_shares_mended,
    /// Key generations that failed; the key before stayed in force.
    key_generations_failed,
    /// Messages of key generations that changed nothing: bad, late or said before.
    key_messages_refused,
    /// Sealing keys that ended.
    keys_ended,
    /// Durable records that this engine was recovered from.
    records_recovered,
    /// Missing items not noted because too many are missing.
    wants_refused,
}
