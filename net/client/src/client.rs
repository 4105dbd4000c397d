//! A client of a whole committee: every envelope to every authority, every notice in one place.
//!
//! Sans thread: the caller's thread does all the work inside [`Client::poll`] and [`Client::submit`]. Fair order
//! rests on many authorities receiving an envelope, so `submit` goes to all that are live, at once.
//!
//! Over TCP, what is queued for a node that dies is lost with its connection; the client does not re-send by itself. A caller
//! that lacks an answer submits the same bytes again: the digest is the same, so the order holds it once. Over UDP
//! ([`Transport::Udp`]) the client itself sends again what an authority has not answered, or nobody has told the place of,
//! for some 20 s; a restarted node, too, gets what it did not answer before. Receipts may be lost there: each authority sends its
//! own, so one mostly comes.
//!
//! A committee may renew its sealing key. The client takes the next one when f + 1 authorities have signed for it, says so
//! ([`Event::NewKey`]), and from then on [`Client::sealing_key`] gives it; until then it stays with the one before, which is
//! taken for a minute and a half longer. Sealing is the caller's: hand the key on to what seals. A node answers wrong_key to
//! what is sealed to a key that has ended; seal the payload again with the present key then, once every authority has
//! refused the old envelope or its `valid_until` has passed: two envelopes of one payload are two transactions.
//!
//! Cost: `submit` copies the envelope once for each authority; `poll` is one system call plus a read or write for
//! each socket that is ready.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fairlane_engine::committee::Committee;
use fairlane_engine::keyring::statement::KeyStatement;
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq, Entry};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::connection::CloseReason;
use crate::inclusion::{Inclusion, InclusionError};
use crate::key_book::{KeyBook, KeyRefused};
use crate::link::{Link, LinkCounts, Shared};
use crate::protocol::{
    Ack, DATAGRAM_ENVELOPE_LEN_MAX, EnvelopeLenError, FollowCode, FollowTarget, Hello,
    encode_follow, encode_submit,
};
use crate::receipt::{Receipt, ReceiptError};
use crate::resends::{ResendCounts, Resends};
use crate::transport::{Submission, Transport};

/// Takes what a client hears.
pub trait Observer {
    /// The entry (digest and expiry) of `tag` if a receipt for it is still of interest, else `None`.
    ///
    /// Asked before anything is verified, so a caller that is content with the first receipt pays for one.
    fn receipt_wanted(&self, tag: u64) -> Option<Entry>;

    /// Something happened on the link to `authority`.
    fn on_event(&mut self, authority: AuthorityIndex, event: Event);
}

/// What a client hears from one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node is live: submissions reach it from now on.
    Connected,
    /// The node was live and is not any more; the client tries again by itself.
    Disconnected {
        /// Why.
        reason: CloseReason,
    },
    /// An attempt to connect failed; the client tries again by itself.
    ConnectFailed {
        /// Why.
        reason: CloseReason,
    },
    /// The node's unsigned answer to a submission.
    Ack(Ack),
    /// A receipt that was wanted and verifies.
    Receipt {
        /// The caller's tag.
        tag: u64,
        /// The proof, to be kept by whoever may need it.
        receipt: Receipt,
    },
    /// A receipt that was wanted and does not verify: the node is faulty.
    ReceiptRefused {
        /// The caller's tag.
        tag: u64,
        /// What does not hold.
        reason: ReceiptError,
    },
    /// The node says where the envelope stands in the order.
    Ordered {
        /// The caller's tag.
        tag: u64,
        /// The batch.
        seq: BatchSeq,
        /// The index in it.
        index: u32,
    },
    /// Over UDP, after what told the place was lost: the node has settled the envelope in this batch.
    Batched {
        /// The caller's tag.
        tag: u64,
        /// The batch.
        seq: BatchSeq,
    },
    /// The settlement worker has synced all batches with a seq below `count`.
    Settled {
        /// How many batches that is.
        count: u64,
    },
    /// An entry that is followed stands in a batch that the node has opened; no certificate covers it yet.
    Included {
        /// The caller's name for what it follows.
        name: u64,
        /// The entry; it stands under its header.
        inclusion: Inclusion,
    },
    /// An entry that is followed stands in a batch that a quorum has certified: its place is final, whatever the node says.
    Certified {
        /// The caller's name for what it follows.
        name: u64,
        /// The entry.
        inclusion: Inclusion,
    },
    /// The node does not tell of what the caller follows, or with [`FollowCode::Overrun`] from here on.
    FollowRefused {
        /// The caller's name for it.
        name: u64,
        /// Why.
        code: FollowCode,
    },
    /// What the node tells of an entry or a certificate does not hold: it is faulty.
    InclusionRefused {
        /// What does not hold.
        reason: InclusionError,
    },
    /// Enough authorities, this one the last, vouch for a new sealing key: seal to it from now on.
    NewKey {
        /// The key, and since when it is there.
        statement: KeyStatement,
    },
    /// What the node says of a key counts for nothing: it is faulty.
    KeyRefused {
        /// What does not hold.
        reason: KeyRefused,
    },
}

/// What a client asks of its nodes, and how much it keeps for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Wants receipts.
    pub receipts: bool,
    /// Wants places in the order.
    pub ordered: bool,
    /// Wants to hear of settlement.
    pub settled: bool,
    /// Wants to follow the committee's sealing key.
    pub keys: bool,
    /// How to talk to the nodes.
    pub transport: Transport,
    /// Bytes that may wait for one node; beyond them its submissions are undelivered. At least 64 KiB is kept.
    pub outgoing_len_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            receipts: true,
            ordered: true,
            settled: true,
            keys: true,
            transport: Transport::Tcp,
            outgoing_len_max: 8 * 1024 * 1024,
        }
    }
}

/// Connections to all authorities of a committee.
#[derive(Debug)]
pub struct Client {
    shared: Shared,
    links: Vec<Link>,
    frame: Vec<u8>,
}

impl Client {
    /// A client of `committee`, whose authorities listen at `addresses`, in their order; connects at the first poll.
    ///
    /// `key` is the committee file's; where the committee has made another since, its nodes say so at once.
    ///
    /// Panics unless there is one address an authority: a committee file has them together.
    pub fn new(
        committee: Committee,
        key: SealingKey,
        addresses: &[SocketAddr],
        options: ClientOptions,
    ) -> Self {
        assert_eq!(
            addresses.len(),
            committee.thresholds().authorities() as usize,
            "one address an authority"
        );
        let now = Instant::now();
        let links = committee
            .thresholds()
            .members()
            .zip(addresses)
            .map(|(authority, address)| Link::new(authority, *address, options.transport, now))
            .collect();
        let hello = Hello {
            chain_id: committee.chain_id,
            receipts: options.receipts,
            ordered: options.ordered,
            settled: options.settled,
            keys: options.keys,
        };
        let validity = committee.thresholds().validity();
        Self {
            shared: Shared {
                keys: KeyBook::new(key, &committee),
                follows: BTreeMap::new(),
                committee,
                hello,
                resends: (options.transport == Transport::Udp)
                    .then(|| Resends::new(options.ordered, validity)),
                outgoing_len_max: options.outgoing_len_max.max(OUTGOING_LEN_MIN),
            },
            links,
            frame: Vec::new(),
        }
    }

    /// Authorities that are connected and greeted.
    pub fn live(&self) -> AuthoritySet {
        self.set_where(Link::is_live)
    }

    /// What to seal to: the newest key that enough authorities vouch for.
    pub const fn sealing_key(&self) -> &SealingKey {
        self.shared.keys.key()
    }

    /// What the link to `authority` has counted; `None` if it is no member.
    pub fn counts(&self, authority: AuthorityIndex) -> Option<LinkCounts> {
        self.links.get(authority.as_usize()).map(|link| link.counts)
    }

    /// What was sent again, and why not; all 0 over TCP.
    pub fn resend_counts(&self) -> ResendCounts {
        let resends = self.shared.resends.as_ref();
        resends.map_or_else(ResendCounts::default, |resends| resends.counts)
    }

    /// Polls until all authorities are live or `timeout` has passed; gives those that are.
    ///
    /// Errors: as [`Client::poll`].
    pub fn connect_all(
        &mut self,
        timeout: Duration,
        observer: &mut dyn Observer,
    ) -> io::Result<AuthoritySet> {
        self.connect_to(self.set_where(|_| true), timeout, observer)
    }

    /// Polls until the authorities in `wanted` are live or `timeout` has passed; gives all that are.
    ///
    /// Errors: as [`Client::poll`].
    pub fn connect_to(
        &mut self,
        wanted: AuthoritySet,
        timeout: Duration,
        observer: &mut dyn Observer,
    ) -> io::Result<AuthoritySet> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let live = self.live();
            if wanted.iter().all(|authority| live.contains(authority)) || left.is_zero() {
                return Ok(live);
            }
            self.poll(left, observer)?;
        }
    }

    /// Queues an envelope for every live authority and gives the set that it will reach.
    ///
    /// Notices repeat `tag`; the caller keeps tags apart. The envelope leaves at the next [`Client::poll`], together with
    /// what else is queued by then. An authority that is not live, or does not keep up with its queue, is not in the set.
    /// Errors: an envelope that is empty, or longer than any node takes over this transport.
    pub fn submit(&mut self, tag: u64, envelope: &[u8]) -> Result<AuthoritySet, EnvelopeLenError> {
        self.submit_where(tag, envelope, |_| true)
    }

    /// As [`Client::submit`], to the authorities in `targets` alone; those whose vertices list it make the others fetch it.
    pub fn submit_to(
        &mut self,
        tag: u64,
        envelope: &[u8],
        targets: AuthoritySet,
    ) -> Result<AuthoritySet, EnvelopeLenError> {
        self.submit_where(tag, envelope, |authority| targets.contains(authority))
    }

    fn submit_where(
        &mut self,
        tag: u64,
        envelope: &[u8],
        is_target: impl Fn(AuthorityIndex) -> bool,
    ) -> Result<AuthoritySet, EnvelopeLenError> {
        self.frame.clear();
        if self.shared.resends.is_none() {
            encode_submit(&mut self.frame, tag, envelope)?;
        } else if !(1..=DATAGRAM_ENVELOPE_LEN_MAX).contains(&envelope.len()) {
            return Err(EnvelopeLenError {
                len: envelope.len(),
                max: DATAGRAM_ENVELOPE_LEN_MAX,
            });
        }
        let submission = Submission {
            frame: &self.frame,
            tag,
            envelope,
        };
        let mut reached = AuthoritySet::EMPTY;
        for (index, link) in self.links.iter_mut().enumerate() {
            // A committee has at most 128 members, so the cast keeps the value.
            let authority = AuthorityIndex(index as u8);
            if is_target(authority) && link.queue(submission) {
                reached.insert(authority);
            }
        }
        if let Some(resends) = &mut self.shared.resends {
            resends.on_submit(tag, envelope, reached, Instant::now());
        }
        Ok(reached)
    }

    /// Follows an envelope or a rollup at every authority, as soon as its link is live, and again when it comes back.
    ///
    /// Over TCP alone: over UDP nothing is followed, and counted as undelivered. Events repeat `name`; another target under a name in use takes its place for links that come up. Entries come from each
    /// authority: whoever follows a rollup tells them apart by batch and index. What is in a batch already is not told of:
    /// follow a digest before its envelope is submitted. A digest that was certified is not followed any more.
    pub fn follow(&mut self, name: u64, target: FollowTarget) {
        self.shared.follows.insert(name, target);
        self.frame.clear();
        encode_follow(&mut self.frame, name, target);
        for link in self.links.iter_mut().filter(|link| link.is_live()) {
            link.follow(&self.frame);
        }
    }

    /// Stops following. Nodes go on telling until their link ends; it is passed over. Until then they refuse the same target
    /// under another name.
    pub fn unfollow(&mut self, name: u64) {
        self.shared.follows.remove(&name);
    }

    /// Queues again what is due to be sent again; a bounded number, so that notices are heard in between.
    fn resend(&mut self, now: Instant) {
        let Some(resends) = &mut self.shared.resends else {
            return;
        };
        for _ in 0..RESENDS_A_POLL {
            let links = &mut self.links;
            let was_due = resends.resend_next(now, |tag, envelope, targets| {
                let frame = &[];
                let submission = Submission {
                    frame,
                    tag,
                    envelope,
                };
                for authority in targets.iter() {
                    links[authority.as_usize()].queue(submission);
                }
            });
            if !was_due {
                return;
            }
        }
    }

    /// Writes what is queued, waits up to `timeout` for something to happen, and tells `observer` what did.
    ///
    /// Returns early after events, a signal, or work of its own. Errors: the host refuses to poll, which is no node's
    /// fault and does not pass.
    pub fn poll(&mut self, timeout: Duration, observer: &mut dyn Observer) -> io::Result<()> {
        poll_all(std::slice::from_mut(self), 0, timeout, &mut One(observer))
    }

    /// Sends again what is due, connects where it is time, and writes what is queued.
    fn begin_poll(&mut self, now: Instant, observer: &mut dyn Observer) {
        self.resend(now);
        for link in &mut self.links {
            link.on_time(&self.shared, now, observer);
            link.flush(now, observer);
        }
    }

    /// `timeout`, or less if a link has something to do before.
    fn shorten(&self, timeout: Duration, now: Instant) -> Duration {
        let deadlines = self.links.iter().filter_map(Link::deadline);
        let resends = self.shared.resends.as_ref();
        deadlines
            .chain(resends.and_then(Resends::deadline))
            .map(|deadline| deadline.saturating_duration_since(now))
            .fold(timeout, Duration::min)
    }

    fn set_where(&self, is_in: impl Fn(&Link) -> bool) -> AuthoritySet {
        let mut set = AuthoritySet::EMPTY;
        let members = self.shared.committee.thresholds().members();
        for (authority, link) in members.zip(&self.links) {
            if is_in(link) {
                set.insert(authority);
            }
        }
        set
    }
}

/// Who hears what each of several clients hears.
pub trait Observers {
    /// The observer of the client with this index.
    fn observer(&mut self, client: usize) -> &mut dyn Observer;
}

struct One<'a>(&'a mut dyn Observer);

impl Observers for One<'_> {
    fn observer(&mut self, _client: usize) -> &mut dyn Observer {
        &mut *self.0
    }
}

/// [`Client::poll`] of several clients, with one system call that waits for all of them; what is queued is written from the
/// client with index `first` on, round about.
///
/// Errors: as there.
pub fn poll_all(
    clients: &mut [Client],
    first: usize,
    timeout: Duration,
    observers: &mut dyn Observers,
) -> io::Result<()> {
    let now = Instant::now();
    let mut timeout = timeout;
    for turn in 0..clients.len() {
        let index = (first + turn) % clients.len();
        clients[index].begin_poll(now, observers.observer(index));
        timeout = clients[index].shorten(timeout, now);
    }
    let ready = wait(clients, timeout)?;
    let now = Instant::now();
    for (index, link) in ready {
        let client = &mut clients[index];
        client.links[link].on_ready(&mut client.shared, now, observers.observer(index));
    }
    Ok(())
}

/// Waits for any socket of any client; gives client and link of those that are ready.
fn wait(clients: &[Client], timeout: Duration) -> io::Result<Vec<(usize, usize)>> {
    let links: usize = clients.iter().map(|client| client.links.len()).sum();
    let mut polled = Vec::with_capacity(links);
    let mut owners = Vec::with_capacity(links);
    for (index, client) in clients.iter().enumerate() {
        for (at, link) in client.links.iter().enumerate() {
            if let Some((connection, wants_write)) = link.interest() {
                let write = if wants_write {
                    PollFlags::OUT
                } else {
                    PollFlags::empty()
                };
                let flags = PollFlags::IN | write;
                polled.push(PollFd::from_borrowed_fd(connection.as_fd(), flags));
                owners.push((index, at));
            }
        }
    }
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
        tv_sec: i64::MAX,
        tv_nsec: 0,
    });
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut at = 0;
    owners.retain(|_| {
        at += 1;
        !polled[at - 1].revents().is_empty()
    });
    Ok(owners)
}

/// Envelopes sent again at one poll.
const RESENDS_A_POLL: usize = 256;
/// Room for a hello and one envelope at the very least.
const OUTGOING_LEN_MIN: usize = 64 * 1024;
