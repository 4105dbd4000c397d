//! What attackers do over UDP: rubbish, tokens that nobody gave, others' tokens from another address, and too long ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use fairlane_client::protocol::{
    DATAGRAM_LEN_MAX, DatagramNotice, Hello, encode_datagram_hello, encode_datagram_submit,
};

use crate::attack::chance::Chance;

/// A way to misbehave over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatagramWay {
    /// Hellos and submissions with bits turned round, or cut off, and bytes drawn at random.
    Fuzzed,
    /// Submissions with tokens that no node gave.
    WrongTokens,
    /// A submission with a token that a node gave to another address, and again from that one.
    Replays,
    /// Longer than any datagram of the protocol.
    Oversize,
}

impl DatagramWay {
    pub(super) const ALL: [Self; 4] = [
        Self::Fuzzed,
        Self::WrongTokens,
        Self::Replays,
        Self::Oversize,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fuzzed => "fuzzed datagrams",
            Self::WrongTokens => "datagrams with tokens of one's own making",
            Self::Replays => "datagrams replayed from other addresses",
            Self::Oversize => "datagrams that are too long",
        }
    }
}

/// One way, again and again, at every node.
pub(super) struct DatagramAttacker {
    way: DatagramWay,
    chance: Chance,
    nodes: Vec<SocketAddr>,
    hello: Hello,
    envelope: Vec<u8>,
    /// At this host's usual address, and at another one of its loopback network.
    sockets: Vec<UdpSocket>,
    /// What each node gave to the first socket; 0: nothing yet.
    tokens: Vec<u64>,
    nonce: u64,
}

impl DatagramAttacker {
    /// Errors: no socket.
    pub(super) fn new(
        way: DatagramWay,
        seed: u64,
        nodes: &[SocketAddr],
        hello: Hello,
        envelope: Vec<u8>,
    ) -> std::io::Result<Self> {
        let addresses = [Ipv4Addr::LOCALHOST, ANOTHER];
        let sockets: Result<Vec<UdpSocket>, _> = addresses
            .into_iter()
            .map(|ip| UdpSocket::bind((IpAddr::V4(ip), 0)))
            .collect();
        let sockets = sockets?;
        sockets[0].set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut chance = Chance::new(seed, way.name());
        Ok(Self {
            nonce: chance.next(),
            way,
            chance,
            nodes: nodes.to_vec(),
            hello,
            envelope,
            sockets,
            tokens: vec![0; nodes.len()],
        })
    }

    /// Whatever comes of it: a node that does not answer is what it should be.
    pub(super) fn act(&mut self) {
        let node = self.chance.below(self.nodes.len());
        let to = self.nodes[node];
        let mut bytes = Vec::new();
        let mut socket = 0;
        match self.way {
            DatagramWay::Fuzzed => {
                let token = self.chance.next();
                match self.chance.below(3) {
                    0 => encode_datagram_hello(&mut bytes, &self.hello, self.nonce, token),
                    1 => self.submission(&mut bytes, token),
                    _ => {
                        let len = self.chance.below(DATAGRAM_LEN_MAX);
                        bytes.extend((0..len).map(|_| self.chance.next() as u8));
                    }
                }
                for _ in 0..=self.chance.below(4) {
                    if !bytes.is_empty() {
                        let at = self.chance.below(bytes.len());
                        bytes[at] ^= 1 << self.chance.below(8);
                    }
                }
                bytes.truncate(1 + self.chance.below(2 * DATAGRAM_LEN_MAX));
            }
            DatagramWay::WrongTokens => {
                let token = self.chance.next();
                self.submission(&mut bytes, token);
            }
            DatagramWay::Replays => {
                if self.tokens[node] == 0 {
                    self.tokens[node] = self.introduce(to).unwrap_or(0);
                }
                self.submission(&mut bytes, self.tokens[node]);
                socket = self.chance.below(2);
            }
            DatagramWay::Oversize => {
                let len = DATAGRAM_LEN_MAX + 1 + self.chance.below(OVERSIZE_MOST);
                self.submission(&mut bytes, 1);
                bytes.resize(len, 7);
            }
        }
        let _ = self.sockets[socket].send_to(&bytes, to);
    }

    fn submission(&self, out: &mut Vec<u8>, token: u64) {
        let fits = encode_datagram_submit(out, token, 1, &self.envelope);
        fits.expect("a short envelope fits a datagram");
    }

    /// Asks for a token as an honest client would, and shows it.
    fn introduce(&self, to: SocketAddr) -> Option<u64> {
        let (socket, mut bytes) = (&self.sockets[0], Vec::new());
        encode_datagram_hello(&mut bytes, &self.hello, self.nonce, 0);
        socket.send_to(&bytes, to).ok()?;
        let mut answer = [0; 2048];
        for _ in 0..ANSWERS_MOST {
            let (len, from) = socket.recv_from(&mut answer).ok()?;
            if from == to
                && let Ok(DatagramNotice::Token { token, .. }) =
                    DatagramNotice::decode(&answer[..len])
            {
                encode_datagram_hello(&mut bytes, &self.hello, self.nonce, token);
                socket.send_to(&bytes, to).ok()?;
                return Some(token);
            }
        }
        None
    }
}

/// The whole of 127.0.0.0/8 is this host's.
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// Datagrams looked through for a token: notices of earlier submissions come, too.
const ANSWERS_MOST: usize = 256;
/// Bytes beyond the longest datagram.
const OVERSIZE_MOST: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;
    use fairlane_client::protocol::{DatagramRequest, encode_datagram_token};
    use fairlane_engine::types::ChainId;

    fn hello() -> Hello {
        Hello {
            chain_id: ChainId(1),
            receipts: false,
            ordered: false,
            settled: false,
            keys: false,
        }
    }

    /// What arrives at a node within so many acts; hellos are answered with a token.
    fn sent(way: DatagramWay, acts: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let node = UdpSocket::bind("127.0.0.1:0").unwrap();
        node.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let at = node.local_addr().unwrap();
        let mut attacker = DatagramAttacker::new(way, 7, &[at], hello(), vec![9; 400]).unwrap();
        let acting = std::thread::spawn(move || (0..acts).for_each(|_| attacker.act()));
        let mut got = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        while let Ok((len, from)) = node.recv_from(&mut bytes) {
            let bytes = bytes[..len].to_vec();
            if let Ok(DatagramRequest::Hello {
                nonce, token: 0, ..
            }) = DatagramRequest::decode(&bytes)
            {
                let mut answer = Vec::new();
                encode_datagram_token(&mut answer, nonce, 77);
                node.send_to(&answer, from).unwrap();
            }
            got.push((from, bytes));
        }
        acting.join().unwrap();
        got
    }

    #[test]
    fn each_way_is_what_its_name_says() {
        let tokens = |sent: &[(SocketAddr, Vec<u8>)]| -> Vec<(SocketAddr, u64)> {
            let submits =
                sent.iter()
                    .filter_map(|(from, bytes)| match DatagramRequest::decode(bytes) {
                        Ok(DatagramRequest::Submit { token, .. }) => Some((*from, token)),
                        _ => None,
                    });
            submits.collect()
        };
        let replays = tokens(&sent(DatagramWay::Replays, 40));
        assert!(replays.iter().all(|(_, token)| *token == 77));
        let other = replays.iter().filter(|(from, _)| from.ip() == ANOTHER);
        assert!((5..35).contains(&other.count()), "{replays:?}");
        let wrong = tokens(&sent(DatagramWay::WrongTokens, 20));
        assert_eq!(wrong.len(), 20);
        let oversize = sent(DatagramWay::Oversize, 20);
        assert!(
            oversize
                .iter()
                .all(|(_, bytes)| bytes.len() > DATAGRAM_LEN_MAX)
        );
        let fuzzed = sent(DatagramWay::Fuzzed, 60);
        let bad = fuzzed
            .iter()
            .filter(|(_, bytes)| DatagramRequest::decode(bytes).is_err());
        assert!(bad.count() > 20, "{}", fuzzed.len());
    }
}
