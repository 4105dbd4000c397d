//! The secrets in a node's configuration, each held against what the committee file has for this authority.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_client::committee_file::Roster;
use fairlane_engine::certificate::CertificateSecret;
use fairlane_engine::committee::Committee;
use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
use fairlane_engine::keyring::{CommitteeKey, EngineKeys};
use fairlane_engine::seal::{KeyShare, SealingKey};
use fairlane_engine::types::{AuthorityIndex, ChainId};
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::session::keys::{LinkKeys, LinkSecret};
use crate::settle::WorkerKeys;
use crate::testnet::system_entropy;

pub(crate) fn read_keys(
    config: &NodeConfig,
    roster: &Roster,
    own: AuthorityIndex,
    path: &Path,
) -> anyhow::Result<EngineKeys> {
    let wrong = |what: &str| anyhow::anyhow!("{}: {what}", path.display());
    let committee = &roster.committee;
    anyhow::ensure!(
        committee.thresholds().has_member(own),
        wrong("index names no authority of the committee")
    );
    let secret = secret_of("signing_key", &config.signing_key).map_err(|what| wrong(&what))?;
    let signing = SigningKey::from_bytes(&secret);
    anyhow::ensure!(
        signing.verifying_key() == committee.signing_keys()[own.as_usize()],
        wrong("signing_key is not the key of this authority in the committee file")
    );
    let (dealt, decryption) = match (committee.key_plan(), &roster.sealing_key) {
        (None, Some(sealing)) => (Some(read_share(config, sealing, own, &wrong)?), None),
        // The key in the file, if there is one, is for clients: the own share of it is in no file.
        (Some(plan), _) => (None, Some(read_decryption_key(config, plan, own, &wrong)?)),
        (None, None) => anyhow::bail!(wrong("the committee file has no key and makes none")),
    };
    Ok(EngineKeys {
        dealt,
        decryption,
        signing,
        process_secret: system_entropy()?,
    })
}

pub(super) fn read_link_keys(
    config: &NodeConfig,
    roster: &Roster,
    own: AuthorityIndex,
    path: &Path,
) -> anyhow::Result<Arc<LinkKeys>> {
    let wrong = |what: String| anyhow::anyhow!("{}: {what}", path.display());
    let secret = LinkSecret::from_bytes(&*secret_of("link_key", &config.link_key).map_err(wrong)?);
    let keys = LinkKeys::new(&roster.committee, &roster.link_keys, own, secret);
    Ok(Arc::new(keys.map_err(|error| wrong(error.to_string()))?))
}

/// The keys of remote settlement workers. Errors: what is wrong with them.
pub(super) fn worker_keys(
    config: &NodeConfig,
    chain_id: ChainId,
    own: AuthorityIndex,
    secret: LinkSecret,
) -> Result<WorkerKeys, String> {
    let mut workers = Vec::new();
    for text in &config.settle_workers {
        let mut key = [0; 32];
        let decoded = hex::decode_to_slice(text, &mut key);
        decoded.map_err(|_| "a key in settle_workers is not 32 bytes in hexadecimal".to_owned())?;
        workers.push(key);
    }
    WorkerKeys::new(chain_id, own, secret, &workers)
}

/// Errors: not the key that the committee file has for `own`.
pub(crate) fn read_certificate_secret(
    config: &NodeConfig,
    committee: &Committee,
    own: AuthorityIndex,
    path: &Path,
) -> anyhow::Result<CertificateSecret> {
    let wrong = |what: &str| anyhow::anyhow!("{}: {what}", path.display());
    let bytes = secret_of("certificate_key", &config.certificate_key);
    let bytes = bytes.map_err(|what| wrong(&what))?;
    let secret = CertificateSecret::from_bytes(&bytes);
    let secret = secret.ok_or_else(|| wrong("certificate_key is not a valid key"))?;
    let keys = committee.certificate_keys();
    anyhow::ensure!(
        keys.and_then(|keys| keys.find(own)) == Some(&secret.public()),
        wrong("certificate_key is not the key of this authority in the committee file")
    );
    Ok(secret)
}

fn secret_of(name: &str, text: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    match hex::decode_to_slice(text, &mut *bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(format!("{name} is not 32 bytes in hexadecimal")),
    }
}

fn read_share(
    config: &NodeConfig,
    sealing: &SealingKey,
    own: AuthorityIndex,
    wrong: &impl Fn(&str) -> anyhow::Error,
) -> anyhow::Result<CommitteeKey> {
    let text = config.key_share.as_deref();
    let text = text.ok_or_else(|| wrong("key_share is missing, and a dealer made the key"))?;
    let bytes = hex::decode(text).map_err(|_| wrong("key_share is not hexadecimal"))?;
    let share = KeyShare::from_bytes(sealing, &bytes)
        .map_err(|error| wrong(&format!("key_share: {error}")))?;
    anyhow::ensure!(
        share.author() == own,
        wrong("key_share is another authority's")
    );
    Ok(CommitteeKey {
        sealing: sealing.clone(),
        share: Some(share),
    })
}

fn read_decryption_key(
    config: &NodeConfig,
    plan: &KeyPlan,
    own: AuthorityIndex,
    wrong: &impl Fn(&str) -> anyhow::Error,
) -> anyhow::Result<Arc<DecryptionKey>> {
    let text = config.decryption_key.as_deref();
    let text = text.ok_or_else(|| {
        wrong("decryption_key is missing, and the committee makes its key itself")
    })?;
    let bytes = secret_of("decryption_key", text).map_err(|what| wrong(&what))?;
    let key = DecryptionKey::from_bytes(&bytes);
    let key = key.ok_or_else(|| wrong("decryption_key is not a valid key"))?;
    anyhow::ensure!(
        plan.encryption_keys.get(own.as_usize()) == Some(&key.public()),
        wrong("decryption_key is not the key of this authority in the committee file")
    );
    Ok(Arc::new(key))
}
