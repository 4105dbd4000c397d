//! One key generation: fed with the ordered log, it says what to send, and in the end whether there is a key.
//!
//! The log gives messages, each with its author, and anchors; all who follow it see the same, in the same order.
//! - Deals are taken for W anchors. The first of a dealer that checks counts, others are passed over.
//! - A complaint that is upheld refutes a deal for good.
//! - A deal that has been there for W anchors its dealer *assures* those of who have not acknowledged it: they may be away,
//!   and were they dealt a bad share, nobody would know. An assurance that does not hold refutes the deal.
//! - A deal is *settled* when every authority has acknowledged it or is assured of it: all who keep the rules have their
//!   share of it for certain. As soon as q deals are, the first q of them are the *qualified*, and there is a key.
//! - Else the generation fails: W anchors without q deals, or 3 W without q settled ones. The old key stays in force.
//!
//! Why shares for certain, of all: the key opens with t shares, and t may be q, as many as are not faulty. Were a single one of
//! these without its share, the faulty could keep what is sealed to the key closed; and no complaint after the end could mend that,
//! for the others have too few shares of the bad deal, one less than t, to give the missing one.
//!
//! So every generation is over after 3 W anchors. f silent or cheating dealers neither stop it nor choose who is in it: the q
//! deals of the correct suffice. What one refuses to acknowledge costs W anchors and q assurances, not the key. A dealer
//! that starts again has forgotten its polynomial and assures nobody: if somebody is away just then, the generation may
//! fail, and the next one begins.
//!
//! What a member must say follows from what was ordered ([`Generation::wanted`]), not from what it has sent: a message that is
//! lost with its vertex is wanted again, and a node that restarts or was away goes on from the same log.
//!
//! Departs from Pedersen 1991: acknowledgements and anchors in place of rounds; see [`crate::dkg`].
//!
//! Bound: of each authority one deal is kept, two sets of authorities, and for each authority what is left of an assurance.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::dkg::assurance::Assurance;
use crate::dkg::complaint::Judgement;
use crate::dkg::deal::{DealError, Draft, VerifiedDeal};
use crate::dkg::keys::DecryptionKey;
use crate::dkg::message::{self, Head, Kind};
use crate::dkg::outcome::{Fault, Outcome, Taken};
use crate::dkg::session::Session;
use crate::types::{AuthorityIndex, AuthoritySet};
use crate::wire::Reader;

/// A key generation under way.
pub struct Generation {
    pub(super) session: Arc<Session>,
    pub(super) member: Option<Member>,
    /// Anchors since the start.
    pub(super) anchors: u64,
    /// In the order of the log; one a dealer.
    pub(super) deals: Vec<Ordered>,
    pub(super) is_over: bool,
}

/// What a member brings along.
pub(super) struct Member {
    pub(super) index: AuthorityIndex,
    pub(super) key: Arc<DecryptionKey>,
    pub(super) draft: Draft,
    /// Its own deal, as it is sent.
    pub(super) deal: Arc<[u8]>,
    /// Its assurances by receiver, made when they are wanted.
    pub(super) assurances: Vec<OnceLock<Arc<[u8]>>>,
    /// Whether it leaves those out, in a simulation.
    #[cfg(feature = "sim")]
    pub(super) assures_nobody: bool,
}

/// A deal in the log, and what the log says of it.
pub(super) struct Ordered {
    pub(super) deal: VerifiedDeal,
    /// The message, as it was ordered.
    pub(super) bytes: Arc<[u8]>,
    /// Anchors before it.
    pub(super) at: u64,
    pub(super) refuted: bool,
    pub(super) acks: AuthoritySet,
    pub(super) complaints: AuthoritySet,
    pub(super) assured: BTreeMap<AuthorityIndex, Assurance>,
    /// The member's own share of it, if it is good.
    pub(super) own_share: Option<Zeroizing<Scalar>>,
    /// Whether that is from an assurance, because what was dealt is bad.
    pub(super) is_mended: bool,
}

impl Generation {
    /// A generation that a member takes part in, with its decryption key and 32 fresh uniformly random bytes.
    ///
    /// Panics when `index` is no member or `key` not the one that the session has for it: a fault of the caller's, which
    /// has checked its own configuration.
    pub fn new(
        session: Arc<Session>,
        index: AuthorityIndex,
        key: Arc<DecryptionKey>,
        entropy: &[u8; 32],
    ) -> Self {
        Self::observe(session).join(index, key, entropy)
    }

    /// The same generation, from here on with a member that takes part in it; arguments and panics as of [`Self::new`].
    ///
    /// Its shares of the deals that are there are found again. Two multiplications and some a deal, or four.
    #[must_use]
    pub fn join(
        mut self,
        index: AuthorityIndex,
        key: Arc<DecryptionKey>,
        entropy: &[u8; 32],
    ) -> Self {
        let session = &self.session;
        assert_eq!(
            session.encryption_keys().get(index.as_usize()),
            Some(&key.public()),
            "the decryption key is that of {index}"
        );
        for known in &mut self.deals {
            known.own_share = known.deal.own_share(session, index, &key);
            known.read_assured(session, index, &key);
        }
        let draft = Draft::new(session, index, entropy);
        let deal = message::encode_deal(session, &draft).into();
        let receivers = session.thresholds().members();
        self.member = Some(Member {
            index,
            key,
            draft,
            deal,
            assurances: receivers.map(|_| OnceLock::new()).collect(),
            #[cfg(feature = "sim")]
            assures_nobody: false,
        });
        self
    }

    /// The same generation, with a deal whose shares for `victims` are off by one, and with no assurance for anybody if so:
    /// for the simulator.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn dealing_badly_to(
        mut self,
        victims: AuthoritySet,
        assures_nobody: bool,
        entropy: &[u8; 32],
    ) -> Self {
        if let Some(member) = &mut self.member
            && !victims.is_empty()
        {
            let mut draft = Draft::new(&self.session, member.index, entropy);
            for victim in victims.iter() {
                *draft.shares[victim.as_usize()] += Scalar::ONE;
            }
            member.deal = message::encode_deal(&self.session, &draft).into();
            member.assures_nobody = assures_nobody;
        }
        self
    }

    /// A generation that is only followed: it ends with the same public key.
    pub const fn observe(session: Arc<Session>) -> Self {
        Self {
            session,
            member: None,
            anchors: 0,
            deals: Vec::new(),
            is_over: false,
        }
    }

    /// What it is for.
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Takes the next message of the log: `bytes`, signed by `author`.
    ///
    /// Cost: a deal that is new takes t + 1 decoded points and some 5 multiplications, a complaint that may count 5, an assurance
    /// that is needed some 300, the rest nothing. An authority can cause one deal's and n complaints' work, and, of what
    /// it dealt, one assurance's for each who has not acknowledged; what does not decode, in each vertex again, costs the
    /// decoding of at most t + 1 or 52 points. Errors: why the message changes nothing.
    pub fn handle(&mut self, author: AuthorityIndex, bytes: &[u8]) -> Result<Taken, Fault> {
        let mut reader = Reader::new(bytes);
        let head = Head::read(&mut reader)?;
        if head.epoch != self.session.epoch {
            return Err(Fault::Epoch(head.epoch));
        }
        if !self.session.thresholds().has_member(author) {
            return Err(Fault::Author(author));
        }
        if self.is_over {
            return Err(Fault::Over);
        }
        match head.kind {
            Kind::Deal => self.on_deal(author, bytes, reader),
            Kind::Complaint => self.on_complaint(author, reader),
            Kind::Ack => self.on_ack(author, reader),
            Kind::Assurance => self.on_assurance(author, reader),
        }
    }

    fn on_deal(
        &mut self,
        dealer: AuthorityIndex,
        bytes: &[u8],
        reader: Reader<'_>,
    ) -> Result<Taken, Fault> {
        if self.find(dealer).is_some() {
            return Err(Fault::Repeated);
        }
        if self.anchors >= self.session.window_anchors {
            return Err(Fault::Late);
        }
        let deal = message::read_deal(&self.session, dealer, reader)?;
        let own_share = self
            .member
            .as_ref()
            .and_then(|member| deal.own_share(&self.session, member.index, &member.key));
        // What it deals to itself is its own affair.
        let mut acks = AuthoritySet::EMPTY;
        acks.insert(dealer);
        self.deals.push(Ordered {
            deal,
            bytes: bytes.into(),
            at: self.anchors,
            refuted: false,
            acks,
            complaints: AuthoritySet::EMPTY,
            assured: BTreeMap::new(),
            own_share,
            is_mended: false,
        });
        Ok(Taken::Deal)
    }

    fn on_complaint(&mut self, author: AuthorityIndex, reader: Reader<'_>) -> Result<Taken, Fault> {
        let complaint = message::read_complaint(reader)?;
        let dealer = complaint.dealer;
        let session = self.session.clone();
        let ordered = self.find(dealer).ok_or(Fault::NoDeal(dealer))?;
        if ordered.refuted || !ordered.complaints.insert(author) {
            return Err(Fault::Repeated);
        }
        match complaint.judge(&session, &ordered.deal, author) {
            Judgement::Upheld => {
                ordered.refuted = true;
                Ok(Taken::Refuted(dealer))
            }
            Judgement::Unfounded => Err(Fault::Unfounded(dealer)),
            Judgement::Unproven => Err(Fault::Unproven(dealer)),
        }
    }

    fn on_ack(&mut self, author: AuthorityIndex, reader: Reader<'_>) -> Result<Taken, Fault> {
        let dealers = message::read_ack(reader)?;
        let ordered = |dealer| self.deals.iter().any(|known| known.deal.dealer() == dealer);
        if let Some(unknown) = dealers.iter().find(|dealer| !ordered(*dealer)) {
            return Err(Fault::NoDeal(unknown));
        }
        let mut is_fresh = false;
        for known in &mut self.deals {
            if dealers.contains(known.deal.dealer()) {
                is_fresh |= known.acks.insert(author);
            }
        }
        match is_fresh {
            true => Ok(Taken::Ack),
            false => Err(Fault::Repeated),
        }
    }

    fn on_assurance(
        &mut self,
        dealer: AuthorityIndex,
        mut reader: Reader<'_>,
    ) -> Result<Taken, Fault> {
        let receiver = message::read_assured(&mut reader)?;
        let (session, anchors) = (self.session.clone(), self.anchors);
        if !session.thresholds().has_member(receiver) {
            return Err(Fault::Author(receiver));
        }
        let own = self
            .member
            .as_ref()
            .map(|member| (member.index, member.key.clone()));
        let ordered = self.find(dealer).ok_or(Fault::NoDeal(dealer))?;
        if ordered.refuted {
            return Err(Fault::Repeated);
        }
        if anchors < session.assured_from(ordered.at) || ordered.is_certain(receiver) {
            return Err(Fault::Unneeded(receiver));
        }
        match message::read_assurance(&session, &ordered.deal, receiver, reader) {
            Ok(assurance) => {
                ordered.assured.insert(receiver, assurance);
                if let Some((index, key)) = own {
                    ordered.read_assured(&session, index, &key);
                }
                Ok(Taken::Assured(receiver))
            }
            Err(DealError::Decode(error)) => Err(error.into()),
            Err(DealError::Proof) => {
                ordered.refuted = true;
                Ok(Taken::Refuted(dealer))
            }
        }
    }

    /// An anchor: all messages that it commits have been handled. Gives how the generation ends, once.
    pub fn on_anchor(&mut self) -> Option<Outcome> {
        if self.is_over {
            return None;
        }
        self.anchors += 1;
        let outcome = self.outcome()?;
        self.is_over = true;
        Some(outcome)
    }

    fn find(&mut self, dealer: AuthorityIndex) -> Option<&mut Ordered> {
        let mut deals = self.deals.iter_mut();
        deals.find(|known| known.deal.dealer() == dealer)
    }
}

impl Ordered {
    /// Whether this authority has its share, if it keeps the rules.
    pub(super) fn is_certain(&self, member: AuthorityIndex) -> bool {
        self.acks.contains(member) || self.assured.contains_key(&member)
    }

    /// Takes the share of `index`, who holds `key`, from its assurance, if there is one and the share is not here already.
    fn read_assured(&mut self, session: &Session, index: AuthorityIndex, key: &DecryptionKey) {
        if self.own_share.is_none()
            && let Some(assurance) = self.assured.get(&index)
        {
            self.own_share = assurance.share(session, &self.deal, index, key);
            self.is_mended = self.own_share.is_some();
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("epoch", &self.session.epoch)
            .field("member", &self.member.as_ref().map(|member| member.index))
            .field("anchors", &self.anchors)
            .field("deals", &self.deals.len())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
