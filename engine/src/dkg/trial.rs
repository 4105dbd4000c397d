//! A whole committee on one log, for this module's tests: who follows the rules, and who breaks which.

use std::sync::Arc;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;

use super::assurance;
use super::complaint::Complaint;
use super::deal::{Draft, VerifiedDeal};
use super::machine::Generation;
use super::message::{self, Head};
use super::outcome::{Fault, Generated, Outcome, Taken};
use super::*;
use crate::seal::key::SealingKey;
use crate::types::{AuthorityIndex, AuthoritySet, ChainId, Epoch};
use crate::wire::Reader;

/// How a faulty authority behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vice {
    /// Says nothing at all.
    Silent,
    /// Deals well and never acknowledges.
    Mute,
    /// Deals a wrong share to one.
    WrongToOne(u8),
    /// Deals wrong shares to all.
    WrongToAll,
    /// Deals a wrong share to one, and assures it and others of good ones when it is time.
    WrongThenAssures(u8),
    /// Deals well and assures others of shares that do not fit.
    AssuresBadly,
    /// Is correct, but away.
    Away,
    /// Sends bytes that are no message, and a deal with a bit flipped.
    Junk(u16),
    /// Deals well, then complains about all good deals, with true proofs.
    FalseComplaints,
    /// Deals well, then complains about all good deals, with values and proofs of its own making.
    ForgedComplaints,
    /// Deals twice, differently.
    TwoDeals,
    /// Deals when the window is over.
    Late,
    /// Sends the deal of somebody else as its own.
    Copycat,
}

/// What the log holds.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Message(AuthorityIndex, Arc<[u8]>),
    Anchor,
}

/// A committee, one who only follows, and the log.
pub(super) struct Trial {
    pub(super) session: Arc<Session>,
    pub(super) keys: Vec<Arc<DecryptionKey>>,
    pub(super) members: Vec<Generation>,
    pub(super) observer: Generation,
    pub(super) log: Vec<Event>,
    /// How it ended for each member, then for the observer.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) anchors: u64,
}

pub(super) const WINDOW: u64 = 8;

impl Trial {
    pub(super) fn new(authorities: u8, threshold: u32) -> Self {
        let keys: Vec<Arc<DecryptionKey>> = (0..authorities)
            .map(|index| Arc::new(DecryptionKey::generate(&[index; 32])))
            .collect();
        let public = keys.iter().map(|key| key.public()).collect();
        let session = Session::new(ChainId(7), Epoch(3), threshold, public, WINDOW).unwrap();
        let session = Arc::new(session);
        let members = (0..authorities)
            .map(|index| Self::member_of(&session, &keys, index, [index + 100; 32]))
            .collect();
        Self {
            observer: Generation::observe(session.clone()),
            session,
            keys,
            members,
            log: Vec::new(),
            outcomes: Vec::new(),
            anchors: 0,
        }
    }

    fn member_of(
        session: &Arc<Session>,
        keys: &[Arc<DecryptionKey>],
        index: u8,
        entropy: [u8; 32],
    ) -> Generation {
        let key = keys[usize::from(index)].clone();
        Generation::new(session.clone(), AuthorityIndex(index), key, &entropy)
    }

    /// Orders one message: all who follow the log take it alike.
    pub(super) fn order(&mut self, author: u8, bytes: &[u8]) -> Result<Taken, Fault> {
        let author = AuthorityIndex(author);
        self.log.push(Event::Message(author, bytes.into()));
        let verdict = self.observer.handle(author, bytes);
        for member in &mut self.members {
            assert_eq!(member.handle(author, bytes), verdict, "{member:?}");
        }
        verdict
    }

    pub(super) fn anchor(&mut self) {
        self.log.push(Event::Anchor);
        self.anchors += 1;
        let members = self.members.iter_mut();
        let all = members.chain([&mut self.observer]);
        let ended: Vec<Outcome> = all.filter_map(Generation::on_anchor).collect();
        assert!(
            ended.is_empty() || ended.len() == self.keys.len() + 1,
            "it ends for all at one anchor"
        );
        self.outcomes.extend(ended);
    }

    /// Lets everybody of `order` speak in turn, then puts an anchor, until it ends.
    ///
    /// `vices` says who does not follow the rules, by index; who is not in `order` is away.
    pub(super) fn run(&mut self, order: &[u8], vices: &[Option<Vice>]) {
        while self.outcomes.is_empty() {
            for author in order {
                for bytes in self.speech(*author, vices[usize::from(*author)]) {
                    self.order(*author, &bytes).ok();
                }
            }
            self.anchor();
            assert!(self.anchors <= 3 * WINDOW, "a generation ends");
        }
    }

    /// What a member sends now.
    fn speech(&self, author: u8, vice: Option<Vice>) -> Vec<Vec<u8>> {
        let honest = || {
            let wanted = self.members[usize::from(author)].wanted();
            wanted.map(|bytes| bytes.to_vec()).into_iter().collect()
        };
        let Some(vice) = vice else {
            return honest();
        };
        let first = self.anchors == 0;
        match vice {
            Vice::Silent | Vice::Away => Vec::new(),
            Vice::Mute | Vice::AssuresBadly if first => honest(),
            Vice::AssuresBadly => self.assure(author, author + 100, false),
            Vice::WrongThenAssures(_) if !first => self.assure(author, author + 50, true),
            Vice::WrongToOne(victim) | Vice::WrongThenAssures(victim) if first => {
                vec![self.deal_wrong(author, &[victim])]
            }
            Vice::WrongToAll if first => {
                let all: Vec<u8> = (0..self.keys.len() as u8).collect();
                vec![self.deal_wrong(author, &all)]
            }
            Vice::Junk(bit) if first => {
                let mut flipped: Vec<u8> = honest().concat();
                let bit = usize::from(bit) % (8 * flipped.len());
                flipped[bit / 8] ^= 1 << (bit % 8);
                vec![vec![author; usize::from(author)], flipped]
            }
            Vice::FalseComplaints | Vice::ForgedComplaints | Vice::TwoDeals if first => {
                let mut said: Vec<Vec<u8>> = honest();
                if vice == Vice::TwoDeals {
                    said.push(self.deal_anew(author));
                }
                said
            }
            Vice::FalseComplaints => self.complaints(author, true),
            Vice::ForgedComplaints => self.complaints(author, false),
            Vice::Late if self.anchors == WINDOW => vec![self.deal_anew(author)],
            Vice::Copycat => self.logged_deals().into_iter().map(|(_, b)| b).collect(),
            _ => Vec::new(),
        }
    }

    /// A deal whose shares for `victims` are off by one.
    pub(super) fn deal_wrong(&self, dealer: u8, victims: &[u8]) -> Vec<u8> {
        let mut draft = Draft::new(&self.session, AuthorityIndex(dealer), &[dealer + 50; 32]);
        for victim in victims {
            *draft.shares[usize::from(*victim)] += Scalar::ONE;
        }
        message::encode_deal(&self.session, &draft)
    }

    /// The next assurance of a dealer whose deal was drawn from `entropy`; or one of a share that does not fit.
    pub(super) fn assure(&self, dealer: u8, entropy: u8, is_good: bool) -> Vec<Vec<u8>> {
        let mut deals = self.observer.deals.iter();
        let own = deals.find(|known| known.deal.dealer() == AuthorityIndex(dealer));
        let Some(own) = own.filter(|own| self.observer.anchors >= own.at + WINDOW) else {
            return Vec::new();
        };
        let mut members = self.session.thresholds().members();
        let receiver = members.find(|member| !own.is_certain(*member));
        let made = receiver.map(|receiver| {
            let draft = Draft::new(&self.session, AuthorityIndex(dealer), &[entropy; 32]);
            if is_good {
                return message::encode_assurance(&self.session, &draft, &own.deal, receiver);
            }
            let share = *draft.shares[receiver.as_usize()] + Scalar::ONE;
            let mut bytes = vec![1, 4, 0, 0, 0, 3];
            let (session, deal) = (&self.session, &own.deal);
            assurance::encode_body(session, deal, receiver, &share, &[entropy; 32], &mut bytes);
            bytes
        });
        made.into_iter().collect()
    }

    /// A good deal with another polynomial.
    pub(super) fn deal_anew(&self, dealer: u8) -> Vec<u8> {
        let draft = Draft::new(&self.session, AuthorityIndex(dealer), &[dealer + 150; 32]);
        message::encode_deal(&self.session, &draft)
    }

    /// The deals in the log that check, and their bytes.
    pub(super) fn logged_deals(&self) -> Vec<(VerifiedDeal, Vec<u8>)> {
        let deal = |event: &Event| {
            let Event::Message(author, bytes) = event else {
                return None;
            };
            let deal = self.read_deal(author.0, bytes)?;
            Some((deal, bytes.to_vec()))
        };
        self.log.iter().filter_map(deal).collect()
    }

    pub(super) fn read_deal(&self, author: u8, bytes: &[u8]) -> Option<VerifiedDeal> {
        let mut reader = Reader::new(bytes);
        Head::read(&mut reader).ok()?;
        message::read_deal(&self.session, AuthorityIndex(author), reader).ok()
    }

    fn complaints(&self, author: u8, is_proven: bool) -> Vec<Vec<u8>> {
        let deals = self.logged_deals();
        let made = deals.iter().map(|(deal, _)| {
            let mut complaint = self.complaint(author, deal);
            if !is_proven {
                complaint.shared = *deal.ephemeral();
            }
            message::encode_complaint(&self.session, &complaint)
        });
        made.collect()
    }

    pub(super) fn complaint(&self, author: u8, deal: &VerifiedDeal) -> Complaint {
        let key = &self.keys[usize::from(author)];
        Complaint::make(&self.session, deal, AuthorityIndex(author), key)
    }

    /// The result of a member, which must have one. The observer's comes behind the members'.
    pub(super) fn generated(&self, index: usize) -> &Generated {
        match &self.outcomes[index] {
            Outcome::Done(generated) => generated,
            Outcome::Failed(failure) => panic!("failed: {failure}"),
        }
    }

    /// The public key, which is the same for all, and whose secrets it is the sum of.
    pub(super) fn agreed(&self) -> (&SealingKey, AuthoritySet) {
        let first = self.generated(0);
        for index in 1..self.outcomes.len() {
            let other = self.generated(index);
            assert_eq!(other.key, first.key, "of {index}");
            assert_eq!(other.qualified, first.qualified, "of {index}");
        }
        (&first.key, first.qualified)
    }

    /// x_i of a member.
    pub(super) fn secret(&self, index: usize) -> Option<Scalar> {
        let share = self.generated(index).share.as_ref()?;
        assert_eq!(share.author().as_usize(), index);
        let bytes = share.to_bytes();
        let scalar = bytes.last_chunk::<32>().unwrap();
        Some(Scalar::from_canonical_bytes(*scalar).unwrap())
    }

    /// Whether the shares of `chosen` give X.
    pub(super) fn recovers(&self, chosen: &[usize]) -> bool {
        let point = |index: &usize| Scalar::from(*index as u64 + 1);
        let mut x = Scalar::ZERO;
        for at in chosen {
            let others = chosen.iter().filter(|other| *other != at);
            let lambda: Scalar = others
                .map(|other| point(other) * (point(other) - point(at)).invert())
                .product();
            x += lambda * self.secret(*at).expect("it has a share");
        }
        let (key, _) = self.agreed();
        let twice_delta = Scalar::from(2 * key.delta());
        RistrettoPoint::mul_base(&(x * twice_delta)) == key.committee_key().point()
    }
}
