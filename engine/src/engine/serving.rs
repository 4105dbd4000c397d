//! Answers to peers that are behind: vertices by rounds, checkpoints, and settled batches from memory or from the disk.

use super::*;
use crate::sync::part::{Item, Part, WantPart};

impl Engine {
    /// A peer that is behind asks for all vertices of some rounds.
    pub(super) fn on_want_rounds(
        &self,
        from: AuthorityIndex,
        after: Round,
        count: u32,
        effects: &mut Vec<Effect>,
    ) {
        let last = Round(
            after
                .0
                .saturating_add(u64::from(count.min(ROUNDS_ASKED_MAX))),
        );
        let first = Round(after.0.saturating_add(1));
        let vertices = self.dag.vertices_between(first, last);
        for vertex in vertices.take(ROUNDS_VERTICES_MAX) {
            let message = PeerMessage::Vertex(vertex.bytes().clone());
            effects.push(Effect::Send { to: from, message });
        }
    }

    /// A peer asks for part of a checkpoint or of a batch.
    pub(super) fn on_want_part(
        &mut self,
        from: AuthorityIndex,
        want: WantPart,
        effects: &mut Vec<Effect>,
    ) {
        let served = &self.syncing.served;
        let part = match want.item {
            Item::Proof(above) => {
                let proof = self.checkpoints.proof(above, &self.committee);
                Part::of(want, proof.as_deref())
            }
            Item::State(seq) => Part::of(want, self.checkpoints.transferred(seq).as_deref()),
            Item::Headers(seq) => match served.headers(seq) {
                Some(headers) => Part::of(want, Some(&headers)),
                None => return self.serve_from_disk(from, want, seq, effects),
            },
            Item::Batch(seq) => match served.archive(seq) {
                Some(archive) => Part::of(want, Some(archive)),
                None => return self.serve_from_disk(from, want, seq, effects),
            },
        };
        self.answer(from, part, effects);
    }

    /// What was settled up to `seq` and is in memory no more is read from the disk, unless it was just read.
    fn serve_from_disk(
        &mut self,
        from: AuthorityIndex,
        want: WantPart,
        seq: BatchSeq,
        effects: &mut Vec<Effect>,
    ) {
        let is_settled = seq < self.next_open_seq();
        let loads = &mut self.syncing.loads;
        if let Some(bytes) = loads.find(want.item).filter(|_| is_settled) {
            return self.answer(from, Part::of(want, Some(&bytes)), effects);
        }
        if !is_settled || !loads.want(from, want) {
            self.counters.loads_refused += u64::from(is_settled);
            return self.answer(from, Part::of(want, None), effects);
        }
        self.load_due(effects);
    }

    /// The shell has read what it was asked for; none when it has not got it.
    pub(super) fn on_loaded(
        &mut self,
        item: Item,
        bytes: Option<Arc<[u8]>>,
        effects: &mut Vec<Effect>,
    ) {
        for (to, want) in self.syncing.loads.on_loaded(item, bytes.clone()) {
            self.answer(to, Part::of(want, bytes.as_deref()), effects);
        }
        self.load_due(effects);
    }

    fn load_due(&mut self, effects: &mut Vec<Effect>) {
        for item in self.syncing.loads.take_due() {
            self.counters.loads += 1;
            effects.push(Effect::Load { item });
        }
    }

    fn answer(&mut self, to: AuthorityIndex, part: Part, effects: &mut Vec<Effect>) {
        self.counters.sync_parts_served += 1;
        let message = PeerMessage::Part(part);
        effects.push(Effect::Send { to, message });
    }
}

/// Rounds asked for at one time at most.
pub const ROUNDS_ASKED_MAX: u32 = 64;
/// Vertices in the answer to one request for rounds at most.
pub const ROUNDS_VERTICES_MAX: usize = 512;
