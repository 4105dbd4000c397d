//! Everything that can happen to an engine.

use std::sync::Arc;

use crate::certificate::Certificate;
use crate::dag::{VerifiedVertex, VertexRef};
use crate::seal::proof::VerifiedEnvelope;
use crate::seal::share::ShareMessage;
use crate::sync::part::{Item, Part, WantPart};
use crate::types::{AuthorityIndex, BatchSeq, Digest, Round, TimestampUs};

/// Where to answer a client: the connection, and the tag that the client gave the submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientTag {
    /// The shell's name for the connection; never reused.
    pub connection: u64,
    /// The client's name for the submission, echoed in every answer.
    pub tag: u64,
}

/// One input of [`crate::engine::Engine::handle`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A client submitted an envelope whose proof holds.
    Submission {
        /// Who submitted it.
        client: ClientTag,
        /// The envelope.
        envelope: VerifiedEnvelope,
    },
    /// A peer sent an envelope whose proof holds, usually because it was asked for.
    PeerEnvelope {
        /// Who sent it.
        from: AuthorityIndex,
        /// The envelope.
        envelope: VerifiedEnvelope,
    },
    /// A peer sent a vertex whose signature and roots hold.
    Vertex {
        /// Who sent it; not necessarily its author.
        from: AuthorityIndex,
        /// The vertex.
        vertex: VerifiedVertex,
    },
    /// A peer sent a share message; whether it holds is found out when its batch opens.
    Share {
        /// Over whose link it came.
        from: AuthorityIndex,
        /// The message.
        message: Box<ShareMessage>,
    },
    /// A peer asks for vertices.
    WantVertices {
        /// Who asks.
        from: AuthorityIndex,
        /// Which.
        vertices: Vec<VertexRef>,
    },
    /// A peer asks for envelopes.
    WantEnvelopes {
        /// Who asks.
        from: AuthorityIndex,
        /// Which.
        digests: Vec<Digest>,
    },
    /// A peer asks for the own share message of a batch.
    WantShare {
        /// Who asks.
        from: AuthorityIndex,
        /// Which.
        seq: BatchSeq,
    },
    /// A peer that is behind asks for all vertices of some rounds.
    WantRounds {
        /// Who asks.
        from: AuthorityIndex,
        /// The round before the first.
        after: Round,
        /// How many rounds.
        count: u32,
    },
    /// A peer that may have lost the end of its journal asks for its newest vertex.
    WantNewest {
        /// Who asks.
        from: AuthorityIndex,
        /// Names the question; when it was first asked, by the asker's clock.
        token: TimestampUs,
    },
    /// The answer of a peer.
    Newest {
        /// Who answers.
        from: AuthorityIndex,
        /// Names the question.
        token: TimestampUs,
        /// Its signature and roots hold; none when the peer has none.
        vertex: Option<VerifiedVertex>,
    },
    /// A peer asks for a part of a checkpoint or of a settled batch.
    WantPart {
        /// Who asks.
        from: AuthorityIndex,
        /// Of what, and which part.
        want: WantPart,
    },
    /// A peer sent such a part.
    Part {
        /// Who sent it.
        from: AuthorityIndex,
        /// The part.
        part: Part,
    },
    /// What [`crate::effect::Effect::Load`] asked for.
    Loaded {
        /// What.
        item: Item,
        /// Encoded headers, or an archive; none when it is not there.
        bytes: Option<Arc<[u8]>>,
    },
    /// The shell has put together a certificate of a batch that is opened, and has verified it: it is recorded.
    Certified {
        /// The certificate.
        certificate: Certificate,
    },
    /// A link to a peer was established: what it missed is pushed again.
    PeerUp {
        /// Who.
        peer: AuthorityIndex,
    },
    /// The first `records` records of all [`crate::effect::Effect::Persist`] so far are durable.
    Durable {
        /// Count from the journal's first record.
        records: u64,
    },
    /// A link to a peer was lost.
    PeerDown {
        /// Who.
        peer: AuthorityIndex,
    },
    /// Time passed.
    Tick,
}
