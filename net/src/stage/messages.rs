//! What the IO stage and the core stage hand each other through their rings.

use std::sync::Arc;

use fairlane_client::protocol::FollowTarget;
use fairlane_engine::types::AuthorityIndex;

/// From the IO stage to the core stage.
#[derive(Debug)]
pub enum ToCore {
    /// A client said hello; `flags` say which notices it wants.
    ClientUp {
        /// Never reused.
        connection: u64,
        /// See [`fairlane_client::protocol::Hello`].
        notices: NoticeFlags,
    },
    /// A client is gone; what is still addressed to it is thrown away.
    ClientDown {
        /// Which.
        connection: u64,
    },
    /// A client submitted an envelope.
    Submit {
        /// Which client.
        connection: u64,
        /// Its name for the submission.
        tag: u64,
        /// The envelope's bytes; copied once from the receive buffer to here, where they stay.
        bytes: Arc<[u8]>,
    },
    /// A client wants to follow something.
    Follow {
        /// Which client.
        connection: u64,
        /// Its name for what it follows.
        name: u64,
        /// What that is.
        target: FollowTarget,
    },
    /// An authority's link is up.
    PeerUp {
        /// Who.
        peer: AuthorityIndex,
    },
    /// An authority's link was lost.
    PeerDown {
        /// Who.
        peer: AuthorityIndex,
    },
    /// An authority's message.
    Peer {
        /// Who sent it.
        from: AuthorityIndex,
        /// Kind byte.
        kind: u8,
        /// Body.
        body: Vec<u8>,
    },
}

/// From the core stage to the IO stage. Bytes are whole frames.
#[derive(Debug)]
pub enum FromCore {
    /// To one authority.
    ToPeer {
        /// Who.
        to: AuthorityIndex,
        /// It may wait for whatever else there is to send.
        is_bulk: bool,
        /// Frames.
        bytes: Vec<u8>,
    },
    /// To every other authority.
    ToPeers {
        /// Frames.
        bytes: Vec<u8>,
    },
    /// An authority sends too much of what no correct one does: its link is cut.
    CutPeer {
        /// Who.
        peer: AuthorityIndex,
    },
    /// To one client; thrown away when it is gone.
    ToClient {
        /// Which.
        connection: u64,
        /// Frames.
        bytes: Vec<u8>,
    },
    /// To every client that follows the keys: the authority vouches for a new one.
    NewKey {
        /// The notice, a whole frame.
        frame: Arc<[u8]>,
    },
    /// To every client that wants to know: how many batches are settled.
    Settled {
        /// All batches with a lower seq are.
        count: u64,
    },
}

/// Which notices a client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeFlags {
    /// Receipts.
    pub receipts: bool,
    /// Final places.
    pub ordered: bool,
    /// Settled counts.
    pub settled: bool,
    /// Frames must be short enough for datagrams.
    pub is_datagram: bool,
}
