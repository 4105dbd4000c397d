//! The client: messages made once, their tags and payloads counted up, sent as fast as they are taken.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fairlane_client::protocol::{
    AckCode, DatagramNotice, Hello, NOTICE_LEN_MAX, Notice, encode_datagram_hello,
    encode_datagram_submit, encode_hello, encode_submit, next_frame,
};
use fairlane_engine::seal::{LabelFields, SealingKey, open_envelope};
use fairlane_engine::types::{ChainId, RollupId, TimestampUs};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recv, sendmmsg, sendmsg,
};

use super::{ENVELOPE_LEN, Transport};

/// Envelopes that a client has unanswered at most.
pub(super) const WINDOW: u64 = 4096;

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Envelopes.
    pub(super) count: u64,
    /// From the first until the last was answered, or towards a bare loop sent.
    pub(super) elapsed: Duration,
    /// When it began.
    pub(super) began: Instant,
}

/// One envelope, and whom it is for.
pub(super) struct Messages {
    chain_id: ChainId,
    envelope: Vec<u8>,
}

impl Messages {
    /// Of an open envelope that is valid `until`. Errors: it cannot be made.
    pub(super) fn new(
        key: &SealingKey,
        rollup: RollupId,
        until: TimestampUs,
    ) -> anyhow::Result<Self> {
        let fields = LabelFields {
            rollup,
            valid_until: until,
            sender_tag: [0; 16],
            padded_len: None,
        };
        let envelope = open_envelope(key, &fields, &[0x5a; ENVELOPE_LEN - LABEL_LEN])?;
        ensure!(envelope.len() == ENVELOPE_LEN, "the label's length changed");
        let chain_id = key.chain_id();
        Ok(Self { chain_id, envelope })
    }

    /// Its bytes.
    pub(super) fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    const fn hello(&self) -> Hello {
        Hello {
            chain_id: self.chain_id,
            receipts: false,
            ordered: false,
            settled: false,
            keys: false,
        }
    }
}

/// `count` messages, one behind the other.
struct Batch {
    bytes: Vec<u8>,
    message_len: usize,
    next: u64,
}

impl Batch {
    fn new(message: &[u8], count: usize) -> Self {
        Self {
            bytes: message.repeat(count),
            message_len: message.len(),
            next: 1,
        }
    }

    /// Gives every message a tag and a payload of its own; an envelope stands at the end of its message, behind the tag.
    fn renew(&mut self) {
        for message in self.bytes.chunks_exact_mut(self.message_len) {
            let envelope_at = message.len() - ENVELOPE_LEN;
            let next = self.next.to_be_bytes();
            message[envelope_at - 8..envelope_at].copy_from_slice(&next);
            message[envelope_at + LABEL_LEN..][..8].copy_from_slice(&next);
            self.next += 1;
        }
    }
}

/// Sends over TCP for `time`, `batch` messages a write. Without answers: to a bare loop, which sees the end of the stream.
pub(super) fn tcp(
    to: SocketAddr,
    messages: Messages,
    batch: usize,
    is_answered: bool,
    time: Duration,
) -> anyhow::Result<Sent> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut answers = Answers::default();
    if is_answered {
        let mut hello = Vec::new();
        encode_hello(&mut hello, &messages.hello());
        stream.write_all(&hello)?;
        while !answers.is_welcomed {
            answers.read(&mut stream)?;
        }
    }
    let mut message = Vec::new();
    encode_submit(&mut message, 0, &messages.envelope)?;
    let mut batch_bytes = Batch::new(&message, batch);
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < time {
        batch_bytes.renew();
        stream.write_all(&batch_bytes.bytes)?;
        count += batch as u64;
        while is_answered && count - answers.count + batch as u64 > WINDOW {
            answers.read(&mut stream)?;
        }
    }
    while is_answered && answers.count < count {
        answers.read(&mut stream)?;
    }
    let elapsed = began.elapsed();
    if !is_answered {
        stream.shutdown(Shutdown::Write)?;
    }
    Ok(Sent {
        count,
        elapsed,
        began,
    })
}

/// What a node has answered.
#[derive(Default)]
struct Answers {
    is_welcomed: bool,
    count: u64,
    refused: u64,
    unread: Vec<u8>,
}

impl Answers {
    /// Waits for some.
    fn read(&mut self, stream: &mut TcpStream) -> anyhow::Result<()> {
        let mut bytes = [0; 64 << 10];
        let len = stream
            .read(&mut bytes)
            .context("the node does not answer")?;
        ensure!(len > 0, "the node closed the connection");
        self.unread.extend_from_slice(&bytes[..len]);
        let mut at = 0;
        let unread = std::mem::take(&mut self.unread);
        while let Some((content, len)) = next_frame(&unread[at..], NOTICE_LEN_MAX)? {
            self.take(Notice::decode(content)?)?;
            at += len;
        }
        self.unread = unread;
        self.unread.drain(..at);
        Ok(())
    }

    fn take(&mut self, notice: Notice<'_>) -> anyhow::Result<()> {
        match notice {
            Notice::Welcome(_) => self.is_welcomed = true,
            Notice::Acks(acks) => {
                for ack in acks.iter() {
                    self.count += 1;
                    self.refused += u64::from(ack.code != AckCode::Accepted);
                }
            }
            Notice::Goodbye { text, .. } => bail!("the node said goodbye: {text}"),
            _ => {}
        }
        Ok(())
    }
}

/// Sends over UDP for `time`, many datagrams a system call. Without answers: to a bare loop.
pub(super) fn udp(
    to: SocketAddr,
    messages: Messages,
    transport: Transport,
    is_answered: bool,
    time: Duration,
) -> anyhow::Result<Sent> {
    let batch = transport.batch();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let token = match is_answered {
        true => introduce(&socket, messages.hello())?,
        false => 0,
    };
    let mut message = Vec::new();
    encode_datagram_submit(&mut message, token, 0, &messages.envelope)?;
    let mut datagrams = Batch::new(&message, batch);
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(batch, None);
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let (mut answers, mut given_up) = (Answers::default(), 0);
    let began = Instant::now();
    let (mut count, mut last_answer) = (0, began);
    while began.elapsed() < time {
        datagrams.renew();
        count += match transport {
            Transport::UdpTrains => send_train(&socket, &datagrams)?,
            _ => send(&socket, &datagrams, &mut headers)?,
        };
        // What was given up may be answered all the same.
        while is_answered && count.saturating_sub(answers.count + given_up) + batch as u64 > WINDOW
        {
            match receive(&socket, &mut answers)? {
                true => last_answer = Instant::now(),
                // The kernel had no room for what is not answered now.
                false => given_up = count - answers.count,
            }
        }
    }
    while is_answered && answers.count + given_up < count && receive(&socket, &mut answers)? {
        last_answer = Instant::now();
    }
    let elapsed = match is_answered {
        true => last_answer - began,
        false => began.elapsed(),
    };
    Ok(Sent {
        count,
        elapsed,
        began,
    })
}

/// Says hello, and again with the token that the node gives.
fn introduce(socket: &UdpSocket, hello: Hello) -> anyhow::Result<u64> {
    let mut out = Vec::new();
    encode_datagram_hello(&mut out, &hello, NONCE, 0);
    socket.send(&out)?;
    let mut bytes = [0; 2048];
    let len = socket
        .recv(&mut bytes)
        .context("the node does not answer")?;
    let DatagramNotice::Token { token, .. } = DatagramNotice::decode(&bytes[..len])? else {
        bail!("the node gave no token");
    };
    encode_datagram_hello(&mut out, &hello, NONCE, token);
    socket.send(&out)?;
    socket
        .recv(&mut bytes)
        .context("the node does not answer")?;
    Ok(token)
}

fn send(
    socket: &UdpSocket,
    batch: &Batch,
    headers: &mut MultiHeaders<SockaddrIn>,
) -> anyhow::Result<u64> {
    let messages = batch.bytes.chunks_exact(batch.message_len);
    let slices: Vec<[IoSlice<'_>; 1]> = messages.map(|bytes| [IoSlice::new(bytes)]).collect();
    let nobody = vec![None; slices.len()];
    let control: [ControlMessage<'_>; 0] = [];
    let flags = MsgFlags::empty();
    match sendmmsg(socket.as_raw_fd(), headers, &slices, nobody, control, flags) {
        Ok(results) => Ok(results.count() as u64),
        Err(Errno::EINTR) => Ok(0),
        Err(errno) => Err(errno).context("cannot send"),
    }
}

fn send_train(socket: &UdpSocket, batch: &Batch) -> anyhow::Result<u64> {
    let slices = [IoSlice::new(&batch.bytes)];
    let segment_len = batch.message_len as u16;
    let control = [ControlMessage::UdpGsoSegments(&segment_len)];
    let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
    let sent = sendmsg::<SockaddrIn>(fd, &slices, &control, flags, None);
    Ok((sent.context("cannot send")? / batch.message_len) as u64)
}

/// Waits for a datagram, and takes what has come with it; false when none comes.
fn receive(socket: &UdpSocket, answers: &mut Answers) -> anyhow::Result<bool> {
    let mut bytes = [0; 2048];
    let mut flags = MsgFlags::empty();
    for received in 0..WINDOW {
        let len = match recv(socket.as_raw_fd(), &mut bytes, flags) {
            Ok(len) => len,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(received > 0),
            Err(errno) => return Err(errno).context("cannot receive"),
        };
        if let DatagramNotice::Notices { frames, .. } = DatagramNotice::decode(&bytes[..len])? {
            for content in DatagramNotice::frames(frames) {
                answers.take(Notice::decode(content)?)?;
            }
        }
        flags = MsgFlags::MSG_DONTWAIT;
    }
    Ok(true)
}

const LABEL_LEN: usize = 64;
const NONCE: u64 = 7;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Over UDP what is not answered for so long was lost.
const LOST_AFTER: Duration = Duration::from_millis(20);
