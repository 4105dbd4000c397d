//! What stands in a node's journal and whether it is whole, for people: read to its end, never written.
//!
//! Beyond the reader's own checks (checksums, order, gaps, a torn tail told from a corrupt middle) each record is looked
//! at as far as it can be judged without the committee: it decodes; own vertices are of this chain and authority and
//! never two in a round; batches follow each other by seq and hash, and each archive is what its header says.
//!
//! Works beside a running node: it then tells how far the records went when it came to their end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fairlane_engine::batch::{BatchHeader, validate};
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::effect::archive_of_batch;
use fairlane_engine::evidence::Evidence;
use fairlane_engine::seal::{Envelope, ShareMessage};
use fairlane_engine::types::Digest;
use fairlane_engine::wire::Reader;
use rkyv::util::AlignedVec;
use serde::Serialize;

use super::reader::{JournalReader, JournalRecord};
use super::record::{FORMAT_VERSION, HEADER_FRAME_LEN, Kind, frame_len};
use super::segment::{segment_indices, segment_path};
use super::{FolderLock, JournalError, JournalIdentity, Torn};

/// What stands in the journal of one folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JournalSurvey {
    /// Version of the format.
    pub format: u8,
    /// The chain; none in a journal without a header.
    pub chain_id: Option<u64>,
    /// The authority whose node writes it.
    pub authority: Option<u8>,
    /// Whether a process holds the folder.
    pub is_in_use: bool,
    /// Number of the first record that is here: those before were removed.
    pub first_record: u64,
    /// Records that are here and whole.
    pub records: u64,
    /// Bytes of files.
    pub file_bytes: u64,
    /// Bytes of them that hold records.
    pub record_bytes: u64,
    /// File by file.
    pub segments: Vec<SegmentFigures>,
    /// Kind by kind, by name.
    pub kinds: BTreeMap<String, KindFigures>,
    /// Epochs of the records.
    pub epochs: Option<Range>,
    /// Rounds of the vertices.
    pub rounds: Option<Range>,
    /// Rounds of the own ones.
    pub own_rounds: Option<Range>,
    /// Envelopes that the own vertices list, from the start of the epoch.
    pub listed: u64,
    /// Anchors, by their index.
    pub anchors: Option<Range>,
    /// Opened batches, by seq.
    pub batches: Option<Range>,
    /// Entries in them.
    pub batch_entries: u64,
    /// Batches that the newest own vertex says to be opened.
    pub settled_said: u64,
    /// Where a tail begins that a crash tore, or that is being written.
    pub torn: Option<String>,
    /// What is wrong; empty in a journal that is whole.
    pub flaws: Vec<String>,
    #[serde(skip)]
    state: Following,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SegmentFigures {
    /// Its name.
    pub file: String,
    /// Number of its first record.
    pub first_record: u64,
    /// Whole records in it.
    pub records: u64,
    /// Up to where they reach, bytes.
    pub record_bytes: u64,
    /// Its length, bytes.
    pub file_bytes: u64,
}

/// Records of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindFigures {
    /// How many.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// From the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
}

impl Range {
    pub(crate) fn widen(range: &mut Option<Self>, value: u64) {
        let (first, last) = range.map_or((value, value), |range| (range.first, range.last));
        *range = Some(Self {
            first: first.min(value),
            last: last.max(value),
        });
    }
}

/// What the next record is held against.
#[derive(Clone, Copy, Debug, Default)]
struct Following {
    own: Option<(u64, Digest)>,
    anchor: Option<u64>,
    batch: Option<BatchHeader>,
}

impl JournalSurvey {
    /// Whether the folder holds a node's journal.
    pub fn is_there(folder: &Path) -> bool {
        segment_indices(folder).is_ok_and(|segments| !segments.is_empty())
    }

    /// Reads the journal in `folder`. What is wrong in it is in the result.
    ///
    /// Errors: it cannot be read, or a version wrote it that is not known.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        let mut survey = Self {
            format: FORMAT_VERSION,
            is_in_use: FolderLock::is_held(folder),
            ..Self::default()
        };
        survey.list(folder)?;
        match survey.read(folder) {
            Ok(()) => {}
            Err(
                error @ (JournalError::Io { .. }
                | JournalError::Header { .. }
                | JournalError::UnknownKind { .. }),
            ) => return Err(error),
            Err(error) => survey.flaws.push(error.to_string()),
        }
        Ok(survey)
    }

    /// Whether nothing is wrong; a torn tail is not: the next start cuts it.
    pub fn is_whole(&self) -> bool {
        self.flaws.is_empty()
    }

    fn list(&mut self, folder: &Path) -> Result<(), JournalError> {
        for index in segment_indices(folder)? {
            let path = segment_path(folder, index);
            let file = std::fs::metadata(&path).map_err(JournalError::io("looking at", &path))?;
            self.file_bytes += file.len();
            self.segments.push(SegmentFigures {
                file: name_of(&path),
                file_bytes: file.len(),
                ..SegmentFigures::default()
            });
        }
        Ok(())
    }

    fn read(&mut self, folder: &Path) -> Result<(), JournalError> {
        let mut reader = JournalReader::open(folder)?;
        let mut place = (PathBuf::new(), 0);
        // The position in `segments`; files are listed in the order in which they are read.
        let mut at = 0;
        while let Some(record) = reader.try_next()? {
            let (number, len) = (record.number, frame_len(record.body.len()) as u64);
            let flaw = self.add(&record);
            if self.records == 0 {
                self.first_record = number;
            }
            self.records += 1;
            if let Some((path, offset)) = reader.place() {
                if place.0 != path {
                    let name = name_of(path);
                    let found = self.segments.iter().position(|known| known.file == name);
                    at = found.unwrap_or(at);
                    self.segments[at].first_record = number;
                    place.0 = path.to_path_buf();
                }
                place.1 = offset;
                self.segments[at].records += 1;
                self.segments[at].record_bytes = offset + len;
            }
            if let Some(identity) = reader.identity() {
                self.note_identity(identity);
            }
            if let Some(flaw) = flaw {
                self.note_flaw(&place, &flaw);
            }
        }
        if let Some(identity) = reader.identity() {
            self.note_identity(identity);
        }
        self.fill_empty_segments();
        self.record_bytes = self.segments.iter().map(|of| of.record_bytes).sum();
        if let Some(torn) = reader.end().and_then(|end| end.torn.clone()) {
            self.torn = Some(torn_text(&torn));
        }
        Ok(())
    }

    fn note_identity(&mut self, identity: JournalIdentity) {
        self.chain_id = Some(identity.chain_id.0);
        self.authority = Some(identity.authority.0);
    }

    /// Segments that hold a header and no record yet.
    fn fill_empty_segments(&mut self) {
        let mut next = self.first_record;
        for segment in &mut self.segments {
            if segment.records == 0 {
                segment.first_record = next;
                segment.record_bytes = (HEADER_FRAME_LEN as u64).min(segment.file_bytes);
            }
            next = segment.first_record + segment.records;
        }
    }

    fn note_flaw(&mut self, (path, offset): &(PathBuf, u64), flaw: &str) {
        match self.flaws.len() {
            0..FLAWS_SHOWN => self.flaws.push(format!(
                "{} at byte {offset}: {flaw}; restore the journal from a copy, or start anew with new keys",
                path.display()
            )),
            FLAWS_SHOWN => self.flaws.push("and more of that kind".into()),
            _ => {}
        }
    }

    /// Counts a record; says what is wrong with it.
    fn add(&mut self, record: &JournalRecord<'_>) -> Option<String> {
        let figures = self.kinds.entry(kind_name(record.kind)).or_default();
        figures.records += 1;
        figures.bytes += record.body.len() as u64;
        Range::widen(&mut self.epochs, u64::from(record.epoch.0));
        match record.kind {
            Kind::Envelope => Envelope::decode(record.body.into())
                .err()
                .map(|error| format!("an envelope does not decode ({error})")),
            Kind::OwnVertex => self.add_vertex(record.body, true),
            Kind::Vertex => self.add_vertex(record.body, false),
            Kind::Anchor => self.add_anchor(record.body),
            Kind::Batch => self.add_batch(record.body),
            Kind::Share => ShareMessage::decode(record.body)
                .err()
                .map(|error| format!("a share message does not decode ({error})")),
            Kind::Evidence => Evidence::decode(record.body)
                .err()
                .map(|error| format!("evidence does not decode ({error})")),
            _ => None,
        }
    }

    fn add_vertex(&mut self, body: &[u8], is_own: bool) -> Option<String> {
        let signed = match SignedHeader::decode(&mut Reader::new(body)) {
            Ok(signed) => signed,
            Err(error) => return Some(format!("a vertex does not decode ({error})")),
        };
        let header = &signed.header;
        Range::widen(&mut self.rounds, header.round.0);
        if !is_own {
            return None;
        }
        Range::widen(&mut self.own_rounds, header.round.0);
        self.listed = header.first_position.0 + u64::from(header.entry_count);
        self.settled_said = header.settled.count;
        let this = (header.round.0, header.reference().digest);
        let before = self.state.own.replace(this);
        if let Some((round, digest)) = before
            && (round > this.0 || (round == this.0 && digest != this.1))
        {
            return Some(format!(
                "an own vertex of round {} stands behind one of round {round}",
                this.0
            ));
        }
        None
    }

    fn add_anchor(&mut self, body: &[u8]) -> Option<String> {
        let Ok(index) = Reader::new(body).u64() else {
            return Some("an anchor does not decode".into());
        };
        Range::widen(&mut self.anchors, index);
        let before = self.state.anchor.replace(index);
        before
            .filter(|before| *before >= index)
            .map(|before| format!("anchor {index} stands behind anchor {before}"))
    }

    fn add_batch(&mut self, body: &[u8]) -> Option<String> {
        let header = match fairlane_engine::effect::header_of_batch(body) {
            Ok(header) => header,
            Err(error) => return Some(format!("a batch's header does not decode ({error})")),
        };
        Range::widen(&mut self.batches, header.seq.0);
        self.batch_entries += u64::from(header.entries);
        let before = self.state.batch.replace(header);
        if let Some(before) = before
            && !header.follows(&before)
        {
            return Some(format!(
                "batch {} does not follow batch {}, which stands before it",
                header.seq.0, before.seq.0
            ));
        }
        let archive = archive_of_batch(body)?;
        let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        match validate(&aligned) {
            Ok(batch) if *batch.header() == header => None,
            Ok(_) => Some(format!(
                "batch {} holds another batch's content",
                header.seq.0
            )),
            Err(error) => Some(format!(
                "batch {} is not what its header says ({error})",
                header.seq.0
            )),
        }
    }
}

fn torn_text(torn: &Torn) -> String {
    format!(
        "{} at byte {}: {}",
        torn.path.display(),
        torn.offset,
        torn.reason
    )
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// `OwnVertex` is called `own vertex`.
fn kind_name(kind: Kind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push(' ');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Flaws that are told one by one.
const FLAWS_SHOWN: usize = 8;
