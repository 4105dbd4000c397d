//! A faulty authority: a real engine whose messages are bent on their way out, and objects forged with its key beside them.
//!
//! Nothing here changes the engine: what a faulty authority knows it knows from the protocol, and what it says differs.
//! Twins are two such nodes with one key, each heard by a part of the committee.

pub(crate) mod forge;

use std::collections::VecDeque;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::chance::Chance;
use super::hostile;
use crate::committee::Committee;
use crate::dag::{VerifiedVertex, Vertex};
use crate::message::PeerMessage;
use crate::seal::ShareMessage;
use crate::types::{AuthorityIndex, Round};

/// One way to break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vice {
    /// Two nodes run its key. Set up by the world.
    Twins,
    /// Another vertex of the same slot for a part of the committee.
    Equivocates,
    /// Its vertices go to half of the committee only.
    HalfAudience,
    /// Some of its vertices go to nobody, until they are asked for.
    WithholdsVertices,
    /// Silent exactly when it leads.
    SilentLeader,
    /// Gives nobody the envelopes that it lists.
    WithholdsPayloads,
    /// Gives other bytes for the envelopes that it lists.
    WrongPayloads,
    /// Its vertices never vote for a leader, and are otherwise as the rules want them.
    NeverVotes,
    /// Sends its old vertices again.
    Stale,
    /// Signs vertices of rounds that nobody has reached.
    FarFuture,
    /// Sends vertices with signatures that do not hold, in its own name and in others'.
    WrongSignatures,
    /// Signs vertices whose parents break the rules.
    WrongParents,
    /// Signs vertices whose positions or times do not follow from the one before.
    ForgedPositions,
    /// Gives no shares.
    WithholdsShares,
    /// Gives shares that are off.
    WrongShares,
    /// Gives too many or too few shares, in another order, or for another batch.
    ShapelessShares,
    /// Sends share messages in others' names.
    ForgesShares,
}

/// All vices that may be drawn by themselves.
pub(crate) const VICES: [Vice; 17] = [
    Vice::Twins,
    Vice::Equivocates,
    Vice::HalfAudience,
    Vice::WithholdsVertices,
    Vice::SilentLeader,
    Vice::WithholdsPayloads,
    Vice::WrongPayloads,
    Vice::NeverVotes,
    Vice::Stale,
    Vice::FarFuture,
    Vice::WrongSignatures,
    Vice::WrongParents,
    Vice::ForgedPositions,
    Vice::WithholdsShares,
    Vice::WrongShares,
    Vice::ShapelessShares,
    Vice::ForgesShares,
];

/// What bends the messages of one faulty node.
pub(crate) struct Byzantine {
    vices: Vec<Vice>,
    own: AuthorityIndex,
    committee: Arc<Committee>,
    signing: SigningKey,
    /// Who hears it, when it is one of twins.
    pub(crate) audience: Option<Vec<bool>>,
    /// Own vertices, newest last.
    history: VecDeque<VerifiedVertex>,
    /// What others get for an own vertex, by its round, when it never votes: a chain of its own.
    voteless: VecDeque<VerifiedVertex>,
    /// The other vertex of the newest slot, if it equivocated there.
    twin: Option<VerifiedVertex>,
    chance: Chance,
}

impl Byzantine {
    /// With the key of `own`.
    pub(crate) fn new(
        vices: Vec<Vice>,
        own: AuthorityIndex,
        committee: Arc<Committee>,
        signing: SigningKey,
        chance: Chance,
    ) -> Self {
        Self {
            vices,
            own,
            committee,
            signing,
            audience: None,
            history: VecDeque::new(),
            voteless: VecDeque::new(),
            twin: None,
            chance,
        }
    }

    fn has(&self, vice: Vice) -> bool {
        self.vices.contains(&vice)
    }

    /// The engine broadcasts its newest vertex: gives what is sent beside it, to everybody that hears this node.
    pub(crate) fn on_own_vertex(
        &mut self,
        bytes: &[u8],
        leader: impl Fn(Round) -> Option<AuthorityIndex>,
    ) -> Vec<PeerMessage> {
        let Ok(vertex) = Vertex::verify(bytes, &self.committee) else {
            return Vec::new();
        };
        let vote = forge::Vote {
            leader: leader(vertex.round().minus(1)),
            quorum: self.committee.thresholds().quorum(),
        };
        let mut beside = Vec::new();
        self.twin = None;
        if self.has(Vice::Equivocates) && self.chance.one_in(3) {
            let twin = forge::twin(&vertex, vote, &self.signing, &mut self.chance);
            self.twin = Some(twin);
        }
        if self.has(Vice::NeverVotes) {
            let before = self.voteless.back();
            let made = forge::voteless(&vertex, before, vote, &self.signing);
            self.voteless.push_back(made);
            if self.voteless.len() > HISTORY_MAX {
                self.voteless.pop_front();
            }
        }
        let forgeries = [
            (Vice::Stale, forge::stale as forge::Forge),
            (Vice::FarFuture, forge::far_future),
            (Vice::WrongSignatures, forge::wrong_signature),
            (Vice::WrongParents, forge::wrong_parents),
            (Vice::ForgedPositions, forge::forged_position),
        ];
        for (vice, forge) in forgeries {
            if self.has(vice) && self.chance.one_in(4) {
                let forged = forge(
                    &forge::Material {
                        vertex: &vertex,
                        history: &self.history,
                        committee: &self.committee,
                        signing: &self.signing,
                    },
                    &mut self.chance,
                );
                beside.extend(forged.map(|bytes| PeerMessage::Vertex(bytes.into())));
            }
        }
        self.history.push_back(vertex);
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        beside
    }

    /// What goes to `to` in the place of `message`; nothing when it is withheld. `leads` tells the rounds it leads.
    pub(crate) fn bend(
        &mut self,
        to: AuthorityIndex,
        message: &PeerMessage,
        leads: impl Fn(Round) -> bool,
    ) -> Option<PeerMessage> {
        if let Some(audience) = &self.audience
            && !audience[to.as_usize()]
        {
            return None;
        }
        match message {
            PeerMessage::Vertex(bytes) => self.bend_vertex(to, bytes, leads),
            PeerMessage::Envelope(bytes) => self.bend_envelope(bytes),
            PeerMessage::Share(bytes) => self.bend_share(bytes),
            wants => Some(wants.clone()),
        }
    }

    fn bend_vertex(
        &mut self,
        to: AuthorityIndex,
        bytes: &Arc<[u8]>,
        leads: impl Fn(Round) -> bool,
    ) -> Option<PeerMessage> {
        let kept = Some(PeerMessage::Vertex(bytes.clone()));
        let Some(vertex) = self.history.iter().find(|own| own.bytes() == bytes) else {
            return kept;
        };
        let round = vertex.round();
        let newest = self.history.back().map_or(Round(0), |own| own.round());
        if self.has(Vice::SilentLeader) && leads(round) {
            // Silent while it matters: its wave is decided without it by then, or waits in vain.
            return kept.filter(|_| newest >= round.plus(3));
        }
        if self.has(Vice::NeverVotes) {
            let sent = self.voteless.iter().find(|sent| sent.round() == round)?;
            return Some(PeerMessage::Vertex(sent.bytes().clone()));
        }
        if round < newest {
            return kept;
        }
        if let Some(twin) = &self.twin
            && (u64::from(to.0) + round.0).is_multiple_of(2)
        {
            return Some(PeerMessage::Vertex(twin.bytes().clone()));
        }
        let in_half = (u64::from(to.0) + round.0 / 16).is_multiple_of(2);
        if self.has(Vice::HalfAudience) && !in_half {
            return None;
        }
        if self.has(Vice::WithholdsVertices) && self.chance.one_in(2) {
            return None;
        }
        kept
    }

    fn bend_envelope(&mut self, bytes: &Arc<[u8]>) -> Option<PeerMessage> {
        if self.has(Vice::WithholdsPayloads) {
            return None;
        }
        if self.has(Vice::WrongPayloads) {
            let mut wrong = bytes.to_vec();
            let at = self.chance.below(wrong.len() as u64) as usize;
            wrong[at] ^= 1 << self.chance.below(8);
            return Some(PeerMessage::Envelope(wrong.into()));
        }
        Some(PeerMessage::Envelope(bytes.clone()))
    }

    fn bend_share(&mut self, bytes: &Arc<[u8]>) -> Option<PeerMessage> {
        if self.has(Vice::WithholdsShares) {
            return None;
        }
        let is_bent = [Vice::WrongShares, Vice::ShapelessShares, Vice::ForgesShares]
            .iter()
            .any(|vice| self.has(*vice));
        if !is_bent {
            return Some(PeerMessage::Share(bytes.clone()));
        }
        let mut message = ShareMessage::decode(bytes).expect("an engine sends what decodes");
        if message.author != self.own {
            return Some(PeerMessage::Share(bytes.clone()));
        }
        if self.has(Vice::WrongShares) {
            hostile::bend_shares(&mut message);
        }
        if self.has(Vice::ShapelessShares) {
            let first = message.shares[0];
            match self.chance.below(5) {
                0 => message.shares.push(first),
                1 if message.shares.len() > 1 => drop(message.shares.pop()),
                2 => message.shares.reverse(),
                3 => message.seq = message.seq.next(),
                _ => message.order_root.0[0] ^= 1,
            }
        }
        hostile::sign_shares(&mut message, &self.signing);
        if self.has(Vice::ForgesShares) && self.chance.one_in(2) {
            let n = u64::from(self.committee.thresholds().authorities());
            message.author = AuthorityIndex(self.chance.below(n) as u8);
        }
        Some(PeerMessage::Share(message.encode().into()))
    }
}

/// Own vertices that a faulty node remembers.
const HISTORY_MAX: usize = 64;
