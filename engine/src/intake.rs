//! From the bytes of an authority's message to an input of the engine, or to a counted reason.
//!
//! Everything that bytes can get wrong by themselves ends here: encoding, bounds, membership, signature, roots, parent
//! rules, proofs. What passes is well formed and signed; what it says is judged, and counted, by the engine. No byte string
//! panics, and none is dropped without a count.
//!
//! Cost: that of [`Vertex::verify`] for a vertex, else decoding alone; and the proofs of the envelopes that were asked for, of
//! all messages given together in one batch: a node that fetches much, as where authorities have taken different parts of an
//! overload, pays the price of a large batch and not the fifteenfold of proofs one by one.

use std::collections::BTreeMap;

use crate::committee::Committee;
use crate::dag::{Vertex, VertexError};
use crate::engine::Engine;
use crate::input::Input;
use crate::message::PeerMessage;
use crate::seal::{Envelope, EnvelopeError, EnvelopeVerifier, ShareMessage};
use crate::types::{AuthorityIndex, ChainId, Digest};

/// Why bytes from an authority are no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rubbish {
    /// No kind that this build knows, or a request that does not decode.
    Message,
    /// A vertex that does not decode, or above a bound.
    VertexEncoding,
    /// A vertex of another chain or epoch, or by no member.
    VertexForeign,
    /// A vertex that its author did not sign.
    VertexSignature,
    /// A signed vertex whose roots or parents break a rule.
    VertexRule,
    /// An envelope that does not decode.
    EnvelopeEncoding,
    /// An envelope that is not wanted (any more): not worth a proof check.
    EnvelopeUnasked,
    /// An envelope of a key that is not known here, which may be the next one: no fault of whoever sends it.
    EnvelopeKey,
    /// An envelope whose proof does not hold.
    EnvelopeProof,
    /// A share message that does not decode.
    ShareEncoding,
}

impl Rubbish {
    /// All reasons, in order of declaration.
    pub const ALL: [Self; 10] = [
        Self::Message,
        Self::VertexEncoding,
        Self::VertexForeign,
        Self::VertexSignature,
        Self::VertexRule,
        Self::EnvelopeEncoding,
        Self::EnvelopeUnasked,
        Self::EnvelopeKey,
        Self::EnvelopeProof,
        Self::ShareEncoding,
    ];

    /// Whether a correct authority never sends that. Whoever was asked second answers, too, and whoever is ahead knows more keys.
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::EnvelopeUnasked | Self::EnvelopeKey)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::VertexEncoding => "vertex_encoding",
            Self::VertexForeign => "vertex_foreign",
            Self::VertexSignature => "vertex_signature",
            Self::VertexRule => "vertex_rule",
            Self::EnvelopeEncoding => "envelope_encoding",
            Self::EnvelopeUnasked => "envelope_unasked",
            Self::EnvelopeKey => "envelope_key",
            Self::EnvelopeProof => "envelope_proof",
            Self::ShareEncoding => "share_encoding",
        }
    }
}

impl From<VertexError> for Rubbish {
    fn from(error: VertexError) -> Self {
        match error {
            VertexError::Decode(_) => Self::VertexEncoding,
            VertexError::Chain(_) | VertexError::Epoch(_) | VertexError::Author(_) => {
                Self::VertexForeign
            }
            VertexError::Signature(_) => Self::VertexSignature,
            VertexError::RoundZero
            | VertexError::ParentsRoot
            | VertexError::EntriesRoot
            | VertexError::OwnPrevious
            | VertexError::ParentUnknown(_)
            | VertexError::ParentTwice(_)
            | VertexError::ParentRound(_)
            | VertexError::ParentQuorum { .. }
            | VertexError::EntryTwice(_) => Self::VertexRule,
        }
    }
}

/// How many messages came to nothing, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RubbishCounts([u64; Rubbish::ALL.len()]);

impl RubbishCounts {
    /// Counts one.
    pub const fn add(&mut self, reason: Rubbish) {
        self.0[reason as usize] += 1;
    }

    /// Name and count of each reason, in order of declaration.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = Rubbish::ALL.into_iter().map(Rubbish::name);
        reasons.zip(self.0)
    }

    /// Of all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A message as it came over the link of an authority: whose link, kind and body.
pub type FromLink = (AuthorityIndex, u8, Vec<u8>);

/// Decodes and verifies what came over the links of authorities, for `engine`; verdicts come in the order of `messages`.
///
/// Which envelopes are worth a proof check follows from what the engine wants now, before it is given any of these; one that
/// comes several times is checked once.
/// Errors, one a message: the first reason that applies.
pub fn verify_all(
    engine: &Engine,
    committee: &Committee,
    verifier: &EnvelopeVerifier,
    messages: Vec<FromLink>,
) -> Vec<(AuthorityIndex, Result<Input, Rubbish>)> {
    let mut envelopes: Vec<Envelope> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    let read: Vec<(AuthorityIndex, Verdict)> = messages
        .into_iter()
        .map(|(from, kind, body)| {
            let verdict = match read(engine, committee, from, kind, &body) {
                Ok(Read::Input(input)) => Verdict::Given(Ok(input)),
                Ok(Read::Envelope(envelope)) => {
                    let place = places.entry(envelope.digest());
                    Verdict::OfEnvelope(*place.or_insert_with(|| {
                        envelopes.push(envelope);
                        envelopes.len() - 1
                    }))
                }
                Err(reason) => Verdict::Given(Err(reason)),
            };
            (from, verdict)
        })
        .collect();
    let chains: Vec<ChainId> = envelopes
        .iter()
        .map(|envelope| envelope.label().chain_id)
        .collect();
    let checked = verifier.check(envelopes);
    let of_envelope = |from, at: usize| match &checked[at] {
        Ok(envelope) => Ok(Input::PeerEnvelope {
            from,
            envelope: envelope.clone(),
        }),
        Err(EnvelopeError::WrongKey) if chains[at] == committee.chain_id => {
            Err(Rubbish::EnvelopeKey)
        }
        Err(_) => Err(Rubbish::EnvelopeProof),
    };
    read.into_iter()
        .map(|(from, verdict)| match verdict {
            Verdict::Given(verdict) => (from, verdict.map(|input| *input)),
            Verdict::OfEnvelope(at) => (from, of_envelope(from, at)),
        })
        .collect()
}

/// What is known of a message before envelopes are checked.
enum Verdict {
    Given(Result<Box<Input>, Rubbish>),
    /// The place of its envelope among those that are checked.
    OfEnvelope(usize),
}

/// As [`verify_all`], for one message.
pub fn verify(
    engine: &Engine,
    committee: &Committee,
    verifier: &EnvelopeVerifier,
    from: AuthorityIndex,
    kind: u8,
    body: &[u8],
) -> Result<Input, Rubbish> {
    let mut verdicts = verify_all(
        engine,
        committee,
        verifier,
        vec![(from, kind, body.to_vec())],
    );
    let (_, verdict) = verdicts.pop().expect("one message, one verdict");
    verdict
}

/// A message that was read.
enum Read {
    Input(Box<Input>),
    /// One that was asked for; its proof is not checked.
    Envelope(Envelope),
}

/// All checks but that of an envelope's proof.
fn read(
    engine: &Engine,
    committee: &Committee,
    from: AuthorityIndex,
    kind: u8,
    body: &[u8],
) -> Result<Read, Rubbish> {
    let message = PeerMessage::decode(kind, body).map_err(|_| Rubbish::Message)?;
    let input = match message {
        PeerMessage::Vertex(bytes) => Input::Vertex {
            from,
            vertex: Vertex::verify(&bytes, committee)?,
        },
        PeerMessage::Envelope(bytes) => {
            let envelope = Envelope::decode(bytes).map_err(|_| Rubbish::EnvelopeEncoding)?;
            return match engine.is_envelope_wanted(&envelope.digest()) {
                true => Ok(Read::Envelope(envelope)),
                false => Err(Rubbish::EnvelopeUnasked),
            };
        }
        PeerMessage::Share(bytes) => {
            let message = ShareMessage::decode(&bytes).map_err(|_| Rubbish::ShareEncoding)?;
            Input::Share {
                from,
                message: Box::new(message),
            }
        }
        PeerMessage::WantVertices(vertices) => Input::WantVertices { from, vertices },
        PeerMessage::WantEnvelopes(digests) => Input::WantEnvelopes { from, digests },
        PeerMessage::WantShare(seq) => Input::WantShare { from, seq },
        PeerMessage::WantRounds { after, count } => Input::WantRounds { from, after, count },
        PeerMessage::WantPart(want) => Input::WantPart { from, want },
        PeerMessage::Part(part) => Input::Part { from, part },
        PeerMessage::WantNewest { token } => Input::WantNewest { from, token },
        PeerMessage::Newest { token, vertex } => Input::Newest {
            from,
            token,
            vertex: vertex
                .map(|bytes| Vertex::verify(&bytes, committee))
                .transpose()?,
        },
    };
    Ok(Read::Input(Box::new(input)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count_and_name() {
        let mut counts = RubbishCounts::default();
        for (times, reason) in (1..).zip(Rubbish::ALL) {
            (0..times).for_each(|_| counts.add(reason));
        }
        let named: Vec<(&str, u64)> = counts.named().collect();
        assert_eq!(named[0], ("message", 1));
        assert_eq!(named[9], ("share_encoding", 10));
        assert!(named.windows(2).all(|pair| pair[0].0 != pair[1].0));
        assert_eq!(counts.total(), 55);
    }
}
