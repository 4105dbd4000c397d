//! A committee made in one place, for test networks only: whoever makes it knows every secret key.
//!
//! Its sealing key comes from a dealer, or from the committee itself once its nodes run ([`TestnetPlan::dkg`]).
//!
//! Writes `committee.json` (public), `node-I.toml` (one authority's secrets, mode 0600) and `settle-ROLLUP.toml` into a
//! folder. Paths inside are relative, so the folder can be moved.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fairlane_client::committee_file::{Addresses, CommitteeFile, Roster};
use fairlane_engine::certificate::{CertificateKeysError, CertificateSecret};
use fairlane_engine::committee::{Committee, CommitteeError, Parameters, Rollup};
use fairlane_engine::dkg::{DecryptionKey, KeyPlan, SessionError, WINDOW_ANCHORS};
use fairlane_engine::seal::{KeyError, KeyShare, deal};
use fairlane_engine::types::{ChainId, Epoch, TimestampUs};

use crate::config::{
    BackendName, FinalityName, NodeConfig, Quotas, SettleConfig, SinkName, Timers,
    retention_unsettled_bytes,
};
use crate::journal::{AppendChoice, Durability, SEGMENT_LEN_DEFAULT};
use crate::session::keys::LinkSecret;
use crate::stage::waiting::{ReceiveMode, Wait};

/// What to make.
#[derive(Clone, Debug)]
pub struct TestnetPlan {
    /// The chain.
    pub chain_id: ChainId,
    /// Consensus time before the first anchor: now.
    pub epoch_start: TimestampUs,
    /// Agreed parameters.
    pub parameters: Parameters,
    /// Rollups served; a settlement worker's configuration is written for each.
    pub rollups: Vec<Rollup>,
    /// Where each authority listens, by index; as many as there are authorities.
    pub addresses: Vec<Addresses>,
    /// For every node.
    pub durability: Durability,
    /// For every node.
    pub backend: BackendName,
    /// For every node.
    pub journal_backend: AppendChoice,
    /// For every node.
    pub receive: ReceiveMode,
    /// For every node.
    pub retention_bytes: u64,
    /// Nodes take clients over UDP, too, at the address of their TCP listener.
    pub udp: bool,
    /// For every node.
    pub timers: Timers,
    /// The node that settlement workers attach to.
    pub settle_node: usize,
    /// For every worker.
    pub finality: FinalityName,
    /// Nobody deals: the committee makes its sealing key at its first start.
    pub dkg: bool,
    /// And the next one so long after each, microseconds; none: it keeps its key.
    pub renew_us: Option<u64>,
}

/// What one authority keeps secret.
struct Secrets {
    signing: SigningKey,
    link: LinkSecret,
    certificate: CertificateSecret,
    share: Option<KeyShare>,
    decryption: Option<DecryptionKey>,
}

/// Makes keys and writes the files into `out`, which is made when it is not there.
///
/// `entropy` gives 32 uniformly random bytes at each call. Errors: an impossible committee, or the file system.
pub fn write(
    plan: &TestnetPlan,
    out: &Path,
    entropy: &mut dyn FnMut() -> Result<[u8; 32], TestnetError>,
) -> Result<Roster, TestnetError> {
    let (roster, secrets) = make(plan, entropy)?;

    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| TestnetError::Write { path, source }
    };
    std::fs::create_dir_all(out).map_err(io(out))?;
    let committee_path = out.join(COMMITTEE_FILE);
    let json = CommitteeFile::describe_roster(&roster).to_json();
    std::fs::write(&committee_path, json).map_err(io(&committee_path))?;
    for (index, secrets) in secrets.iter().enumerate() {
        let config = node_config(plan, index, secrets);
        let path = out.join(format!("node-{index}.toml"));
        write_secret(&path, &to_toml(&config)).map_err(io(&path))?;
    }
    for rollup in &plan.rollups {
        let config = SettleConfig {
            chain_id: plan.chain_id.0,
            rollup: rollup.id.0,
            socket: Some(settle_socket(plan.settle_node)),
            node: None,
            authority: None,
            key: None,
            data: PathBuf::from(format!("settle-{}", rollup.id.0)),
            finality: plan.finality,
            committee: Some(PathBuf::from(COMMITTEE_FILE)),
            sink: SinkName::default(),
            ndjson: None,
        };
        let path = out.join(format!("settle-{}.toml", rollup.id.0));
        write_secret(&path, &to_toml(&config)).map_err(io(&path))?;
    }
    Ok(roster)
}

/// Draws all keys.
fn make(
    plan: &TestnetPlan,
    entropy: &mut dyn FnMut() -> Result<[u8; 32], TestnetError>,
) -> Result<(Roster, Vec<Secrets>), TestnetError> {
    let mut secrets = Vec::with_capacity(plan.addresses.len());
    for _ in &plan.addresses {
        secrets.push(Secrets {
            signing: SigningKey::from_bytes(&entropy()?),
            link: LinkSecret::from_bytes(&entropy()?),
            certificate: CertificateSecret::generate(&entropy()?),
            share: None,
            decryption: None,
        });
    }
    let signing_keys = secrets.iter().map(|of| of.signing.verifying_key());
    let mut committee = Committee::new(
        plan.chain_id,
        Epoch(0),
        plan.epoch_start,
        plan.parameters,
        plan.rollups.clone(),
        signing_keys.collect(),
    )?;
    let certificate_keys: Vec<_> = secrets
        .iter()
        .map(|of| (of.certificate.public().bytes(), of.certificate.possession()))
        .collect();
    committee = committee.with_certificate_keys(&certificate_keys)?;
    let thresholds = committee.thresholds();
    let (n, t) = (thresholds.authorities(), thresholds.quorum());
    let mut sealing_key = None;
    if plan.dkg {
        let mut encryption_keys = Vec::with_capacity(secrets.len());
        for of in &mut secrets {
            let key = of.decryption.insert(DecryptionKey::generate(&entropy()?));
            encryption_keys.push(key.public());
        }
        committee = committee.with_key_plan(KeyPlan {
            encryption_keys,
            threshold: t,
            window_anchors: WINDOW_ANCHORS,
            renew_us: plan.renew_us,
        })?;
    } else {
        let (dealt, shares) = deal(plan.chain_id, Epoch(0), n, t, &entropy()?)?;
        sealing_key = Some(dealt);
        for (of, share) in secrets.iter_mut().zip(shares) {
            of.share = Some(share);
        }
    }
    let roster = Roster {
        committee,
        sealing_key,
        addresses: plan.addresses.clone(),
        link_keys: secrets.iter().map(|of| of.link.public()).collect(),
    };
    Ok((roster, secrets))
}

fn node_config(plan: &TestnetPlan, index: usize, secrets: &Secrets) -> NodeConfig {
    let (share, decryption) = (&secrets.share, &secrets.decryption);
    let Addresses { client, peer } = plan.addresses[index];
    NodeConfig {
        index: index as u8,
        committee: PathBuf::from(COMMITTEE_FILE),
        client_listen: client,
        udp_listen: plan.udp.then_some(client),
        udp_xdp: None,
        udp_gro: false,
        peer_listen: peer,
        metrics_listen: None,
        settle_socket: settle_socket(index),
        settle_listen: None,
        settle_workers: Vec::new(),
        data: PathBuf::from(format!("node-{index}")),
        signing_key: hex::encode(secrets.signing.to_bytes()),
        link_key: hex::encode(secrets.link.bytes()),
        certificate_key: hex::encode(secrets.certificate.to_bytes().as_slice()),
        key_share: share
            .as_ref()
            .map(|share| hex::encode(share.to_bytes().as_slice())),
        decryption_key: decryption
            .as_ref()
            .map(|key| hex::encode(key.to_bytes().as_slice())),
        certificates: false,
        durability: plan.durability,
        backend: plan.backend,
        journal_backend: plan.journal_backend,
        authorities_here: if is_local(plan) {
            plan.addresses.len()
        } else {
            1
        },
        journal_segment_bytes: SEGMENT_LEN_DEFAULT,
        settle_ring_bytes: 64 << 20,
        retention_bytes: plan.retention_bytes,
        retention_unsettled_bytes: retention_unsettled_bytes(),
        timers: plan.timers,
        quotas: Quotas::default(),
        wait: Wait {
            receive: plan.receive,
            ..Wait::default()
        },
    }
}

/// Whether all authorities share one machine.
fn is_local(plan: &TestnetPlan) -> bool {
    plan.addresses
        .iter()
        .all(|addresses: &Addresses| is_loopback(&addresses.peer))
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

fn settle_socket(node: usize) -> PathBuf {
    PathBuf::from(format!("node-{node}.sock"))
}

pub(crate) fn to_toml<T: serde::Serialize>(config: &T) -> String {
    toml::to_string(config).expect("a configuration of plain values is TOML")
}

pub(crate) fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The public description of the committee.
pub const COMMITTEE_FILE: &str = "committee.json";

/// Why a test network cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// The committee cannot be.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// Its certificate keys cannot be.
    #[error(transparent)]
    Certificates(#[from] CertificateKeysError),
    /// Its key cannot be.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It cannot make its key.
    #[error(transparent)]
    Generation(#[from] SessionError),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Entropy(String),
}

/// 32 bytes from the operating system's random source.
pub fn system_entropy() -> Result<[u8; 32], TestnetError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| TestnetError::Entropy(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fairlane_client::committee_file::Directory;
    use fairlane_engine::committee::RollupPolicy;
    use fairlane_engine::types::{AuthorityIndex, RollupId};

    use super::*;
    use crate::config::read_toml;

    fn plan(n: u16) -> TestnetPlan {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        TestnetPlan {
            chain_id: ChainId(5),
            epoch_start: TimestampUs(1),
            parameters: Parameters::default(),
            rollups: vec![Rollup {
                id: RollupId(1),
                policy: RollupPolicy::Sealed,
            }],
            addresses: (0..n)
                .map(|i| Addresses {
                    client: address(7000 + i),
                    peer: address(7100 + i),
                })
                .collect(),
            durability: Durability::Sync,
            backend: BackendName::Auto,
            journal_backend: AppendChoice::default(),
            receive: ReceiveMode::default(),
            retention_bytes: 0,
            udp: true,
            timers: Timers::default(),
            settle_node: 0,
            finality: FinalityName::Node,
            dkg: false,
            renew_us: None,
        }
    }

    #[test]
    fn what_is_written_loads_and_the_secrets_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&plan(4), folder.path(), &mut system_entropy).unwrap();
        let loaded = Directory::load(&folder.path().join(COMMITTEE_FILE)).unwrap();
        let written = written.sealing_key.unwrap();
        assert_eq!(loaded.sealing_key.key_id(), written.key_id());
        for index in 0..4 {
            let path = folder.path().join(format!("node-{index}.toml"));
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            let config: NodeConfig = read_toml(&path).unwrap();
            assert!(config.decryption_key.is_none());
            let link = hex::decode(config.link_key).unwrap().try_into().unwrap();
            let public = LinkSecret::from_bytes(&link).public();
            assert_eq!(loaded.link_keys[index], public);
            let certificate = hex::decode(config.certificate_key).unwrap();
            let certificate = CertificateSecret::from_bytes(&certificate.try_into().unwrap());
            let published = loaded.committee.certificate_keys().unwrap();
            let published = published.find(AuthorityIndex(index as u8)).unwrap();
            assert_eq!(certificate.unwrap().public(), *published);
            let bytes = hex::decode(config.key_share.unwrap()).unwrap();
            let share = KeyShare::from_bytes(&loaded.sealing_key, &bytes).unwrap();
            assert_eq!(share.author().as_usize(), index);
        }
        let settle: SettleConfig = read_toml(&folder.path().join("settle-1.toml")).unwrap();
        assert_eq!(settle.rollup, 1);
    }

    #[test]
    fn without_a_dealer_each_has_the_decryption_key_that_others_encrypt_to_and_no_share() {
        let folder = tempfile::tempdir().unwrap();
        let plan = TestnetPlan {
            dkg: true,
            renew_us: Some(7),
            ..plan(4)
        };
        write(&plan, folder.path(), &mut system_entropy).unwrap();
        let roster = Roster::load(&folder.path().join(COMMITTEE_FILE)).unwrap();
        assert!(roster.sealing_key.is_none());
        assert_eq!(roster.committee.key_plan().unwrap().renew_us, Some(7));
        let public = &roster.committee.key_plan().unwrap().encryption_keys;
        for (index, public) in public.iter().enumerate() {
            let path = folder.path().join(format!("node-{index}.toml"));
            let config: NodeConfig = read_toml(&path).unwrap();
            assert!(config.key_share.is_none());
            let secret = hex::decode(config.decryption_key.unwrap()).unwrap();
            let key = DecryptionKey::from_bytes(&secret.try_into().unwrap()).unwrap();
            assert_eq!(key.public(), *public);
        }
    }

    #[test]
    fn a_folder_that_holds_keys_already_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        write(&plan(4), folder.path(), &mut system_entropy).unwrap();
        let again = write(&plan(4), folder.path(), &mut system_entropy);
        assert!(matches!(again, Err(TestnetError::Write { .. })));
    }
}
