//! From a submission's bytes to a place in the local order: decoding, cheap checks, proofs in batches, the engine.
//!
//! What the core stage does with what clients send, apart from the rest of that stage so that it can also be driven
//! alone ([`crate::ingest`]).

use std::sync::Arc;
use std::time::Instant;

use fairlane_engine::admit::refusal::Refusal;
use fairlane_engine::effect::Effect;
use fairlane_engine::engine::Engine;
use fairlane_engine::input::ClientTag;
use fairlane_engine::seal::digests::Digests;
use fairlane_engine::seal::{Envelope, EnvelopeError, EnvelopeVerifier};
use fairlane_engine::types::TimestampUs;

use super::outbox::Outbox;
use super::rollup_quotas::RollupQuotas;
use super::standings::Standings;
use super::stats::CoreSteps;

/// Clients are told to come back after this time while the disk is full.
const DISK_FULL_RETRY_US: u64 = 1_000_000;

/// What was refused before the engine saw it; see [`super::core::CoreReport`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmissionCounts {
    /// Submissions that did not decode, or whose proof failed.
    pub refused: u64,
    /// Told Busy because proofs of their client failed lately.
    pub put_off: u64,
    /// Told Busy because their rollup has its rate.
    pub over_rate: u64,
    /// Told Busy because the disk was full.
    pub disk_full: u64,
}

/// Submissions on their way into the local order.
pub struct Admission {
    /// Checks proofs, also those of what authorities send.
    pub verifier: EnvelopeVerifier,
    /// Whose proofs are worth checking.
    standings: Standings,
    /// Whose connections have ended since proofs were checked last.
    gone: Vec<u64>,
    rollup_quotas: RollupQuotas,
    /// What was queued and is not screened yet, in the order in which it came.
    queued: (Vec<ClientTag>, Vec<Arc<[u8]>>),
    decoded: Vec<Result<Envelope, EnvelopeError>>,
    digests: Digests,
    /// What passed the cheap checks and waits for the batch of proofs.
    waiting: (Vec<ClientTag>, Vec<Envelope>),
    /// What was counted.
    pub counts: AdmissionCounts,
}

/// What admission acts on.
pub struct Surroundings<'a> {
    /// Gives positions.
    pub engine: &'a mut Engine,
    /// What the engine asks for.
    pub effects: &'a mut Vec<Effect>,
    /// Answers to clients.
    pub outbox: &'a mut Outbox,
    /// This turn's time.
    pub now: TimestampUs,
}

impl Admission {
    /// Nothing waits.
    pub fn new(
        verifier: EnvelopeVerifier,
        standings: Standings,
        rollup_quotas: RollupQuotas,
    ) -> Self {
        Self {
            verifier,
            standings,
            gone: Vec::new(),
            rollup_quotas,
            queued: (Vec::new(), Vec::new()),
            decoded: Vec::new(),
            digests: Digests::default(),
            waiting: (Vec::new(), Vec::new()),
            counts: AdmissionCounts {
                refused: 0,
                put_off: 0,
                over_rate: 0,
                disk_full: 0,
            },
        }
    }

    /// Takes a submission in; a portion of them is screened together.
    pub fn queue(&mut self, client: ClientTag, bytes: Arc<[u8]>) {
        self.queued.0.push(client);
        self.queued.1.push(bytes);
    }

    /// Cheap checks of what was queued first, in its order; what passes waits for [`Self::check_proofs`]. Gives how many
    /// there were.
    pub fn screen(&mut self, is_disk_full: bool, around: &mut Surroundings<'_>) -> u64 {
        let (mut clients, mut bytes) = std::mem::take(&mut self.queued);
        let mut decoded = std::mem::take(&mut self.decoded);
        let count = clients.len() as u64;
        Envelope::decode_all(bytes.drain(..), &mut self.digests, &mut decoded);
        for (client, envelope) in clients.drain(..).zip(decoded.drain(..)) {
            match envelope {
                Ok(envelope) => self.screen_one(client, envelope, is_disk_full, around),
                Err(error) => {
                    self.counts.refused += 1;
                    around.outbox.ack(client, Err(Refusal::from(error)));
                }
            }
        }
        (self.queued, self.decoded) = ((clients, bytes), decoded);
        count
    }

    fn screen_one(
        &mut self,
        client: ClientTag,
        envelope: Envelope,
        is_disk_full: bool,
        around: &mut Surroundings<'_>,
    ) {
        let (engine, now) = (&mut around.engine, around.now);
        let is_new = engine.screen(now, client, &envelope, around.effects);
        if is_new && is_disk_full {
            self.counts.disk_full += 1;
            let retry_after_us = DISK_FULL_RETRY_US;
            let busy = Refusal::Busy { retry_after_us };
            around.outbox.ack(client, Err(busy));
        } else if is_new {
            self.admit(client, envelope, around);
        }
    }

    /// Puts off what is above its rollup's rate, and the client whose proofs failed lately: the last of the cheap checks.
    fn admit(&mut self, client: ClientTag, envelope: Envelope, around: &mut Surroundings<'_>) {
        let (rollup, now) = (envelope.label().rollup, around.now);
        let retry_after_us = if let Err(retry) = self.rollup_quotas.check(rollup, now) {
            self.counts.over_rate += 1;
            retry
        } else if let Err(retry) = self.standings.try_check(client.connection, now) {
            self.counts.put_off += 1;
            retry
        } else {
            self.rollup_quotas.charge(rollup, now);
            self.waiting.0.push(client);
            self.waiting.1.push(envelope);
            return;
        };
        let busy = Refusal::Busy { retry_after_us };
        around.outbox.ack(client, Err(busy));
    }

    /// A client's connection has ended. Its standing is needed until the proofs that came before are checked, and would be
    /// kept for ever if it was forgotten sooner.
    pub fn leave(&mut self, connection: u64) {
        self.gone.push(connection);
    }

    /// Checks the proofs of what waits in one batch, and hands what holds to the engine in the order in which it came.
    pub fn check_proofs(&mut self, steps: &mut CoreSteps, around: &mut Surroundings<'_>) {
        if !self.waiting.0.is_empty() {
            self.check_waiting(steps, around);
        }
        for connection in self.gone.drain(..) {
            self.standings.forget(connection);
        }
    }

    fn check_waiting(&mut self, steps: &mut CoreSteps, around: &mut Surroundings<'_>) {
        let start = Instant::now();
        let (clients, envelopes) = std::mem::take(&mut self.waiting);
        let count = clients.len() as u64;
        let verdicts = self.verifier.check(envelopes);
        let start = steps.proof.add_since(start, count);
        let now = around.now;
        let (standings, counts, outbox) =
            (&mut self.standings, &mut self.counts, &mut *around.outbox);
        let proven = clients
            .into_iter()
            .zip(verdicts)
            .filter_map(|(client, verdict)| {
                standings.on_checked(client.connection, verdict.is_ok(), now);
                match verdict {
                    Ok(envelope) => Some((client, envelope)),
                    Err(error) => {
                        counts.refused += 1;
                        outbox.ack(client, Err(Refusal::from(error)));
                        None
                    }
                }
            });
        around.engine.submit(now, proven, around.effects);
        steps.engine.add_since(start, count);
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
