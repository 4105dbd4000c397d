//! A session that is up: bytes into records, records into bytes.
//!
//! Cost: one pass of ChaCha20-Poly1305 and one copy each way; sealing copies into the buffer that is sent, opening out of
//! the buffer that was received.

use fairlane_engine::types::AuthorityIndex;
use snow::{HandshakeState, TransportState};

use super::{Fault, RECORD_HEAD_LEN, RECORD_LEN_MAX, REKEY_RECORDS, TAG_LEN};

/// Bytes that one record carries at most.
pub const RECORD_PLAIN_LEN_MAX: usize = RECORD_LEN_MAX - TAG_LEN;

/// Both directions of one session.
#[derive(Debug)]
pub struct Session {
    peer: AuthorityIndex,
    pub(super) noise: TransportState,
    /// A record of which a part has come, with its length field; at most one (S3).
    assembly: Vec<u8>,
    /// What the last record opened to.
    plain: Box<[u8]>,
    /// A record did not open (S2).
    is_broken: bool,
}

impl Session {
    /// Of a handshake that is over. `peer` is who the session is with, or, with a settlement worker, the node.
    pub(crate) fn new(peer: AuthorityIndex, noise: HandshakeState) -> Result<Self, Fault> {
        Ok(Self {
            peer,
            noise: noise.into_transport_mode().map_err(|_| Fault::Handshake)?,
            assembly: Vec::with_capacity(RECORD_HEAD_LEN + RECORD_LEN_MAX),
            plain: vec![0; RECORD_PLAIN_LEN_MAX].into_boxed_slice(),
            is_broken: false,
        })
    }

    /// Who is at the other end, as the handshake proved.
    pub const fn peer(&self) -> AuthorityIndex {
        self.peer
    }

    /// Appends `bytes` to `out` as records; none as one empty record.
    pub fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        loop {
            let (part, after) = rest.split_at(rest.len().min(RECORD_PLAIN_LEN_MAX));
            self.seal_record(part, out);
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn seal_record(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let len = bytes.len() + TAG_LEN;
        let head = u16::try_from(len).expect("a record is at most RECORD_LEN_MAX");
        out.extend_from_slice(&head.to_be_bytes());
        let start = out.len();
        out.resize(start + len, 0);
        let written = self.noise.write_message(bytes, &mut out[start..]);
        assert_eq!(
            written.ok(),
            Some(len),
            "there is room, and 2^64 records are never sent"
        );
        if self.noise.sending_nonce().is_multiple_of(REKEY_RECORDS) {
            self.noise.rekey_outgoing();
        }
    }

    /// Takes the next whole record from `input` and gives what it carries; `None` when the rest of `input` is not one: it
    /// is kept for the next piece of the stream.
    ///
    /// # Errors
    /// The stream is broken, now and for ever.
    pub fn open(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, Fault> {
        if self.is_broken {
            return Err(Fault::Record);
        }
        let opened = self.open_next(input);
        self.is_broken = opened.is_err();
        Ok(opened?.map(|len| &self.plain[..len]))
    }

    /// As [`Self::open`]; gives how many bytes of `plain` it filled.
    fn open_next(&mut self, input: &mut &[u8]) -> Result<Option<usize>, Fault> {
        if self.assembly.is_empty() {
            // A record that came whole is opened where it lies.
            if let Some(len) = record_len(input)?
                && let Some((record, rest)) = input.split_at_checked(RECORD_HEAD_LEN + len)
            {
                *input = rest;
                let record = &record[RECORD_HEAD_LEN..];
                return open_record(&mut self.noise, record, &mut self.plain).map(Some);
            }
            keep(&mut self.assembly, input, input.len());
            return Ok(None);
        }
        let held = self.assembly.len();
        keep(
            &mut self.assembly,
            input,
            RECORD_HEAD_LEN.saturating_sub(held),
        );
        let Some(len) = record_len(&self.assembly)? else {
            return Ok(None);
        };
        let missing = RECORD_HEAD_LEN + len - self.assembly.len();
        keep(&mut self.assembly, input, missing);
        if self.assembly.len() < RECORD_HEAD_LEN + len {
            return Ok(None);
        }
        let record = &self.assembly[RECORD_HEAD_LEN..];
        let opened = open_record(&mut self.noise, record, &mut self.plain);
        self.assembly.clear();
        opened.map(Some)
    }

    /// Bytes held of a record that has not fully come.
    pub fn held_bytes(&self) -> usize {
        self.assembly.len()
    }
}

/// The length that a record's head claims, judged; `None` while the head is not there.
fn record_len(start: &[u8]) -> Result<Option<usize>, Fault> {
    let Some((head, _)) = start.split_first_chunk::<RECORD_HEAD_LEN>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes(*head));
    if (TAG_LEN..=RECORD_LEN_MAX).contains(&len) {
        Ok(Some(len))
    } else {
        Err(Fault::RecordLength)
    }
}

fn open_record(
    noise: &mut TransportState,
    record: &[u8],
    plain: &mut [u8],
) -> Result<usize, Fault> {
    let len = noise.read_message(record, plain);
    let len = len.map_err(|_| Fault::Record)?;
    if noise.receiving_nonce().is_multiple_of(REKEY_RECORDS) {
        noise.rekey_incoming();
    }
    Ok(len)
}

/// Moves up to `count` bytes from `input` to `assembly`.
fn keep(assembly: &mut Vec<u8>, input: &mut &[u8], count: usize) {
    let (kept, rest) = input.split_at(count.min(input.len()));
    assembly.extend_from_slice(kept);
    *input = rest;
}
