//! From a new connection to a session: greeting, opening, reply.

use std::sync::Arc;

use fairlane_engine::types::AuthorityIndex;
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};

use super::keys::LinkKeys;
use super::records::Session;
use super::{Fault, LINK_VERSION, TAG_LEN};

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 32;
/// Version and nonce.
pub const GREETING_LEN: usize = 1 + NONCE_LEN;
/// Version, index, gate, and message 1: an ephemeral key, an encrypted key, the tag of an empty payload.
pub const OPENING_LEN: usize = 2 + GATE_LEN + MESSAGE_1_LEN;
/// Message 2: an ephemeral key and the tag of an empty payload.
pub const REPLY_LEN: usize = 32 + TAG_LEN;

const GATE_LEN: usize = 32;
const MESSAGE_1_LEN: usize = 32 + (32 + TAG_LEN) + TAG_LEN;
const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

/// One end of a handshake under way.
#[derive(Debug)]
pub struct Handshake {
    keys: Arc<LinkKeys>,
    step: Step,
    /// The message that is coming in (S3).
    held: [u8; OPENING_LEN],
    held_len: usize,
}

#[derive(Debug)]
enum Step {
    /// We accepted and greeted.
    AwaitOpening { nonce: [u8; NONCE_LEN] },
    /// We connected to this authority.
    AwaitGreeting { peer: AuthorityIndex },
    /// And opened.
    AwaitReply {
        peer: AuthorityIndex,
        noise: Box<HandshakeState>,
    },
    /// It came to an end (S2).
    Over,
}

impl Handshake {
    /// The end that accepted a connection; appends the greeting to `out`. `nonce` is random and used once.
    pub fn accept(keys: Arc<LinkKeys>, nonce: [u8; NONCE_LEN], out: &mut Vec<u8>) -> Self {
        out.push(LINK_VERSION);
        out.extend_from_slice(&nonce);
        Self::new(keys, Step::AwaitOpening { nonce })
    }

    /// The end that connected to `peer`. It waits for the greeting.
    pub fn connect(keys: Arc<LinkKeys>, peer: AuthorityIndex) -> Self {
        Self::new(keys, Step::AwaitGreeting { peer })
    }

    fn new(keys: Arc<LinkKeys>, step: Step) -> Self {
        Self {
            keys,
            step,
            held: [0; OPENING_LEN],
            held_len: 0,
        }
    }

    /// Takes from `input` what belongs to the handshake and appends what is to be sent to `out`; gives the session when it
    /// is complete, and the rest of `input` is the session's.
    ///
    /// `admit` is asked when an authority has passed the gate, before any curve operation is spent on it.
    ///
    /// # Errors
    /// What is wrong with the other end; the connection is to be reset.
    pub fn feed(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        admit: &mut dyn FnMut(AuthorityIndex) -> bool,
    ) -> Result<Option<Session>, Fault> {
        while self.take(input) {
            let message = self.held;
            let message = &message[..std::mem::take(&mut self.held_len)];
            match std::mem::replace(&mut self.step, Step::Over) {
                Step::AwaitOpening { nonce } => {
                    return self.on_opening(message, &nonce, out, admit).map(Some);
                }
                Step::AwaitGreeting { peer } => self.on_greeting(message, peer, out)?,
                Step::AwaitReply { peer, mut noise } => {
                    let read = noise.read_message(message, &mut []);
                    read.map_err(|_| Fault::Handshake)?;
                    return Session::new(peer, *noise).map(Some);
                }
                Step::Over => return Err(Fault::Handshake),
            }
        }
        Ok(None)
    }

    /// Moves bytes of the awaited message to `held`; whether it is complete.
    fn take(&mut self, input: &mut &[u8]) -> bool {
        let wanted = match self.step {
            Step::AwaitOpening { .. } => OPENING_LEN,
            Step::AwaitGreeting { .. } => GREETING_LEN,
            Step::AwaitReply { .. } => REPLY_LEN,
            Step::Over => 0,
        };
        let count = input.len().min(wanted - self.held_len);
        let (taken, rest) = input.split_at(count);
        self.held[self.held_len..self.held_len + count].copy_from_slice(taken);
        self.held_len += count;
        *input = rest;
        self.held_len == wanted
    }

    fn on_opening(
        &self,
        opening: &[u8],
        nonce: &[u8; NONCE_LEN],
        out: &mut Vec<u8>,
        admit: &mut dyn FnMut(AuthorityIndex) -> bool,
    ) -> Result<Session, Fault> {
        let (version, index, rest) = (opening[0], AuthorityIndex(opening[1]), &opening[2..]);
        if version != LINK_VERSION {
            return Err(Fault::Version);
        }
        let own = self.keys.own();
        let peer = self.keys.peer(index).filter(|_| index < own);
        let peer = peer.ok_or(Fault::Index)?;
        let (gate, message_1) = rest.split_at(GATE_LEN);
        // Compared in constant time.
        if gate_of(&peer.gate, nonce, message_1) != *gate {
            return Err(Fault::Gate);
        }
        if !admit(index) {
            return Err(Fault::TooOften);
        }
        let prologue = self.keys.prologue(index, own, nonce);
        let noise = builder().local_private_key(self.keys.secret().bytes());
        let noise = noise.and_then(|builder| builder.prologue(&prologue));
        let mut noise = noise
            .and_then(Builder::build_responder)
            .expect("IK accepts with an own key");
        let read = noise.read_message(message_1, &mut []);
        read.map_err(|_| Fault::Handshake)?;
        // The gate named the authority; the handshake proves it.
        if noise.get_remote_static() != Some(&peer.public[..]) {
            return Err(Fault::Handshake);
        }
        write(&mut noise, REPLY_LEN, out);
        Session::new(index, noise)
    }

    fn on_greeting(
        &mut self,
        greeting: &[u8],
        peer: AuthorityIndex,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let (version, nonce) = (greeting[0], &greeting[1..]);
        if version != LINK_VERSION {
            return Err(Fault::Version);
        }
        let nonce: &[u8; NONCE_LEN] = nonce.try_into().expect("a greeting is version and nonce");
        let own = self.keys.own();
        let keys = self.keys.peer(peer).ok_or(Fault::Index)?;
        let prologue = self.keys.prologue(own, peer, nonce);
        let noise = builder().local_private_key(self.keys.secret().bytes());
        let noise = noise.and_then(|builder| builder.remote_public_key(&keys.public));
        let noise = noise.and_then(|builder| builder.prologue(&prologue));
        let mut noise = noise
            .and_then(Builder::build_initiator)
            .expect("IK connects with both keys");
        let mut message_1 = Vec::with_capacity(MESSAGE_1_LEN);
        write(&mut noise, MESSAGE_1_LEN, &mut message_1);
        out.extend_from_slice(&[LINK_VERSION, own.0]);
        out.extend_from_slice(gate_of(&keys.gate, nonce, &message_1).as_bytes());
        out.extend_from_slice(&message_1);
        let noise = Box::new(noise);
        self.step = Step::AwaitReply { peer, noise };
        Ok(())
    }
}

pub(crate) fn builder<'a>() -> Builder<'a> {
    let parameters: Result<NoiseParams, _> = PATTERN.parse();
    Builder::new(parameters.expect("snow is built with this pattern's parts"))
}

pub(crate) fn gate_of(key: &[u8; 32], nonce: &[u8; NONCE_LEN], message_1: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(nonce).update(message_1);
    hasher.finalize()
}

/// Appends the next handshake message, which is `len` long, without a payload.
fn write(noise: &mut HandshakeState, len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + len, 0);
    let written = noise.write_message(&[], &mut out[start..]);
    assert_eq!(
        written.ok(),
        Some(len),
        "the system gives random bytes, and the pattern fixes the length"
    );
}
