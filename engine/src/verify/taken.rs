//! States that a journal holds: taken over from a peer, or the node's own snapshots. Their parts are gathered here.

use crate::batch::header::{BatchHeader, HEADER_LEN};
use crate::committee::Committee;
use crate::dag::Vertex;
use crate::effect::SnapshotPart;
use crate::engine::snapshot::SNAPSHOT_VERSION;
use crate::evidence::Evidence;
use crate::state::{Restored, State};
use crate::sync::download::STATE_LEN_MAX;
use crate::types::{AuthorityIndex, BatchSeq, Sha256Hash};
use crate::wire::{DecodeError, Reader};

use super::fault::{Found, Rule};

/// Parts of one state, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    /// Header, and how many parts of how many are here.
    of: Option<(BatchHeader, u32, u32)>,
}

/// A checkpoint, and the content of all its parts.
type Whole = (BatchHeader, Vec<u8>);

impl Parts {
    /// Takes a record of a state that was taken over; gives it when it is whole.
    pub(super) fn take_state(&mut self, body: &[u8]) -> Result<Option<Whole>, Found> {
        let read = || -> Result<_, DecodeError> {
            let mut reader = Reader::new(body);
            let header = BatchHeader::decode(reader.bytes(HEADER_LEN)?)?;
            let place = (reader.u32()?, reader.u32()?);
            Ok((header, place, reader.bytes(reader.left())?))
        };
        let (header, place, bytes) = read().map_err(|error| Found::new(Rule::Record, error))?;
        self.take(header, place, bytes)
    }

    /// Takes a record of an own snapshot; gives it when it is whole.
    pub(super) fn take_snapshot(&mut self, body: &[u8]) -> Result<Option<Whole>, Found> {
        let part = SnapshotPart::decode(body).map_err(|error| Found::new(Rule::Record, error))?;
        self.take(part.header, (part.index, part.of), part.bytes)
    }

    /// The first part begins anew: of one that a crash left half the rest never came.
    fn take(
        &mut self,
        header: BatchHeader,
        (index, of): (u32, u32),
        bytes: &[u8],
    ) -> Result<Option<Whole>, Found> {
        if index == 0 {
            self.bytes.clear();
            self.of = Some((header, 0, of));
        }
        let wrong = |what| Err(Found::new(Rule::Record, what).in_batch(header.seq));
        match &mut self.of {
            Some((first, next, parts)) if (*first, *next, *parts) == (header, index, of) => {
                *next += 1;
            }
            _ => return wrong("a part of a state that follows no other of it"),
        }
        // A snapshot holds a vertex and evidence beside the state.
        if self.bytes.len() + bytes.len() > 2 * STATE_LEN_MAX {
            return wrong("a state that is longer than any");
        }
        self.bytes.extend_from_slice(bytes);
        if index + 1 < of {
            return Ok(None);
        }
        self.of = None;
        Ok(Some((header, std::mem::take(&mut self.bytes))))
    }
}

/// The state of a checkpoint, whose hash must be the header's.
pub(super) fn restore(
    committee: &Committee,
    header: &BatchHeader,
    bytes: &[u8],
) -> Result<Restored, Found> {
    let wrong = |what: String| Found::new(Rule::State, what).in_batch(header.seq);
    let restored = State::restore(committee, header.state_root, bytes);
    let restored = restored.map_err(|error| wrong(format!("its state is none: {error}")))?;
    let (last, round) = (restored.committer.last_anchor(), header.anchor_round);
    let is_of_it = last == round
        && (header.chain_id, header.epoch) == (committee.chain_id, committee.epoch)
        && restored.committer.consensus_time() == header.time_us;
    match is_of_it {
        true => Ok(restored),
        false => Err(wrong("its state is of another anchor".to_owned())),
    }
}

/// The state in the content of an own snapshot, whose vertex must hold and whose evidence must decode; a piece of evidence
/// is judged where the journal records it.
pub(super) fn restore_snapshot(
    committee: &Committee,
    own: AuthorityIndex,
    (header, content): &Whole,
) -> Result<Restored, Found> {
    let seq = header.seq;
    let wrong = |what: String| Found::new(Rule::Snapshot, what).in_batch(seq);
    let undecoded = |error: DecodeError| wrong(format!("the snapshot of its state: {error}"));
    let mut reader = Reader::new(content);
    match reader.u8().map_err(undecoded)? {
        SNAPSHOT_VERSION => {}
        version => return Err(undecoded(DecodeError::Version(version))),
    }
    let newest = framed(&mut reader).map_err(undecoded)?;
    if !newest.is_empty() {
        let vertex = Vertex::verify(newest, committee);
        let vertex = vertex.map_err(|error| wrong(format!("its own vertex: {error}")))?;
        if vertex.author() != own {
            return Err(wrong(format!("its own vertex is of {}", vertex.author())));
        }
    }
    let kinds_max = 8 * committee.thresholds().authorities();
    for _ in 0..reader.count_u32("evidence", kinds_max).map_err(undecoded)? {
        let bytes = framed(&mut reader).map_err(undecoded)?;
        Evidence::decode(bytes).map_err(undecoded)?;
    }
    let state = reader.bytes(reader.left()).map_err(undecoded)?;
    restore(committee, header, state)
}

fn framed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let most = reader.left().try_into().unwrap_or(u32::MAX);
    let len = reader.count_u32("snapshot", most)?;
    reader.bytes(len)
}

/// Batches that came from peers while a state was taken over: as they are, not recomputed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetched {
    /// The checkpoint's.
    pub(super) last: BatchSeq,
    pub(super) hash: Sha256Hash,
}
