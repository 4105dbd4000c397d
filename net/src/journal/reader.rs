//! Reading a journal: every record in order, up to a torn tail; a corrupt middle is an error.

use std::io::Read;
use std::path::{Path, PathBuf};

use fairlane_engine::types::Epoch;

use super::record::{
    HEADER_FRAME_LEN, Kind, Parsed, SegmentHeader, durable_claim_max, frame_len, parse, written_len,
};
use super::segment::{segment_indices, segment_path};
use super::snapshot::ReadSegment;
use super::stop_mark::StopMark;
use super::{JournalError, JournalIdentity};

/// One record, as it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRecord<'a> {
    /// Its number, from 0 over the life of the journal.
    pub number: u64,
    /// What it holds.
    pub kind: Kind,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// Its bytes.
    pub body: &'a [u8],
}

/// Where the whole records end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// How many records there are.
    pub records: u64,
    /// The tail behind them that a crash tore, if one did.
    pub torn: Option<Torn>,
    /// The last segment and how many of its bytes hold whole records; none in an empty folder.
    pub(super) last: Option<(u64, u64)>,
}

/// A tail that never became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub path: PathBuf,
    /// Where it begins, bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Reads the records of a folder, a segment at a time in memory.
///
/// May read while the journal is being written: it then ends where the whole records ended when it came there.
#[derive(Debug)]
pub struct JournalReader {
    folder: PathBuf,
    /// Indices of the segments that are not read yet, descending.
    ahead: Vec<u64>,
    current: Option<Segment>,
    /// Whose it must be, where that matters.
    expected: Option<JournalIdentity>,
    identity: Option<JournalIdentity>,
    records: u64,
    /// How far the journal goes at least, where it was stopped cleanly.
    mark: Option<StopMark>,
    /// The last segment, where it was read already.
    given: Option<ReadSegment>,
    end: Option<JournalEnd>,
    /// Segment and offset of the flaw for which the segment was read a second time.
    looked_again: Option<(u64, usize)>,
}

#[derive(Debug)]
struct Segment {
    index: u64,
    path: PathBuf,
    bytes: Vec<u8>,
    at: usize,
    /// Where the record before `at` begins.
    last: usize,
    /// None when the segment has no header.
    salt: Option<u64>,
}

impl JournalReader {
    /// Opens the journal in `folder`; an empty or missing folder holds no records.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        // Before the segments are listed: who starts the journal meanwhile takes the mark away, and only adds to them.
        let mark = StopMark::read(folder)?;
        let mut ahead = segment_indices(folder)?;
        if let Some(gap) = ahead.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
            let path = segment_path(folder, gap[0] + 1);
            return Err(JournalError::Corrupt {
                path,
                offset: 0,
                reason: "the segment is missing",
            });
        }
        ahead.reverse();
        Ok(Self {
            folder: folder.to_path_buf(),
            ahead,
            current: None,
            expected: None,
            identity: None,
            records: 0,
            mark,
            given: None,
            end: None,
            looked_again: None,
        })
    }

    /// As [`JournalReader::open`]; a journal of anybody else's is refused when its first segment is read.
    pub fn open_own(folder: &Path, identity: JournalIdentity) -> Result<Self, JournalError> {
        let mut reader = Self::open(folder)?;
        reader.expected = Some(identity);
        Ok(reader)
    }

    /// A segment that was read already and has not changed since need not be read again.
    pub(super) fn give(&mut self, segment: Option<ReadSegment>) {
        self.given = segment;
    }

    /// Goes on at the record with this number, before anything is read: segments before it are not looked at.
    ///
    /// Errors: a segment cannot be read, or what [`try_next`](Self::try_next) says of those that are.
    pub(crate) fn seek(&mut self, number: u64) -> Result<(), JournalError> {
        let mut at = None;
        for (place, index) in self.ahead.iter().enumerate() {
            let header = read_header(&segment_path(&self.folder, *index))?;
            if header.is_some_and(|header| header.first_record <= number) {
                at = Some(place);
                break;
            }
        }
        if let Some(at) = at {
            self.ahead.truncate(at + 1);
        }
        self.open_segment()?;
        while self.records < number && self.try_next()?.is_some() {}
        Ok(())
    }

    /// The next record; none at the end, which [`end`](Self::end) then tells.
    ///
    /// Errors: a record is damaged that was durable, a segment is missing or foreign, or it cannot be read.
    pub fn try_next(&mut self) -> Result<Option<JournalRecord<'_>>, JournalError> {
        let Some((kind, epoch, body)) = self.find_next()? else {
            return Ok(None);
        };
        self.records += 1;
        let bytes = self
            .current
            .as_ref()
            .map_or(&[][..], |segment| &segment.bytes[body]);
        Ok(Some(JournalRecord {
            number: self.records - 1,
            kind,
            epoch,
            body: bytes,
        }))
    }

    /// Reads to the end and tells it.
    pub fn into_end(mut self) -> Result<JournalEnd, JournalError> {
        loop {
            if let Some(end) = self.end.take() {
                return Ok(end);
            }
            self.try_next()?;
        }
    }

    /// The end, once [`try_next`](Self::try_next) has given none.
    pub const fn end(&self) -> Option<&JournalEnd> {
        self.end.as_ref()
    }

    /// Where the record that was read last begins: segment and offset in bytes. None before the first.
    pub fn place(&self) -> Option<(&Path, u64)> {
        let segment = self.current.as_ref()?;
        Some((&segment.path, segment.last as u64))
    }

    /// Whose journal it is, once the first segment's header has been read.
    pub const fn identity(&self) -> Option<JournalIdentity> {
        self.identity
    }

    /// The kind, epoch and place in the current segment of the next record that is not the journal's own.
    fn find_next(&mut self) -> Result<Option<(Kind, Epoch, std::ops::Range<usize>)>, JournalError> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            let Some(segment) = self.current.as_mut() else {
                self.open_segment()?;
                continue;
            };
            match parse(&segment.bytes[segment.at..]) {
                Parsed::Frame { kind, epoch, body } => {
                    let end = segment.at + frame_len(body.len());
                    let body = end - body.len()..end;
                    segment.last = segment.at;
                    segment.at = end;
                    match kind {
                        Kind::Durable => {}
                        Kind::Header => return Err(segment.corrupt("a header in the middle")),
                        kind => return Ok(Some((kind, epoch, body))),
                    }
                }
                Parsed::End => self.end_segment(None)?,
                Parsed::Bad(reason) => self.end_segment(Some(reason))?,
                Parsed::Unknown(code) => {
                    return Err(JournalError::UnknownKind {
                        path: segment.path.clone(),
                        offset: segment.at as u64,
                        code,
                    });
                }
            }
        }
    }

    /// Reads the next segment and its header, or ends the journal.
    fn open_segment(&mut self) -> Result<(), JournalError> {
        let Some(index) = self.ahead.pop() else {
            return self.finish(JournalEnd {
                records: self.records,
                torn: None,
                last: None,
            });
        };
        let path = segment_path(&self.folder, index);
        let bytes = match self.given.take_if(|(given, _)| *given == index) {
            Some((_, bytes)) => bytes,
            None => read_segment(&path)?,
        };
        let mut segment = Segment {
            index,
            path,
            bytes,
            at: 0,
            last: 0,
            salt: None,
        };
        let (header, len) = match parse(&segment.bytes) {
            Parsed::Frame {
                kind: Kind::Header,
                body,
                ..
            } => {
                let header =
                    SegmentHeader::decode(body).map_err(|source| JournalError::Header {
                        path: segment.path.clone(),
                        source,
                    })?;
                (header, frame_len(body.len()))
            }
            Parsed::Frame { .. } | Parsed::Unknown(_) => {
                return Err(segment.corrupt("it does not begin with a header"));
            }
            Parsed::End | Parsed::Bad(_) => {
                self.current = Some(segment);
                return self.end_segment(Some("its header was never written"));
            }
        };
        match self.identity.or(self.expected) {
            Some(identity) if identity != header.identity => {
                return Err(JournalError::Foreign {
                    path: segment.path,
                    found: header.identity,
                    expected: identity,
                });
            }
            _ => {}
        }
        if self.identity.is_none() {
            self.identity = Some(header.identity);
            // The first segment there is may follow others that were pruned.
            self.records = header.first_record;
        }
        if header.first_record != self.records {
            return Err(segment.corrupt("records before it are missing"));
        }
        segment.at = len;
        segment.salt = Some(header.salt);
        self.current = Some(segment);
        Ok(())
    }

    /// Leaves the current segment at a place where no record stands, and decides what that means (I2 of the journal).
    fn end_segment(&mut self, flaw: Option<&'static str>) -> Result<(), JournalError> {
        let Some(segment) = self.current.take() else {
            return Ok(());
        };
        let is_last = self.ahead.is_empty();
        if !is_last {
            // The next segment's header says how many records stand before it.
            return flaw.map_or(Ok(()), |reason| Err(segment.corrupt(reason)));
        }
        let rest = &segment.bytes[segment.at..];
        let was_durable = match segment.salt {
            Some(salt) => durable_claim_max(rest, salt) > self.records,
            // The header is synced before the first record is written.
            None => written_len(rest) > HEADER_FRAME_LEN,
        };
        if was_durable {
            return self.look_again(segment, flaw.unwrap_or("zeros where records were"));
        }
        let stray = (written_len(rest) > 0).then_some("zeros, then other bytes");
        let offset = segment.at as u64;
        let torn = flaw.or(stray).map(|reason| Torn {
            path: segment.path,
            offset,
            reason,
        });
        let last = Some((segment.index, offset));
        self.finish(JournalEnd {
            records: self.records,
            torn,
            last,
        })
    }

    /// Errors: the journal was stopped behind this end.
    fn finish(&mut self, end: JournalEnd) -> Result<(), JournalError> {
        if let Some(mark) = &self.mark {
            mark.check(&self.folder, self.identity.or(self.expected), &end)?;
        }
        self.end = Some(end);
        Ok(())
    }

    /// Reads a segment again before it is called corrupt: beside a writer the bytes at a place may have been read before
    /// they were written, and the mark behind them after. What vouches was written later than what it vouches for, so a
    /// second reading settles it.
    fn look_again(
        &mut self,
        mut segment: Segment,
        reason: &'static str,
    ) -> Result<(), JournalError> {
        let place = (segment.index, segment.at);
        if self.looked_again.replace(place) == Some(place) {
            return Err(segment.corrupt(reason));
        }
        if segment.salt.is_none() {
            self.ahead.push(segment.index);
            return Ok(());
        }
        segment.bytes = read_segment(&segment.path)?;
        if segment.bytes.len() < segment.at {
            return Err(segment.corrupt("it was cut while it was read"));
        }
        self.current = Some(segment);
        Ok(())
    }
}

impl Segment {
    fn corrupt(&self, reason: &'static str) -> JournalError {
        JournalError::Corrupt {
            path: self.path.clone(),
            offset: self.at as u64,
            reason,
        }
    }
}

fn read_segment(path: &Path) -> Result<Vec<u8>, JournalError> {
    std::fs::read(path).map_err(JournalError::io("reading", path))
}

/// The header of the segment at `path`; none where none was written.
pub(super) fn read_header(path: &Path) -> Result<Option<SegmentHeader>, JournalError> {
    let mut file = std::fs::File::open(path).map_err(JournalError::io("opening", path))?;
    let mut bytes = Vec::with_capacity(HEADER_FRAME_LEN);
    Read::by_ref(&mut file)
        .take(HEADER_FRAME_LEN as u64)
        .read_to_end(&mut bytes)
        .map_err(JournalError::io("reading", path))?;
    Ok(match parse(&bytes) {
        Parsed::Frame {
            kind: Kind::Header,
            body,
            ..
        } => SegmentHeader::decode(body).ok(),
        _ => None,
    })
}
