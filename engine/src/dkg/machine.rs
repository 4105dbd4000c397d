//! One key generation: fed with the ordered log, it says what to send, and in the end whether there is a key.
//!
//! The log gives messages, each with its author, and anchors; all who follow it see the same, in the same order.
//! - Deals are taken for W anchors. The first of a dealer that checks counts, others are passed over.
//! - A complaint that is upheld refutes a deal for good.
//! - *Qualified* are the first q deals ordered that are not refuted, once each of them is acknowledged by all n or has been
//!   there for W anchors (who was dealt a bad share has complained by then). At least q must have acknowledged all of them:
//!   with fewer, the key might have too few shares to open anything.
//! - Else the generation fails: W anchors without q deals, or too few acknowledgements. The old key stays in force.
//!
//! So every generation is over after 2 W anchors. f silent or cheating dealers neither stop it nor choose who is in it: the q
//! deals of the correct suffice. What one refuses to acknowledge costs W anchors, not the key.
//!
//! What a member must say follows from what was ordered ([`Generation::wanted`]), not from what it has sent: a message that is
//! lost with its vertex is wanted again, and a node that restarts or was away goes on from the same log.
//!
//! Departs from Pedersen 1991: acknowledgements and anchors in place of rounds; see [`crate::dkg`].
//!
//! Bound: one deal an authority is kept, and two sets of authorities beside it.

use std::sync::Arc;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::dkg::complaint::{Complaint, Judgement};
use crate::dkg::deal::{Draft, VerifiedDeal, evaluate_at};
use crate::dkg::keys::DecryptionKey;
use crate::dkg::message::{self, Head, Kind};
use crate::dkg::outcome::{Failure, Fault, Generated, Outcome, Taken};
use crate::dkg::session::Session;
use crate::seal::deal::KeyShare;
use crate::seal::group::EncodedPoint;
use crate::seal::key::{KeyError, SealingKey};
use crate::seal::lagrange;
use crate::types::{AuthorityIndex, AuthoritySet};
use crate::wire::Reader;

/// A key generation under way.
pub struct Generation {
    pub(super) session: Arc<Session>,
    member: Option<Member>,
    /// Anchors since the start.
    pub(super) anchors: u64,
    /// In the order of the log; one a dealer.
    pub(super) deals: Vec<Ordered>,
    pub(super) is_over: bool,
}

/// What a member brings along.
struct Member {
    index: AuthorityIndex,
    key: Arc<DecryptionKey>,
    /// Its own deal, as it is sent.
    deal: Arc<[u8]>,
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
    /// The member's own share of it, if it is good.
    pub(super) own_share: Option<Zeroizing<Scalar>>,
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
    /// Its shares of the deals that are there are found again. Two multiplications and some a deal.
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
        }
        let draft = Draft::new(session, index, entropy);
        let deal = message::encode_deal(session, &draft).into();
        self.member = Some(Member { index, key, deal });
        self
    }

    /// The same generation, with a deal whose shares for `victims` are off by one: for the simulator.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn dealing_badly_to(mut self, victims: AuthoritySet, entropy: &[u8; 32]) -> Self {
        if let Some(member) = &mut self.member
            && !victims.is_empty()
        {
            let mut draft = Draft::new(&self.session, member.index, entropy);
            for victim in victims.iter() {
                *draft.shares[victim.as_usize()] += Scalar::ONE;
            }
            member.deal = message::encode_deal(&self.session, &draft).into();
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
    /// Cost: a deal that is new takes t + 1 decoded points and some 5 multiplications, a complaint that may count 5, the rest
    /// nothing. So an authority can cause n + 1 such messages' work. Errors: why the message changes nothing.
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
        self.deals.push(Ordered {
            deal,
            bytes: bytes.into(),
            at: self.anchors,
            refuted: false,
            acks: AuthoritySet::EMPTY,
            complaints: AuthoritySet::EMPTY,
            own_share,
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

    fn outcome(&self) -> Option<Outcome> {
        let thresholds = self.session.thresholds();
        let (n, q) = (thresholds.authorities(), thresholds.quorum());
        let window = self.session.window_anchors;
        let first = self.first();
        if (first.len() as u32) < q {
            let deals = first.len() as u32;
            let failure = Failure::TooFewDeals { deals, wanted: q };
            return (self.anchors >= window).then_some(Outcome::Failed(failure));
        }
        let is_settled =
            |known: &&Ordered| known.acks.len() == n || self.anchors >= known.at + window;
        if !first.iter().all(is_settled) {
            return None;
        }
        let holds_all = |author: &AuthorityIndex| first.iter().all(|d| d.acks.contains(*author));
        let acks = thresholds.members().filter(holds_all).count() as u32;
        if acks < q {
            let failure = Failure::TooFewAcks { acks, wanted: q };
            return Some(Outcome::Failed(failure));
        }
        Some(match self.combine(&first) {
            Ok(generated) => Outcome::Done(Box::new(generated)),
            Err(error) => Outcome::Failed(Failure::Key(error)),
        })
    }

    /// The key of a generation that has ended with one, once more; `None` for one that goes on or failed.
    pub fn generated(&self) -> Option<Generated> {
        match self.outcome().filter(|_| self.is_over)? {
            Outcome::Done(generated) => Some(*generated),
            Outcome::Failed(_) => None,
        }
    }

    /// The first q deals that are not refuted; fewer while there are fewer.
    fn first(&self) -> Vec<&Ordered> {
        let q = self.session.thresholds().quorum() as usize;
        self.deals
            .iter()
            .filter(|known| !known.refuted)
            .take(q)
            .collect()
    }

    /// The sum of the qualified polynomials: x = P(0), x_i = P(i + 1).
    fn combine(&self, qualified: &[&Ordered]) -> Result<Generated, KeyError> {
        let session = &self.session;
        let (n, t) = (session.thresholds().authorities(), session.threshold());
        let sums: Vec<RistrettoPoint> = (0..t as usize)
            .map(|power| {
                let of = qualified
                    .iter()
                    .map(|known| &known.deal.commitments()[power]);
                of.map(EncodedPoint::point).sum()
            })
            .collect();
        let encode = |point: RistrettoPoint| point.compress().to_bytes();
        let members = session.thresholds().members();
        let shares: Vec<[u8; 32]> = members
            .map(|author| encode(evaluate_at(sums.iter().copied(), author)))
            .collect();
        let delta = Scalar::from(lagrange::delta(n, t));
        let x = encode(sums[0] * (delta + delta));
        let (chain_id, epoch) = (session.chain_id, session.epoch);
        let key = SealingKey::from_parts(chain_id, epoch, n, t, x, &shares)?;
        let share = self.member.as_ref().and_then(|member| {
            let mut secret = Zeroizing::new(Scalar::ZERO);
            for known in qualified {
                *secret += **known.own_share.as_ref()?;
            }
            Some(KeyShare::new(&key, member.index, secret))
        });
        let mut dealers = AuthoritySet::EMPTY;
        for known in qualified {
            dealers.insert(known.deal.dealer());
        }
        Ok(Generated {
            key,
            share,
            qualified: dealers,
        })
    }

    /// What this member must get into the log next; `None` when there is nothing, and for one that only follows.
    ///
    /// To be asked again after each message and anchor; whoever sends it may send it again at any time.
    pub fn wanted(&self) -> Option<Arc<[u8]>> {
        let member = self.member.as_ref().filter(|_| !self.is_over)?;
        let session = &self.session;
        let has_dealt = self.deals.iter().any(|d| d.deal.dealer() == member.index);
        if !has_dealt && self.anchors < session.window_anchors {
            return Some(member.deal.clone());
        }
        let is_bad = |known: &&Ordered| known.own_share.is_none() && !known.refuted;
        let cheated = self.deals.iter().filter(is_bad);
        let mut unsaid = cheated.filter(|known| !known.complaints.contains(member.index));
        if let Some(known) = unsaid.next() {
            let complaint = Complaint::make(session, &known.deal, member.index, &member.key);
            return Some(message::encode_complaint(session, &complaint).into());
        }
        let first = self.first();
        let is_acked = |known: &&Ordered| known.acks.contains(member.index);
        if (first.len() as u32) < session.thresholds().quorum() || first.iter().all(is_acked) {
            return None;
        }
        let mut good = AuthoritySet::EMPTY;
        for known in &self.deals {
            if known.own_share.is_some() && !known.refuted {
                good.insert(known.deal.dealer());
            }
        }
        Some(message::encode_ack(session, good).into())
    }

    fn find(&mut self, dealer: AuthorityIndex) -> Option<&mut Ordered> {
        let mut deals = self.deals.iter_mut();
        deals.find(|known| known.deal.dealer() == dealer)
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
