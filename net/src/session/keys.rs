//! Link keys: X25519, one an authority, the public halves in the committee file.

use std::fmt;

pub use fairlane_client::committee_file::LINK_KEY_LEN;
use fairlane_engine::committee::{Committee, RollupPolicy};
use fairlane_engine::types::AuthorityIndex;
use fairlane_engine::wire::Writer;
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::Dh;
use zeroize::Zeroizing;

/// One authority's secret link key. Erased when dropped; snow's copies in sessions are not.
#[derive(Clone)]
pub struct LinkSecret(Zeroizing<[u8; LINK_KEY_LEN]>);

impl LinkSecret {
    /// Any 32 uniformly random bytes are a key.
    pub fn from_bytes(bytes: &[u8; LINK_KEY_LEN]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The public half, for the committee file.
    pub fn public(&self) -> [u8; LINK_KEY_LEN] {
        let mut public = [0; LINK_KEY_LEN];
        public.copy_from_slice(self.dh().pubkey());
        public
    }

    /// The key itself, for its owner's configuration.
    pub fn bytes(&self) -> &[u8; LINK_KEY_LEN] {
        &self.0
    }

    fn dh(&self) -> Box<dyn Dh> {
        let dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519);
        let mut dh = dh.expect("snow is built with X25519");
        dh.set(&*self.0);
        dh
    }

    /// What the two can compute and nobody else; none for a public key of small order, with which anybody could.
    pub(crate) fn shared_with(
        &self,
        public: &[u8; LINK_KEY_LEN],
    ) -> Option<Zeroizing<[u8; LINK_KEY_LEN]>> {
        let mut shared = Zeroizing::new([0; LINK_KEY_LEN]);
        self.dh().dh(public, &mut *shared).ok()?;
        shared.iter().any(|byte| *byte != 0).then_some(shared)
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret")
    }
}

/// What a node's handshakes start from; made once.
pub struct LinkKeys {
    own: AuthorityIndex,
    secret: LinkSecret,
    /// Names the committee: chain, epoch, parameters, rollups, members and their keys, and how it makes sealing keys.
    context: [u8; 32],
    /// By index; none for the own one.
    peers: Vec<Option<PeerKeys>>,
}

/// What concerns one other authority.
pub(super) struct PeerKeys {
    pub(super) public: [u8; LINK_KEY_LEN],
    /// Key of the gate between the two.
    pub(super) gate: Zeroizing<[u8; 32]>,
}

impl LinkKeys {
    /// One curve operation for each other authority. `publics` are the link keys in the committee file, by index.
    ///
    /// Errors: `secret` is not the key of `own`, or somebody's key is no key.
    pub fn new(
        committee: &Committee,
        publics: &[[u8; LINK_KEY_LEN]],
        own: AuthorityIndex,
        secret: LinkSecret,
    ) -> Result<Self, LinkKeysError> {
        if publics.get(own.as_usize()) != Some(&secret.public()) {
            return Err(LinkKeysError::NotOwn);
        }
        let context = context_of(committee, publics);
        let mut peers = Vec::with_capacity(publics.len());
        for (index, public) in committee.thresholds().members().zip(publics) {
            if index == own {
                peers.push(None);
                continue;
            }
            let shared = secret.shared_with(public);
            let shared = shared.ok_or(LinkKeysError::Weak(index))?;
            let mut material = Zeroizing::new([0; 64]);
            material[..32].copy_from_slice(&*shared);
            material[32..].copy_from_slice(&context);
            peers.push(Some(PeerKeys {
                public: *public,
                gate: Zeroizing::new(blake3::derive_key(GATE_CONTEXT, &*material)),
            }));
        }
        Ok(Self {
            own,
            secret,
            context,
            peers,
        })
    }

    /// Whose these are.
    pub const fn own(&self) -> AuthorityIndex {
        self.own
    }

    pub(crate) const fn secret(&self) -> &LinkSecret {
        &self.secret
    }

    pub(super) fn peer(&self, index: AuthorityIndex) -> Option<&PeerKeys> {
        self.peers.get(index.as_usize())?.as_ref()
    }

    /// What both ends put in front of a handshake.
    pub(super) fn prologue(
        &self,
        connects: AuthorityIndex,
        accepts: AuthorityIndex,
        nonce: &[u8; 32],
    ) -> Vec<u8> {
        let mut prologue = Vec::with_capacity(PROLOGUE_TAG.len() + 66);
        Writer::new(&mut prologue)
            .bytes(PROLOGUE_TAG)
            .bytes(&self.context)
            .u8(connects.0)
            .u8(accepts.0)
            .bytes(nonce);
        prologue
    }
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKeys of {}", self.own)
    }
}

/// Nodes whose committee files differ in anything that they must agree on get different names, and no session.
fn context_of(committee: &Committee, publics: &[[u8; LINK_KEY_LEN]]) -> [u8; 32] {
    let mut bytes = Vec::new();
    let parameters = &committee.parameters;
    let mut writer = Writer::new(&mut bytes);
    writer
        .u64(committee.chain_id.0)
        .u32(committee.epoch.0)
        .u64(committee.epoch_start.0)
        .u32(parameters.deferral_cap)
        .u64(parameters.gc_depth_rounds)
        .u32(parameters.vertex_entries_max)
        .u32(parameters.leader_return_anchors)
        .u64(parameters.checkpoint_interval_rounds)
        .u64(parameters.certificate_interval_us)
        .count_u32(committee.rollups.len());
    for rollup in &committee.rollups {
        writer.u64(rollup.id.0).u8(match rollup.policy {
            RollupPolicy::Sealed => 0,
            RollupPolicy::Open => 1,
            RollupPolicy::Either => 2,
        });
    }
    writer.count_u32(publics.len());
    for (signing, link) in committee.signing_keys().iter().zip(publics) {
        writer.bytes(signing.as_bytes()).bytes(link);
    }
    if let Some(keys) = committee.certificate_keys() {
        for (key, _) in keys.iter() {
            writer.bytes(&key.bytes());
        }
    }
    if let Some(plan) = committee.key_plan() {
        writer
            .u32(plan.threshold)
            .u64(plan.window_anchors)
            .u64(plan.renew_us.unwrap_or(0));
        for key in &plan.encryption_keys {
            writer.bytes(key.bytes());
        }
    }
    blake3::derive_key(COMMITTEE_CONTEXT, &bytes)
}

/// Why a node has no link keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkKeysError {
    /// The secret is another's.
    #[error("link_key is not the key of this authority in the committee file")]
    NotOwn,
    /// A public key of small order.
    #[error("the link key of {0} in the committee file is no key")]
    Weak(AuthorityIndex),
}

const PROLOGUE_TAG: &[u8] = b"fairlane/1/link";
const GATE_CONTEXT: &str = "fairlane/1/link-gate";
const COMMITTEE_CONTEXT: &str = "fairlane/1/link-committee";
