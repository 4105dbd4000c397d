//! A node that does exactly what a test tells it, on a thread and a loopback port of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fairlane_client::protocol::{
    FollowTarget, Hello, KeyNotice, REQUEST_LEN_MAX, Request, Welcome, encode_key, encode_welcome,
    next_frame,
};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
use fairlane_engine::keyring::statement::{KeyStatement, sign_statement};
use fairlane_engine::seal::{SealingKey, deal};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, KeyId, RollupId, TimestampUs};

/// The chain, key and rollup that every test uses.
pub(crate) const CHAIN: ChainId = ChainId(7);
pub(crate) const ROLLUP: RollupId = RollupId(1);

/// The sealing key that every test begins with.
pub(crate) static KEY: LazyLock<SealingKey> = LazyLock::new(|| sealing_key(0, 9));

/// A key of [`committee`] with four authorities, for an epoch.
pub(crate) fn sealing_key(epoch: u32, seed: u8) -> SealingKey {
    deal(CHAIN, Epoch(epoch), 4, 3, &[seed; 32]).unwrap().0
}

pub(crate) fn key_id() -> KeyId {
    KEY.key_id()
}

/// How a committee of four renews its keys.
pub(crate) fn key_plan() -> KeyPlan {
    let public = |index| DecryptionKey::generate(&[index; 32]).public();
    KeyPlan {
        encryption_keys: (0..4).map(public).collect(),
        threshold: 3,
        window_anchors: 8,
        renew_us: Some(1),
    }
}

/// The signing key of authority `index`.
pub(crate) fn signing_key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

/// A committee of `n` authorities with keys by [`signing_key`].
pub(crate) fn committee(n: u8) -> Committee {
    let keys = (0..n).map(|index| signing_key(index).verifying_key());
    let rollup = Rollup {
        id: ROLLUP,
        policy: RollupPolicy::Either,
    };
    Committee::new(
        CHAIN,
        Epoch(0),
        TimestampUs(1),
        Parameters::default(),
        vec![rollup],
        keys.collect(),
    )
    .unwrap()
}

/// What authority `index` says first.
pub(crate) fn welcome(index: u8, key_id: KeyId) -> Welcome {
    Welcome {
        authority: AuthorityIndex(index),
        chain_id: CHAIN,
        epoch: Epoch(0),
        key_id,
    }
}

/// One connection as the node sees it.
pub(crate) struct Peer {
    /// How many connections came before this one.
    pub(crate) number: usize,
    stream: TcpStream,
    received: Vec<u8>,
}

/// A request that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Hello(Hello),
    Submit(u64, Vec<u8>),
    Follow(u64, FollowTarget),
}

impl Peer {
    /// The next request; `None` when the client is gone.
    pub(crate) fn request(&mut self) -> Option<Owned> {
        loop {
            if let Some((content, used)) = next_frame(&self.received, REQUEST_LEN_MAX).unwrap() {
                let owned = match Request::decode(content).unwrap() {
                    Request::Hello(hello) => Owned::Hello(hello),
                    Request::Submit { tag, envelope } => Owned::Submit(tag, envelope.to_vec()),
                    Request::Follow { name, target } => Owned::Follow(name, target),
                };
                self.received.drain(..used);
                return Some(owned);
            }
            self.read()?;
        }
    }

    /// Submissions that are here without waiting, at least one; empty when the client is gone.
    pub(crate) fn submissions(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let is_whole = next_frame(&self.received, REQUEST_LEN_MAX)
                .unwrap()
                .is_some();
            if !is_whole && !all.is_empty() {
                return all;
            }
            match self.request() {
                Some(Owned::Submit(tag, bytes)) => all.push((tag, bytes)),
                Some(Owned::Hello(_) | Owned::Follow(..)) => panic!("a submission was expected"),
                None => return all,
            }
        }
    }

    /// Takes the hello and answers with a welcome by authority `index`.
    pub(crate) fn greet(&mut self, index: u8, key_id: KeyId) -> Hello {
        let Some(Owned::Hello(hello)) = self.request() else {
            panic!("the first frame is a hello")
        };
        self.send(|out| encode_welcome(out, &welcome(index, key_id)));
        hello
    }

    /// Says, as authority `index`, that the committee has made `key`, at consensus time 5.
    pub(crate) fn vouch(&mut self, index: u8, key: &SealingKey) {
        let (since, key) = (TimestampUs(5), key.clone());
        let statement = KeyStatement { since, key }.encode();
        let signature = sign_statement(&statement, &signing_key(index)).to_bytes();
        let notice = KeyNotice {
            signature: &signature,
            statement: &statement,
        };
        self.send(|out| encode_key(out, &notice));
    }

    /// Sends what `encode` appends; a client that is gone is no fault of the test's.
    pub(crate) fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        encode(&mut out);
        let _ = self.stream.write_all(&out);
    }

    /// Waits until the client closes.
    pub(crate) fn wait_for_close(&mut self) {
        while self.read().is_some() {}
    }

    fn read(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => None,
            Ok(len) => {
                self.received.extend_from_slice(&buffer[..len]);
                Some(())
            }
        }
    }
}

/// The node; dropping it ends its thread once the script returns.
pub(crate) struct FakeNode {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeNode {
    /// Serves one connection after the other with `script`.
    pub(crate) fn start(script: impl FnMut(&mut Peer) + Send + 'static) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// As [`FakeNode::start`], on a listener that the test made.
    pub(crate) fn start_at(
        listener: TcpListener,
        mut script: impl FnMut(&mut Peer) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                let (stream, _) = listener.accept().unwrap();
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                // A test that goes wrong ends instead of hanging.
                stream
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
                stream.set_nodelay(true).unwrap();
                let received = Vec::new();
                script(&mut Peer {
                    number,
                    stream,
                    received,
                });
            }
        });
        Self {
            address,
            is_over,
            thread: Some(thread),
        }
    }
}

impl FakeNode {
    /// As [`FakeNode::start`], each connection on a thread of its own.
    pub(crate) fn start_many(script: impl Fn(&mut Peer) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut served = Vec::new();
            for number in 0.. {
                let (stream, _) = listener.accept().unwrap();
                if flag.load(Ordering::SeqCst) {
                    break;
                }
                let time = Some(Duration::from_secs(20));
                stream.set_read_timeout(time).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut peer = Peer {
                    number,
                    stream,
                    received: Vec::new(),
                };
                let script = script.clone();
                served.push(std::thread::spawn(move || script(&mut peer)));
            }
            for thread in served {
                thread.join().expect("the script holds");
            }
        });
        Self {
            address,
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the fake node's script failed");
        }
    }
}
