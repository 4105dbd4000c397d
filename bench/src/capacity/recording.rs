//! What a recorded network gave one of its authorities, from another's journal, slice by slice of recorded time.
//!
//! The authority that is replayed was killed early: nobody cites what it did not record itself, so everything that the
//! others recorded after its end is input for it. Envelopes come as submissions of one client; vertices as messages of their
//! authors; the shares of all others, which no journal holds, are made from their keys where the witness opened a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use fairlane_engine::batch::{BatchHeader, validate};
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::Vertex;
use fairlane_engine::effect::{archive_of_batch, header_of_batch};
use fairlane_engine::keyring::EngineKeys;
use fairlane_engine::message::PeerMessage;
use fairlane_engine::seal::{EncodedPoint, ShareMessage, VerifiedEnvelope};
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Digest, Round, Sha256Hash, TimestampUs};
use fairlane_net::capacity::Member;
use fairlane_net::journal::{JournalReader, Kind};
use fairlane_net::stage::messages::{NoticeFlags, ToCore};
use rkyv::util::AlignedVec;

/// What was recorded, as input for one authority.
#[derive(Debug)]
pub(super) struct Recording {
    /// In the order of the witness's journal, up to its last batch that has entries.
    given: Vec<((TimestampUs, Round), Given)>,
    /// The batches that the authority has not opened itself, with the hash of the header.
    pub(super) batches: BTreeMap<BatchSeq, Sha256Hash>,
    /// Envelopes to be submitted.
    pub(super) envelopes: u64,
    /// Of them sealed.
    pub(super) sealed: u64,
    /// Vertices of others.
    pub(super) vertices: u64,
}

/// One message to the authority.
#[derive(Clone, Debug)]
enum Given {
    Submit {
        bytes: Arc<[u8]>,
        is_sealed: bool,
    },
    Peer {
        from: AuthorityIndex,
        kind: u8,
        body: Vec<u8>,
    },
    /// The shares of a batch, not made yet.
    Shares(SharesOf),
}

/// What others make shares of.
#[derive(Clone, Debug)]
struct SharesOf {
    seq: BatchSeq,
    order_root: Sha256Hash,
    us: Vec<EncodedPoint>,
}

/// What came within a slice of time.
#[derive(Debug)]
pub(super) struct Slice {
    /// When the last of it came, in recorded time, and the newest round by then.
    pub(super) now: (TimestampUs, Round),
    /// All of it, in order.
    pub(super) messages: Vec<ToCore>,
    /// Submissions among it.
    pub(super) submissions: u64,
}

/// Journals of the two authorities, read together.
#[derive(Debug)]
struct Reading {
    committee: Committee,
    own: AuthorityIndex,
    /// What the authority recorded before it was killed.
    known: BTreeSet<Digest>,
    points: BTreeMap<Digest, Option<EncodedPoint>>,
    now: (TimestampUs, Round),
    found: Recording,
}

impl Recording {
    /// Reads what the authority `own` of the network in `data` is to be given, from the journal of `witness`.
    ///
    /// # Errors
    /// In a sentence: what cannot be read, or why this recording cannot be replayed.
    pub(super) fn read(
        data: &Path,
        own: AuthorityIndex,
        witness: AuthorityIndex,
    ) -> anyhow::Result<Self> {
        let member = Member::read(&config_path(data, own))?;
        ensure!(
            member.roster.committee.key_plan().is_none(),
            "the committee made its sealing key itself, so the shares of the others cannot be made again: record without --dkg"
        );
        let mut reading = Reading {
            own,
            known: known(&member.data)?,
            points: BTreeMap::new(),
            now: (member.roster.committee.epoch_start, Round(0)),
            found: Self {
                given: Vec::new(),
                batches: BTreeMap::new(),
                envelopes: 0,
                sealed: 0,
                vertices: 0,
            },
            committee: member.roster.committee,
        };
        let folder = Member::read(&config_path(data, witness))?.data;
        reading.take_all(&folder)?;
        let mut found = reading.found;
        found.make_shares(data, own)?;
        Ok(found)
    }

    /// The same in slices of `slice_us` of recorded time; the first one begins with a client and with all links.
    pub(super) fn slices(&self, own: AuthorityIndex, authorities: u8, slice_us: u64) -> Vec<Slice> {
        let (mut slices, mut tag) = (Vec::<Slice>::new(), 0);
        for (now, given) in &self.given {
            let is_of = |slice: &Slice| slice.now.0.0 / slice_us == now.0.0 / slice_us;
            if !slices.last().is_some_and(is_of) {
                slices.push(Slice {
                    now: *now,
                    messages: Vec::new(),
                    submissions: 0,
                });
            }
            let at = slices.len() - 1;
            if slices[at].messages.is_empty() && at == 0 {
                slices[at].messages = greetings(own, authorities);
            }
            let slice = &mut slices[at];
            slice.now = *now;
            slice.messages.push(match given.clone() {
                Given::Submit { bytes, .. } => {
                    slice.submissions += 1;
                    tag += 1;
                    ToCore::Submit {
                        connection: CLIENT,
                        tag,
                        bytes,
                    }
                }
                Given::Peer { from, kind, body } => ToCore::Peer { from, kind, body },
                Given::Shares(_) => unreachable!("they were made when the recording was read"),
            });
        }
        slices
    }

    /// From the first envelope to the last batch, microseconds of recorded time.
    pub(super) fn span_us(&self) -> u64 {
        let first = self
            .given
            .iter()
            .find(|(_, given)| matches!(given, Given::Submit { .. }));
        match (first, self.given.last()) {
            (Some((first, _)), Some((last, _))) => last.0.since_us(first.0),
            _ => 0,
        }
    }

    /// Counts what is to be given, before shares are among it.
    fn count(&mut self) {
        for (_, given) in &self.given {
            match given {
                Given::Submit { is_sealed, .. } => {
                    self.envelopes += 1;
                    self.sealed += u64::from(*is_sealed);
                }
                Given::Peer { .. } => self.vertices += 1,
                Given::Shares(_) => {}
            }
        }
    }

    /// Puts the messages of all but `own` in place of what they are of.
    fn make_shares(&mut self, data: &Path, own: AuthorityIndex) -> anyhow::Result<()> {
        let wanted: Vec<&SharesOf> = self.given.iter().filter_map(shares_of).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let others = keys_of_others(data, own)?;
        let made: Vec<anyhow::Result<Vec<Vec<u8>>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = others
                .iter()
                .map(|(_, keys)| scope.spawn(|| make_all(keys, &wanted)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        let mut made: Vec<(AuthorityIndex, std::vec::IntoIter<Vec<u8>>)> = others
            .iter()
            .zip(made)
            .map(|((from, _), made)| Ok((*from, made?.into_iter())))
            .collect::<anyhow::Result<_>>()?;
        let mut given = Vec::with_capacity(self.given.len());
        for (now, one) in std::mem::take(&mut self.given) {
            if !matches!(one, Given::Shares(_)) {
                given.push((now, one));
                continue;
            }
            for (from, bodies) in &mut made {
                let body = bodies.next().context("each makes all")?;
                let message = PeerMessage::Share(body.into());
                given.push((now, peer(*from, &message)));
            }
        }
        self.given = given;
        Ok(())
    }
}

impl Reading {
    fn take_all(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut reader = JournalReader::open(folder)?;
        let (mut is_first, mut last_batch) = (true, None);
        while let Some(record) = reader.try_next()? {
            let (number, kind, body) = (record.number, record.kind, record.body);
            ensure!(
                !std::mem::take(&mut is_first) || number == 0,
                "the journal in {} has lost its first {number} records to retention: record a shorter run",
                folder.display()
            );
            match kind {
                Kind::Envelope => self.take_envelope(body)?,
                Kind::Vertex | Kind::OwnVertex => self.take_vertex(body)?,
                Kind::Batch => {
                    let header = self.take_batch(body)?;
                    if header.entries > 0 {
                        last_batch = Some((header.seq, self.found.given.len()));
                    }
                }
                Kind::State => bail!(
                    "the journal in {} has a state taken from others in place of what was ordered: name another authority with --witness",
                    folder.display()
                ),
                _ => {}
            }
        }
        // An idle committee goes on with empty batches, for its checkpoints.
        if let Some((last_seq, last_batch)) = last_batch {
            self.found.given.truncate(last_batch);
            self.found.batches.retain(|seq, _| *seq <= last_seq);
        }
        self.found.count();
        if last_batch.is_none() || self.found.envelopes == 0 {
            bail!(
                "the journal in {} holds no envelope and no batch that authority {} lacks: record a load that it is killed before, as with `fairlane localnet --kill {}@1ms --data DIR`",
                folder.display(),
                self.own.0,
                self.own.0
            );
        }
        Ok(())
    }

    fn take_envelope(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let envelope = VerifiedEnvelope::restore(body.into(), |_, _| true)?;
        let point = envelope.u().cloned();
        let is_sealed = point.is_some();
        self.points.insert(envelope.digest(), point);
        if !self.known.contains(&name_of(body)) {
            let bytes = envelope.bytes().clone();
            self.give(Given::Submit { bytes, is_sealed });
        }
        Ok(())
    }

    fn take_vertex(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let vertex = Vertex::restore(body, &self.committee)?;
        self.now.0 = self.now.0.max(vertex.timestamp());
        self.now.1 = self.now.1.max(vertex.round());
        if self.known.contains(&name_of(body)) {
            return Ok(());
        }
        let own = self.own;
        ensure!(
            vertex.author() != own,
            "others hold a vertex of round {} of authority {} that its own journal lacks",
            vertex.round().0,
            own.0
        );
        let message = PeerMessage::Vertex(vertex.bytes().clone());
        self.give(peer(vertex.author(), &message));
        Ok(())
    }

    fn take_batch(&mut self, body: &[u8]) -> anyhow::Result<BatchHeader> {
        let header = header_of_batch(body)?;
        if self.known.contains(&name_of(body)) {
            return Ok(header);
        }
        self.found.batches.insert(header.seq, header.hash());
        let archive = archive_of_batch(body);
        let archive = archive.with_context(|| format!("batch {} has no content", header.seq.0))?;
        let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let batch = validate(&aligned)?;
        let mut us = Vec::new();
        for entry in batch.entries() {
            let point = self.points.get(&entry.digest);
            let point = point.with_context(|| {
                format!("an envelope of batch {} is not recorded", header.seq.0)
            })?;
            us.extend(*point);
        }
        if !us.is_empty() {
            self.give(Given::Shares(SharesOf {
                seq: header.seq,
                order_root: header.order_root,
                us,
            }));
        }
        Ok(header)
    }

    fn give(&mut self, given: Given) {
        self.found.given.push((self.now, given));
    }
}

/// Where the network in `data` has the configuration of one authority.
pub(super) fn config_path(data: &Path, authority: AuthorityIndex) -> std::path::PathBuf {
    data.join(format!("node-{}.toml", authority.0))
}

/// Names of the envelopes, vertices and batches that the journal in `folder` holds.
fn known(folder: &Path) -> anyhow::Result<BTreeSet<Digest>> {
    let mut known = BTreeSet::new();
    let mut reader = JournalReader::open(folder)?;
    while let Some(record) = reader.try_next()? {
        if matches!(
            record.kind,
            Kind::Envelope | Kind::Vertex | Kind::OwnVertex | Kind::Batch
        ) {
            known.insert(name_of(record.body));
        }
    }
    Ok(known)
}

fn name_of(body: &[u8]) -> Digest {
    Digest(*blake3::hash(body).as_bytes())
}

/// One client that wants every notice, and links to all others.
fn greetings(own: AuthorityIndex, authorities: u8) -> Vec<ToCore> {
    let notices = NoticeFlags {
        receipts: true,
        ordered: true,
        settled: true,
        is_datagram: false,
    };
    let client = ToCore::ClientUp {
        connection: CLIENT,
        notices,
    };
    let peers = (0..authorities).map(AuthorityIndex);
    let links = peers
        .filter(|peer| *peer != own)
        .map(|peer| ToCore::PeerUp { peer });
    std::iter::once(client).chain(links).collect()
}

fn peer(from: AuthorityIndex, message: &PeerMessage) -> Given {
    let mut body = Vec::new();
    message.encode_body(&mut body);
    Given::Peer {
        from,
        kind: message.kind(),
        body,
    }
}

const fn shares_of(given: &((TimestampUs, Round), Given)) -> Option<&SharesOf> {
    match &given.1 {
        Given::Shares(of) => Some(of),
        Given::Submit { .. } | Given::Peer { .. } => None,
    }
}

fn keys_of_others(
    data: &Path,
    own: AuthorityIndex,
) -> anyhow::Result<Vec<(AuthorityIndex, EngineKeys)>> {
    let thresholds = Member::read(&config_path(data, own))?
        .roster
        .committee
        .thresholds();
    let others = thresholds.members().filter(|other| *other != own);
    others
        .map(|other| {
            let path = config_path(data, other);
            Ok((other, Member::read(&path)?.keys(&path)?))
        })
        .collect()
}

/// The share messages of one authority, encoded.
fn make_all(keys: &EngineKeys, wanted: &[&SharesOf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let key = keys.dealt.as_ref().context("no dealer made the key")?;
    let share = key
        .share
        .as_ref()
        .context("a share of the key is missing")?;
    wanted
        .iter()
        .map(|of| {
            let made = ShareMessage::make(
                share,
                &key.sealing,
                &keys.signing,
                of.seq,
                of.order_root,
                &of.us,
            );
            Ok(made?.0.encode())
        })
        .collect()
}

/// The connection of the client that submits.
const CLIENT: u64 = 1;
