//! The sealing keys of a committee over time: which are in force, which is being made, and the own shares of them.
//!
//! Without a [`KeyPlan`] there is the dealer's key, for ever. With one, the committee makes its keys itself
//! ([`crate::dkg`]): the first at the start unless a dealer made it, the next when a key is [`KeyPlan::renew_us`] old. A
//! generation that fails leaves the key before it in force, and the next begins, under the next epoch: at once while there is no
//! key, else a minute later, or that time if it is shorter. (What made it fail may last, and a generation keeps rounds going.)
//!
//! Keys are known by key id and overlap. When a key is made, at consensus time T, those before it end at T + 90 s, which no
//! envelope that a correct authority has taken outlives: `valid_until` may lie that far ahead of consensus time at most. A
//! pair that is ready then is emitted within D further anchors, the deferral cap; after those nothing of the key can be
//! emitted any more, its share is erased, and what was never emitted stays sealed for good.
//!
//! Invariants. I1: which keys are in force, and how far a generation is, follows from the committed sequence; it is part of the
//! canonical state ([`Keyring::encode_state`]). I2: at most [`KEYS_HELD_MAX`] keys; at that bound no generation begins.
//! I3: own shares and random bytes are no part of the state: shares follow from the deals in it.

pub mod statement;

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::admit::label_rules::PEER_TIME_AHEAD_US_MAX;
use crate::committee::Committee;
use crate::dkg::plan::KeyPlan;
use crate::dkg::{DecryptionKey, Failure, Generated, Generation, Outcome, Session, Taken};
use crate::keyring::statement::KeyStatement;
use crate::reveal::RevealKeys;
use crate::seal::deal::KeyShare;
use crate::seal::group::Transcript;
use crate::seal::key::SealingKey;
use crate::types::{AuthorityIndex, AuthoritySet, Epoch, KeyId, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// All keys that an engine is given at its start, secret ones among them.
pub struct EngineKeys {
    /// The key that a dealer made, if one did.
    pub dealt: Option<CommitteeKey>,
    /// Receives shares in key generations; without it an engine only follows them.
    pub decryption: Option<Arc<DecryptionKey>>,
    /// Signs vertices and share messages.
    pub signing: ed25519_dalek::SigningKey,
    /// 32 uniformly random bytes that nobody else knows: weights of batched checks and secrets to deal come from them. Not
    /// to be used by a second process.
    pub process_secret: [u8; 32],
}

impl From<RevealKeys> for EngineKeys {
    fn from(keys: RevealKeys) -> Self {
        Self {
            dealt: Some(CommitteeKey {
                sealing: (*keys.sealing).clone(),
                share: Some(keys.share),
            }),
            decryption: None,
            signing: keys.signing,
            process_secret: keys.process_secret,
        }
    }
}

/// A key of the committee and the own share of it.
#[derive(Debug)]
pub struct CommitteeKey {
    /// The public key.
    pub sealing: SealingKey,
    /// x_i; `None` for who only follows ([`Generated::share`]).
    pub share: Option<KeyShare>,
}

impl CommitteeKey {
    /// Its name.
    pub fn key_id(&self) -> KeyId {
        self.sealing.key_id()
    }
}

/// The keys of one engine.
pub struct Keyring {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    decryption: Option<Arc<DecryptionKey>>,
    process_secret: Zeroizing<[u8; 32]>,
    agreed: Agreed,
    /// By epoch: those agreed on, and ended ones that something here may still need.
    keys: Vec<Arc<CommitteeKey>>,
    version: u64,
    last_failure: Option<(Epoch, Failure)>,
    cheated_by: Option<(Epoch, AuthoritySet)>,
    /// Who is dealt bad shares, in a simulation, and whether nobody is assured of anything.
    #[cfg(feature = "sim")]
    cheated: (AuthoritySet, bool),
}

/// What follows from the committed sequence.
#[derive(Debug)]
pub(crate) struct Agreed {
    held: Vec<Held>,
    generation: Option<Generation>,
    /// The newest epoch that a key is for or was tried for.
    epoch: Epoch,
    /// When the next generation begins, in consensus time.
    due: Option<TimestampUs>,
}

#[derive(Clone, Debug)]
struct Held {
    epoch: Epoch,
    /// Consensus time of the anchor that made it; the start of the epoch for a dealer's.
    since: TimestampUs,
    /// No envelope outlives this; none while it is the newest key.
    until: Option<TimestampUs>,
    /// The first anchor whose consensus time is past that.
    past: Option<u64>,
    /// The generation that made it, encoded; none for a dealer's.
    made_by: Option<Arc<[u8]>>,
}

/// What an anchor changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// There is a new key.
    Made {
        /// Its epoch.
        epoch: Epoch,
        /// Whether this node holds a share of it.
        has_share: bool,
        /// Who dealt this node a bad share and assured it of a good one: how many.
        mended: u32,
    },
    /// A dealer has proven that an authority which did not acknowledge has its share.
    Assured,
    /// A generation failed; the key before stays in force.
    Failed {
        /// Its epoch.
        epoch: Epoch,
        /// Why.
        failure: Failure,
    },
    /// A key has ended.
    Ended {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A message of a generation changed nothing.
    Refused {
        /// Who had it ordered.
        author: AuthorityIndex,
    },
}

impl Keyring {
    /// The keys at the start of an epoch.
    ///
    /// Panics when the decryption key is not the one that the committee has for `own`: a fault of the configuration.
    pub(crate) fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        dealt: Option<CommitteeKey>,
        decryption: Option<Arc<DecryptionKey>>,
        process_secret: [u8; 32],
    ) -> Self {
        let start = committee.epoch_start;
        let held = dealt.iter().map(|key| Held {
            epoch: key.sealing.epoch(),
            since: start,
            until: None,
            past: None,
            made_by: None,
        });
        let due = committee.key_plan.as_ref().and_then(|plan| match &dealt {
            Some(_) => plan.renew_us.map(|renew_us| start.plus_us(renew_us)),
            None => Some(start),
        });
        let agreed = Agreed {
            held: held.collect(),
            generation: None,
            epoch: committee.epoch,
            due,
        };
        let mut keyring = Self {
            committee,
            own,
            decryption,
            process_secret: Zeroizing::new(process_secret),
            agreed,
            keys: dealt.into_iter().map(Arc::new).collect(),
            version: 0,
            last_failure: None,
            cheated_by: None,
            #[cfg(feature = "sim")]
            cheated: (AuthoritySet::EMPTY, false),
        };
        keyring.try_start(start);
        keyring
    }

    /// The keys whose envelopes and shares are of use, oldest first.
    pub fn keys(&self) -> &[Arc<CommitteeKey>] {
        &self.keys
    }

    /// The key to seal to, once there is one.
    pub fn newest(&self) -> Option<&Arc<CommitteeKey>> {
        self.keys.last()
    }

    /// What this node may sign of the newest key; none before there is one, and for a committee without a plan: the only
    /// key stands in its committee file.
    pub fn statement(&self) -> Option<KeyStatement> {
        self.committee.key_plan.as_ref()?;
        let key = self.newest()?.sealing.clone();
        let held = self.agreed.held.last()?;
        let since = held.since;
        (held.epoch == key.epoch()).then_some(KeyStatement { since, key })
    }

    /// Grows with each change of [`Self::keys`]: whoever verifies envelopes compares it with the version that it knows.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The last generation that failed, and why, since the start of this process.
    pub const fn last_failure(&self) -> Option<(Epoch, Failure)> {
        self.last_failure
    }

    /// The newest key of which this node was dealt bad shares, and by whom, since the start of this process; it has good ones.
    pub const fn cheated_by(&self) -> Option<(Epoch, AuthoritySet)> {
        self.cheated_by
    }

    /// Whether a key is being made.
    pub const fn is_generating(&self) -> bool {
        self.agreed.generation.is_some()
    }

    /// Whether envelopes of a key are taken that expire then: the same answer on every authority that has seen the key end,
    /// and before that no other for what a correct authority may list.
    pub fn takes(&self, key_id: KeyId, until: TimestampUs, consensus_time: TimestampUs) -> bool {
        let Some(key) = self.find(key_id) else {
            return false;
        };
        let epoch = key.sealing.epoch();
        let held = self.agreed.held.iter().find(|held| held.epoch == epoch);
        held.is_some_and(|held| match (held.until, &self.committee.key_plan) {
            (Some(end), _) => until <= end,
            (None, Some(_)) => until <= consensus_time.plus_us(PEER_TIME_AHEAD_US_MAX),
            (None, None) => true,
        })
    }

    /// The key of that name.
    pub fn find(&self, key_id: KeyId) -> Option<&Arc<CommitteeKey>> {
        self.keys.iter().find(|key| key.key_id() == key_id)
    }

    /// What this node must get into the log for a generation.
    pub(crate) fn wanted(&self) -> Option<Arc<[u8]>> {
        self.agreed.generation.as_ref()?.wanted()
    }

    /// An anchor: the `index`-th of the epoch, at consensus time `now`, with what it commits of control sections.
    pub(crate) fn on_anchor(
        &mut self,
        index: u64,
        now: TimestampUs,
        controls: &[(AuthorityIndex, Arc<[u8]>)],
    ) -> Vec<KeyEvent> {
        let mut events = self.end_keys(index, now);
        for (author, bytes) in controls {
            let generation = self.agreed.generation.as_mut();
            match generation.map(|running| running.handle(*author, bytes)) {
                Some(Ok(Taken::Assured(_))) => events.push(KeyEvent::Assured),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => events.push(KeyEvent::Refused { author: *author }),
            }
        }
        let running = self.agreed.generation.as_mut();
        if let Some(outcome) = running.and_then(Generation::on_anchor) {
            events.push(self.conclude(now, outcome));
        }
        self.try_start(now);
        events
    }

    fn end_keys(&mut self, index: u64, now: TimestampUs) -> Vec<KeyEvent> {
        let cap = u64::from(self.committee.parameters.deferral_cap);
        let mut events = Vec::new();
        self.agreed.held.retain_mut(|held| {
            if held.until.is_some_and(|until| until < now) {
                held.past.get_or_insert(index);
            }
            let is_over = held
                .past
                .is_some_and(|past| index > past.saturating_add(cap));
            if is_over {
                events.push(KeyEvent::Ended { epoch: held.epoch });
            }
            !is_over
        });
        events
    }

    fn conclude(&mut self, now: TimestampUs, outcome: Outcome) -> KeyEvent {
        let generation = self.agreed.generation.take();
        let epoch = self.agreed.epoch;
        let plan = self.committee.key_plan.as_ref();
        match outcome {
            Outcome::Failed(failure) => {
                let has_key = !self.agreed.held.is_empty();
                let renew_us = plan.and_then(|plan| plan.renew_us).filter(|_| has_key);
                let wait_us = renew_us.map_or(0, |renew_us| renew_us.min(RETRY_AFTER_US));
                self.agreed.due = Some(now.plus_us(wait_us));
                self.last_failure = Some((epoch, failure));
                KeyEvent::Failed { epoch, failure }
            }
            Outcome::Done(generated) => {
                for held in &mut self.agreed.held {
                    held.until
                        .get_or_insert(now.plus_us(PEER_TIME_AHEAD_US_MAX));
                }
                let renew_us = plan.and_then(|plan| plan.renew_us);
                self.agreed.due = renew_us.map(|renew_us| now.plus_us(renew_us));
                let mut made_by = Vec::new();
                if let Some(generation) = generation {
                    generation.encode_state(&mut made_by);
                }
                self.agreed.held.push(Held {
                    epoch,
                    since: now,
                    until: None,
                    past: None,
                    made_by: Some(made_by.into()),
                });
                let (has_share, mended) = (generated.share.is_some(), generated.mended.len());
                if mended > 0 {
                    self.cheated_by = Some((epoch, generated.mended));
                }
                self.keys.push(Arc::new((*generated).into()));
                self.version += 1;
                KeyEvent::Made {
                    epoch,
                    has_share,
                    mended,
                }
            }
        }
    }

    /// Begins the next generation when it is time.
    fn try_start(&mut self, now: TimestampUs) {
        let agreed = &self.agreed;
        let is_due = agreed.due.is_some_and(|due| due <= now);
        if !is_due || agreed.generation.is_some() || agreed.held.len() >= KEYS_HELD_MAX {
            return;
        }
        let Some(epoch) = agreed.epoch.0.checked_add(1).map(Epoch) else {
            return;
        };
        self.agreed.epoch = epoch;
        let generation = self.session(epoch).map(Generation::observe);
        self.agreed.generation = generation.map(|generation| self.join(generation));
    }

    fn session(&self, epoch: Epoch) -> Option<Arc<Session>> {
        session(&self.committee, epoch)
    }

    /// This node takes part in a generation, if it can.
    fn join(&self, generation: Generation) -> Generation {
        let Some(decryption) = &self.decryption else {
            return generation;
        };
        let epoch = generation.session().epoch;
        let entropy = Transcript::new(TAG_ENTROPY)
            .part(&*self.process_secret)
            .part(&epoch.0.to_be_bytes())
            .secret_key();
        let joined = generation.join(self.own, decryption.clone(), &entropy);
        #[cfg(feature = "sim")]
        let joined = joined.dealing_badly_to(self.cheated.0, self.cheated.1, &entropy);
        joined
    }

    #[cfg(feature = "sim")]
    pub(crate) const fn deal_badly_to(&mut self, victims: AuthoritySet, assures_nobody: bool) {
        self.cheated = (victims, assures_nobody);
    }

    /// Forgets keys that have ended, shares with them: nothing here needs them any more.
    pub(crate) fn drop_ended(&mut self) {
        let before = self.keys.len();
        let held = &self.agreed.held;
        self.keys.retain(|key| {
            let epoch = key.sealing.epoch();
            held.iter().any(|held| held.epoch == epoch)
        });
        self.version += u64::from(self.keys.len() != before);
    }

    /// Appends what was agreed on to the canonical state; nothing for a committee without a plan.
    ///
    /// Epoch u32, due u64, keys u8, of each: epoch u32, since u64, until u64, past u64, length of the generation that made it u32 (0: a
    /// dealer), that generation; then whether a generation is under way u8, and it. 2^64 - 1 stands for none.
    pub(crate) fn encode_state(&self, out: &mut Vec<u8>) {
        if self.committee.key_plan.is_some() {
            self.agreed.encode(out);
        }
    }

    /// Goes on from what was agreed on up to a checkpoint.
    pub(crate) fn install(&mut self, agreed: Option<Agreed>) {
        let Some(mut agreed) = agreed else {
            return;
        };
        let mut keys = Vec::with_capacity(agreed.held.len());
        let mut cheated_by = self.cheated_by;
        for held in &agreed.held {
            let known = self
                .keys
                .iter()
                .find(|key| key.sealing.epoch() == held.epoch);
            let made = || {
                let generation = held.generation(&self.committee)?;
                let generated = self.join(generation).generated()?;
                if !generated.mended.is_empty() {
                    cheated_by = Some((held.epoch, generated.mended));
                }
                Some(Arc::new(CommitteeKey::from(generated)))
            };
            keys.extend(known.cloned().or_else(made));
        }
        agreed.generation = agreed.generation.map(|running| self.join(running));
        (self.keys, self.agreed, self.cheated_by) = (keys, agreed, cheated_by);
        self.version += 1;
    }
}

impl From<Generated> for CommitteeKey {
    fn from(generated: Generated) -> Self {
        Self {
            sealing: generated.key,
            share: generated.share,
        }
    }
}

impl Held {
    fn generation(&self, committee: &Committee) -> Option<Generation> {
        let mut reader = Reader::new(self.made_by.as_ref()?);
        Generation::decode_state(session(committee, self.epoch)?, &mut reader).ok()
    }
}

impl Agreed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let time = |time: Option<TimestampUs>| time.map_or(NONE, |time| time.0);
        Writer::new(out)
            .u32(self.epoch.0)
            .u64(time(self.due))
            // At most KEYS_HELD_MAX.
            .u8(self.held.len() as u8);
        for held in &self.held {
            let made_by = held.made_by.as_deref().unwrap_or_default();
            Writer::new(out)
                .u32(held.epoch.0)
                .u64(held.since.0)
                .u64(time(held.until))
                .u64(held.past.unwrap_or(NONE))
                .count_u32(made_by.len())
                .bytes(made_by);
        }
        Writer::new(out).u8(u8::from(self.generation.is_some()));
        if let Some(generation) = &self.generation {
            generation.encode_state(out);
        }
    }

    /// Reads what [`Keyring::encode_state`] wrote. Errors: anything that it does not write.
    pub(crate) fn decode(
        committee: &Committee,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        if committee.key_plan.is_none() {
            return Ok(None);
        }
        let refused = DecodeError::NotCanonical("keys");
        let epoch = Epoch(reader.u32()?);
        let due = some(reader.u64()?).map(TimestampUs);
        let count = usize::from(reader.u8()?);
        if count > KEYS_HELD_MAX {
            return Err(refused);
        }
        let mut held: Vec<Held> = Vec::with_capacity(count);
        for _ in 0..count {
            let key = Held::decode(committee, reader)?;
            let ascends = held.last().is_none_or(|last| last.epoch < key.epoch);
            if !ascends || key.epoch > epoch {
                return Err(refused);
            }
            held.push(key);
        }
        let generation = match reader.u8()? {
            0 => None,
            1 => {
                let session = session(committee, epoch).ok_or(refused)?;
                Some(Generation::decode_state(session, reader)?)
            }
            _ => return Err(refused),
        };
        Ok(Some(Self {
            held,
            generation,
            epoch,
            due,
        }))
    }
}

impl Held {
    fn decode(committee: &Committee, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let refused = DecodeError::NotCanonical("key");
        let epoch = Epoch(reader.u32()?);
        let since = TimestampUs(reader.u64()?);
        let until = some(reader.u64()?).map(TimestampUs);
        let past = some(reader.u64()?);
        let most = reader.left().try_into().unwrap_or(u32::MAX);
        let len = reader.count_u32("generation", most)?;
        let bytes = reader.bytes(len)?;
        let mut held = Self {
            epoch,
            since,
            until,
            past,
            made_by: None,
        };
        if len > 0 {
            let mut body = Reader::new(bytes);
            let session = session(committee, epoch).ok_or(refused)?;
            let generation = Generation::decode_state(session, &mut body)?;
            body.finish()?;
            if generation.generated().is_none() {
                return Err(refused);
            }
            held.made_by = Some(bytes.into());
        }
        Ok(held)
    }
}

/// The session of `epoch`; none without a plan. A plan was checked when the committee was put together.
fn session(committee: &Committee, epoch: Epoch) -> Option<Arc<Session>> {
    let plan: &Arc<KeyPlan> = committee.key_plan.as_ref()?;
    plan.session(committee.chain_id, epoch).ok()
}

fn some(value: u64) -> Option<u64> {
    (value != NONE).then_some(value)
}

const NONE: u64 = u64::MAX;

/// Keys held at one time: the newest, and those before it that envelopes may still be sealed to.
pub const KEYS_HELD_MAX: usize = 8;

/// How long after a generation that failed the next one begins, if there is a key, microseconds of consensus time.
const RETRY_AFTER_US: u64 = 60_000_000;

const TAG_ENTROPY: &str = "fairlane/1/dkg-entropy";
