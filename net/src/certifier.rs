//! The thread that signs own batches and puts certificates together: the core never waits for a pairing.
//!
//! It sleeps until it is asked for something. Where several own batches wait to be signed, because the node is catching up
//! or the machine is busy, only the newest is: its certificate covers the others.
//!
//! Both ways are bounded ([`ASKED_MAX`], [`MADE_MAX`]). What the thread has no room for is let go of and counted: a later
//! batch makes up for it. Cost, beside the core's threads: one signature a stretch of consensus time, and where
//! certificates are wanted one pairing equation more (`cargo bench -p fairlane-bench --bench certificate`).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fairlane_engine::certificate::{
    Certificate, CertificateKeys, CertificateSecret, CertifiedHeader, Collector, CollectorCounts,
    Vouch,
};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet};
use serde::{Deserialize, Serialize};

/// What the thread is asked.
#[derive(Debug)]
enum Ask {
    /// To sign an own batch, and to collect words for it.
    Sign {
        header: CertifiedHeader,
        collect: bool,
    },
    /// To count another authority's word.
    Take { from: AuthorityIndex, vouch: Vouch },
}

/// What it has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The own word, for the other authorities.
    Vouch(Vouch),
    /// A certificate; it was verified.
    Certificate(Certificate),
}

/// What a node has done about certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertifierCounts {
    /// Own batches signed.
    pub signed: u64,
    /// Own batches not signed because a newer one waited.
    pub skipped: u64,
    /// What there was no room for.
    pub dropped: u64,
    /// Words and certificates.
    pub collected: CollectorCounts,
    /// Processor time of the thread, microseconds.
    pub cpu_us: u64,
}

/// The owner's end. Dropping it ends the thread once what it is doing is done.
#[derive(Debug)]
pub struct Certifier {
    /// None once the thread is to end.
    asked: Option<SyncSender<Ask>>,
    /// None when it does not matter any more.
    made: Option<Receiver<Made>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Mutex<CertifierCounts>>,
    dropped: u64,
}

impl Certifier {
    /// Starts the thread of the authority `own`. `wake` is called when it has made something.
    ///
    /// Errors: the system gives no thread.
    pub fn start(
        keys: Arc<CertificateKeys>,
        own: AuthorityIndex,
        secret: CertificateSecret,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (asked, asks) = sync_channel(ASKED_MAX);
        let (makes, made) = sync_channel(MADE_MAX);
        let counts = Arc::new(Mutex::new(CertifierCounts::default()));
        let worker = Worker {
            secret,
            collector: Collector::new(keys, own),
            warned: AuthoritySet::EMPTY,
            makes,
            wake,
            shared: counts.clone(),
            counts: CertifierCounts::default(),
        };
        let thread = std::thread::Builder::new()
            .name("certify".into())
            .spawn(move || worker.run(&asks))?;
        Ok(Self {
            asked: Some(asked),
            made: Some(made),
            thread: Some(thread),
            counts,
            dropped: 0,
        })
    }

    /// Has an own batch signed, and words for it collected if `collect`. Never waits.
    pub fn sign(&mut self, header: CertifiedHeader, collect: bool) {
        self.ask(Ask::Sign { header, collect });
    }

    /// Has another authority's word counted. Never waits.
    pub fn take(&mut self, from: AuthorityIndex, vouch: Vouch) {
        self.ask(Ask::Take { from, vouch });
    }

    /// The next thing that was made.
    pub fn try_take(&mut self) -> Option<Made> {
        self.made.as_ref()?.try_recv().ok()
    }

    /// What was counted so far; none in the moment in which the thread changes it.
    pub fn counts(&self) -> Option<CertifierCounts> {
        let counts = *self.counts.try_lock().ok()?;
        let dropped = self.dropped;
        Some(CertifierCounts { dropped, ..counts })
    }

    fn ask(&mut self, ask: Ask) {
        let asked = self.asked.as_ref();
        let is_asked = asked.is_some_and(|asked| asked.try_send(ask).is_ok());
        self.dropped += u64::from(!is_asked);
    }
}

impl Drop for Certifier {
    fn drop(&mut self) {
        (self.asked, self.made) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<W> {
    secret: CertificateSecret,
    collector: Collector,
    /// Of whom the operator was told.
    warned: AuthoritySet,
    makes: SyncSender<Made>,
    wake: W,
    shared: Arc<Mutex<CertifierCounts>>,
    counts: CertifierCounts,
}

impl<W: Fn()> Worker<W> {
    fn run(mut self, asks: &Receiver<Ask>) {
        while let Ok(first) = asks.recv() {
            let mut made = Vec::new();
            let mut newest = None;
            for ask in std::iter::once(first).chain(asks.try_iter().take(ASKED_MAX)) {
                match ask {
                    Ask::Sign { header, collect } => {
                        let before = newest.replace((header, collect));
                        self.counts.skipped += u64::from(before.is_some());
                    }
                    Ask::Take { from, vouch } => {
                        let certificate = self.collector.on_vouch(from, vouch);
                        made.extend(certificate.map(Made::Certificate));
                    }
                }
            }
            if let Some((header, collect)) = newest {
                self.sign(header, collect, &mut made);
            }
            self.publish();
            for made in made {
                // The owner is gone.
                if self.makes.send(made).is_err() {
                    return;
                }
                (self.wake)();
            }
        }
    }

    fn sign(&mut self, header: CertifiedHeader, collect: bool, made: &mut Vec<Made>) {
        let signature = self.secret.sign(&header);
        self.counts.signed += 1;
        made.push(Made::Vouch(Vouch {
            seq: header.seq,
            hash: header.hash,
            signature,
        }));
        if collect {
            let certificate = self.collector.on_own(header, signature);
            made.extend(certificate.map(Made::Certificate));
        }
    }

    fn publish(&mut self) {
        for author in self.collector.contradicting().iter() {
            if self.warned.insert(author) {
                eprintln!(
                    "warning: {author} vouches for another batch than this node has opened: one of the two is wrong"
                );
            }
        }
        self.counts.collected = self.collector.counts();
        self.counts.cpu_us = thread_cpu_us();
        // Figures are plain numbers, whole at any instant.
        let shared = self.shared.lock();
        *shared.unwrap_or_else(PoisonError::into_inner) = self.counts;
    }
}

fn thread_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or(0)
}

/// Own batches and words that wait for the thread; further ones are let go of.
pub const ASKED_MAX: usize = 1024;
/// What the thread has made and nobody has taken; it waits.
pub const MADE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use fairlane_engine::types::{BatchSeq, ChainId, Epoch, Sha256Hash};

    use super::*;

    fn header(seq: u64) -> CertifiedHeader {
        CertifiedHeader {
            chain_id: ChainId(1),
            epoch: Epoch(0),
            seq: BatchSeq(seq),
            hash: Sha256Hash([3; 32]),
        }
    }

    fn committee() -> (Vec<CertificateSecret>, Arc<CertificateKeys>) {
        let secrets: Vec<_> = (0..4u8)
            .map(|index| CertificateSecret::generate(&[index; 32]))
            .collect();
        let encoded: Vec<_> = secrets
            .iter()
            .map(|secret| (secret.public().bytes(), secret.possession()))
            .collect();
        let keys = CertificateKeys::new(ChainId(1), Epoch(0), &encoded).unwrap();
        (secrets, Arc::new(keys))
    }

    fn next(certifier: &mut Certifier) -> Made {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(made) = certifier.try_take() {
                return made;
            }
            assert!(Instant::now() < until, "nothing was made in 20 s");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn four_certifiers_that_hear_each_other_make_certificates_where_they_are_wanted() {
        let (secrets, keys) = committee();
        let mut certifiers: Vec<Certifier> = (0u8..)
            .zip(&secrets)
            .map(|(own, secret)| {
                let own = AuthorityIndex(own);
                Certifier::start(keys.clone(), own, secret.clone(), || ()).unwrap()
            })
            .collect();
        for seq in [4, 9] {
            let mut vouches = Vec::new();
            for (index, certifier) in (0u8..).zip(&mut certifiers) {
                certifier.sign(header(seq), index < 2);
                let Made::Vouch(vouch) = next(certifier) else {
                    panic!("the own word comes first");
                };
                vouches.push((AuthorityIndex(index), vouch));
            }
            for (index, certifier) in certifiers.iter_mut().enumerate().take(2) {
                let others = vouches.iter().filter(|(from, _)| from.as_usize() != index);
                for (from, vouch) in others.take(2) {
                    certifier.take(*from, *vouch);
                }
                let Made::Certificate(certificate) = next(certifier) else {
                    panic!("three of four are enough");
                };
                assert_eq!(certificate.header, header(seq));
                assert_eq!(certificate.verify(&keys), Ok(()));
            }
            assert_eq!(certifiers[2].try_take(), None, "it wants none");
        }
        let counts = certifiers[0].counts().unwrap();
        assert_eq!((counts.signed, counts.collected.made), (2, 2));
    }

    #[test]
    fn an_owner_that_goes_away_ends_the_thread_whatever_waits() {
        let (secrets, keys) = committee();
        let own = AuthorityIndex(0);
        let mut certifier = Certifier::start(keys, own, secrets[0].clone(), || ()).unwrap();
        for seq in 0..3 * ASKED_MAX as u64 {
            certifier.sign(header(seq), true);
        }
        drop(certifier);
    }
}
