//! The link to one authority: connect, greet, follow; after a fault, wait and begin again.
//!
//! States: Waiting -> Connecting (TCP alone) -> Greeting -> Live, and from any of them back to Waiting with the reason. The wait
//! doubles from 50 ms to 2 s and starts over after a second of being live, so a node that comes back is found soon and
//! a broken one is not hammered.
//!
//! Invariants:
//! - I1: live means that the node proved to be the authority's by chain, epoch and index, and where the committee keeps its key
//!   by that (a name, not a proof of identity: receipts carry the proof).
//! - I2: a header is verified at most once a frame, and only if somebody wants a receipt that it carries.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fairlane_engine::committee::Committee;
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::types::AuthorityIndex;

use crate::client::{Event, Observer};
use crate::connection::{CloseReason, Connection};
use crate::datagram_connection::DatagramConnection;
use crate::inclusion::{CertifiedChain, Unproven};
use crate::key_book::KeyBook;
use crate::protocol::{
    Certified, FollowCode, FollowTarget, Hello, Included, Notice, Receipts, Welcome, encode_follow,
    encode_hello,
};
use crate::receipt::{Receipt, ReceiptError, verify_header, verify_path};
use crate::resends::Resends;
use crate::transport::{Submission, Transport, Wire};

/// What every link of a client shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) committee: Committee,
    pub(crate) keys: KeyBook,
    pub(crate) hello: Hello,
    /// What the caller follows, by its name.
    pub(crate) follows: BTreeMap<u64, FollowTarget>,
    /// What may have to be sent again; over UDP alone.
    pub(crate) resends: Option<Resends>,
    pub(crate) outgoing_len_max: usize,
}

/// What a link has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Submissions that found the link down or its queue full.
    pub undelivered: u64,
    /// Times the link went live.
    pub connects: u64,
    /// Times it was live and broke.
    pub disconnects: u64,
    /// Receipts that did not verify.
    pub receipts_refused: u64,
    /// Notices of keys that count for nothing.
    pub keys_refused: u64,
    /// Headers verified.
    pub headers_verified: u64,
    /// Certificates that were verified, and held.
    pub certificates_verified: u64,
    /// Entries or certificates that did not verify.
    pub inclusions_refused: u64,
    /// Entries let go of before a certificate covered them, as too many waited.
    pub inclusions_let_go: u64,
}

/// One authority's link.
#[derive(Debug)]
pub(crate) struct Link {
    authority: AuthorityIndex,
    address: SocketAddr,
    transport: Transport,
    state: State,
    wait: Duration,
    unproven: Unproven,
    pub(crate) counts: LinkCounts,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Instant,
    },
    Connecting {
        connection: Connection,
        until: Instant,
    },
    Greeting {
        wire: Wire,
        until: Instant,
    },
    Live {
        wire: Wire,
        since: Instant,
    },
}

impl Link {
    pub(crate) fn new(
        authority: AuthorityIndex,
        address: SocketAddr,
        transport: Transport,
        now: Instant,
    ) -> Self {
        Self {
            authority,
            address,
            transport,
            state: State::Waiting { until: now },
            wait: WAIT_MIN,
            unproven: Unproven::default(),
            counts: LinkCounts::default(),
        }
    }

    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// When [`Link::on_time`] has something to do; `None` while live over TCP.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } | State::Connecting { until, .. } => Some(*until),
            State::Greeting { until, wire } => {
                let hello = wire.deadline();
                Some(hello.map_or(*until, |hello| hello.min(*until)))
            }
            State::Live { wire, .. } => wire.deadline(),
        }
    }

    /// The socket to wait on, and whether to wait until it can be written.
    pub(crate) fn interest(&self) -> Option<(&dyn AsFd, bool)> {
        match &self.state {
            State::Waiting { .. } => None,
            State::Connecting { connection, .. } => Some((connection, true)),
            State::Greeting { wire, .. } | State::Live { wire, .. } => {
                Some((wire, wire.outgoing_len() > 0))
            }
        }
    }

    /// Queues a submission for a live node; false, and counted, when it is not live or does not keep up.
    pub(crate) fn queue(&mut self, submission: Submission<'_>) -> bool {
        let is_queued = match &mut self.state {
            State::Live { wire, .. } => {
                // A burst between two polls may fill the queue though the socket has room. A write error shows again
                // at the next flush, which reports it.
                let is_long = wire.outgoing_len() >= FLUSH_LEN;
                (!is_long || wire.flush().is_ok()) && wire.queue(submission)
            }
            _ => false,
        };
        self.counts.undelivered += u64::from(!is_queued);
        is_queued
    }

    /// Queues a wish to follow for a live node; counted when it does not keep up, or is reached over UDP.
    pub(crate) fn follow(&mut self, frame: &[u8]) {
        if let State::Live { wire, .. } = &mut self.state {
            self.counts.undelivered += u64::from(!wire.follow(frame));
        }
    }

    /// Starts to connect when the wait is over, and gives up what took too long.
    pub(crate) fn on_time(&mut self, shared: &Shared, now: Instant, observer: &mut dyn Observer) {
        match &self.state {
            State::Waiting { until } if *until <= now => match self.start(shared, now) {
                Ok(state) => self.state = state,
                Err(error) => self.close(CloseReason::Connect(error.kind()), now, observer),
            },
            State::Connecting { until, .. } | State::Greeting { until, .. } if *until <= now => {
                self.close(CloseReason::Timeout, now, observer);
            }
            _ => {}
        }
        if let State::Greeting { wire, .. } | State::Live { wire, .. } = &mut self.state
            && let Err(reason) = wire.on_time(now)
        {
            self.close(reason, now, observer);
        }
    }

    /// Begins to connect, or over UDP to greet.
    fn start(&self, shared: &Shared, now: Instant) -> io::Result<State> {
        let until = now + GREETING_TIME_MAX;
        let (address, len_max) = (self.address, shared.outgoing_len_max);
        Ok(match self.transport {
            Transport::Tcp => State::Connecting {
                connection: Connection::start(address, len_max)?,
                until,
            },
            Transport::Udp => {
                let connection = DatagramConnection::start(address, shared.hello, len_max, now)?;
                let wire = Wire::Udp(Box::new(connection));
                State::Greeting { wire, until }
            }
        })
    }

    /// Writes what is queued.
    pub(crate) fn flush(&mut self, now: Instant, observer: &mut dyn Observer) {
        if let State::Greeting { wire, .. } | State::Live { wire, .. } = &mut self.state
            && let Err(reason) = wire.flush()
        {
            self.close(reason, now, observer);
        }
    }

    /// The socket is readable, writable or broken: take the next step.
    pub(crate) fn on_ready(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        observer: &mut dyn Observer,
    ) {
        if let State::Connecting { connection, .. } = &self.state {
            match connection.connected() {
                Ok(()) => self.greet(shared, now),
                Err(error) => {
                    return self.close(CloseReason::Connect(error.kind()), now, observer);
                }
            }
        }
        self.flush(now, observer);
        if let Err(reason) = self.receive(shared, now, observer) {
            self.close(reason, now, observer);
        }
    }

    fn greet(&mut self, shared: &Shared, now: Instant) {
        let state = std::mem::replace(&mut self.state, State::Waiting { until: now });
        let State::Connecting {
            mut connection,
            until,
        } = state
        else {
            unreachable!("the caller matched this state");
        };
        let mut frame = Vec::new();
        encode_hello(&mut frame, &shared.hello);
        assert!(
            connection.queue(&frame),
            "an empty queue has room for a hello"
        );
        let wire = Wire::Tcp(connection);
        self.state = State::Greeting { wire, until };
    }

    fn receive(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        observer: &mut dyn Observer,
    ) -> Result<(), CloseReason> {
        let (wire, mut is_live) = match &mut self.state {
            State::Greeting { wire, .. } => (wire, false),
            State::Live { wire, .. } => (wire, true),
            _ => return Ok(()),
        };
        let (was_live, is_ordered) = (is_live, wire.is_ordered());
        let (authority, counts) = (self.authority, &mut self.counts);
        let unproven = &mut self.unproven;
        let received = wire.receive(now, &mut |notice| match notice {
            Notice::Welcome(_) if is_live && is_ordered => {
                Err(CloseReason::OutOfPlace("a second welcome"))
            }
            Notice::Welcome(welcome) => {
                check_welcome(&welcome, authority, shared)?;
                if is_live {
                    return Ok(());
                }
                is_live = true;
                counts.connects += 1;
                observer.on_event(authority, Event::Connected);
                Ok(())
            }
            Notice::Goodbye { code, text } => Err(CloseReason::Goodbye {
                code,
                text: text.to_owned(),
            }),
            _ if !is_live && is_ordered => {
                Err(CloseReason::OutOfPlace("a notice before its welcome"))
            }
            // It overtook the welcome; whatever it is will be told again.
            _ if !is_live => Ok(()),
            notice => report(notice, authority, shared, (now, counts, unproven), observer),
        });
        if is_live && !was_live {
            let state = std::mem::replace(&mut self.state, State::Waiting { until: now });
            if let State::Greeting { mut wire, .. } = state {
                let since = now;
                let mut frame = Vec::new();
                for (name, target) in &shared.follows {
                    frame.clear();
                    encode_follow(&mut frame, *name, *target);
                    self.counts.undelivered += u64::from(!wire.follow(&frame));
                }
                self.state = State::Live { wire, since };
            }
        }
        received
    }

    fn close(&mut self, reason: CloseReason, now: Instant, observer: &mut dyn Observer) {
        self.unproven.clear();
        let was_live = match self.state {
            State::Live { since, .. } => {
                if now.duration_since(since) >= LIVE_TIME_MIN {
                    self.wait = WAIT_MIN;
                }
                true
            }
            _ => false,
        };
        self.state = State::Waiting {
            until: now + self.wait,
        };
        self.wait = (2 * self.wait).min(WAIT_MAX);
        let event = if was_live {
            self.counts.disconnects += 1;
            Event::Disconnected { reason }
        } else {
            Event::ConnectFailed { reason }
        };
        observer.on_event(self.authority, event);
    }
}

fn check_welcome(
    welcome: &Welcome,
    authority: AuthorityIndex,
    shared: &Shared,
) -> Result<(), CloseReason> {
    let committee = &shared.committee;
    let differs = if welcome.chain_id != committee.chain_id {
        "chain id"
    } else if welcome.epoch != committee.epoch {
        "epoch"
    } else if committee.key_plan().is_none() && welcome.key_id != shared.keys.key().key_id() {
        "key id"
    } else if welcome.authority != authority {
        "authority index"
    } else {
        return Ok(());
    };
    Err(CloseReason::WrongNode(differs))
}

/// Turns a notice of a live node into events. Errors: it is such that the link is not worth keeping.
fn report(
    notice: Notice<'_>,
    authority: AuthorityIndex,
    shared: &mut Shared,
    (now, counts, unproven): (Instant, &mut LinkCounts, &mut Unproven),
    observer: &mut dyn Observer,
) -> Result<(), CloseReason> {
    match notice {
        Notice::Acks(acks) => {
            for ack in acks.iter() {
                let mut tell = |event| observer.on_event(authority, event);
                match &mut shared.resends {
                    Some(resends) => resends.on_ack(authority, ack, now, &mut tell),
                    None => tell(Event::Ack(ack)),
                }
            }
        }
        Notice::Ordered(ordered) => {
            for item in ordered.iter() {
                let (seq, tag, index) = (ordered.seq, item.tag, item.index);
                if let Some(resends) = &mut shared.resends {
                    resends.on_ordered(authority, tag, now);
                }
                observer.on_event(authority, Event::Ordered { tag, seq, index });
            }
        }
        Notice::Settled { count } => observer.on_event(authority, Event::Settled { count }),
        Notice::Receipts(receipts) => {
            report_receipts(receipts, authority, shared, counts, observer);
        }
        Notice::Key(notice) => match shared.keys.take(authority, notice, &shared.committee) {
            Ok(None) => {}
            Ok(Some(statement)) => observer.on_event(authority, Event::NewKey { statement }),
            Err(reason) => {
                counts.keys_refused += 1;
                observer.on_event(authority, Event::KeyRefused { reason });
            }
        },
        Notice::Following { name, code } => {
            if code != FollowCode::Following {
                observer.on_event(authority, Event::FollowRefused { name, code });
            }
        }
        Notice::Included(included) => {
            report_included(included, authority, shared, (counts, unproven), observer);
        }
        Notice::Certified(certified) => {
            let links = (counts, unproven);
            return report_certified(&certified, authority, shared, links, observer);
        }
        Notice::Welcome(_) | Notice::Goodbye { .. } => {
            unreachable!("welcome and goodbye are the link's own business")
        }
    }
    Ok(())
}

/// Entries that are followed: each is checked against its header, and kept until a certificate covers that.
fn report_included(
    included: Included<'_>,
    authority: AuthorityIndex,
    shared: &Shared,
    (counts, unproven): (&mut LinkCounts, &mut Unproven),
    observer: &mut dyn Observer,
) {
    let target = |name| shared.follows.get(&name).copied();
    let mut refused = 0;
    let let_go = unproven.take(included, &shared.committee, target, |name, verdict| {
        let event = match verdict {
            Ok(inclusion) => Event::Included {
                name,
                inclusion: inclusion.clone(),
            },
            Err(reason) => {
                refused += 1;
                Event::InclusionRefused { reason }
            }
        };
        observer.on_event(authority, event);
    });
    counts.inclusions_refused += refused;
    counts.inclusions_let_go += let_go;
}

/// A certificate: what waits and is covered by it is final. Errors: it does not hold.
fn report_certified(
    certified: &Certified<'_>,
    authority: AuthorityIndex,
    shared: &mut Shared,
    (counts, unproven): (&mut LinkCounts, &mut Unproven),
    observer: &mut dyn Observer,
) -> Result<(), CloseReason> {
    if !unproven.is_of_use(&certified.certificate) {
        return Ok(());
    }
    let chain = CertifiedChain::of(*certified);
    match unproven.check(&chain, &shared.committee) {
        Ok(is_new) => counts.certificates_verified += u64::from(is_new),
        Err(reason) => {
            counts.inclusions_refused += 1;
            observer.on_event(authority, Event::InclusionRefused { reason });
            return Err(CloseReason::BadCertificate(reason));
        }
    }
    for (name, inclusion) in unproven.prove(&chain) {
        match shared.follows.get(&name) {
            // Found, or given up: what another authority says of it is of no interest any more.
            None => continue,
            Some(FollowTarget::Digest(_)) => drop(shared.follows.remove(&name)),
            Some(FollowTarget::Rollup(_)) => {}
        }
        observer.on_event(authority, Event::Certified { name, inclusion });
    }
    Ok(())
}

fn report_receipts(
    receipts: Receipts<'_>,
    authority: AuthorityIndex,
    shared: &Shared,
    counts: &mut LinkCounts,
    observer: &mut dyn Observer,
) {
    let mut header: Option<Result<SignedHeader, ReceiptError>> = None;
    for item in receipts.iter() {
        let Some(entry) = observer.receipt_wanted(item.tag) else {
            continue;
        };
        let header = *header.get_or_insert_with(|| {
            counts.headers_verified += 1;
            verify_header(receipts.signed_header, &shared.committee, authority)
        });
        let path = item.path.hashes();
        let verified = header.and_then(|signed_header| {
            verify_path(&signed_header, item.entry_index, &path, &entry)?;
            Ok(Receipt {
                signed_header,
                entry_index: item.entry_index,
                path,
            })
        });
        let tag = item.tag;
        let event = match verified {
            Ok(receipt) => Event::Receipt { tag, receipt },
            Err(reason) => {
                counts.receipts_refused += 1;
                Event::ReceiptRefused { tag, reason }
            }
        };
        observer.on_event(authority, event);
    }
}

/// First and longest wait between two attempts to connect.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a link must have been live for the wait to start over.
const LIVE_TIME_MIN: Duration = Duration::from_secs(1);
/// Time for connecting and being welcomed.
const GREETING_TIME_MAX: Duration = Duration::from_secs(5);
/// Queued bytes from which a submission writes at once.
const FLUSH_LEN: usize = 128 * 1024;
