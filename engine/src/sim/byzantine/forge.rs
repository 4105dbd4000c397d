//! Vertices that no correct authority signs.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;

use crate::committee::Committee;
use crate::dag::{VerifiedVertex, VertexDraft, VertexRef};
use crate::sim::chance::Chance;
use crate::sim::check::structure::AUTHOR_AT;
use crate::types::{AuthorityIndex, Digest, Position, Round, TimestampUs};

/// What forgeries are made of.
pub(crate) struct Material<'a> {
    /// The newest own vertex, as the engine made it.
    pub(crate) vertex: &'a VerifiedVertex,
    /// Own vertices before it.
    pub(crate) history: &'a VecDeque<VerifiedVertex>,
    pub(crate) committee: &'a Committee,
    pub(crate) signing: &'a SigningKey,
}

/// Makes the bytes of one forged vertex, if there is material for it.
pub(crate) type Forge = fn(&Material<'_>, &mut Chance) -> Option<Vec<u8>>;

/// What the vertex says, to be changed and signed again.
fn draft(vertex: &VerifiedVertex) -> VertexDraft {
    let header = &vertex.signed_header().header;
    VertexDraft {
        chain_id: header.chain_id,
        epoch: header.epoch,
        round: header.round,
        author: header.author,
        timestamp: header.timestamp,
        first_position: header.first_position,
        parents: vertex.parents().to_vec(),
        entries: vertex.entries().to_vec(),
        settled: header.settled,
    }
}

/// Another vertex of the same slot: later by one microsecond, without the last entry, and often without a vote.
pub(crate) fn twin(
    vertex: &VerifiedVertex,
    vote: Vote,
    signing: &SigningKey,
    chance: &mut Chance,
) -> VerifiedVertex {
    let mut twin = draft(vertex);
    twin.timestamp = twin.timestamp.plus_us(1);
    twin.entries.pop();
    if chance.one_in(2) {
        drop_vote(&mut twin, vote);
    }
    twin.sign(signing)
}

/// Whose vertex of the round before a vertex votes for, and how many parents of that round it needs.
#[derive(Clone, Copy)]
pub(crate) struct Vote {
    pub(crate) leader: Option<AuthorityIndex>,
    pub(crate) quorum: u32,
}

/// Takes the parent in the leader's slot out, if the quorum of parents allows it.
fn drop_vote(draft: &mut VertexDraft, vote: Vote) {
    let (led, own) = (draft.round.minus(1), draft.author);
    let of_round_before = draft.parents.iter().filter(|parent| parent.round == led);
    if of_round_before.count() as u32 > vote.quorum {
        draft
            .parents
            .retain(|parent| Some(parent.author) != vote.leader || parent.author == own);
    }
}

/// The vertex without its parent in the slot of the leader before, continuing the chain of `before`.
pub(crate) fn voteless(
    vertex: &VerifiedVertex,
    before: Option<&VerifiedVertex>,
    vote: Vote,
    signing: &SigningKey,
) -> VerifiedVertex {
    let mut voteless = draft(vertex);
    if let Some(before) = before {
        voteless.parents[0] = before.reference();
        voteless.first_position = before.end_position();
        voteless.timestamp = voteless.timestamp.max(before.timestamp());
    }
    drop_vote(&mut voteless, vote);
    voteless.sign(signing)
}

/// An old vertex again.
pub(crate) fn stale(material: &Material<'_>, chance: &mut Chance) -> Option<Vec<u8>> {
    let len = material.history.len() as u64;
    let at = (len > 0).then(|| chance.below(len))?;
    Some(material.history[at as usize].bytes().to_vec())
}

/// A vertex of a round that nobody has reached, with parents that do not exist.
pub(crate) fn far_future(material: &Material<'_>, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut future = draft(material.vertex);
    let ahead = *chance.pick(&[2, 30, 400, 600, 1 << 40]);
    future.round = future.round.plus(ahead);
    for (at, parent) in future.parents.iter_mut().enumerate() {
        *parent = VertexRef {
            round: future.round.minus(1),
            author: parent.author,
            digest: match at {
                0 if chance.one_in(2) => parent.digest,
                _ => Digest(chance.bytes()),
            },
        };
    }
    Some(future.sign(material.signing).bytes().to_vec())
}

/// The own vertex with a bit of it changed, or in another author's name.
pub(crate) fn wrong_signature(material: &Material<'_>, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut bytes = material.vertex.bytes().to_vec();
    match chance.one_in(2) {
        true => {
            let n = u64::from(material.committee.thresholds().authorities());
            bytes[AUTHOR_AT] = ((u64::from(bytes[AUTHOR_AT]) + 1 + chance.below(n - 1)) % n) as u8;
        }
        false => {
            let at = chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << chance.below(8);
        }
    }
    Some(bytes)
}

/// A vertex whose parents break one of the rules.
pub(crate) fn wrong_parents(material: &Material<'_>, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut bent = draft(material.vertex);
    let before = bent.round.minus(1);
    match chance.below(7) {
        // Less than a quorum of the round before.
        0 => {
            let mut kept = material.committee.thresholds().quorum() - 1;
            bent.parents.retain(|parent| {
                let is_before = parent.round == before;
                let stays = !is_before || kept > 0;
                kept -= u32::from(is_before && stays);
                stays
            });
        }
        // An author twice: the same vertex, or one that does not exist.
        1 => {
            let parent = *chance.pick(&bent.parents);
            bent.parents.push(parent);
        }
        2 => {
            let mut parent = *chance.pick(&bent.parents);
            parent.digest = Digest(chance.bytes());
            bent.parents.push(parent);
        }
        // Own twins as parents, when there are twins.
        3 => {
            let own = bent.parents[0];
            let older = material.history.iter().rev();
            let mut others = older.filter(|vertex| vertex.reference() != own);
            bent.parents.push(others.next()?.reference());
        }
        // A parent of the own round, or of a later one.
        4 => {
            let last = bent.parents.len() - 1;
            bent.parents[last].round = bent.round.plus(chance.below(2));
        }
        // Nobody's.
        5 => {
            let last = bent.parents.len() - 1;
            let n = material.committee.thresholds().authorities();
            bent.parents[last].author = AuthorityIndex(n as u8);
        }
        // A parent that nobody has.
        _ => {
            let last = bent.parents.len() - 1;
            bent.parents[last].digest = Digest(chance.bytes());
        }
    }
    bent.timestamp = bent.timestamp.plus_us(2);
    Some(bent.sign(material.signing).bytes().to_vec())
}

/// A vertex whose positions leave a gap or overlap, or whose time runs backwards.
pub(crate) fn forged_position(material: &Material<'_>, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut bent = draft(material.vertex);
    let Position(position) = bent.first_position;
    match chance.below(4) {
        0 => bent.first_position = Position(position + 1 + chance.below(1000)),
        1 if position > 0 => bent.first_position = Position(chance.below(position)),
        2 => bent.first_position = Position(1 << 57),
        _ => bent.timestamp = TimestampUs(chance.below(1_000_000)),
    }
    if bent.round == Round(0) {
        return None;
    }
    Some(bent.sign(material.signing).bytes().to_vec())
}
