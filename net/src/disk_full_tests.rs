//! Claims about real full disks: small file systems in memory, mounted for the test and filled with ballast.
//!
//! Mounting needs root; where it is refused these tests say so and judge nothing.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairlane_client::protocol::AckCode;
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

use crate::config::{NodeConfig, read_toml};
use crate::journal::{
    Journal, JournalConfig, JournalIdentity, JournalReader, JournalSurvey, Kind, Record,
};
use crate::node::Node;
use crate::one_node::OneNode;
use crate::testnet::to_toml;

/// A small file system; unmounted when dropped.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `path`, which is made. None, loudly, where the host refuses.
    pub(crate) fn mount(path: &Path, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m,mode=700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "fairlane-test"])
            .arg(path)
            .output();
        match mount {
            Ok(done) if done.status.success() => Some(Self {
                path: path.to_path_buf(),
            }),
            refused => {
                eprintln!(
                    "SKIPPED: a real full disk. This host mounts no file system for a test: {refused:?}"
                );
                None
            }
        }
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.path.join(BALLAST)).unwrap();
        for len in [1 << 20, 1 << 12, 1] {
            while ballast.write_all(&vec![7; len]).is_ok() {}
        }
    }

    /// Makes room.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.path.join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still hold files there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

const BALLAST: &str = "ballast";

#[test]
fn a_node_whose_disk_is_full_says_busy_serves_what_it_has_and_goes_on_when_there_is_room() {
    let of = OneNode::new();
    let Some(disk) = SmallDisk::mount(&of.data, 16) else {
        return;
    };
    let mut config: NodeConfig = read_toml(&of.config).unwrap();
    config.journal_segment_bytes = 4 << 20;
    std::fs::write(&of.config, to_toml(&config)).unwrap();
    let node = Node::start(&of.config).unwrap();
    disk.fill();

    let mut client = of.client();
    let first = client.seal(b"the first");
    client.order(&first);
    // The segment's space was reserved: a few megabytes are taken before the disk has none.
    let (refused, retry_after_us) = loop {
        let envelope = client.seal(&[1; 15_000]);
        match client.submit(&envelope) {
            (AckCode::Accepted, _) => {}
            (AckCode::Busy, detail) => break (envelope, detail),
            (code, _) => panic!("{}", code.name()),
        }
    };
    assert_eq!(retry_after_us, 1_000_000);
    let (code, _) = client.submit(&first);
    assert_eq!(code, AckCode::Duplicate, "what it has is served");
    let held = JournalSurvey::take(&of.data).unwrap();
    assert!(held.is_whole(), "{held:?}");

    disk.free();
    while client.submit(&refused).0 == AckCode::Busy {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    client.wait_ordered();
    drop(client);
    let report = node.stop().unwrap();
    assert_eq!(report.disk_full.times, 1);
    assert!(report.disk_full.busy >= 1, "{:?}", report.disk_full);

    let written = JournalSurvey::take(&of.data).unwrap();
    assert!(written.is_whole() && written.torn.is_none(), "{written:?}");
    assert!(written.segments.len() > 1 && written.records > held.records);
    assert_eq!(
        written.kinds["envelope"].records, written.batch_entries,
        "all that was taken has its place"
    );
    Node::start(&of.config).unwrap().stop().unwrap();
}

#[test]
fn a_node_that_is_stopped_while_its_disk_is_full_says_why_and_recovers_what_was_durable() {
    let of = OneNode::new();
    let Some(disk) = SmallDisk::mount(&of.data, 16) else {
        return;
    };
    let mut config: NodeConfig = read_toml(&of.config).unwrap();
    config.journal_segment_bytes = 4 << 20;
    std::fs::write(&of.config, to_toml(&config)).unwrap();
    let node = Node::start(&of.config).unwrap();
    disk.fill();
    let mut client = of.client();
    while client.submit(&client.seal(&[1; 15_000])).0 == AckCode::Accepted {}
    let failure = node.stop().map(|report| report.index).unwrap_err();
    assert!(
        failure.to_string().contains("is full: free some space"),
        "{failure}"
    );
    let held = JournalSurvey::take(&of.data).unwrap();
    assert!(held.is_whole() && held.records > 100, "{held:?}");
    disk.fill();
    let refused = Node::start(&of.config)
        .map(|node| node.backend())
        .unwrap_err();
    assert!(
        refused.to_string().contains("is full: free some space"),
        "{refused}"
    );
    disk.free();
    Node::start(&of.config).unwrap().stop().unwrap();
    assert!(JournalSurvey::take(&of.data).unwrap().records >= held.records);
}

#[test]
fn a_journal_fills_a_disk_to_the_brim_and_every_record_is_there_when_there_was_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 1) else {
        return;
    };
    let identity = JournalIdentity {
        chain_id: ChainId(7),
        authority: AuthorityIndex(0),
    };
    let mut config = JournalConfig::new(&disk.path, identity);
    config.segment_len = 64 << 10;
    let mut journal: Journal<Vec<u8>> = Journal::start(&config, || {}).unwrap();
    disk.fill();
    let record = |number: u64| Record {
        kind: Kind::Envelope,
        epoch: Epoch(0),
        body: vec![number as u8; 1000],
    };
    let records = 200;
    for number in 0..records {
        assert_eq!(journal.try_push(record(number)), Ok(number));
    }
    let wait = |holds: &dyn Fn() -> bool| {
        while !holds() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    };
    wait(&|| journal.is_disk_full());
    let durable = journal.durable();
    assert!(durable > 0 && durable < records, "{durable}");
    assert_eq!(
        JournalReader::open(&disk.path)
            .unwrap()
            .into_end()
            .unwrap()
            .records,
        durable
    );
    disk.free();
    wait(&|| journal.durable() == records);
    journal.stop().unwrap();
    let mut reader = JournalReader::open(&disk.path).unwrap();
    for number in 0..records {
        let read = reader.try_next().unwrap().unwrap();
        assert_eq!((read.number, read.body), (number, &record(number).body[..]));
    }
    assert!(reader.try_next().unwrap().is_none());
}
