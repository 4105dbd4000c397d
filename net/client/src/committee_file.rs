//! The committee file: who the authorities are, where they listen, and the key that envelopes are sealed to.
//!
//! One JSON object, public, the same for clients, nodes and workers:
//! `{version: 1, chain_id, epoch, epoch_start_us, parameters: {deferral_cap, gc_depth_rounds, vertex_entries_max,
//! leader_return_anchors, checkpoint_interval_rounds, certificate_interval_us}, reveal_threshold, committee_key, key_id, rollups: [{id, policy}],
//! authorities: [{index, signing_key, link_key, certificate_key, certificate_possession, verification_share, client_address,
//! peer_address}]}`; keys and ids in hexadecimal, addresses as `ip:port`.
//!
//! A committee that makes its key itself has `key_generation: {window_anchors, renew_us}` and an `encryption_key` for each
//! authority. Its file has no `committee_key`, `key_id` and `verification_share` before the key is made, and these and
//! `key_epoch` after; nodes start from either, clients need the latter. With `renew_us` the key of the file is the newest
//! of its time: clients learn of those after it from the nodes.
//!
//! Invariant: a [`Directory`] holds only what was checked: keys are points, shares and committee key belong together,
//! the key id is theirs, who publishes a certificate key possesses it, indices count from 0, no key, rollup or address stands twice. (Whether a link key is one at all, its
//! user finds out.) Unknown fields are refused: a
//! misspelt parameter must not quietly become its default.

use std::net::SocketAddr;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use fairlane_engine::certificate::{CertificateKeysError, Possession};
use fairlane_engine::committee::{Committee, CommitteeError, Parameters, Rollup, RollupPolicy};
use fairlane_engine::dkg::{EncryptionKey, KeyPlan, SessionError};
use fairlane_engine::seal::{KeyError, SealingKey};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};
use serde::{Deserialize, Serialize};

/// The file as it is written; [`CommitteeFile::resolve`] checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeFile {
    /// Version of the format: 1.
    pub version: u32,
    /// The chain.
    pub chain_id: u64,
    /// The epoch that the keys are for.
    pub epoch: u32,
    /// Consensus time before the first anchor, microseconds since the Unix epoch.
    pub epoch_start_us: u64,
    /// What every authority must agree on.
    pub parameters: ParametersPart,
    /// How many authorities open envelopes together.
    pub reveal_threshold: u32,
    /// X, 32 bytes in hexadecimal; none before the committee has made its key, like the two that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committee_key: Option<String>,
    /// Name of X, 16 bytes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The epoch that X is for, where it is not `epoch`: a committee makes its first key for the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_epoch: Option<u32>,
    /// The committee makes its key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_generation: Option<KeyGenerationPart>,
    /// The rollups served.
    pub rollups: Vec<RollupPart>,
    /// The authorities, by index.
    pub authorities: Vec<AuthorityPart>,
}

/// See [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParametersPart {
    /// D, from 1.
    pub deferral_cap: u32,
    /// G, from 8.
    pub gc_depth_rounds: u64,
    /// Entries one vertex may list.
    pub vertex_entries_max: u32,
    /// Anchors after which a leader that missed a slot leads again, from 1.
    pub leader_return_anchors: u32,
    /// Rounds from checkpoint to checkpoint.
    pub checkpoint_interval_rounds: u64,
    /// Consensus time from certificate to certificate, microseconds.
    pub certificate_interval_us: u64,
}

/// How the committee makes its key; see [`KeyPlan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyGenerationPart {
    /// W, from 1.
    pub window_anchors: u64,
    /// Consensus time from one key to the start of the generation of the next, microseconds; absent or 0: a key is kept.
    #[serde(default, skip_serializing_if = "is_kept")]
    pub renew_us: u64,
}

/// A file says nothing of renewal where there is none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_kept(renew_us: &u64) -> bool {
    *renew_us == 0
}

/// One rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupPart {
    /// Its id.
    pub id: u64,
    /// `sealed`, `open` or `either`.
    pub policy: RollupPolicy,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityPart {
    /// Its index, which is its place in the list.
    pub index: u8,
    /// Ed25519 key, 32 bytes in hexadecimal.
    pub signing_key: String,
    /// X25519 key of its links to the other authorities, 32 bytes in hexadecimal. Every file has it.
    #[serde(default)]
    pub link_key: Option<String>,
    /// BLS12-381 key of its certificates' signatures, 96 bytes in hexadecimal. Every file has it.
    #[serde(default)]
    pub certificate_key: Option<String>,
    /// Shows that it knows that key's secret, 48 bytes in hexadecimal. Every file has it.
    #[serde(default)]
    pub certificate_possession: Option<String>,
    /// X_i, 32 bytes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_share: Option<String>,
    /// E_i, 32 bytes in hexadecimal, where the committee makes its key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<String>,
    /// Where clients reach it.
    pub client_address: String,
    /// Where the other authorities reach it.
    pub peer_address: String,
}

/// Where one authority listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub client: SocketAddr,
    /// For the other authorities.
    pub peer: SocketAddr,
}

/// A committee file that was checked.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Members, thresholds, parameters, rollups.
    pub committee: Committee,
    /// What envelopes are sealed to and shares are checked with.
    pub sealing_key: SealingKey,
    /// Where the authorities listen, by index.
    pub addresses: Vec<Addresses>,
    /// The public keys of their links, by index; clients need none.
    pub link_keys: Vec<[u8; LINK_KEY_LEN]>,
}

/// A committee file that was checked and may lack a key: what a node starts from.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Members, thresholds, parameters, rollups, and how keys are made.
    pub committee: Committee,
    /// What envelopes are sealed to, once there is one.
    pub sealing_key: Option<SealingKey>,
    /// Where the authorities listen, by index.
    pub addresses: Vec<Addresses>,
    /// The public keys of their links, by index.
    pub link_keys: Vec<[u8; LINK_KEY_LEN]>,
}

impl Roster {
    /// Reads and checks the file at `path`. Errors: one sentence that names file and field.
    pub fn load(path: &Path) -> Result<Self, CommitteeFileError> {
        load(path, CommitteeFile::roster)
    }

    /// The directory that clients need. Errors: there is no key yet.
    pub fn into_directory(self) -> Result<Directory, CommitteeFileError> {
        let missing = "is missing; a committee makes its key at its first start, and each node then \
                       writes a committee file with it into its data folder";
        let sealing_key = self.sealing_key;
        Ok(Directory {
            committee: self.committee,
            sealing_key: sealing_key.ok_or_else(|| field_error("committee_key", missing.into()))?,
            addresses: self.addresses,
            link_keys: self.link_keys,
        })
    }
}

impl From<Directory> for Roster {
    fn from(directory: Directory) -> Self {
        Self {
            committee: directory.committee,
            sealing_key: Some(directory.sealing_key),
            addresses: directory.addresses,
            link_keys: directory.link_keys,
        }
    }
}

fn load<T>(
    path: &Path,
    resolve: impl FnOnce(&CommitteeFile) -> Result<T, CommitteeFileError>,
) -> Result<T, CommitteeFileError> {
    let name = path.display().to_string();
    let read = std::fs::read_to_string(path).map_err(|error| CommitteeFileError::Read {
        path: name.clone(),
        reason: error.to_string(),
    })?;
    CommitteeFile::parse(&read)
        .and_then(|file| resolve(&file))
        .map_err(|error| CommitteeFileError::InFile {
            path: name,
            error: Box::new(error),
        })
}

impl Directory {
    /// Reads and checks the file at `path`. Errors: one sentence that names file and field; a file without a key is one.
    pub fn load(path: &Path) -> Result<Self, CommitteeFileError> {
        load(path, CommitteeFile::resolve)
    }

    /// Where clients reach the authorities, by index.
    pub fn client_addresses(&self) -> Vec<SocketAddr> {
        self.addresses
            .iter()
            .map(|address| address.client)
            .collect()
    }
}

impl CommitteeFile {
    /// Reads JSON; checks its shape only. Errors: not JSON, or a field missing, unknown or of another type.
    pub fn parse(json: &str) -> Result<Self, CommitteeFileError> {
        let mut input = serde_json::Deserializer::from_str(json);
        let parsed = serde_path_to_error::deserialize(&mut input).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            field_error(if path == "." { "the object" } else { &path }, reason)
        })?;
        input
            .end()
            .map_err(|error| field_error("the end of the object", error.to_string()))?;
        Ok(parsed)
    }

    /// The file of `directory`: what [`CommitteeFile::resolve`] turns back into it.
    pub fn describe(directory: &Directory) -> Self {
        Self::describe_roster(&directory.clone().into())
    }

    /// The file of `roster`: what [`CommitteeFile::roster`] turns back into it.
    pub fn describe_roster(roster: &Roster) -> Self {
        let (committee, key) = (&roster.committee, roster.sealing_key.as_ref());
        let plan = committee.key_plan();
        let threshold = key.map(SealingKey::threshold);
        let threshold = threshold.or(plan.map(|plan| plan.threshold));
        let share_of = |author| Some(hex::encode(key?.verification_share(author)?.bytes()));
        let encryption_key_of =
            |author: AuthorityIndex| plan?.encryption_keys.get(author.as_usize());
        let certificate_keys: Vec<_> = committee.certificate_keys().map_or_else(Vec::new, |keys| {
            keys.iter()
                .map(|(key, possession)| (hex::encode(key.bytes()), hex::encode(possession.0)))
                .collect()
        });
        let certificate_key_of = |author: AuthorityIndex| certificate_keys.get(author.as_usize());
        let parameters = &committee.parameters;
        let authorities = committee
            .thresholds()
            .members()
            .zip(committee.signing_keys())
            .zip(&roster.addresses)
            .zip(&roster.link_keys);
        Self {
            version: FILE_VERSION,
            chain_id: committee.chain_id.0,
            epoch: committee.epoch.0,
            epoch_start_us: committee.epoch_start.0,
            parameters: ParametersPart {
                deferral_cap: parameters.deferral_cap,
                gc_depth_rounds: parameters.gc_depth_rounds,
                vertex_entries_max: parameters.vertex_entries_max,
                leader_return_anchors: parameters.leader_return_anchors,
                checkpoint_interval_rounds: parameters.checkpoint_interval_rounds,
                certificate_interval_us: parameters.certificate_interval_us,
            },
            reveal_threshold: threshold.unwrap_or(committee.thresholds().quorum()),
            committee_key: key.map(|key| hex::encode(key.committee_key().bytes())),
            key_id: key.map(|key| hex::encode(key.key_id().0)),
            key_epoch: key
                .map(|key| key.epoch().0)
                .filter(|epoch| *epoch != committee.epoch.0),
            key_generation: plan.map(|plan| KeyGenerationPart {
                window_anchors: plan.window_anchors,
                renew_us: plan.renew_us.unwrap_or(0),
            }),
            rollups: committee
                .rollups
                .iter()
                .map(|rollup| RollupPart {
                    id: rollup.id.0,
                    policy: rollup.policy,
                })
                .collect(),
            authorities: authorities
                .map(
                    |(((index, signing_key), addresses), link_key)| AuthorityPart {
                        index: index.0,
                        signing_key: hex::encode(signing_key.to_bytes()),
                        link_key: Some(hex::encode(link_key)),
                        certificate_key: certificate_key_of(index).map(|(key, _)| key.clone()),
                        certificate_possession: certificate_key_of(index)
                            .map(|(_, possession)| possession.clone()),
                        verification_share: share_of(index),
                        encryption_key: encryption_key_of(index)
                            .map(|key| hex::encode(key.bytes())),
                        client_address: addresses.client.to_string(),
                        peer_address: addresses.peer.to_string(),
                    },
                )
                .collect(),
        }
    }

    /// As indented JSON with a line end.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self)
            .expect("numbers, strings and lists of them always become JSON");
        json.push('\n');
        json
    }

    /// Checks everything, for a client. Errors: the first field that does not hold, and why; no key is one.
    pub fn resolve(&self) -> Result<Directory, CommitteeFileError> {
        self.roster()?.into_directory()
    }

    /// Checks everything, for a node. Errors: the first field that does not hold, and why.
    pub fn roster(&self) -> Result<Roster, CommitteeFileError> {
        if self.version != FILE_VERSION {
            let reason = format!(
                "is {}, but this build knows version {FILE_VERSION}",
                self.version
            );
            return Err(field_error("version", reason));
        }
        let committee = self.with_certificate_keys(self.committee()?)?;
        let committee = match self.key_generation {
            Some(part) => self.with_key_plan(committee, part)?,
            None => committee,
        };
        // A committee that makes its key itself has none at first; all other files lack something without one.
        let is_made = self.key_generation.is_none() || self.committee_key.is_some();
        let sealing_key = is_made.then(|| self.sealing_key()).transpose()?;
        let addresses = self.addresses()?;
        Ok(Roster {
            committee,
            sealing_key,
            addresses,
            link_keys: self.link_keys()?,
        })
    }

    fn with_key_plan(
        &self,
        committee: Committee,
        part: KeyGenerationPart,
    ) -> Result<Committee, CommitteeFileError> {
        let mut encryption_keys = Vec::new();
        for (place, authority) in self.authorities.iter().enumerate() {
            let field = in_authority(place, "encryption_key");
            let bytes = from_hex(&field, there(&field, &authority.encryption_key)?)?;
            let key = EncryptionKey::decode(&bytes);
            encryption_keys
                .push(key.ok_or_else(|| field_error(&field, "is not a valid point".to_owned()))?);
        }
        let plan = KeyPlan {
            encryption_keys,
            threshold: self.reveal_threshold,
            window_anchors: part.window_anchors,
            renew_us: Some(part.renew_us).filter(|renew_us| *renew_us > 0),
        };
        committee.with_key_plan(plan).map_err(|error| {
            let field = match error {
                SessionError::Key(_) => "reveal_threshold",
                SessionError::Window => "key_generation.window_anchors",
                SessionError::DuplicateKey | SessionError::Count { .. } => "authorities",
            };
            field_error(field, error.to_string())
        })
    }

    fn committee(&self) -> Result<Committee, CommitteeFileError> {
        let mut signing_keys = Vec::new();
        for (place, authority) in self.authorities.iter().enumerate() {
            if usize::from(authority.index) != place {
                let reason = format!("is {}, but indices count from 0 in order", authority.index);
                return Err(field_error(&in_authority(place, "index"), reason));
            }
            let field = in_authority(place, "signing_key");
            let bytes = from_hex(&field, &authority.signing_key)?;
            let key = VerifyingKey::from_bytes(&bytes)
                .ok()
                .filter(|key| !key.is_weak())
                .ok_or_else(|| field_error(&field, "is not an Ed25519 key".to_owned()))?;
            signing_keys.push(key);
        }
        let rollups = self.rollups.iter().map(|rollup| Rollup {
            id: RollupId(rollup.id),
            policy: rollup.policy,
        });
        let parameters = Parameters {
            deferral_cap: self.parameters.deferral_cap,
            gc_depth_rounds: self.parameters.gc_depth_rounds,
            vertex_entries_max: self.parameters.vertex_entries_max,
            leader_return_anchors: self.parameters.leader_return_anchors,
            checkpoint_interval_rounds: self.parameters.checkpoint_interval_rounds,
            certificate_interval_us: self.parameters.certificate_interval_us,
        };
        Committee::new(
            ChainId(self.chain_id),
            Epoch(self.epoch),
            TimestampUs(self.epoch_start_us),
            parameters,
            rollups.collect(),
            signing_keys,
        )
        .map_err(|error| {
            let field = match error {
                CommitteeError::Size(_) | CommitteeError::DuplicateKey => "authorities",
                CommitteeError::DuplicateRollup => "rollups",
                CommitteeError::Parameters => "parameters",
            };
            field_error(field, error.to_string())
        })
    }

    fn with_certificate_keys(&self, committee: Committee) -> Result<Committee, CommitteeFileError> {
        let mut encoded = Vec::new();
        for (place, authority) in self.authorities.iter().enumerate() {
            let key = made_here(place, "certificate_key", &authority.certificate_key)?;
            let name = "certificate_possession";
            let possession = made_here(place, name, &authority.certificate_possession)?;
            encoded.push((key, Possession(possession)));
        }
        committee.with_certificate_keys(&encoded).map_err(|error| {
            let (author, name, reason) = match error {
                CertificateKeysError::Key(author) => (
                    author,
                    "certificate_key",
                    "is not a point of G2's subgroup, or is the identity",
                ),
                CertificateKeysError::Possession(author) => (
                    author,
                    "certificate_possession",
                    "does not show that the secret of certificate_key is known",
                ),
                CertificateKeysError::Twice(author) => {
                    (author, "certificate_key", "is another authority's, too")
                }
                CertificateKeysError::Size(_) | CertificateKeysError::Count { .. } => {
                    return field_error("authorities", error.to_string());
                }
            };
            field_error(&in_authority(author.as_usize(), name), reason.to_owned())
        })
    }

    fn sealing_key(&self) -> Result<SealingKey, CommitteeFileError> {
        let mut shares = Vec::new();
        for (place, authority) in self.authorities.iter().enumerate() {
            let field = in_authority(place, "verification_share");
            shares.push(from_hex(
                &field,
                there(&field, &authority.verification_share)?,
            )?);
        }
        let key = SealingKey::from_parts(
            ChainId(self.chain_id),
            Epoch(self.key_epoch.unwrap_or(self.epoch)),
            // `committee` has bounded the list.
            u32::try_from(shares.len()).unwrap_or(u32::MAX),
            self.reveal_threshold,
            from_hex(
                "committee_key",
                there("committee_key", &self.committee_key)?,
            )?,
            &shares,
        )
        .map_err(|error| {
            let field = match error {
                KeyError::VerificationShare(author) => {
                    in_authority(author.as_usize(), "verification_share")
                }
                KeyError::Threshold { .. } => "reveal_threshold".to_owned(),
                _ => "committee_key".to_owned(),
            };
            field_error(&field, error.to_string())
        })?;
        if from_hex("key_id", there("key_id", &self.key_id)?)? != key.key_id().0 {
            let reason = format!(
                "is not that of the committee key, which is {}",
                key.key_id()
            );
            return Err(field_error("key_id", reason));
        }
        Ok(key)
    }

    fn link_keys(&self) -> Result<Vec<[u8; LINK_KEY_LEN]>, CommitteeFileError> {
        let mut keys: Vec<[u8; LINK_KEY_LEN]> = Vec::new();
        for (place, authority) in self.authorities.iter().enumerate() {
            let key = made_here(place, "link_key", &authority.link_key)?;
            if keys.contains(&key) {
                let field = in_authority(place, "link_key");
                let reason = "is another authority's, too".to_owned();
                return Err(field_error(&field, reason));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn addresses(&self) -> Result<Vec<Addresses>, CommitteeFileError> {
        let mut seen: Vec<SocketAddr> = Vec::new();
        let mut read = |place, name, text: &str| {
            let field = in_authority(place, name);
            let Ok(address) = text.parse::<SocketAddr>() else {
                let reason = format!("{text:?} is not an address such as 127.0.0.1:7000");
                return Err(field_error(&field, reason));
            };
            if seen.contains(&address) {
                let reason = format!("{address} stands twice, but each listener needs its own");
                return Err(field_error(&field, reason));
            }
            seen.push(address);
            Ok(address)
        };
        let authorities = self.authorities.iter().enumerate();
        authorities
            .map(|(place, authority)| {
                Ok(Addresses {
                    client: read(place, "client_address", &authority.client_address)?,
                    peer: read(place, "peer_address", &authority.peer_address)?,
                })
            })
            .collect()
    }
}

/// Why a committee file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeFileError {
    /// The file cannot be read.
    #[error("cannot read the committee file {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A field does not hold.
    #[error("{field}: {reason}")]
    Field {
        /// Where it stands.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A field of this file does not hold.
    #[error("the committee file {path} cannot be used: {error}")]
    InFile {
        /// The file.
        path: String,
        /// The field and what is wrong.
        error: Box<CommitteeFileError>,
    },
}

fn field_error(field: &str, reason: String) -> CommitteeFileError {
    CommitteeFileError::Field {
        field: field.to_owned(),
        reason,
    }
}

fn there<'a>(field: &str, text: &'a Option<String>) -> Result<&'a str, CommitteeFileError> {
    let text = text.as_deref();
    text.ok_or_else(|| field_error(field, "is missing".to_owned()))
}

/// What every authority makes for itself, whoever makes the file.
fn made_here<const N: usize>(
    place: usize,
    name: &str,
    text: &Option<String>,
) -> Result<[u8; N], CommitteeFileError> {
    let field = in_authority(place, name);
    let missing = || "is missing; make the keys and this file again".to_owned();
    let text = text.as_deref();
    from_hex(&field, text.ok_or_else(|| field_error(&field, missing()))?)
}

fn in_authority(place: usize, name: &str) -> String {
    format!("authorities[{place}].{name}")
}

fn from_hex<const N: usize>(field: &str, text: &str) -> Result<[u8; N], CommitteeFileError> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(field_error(
            field,
            format!("is not {N} bytes in hexadecimal"),
        )),
    }
}

/// Length of a link key.
pub const LINK_KEY_LEN: usize = 32;

const FILE_VERSION: u32 = 1;

#[cfg(test)]
#[path = "committee_file_tests.rs"]
mod tests;
