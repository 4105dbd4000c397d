//! The worker's side of a TCP connection: frames out of records.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::time::Instant;

use rkyv::util::AlignedVec;
use rustix::net::{RecvFlags, recv};

use super::super::feed::wait_for;
use super::super::handshake::Hello;
use super::super::{RemoteNode, SettleError};
use super::{
    ALIVE_EVERY, FRAME_HEAD_LEN, HANDSHAKE_TIME_MAX, KIND_ALIVE, KIND_BATCH, KIND_CERTIFICATE,
    SILENCE_TIME_MAX, WRITE_TIME_MAX,
};
use crate::ring::{RecordKind, RingRecord};
use crate::session::records::Session;
use crate::settle::reader::ARCHIVE_LEN_MAX;

/// A node on another machine.
pub(in crate::settle) struct RemoteFeed {
    stream: TcpStream,
    session: Session,
    /// Bytes of the socket that are not opened yet: `input[input_at..]`.
    input: Vec<u8>,
    input_at: usize,
    head: Option<Head>,
    /// What has come of the frame, at an aligned address: archives are read in place.
    body: AlignedVec<16>,
    /// The frame was handed out.
    is_given: bool,
    out: Vec<u8>,
    final_count: u64,
    said_at: Instant,
    heard_at: Instant,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u8,
    seq: u64,
    len: usize,
}

impl RemoteFeed {
    /// Connects, and has itself fed from the hello's count on. Errors: the node is not there, is another, or refuses.
    pub(in crate::settle) fn connect(
        node: &RemoteNode,
        hello: &Hello,
    ) -> Result<Self, SettleError> {
        let address = node.address;
        let failed = |what| {
            move |source| SettleError::Node {
                what,
                address,
                source,
            }
        };
        let stream = TcpStream::connect_timeout(&address, HANDSHAKE_TIME_MAX);
        let mut stream = stream.map_err(failed("connecting to"))?;
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(WRITE_TIME_MAX)));
        prepared.map_err(failed("preparing"))?;
        let until = Instant::now() + HANDSHAKE_TIME_MAX;
        let session = node.key.connect(&mut stream, hello, until)?;
        let now = Instant::now();
        Ok(Self {
            stream,
            session,
            input: Vec::new(),
            input_at: 0,
            head: None,
            body: AlignedVec::new(),
            is_given: false,
            out: Vec::new(),
            final_count: 0,
            said_at: now,
            heard_at: now,
            is_over: false,
        })
    }

    /// As of a ring; a record stays valid until the next call.
    pub(in crate::settle) fn try_next(&mut self) -> Result<Option<RingRecord<'_>>, SettleError> {
        if std::mem::take(&mut self.is_given) {
            self.head = None;
            self.body.clear();
        }
        while !self.is_whole() {
            if !self.take_record()? {
                return Ok(None);
            }
            if self.head.is_some_and(|head| head.kind == KIND_ALIVE) {
                self.head = None;
            }
        }
        let Some(Head { kind, seq, .. }) = self.head else {
            return Ok(None);
        };
        self.is_given = true;
        let kind = match kind {
            KIND_CERTIFICATE => RecordKind::Certificate,
            _ => RecordKind::Batch,
        };
        let bytes = &self.body[..];
        Ok(Some(RingRecord { seq, kind, bytes }))
    }

    fn is_whole(&self) -> bool {
        self.head.is_some_and(|head| head.len == self.body.len())
    }

    /// Opens one more record; false while none has wholly come.
    fn take_record(&mut self) -> Result<bool, SettleError> {
        loop {
            let mut input = &self.input[self.input_at..];
            let before = input.len();
            let opened = self.session.open(&mut input);
            let opened = opened.map_err(|_| SettleError::Handshake("the session is broken"))?;
            self.input_at += before - input.len();
            if let Some(plain) = opened {
                match &self.head {
                    None => self.head = Some(read_head(plain)?),
                    Some(head) if self.body.len() + plain.len() <= head.len => {
                        self.body.extend_from_slice(plain);
                    }
                    Some(_) => return Err(SettleError::Handshake(FRAME_WRONG)),
                }
                self.heard_at = Instant::now();
                return Ok(true);
            }
            if !self.receive() {
                return Ok(false);
            }
        }
    }

    /// Receives what is there; false when nothing is, or nothing will be any more.
    fn receive(&mut self) -> bool {
        self.input.resize(INPUT_LEN, 0);
        self.input_at = 0;
        let received = recv(&self.stream, &mut self.input[..], RecvFlags::DONTWAIT);
        let len = match received {
            Ok((_, len)) => {
                self.is_over |= len == 0;
                len
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
            Err(_) => {
                self.is_over = true;
                0
            }
        };
        self.input.truncate(len);
        len > 0
    }

    /// Says what is final.
    pub(in crate::settle) fn say(&mut self, final_count: u64) -> Result<(), SettleError> {
        self.final_count = final_count;
        self.out.clear();
        self.session.seal(&final_count.to_be_bytes(), &mut self.out);
        // A node that is gone is noticed where it is read from, behind what it has sent.
        self.is_over |= self.stream.write_all(&self.out).is_err();
        self.said_at = Instant::now();
        Ok(())
    }

    pub(in crate::settle) fn has_hung_up(&self) -> bool {
        self.is_over
    }

    /// Waits for bytes, and now and then says that the worker is there.
    pub(in crate::settle) fn wait(&mut self) -> Result<(), SettleError> {
        if self.said_at.elapsed() >= ALIVE_EVERY {
            self.say(self.final_count)?;
        }
        if self.heard_at.elapsed() > SILENCE_TIME_MAX {
            self.is_over = true;
        }
        let fd = self.stream.as_fd();
        wait_for(&[fd, fd])
            .map_err(|_| SettleError::Handshake("the connection cannot be waited on"))
    }
}

/// A frame's head. Errors: of no frame of this version, or longer than any batch.
fn read_head(plain: &[u8]) -> Result<Head, SettleError> {
    let plain: &[u8; FRAME_HEAD_LEN] = plain
        .try_into()
        .map_err(|_| SettleError::Handshake(FRAME_WRONG))?;
    let (mut seq, mut len) = ([0; 8], [0; 4]);
    seq.copy_from_slice(&plain[1..9]);
    len.copy_from_slice(&plain[9..]);
    let head = Head {
        kind: plain[0],
        seq: u64::from_be_bytes(seq),
        len: u32::from_be_bytes(len) as usize,
    };
    let is_known = matches!(head.kind, KIND_ALIVE | KIND_BATCH | KIND_CERTIFICATE);
    let has_bytes = (head.kind == KIND_ALIVE) == (head.len == 0);
    if !is_known || !has_bytes || head.len > ARCHIVE_LEN_MAX {
        return Err(SettleError::Handshake(FRAME_WRONG));
    }
    Ok(head)
}

const FRAME_WRONG: &str = "the node sent what this version does not know";
const INPUT_LEN: usize = 64 << 10;
