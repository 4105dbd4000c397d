//! What a node consists of, as tables: threads and their cores, the queues between them, what is refused and dropped.
//!
//! `fairlane node --print-topology` prints them without starting anything. Threads come from the core plan that the node
//! follows and bounds are the very constants that the queues are made with; a test holds the tables to the sources: a
//! thread or queue that is made somewhere and stands in no row is found.

use std::fmt;
use std::path::Path;

use fairlane_client::committee_file::Roster;
use fairlane_engine::engine::UNOPENED_MAX;
use fairlane_engine::sync::loads::LOADS_MAX;
use fairlane_engine::types::AuthorityIndex;
use fairlane_tuning::{CorePlan, Stage};

use crate::backend::{self, Chosen};
use crate::certifier::{ASKED_MAX, MADE_MAX};
use crate::config::{NodeConfig, resolve};
use crate::journal::{Append, QUEUE_BYTES_MAX, QUEUE_LEN_DEFAULT, TAILS_TOLD_MAX};
use crate::node::{
    STAGE_RING_DEPTH, append_choice, check_quotas, check_timers, choice, plan_cores,
};
use crate::settle::WORKERS_MAX;
use crate::stage::WAIT_MAX;
use crate::stage::core::{PORTION_MAX, UNSETTLED_MAX};
use crate::stage::io::{
    BULK_AHEAD_BYTES_MAX, CLIENT_QUEUE_BYTES_MAX, CLIENTS_MAX, PEER_CONNECTIONS_MAX,
    PEER_QUEUE_BYTES_MAX,
};
use crate::stage::journal_port::KEPT_BACK_MAX;
use crate::stage::links::BUSY_RETRY_US;
use crate::stage::links::core_queue::{BACKLOG_A_PEER_MAX, BACKLOG_MAX};
use crate::stage::links::door::HANDSHAKES_MAX;
use crate::stage::links::peers::{BULK_QUEUE_BYTES_MAX, HANDSHAKE_US_MAX, SILENCE_US_MAX};
use crate::stage::settle_port::CERTIFICATES_WAITING_MAX;
use crate::stage::waiting::Wait;

/// A node before it is started: what was read, probed and planned.
#[derive(Debug)]
pub struct Topology {
    own: AuthorityIndex,
    authorities: u32,
    chosen: Chosen,
    append: Append,
    plan: CorePlan,
    wait: Wait,
    settle_ring_bytes: u64,
    metrics: bool,
}

/// A thread that is not pinned and waits for what it is asked.
#[derive(Clone, Copy, Debug)]
struct Helper {
    name: &'static str,
    does: &'static str,
    waits: &'static str,
}

/// A queue between two stages or threads.
#[derive(Clone, Debug)]
struct Queue {
    from: &'static str,
    to: &'static str,
    kind: Kind,
    bound: String,
    when_full: String,
}

/// What a queue is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Lock-free, one producer and one consumer.
    Ring,
    /// A bounded channel of the standard library.
    Channel,
    /// Shared memory with another process.
    Shared,
    /// Memory of one stage, for what a ring had no room for.
    Waiting,
    /// Towards a socket.
    Socket,
}

/// What is refused, dropped or cut, and when.
#[derive(Clone, Debug)]
struct Rule {
    when: String,
    then: &'static str,
}

impl Topology {
    /// Reads the configuration at `path`, probes the host and plans, as a start would; starts and writes nothing.
    ///
    /// Errors: one sentence, as of a start.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let config: NodeConfig = crate::config::read_toml(path)?;
        let roster = Roster::load(&resolve(path, &config.committee))?;
        let wrong = |what: String| anyhow::anyhow!("{}: {what}", path.display());
        let own = AuthorityIndex(config.index);
        let thresholds = roster.committee.thresholds();
        if !thresholds.has_member(own) {
            return Err(wrong("index names no authority of the committee".into()));
        }
        check_quotas(config.quotas).map_err(wrong)?;
        check_timers(config.timers).map_err(wrong)?;
        let plan = plan_cores(&config);
        config.wait.check(&plan).map_err(wrong)?;
        let chosen = backend::probe(choice(config.backend))?;
        let append = Append::probe(append_choice(config.journal_backend, chosen.kind))?;
        Ok(Self {
            own,
            authorities: thresholds.authorities(),
            chosen,
            append,
            plan,
            wait: config.wait,
            settle_ring_bytes: config.settle_ring_bytes,
            metrics: config.metrics_listen.is_some(),
        })
    }

    fn helpers(&self) -> Vec<Helper> {
        let mut helpers = HELPERS.to_vec();
        if !self.metrics {
            helpers.retain(|helper| helper.name != "control");
        }
        helpers
    }

    /// Every queue, along the pipeline.
    fn queues(&self) -> Vec<Queue> {
        let queue = |(from, to), kind, bound: String, when_full: &str| Queue {
            from,
            to,
            kind,
            bound,
            when_full: when_full.to_owned(),
        };
        let busy_ms = BUSY_RETRY_US / 1_000;
        vec![
            queue(
                ("io", "core"),
                Kind::Ring,
                format!("{STAGE_RING_DEPTH} messages, {PORTION_MAX} taken at a time"),
                &format!(
                    "submissions: Busy, retry after {busy_ms} ms; while k clients have some in it, one may have 1/(k + 1) \
                     of it; authorities' messages wait in io"
                ),
            ),
            queue(
                ("io", "core"),
                Kind::Waiting,
                format!("{BACKLOG_MAX} messages of authorities, {BACKLOG_A_PEER_MAX} of one"),
                "the link of the authority with most of them is reset; what is lost is fetched through the DAG",
            ),
            queue(
                ("core", "io"),
                Kind::Ring,
                format!("{STAGE_RING_DEPTH} messages"),
                "they wait in core, which takes nothing new in until there is room",
            ),
            queue(
                ("core", "journal"),
                Kind::Waiting,
                format!("{KEPT_BACK_MAX} records that nobody waits for"),
                "handed on",
            ),
            queue(
                ("core", "journal"),
                Kind::Ring,
                format!("{QUEUE_LEN_DEFAULT} records, {}", bytes(QUEUE_BYTES_MAX)),
                "core takes nothing new in; a full disk: clients are told Busy, nothing new is signed",
            ),
            queue(
                ("journal", "trimmer"),
                Kind::Channel,
                count(TAILS_TOLD_MAX, "place"),
                "left to the next time",
            ),
            queue(
                ("settle", "core"),
                Kind::Channel,
                count(WORKERS_MAX, "worker"),
                "one more is refused before it gets there",
            ),
            queue(
                ("core", "settle"),
                Kind::Channel,
                format!("{WORKERS_MAX} workers that left"),
                "never: no more are there than may come",
            ),
            queue(
                ("core", "a settlement worker"),
                Kind::Shared,
                format!("{} each", bytes(self.settle_ring_bytes)),
                &format!(
                    "while others have room the worker is served from the journal; when none has, {UNSETTLED_MAX} batches wait \
                     unopened first; consensus goes on"
                ),
            ),
            queue(
                ("core", "a settlement worker"),
                Kind::Waiting,
                format!("{CERTIFICATES_WAITING_MAX} certificates each"),
                "the last gives way to a newer one, which covers its batches, too",
            ),
            queue(
                ("core", "core"),
                Kind::Waiting,
                format!("{UNOPENED_MAX} batches decided and not opened"),
                "no further anchor is committed until one opens",
            ),
            queue(
                ("core", "loader"),
                Kind::Channel,
                format!("{LOADS_MAX} items, as many answers"),
                "answered: not here; the peer asks another authority",
            ),
            queue(
                ("core", "certify"),
                Kind::Channel,
                format!("{ASKED_MAX} batches and words"),
                "let go of, counted; a later certificate covers them",
            ),
            queue(
                ("certify", "core"),
                Kind::Channel,
                format!("{MADE_MAX} words and certificates"),
                "certify waits",
            ),
            queue(
                ("io", "a client"),
                Kind::Socket,
                bytes(CLIENT_QUEUE_BYTES_MAX as u64),
                "it reads too slowly: its connection is reset, counted",
            ),
            queue(
                ("io", "an authority"),
                Kind::Socket,
                bytes(PEER_QUEUE_BYTES_MAX as u64),
                "it reads too slowly: the link is reset, counted; what it missed is fetched",
            ),
            queue(
                ("io", "an authority"),
                Kind::Waiting,
                format!(
                    "{} of bulk, sealed while less than {} is ahead of a vertex",
                    bytes(BULK_QUEUE_BYTES_MAX as u64),
                    bytes(BULK_AHEAD_BYTES_MAX as u64)
                ),
                "the same",
            ),
        ]
    }
}

fn rules() -> Vec<Rule> {
    let rule = |when: String, then| Rule { when, then };
    vec![
        rule(
            format!("more than {CLIENTS_MAX} client connections"),
            "the new one is closed at once, counted",
        ),
        rule(
            format!("more than {PEER_CONNECTIONS_MAX} connections at the peer port"),
            "the new one is closed at once, counted",
        ),
        rule(
            format!("more than {HANDSHAKES_MAX} handshakes"),
            "a new one takes the place of the oldest, strangers' first, counted",
        ),
        rule(
            format!(
                "a handshake of more than {} s",
                HANDSHAKE_US_MAX / 1_000_000
            ),
            "its connection is reset, counted",
        ),
        rule(
            format!("an authority silent for {} s", SILENCE_US_MAX / 1_000_000),
            "its link is reset, counted, and connected again",
        ),
        rule(
            "a client's frame that is malformed or too long".into(),
            "goodbye with the reason, and the connection is closed, counted",
        ),
        rule(
            "an authority's message that does not decode or verify".into(),
            "dropped, counted; too many of them: the link is cut and barred for a while",
        ),
    ]
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {}", self.own, self.authorities)?;
        writeln!(f, "\nprobed and chosen")?;
        writeln!(f, "  network  {}: {}", self.chosen.kind, self.chosen.reason)?;
        writeln!(f, "  journal  {}: {}", self.append.path, self.append.reason)?;
        writeln!(f, "  cores    {}", self.plan.reason)?;
        let receive = self.wait.said_of(&self.plan);
        writeln!(f, "  receive  {receive}")?;

        writeln!(f, "\nthreads")?;
        writeln!(
            f,
            "  {:<13} {:>4}  {:<26} waits",
            "thread", "core", "stages"
        )?;
        for thread in &self.plan.threads {
            let stages: Vec<String> = thread.stages.iter().map(Stage::to_string).collect();
            let name = thread
                .stages
                .first()
                .map_or_else(String::new, Stage::to_string);
            let (core, stages, waits) = (thread.core, stages.join(" + "), self.wait.of(thread));
            writeln!(f, "  {name:<13} {core:>4}  {stages:<26} {waits}")?;
        }
        for Helper { name, does, waits } in self.helpers() {
            writeln!(f, "  {name:<13} {:>4}  {does:<26} {waits}", "any")?;
        }
        writeln!(f, "  io and core look around at least every {WAIT_MAX:?}")?;

        writeln!(f, "\nqueues, and what happens when one is full")?;
        for queue in self.queues() {
            let (way, kind) = (
                format!("{} -> {}", queue.from, queue.to),
                queue.kind.to_string(),
            );
            writeln!(f, "  {way:<26} {kind:<14} {}", queue.bound)?;
            writeln!(f, "  {:<26} {:<14} full: {}", "", "", queue.when_full)?;
        }

        writeln!(f, "\nrefused, dropped, cut")?;
        for rule in rules() {
            writeln!(f, "  {}: {}", rule.when, rule.then)?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::Channel => "channel",
            Self::Shared => "shared memory",
            Self::Waiting => "waiting list",
            Self::Socket => "send queue",
        })
    }
}

fn bytes(count: u64) -> String {
    match count {
        _ if count >= 1 << 20 && count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count >= 1 << 10 && count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        _ => format!("{count} bytes"),
    }
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The threads beside those of the core plan, by the names that they are started with.
const HELPERS: &[Helper] = &[
    Helper {
        name: "loader",
        does: "old batches from the disk",
        waits: "sleeps until asked; one for peers, one for each settlement worker",
    },
    Helper {
        name: "certify",
        does: "signatures of certificates",
        waits: "sleeps until asked",
    },
    Helper {
        name: "settle",
        does: "settlement socket",
        waits: "sleeps until a worker says something",
    },
    Helper {
        name: "settle-tcp",
        does: "settlement port",
        waits: "sleeps until a worker on another machine comes",
    },
    Helper {
        name: "settle-worker",
        does: "what goes to such a worker",
        waits: "sleeps until there is more; one for each",
    },
    Helper {
        name: "trimmer",
        does: "removes old segments",
        waits: "sleeps until told",
    },
    Helper {
        name: "control",
        does: "metrics and health",
        waits: "sleeps until a request",
    },
];

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
