//! What is vouched for, and the certificate itself.

use blst::min_sig::AggregatePublicKey;

use super::key::{SIGNATURE_DST, SignatureBytes, decode_signature, verifies};
use super::keys::CertificateKeys;
use crate::batch::header::BatchHeader;
use crate::types::{AuthorityIndex, AuthoritySet, BatchSeq, ChainId, Epoch, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// A batch header as certificates name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedHeader {
    /// The chain.
    pub chain_id: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The batch.
    pub seq: BatchSeq,
    /// Hash of its header.
    pub hash: Sha256Hash,
}

impl CertifiedHeader {
    /// The bytes that are signed. All fields have fixed lengths, so no two headers share a message.
    pub fn message(&self) -> [u8; MESSAGE_LEN] {
        let mut bytes = Vec::with_capacity(MESSAGE_LEN);
        Writer::new(&mut bytes)
            .bytes(MESSAGE_TAG)
            .u64(self.chain_id.0)
            .u32(self.epoch.0)
            .u64(self.seq.0)
            .bytes(&self.hash.0);
        let mut message = [0; MESSAGE_LEN];
        message.copy_from_slice(&bytes);
        message
    }
}

impl From<&BatchHeader> for CertifiedHeader {
    fn from(header: &BatchHeader) -> Self {
        Self {
            chain_id: header.chain_id,
            epoch: header.epoch,
            seq: header.seq,
            hash: header.hash(),
        }
    }
}

/// The word of a set of authorities for a header; [`Self::verify`] says whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What is vouched for.
    pub header: CertifiedHeader,
    /// By whom.
    pub signers: AuthoritySet,
    /// The sum of their signatures.
    pub signature: SignatureBytes,
}

impl Certificate {
    /// The canonical bytes.
    pub fn encode(&self) -> [u8; CERTIFICATE_LEN] {
        let mut bytes = Vec::with_capacity(CERTIFICATE_LEN);
        Writer::new(&mut bytes)
            .u8(CERTIFICATE_VERSION)
            .u64(self.header.chain_id.0)
            .u32(self.header.epoch.0)
            .u64(self.header.seq.0)
            .bytes(&self.header.hash.0)
            .bytes(&self.signers.mask().to_be_bytes())
            .bytes(&self.signature);
        let mut certificate = [0; CERTIFICATE_LEN];
        certificate.copy_from_slice(&bytes);
        certificate
    }

    /// Reads the canonical bytes; vouches for nothing in them. Errors: another version or length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            CERTIFICATE_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let certificate = Self {
            header: CertifiedHeader {
                chain_id: ChainId(reader.u64()?),
                epoch: Epoch(reader.u32()?),
                seq: BatchSeq(reader.u64()?),
                hash: reader.sha256()?,
            },
            signers: AuthoritySet::from_mask(u128::from_be_bytes(reader.array()?)),
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(certificate)
    }

    /// Whether at least q members of the committee, exactly the signers named, vouch for the header. One pairing equation.
    ///
    /// Errors: the first thing that does not hold.
    pub fn verify(&self, keys: &CertificateKeys) -> Result<(), CertificateError> {
        if self.header.chain_id != keys.chain_id() {
            return Err(CertificateError::Chain(self.header.chain_id));
        }
        if self.header.epoch != keys.epoch() {
            return Err(CertificateError::Epoch(self.header.epoch));
        }
        let members = keys.thresholds();
        if let Some(stranger) = self.signers.iter().find(|who| !members.has_member(*who)) {
            return Err(CertificateError::Stranger(stranger));
        }
        let (signers, quorum) = (self.signers.len(), members.quorum());
        if signers < quorum {
            return Err(CertificateError::Quorum { signers, quorum });
        }
        match is_signed_by(&self.header, self.signers, &self.signature, keys) {
            Some(true) => Ok(()),
            Some(false) => Err(CertificateError::Signature),
            None => Err(CertificateError::Point),
        }
    }
}

/// Whether `signature` is the sum of the signatures of exactly `signers`, all members and at least one; none when it is no
/// point that a signature may be.
pub(super) fn is_signed_by(
    header: &CertifiedHeader,
    signers: AuthoritySet,
    signature: &SignatureBytes,
    keys: &CertificateKeys,
) -> Option<bool> {
    let signature = decode_signature(signature)?;
    let points: Vec<_> = signers
        .iter()
        .filter_map(|signer| keys.find(signer))
        .map(|key| key.point())
        .collect();
    // Each was checked, and is possessed: see I2 of the module.
    let Ok(sum) = AggregatePublicKey::aggregate(&points, false) else {
        return Some(false);
    };
    Some(verifies(
        &signature,
        &header.message(),
        SIGNATURE_DST,
        &sum.to_public_key(),
    ))
}

/// Why a certificate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is of another chain.
    #[error("the certificate is of chain {}", .0.0)]
    Chain(ChainId),
    /// It is of another epoch.
    #[error("the certificate is of epoch {}", .0.0)]
    Epoch(Epoch),
    /// A signer is no member.
    #[error("the certificate names {0} as a signer, who is no member")]
    Stranger(AuthorityIndex),
    /// Too few signers.
    #[error("the certificate has {signers} signers, and {quorum} are needed")]
    Quorum {
        /// How many it has.
        signers: u32,
        /// How many are needed.
        quorum: u32,
    },
    /// The signature is no point of G1's subgroup, or the identity.
    #[error("the certificate's signature is not a point that a signature may be")]
    Point,
    /// The pairing equation does not hold.
    #[error("the certificate's signature is not that of its signers for its header")]
    Signature,
}

const MESSAGE_TAG: &[u8] = b"fairlane/1/checkpoint";
/// Bytes that are signed.
const MESSAGE_LEN: usize = MESSAGE_TAG.len() + 8 + 4 + 8 + 32;
/// Version of the encoding.
const CERTIFICATE_VERSION: u8 = 1;
/// Bytes of an encoded certificate.
pub const CERTIFICATE_LEN: usize = 1 + 8 + 4 + 8 + 32 + 16 + super::SIGNATURE_LEN;
