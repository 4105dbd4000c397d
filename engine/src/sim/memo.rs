//! Verdicts on bytes, shared by all simulated nodes: each signature and proof is checked once, not once a node.
//!
//! Sound because a verdict is a function of the bytes and of what the whole committee agrees on; the key is a hash of the
//! bytes. Verdicts are kept for two generations of [`GENERATION_LEN`], so memory stays flat however long a run is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::committee::Committee;
use crate::dag::{VerifiedVertex, Vertex};
use crate::seal::{Envelope, EnvelopeVerifier, SealingKey, VerifiedEnvelope};

/// The memory of one run.
pub(crate) struct Memo {
    committee: Arc<Committee>,
    /// For every key that there was: whether a node takes it is the node's to say.
    verifier: EnvelopeVerifier,
    keys: Vec<SealingKey>,
    vertices: Option<Generations<Option<VerifiedVertex>>>,
    envelopes: Option<Generations<Option<VerifiedEnvelope>>>,
}

/// First bytes of a hash of what was judged.
pub(crate) type Content = [u8; 16];

impl Memo {
    /// Remembers nothing yet, and never does when not `is_on`.
    pub(crate) fn new(committee: Arc<Committee>, key: SealingKey, is_on: bool) -> Self {
        Self {
            committee,
            verifier: EnvelopeVerifier::new(key.clone(), [1; 32]),
            keys: vec![key],
            vertices: is_on.then(Generations::default),
            envelopes: is_on.then(Generations::default),
        }
    }

    /// Envelopes may be sealed to this key from now on. To be told before the first one is.
    pub(crate) fn add_key(&mut self, key: SealingKey) {
        self.keys.push(key);
        self.verifier.set_keys(&self.keys);
    }

    /// All keys so far.
    pub(crate) fn keys(&self) -> &[SealingKey] {
        &self.keys
    }

    /// The vertex that `bytes`, of this content, encode, if they are one and its author signed it.
    pub(crate) fn vertex(&mut self, bytes: &[u8], content: Content) -> Option<VerifiedVertex> {
        let committee = &self.committee;
        let judge = || Vertex::verify(bytes, committee).ok();
        match &mut self.vertices {
            Some(known) => known.find_or(content, judge),
            None => judge(),
        }
    }

    /// The envelope that `bytes` encode, if they are one and its proof holds.
    pub(crate) fn envelope(
        &mut self,
        bytes: &Arc<[u8]>,
        content: Content,
    ) -> Option<VerifiedEnvelope> {
        let verifier = &self.verifier;
        let judge = || {
            let envelope = Envelope::decode(bytes.clone()).ok()?;
            verifier.check(vec![envelope]).pop()?.ok()
        };
        match &mut self.envelopes {
            Some(known) => known.find_or(content, judge),
            None => judge(),
        }
    }
}

/// A map that forgets: what was not asked for during a whole generation is gone.
struct Generations<V> {
    young: BTreeMap<Content, V>,
    old: BTreeMap<Content, V>,
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Self {
            young: BTreeMap::new(),
            old: BTreeMap::new(),
        }
    }
}

impl<V: Clone> Generations<V> {
    fn find_or(&mut self, key: Content, judge: impl FnOnce() -> V) -> V {
        if let Some(known) = self.young.get(&key) {
            return known.clone();
        }
        let value = self.old.remove(&key).unwrap_or_else(judge);
        if self.young.len() == GENERATION_LEN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value.clone());
        value
    }
}

/// Which buffers were looked at already: by where they lie, and kept so that nothing else can come to lie there.
#[derive(Default)]
pub(crate) struct Seen {
    young: BTreeMap<usize, Arc<[u8]>>,
    old: BTreeMap<usize, Arc<[u8]>>,
}

impl Seen {
    /// Whether this buffer is met for the first time in a while.
    pub(crate) fn is_new(&mut self, bytes: &Arc<[u8]>) -> bool {
        let at = bytes.as_ptr().addr();
        if self.young.contains_key(&at) {
            return false;
        }
        if self.young.len() == GENERATION_LEN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(at, bytes.clone());
        self.old.remove(&at).is_none()
    }
}

/// Names bytes.
pub(crate) fn content(bytes: &[u8]) -> Content {
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    first
}

/// Verdicts of one generation.
const GENERATION_LEN: usize = 4096;
