//! A client that keeps its own book: what it sent, and who promised what.
//!
//! It sends at a steady rate to whoever is up, and sends an envelope again until an authority has given a receipt for it,
//! or says that it is settled. It rests when told to: then nothing new is sent, and what lacks a receipt still is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::AckCode;
use fairlane_client::sealing::{PadTo, Sealer, entry_of};
use fairlane_client::{Client, ClientOptions, Event, Observer};
use fairlane_engine::dag::VertexRef;
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{AuthorityIndex, Digest, Entry, TimestampUs};

use super::check::Judge;
use super::network::{Network, ROLLUP};

/// The client's thread and its book.
pub struct Load {
    book: Arc<Mutex<Book>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// What was sent in order, and what was heard.
#[derive(Debug, Default)]
pub struct Book {
    /// One an envelope; a client's tag is its place here.
    pub sent: Vec<Sent>,
    /// Tags of those for which no authority stands yet.
    unpromised: BTreeSet<u64>,
    resent: u64,
    is_resting: bool,
    is_over: bool,
    /// A receipt that does not verify, or a refusal that nothing explains.
    fault: Option<String>,
}

/// One envelope.
#[derive(Debug)]
pub struct Sent {
    /// What receipts are for.
    pub entry: Entry,
    bytes: Arc<[u8]>,
    sent_at: Instant,
    /// The vertices that list it, by receipts that verify.
    pub receipts: Vec<VertexRef>,
    /// An authority said that it was settled already.
    is_said_settled: bool,
}

impl Sent {
    /// Whether an authority stands for it.
    pub fn is_promised(&self) -> bool {
        !self.receipts.is_empty() || self.is_said_settled
    }
}

/// What a load has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadFigures {
    /// Envelopes sent.
    pub envelopes: u64,
    /// Those with a receipt.
    pub accepted: u64,
    /// Receipts.
    pub receipts: u64,
    /// Times that one was sent again.
    pub resent: u64,
}

impl Load {
    /// Connects and begins to send `rate` envelopes a second.
    pub fn start(directory: &Directory, rate: u32) -> anyhow::Result<Self> {
        let book = Arc::new(Mutex::new(Book::default()));
        let mut sender = Sender::connect(directory, rate, Arc::clone(&book))?;
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || sender.run())?;
        Ok(Self {
            book,
            thread: Some(thread),
        })
    }

    /// The book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        // Whole at any instant: each change is one push or one flag.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends nothing new, and waits until everything that was sent is settled.
    ///
    /// Errors: it is not, though everybody is up; or an authority gave a wrong answer.
    pub fn come_to_rest(&self, judge: &mut Judge, network: &mut Network) -> anyhow::Result<()> {
        self.book().is_resting = true;
        let until = Instant::now() + SETTLE_TIMEOUT;
        loop {
            network.check_all_run()?;
            judge.read_settled()?;
            {
                let book = self.book();
                if let Some(fault) = &book.fault {
                    bail!("{fault}");
                }
                let is_done =
                    |sent: &Sent| sent.is_promised() && judge.is_settled(&sent.entry.digest);
                let open: Vec<&Sent> = book.sent.iter().filter(|sent| !is_done(sent)).collect();
                if open.is_empty() {
                    return Ok(());
                }
                if Instant::now() >= until {
                    bail!("{}", unsettled(&open, judge));
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Sends on.
    pub fn go_on(&self) {
        self.book().is_resting = false;
    }

    /// Ends the thread; what it has done. Errors: the client failed.
    pub fn stop(mut self) -> anyhow::Result<LoadFigures> {
        self.end()?;
        let book = self.book();
        let promised = |sent: &&Sent| sent.is_promised();
        Ok(LoadFigures {
            envelopes: book.sent.len() as u64,
            accepted: book.sent.iter().filter(promised).count() as u64,
            receipts: book
                .sent
                .iter()
                .map(|sent| sent.receipts.len() as u64)
                .sum(),
            resent: book.resent,
        })
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.book().is_over = true;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => bail!("the client panicked; its message is above"),
            None => Ok(()),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Whoever drops it on the way out has an error of its own.
        let _ = self.end();
    }
}

/// Says which envelopes are not settled, and what was promised of them.
fn unsettled(open: &[&Sent], judge: &Judge) -> String {
    let (promised, not): (Vec<&Sent>, Vec<&Sent>) =
        open.iter().copied().partition(|sent| sent.is_promised());
    let lost = promised.iter().take(3).map(|sent| {
        let receipts: Vec<String> = sent.receipts.iter().map(reference_text).collect();
        format!(
            "{} listed by {}",
            digest_text(&sent.entry.digest),
            receipts.join(", ")
        )
    });
    let lost: Vec<String> = lost.collect();
    let settled = not
        .iter()
        .filter(|sent| judge.is_settled(&sent.entry.digest));
    format!(
        "after {SETTLE_TIMEOUT:?} with everybody up, {} envelopes with a receipt are not settled ({}); {} got no receipt, of which {} are settled",
        promised.len(),
        lost.join("; "),
        not.len(),
        settled.count()
    )
}

/// A vertex, for people.
pub fn reference_text(reference: &VertexRef) -> String {
    format!("{} in round {}", reference.author, reference.round.0)
}

/// A digest, for people.
pub fn digest_text(digest: &Digest) -> String {
    blake3::Hash::from_bytes(digest.0).to_hex()[..16].to_owned()
}

struct Sender {
    client: Client,
    listener: Listener,
    sealer: Sealer,
    interval: Duration,
    next_send: Instant,
    next_look: Instant,
}

struct Listener {
    book: Arc<Mutex<Book>>,
}

impl Listener {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Listener {
    fn receipt_wanted(&self, tag: u64) -> Option<Entry> {
        // Of every authority: each is a promise of its own.
        let book = self.book();
        book.sent.get(tag as usize).map(|sent| sent.entry)
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        let mut book = self.book();
        match event {
            Event::Receipt { tag, receipt } => {
                book.unpromised.remove(&tag);
                if let Some(sent) = book.sent.get_mut(tag as usize) {
                    sent.receipts.push(receipt.signed_header.header.reference());
                }
            }
            Event::ReceiptRefused { reason, .. } => {
                book.fault = Some(format!(
                    "{authority} gave a receipt that does not verify: {reason}"
                ));
            }
            Event::Ack(ack) => match ack.code {
                AckCode::Accepted | AckCode::Busy => {}
                AckCode::Duplicate => {
                    book.unpromised.remove(&ack.tag);
                    if let Some(sent) = book.sent.get_mut(ack.tag as usize) {
                        sent.is_said_settled = true;
                    }
                }
                code => {
                    let said = format!("{authority} refuses an envelope: {}", code.name());
                    book.fault.get_or_insert(said);
                }
            },
            Event::Connected
            | Event::Disconnected { .. }
            | Event::ConnectFailed { .. }
            | Event::NewKey { .. }
            | Event::KeyRefused { .. }
            | Event::Batched { .. }
            | Event::Certified { .. }
            | Event::FollowRefused { .. }
            | Event::InclusionRefused { .. }
            | Event::Ordered { .. }
            | Event::Included { .. }
            | Event::Settled { .. } => {}
        }
    }
}

impl Sender {
    fn connect(directory: &Directory, rate: u32, book: Arc<Mutex<Book>>) -> anyhow::Result<Self> {
        let key = directory.sealing_key.clone();
        let mut client = Client::new(
            directory.committee.clone(),
            key.clone(),
            &directory.client_addresses(),
            ClientOptions {
                ordered: false,
                settled: false,
                ..ClientOptions::default()
            },
        );
        let mut listener = Listener { book };
        client.connect_all(CONNECT_TIMEOUT, &mut listener)?;
        Ok(Self {
            client,
            listener,
            sealer: Sealer {
                key,
                rollup: ROLLUP,
                kind: EnvelopeKind::Sealed,
                sender_tag: [0; 16],
                padding: PadTo::Nothing,
            },
            interval: Duration::from_secs(1) / rate.max(1),
            next_send: Instant::now(),
            next_look: Instant::now(),
        })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            {
                let mut book = self.listener.book();
                if book.is_over {
                    return Ok(());
                }
                if book.is_resting {
                    self.next_send = now;
                }
                if !book.is_resting && now >= self.next_send {
                    let tag = book.sent.len() as u64;
                    let sent = make(&self.sealer, tag, now)?;
                    self.client.submit(tag, &sent.bytes)?;
                    book.sent.push(sent);
                    book.unpromised.insert(tag);
                    self.next_send += self.interval;
                }
                if now >= self.next_look {
                    self.next_look = now + RESEND_LOOK_EVERY;
                    resend(&mut self.client, &mut book, now)?;
                }
            }
            let wait = self.next_send.saturating_duration_since(now).min(POLL_MAX);
            self.client
                .poll(wait.max(Duration::from_micros(200)), &mut self.listener)?;
        }
    }
}

/// Sends again what has waited for a receipt.
fn resend(client: &mut Client, book: &mut Book, now: Instant) -> anyhow::Result<()> {
    for tag in book.unpromised.clone() {
        let sent = &mut book.sent[tag as usize];
        if now.saturating_duration_since(sent.sent_at) >= RESEND_AFTER {
            client.submit(tag, &sent.bytes)?;
            sent.sent_at = now;
            book.resent += 1;
        }
    }
    Ok(())
}

fn make(sealer: &Sealer, tag: u64, now: Instant) -> anyhow::Result<Sent> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the host's clock")?;
    let valid_until = TimestampUs(since.as_micros() as u64).plus_us(VALID_US);
    let mut payload = [0; PAYLOAD_LEN];
    payload[..8].copy_from_slice(&tag.to_be_bytes());
    let envelope = sealer.make(&payload, valid_until)?;
    Ok(Sent {
        entry: entry_of(&envelope),
        bytes: envelope.bytes().clone(),
        sent_at: now,
        receipts: Vec::new(),
        is_said_settled: false,
    })
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long everything may take to be settled once everybody is up.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Below what nodes take, and above how long anything may take here.
const VALID_US: u64 = 55_000_000;
const PAYLOAD_LEN: usize = 128;
const RESEND_AFTER: Duration = Duration::from_millis(300);
const RESEND_LOOK_EVERY: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
