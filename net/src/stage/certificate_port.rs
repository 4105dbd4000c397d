//! The core stage's end of certificates: which own batches are signed, whose words are passed on, what goes to peers.
//!
//! Every authority signs; only one that wants certificates collects words: one with a settlement worker, or told to.
//! A word that is lost is not sent again but when a link comes up: a later batch covers what has no certificate.

use fairlane_engine::batch::BatchHeader;
use fairlane_engine::certificate::{Cadence, Certificate, Vouch};
use fairlane_engine::message::VOUCH_KIND;
use fairlane_engine::types::{AuthorityIndex, TimestampUs};
use fairlane_engine::wire::DecodeError;

use super::bucket::{Allowance, Bucket};
use crate::certifier::{Certifier, CertifierCounts, Made};
use crate::frame;

/// What the core stage has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this frame to every other authority.
    Send(Vec<u8>),
    /// Have this recorded and handed on.
    Record(Certificate),
}

/// Follows the batches of one node.
#[derive(Debug)]
pub struct CertificatePort {
    certifier: Certifier,
    cadence: Cadence,
    /// Certificates are wanted without a settlement worker, too.
    is_told_to: bool,
    is_collecting: bool,
    /// The newest own word, as a frame.
    newest: Option<Vec<u8>>,
    /// How many more words are taken of each authority, by index.
    buckets: Vec<Bucket>,
    allowance: Allowance,
    counts: CertifierCounts,
}

impl CertificatePort {
    /// For a committee of `authorities` that certifies every `interval_us`.
    pub fn new(certifier: Certifier, interval_us: u64, authorities: u32, is_told_to: bool) -> Self {
        let allowance = Allowance {
            burst: BURST,
            refill_us: (interval_us / 4).max(1),
        };
        Self {
            certifier,
            cadence: Cadence::new(interval_us),
            is_told_to,
            is_collecting: is_told_to,
            newest: None,
            buckets: vec![Bucket::full(allowance); authorities as usize],
            allowance,
            counts: CertifierCounts::default(),
        }
    }

    /// A batch is opened here, the next of the chain; or, at a start, was the last before.
    pub fn on_opened(&mut self, header: &BatchHeader, now: TimestampUs) {
        if let Some(header) = self.cadence.on_opened(header, now) {
            self.certifier.sign(header, self.is_collecting);
        }
    }

    /// An authority's word. Errors: it does not decode.
    pub fn on_vouch(
        &mut self,
        from: AuthorityIndex,
        body: &[u8],
        now: TimestampUs,
    ) -> Result<(), DecodeError> {
        let vouch = Vouch::decode(body)?;
        let bucket = self.buckets.get_mut(from.as_usize());
        let may_send = bucket.is_some_and(|bucket| bucket.take(self.allowance, now));
        if self.is_collecting && may_send {
            self.certifier.take(from, vouch);
        }
        Ok(())
    }

    /// What an authority missed while it had no link.
    pub fn on_peer_up(&self) -> Option<Vec<u8>> {
        self.newest.clone()
    }

    /// Goes on; gives when to be called again if nothing else happens. To be followed by [`Self::try_take`].
    pub fn poll(&mut self, now: TimestampUs, has_worker: bool) -> Option<TimestampUs> {
        self.is_collecting = self.is_told_to || has_worker;
        if let Some(header) = self.cadence.on_time(now) {
            self.certifier.sign(header, self.is_collecting);
        }
        self.counts = self.certifier.counts().unwrap_or(self.counts);
        self.cadence.due()
    }

    /// The next thing to do.
    pub fn try_take(&mut self) -> Option<Next> {
        Some(match self.certifier.try_take()? {
            Made::Vouch(vouch) => {
                let mut bytes = Vec::new();
                let mut writer = frame::FrameWriter::begin(&mut bytes, VOUCH_KIND);
                vouch.encode(writer.body());
                let framed = writer.finish(FRAME_LEN);
                framed.expect("a word is 88 bytes");
                self.newest = Some(bytes.clone());
                Next::Send(bytes)
            }
            Made::Certificate(certificate) => Next::Record(certificate),
        })
    }

    /// What was counted.
    pub const fn counts(&self) -> CertifierCounts {
        self.counts
    }
}

/// Version, kind and word.
const FRAME_LEN: u32 = 2 + 88;
/// Words of one authority taken at once; then four an interval: correct ones send one or two.
const BURST: u32 = 64;
