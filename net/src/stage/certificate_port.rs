//! The core stage's end of certificates: which own batches are signed, whose words are passed on, what goes to peers.
//!
//! Every authority signs; only one that wants certificates collects words: one with a settlement worker, with a client that follows
//! something, or told to.
//! A word that is lost is not sent again but when a link comes up: a later batch covers what has no certificate. Of each
//! authority the newest word is kept in any case, so that who begins to collect while nothing happens has a certificate of
//! the last batch, too.

use fairlane_engine::batch::BatchHeader;
use fairlane_engine::certificate::{Cadence, Certificate, CertifiedHeader, Vouch};
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
    /// Certificates are wanted though nobody here asks for them.
    is_told_to: bool,
    is_collecting: bool,
    /// The newest own word, as a frame.
    newest: Option<Vec<u8>>,
    /// What was signed last.
    signed: Option<CertifiedHeader>,
    /// The newest word of each authority, by index.
    heard: Vec<Option<Vouch>>,
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
            signed: None,
            heard: vec![None; authorities as usize],
            buckets: vec![Bucket::full(allowance); authorities as usize],
            allowance,
            counts: CertifierCounts::default(),
        }
    }

    /// A batch is opened here, the next of the chain; or, at a start, was the last before.
    pub fn on_opened(&mut self, header: &BatchHeader, now: TimestampUs) {
        if let Some(header) = self.cadence.on_opened(header, now) {
            self.sign(header);
        }
    }

    fn sign(&mut self, header: CertifiedHeader) {
        self.signed = Some(header);
        self.certifier.sign(header, self.is_collecting);
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
        if !bucket.is_some_and(|bucket| bucket.take(self.allowance, now)) {
            return Ok(());
        }
        self.heard[from.as_usize()] = Some(vouch);
        if self.is_collecting {
            self.certifier.take(from, vouch);
        }
        Ok(())
    }

    /// What an authority missed while it had no link.
    pub fn on_peer_up(&self) -> Option<Vec<u8>> {
        self.newest.clone()
    }

    /// Goes on; gives when to be called again if nothing else happens. To be followed by [`Self::try_take`].
    pub fn poll(&mut self, now: TimestampUs, is_wanted: bool) -> Option<TimestampUs> {
        let was_collecting = self.is_collecting;
        self.is_collecting = self.is_told_to || is_wanted;
        if self.is_collecting && !was_collecting {
            self.catch_up();
        }
        if let Some(header) = self.cadence.on_time(now) {
            self.sign(header);
        }
        self.counts = self.certifier.counts().unwrap_or(self.counts);
        self.cadence.due()
    }

    /// Collects what was said before anybody here wanted to know.
    fn catch_up(&mut self) {
        if let Some(header) = self.signed {
            self.sign(header);
        }
        for (from, vouch) in (0..).map(AuthorityIndex).zip(&self.heard) {
            if let Some(vouch) = vouch {
                self.certifier.take(from, *vouch);
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use fairlane_engine::certificate::{CertificateKeys, CertificateSecret};
    use fairlane_engine::types::{BatchSeq, ChainId, Epoch};

    use super::*;

    const INTERVAL_US: u64 = 100_000;

    struct Committee {
        secrets: Vec<CertificateSecret>,
        keys: Arc<CertificateKeys>,
    }

    fn committee() -> Committee {
        let secrets: Vec<_> = (0..4u8)
            .map(|index| CertificateSecret::generate(&[index; 32]))
            .collect();
        let encoded: Vec<_> = secrets
            .iter()
            .map(|secret| (secret.public().bytes(), secret.possession()))
            .collect();
        let keys = CertificateKeys::new(ChainId(0), Epoch(0), &encoded).unwrap();
        Committee {
            secrets,
            keys: Arc::new(keys),
        }
    }

    fn header(seq: u64) -> BatchHeader {
        BatchHeader {
            seq: BatchSeq(seq),
            time_us: TimestampUs(seq * INTERVAL_US),
            ..BatchHeader::default()
        }
    }

    impl Committee {
        fn port(&self, is_told_to: bool) -> CertificatePort {
            let (keys, secret) = (self.keys.clone(), self.secrets[0].clone());
            let certifier = Certifier::start(keys, AuthorityIndex(0), secret, || ()).unwrap();
            CertificatePort::new(certifier, INTERVAL_US, 4, is_told_to)
        }

        fn hear(&self, port: &mut CertificatePort, from: u8, seq: u64, now: TimestampUs) {
            let certified = CertifiedHeader::from(&header(seq));
            let mut body = Vec::new();
            Vouch {
                seq: certified.seq,
                hash: certified.hash,
                signature: self.secrets[usize::from(from)].sign(&certified),
            }
            .encode(&mut body);
            port.on_vouch(AuthorityIndex(from), &body, now).unwrap();
        }
    }

    fn next(port: &mut CertificatePort) -> Next {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(next) = port.try_take() {
                return next;
            }
            assert!(Instant::now() < until, "nothing was made in 20 s");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_batch_followed_by_another_stretch_and_an_idle_last_one_are_signed_and_certified() {
        let (committee, now) = (committee(), TimestampUs(1_000));
        let mut port = committee.port(true);
        port.on_opened(&header(1), now);
        assert_eq!(port.poll(now, false), Some(now.plus_us(INTERVAL_US)));
        port.on_opened(&header(2), now);
        assert!(matches!(next(&mut port), Next::Send(_)));
        for from in [1, 2] {
            committee.hear(&mut port, from, 1, now);
        }
        let Next::Record(certificate) = next(&mut port) else {
            panic!("three of four have signed");
        };
        assert_eq!(certificate.header, CertifiedHeader::from(&header(1)));
        let later = now.plus_us(INTERVAL_US);
        assert_eq!(port.poll(later, false), None, "signed now");
        let Next::Send(frame) = next(&mut port) else {
            panic!("the newest batch is signed");
        };
        assert_eq!(port.on_peer_up(), Some(frame));
    }

    #[test]
    fn a_worker_that_comes_when_all_is_quiet_gets_a_certificate_of_the_last_batch() {
        let (committee, now) = (committee(), TimestampUs(1_000));
        let mut port = committee.port(false);
        port.on_opened(&header(7), now);
        let later = now.plus_us(INTERVAL_US);
        assert_eq!(port.poll(later, false), None);
        assert!(matches!(next(&mut port), Next::Send(_)));
        for from in [1, 2, 3] {
            committee.hear(&mut port, from, 7, later);
        }
        assert_eq!(port.poll(later, true), None);
        let mut made = Vec::new();
        while made.is_empty() {
            if let Next::Record(certificate) = next(&mut port) {
                made.push(certificate);
            }
        }
        assert_eq!(made[0].header, CertifiedHeader::from(&header(7)));
        assert_eq!(made[0].verify(&committee.keys), Ok(()));
    }

    #[test]
    fn rubbish_is_refused_and_who_says_too_much_is_not_listened_to() {
        let (committee, now) = (committee(), TimestampUs(1_000));
        let mut port = committee.port(true);
        assert!(port.on_vouch(AuthorityIndex(1), b"rubbish", now).is_err());
        for seq in 0..2 * u64::from(BURST) {
            committee.hear(&mut port, 1, seq, now);
        }
        let last = port.heard[1].unwrap().seq;
        assert_eq!(last, BatchSeq(u64::from(BURST) - 1));
    }
}
