//! Claims about clients that follow.

use fairlane_client::protocol::{LENGTH_LEN, NOTICE_LEN_MAX, Notice, next_frame};
use fairlane_client::{CertifiedChain, Inclusion};
use fairlane_engine::batch::{
    BatchEntry, BatchWriter, PAYLOAD_SLACK_LEN, archive_len_max, order_root, payload_root,
};
use fairlane_engine::certificate::{CertificateSecret, CertifiedHeader, aggregate};
use fairlane_engine::committee::{Committee, Parameters, RollupPolicy};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, TimestampUs};
use rkyv::util::AlignedVec;

use super::*;

/// A chain of batches of rollup 1, 2, 1 and so on, three entries each; every third is void.
struct Chain {
    committee: Committee,
    secret: CertificateSecret,
    last: Option<BatchHeader>,
    entries: u32,
}

fn digest(seq: u64, index: u32) -> Digest {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(seq + 1).to_be_bytes());
    digest[8..12].copy_from_slice(&index.to_be_bytes());
    Digest(digest)
}

impl Chain {
    fn new() -> Self {
        let signing = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
        let secret = CertificateSecret::generate(&[1; 32]);
        let rollup = |id| Rollup {
            id: RollupId(id),
            policy: RollupPolicy::Either,
        };
        let committee = Committee::new(
            ChainId(7),
            Epoch(0),
            TimestampUs(1),
            Parameters::default(),
            vec![rollup(1), rollup(2)],
            vec![signing],
        );
        let key = [(secret.public().bytes(), secret.possession())];
        Self {
            committee: committee.unwrap().with_certificate_keys(&key).unwrap(),
            secret,
            last: None,
            entries: 3,
        }
    }

    /// Of the longest batches there are.
    fn wide() -> Self {
        Self {
            entries: 4096,
            ..Self::new()
        }
    }

    fn followers(&self) -> Followers {
        Followers::new(&self.committee.rollups)
    }

    fn next(&mut self) -> (BatchHeader, AlignedVec<16>) {
        let seq = self.last.map_or(0, |last| last.seq.0 + 1);
        let (count, payload_len) = (self.entries as usize, 15 * self.entries as usize);
        let mut archive = AlignedVec::<16>::new();
        archive.resize(archive_len_max(count, payload_len), 0);
        archive[PAYLOAD_SLACK_LEN..][..payload_len].fill((seq % 200) as u8 + 1);
        let entries: Vec<BatchEntry> = (0..self.entries)
            .map(|index| BatchEntry {
                digest: digest(seq, index).0,
                rollup_id: u64::from(index % 2) + 1,
                outcome: match index % 3 {
                    2 => Outcome::Void,
                    _ => Outcome::Open {
                        offset: 15 * index,
                        len: 15,
                    },
                },
            })
            .collect();
        let writer = BatchWriter::new(&mut archive, payload_len).unwrap();
        let header = BatchHeader {
            chain_id: ChainId(7),
            seq: BatchSeq(seq),
            previous: self
                .last
                .as_ref()
                .map(BatchHeader::hash)
                .unwrap_or_default(),
            order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
            payload_root: payload_root(&entries, writer.payload()).unwrap(),
            entries: self.entries,
            void: self.entries / 3,
            ..BatchHeader::default()
        };
        let len = writer.finish(&header, &entries).unwrap();
        archive.resize(len, 0);
        self.last = Some(header);
        (header, archive)
    }

    fn open(&mut self, followers: &mut Followers) -> Vec<(u64, Vec<u8>)> {
        let (header, archive) = self.next();
        followers.on_opened(&header, &archive)
    }

    fn certificate(&self) -> Certificate {
        let header = CertifiedHeader::from(&self.last.unwrap());
        let signed = [(AuthorityIndex(0), self.secret.sign(&header))];
        let keys = self.committee.certificate_keys().unwrap();
        aggregate(&header, &signed, keys).certificate.unwrap()
    }
}

fn inclusions(bytes: &[u8]) -> Vec<(u64, Inclusion)> {
    let (content, used) = next_frame(bytes, NOTICE_LEN_MAX).unwrap().unwrap();
    assert_eq!(used, bytes.len(), "one frame");
    let Ok(Notice::Included(included)) = Notice::decode(content) else {
        panic!("entries are entries");
    };
    let items = included.iter();
    let items = items.map(|item| (item.name, Inclusion::of(&included.header, &item)));
    items.collect()
}

fn chain_of(bytes: &[u8]) -> CertifiedChain {
    let Ok(Notice::Certified(certified)) = Notice::decode(&bytes[LENGTH_LEN..]) else {
        panic!("what is certified is certified");
    };
    CertifiedChain::of(certified)
}

const RED: FollowTarget = FollowTarget::Rollup(RollupId(1));

#[test]
fn a_rollup_is_told_of_entry_by_entry_and_each_is_proven_by_the_next_certificate() {
    let mut chain = Chain::new();
    let mut followers = chain.followers();
    assert_eq!(chain.open(&mut followers), [], "nobody follows");
    assert_eq!(followers.follow(8, 1, RED), FollowCode::Following);
    assert!(followers.is_wanted());
    let mut told = Vec::new();
    for _ in 0..3 {
        let frames = chain.open(&mut followers);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].0, 8);
        told.extend(inclusions(&frames[0].1));
    }
    let places: Vec<_> = told
        .iter()
        .map(|(name, of)| (*name, of.header.seq.0, of.index))
        .collect();
    assert_eq!(
        places,
        [
            (1, 1, 0),
            (1, 1, 2),
            (1, 2, 0),
            (1, 2, 2),
            (1, 3, 0),
            (1, 3, 2)
        ]
    );
    let frames = followers.on_certified(&chain.certificate());
    let certified = chain_of(&frames[0].1);
    assert_eq!(certified.verify(&chain.committee), Ok(()));
    for (_, inclusion) in &told {
        assert_eq!(inclusion.verify(&chain.committee, RED), Ok(()));
        assert!(certified.covers(&inclusion.header));
    }
    assert_eq!(
        followers.on_certified(&chain.certificate()),
        [],
        "told once"
    );
    assert!(followers.headers.is_empty());
    let counts = followers.counts();
    assert_eq!(
        (counts.included, counts.certified, counts.unproven),
        (6, 1, 0)
    );
}

#[test]
fn a_digest_is_followed_until_it_is_there_and_its_certificate_came() {
    let mut chain = Chain::new();
    let mut followers = chain.followers();
    let wanted = FollowTarget::Digest(digest(2, 1));
    followers.follow(8, 1, wanted);
    followers.follow(9, 5, wanted);
    assert_eq!(chain.open(&mut followers), []);
    assert_eq!(chain.open(&mut followers), []);
    let early = chain.certificate();
    let frames = chain.open(&mut followers);
    assert_eq!(frames.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [8, 9]);
    let (name, inclusion) = inclusions(&frames[1].1).remove(0);
    assert_eq!(
        (name, inclusion.header.seq, inclusion.index),
        (5, BatchSeq(2), 1)
    );
    assert!(followers.wishes.is_empty());
    assert_eq!(
        followers.on_certified(&early),
        [],
        "it covers what came before"
    );
    followers.forget(8);
    chain.open(&mut followers);
    let frames = followers.on_certified(&chain.certificate());
    assert_eq!(frames.len(), 1);
    assert_eq!(chain_of(&frames[0].1).headers.len(), 2);
    assert!(!followers.is_wanted() && followers.headers.is_empty());
}

#[test]
fn wishes_are_bounded_and_refused_with_a_code() {
    let chain = Chain::new();
    let mut followers = chain.followers();
    let unknown = FollowTarget::Rollup(RollupId(3));
    assert_eq!(followers.follow(1, 1, unknown), FollowCode::UnknownRollup);
    for name in 0..FOLLOWS_A_CLIENT_MAX as u64 {
        let target = FollowTarget::Digest(digest(name, 0));
        assert_eq!(followers.follow(1, name, target), FollowCode::Following);
        assert_eq!(followers.follow(1, name, RED), FollowCode::NameInUse);
    }
    assert_eq!(followers.follow(1, 99, RED), FollowCode::TooMany);
    for connection in 2..=FOLLOWERS_MAX as u64 {
        assert_eq!(followers.follow(connection, 0, RED), FollowCode::Following);
    }
    assert_eq!(followers.follow(999, 0, RED), FollowCode::TooMany);
    followers.forget(1);
    assert_eq!(followers.wishes.len(), 1, "only the rollup is followed");
    assert_eq!(followers.follow(999, 0, RED), FollowCode::Following);
}

#[test]
fn headers_that_wait_are_bounded_and_what_is_older_is_never_proven() {
    let mut chain = Chain::new();
    let mut followers = chain.followers();
    followers.follow(8, 1, RED);
    let most = CERTIFIED_HEADERS_MAX as usize;
    for _ in 0..most + 5 {
        chain.open(&mut followers);
    }
    assert_eq!(followers.headers.len(), most);
    assert_eq!(followers.counts().unproven, 5);
    let frames = followers.on_certified(&chain.certificate());
    let certified = chain_of(&frames[0].1);
    assert_eq!(certified.headers.len(), most);
    assert_eq!(certified.verify(&chain.committee), Ok(()));
    // A gap in the chain: nothing before it can be proven by what comes after it.
    chain.open(&mut followers);
    chain.next();
    chain.open(&mut followers);
    assert_eq!(followers.headers.len(), 1);
    assert_eq!(followers.counts().unproven, 6);
}

#[test]
fn a_target_is_followed_under_one_name() {
    let mut chain = Chain::new();
    let mut followers = chain.followers();
    assert_eq!(followers.follow(8, 1, RED), FollowCode::Following);
    for name in 2..FOLLOWS_A_CLIENT_MAX as u64 {
        assert_eq!(followers.follow(8, name, RED), FollowCode::AlreadyFollowed);
    }
    assert_eq!(followers.follow(9, 2, RED), FollowCode::Following);
    let frames = chain.open(&mut followers);
    let names: Vec<u64> = inclusions(&frames[0].1)
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, [1, 1]);
}

/// Names that a frame says have ended.
fn overrun(bytes: &[u8]) -> Vec<u64> {
    let (mut rest, mut names) = (bytes, Vec::new());
    while let Some((content, used)) = next_frame(rest, NOTICE_LEN_MAX).unwrap() {
        match Notice::decode(content) {
            Ok(Notice::Following { name, code }) => {
                assert_eq!(code, FollowCode::Overrun);
                names.push(name);
            }
            other => assert!(matches!(other, Ok(Notice::Included(_))), "{other:?}"),
        }
        rest = &rest[used..];
    }
    names
}

#[test]
fn what_is_told_at_a_time_is_bounded_and_who_is_not_told_learns_it() {
    let mut chain = Chain::wide();
    let mut followers = chain.followers();
    for connection in 1..=100 {
        assert_eq!(followers.follow(connection, 7, RED), FollowCode::Following);
    }
    let wanted = FollowTarget::Digest(digest(0, 0));
    assert_eq!(followers.follow(200, 3, wanted), FollowCode::Following);
    let frames = chain.open(&mut followers);
    let told: usize = frames.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(told <= TOLD_BYTES_MAX + 100 * 32, "{told} bytes");
    let (ended, served): (Vec<_>, Vec<_>) =
        (frames.iter()).partition(|(_, bytes)| overrun(bytes) == [7]);
    assert_eq!((ended.len() + served.len(), frames.len()), (101, 101));
    assert!(!ended.is_empty() && served.len() > 2, "{}", served.len());
    assert!(
        served.iter().any(|(connection, _)| *connection == 200),
        "who is told little is not harmed by who is told much"
    );
    assert_eq!(followers.counts().overrun, ended.len() as u64);
    assert_eq!(
        followers.clients.len(),
        served.len(),
        "their places are free"
    );
    // What may be told is told: one more batch is too long for anybody, until that is sent.
    let left = followers.clients.len();
    let again = chain.open(&mut followers);
    assert!(again.iter().all(|(_, bytes)| overrun(bytes) == [7]));
    assert_eq!(again.len(), left - 1, "all but the one with the digest");
    followers.refill();
    assert_eq!(followers.follow(300, 7, RED), FollowCode::Following);
    assert!(overrun(&chain.open(&mut followers)[0].1).is_empty());
}
