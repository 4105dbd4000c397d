//! Writes a seed corpus from the recorded committee, and a dictionary of the bytes that decoders branch on.
//!
//! `cargo run --release --example seeds -- corpus` in `engine/fuzz`.

use std::collections::BTreeMap;
use std::path::Path;

use fairlane_client::protocol::{self, FollowTarget, IncludedEntry, Reveal};
use fairlane_engine::batch::BatchHeader;
use fairlane_engine::dag::{ForkEvidence, Vertex, VertexDraft};
use fairlane_engine::evidence::Evidence;
use fairlane_engine::types::{BatchSeq, ChainId, Digest, RollupId};
use fairlane_fuzz::certifying::certifying;
use fairlane_fuzz::recording::{bodies_of, recording, signing_key};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".into());
    let folder = Path::new(&folder);
    let mut seeds: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    seeds.insert("core", programs());
    seeds.insert("vertex", some_of(0x42));
    seeds.insert(
        "envelope",
        recording().envelopes.iter().map(|e| e.to_vec()).collect(),
    );
    seeds.insert("share", some_of(0x46));
    let with_kind = |kind: u8| {
        some_of(kind)
            .into_iter()
            .map(move |body| [&[kind][..], &body].concat())
    };
    seeds.insert("peer_message", (0x42..=0x47).flat_map(with_kind).collect());
    seeds.insert("opened_shares", opened_shares());
    seeds.insert("opened_content", opened_content());
    seeds.insert("client_frames", client_frames());
    seeds.insert("evidence", evidence());
    seeds.insert("certificate", certificates());
    for (target, inputs) in seeds {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        println!("{target}: {} seeds", inputs.len());
        for (at, input) in inputs.into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), input)?;
        }
    }
    std::fs::write(folder.join("fairlane.dict"), dictionary())
}

/// At most 32 encodings of one kind of message.
fn some_of(kind: u8) -> Vec<Vec<u8>> {
    bodies_of(kind).into_iter().take(32).collect()
}

/// The recorded run up to several points, then a few steps of every kind.
fn programs() -> Vec<Vec<u8>> {
    let starts = [0u8, 20, 60, 120, 180, 250];
    let steps = (0u8..12).flat_map(|step| {
        starts.map(|start| {
            let mut program = vec![start];
            for turn in 0..8u8 {
                program.extend([
                    step,
                    turn,
                    turn.wrapping_mul(37),
                    step ^ turn,
                    5,
                    turn,
                    2,
                    4,
                    9,
                ]);
            }
            program
        })
    });
    steps.collect()
}

/// Whole messages, and changes in each field of an honest one.
fn opened_shares() -> Vec<Vec<u8>> {
    let whole = some_of(0x46).into_iter();
    let whole = whole.flat_map(|message| [0, 2].map(|mode| [&[mode][..], &message].concat()));
    let changes = (0..=255u8).step_by(7);
    whole.chain(changes.map(|at| vec![3, 0, at, 1])).collect()
}

/// Bytes in the place of the ciphertext, of r and payload, and of the payload alone.
fn opened_content() -> Vec<Vec<u8>> {
    let lens = [48, 56, 64, 100, 200];
    let modes = [0u8, 1, 3];
    let seeds = lens
        .into_iter()
        .flat_map(|len| modes.map(|mode| [&[mode][..], &vec![5; len]].concat()));
    seeds.collect()
}

fn client_frames() -> Vec<Vec<u8>> {
    let mut frames = vec![Vec::new(); 7];
    let hello = protocol::Hello {
        chain_id: ChainId(1),
        receipts: true,
        ordered: true,
        settled: true,
        keys: true,
    };
    protocol::encode_hello(&mut frames[0], &hello);
    let envelope = &recording().envelopes[1];
    protocol::encode_submit(&mut frames[1], 7, envelope).expect("an envelope is within its bound");
    protocol::encode_settled(&mut frames[2], 9);
    let item = protocol::OrderedItem { tag: 1, index: 2 };
    protocol::encode_ordered(&mut frames[3], BatchSeq(3), &[item]);
    let digest = Digest(*blake3::hash(envelope).as_bytes());
    protocol::encode_follow(&mut frames[4], 5, FollowTarget::Digest(digest));
    let entry = IncludedEntry {
        name: 5,
        index: 0,
        digest,
        rollup_id: RollupId(1),
        reveal: Reveal::Open,
        payload: b"an order",
        path: &[],
    };
    let header = BatchHeader::default();
    protocol::encode_included(&mut frames[5], &header, &[entry]);
    let certificate = certifying().certificate(3).expect("three of four");
    protocol::encode_certified(&mut frames[6], &certificate, [header].into_iter());
    frames.push(frames.concat());
    frames
}

/// Certificates of three and of four, and every authority's word.
fn certificates() -> Vec<Vec<u8>> {
    let honest = certifying();
    let made = [3, 4].into_iter().filter_map(|of| honest.certificate(of));
    let words = (0..4).map(|author| {
        let mut word = Vec::new();
        honest.vouch(author).encode(&mut word);
        word
    });
    made.map(|of| of.encode().to_vec()).chain(words).collect()
}

fn evidence() -> Vec<Vec<u8>> {
    let committee = &recording().committee;
    let vertices = some_of(0x42);
    let verified = vertices
        .iter()
        .filter_map(|body| Vertex::verify(body, committee).ok());
    let forks = verified.take(4).map(|older| {
        let twin = VertexDraft {
            chain_id: committee.chain_id,
            epoch: committee.epoch,
            round: older.round(),
            author: older.author(),
            timestamp: older.timestamp().plus_us(1),
            first_position: older.first_position(),
            parents: older.parents().to_vec(),
            entries: older.entries().to_vec(),
            settled: older.settled(),
        };
        let newer = twin.sign(&signing_key(older.author().0));
        Evidence::of_fork(&ForkEvidence { older, newer }).encode()
    });
    forks.collect()
}

fn dictionary() -> String {
    let committee = &recording().committee;
    let mut words: Vec<Vec<u8>> = vec![
        committee.chain_id.0.to_be_bytes().to_vec(),
        recording().key.key_id().0.to_vec(),
        u64::MAX.to_be_bytes().to_vec(),
        (1u64 << 56).to_be_bytes().to_vec(),
        u32::MAX.to_be_bytes().to_vec(),
    ];
    words.extend((0..12u64).map(|number| number.to_be_bytes().to_vec()));
    let line = |word: Vec<u8>| {
        let bytes: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{bytes}\"\n")
    };
    words.into_iter().map(line).collect()
}
