//! The four messages of a key generation, as bytes.
//!
//! Head: version u8 = 1 | kind u8 (1 deal, 2 complaint, 3 acknowledgement, 4 assurance) | epoch u32; then the body of the kind.
//! Chain and author are those of the signed vertex that carries a message; proofs bind both. A message has one encoding.

use curve25519_dalek::scalar::Scalar;

use crate::dkg::assurance::{self, Assurance};
use crate::dkg::complaint::{self, Complaint};
use crate::dkg::deal::{self, DealError, Draft, VerifiedDeal};
use crate::dkg::session::Session;
use crate::seal::group::decode_scalar;
use crate::types::{AUTHORITIES_MAX, AuthorityIndex, AuthoritySet, Epoch};
use crate::wire::{DecodeError, Reader, Writer};

/// A message without its body: what can be said of it without any curve work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deal = 1,
    Complaint = 2,
    Ack = 3,
    Assurance = 4,
}

impl Head {
    /// Reads a head. Errors: truncated, too long for any message, or an unknown version or kind.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.left() > MESSAGE_LEN_MAX {
            return Err(DecodeError::TooLarge {
                field: "message",
                value: reader.left() as u64,
                max: MESSAGE_LEN_MAX as u64,
            });
        }
        let version = reader.u8()?;
        if version != MESSAGE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = match reader.u8()? {
            1 => Kind::Deal,
            2 => Kind::Complaint,
            3 => Kind::Ack,
            4 => Kind::Assurance,
            _ => return Err(DecodeError::NotCanonical("message kind")),
        };
        Ok(Self {
            kind,
            epoch: Epoch(reader.u32()?),
        })
    }

    fn encode(self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u8(MESSAGE_VERSION)
            .u8(self.kind as u8)
            .u32(self.epoch.0);
    }
}

/// The epoch that a message is for. Errors: as for any message's head.
pub fn epoch_of(bytes: &[u8]) -> Result<Epoch, DecodeError> {
    Ok(Head::read(&mut Reader::new(bytes))?.epoch)
}

/// Reads the body of a deal of `dealer`, to its end. Errors: [`DealError`].
pub(super) fn read_deal(
    session: &Session,
    dealer: AuthorityIndex,
    mut reader: Reader<'_>,
) -> Result<VerifiedDeal, DealError> {
    let deal = VerifiedDeal::read(session, dealer, &mut reader)?;
    reader.finish()?;
    Ok(deal)
}

/// Length of a whole deal message of `session`, in bytes.
pub(super) const fn deal_len(session: &Session) -> usize {
    let (n, t) = (session.thresholds().authorities(), session.threshold());
    HEAD_LEN + deal::body_len(n, t)
}

/// Reads the body of a complaint, to its end. Errors: not a canonical encoding.
pub(super) fn read_complaint(mut reader: Reader<'_>) -> Result<Complaint, DecodeError> {
    let complaint = Complaint::read(&mut reader)?;
    reader.finish()?;
    Ok(complaint)
}

/// Reads the body of an acknowledgement, to its end: whose shares its author holds. Errors: not a canonical encoding.
pub(super) fn read_ack(mut reader: Reader<'_>) -> Result<AuthoritySet, DecodeError> {
    let dealers = AuthoritySet::from_mask(u128::from_be_bytes(reader.array()?));
    reader.finish()?;
    Ok(dealers)
}

/// Reads whom an assurance is for, the first of its body. Errors: truncated.
pub(super) fn read_assured(reader: &mut Reader<'_>) -> Result<AuthorityIndex, DecodeError> {
    Ok(AuthorityIndex(reader.u8()?))
}

/// Reads the rest of an assurance about `deal` for `receiver`, to its end. Errors: [`DealError`].
pub(super) fn read_assurance(
    session: &Session,
    deal: &VerifiedDeal,
    receiver: AuthorityIndex,
    reader: Reader<'_>,
) -> Result<Assurance, DealError> {
    Assurance::read(session, deal, receiver, reader)
}

pub(super) fn encode_deal(session: &Session, draft: &Draft) -> Vec<u8> {
    let mut out = Vec::with_capacity(deal_len(session));
    head(session, Kind::Deal).encode(&mut out);
    draft.encode_body(session, &mut out);
    out
}

pub(super) fn encode_complaint(session: &Session, complaint: &Complaint) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + complaint::BODY_LEN);
    head(session, Kind::Complaint).encode(&mut out);
    complaint.encode_body(&mut out);
    out
}

pub(super) fn encode_ack(session: &Session, dealers: AuthoritySet) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + ACK_BODY_LEN);
    head(session, Kind::Ack).encode(&mut out);
    Writer::new(&mut out).bytes(&dealers.mask().to_be_bytes());
    out
}

pub(super) fn encode_assurance(
    session: &Session,
    draft: &Draft,
    deal: &VerifiedDeal,
    receiver: AuthorityIndex,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + assurance::BODY_LEN);
    head(session, Kind::Assurance).encode(&mut out);
    draft.encode_assurance(session, deal, receiver, &mut out);
    out
}

/// The next 32 bytes as a scalar below the group order. Errors: truncated, or not below it.
pub(super) fn scalar(reader: &mut Reader<'_>, field: &'static str) -> Result<Scalar, DecodeError> {
    decode_scalar(&reader.array()?).ok_or(DecodeError::NotCanonical(field))
}

const fn head(session: &Session, kind: Kind) -> Head {
    Head {
        kind,
        epoch: session.epoch,
    }
}

/// Longest message: a deal of the largest committee with the largest threshold, all of its members.
pub const MESSAGE_LEN_MAX: usize = 8326;

const MESSAGE_VERSION: u8 = 1;
const HEAD_LEN: usize = 6;
const ACK_BODY_LEN: usize = 16;
const _: () = assert!(
    MESSAGE_LEN_MAX >= HEAD_LEN + deal::body_len(AUTHORITIES_MAX as u32, AUTHORITIES_MAX as u32)
);
const _: () = assert!(MESSAGE_LEN_MAX >= HEAD_LEN + complaint::BODY_LEN);
const _: () = assert!(MESSAGE_LEN_MAX >= HEAD_LEN + assurance::BODY_LEN);
