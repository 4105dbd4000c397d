//! Who is at the other end of a TCP connection: the node, or a worker that the node knows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use fairlane_engine::types::{AuthorityIndex, ChainId};
use zeroize::Zeroizing;

use super::super::SettleError;
use super::super::handshake::{Answer, Hello};
use super::{Cause, VERSION};
use crate::session::TAG_LEN;
use crate::session::handshake::{NONCE_LEN, builder, gate_of};
use crate::session::keys::{LINK_KEY_LEN, LinkSecret};
use crate::session::records::Session;

/// What a node tells workers by.
#[derive(Debug)]
pub struct WorkerKeys {
    chain_id: ChainId,
    own: AuthorityIndex,
    secret: LinkSecret,
    workers: Vec<WorkerKey>,
}

struct WorkerKey {
    public: [u8; LINK_KEY_LEN],
    gate: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkerKey")
    }
}

impl WorkerKeys {
    /// For the node `own`, whose link key is `secret`; `workers` are the public keys of those that may come.
    ///
    /// Errors, a sentence: a key that is none, or more keys than a node knows.
    pub fn new(
        chain_id: ChainId,
        own: AuthorityIndex,
        secret: LinkSecret,
        workers: &[[u8; LINK_KEY_LEN]],
    ) -> Result<Self, String> {
        if workers.len() > WORKER_KEYS_MAX {
            return Err(format!(
                "settle_workers names more than {WORKER_KEYS_MAX} keys"
            ));
        }
        let node = secret.public();
        let key = |public: &[u8; LINK_KEY_LEN]| {
            let gate = gate_key(chain_id, own, &secret, public, [&node, public]);
            let gate = gate.ok_or_else(|| "a key in settle_workers is no key".to_owned())?;
            Ok(WorkerKey {
                public: *public,
                gate,
            })
        };
        let workers = workers.iter().map(key).collect::<Result<_, String>>()?;
        Ok(Self {
            chain_id,
            own,
            secret,
            workers,
        })
    }

    /// Greets and hears who has connected; `judge` says what to answer. What it gives with Welcome is given back with the
    /// session.
    pub(super) fn accept<T>(
        &self,
        stream: &mut TcpStream,
        nonce: &[u8; NONCE_LEN],
        until: Instant,
        judge: impl FnOnce(&Hello) -> (Answer, Option<T>),
    ) -> Result<(Session, Hello, T), Cause> {
        let mut greeting = [VERSION; GREETING_LEN];
        greeting[1..].copy_from_slice(nonce);
        stream.write_all(&greeting).map_err(|_| Cause::Silent)?;
        let mut opening = [0; OPENING_LEN];
        read_exact_until(stream, &mut opening, until)?;
        if opening[0] != VERSION {
            return Err(Cause::Version);
        }
        let (gate, message_1) = opening[1..].split_at(GATE_LEN);
        // Compared in constant time.
        let of = |worker: &&WorkerKey| gate_of(&worker.gate, nonce, message_1) == *gate;
        let worker = self.workers.iter().find(of).ok_or(Cause::Gate)?;
        let prologue = prologue(self.chain_id, self.own, nonce);
        let noise = builder().local_private_key(self.secret.bytes());
        let noise = noise.and_then(|builder| builder.prologue(&prologue));
        let mut noise = noise
            .and_then(snow::Builder::build_responder)
            .expect("IK accepts with an own key");
        let mut hello = [0; HELLO_LEN];
        let read = noise.read_message(message_1, &mut hello);
        if read.ok() != Some(HELLO_LEN) || noise.get_remote_static() != Some(&worker.public[..]) {
            return Err(Cause::Broken);
        }
        let hello = Hello::decode(&hello).map_err(|_| Cause::Broken)?;
        let (answer, taken) = judge(&hello);
        let mut reply = [0; REPLY_LEN];
        let written = noise.write_message(&[answer as u8], &mut reply);
        assert_eq!(
            written.ok(),
            Some(REPLY_LEN),
            "the system gives random bytes, and the pattern fixes the length"
        );
        stream.write_all(&reply).map_err(|_| Cause::Silent)?;
        let taken = taken.filter(|_| answer == Answer::Welcome);
        let taken = taken.ok_or(Cause::Refused)?;
        let session = Session::new(self.own, noise).map_err(|_| Cause::Broken)?;
        Ok((session, hello, taken))
    }
}

/// What a worker knows of its node.
#[derive(Clone, Debug)]
pub struct NodeKey {
    /// Which authority it is.
    pub index: AuthorityIndex,
    /// Its link key, from the committee file.
    pub public: [u8; LINK_KEY_LEN],
    /// The worker's own key.
    pub own: LinkSecret,
}

impl NodeKey {
    /// Says hello to the node at the other end. Errors: it is not the node, refuses, or says nothing in time.
    pub(super) fn connect(
        &self,
        stream: &mut TcpStream,
        hello: &Hello,
        until: Instant,
    ) -> Result<Session, SettleError> {
        let silent = |_| SettleError::Handshake("the node says nothing, or hung up");
        let mut greeting = [0; GREETING_LEN];
        read_exact_until(stream, &mut greeting, until).map_err(silent)?;
        if greeting[0] != VERSION {
            return Err(SettleError::Handshake("the node is of another version"));
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&greeting[1..]);
        let prologue = prologue(hello.chain_id, self.index, &nonce);
        let own_public = self.own.public();
        let gate = gate_key(
            hello.chain_id,
            self.index,
            &self.own,
            &self.public,
            [&self.public, &own_public],
        );
        let gate = gate.ok_or(SettleError::Refused(
            "its key in the committee file is no key",
        ))?;
        let noise = builder().local_private_key(self.own.bytes());
        let noise = noise.and_then(|builder| builder.remote_public_key(&self.public));
        let noise = noise.and_then(|builder| builder.prologue(&prologue));
        let mut noise = noise
            .and_then(snow::Builder::build_initiator)
            .expect("IK connects with both keys");
        let mut opening = [VERSION; OPENING_LEN];
        let message_1 = &mut opening[1 + GATE_LEN..];
        let written = noise.write_message(&hello.encode(), message_1);
        assert_eq!(
            written.ok(),
            Some(MESSAGE_1_LEN),
            "the system gives random bytes, and the pattern fixes the length"
        );
        let gate = gate_of(&gate, &nonce, message_1);
        opening[1..1 + GATE_LEN].copy_from_slice(gate.as_bytes());
        let sent = stream.write_all(&opening);
        sent.map_err(|_| SettleError::Handshake("the node hung up"))?;
        let mut reply = [0; REPLY_LEN];
        // A node that does not know the key hangs up here.
        read_exact_until(stream, &mut reply, until).map_err(silent)?;
        let mut code = [0];
        let read = noise.read_message(&reply, &mut code);
        if read.ok() != Some(1) {
            return Err(SettleError::Handshake(
                "the node does not hold the key that the committee file has",
            ));
        }
        match Answer::from_code(code[0]) {
            Some(Answer::Welcome) => {}
            Some(answer) => return Err(answer.refusal()),
            None => {
                return Err(SettleError::Handshake(
                    "the node's answer is not understood",
                ));
            }
        }
        Session::new(self.index, noise)
            .map_err(|_| SettleError::Handshake("the node's answer is not understood"))
    }
}

/// Reads so many bytes. Errors: they are not there in time, or never will be.
fn read_exact_until(stream: &mut TcpStream, bytes: &mut [u8], until: Instant) -> Result<(), Cause> {
    let mut len = 0;
    while len < bytes.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err(Cause::Silent);
        }
        match stream.read(&mut bytes[len..]) {
            Ok(0) => return Err(Cause::Silent),
            Ok(read) => len += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Cause::Silent),
        }
    }
    Ok(())
}

/// The key of the gate between a node and a worker; none for a public key of small order.
fn gate_key(
    chain_id: ChainId,
    node: AuthorityIndex,
    secret: &LinkSecret,
    public: &[u8; LINK_KEY_LEN],
    both: [&[u8; LINK_KEY_LEN]; 2],
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.shared_with(public)?;
    let mut hasher = blake3::Hasher::new_derive_key(GATE_CONTEXT);
    hasher
        .update(&*shared)
        .update(&chain_id.0.to_be_bytes())
        .update(&[node.0])
        .update(both[0])
        .update(both[1]);
    Some(Zeroizing::new(hasher.finalize().into()))
}

fn prologue(chain_id: ChainId, node: AuthorityIndex, nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    [PROLOGUE_TAG, &chain_id.0.to_be_bytes(), &[node.0], nonce].concat()
}

/// Workers whose keys a node knows.
const WORKER_KEYS_MAX: usize = 32;
const HELLO_LEN: usize = super::super::handshake::HELLO_LEN;
const GREETING_LEN: usize = 1 + NONCE_LEN;
const GATE_LEN: usize = 32;
/// An ephemeral key, an encrypted key, the hello.
const MESSAGE_1_LEN: usize = 32 + (32 + TAG_LEN) + HELLO_LEN + TAG_LEN;
pub(super) const OPENING_LEN: usize = 1 + GATE_LEN + MESSAGE_1_LEN;
const REPLY_LEN: usize = 32 + 1 + TAG_LEN;
const PROLOGUE_TAG: &[u8] = b"fairlane/1/settle";
const GATE_CONTEXT: &str = "fairlane/1/settle-gate";
