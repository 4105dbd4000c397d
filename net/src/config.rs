//! Configuration files of a node (`node-I.toml`) and of a settlement worker (`settle-ROLLUP.toml`).
//!
//! Paths in them are relative to the file's own folder, so a folder made by `fairlane testnet` can be moved whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use fairlane_engine::config::EngineConfig;

use crate::journal::{AppendChoice, Durability, SEGMENT_LEN_DEFAULT};
use crate::stage::waiting::Wait;

/// Which network backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// io_uring where the kernel lets us, else epoll.
    #[default]
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// epoll.
    Mio,
}

/// One authority's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Which authority this is, from 0.
    pub index: u8,
    /// The committee file.
    pub committee: PathBuf,
    /// Where clients connect.
    pub client_listen: SocketAddr,
    /// Where clients send datagrams; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_listen: Option<SocketAddr>,
    /// Network interface off which those datagrams are taken by AF_XDP; absent: none, the kernel's socket gets them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_xdp: Option<String>,
    /// Whether consecutive datagrams of one client are taken from the kernel together: for links from gateways.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub udp_gro: bool,
    /// Where authorities connect.
    pub peer_listen: SocketAddr,
    /// Unix socket where a settlement worker connects.
    pub settle_socket: PathBuf,
    /// Where settlement workers on other machines connect; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_listen: Option<SocketAddr>,
    /// Hex of the public keys of those that may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settle_workers: Vec<String>,
    /// Folder of the journal; absent or empty at start.
    pub data: PathBuf,
    /// Where figures and health are served over HTTP; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Hex of the 32-byte Ed25519 secret key that signs vertices and share messages.
    pub signing_key: String,
    /// Hex of the 32-byte X25519 secret key of the links to the other authorities.
    pub link_key: String,
    /// Hex of the 32-byte BLS12-381 secret key of certificates.
    pub certificate_key: String,
    /// Hex of this authority's share of the committee's sealing key, where a dealer made that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_share: Option<String>,
    /// Hex of the 32-byte secret key that this authority receives its shares with, where the committee makes its key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption_key: Option<String>,
    /// Whether this node collects certificates also while no settlement worker is attached.
    #[serde(default)]
    pub certificates: bool,
    /// See [`Durability`].
    #[serde(default)]
    pub durability: Durability,
    /// See [`BackendName`].
    #[serde(default)]
    pub backend: BackendName,
    /// See [`AppendChoice`].
    #[serde(default)]
    pub journal_backend: AppendChoice,
    /// How many authorities share this machine's cores; the core plan divides by it.
    #[serde(default = "one")]
    pub authorities_here: usize,
    /// Bytes in a file of the journal, reserved when it is begun.
    #[serde(default = "segment_bytes")]
    pub journal_segment_bytes: u64,
    /// Settlement ring size in bytes, a power of two.
    #[serde(default = "ring_bytes")]
    pub settle_ring_bytes: u64,
    /// Bytes of the journal that are kept at least; 0 keeps everything.
    #[serde(default = "retention_bytes")]
    pub retention_bytes: u64,
    /// The same where the settlement worker has not settled all of it; 0 keeps that for ever.
    #[serde(default = "retention_unsettled_bytes")]
    pub retention_unsettled_bytes: u64,
    /// Timers and bounds.
    #[serde(default)]
    pub timers: Timers,
    /// What one client, or one rollup, may cost.
    #[serde(default)]
    pub quotas: Quotas,
    /// How its threads wait.
    #[serde(default)]
    pub wait: Wait,
}

/// What one client, or one rollup, may cost a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Proofs of one client that may fail before it is put off.
    pub bad_proofs: u32,
    /// Time until one more of them may fail.
    pub bad_proof_refill_us: u64,
    /// Submissions of one rollup taken from clients in a second; 0: as many as come.
    pub rollup_rate: u32,
    /// Submissions taken over UDP from one address in a second; 0: as many as come.
    pub datagram_rate: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            bad_proofs: 16,
            bad_proof_refill_us: 500_000,
            rollup_rate: 0,
            datagram_rate: 20_000,
        }
    }
}

/// Local timers and bounds of a node; see [`EngineConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// After twice this time in a round the own vertex is made without the leader's, until more is known of the network.
    pub leader_timeout_us: u64,
    /// The leader timeout never falls below this.
    pub leader_timeout_us_min: u64,
    /// The leader timeout never grows above this.
    pub leader_timeout_us_max: u64,
    /// Least distance between own vertices.
    pub round_interval_us_min: u64,
    /// Longest distance between own vertices of an idle node.
    pub heartbeat_us: u64,
    /// How long something missing is waited for before it is asked for.
    pub fetch_grace_us: u64,
    /// First wait for an answer.
    pub fetch_retry_us: u64,
    /// Unlisted envelopes above which submissions are answered Busy.
    pub unlisted_max: u32,
}

impl Default for Timers {
    fn default() -> Self {
        let EngineConfig {
            leader_timeout_us,
            leader_timeout_us_min,
            leader_timeout_us_max,
            round_interval_us_min,
            heartbeat_us,
            fetch_grace_us,
            fetch_retry_us,
            unlisted_max,
            ..
        } = EngineConfig::default();
        Self {
            leader_timeout_us,
            leader_timeout_us_min,
            leader_timeout_us_max,
            round_interval_us_min,
            heartbeat_us,
            fetch_grace_us,
            fetch_retry_us,
            unlisted_max,
        }
    }
}

impl From<Timers> for EngineConfig {
    fn from(timers: Timers) -> Self {
        Self {
            leader_timeout_us: timers.leader_timeout_us,
            leader_timeout_us_min: timers.leader_timeout_us_min,
            leader_timeout_us_max: timers.leader_timeout_us_max,
            round_interval_us_min: timers.round_interval_us_min,
            heartbeat_us: timers.heartbeat_us,
            fetch_grace_us: timers.fetch_grace_us,
            fetch_retry_us: timers.fetch_retry_us,
            unlisted_max: timers.unlisted_max,
            ..Self::default()
        }
    }
}

/// A settlement worker's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleConfig {
    /// The chain.
    pub chain_id: u64,
    /// The rollup that it settles.
    pub rollup: u64,
    /// Unix socket of its node, beside which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Its node where that is on another machine: `tcp://ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Which authority of the committee file that node is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<u8>,
    /// The file with the worker's own key for it, as `fairlane settle-key` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Folder of the sink's journal.
    pub data: PathBuf,
    /// See [`FinalityName`].
    #[serde(default)]
    pub finality: FinalityName,
    /// The committee file, which certificates and the words of authorities are checked with; needed where they are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committee: Option<PathBuf>,
    /// See [`SinkName`].
    #[serde(default)]
    pub sink: SinkName,
    /// Where lines of JSON go: a file, or `-`, standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ndjson: Option<PathBuf>,
}

/// Where a worker puts what it settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkName {
    /// Into a journal in its folder.
    #[default]
    Journal,
    /// Also as a line of JSON for each batch.
    Ndjson,
}

/// Whose word makes a batch final for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FinalityName {
    /// Its own node's.
    #[default]
    Node,
    /// That of f + 1 authorities, which have signed the same chain.
    #[serde(rename = "f+1")]
    #[value(name = "f+1")]
    Validity,
    /// A certificate's: q authorities', whatever the own node says.
    Certificate,
}

impl std::fmt::Display for FinalityName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Validity => "f+1",
            Self::Certificate => "certificate",
        })
    }
}

/// Reads a TOML file. Errors are one sentence with the file, and the line where there is one.
pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: shown.clone(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ConfigError::Parse {
        path: shown,
        reason: error.to_string().trim_end().replace('\n', " "),
    })
}

/// `path` as written in the configuration file `of`.
pub fn resolve(of: &Path, path: &Path) -> PathBuf {
    of.parent()
        .map_or_else(|| path.to_path_buf(), |folder| folder.join(path))
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not a valid configuration: {reason}")]
    Parse {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

const fn one() -> usize {
    1
}

const fn segment_bytes() -> u64 {
    SEGMENT_LEN_DEFAULT
}

const fn ring_bytes() -> u64 {
    64 << 20
}

pub(crate) const fn retention_bytes() -> u64 {
    1 << 30
}

pub(crate) const fn retention_unsettled_bytes() -> u64 {
    16 << 30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NodeConfig {
        NodeConfig {
            index: 3,
            committee: "committee.json".into(),
            client_listen: "127.0.0.1:7003".parse().unwrap(),
            udp_listen: Some("127.0.0.1:7003".parse().unwrap()),
            udp_xdp: Some("eth0".to_owned()),
            udp_gro: true,
            peer_listen: "127.0.0.1:7103".parse().unwrap(),
            metrics_listen: Some("127.0.0.1:7203".parse().unwrap()),
            settle_socket: "node-3/settle.sock".into(),
            settle_listen: Some("127.0.0.1:7303".parse().unwrap()),
            settle_workers: vec!["04".repeat(32)],
            data: "node-3".into(),
            signing_key: "00".repeat(32),
            link_key: "02".repeat(32),
            certificate_key: "03".repeat(32),
            key_share: Some("01".repeat(32)),
            decryption_key: None,
            certificates: true,
            durability: Durability::Async,
            backend: BackendName::Mio,
            journal_backend: AppendChoice::Auto,
            authorities_here: 5,
            journal_segment_bytes: 4 << 20,
            settle_ring_bytes: 1 << 20,
            retention_bytes: 1 << 28,
            retention_unsettled_bytes: 0,
            timers: Timers::default(),
            quotas: Quotas::default(),
            wait: Wait::default(),
        }
    }

    #[test]
    fn a_node_configuration_is_read_back() {
        let text = toml::to_string(&sample()).unwrap();
        assert_eq!(toml::from_str::<NodeConfig>(&text).unwrap(), sample());
    }

    #[test]
    fn an_unknown_field_and_a_missing_file_are_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let missing = read_toml::<NodeConfig>(&path).unwrap_err().to_string();
        assert!(
            missing.contains("node.toml") && !missing.contains('\n'),
            "{missing}"
        );
        let text = toml::to_string(&sample()).unwrap();
        let text = text.replace(&format!("link_key = \"{}\"\n", sample().link_key), "");
        std::fs::write(&path, text).unwrap();
        let without = read_toml::<NodeConfig>(&path).unwrap_err().to_string();
        assert!(
            without.contains("missing field `link_key`") && !without.contains('\n'),
            "{without}"
        );
        let text = format!("indx = 3\n{}", toml::to_string(&sample()).unwrap());
        std::fs::write(&path, text).unwrap();
        let unknown = read_toml::<NodeConfig>(&path).unwrap_err().to_string();
        assert!(
            unknown.contains("indx") && !unknown.contains('\n'),
            "{unknown}"
        );
    }
}
