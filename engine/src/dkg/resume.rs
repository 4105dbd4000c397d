//! A generation as a part of the canonical state: all that its further course depends on, and nothing secret.
//!
//! Anchors u64, is_over u8, deals u8; of each deal: dealer u8, anchors before it u64, refuted u8, acknowledgements, complaints and
//! who is assured (masks of 16 bytes), the message as it was ordered, whose length follows from the session, and what is left of
//! the assurances, in authority order.
//!
//! One that is over encodes the same way: from its deals the key follows again, and each member's share with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dkg::assurance::Assurance;
use crate::dkg::machine::{Generation, Ordered};
use crate::dkg::message::{self, Head, Kind};
use crate::dkg::session::Session;
use crate::types::{AuthorityIndex, AuthoritySet};
use crate::wire::{DecodeError, Reader, Writer};

impl Generation {
    /// Appends the state.
    pub fn encode_state(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u64(self.anchors)
            .u8(u8::from(self.is_over))
            // One a member, and a committee has at most 128.
            .u8(self.deals.len() as u8);
        for known in &self.deals {
            let mut assured = AuthoritySet::EMPTY;
            for receiver in known.assured.keys() {
                assured.insert(*receiver);
            }
            Writer::new(out)
                .u8(known.deal.dealer().0)
                .u64(known.at)
                .u8(u8::from(known.refuted))
                .bytes(&known.acks.mask().to_be_bytes())
                .bytes(&known.complaints.mask().to_be_bytes())
                .bytes(&assured.mask().to_be_bytes())
                .bytes(&known.bytes);
            for assurance in known.assured.values() {
                assurance.encode_state(out);
            }
        }
    }

    /// Reads a state, to be followed; [`Generation::join`] makes a member take part.
    ///
    /// Errors: anything that [`Generation::encode_state`] does not write.
    pub fn decode_state(
        session: Arc<Session>,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut generation = Self::observe(session);
        generation.anchors = reader.u64()?;
        generation.is_over = flag(reader)?;
        let deals = reader.u8()?;
        for _ in 0..deals {
            let known = generation.read_ordered(reader)?;
            generation.deals.push(known);
        }
        Ok(generation)
    }

    fn read_ordered(&self, reader: &mut Reader<'_>) -> Result<Ordered, DecodeError> {
        let (session, refused) = (&self.session, DecodeError::NotCanonical("ordered deal"));
        let dealer = AuthorityIndex(reader.u8()?);
        let (at, refuted) = (reader.u64()?, flag(reader)?);
        let (acks, complaints) = (members(session, reader)?, members(session, reader)?);
        let assured = members(session, reader)?;
        let is_known = self.deals.iter().any(|known| known.deal.dealer() == dealer);
        let in_order = self.deals.last().is_none_or(|last| last.at <= at);
        let in_time = at < session.window_anchors && at <= self.anchors;
        if is_known || !in_order || !in_time || !session.thresholds().has_member(dealer) {
            return Err(refused);
        }
        let bytes = reader.bytes(message::deal_len(session))?;
        let mut body = Reader::new(bytes);
        let head = Head::read(&mut body)?;
        if (head.kind, head.epoch) != (Kind::Deal, session.epoch) {
            return Err(refused);
        }
        let mut assurances = BTreeMap::new();
        for receiver in assured.iter() {
            assurances.insert(receiver, Assurance::decode_state(reader)?);
        }
        Ok(Ordered {
            deal: message::read_deal(session, dealer, body).map_err(|_| refused)?,
            bytes: bytes.into(),
            at,
            refuted,
            acks,
            complaints,
            assured: assurances,
            own_share: None,
            is_mended: false,
        })
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::NotCanonical("flag")),
    }
}

fn members(session: &Session, reader: &mut Reader<'_>) -> Result<AuthoritySet, DecodeError> {
    let set = AuthoritySet::from_mask(u128::from_be_bytes(reader.array()?));
    let is_member = |author| session.thresholds().has_member(author);
    match set.iter().all(is_member) {
        true => Ok(set),
        false => Err(DecodeError::NotCanonical("set of authorities")),
    }
}
