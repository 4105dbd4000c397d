//! The shape of `vectors/sealing.json`; what each field is stands in the README beside it.

use serde::{Deserialize, Serialize};

/// Bytes as lower-case hexadecimal.
pub(crate) type Hex = String;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vectors {
    pub(crate) format: String,
    pub(crate) group: Group,
    pub(crate) transcripts: Vec<Transcript>,
    pub(crate) keys: Vec<Key>,
    pub(crate) envelopes: Vec<Envelope>,
    pub(crate) open_envelopes: Vec<OpenEnvelope>,
    pub(crate) refused_envelopes: Vec<RefusedEnvelope>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) refused_shares: Vec<RefusedShares>,
    pub(crate) voids: Vec<Void>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) order: Hex,
    pub(crate) g: Hex,
    pub(crate) g2: Hex,
    pub(crate) refused_points: Vec<Hex>,
    pub(crate) refused_scalars: Vec<Hex>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transcript {
    pub(crate) tag: String,
    pub(crate) parts: Vec<Hex>,
    pub(crate) hash: Hex,
    pub(crate) scalar: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) chain_id: u64,
    pub(crate) epoch: u32,
    pub(crate) authorities: u32,
    pub(crate) threshold: u32,
    pub(crate) entropy: Hex,
    pub(crate) polynomial: Vec<Hex>,
    pub(crate) delta: String,
    pub(crate) committee_key: Hex,
    pub(crate) key_id: Hex,
    pub(crate) verification_shares: Vec<Hex>,
    pub(crate) key_shares: Vec<Hex>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    pub(crate) rollup: u64,
    pub(crate) valid_until_us: u64,
    pub(crate) sender_tag: Hex,
    pub(crate) padded_len: Option<u32>,
    pub(crate) payload: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    pub(crate) key: usize,
    pub(crate) fields: Fields,
    pub(crate) entropy: Hex,
    pub(crate) label: Hex,
    pub(crate) r: Hex,
    pub(crate) s: Hex,
    pub(crate) u: Hex,
    pub(crate) u2: Hex,
    pub(crate) w: Hex,
    pub(crate) w2: Hex,
    pub(crate) d: Hex,
    pub(crate) content_key: Hex,
    pub(crate) ciphertext: Hex,
    pub(crate) e: Hex,
    pub(crate) z: Hex,
    pub(crate) envelope: Hex,
    pub(crate) digest: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenEnvelope {
    pub(crate) key: usize,
    pub(crate) fields: Fields,
    pub(crate) envelope: Hex,
    pub(crate) digest: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedEnvelope {
    pub(crate) what: String,
    pub(crate) key: usize,
    pub(crate) envelope: Hex,
    pub(crate) verdict: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    pub(crate) key: usize,
    pub(crate) envelopes: Vec<usize>,
    pub(crate) seq: u64,
    pub(crate) order_root: Hex,
    pub(crate) shares: Vec<Shares>,
    pub(crate) combinations: Vec<Combination>,
    pub(crate) opened: Vec<Opened>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shares {
    pub(crate) author: u8,
    pub(crate) signing_key: Hex,
    pub(crate) verifying_key: Hex,
    pub(crate) shares: Vec<Hex>,
    pub(crate) t: Hex,
    pub(crate) rho: Vec<Hex>,
    pub(crate) u_star: Hex,
    pub(crate) d_star: Hex,
    pub(crate) nonce: Hex,
    pub(crate) a: Hex,
    pub(crate) b: Hex,
    pub(crate) c: Hex,
    pub(crate) zeta: Hex,
    pub(crate) signed: Hex,
    pub(crate) message: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Combination {
    pub(crate) authors: Vec<u8>,
    pub(crate) coefficients: Vec<Hex>,
    pub(crate) d: Vec<Hex>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opened {
    pub(crate) envelope: usize,
    pub(crate) r: Hex,
    pub(crate) carried: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedShares {
    pub(crate) what: String,
    pub(crate) batch: usize,
    pub(crate) message: Hex,
    pub(crate) verdict: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Void {
    pub(crate) what: String,
    pub(crate) key: usize,
    pub(crate) envelope: Hex,
    pub(crate) d: Hex,
}
