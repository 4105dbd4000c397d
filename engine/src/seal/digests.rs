//! The digests of many envelopes at once, in the lanes of BLAKE3's own vector code.
//!
//! BLAKE3 is fast on long inputs, whose chunks it hashes side by side; an envelope is at most a few blocks of one chunk, and
//! those hang on each other. Here envelopes of as many blocks lie side by side instead: all but the last block of each, or
//! all when the last is full; what is left of it is compressed alone. Section 2 of the BLAKE3 paper (O'Connor, Aumasson,
//! Neves, Wilcox-O'Hearn 2020): a message of up to 1,024 bytes is one chunk, whose first block has CHUNK_START and whose
//! last one CHUNK_END and ROOT; the root's first 32 bytes are its chaining value.
//!
//! The lanes are reached through `blake3::platform`, which is public without being promised: the version is pinned to its
//! minor number, and the tests hold every length against the promised function.

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::envelope::{Envelope, EnvelopeError};
use crate::types::Digest;

const BLOCK: usize = 64;
const CHUNK: usize = 1_024;
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
/// The first words of the fractional parts of the square roots of the first primes, as in SHA-256.
const IV: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];
/// Envelopes side by side: as many as the widest vector code has lanes.
const LANES: usize = 16;

/// What is kept from portion to portion, so that nothing is allocated for one.
#[derive(Debug)]
pub struct Digests {
    platform: Platform,
    /// Shape and place of each envelope that is hashed in lanes.
    order: Vec<(Shape, u32)>,
}

/// What envelopes have to share to be hashed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    /// Blocks hashed in lanes.
    blocks: u8,
    /// Bytes are left for a last block.
    has_rest: bool,
}

impl Shape {
    /// None: there is nothing to hash in lanes, or the message is more than a chunk.
    fn of(len: usize) -> Option<Self> {
        let has_rest = !len.is_multiple_of(BLOCK);
        let blocks = (len / BLOCK) as u8;
        (blocks > 0 && len <= CHUNK).then_some(Self { blocks, has_rest })
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self {
            platform: Platform::detect(),
            order: Vec::new(),
        }
    }
}

impl Digests {
    /// Gives the envelopes among `all` their digests.
    pub(super) fn fill(&mut self, all: &mut [Result<Envelope, EnvelopeError>]) {
        self.order.clear();
        for (at, envelope) in all.iter_mut().enumerate() {
            let Ok(envelope) = envelope else { continue };
            match Shape::of(envelope.bytes().len()) {
                Some(shape) => self.order.push((shape, at as u32)),
                None => {
                    let digest = Digest(*blake3::hash(envelope.bytes()).as_bytes());
                    envelope.set_digest(digest);
                }
            }
        }
        // Most are of one shape.
        self.order.sort_unstable();
        for group in self.order.chunk_by(|a, b| a.0 == b.0) {
            for lanes in group.chunks(LANES) {
                side_by_side(self.platform, lanes, all);
            }
        }
    }
}

/// Hashes envelopes of one shape, at most [`LANES`] and at least one.
fn side_by_side(
    platform: Platform,
    lanes: &[(Shape, u32)],
    all: &mut [Result<Envelope, EnvelopeError>],
) {
    let messages: [&[u8]; LANES] = std::array::from_fn(|lane| {
        let (_, at) = lanes[lane.min(lanes.len() - 1)];
        match &all[at as usize] {
            Ok(envelope) => &envelope.bytes()[..],
            Err(_) => &[],
        }
    });
    let messages = &messages[..lanes.len()];
    let shape = lanes[0].0;
    let flags_end = match shape.has_rest {
        true => 0,
        false => CHUNK_END | ROOT,
    };
    let mut values = [[0; 32]; LANES];
    let out = values[..lanes.len()].as_flattened_mut();
    blocks(platform, shape.blocks, messages, flags_end, out);
    if shape.has_rest {
        let start = usize::from(shape.blocks) * BLOCK;
        for (message, value) in messages.iter().zip(&mut values) {
            *value = last_block(platform, value, &message[start..]);
        }
    }
    for ((_, at), value) in lanes.iter().zip(values) {
        if let Ok(envelope) = &mut all[*at as usize] {
            envelope.set_digest(Digest(value));
        }
    }
}

/// The chaining values after the first `count` blocks of each message, one after the other.
fn blocks(platform: Platform, count: u8, messages: &[&[u8]], flags_end: u8, out: &mut [u8]) {
    macro_rules! by_count {
        ($($count:literal)*) => {
            match count {
                $($count => whole::<{ $count * BLOCK }>(platform, messages, flags_end, out),)*
                _ => unreachable!("a chunk has at most sixteen blocks"),
            }
        };
    }
    by_count!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

fn whole<const LEN: usize>(platform: Platform, messages: &[&[u8]], flags_end: u8, out: &mut [u8]) {
    let inputs: [&[u8; LEN]; LANES] = std::array::from_fn(|lane| {
        let message = messages[lane.min(messages.len() - 1)];
        message.first_chunk().expect("its shape says so")
    });
    platform.hash_many(
        &inputs[..messages.len()],
        &IV,
        0,
        IncrementCounter::No,
        0,
        CHUNK_START,
        flags_end,
        out,
    );
}

/// The root's value from the one before its last block, which holds `rest`, not empty.
fn last_block(platform: Platform, value: &[u8; 32], rest: &[u8]) -> [u8; 32] {
    let (words, _) = value.as_chunks();
    let mut words: [u32; 8] = std::array::from_fn(|word| u32::from_le_bytes(words[word]));
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    platform.compress_in_place(&mut words, &block, rest.len() as u8, 0, CHUNK_END | ROOT);
    let mut root = [0; 32];
    let (bytes, _) = root.as_chunks_mut();
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    root
}
