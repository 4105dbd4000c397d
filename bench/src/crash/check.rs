//! Judges what is on the disks, as anybody could who has the journals and the committee file.
//!
//! Whatever is settled is read first, then the nodes' journals, which may run ahead of it. A node that was started a
//! moment ago may still lack the newest batches: it is given time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use fairlane_client::committee_file::Directory;
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::{SignedHeader, VertexRef};
use fairlane_engine::types::{AuthorityIndex, Digest, Round};
use fairlane_engine::wire::Reader;
use fairlane_net::journal::{JournalRecord, Kind};
use fairlane_net::settle::SettleReader;

use super::load::{Load, digest_text, reference_text};
use super::network::{Network, ROLLUP};
use super::recheck::{Recorded, Settled, compare};

/// The judge of one committee.
#[derive(Debug)]
pub struct Judge {
    folder: PathBuf,
    authorities: u8,
    committee: Arc<Committee>,
    /// The worker's journal, read on as it grows.
    outside: SettleReader,
    settled: Settled,
    digests: BTreeSet<Digest>,
}

/// What was found after a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judged {
    /// Envelopes settled.
    pub settled: usize,
    /// Envelopes with a receipt.
    pub accepted: usize,
    /// Batches settled.
    pub batches: usize,
    /// Journals that took over a state from peers.
    pub took_over: u64,
}

/// Who signed which vertex in which round, by all journals.
type Slots = BTreeMap<(Round, AuthorityIndex), Digest>;

impl Judge {
    /// For the committee in `folder`, whose worker runs.
    pub fn open(folder: &Path, directory: &Directory, authorities: u8) -> anyhow::Result<Self> {
        Ok(Self {
            folder: folder.to_path_buf(),
            authorities,
            committee: Arc::new(directory.committee.clone()),
            outside: SettleReader::open(&worker_folder(folder))?,
            settled: Settled::default(),
            digests: BTreeSet::new(),
        })
    }

    /// Reads on in the worker's journal. Errors: it is damaged, its chain does not hold, or an envelope stands in it twice.
    pub fn read_settled(&mut self) -> anyhow::Result<()> {
        while let Some(batch) = self.outside.try_next()? {
            self.settled.hashes.push(batch.header().hash());
            ensure!(
                batch.header().void == 0,
                "batch {} has void entries",
                batch.header().seq.0
            );
            for entry in batch.view()?.entries() {
                ensure!(
                    self.digests.insert(entry.digest),
                    "envelope {} is settled twice, the second time in batch {}",
                    digest_text(&entry.digest),
                    batch.header().seq.0
                );
                self.settled.digests.push(entry.digest);
            }
        }
        Ok(())
    }

    /// Whether an envelope is settled.
    pub fn is_settled(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// How many are.
    pub fn settled(&self) -> u64 {
        self.digests.len() as u64
    }

    /// Judges the journals at rest. Errors: what does not hold.
    pub fn judge(&mut self, load: &Load, network: &mut Network) -> anyhow::Result<Judged> {
        self.read_settled()?;
        let book = load.book();
        let sent: BTreeSet<Digest> = book.sent.iter().map(|sent| sent.entry.digest).collect();
        if let Some(foreign) = self.digests.difference(&sent).next() {
            bail!(
                "envelope {} is settled and nobody sent it",
                digest_text(foreign)
            );
        }
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        let (nodes, slots) = loop {
            network.check_all_run()?;
            let (nodes, slots) = self.read_nodes()?;
            let late = nodes
                .iter()
                .position(|node| node.hashes.len() < self.settled.hashes.len());
            match late {
                None => break (nodes, slots),
                Some(index) => ensure!(
                    Instant::now() < until,
                    "authority {index} has {} batches after {CATCH_UP_TIMEOUT:?}, and {} are settled",
                    nodes[index].hashes.len(),
                    self.settled.hashes.len()
                ),
            }
            std::thread::sleep(LOOK_EVERY);
        };
        self.judge_recorded(&nodes)?;
        let receipts = book.sent.iter().flat_map(|sent| &sent.receipts);
        check_receipts(receipts, &slots)?;
        Ok(Judged {
            settled: self.digests.len(),
            accepted: book.sent.iter().filter(|sent| sent.is_promised()).count(),
            batches: self.settled.hashes.len(),
            took_over: nodes.iter().filter(|node| node.took_over).count() as u64,
        })
    }

    /// Judges the journals of a committee that has stopped, the worker's read from its beginning.
    pub fn judge_stopped(&mut self) -> anyhow::Result<()> {
        let settled = Settled::read(&worker_folder(&self.folder))?;
        ensure!(
            settled.hashes.starts_with(&self.settled.hashes),
            "the worker's journal does not hold any more what was read in it before"
        );
        self.settled = settled;
        let (nodes, _) = self.read_nodes()?;
        self.judge_recorded(&nodes)
    }

    fn judge_recorded(&self, nodes: &[Recorded]) -> anyhow::Result<()> {
        let verdicts = compare(&self.settled, nodes);
        ensure!(
            verdicts.agreement,
            "the journals do not agree on the batches"
        );
        ensure!(
            verdicts.order_rechecked,
            "the vertices in the journals do not give the settled order"
        );
        Ok(())
    }

    /// Reads every node's journal, and which vertices they hold.
    fn read_nodes(&self) -> anyhow::Result<(Vec<Recorded>, Slots)> {
        let mut slots = Slots::new();
        let mut nodes = Vec::new();
        for index in 0..self.authorities {
            let mut fault = None;
            let data = self.folder.join(format!("node-{index}"));
            let recorded = Recorded::read_and(&data, &self.committee, &mut |record| {
                if let Err(what) = note(&mut slots, record) {
                    fault.get_or_insert(what);
                }
            });
            let recorded = recorded
                .map_err(|error| error.context(format!("the journal of authority {index}")))?;
            if let Some(fault) = fault {
                return Err(fault.context(format!("the journal of authority {index}")));
            }
            nodes.push(recorded);
        }
        Ok((nodes, slots))
    }
}

/// Notes who signed what. Errors: somebody signed two vertices for a round, or the record is evidence.
fn note(slots: &mut Slots, record: &JournalRecord<'_>) -> anyhow::Result<()> {
    match record.kind {
        Kind::OwnVertex | Kind::Vertex => {
            let signed = SignedHeader::decode(&mut Reader::new(record.body))?;
            let VertexRef {
                round,
                author,
                digest,
            } = signed.header.reference();
            let known = slots.insert((round, author), digest);
            ensure!(
                known.is_none_or(|known| known == digest),
                "{author} signed two vertices for round {}",
                round.0
            );
        }
        Kind::Evidence => bail!("it holds evidence of a fault"),
        _ => {}
    }
    Ok(())
}

/// Errors: a vertex that a receipt shows is in no journal, or another one is in its place.
fn check_receipts<'a>(
    receipts: impl Iterator<Item = &'a VertexRef>,
    slots: &Slots,
) -> anyhow::Result<()> {
    for receipt in receipts {
        match slots.get(&(receipt.round, receipt.author)) {
            Some(digest) if *digest == receipt.digest => {}
            Some(_) => bail!(
                "the receipt of {} shows another vertex than the journals",
                reference_text(receipt)
            ),
            None => bail!(
                "the vertex of a receipt, of {}, is in no journal",
                reference_text(receipt)
            ),
        }
    }
    Ok(())
}

fn worker_folder(folder: &Path) -> PathBuf {
    folder.join(format!("settle-{}", ROLLUP.0))
}

/// How long a node may take to have the batches that are settled.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use fairlane_engine::types::Digest;

    use super::*;

    #[test]
    fn a_receipt_without_its_vertex_or_with_another_is_found() {
        let reference = |round, digest| VertexRef {
            round: Round(round),
            author: AuthorityIndex(2),
            digest: Digest([digest; 32]),
        };
        let slots = Slots::from([((Round(5), AuthorityIndex(2)), Digest([1; 32]))]);
        assert!(check_receipts([reference(5, 1)].iter(), &slots).is_ok());
        let other = check_receipts([reference(5, 2)].iter(), &slots).unwrap_err();
        assert!(
            other.to_string().contains("shows another vertex"),
            "{other}"
        );
        let none = check_receipts([reference(6, 1)].iter(), &slots).unwrap_err();
        assert!(none.to_string().contains("in no journal"), "{none}");
    }
}
