//! A committee that nobody deals to: each authority makes its own keys, the public halves make the committee file, and each
//! makes its node's configuration from that file and its secrets.
//!
//! No secret leaves the machine that it was made on. The sealing key is made by the nodes at their first start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::{SigningKey, VerifyingKey};
use fairlane_client::committee_file::{Addresses, CommitteeFile, Roster};
use fairlane_engine::certificate::{CertificateKey, CertificateSecret, KEY_LEN, Possession};
use fairlane_engine::committee::{Committee, Parameters, Rollup};
use fairlane_engine::dkg::{DecryptionKey, EncryptionKey, KeyPlan, WINDOW_ANCHORS};
use fairlane_engine::types::{ChainId, Epoch, TimestampUs};
use serde::{Deserialize, Serialize};

use crate::config::{
    BackendName, FinalityName, NodeConfig, Quotas, SettleConfig, SinkName, Timers, read_toml,
    retention_bytes, retention_unsettled_bytes,
};
use crate::journal::{AppendChoice, Durability, SEGMENT_LEN_DEFAULT};
use crate::session::keys::{LINK_KEY_LEN, LinkSecret};
use crate::stage::waiting::Wait;
use crate::testnet::{to_toml, write_secret};

/// `authority.json`: what an authority tells the others of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityFile {
    /// Version of the format: 1.
    pub version: u32,
    /// Ed25519 key, 32 bytes in hexadecimal.
    pub signing_key: String,
    /// X25519 key of links, 32 bytes in hexadecimal.
    pub link_key: String,
    /// BLS12-381 key of certificates, 96 bytes in hexadecimal.
    pub certificate_key: String,
    /// Shows that its secret is known, 48 bytes in hexadecimal.
    pub certificate_possession: String,
    /// E_i, 32 bytes in hexadecimal.
    pub encryption_key: String,
}

/// `secret.toml`: what it tells nobody.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    signing_key: String,
    link_key: String,
    certificate_key: String,
    decryption_key: String,
}

/// An authority as it joins a committee: its public file and where it will listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its `authority.json`.
    pub file: PathBuf,
    /// Where clients and authorities will reach it.
    pub addresses: Addresses,
}

/// Reads `FILE,CLIENT_ADDRESS,PEER_ADDRESS`. Errors: what is wrong with it.
pub fn parse_founder(text: &str) -> Result<Founder, String> {
    let wrong = || {
        "an authority is FILE,CLIENT,PEER, like a/authority.json,10.0.0.1:7000,10.0.0.1:7001"
            .to_owned()
    };
    let mut parts = text.rsplitn(3, ',');
    let mut address = || -> Option<SocketAddr> { parts.next()?.parse().ok() };
    let (peer, client) = (address().ok_or_else(wrong)?, address().ok_or_else(wrong)?);
    let file = parts.next().filter(|file| !file.is_empty());
    Ok(Founder {
        file: PathBuf::from(file.ok_or_else(wrong)?),
        addresses: Addresses { client, peer },
    })
}

/// Makes one authority's own keys in `out`: `authority.json`, and `secret.toml` for its owner only.
///
/// `entropy` are 32 uniformly random bytes for each key. Errors: the file system; nothing is written over.
pub fn make_keys(
    out: &Path,
    [signing, link, decryption, certificate]: [&[u8; 32]; 4],
) -> anyhow::Result<()> {
    let (signing, link, decryption, certificate) = (
        SigningKey::from_bytes(signing),
        LinkSecret::from_bytes(link),
        DecryptionKey::generate(decryption),
        CertificateSecret::generate(certificate),
    );
    let public = AuthorityFile {
        version: FILE_VERSION,
        signing_key: hex::encode(signing.verifying_key().to_bytes()),
        link_key: hex::encode(link.public()),
        certificate_key: hex::encode(certificate.public().bytes()),
        certificate_possession: hex::encode(certificate.possession().0),
        encryption_key: hex::encode(decryption.public().bytes()),
    };
    let secret = SecretFile {
        signing_key: hex::encode(signing.to_bytes()),
        link_key: hex::encode(link.bytes()),
        certificate_key: hex::encode(certificate.to_bytes().as_slice()),
        decryption_key: hex::encode(decryption.to_bytes().as_slice()),
    };
    std::fs::create_dir_all(out)?;
    let secret_path = out.join(SECRET_FILE);
    write_secret(&secret_path, &to_toml(&secret))
        .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", secret_path.display()))?;
    let json = serde_json::to_string_pretty(&public)? + "\n";
    std::fs::write(out.join(AUTHORITY_FILE), json)?;
    Ok(())
}

/// Puts a committee together from public keys, in the order in which they are given.
///
/// `renew_us` as in [`KeyPlan`]. Errors: a file that is none, or a committee that cannot be.
pub fn found(
    chain_id: ChainId,
    epoch_start: TimestampUs,
    rollups: Vec<Rollup>,
    renew_us: Option<u64>,
    founders: &[Founder],
) -> anyhow::Result<Roster> {
    let (mut signing_keys, mut link_keys) = (Vec::new(), Vec::new());
    let (mut encryption_keys, mut certificate_keys) = (Vec::new(), Vec::new());
    for founder in founders {
        let public = read_authority(&founder.file)?;
        signing_keys.push(public.signing);
        link_keys.push(public.link);
        encryption_keys.push(public.encryption);
        certificate_keys.push(public.certificate);
    }
    let parameters = Parameters::default();
    let committee = Committee::new(
        chain_id,
        Epoch(0),
        epoch_start,
        parameters,
        rollups,
        signing_keys,
    )?
    .with_certificate_keys(&certificate_keys)?;
    let plan = KeyPlan {
        encryption_keys,
        threshold: committee.thresholds().quorum(),
        window_anchors: WINDOW_ANCHORS,
        renew_us,
    };
    let roster = Roster {
        committee: committee.with_key_plan(plan)?,
        sealing_key: None,
        addresses: founders.iter().map(|founder| founder.addresses).collect(),
        link_keys,
    };
    // What is wrong with addresses and link keys, the file's own check says.
    Ok(CommitteeFile::describe_roster(&roster).roster()?)
}

/// The keys in an `authority.json`.
struct PublicKeys {
    signing: VerifyingKey,
    link: [u8; LINK_KEY_LEN],
    encryption: EncryptionKey,
    certificate: ([u8; KEY_LEN], Possession),
}

fn read_authority(path: &Path) -> anyhow::Result<PublicKeys> {
    let wrong = |what: String| anyhow::anyhow!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: AuthorityFile =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    anyhow::ensure!(
        file.version == FILE_VERSION,
        wrong(format!("version {} is unknown", file.version))
    );
    let signing = from_hex(&file.signing_key).and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let link = from_hex(&file.link_key);
    let encryption = from_hex(&file.encryption_key).and_then(|key| EncryptionKey::decode(&key));
    let certificate = from_hex(&file.certificate_key);
    let certificate = certificate.and_then(|bytes| Some((bytes, CertificateKey::decode(&bytes)?)));
    let (certificate, key) = certificate
        .ok_or_else(|| wrong("certificate_key is not a point of G2's subgroup".into()))?;
    let possession = from_hex(&file.certificate_possession).map(Possession);
    let possession = possession
        .filter(|possession| key.is_possessed(possession))
        .ok_or_else(|| {
            wrong(
                "certificate_possession does not show that the secret of certificate_key is known"
                    .into(),
            )
        })?;
    Ok(PublicKeys {
        signing: signing.ok_or_else(|| wrong("signing_key is not an Ed25519 key".into()))?,
        link: link.ok_or_else(|| wrong("link_key is not 32 bytes in hexadecimal".into()))?,
        encryption: encryption
            .ok_or_else(|| wrong("encryption_key is not a valid point".into()))?,
        certificate: (certificate, possession),
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Writes `node.toml`, and `settle-ROLLUP.toml` for each rollup, beside the secrets in `keys`; gives the authority's index.
///
/// Errors: the authority is not in the committee file, or the file system; nothing is written over.
pub fn join(keys: &Path, committee: &Path) -> anyhow::Result<u8> {
    let secret: SecretFile = read_toml(&keys.join(SECRET_FILE))?;
    let PublicKeys { signing, .. } = read_authority(&keys.join(AUTHORITY_FILE))?;
    let roster = Roster::load(committee)?;
    let mut members = roster.committee.signing_keys().iter();
    let place = members.position(|key| *key == signing);
    let place = place
        .ok_or_else(|| anyhow::anyhow!("{} is not in {}", keys.display(), committee.display()))?;
    let index = u8::try_from(place)?;
    let Addresses { client, peer } = roster.addresses[place];
    let socket = PathBuf::from("node.sock");
    let config = NodeConfig {
        index,
        committee: committee.canonicalize()?,
        client_listen: client,
        udp_listen: None,
        udp_xdp: None,
        udp_gro: false,
        peer_listen: peer,
        metrics_listen: None,
        settle_socket: socket.clone(),
        settle_listen: None,
        settle_workers: Vec::new(),
        data: PathBuf::from("node"),
        signing_key: secret.signing_key,
        link_key: secret.link_key,
        certificate_key: secret.certificate_key,
        key_share: None,
        decryption_key: Some(secret.decryption_key),
        certificates: false,
        durability: Durability::Sync,
        backend: BackendName::Auto,
        journal_backend: AppendChoice::default(),
        authorities_here: 1,
        journal_segment_bytes: SEGMENT_LEN_DEFAULT,
        settle_ring_bytes: 64 << 20,
        retention_bytes: retention_bytes(),
        retention_unsettled_bytes: retention_unsettled_bytes(),
        timers: Timers::default(),
        quotas: Quotas::default(),
        wait: Wait::default(),
    };
    write_secret(&keys.join(NODE_FILE), &to_toml(&config))?;
    for rollup in &roster.committee.rollups {
        let rollup = rollup.id.0;
        let config = SettleConfig {
            chain_id: roster.committee.chain_id.0,
            rollup,
            socket: Some(socket.clone()),
            node: None,
            authority: None,
            key: None,
            data: PathBuf::from(format!("settle-{rollup}")),
            finality: FinalityName::Node,
            committee: Some(committee.canonicalize()?),
            sink: SinkName::default(),
            ndjson: None,
        };
        let path = keys.join(format!("settle-{rollup}.toml"));
        write_secret(&path, &to_toml(&config))?;
    }
    Ok(index)
}

/// The public half, in the folder that `keygen` makes.
pub const AUTHORITY_FILE: &str = "authority.json";
/// The secret half.
pub const SECRET_FILE: &str = "secret.toml";
/// The node's configuration, secrets in it.
pub const NODE_FILE: &str = "node.toml";

const FILE_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fairlane_engine::committee::RollupPolicy;
    use fairlane_engine::types::{AuthorityIndex, RollupId};

    use super::*;

    fn founders(folder: &Path, n: u8) -> Vec<Founder> {
        (0..n)
            .map(|index| {
                let out = folder.join(format!("authority-{index}"));
                let entropy = [0, 50, 100, 150].map(|more| [index + more; 32]);
                make_keys(&out, entropy.each_ref()).unwrap();
                let file = out.join(AUTHORITY_FILE);
                let port = 7000 + 2 * u16::from(index);
                let text = format!("{},127.0.0.1:{port},127.0.0.1:{}", file.display(), port + 1);
                parse_founder(&text).unwrap()
            })
            .collect()
    }

    fn found_here(founders: &[Founder]) -> anyhow::Result<Roster> {
        let rollup = Rollup {
            id: RollupId(1),
            policy: RollupPolicy::Sealed,
        };
        found(ChainId(9), TimestampUs(5), vec![rollup], None, founders)
    }

    #[test]
    fn a_committee_of_public_keys_takes_each_of_its_authorities_in_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let founders = founders(folder.path(), 4);
        let roster = found_here(&founders).unwrap();
        let committee = folder.path().join("committee.json");
        let json = CommitteeFile::describe_roster(&roster).to_json();
        std::fs::write(&committee, &json).unwrap();
        for index in 0..4u8 {
            let keys = folder.path().join(format!("authority-{index}"));
            assert_eq!(join(&keys, &committee).unwrap(), index);
            for secret in [SECRET_FILE, NODE_FILE, "settle-1.toml"] {
                let mode = std::fs::metadata(keys.join(secret)).unwrap();
                assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{secret}");
            }
            let config: NodeConfig = read_toml(&keys.join(NODE_FILE)).unwrap();
            assert_eq!(config.index, index);
            assert_eq!(config.client_listen.port(), 7000 + 2 * u16::from(index));
            let secrets = [config.decryption_key.unwrap(), config.signing_key];
            assert!(secrets.iter().all(|secret| !json.contains(secret)));
            assert!(!json.contains(&config.link_key));
            assert!(!json.contains(&config.certificate_key));
            let certificate = from_hex(&config.certificate_key).unwrap();
            let certificate = CertificateSecret::from_bytes(&certificate).unwrap();
            let published = roster.committee.certificate_keys().unwrap();
            let published = published.find(AuthorityIndex(index)).unwrap();
            assert_eq!(certificate.public(), *published);
            let link = hex::decode(config.link_key).unwrap().try_into().unwrap();
            let public = LinkSecret::from_bytes(&link).public();
            assert_eq!(roster.link_keys[usize::from(index)], public);
            assert!(join(&keys, &committee).is_err(), "nothing is written over");
        }
    }

    #[test]
    fn who_is_no_member_or_a_member_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut founders = founders(folder.path(), 4);
        let three = found_here(&founders[..3]).unwrap();
        let committee = folder.path().join("committee.json");
        let json = CommitteeFile::describe_roster(&three).to_json();
        std::fs::write(&committee, json).unwrap();
        let refused = join(&folder.path().join("authority-3"), &committee);
        assert!(refused.unwrap_err().to_string().contains("is not in"));

        founders[1].file = founders[0].file.clone();
        assert!(found_here(&founders).is_err(), "one key twice");
        founders.truncate(1);
        founders.push(founders[0].clone());
        assert!(found_here(&founders).is_err());
        let again = make_keys(
            &folder.path().join("authority-0"),
            [&[1; 32], &[2; 32], &[3; 32], &[4; 32]],
        );
        assert!(again.is_err(), "keys are not written over");
    }

    #[test]
    fn an_authority_that_shows_no_possession_of_its_certificate_key_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let founders = founders(folder.path(), 4);
        let read = |founder: &Founder| -> AuthorityFile {
            serde_json::from_str(&std::fs::read_to_string(&founder.file).unwrap()).unwrap()
        };
        let mut rogue = read(&founders[1]);
        rogue.certificate_possession = read(&founders[0]).certificate_possession;
        let text = serde_json::to_string(&rogue).unwrap();
        std::fs::write(&founders[1].file, text).unwrap();
        let refused = found_here(&founders).unwrap_err().to_string();
        assert!(
            refused.contains("authority-1/authority.json: certificate_possession does not show"),
            "{refused}"
        );
    }

    #[test]
    fn an_authority_reads_as_written_and_else_is_refused() {
        let read = parse_founder("a,b/authority.json,10.0.0.1:7000,[::1]:7001").unwrap();
        assert_eq!(read.file, PathBuf::from("a,b/authority.json"));
        assert_eq!(read.addresses.peer.port(), 7001);
        for text in [
            "",
            "x",
            "x,10.0.0.1:1",
            ",10.0.0.1:1,10.0.0.1:2",
            "x,here,10.0.0.1:2",
        ] {
            assert!(parse_founder(text).is_err(), "{text:?}");
        }
    }
}
