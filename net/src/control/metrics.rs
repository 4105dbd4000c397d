//! A node's figures as OpenMetrics text, encoded by the Prometheus project's own library.
//!
//! Counters are those of the report, under the same names: `fairlane_engine_accepted_total` is `engine.accepted` there.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::node::{Figures, NodeReport};
use crate::stage::core::CoreReport;
use crate::stage::settle_port::WorkerFigures;

/// What the text is.
pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The figures as of now.
pub(super) fn encode(figures: &Figures) -> String {
    let mut registry = Registry::with_prefix("fairlane");
    registry.register_collector(Box::new(Snapshot {
        report: figures.report(),
        core: figures.core(),
    }));
    let mut text = String::new();
    // A string takes whatever is written.
    encode_text(&mut text, &registry).expect("a string has no end");
    text
}

#[derive(Debug)]
struct Snapshot {
    report: NodeReport,
    core: CoreReport,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut lines = Lines(encoder);
        self.encode_standing(&mut lines)?;
        self.encode_clients(&mut lines)?;
        self.encode_peers(&mut lines)?;
        self.encode_journal(&mut lines)?;
        self.encode_certificates(&mut lines)?;
        self.encode_workers(&mut lines)?;
        let steps = self.report.steps.named();
        let seconds = steps.map(|(name, step)| (name, step.ns as f64 / 1e9));
        lines.family(
            "step_seconds",
            "Time by step of the core stage",
            "step",
            &seconds,
        )?;
        let items = steps.map(|(name, step)| (name, step.items));
        lines.family(
            "step_items",
            "Items by step of the core stage",
            "step",
            &items,
        )?;
        for (name, help, value) in self.core.engine.described() {
            lines.counter(&format!("engine_{name}"), help.trim_end_matches('.'), value)?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn encode_standing(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let (report, standing) = (&self.report, &self.core.standing);
        lines.gauge(
            "authority",
            "Index of the authority",
            u64::from(report.index),
        )?;
        lines.gauge("round", "The round of the next own vertex", report.round)?;
        lines.gauge("keys", "Sealing keys held", standing.keys)?;
        let us = standing.consensus_us as f64 / 1e6;
        lines.gauge("consensus_time_seconds", "Consensus time since 1970", us)?;
        let us = standing.anchor_us as f64 / 1e6;
        lines.gauge(
            "last_anchor_time_seconds",
            "When an anchor was last committed",
            us,
        )?;
        let us = standing.looked_us as f64 / 1e6;
        lines.gauge(
            "core_time_seconds",
            "When the core stage last came round",
            us,
        )?;
        let full = u64::from(standing.is_disk_full);
        lines.gauge("disk_full", "1 while the journal's disk has no room", full)?;
        let behind = u64::from(standing.is_catching_up);
        lines.gauge(
            "catching_up",
            "1 while it takes what it missed from peers",
            behind,
        )?;
        lines.counter("batches", "Batches opened", report.batches)?;
        lines.gauge(
            "settled",
            "Batches settled by a worker at least, of all",
            standing.settled,
        )?;
        let seconds = report.cpu_us as f64 / 1e6;
        lines.counter("cpu_seconds", "Processor time of the process", seconds)
    }

    fn encode_clients(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let (report, io) = (&self.report, &self.report.io);
        lines.counter("clients", "Client connections taken", io.clients)?;
        lines.counter("submissions", "Submissions taken", io.submissions)?;
        let refused = [
            ("malformed_or_bad_proof", report.submissions_refused),
            ("bad_proofs_before", report.submissions_put_off),
            ("rollup_rate", report.submissions_over_rate),
            ("busy", io.busy),
            ("datagram_busy", io.datagrams.busy),
            ("datagram_rate", io.datagrams.over_rate),
            ("disk_full", report.disk_full.busy),
        ];
        let help = "Submissions refused before the engine saw them";
        lines.family("submissions_refused", help, "reason", &refused)?;
        let cut = [("sent", io.clients_cut), ("slow", io.clients_slow)];
        lines.family("clients_cut", "Client connections cut", "reason", &cut)?;
        self.encode_datagrams(lines)
    }

    fn encode_datagrams(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let counts = &self.report.io.datagrams;
        let help = "Datagrams received from clients";
        lines.counter("datagrams_received", help, counts.received)?;
        lines.counter("datagrams_sent", "Datagrams sent to clients", counts.sent)?;
        let help = "Clients over UDP that proved their address";
        lines.counter("datagram_clients", help, counts.clients)?;
        let help = "Submissions taken over UDP";
        lines.counter("datagram_submissions", help, counts.submissions)?;
        let gone = [
            ("silent", counts.silent),
            ("turned_away", counts.turned_away),
        ];
        let help = "Clients over UDP that were forgotten or not taken";
        lines.family("datagram_clients_gone", help, "reason", &gone)?;
        let lost = [
            ("malformed", counts.malformed),
            ("unknown_token", counts.unknown),
            ("unanswered", counts.unanswered),
            ("too_long", counts.truncated),
            ("kernel", counts.dropped),
            ("unsent", counts.unsent),
            ("notice_too_long", counts.notices_left_out),
        ];
        let help = "Datagrams that came to nothing, and notices that none could carry";
        lines.family("datagrams_lost", help, "reason", &lost)?;
        let xdp = &self.report.io.xdp;
        let help = "Datagrams taken off the interface by AF_XDP";
        lines.counter("xdp_datagrams", help, xdp.datagrams)?;
        let help = "Bytes of these";
        lines.counter("xdp_datagram_bytes", help, xdp.bytes)?;
        let lost = [
            ("malformed", xdp.malformed),
            ("no_memory", xdp.dropped),
            ("ring_full", xdp.ring_full),
        ];
        let help = "Frames that AF_XDP gave and that came to nothing";
        lines.family("xdp_lost", help, "reason", &lost)?;
        let help = "Times that the kernel found no memory ahead for AF_XDP";
        lines.counter("xdp_fill_ring_empty", help, xdp.fill_empty)?;
        let help = "Entries of AF_XDP's fill ring that the kernel did not take";
        lines.counter("xdp_invalid", help, xdp.invalid)
    }

    fn encode_peers(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let io = &self.report.io;
        lines.counter("received_bytes", "Bytes received", io.received_bytes)?;
        lines.counter("sent_bytes", "Bytes sent", io.sent_bytes)?;
        lines.counter(
            "link_sessions",
            "Sessions with authorities",
            io.links.sessions,
        )?;
        lines.counter(
            "link_messages",
            "Messages of authorities",
            io.links.messages,
        )?;
        let cuts = io.links.cuts();
        let help = "Connections at the peer port that were refused or cut";
        lines.family("link_cuts", help, "reason", &cuts)?;
        let refused: Vec<(&str, u64)> = self.core.messages_refused.named().collect();
        let help = "Messages of authorities that came to nothing";
        lines.family("messages_refused", help, "reason", &refused)
    }

    fn encode_journal(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let (journal, full) = (&self.report.journal, &self.report.disk_full);
        lines.counter("journal_records", "Records written", journal.records)?;
        lines.counter(
            "journal_groups",
            "Writes of groups of records",
            journal.groups,
        )?;
        lines.counter("journal_syncs", "Syncs of groups", journal.syncs)?;
        lines.counter("journal_bytes", "Bytes written", journal.bytes)?;
        lines.counter(
            "journal_disk_full",
            "Times that the disk became full",
            full.times,
        )?;
        let help = "Messages of authorities let go of while it was full";
        lines.counter("journal_disk_full_let_go", help, full.let_go)
    }

    fn encode_certificates(&self, lines: &mut Lines<'_>) -> fmt::Result {
        let counts = &self.report.certificates;
        let words = [
            ("signed", counts.signed),
            ("skipped", counts.skipped),
            ("dropped", counts.dropped),
            ("taken", counts.collected.taken),
            ("late", counts.collected.late),
            ("bad", counts.collected.bad),
            ("contradicting", counts.collected.contradictions),
        ];
        let help = "Words for certificates, own and others', by what became of them";
        lines.family("certificate_words", help, "outcome", &words)?;
        let made = counts.collected.made;
        lines.counter("certificates", "Certificates made", made)?;
        let passed = counts.collected.passed_over;
        lines.counter(
            "certificates_passed_over",
            "Signed batches covered by a later one",
            passed,
        )?;
        let follow = self.report.follow;
        let told = [
            ("followed", follow.followed),
            ("refused", follow.refused),
            ("included", follow.included),
            ("certified", follow.certified),
            ("unproven", follow.unproven),
            ("overrun", follow.overrun),
        ];
        let help = "Wishes of clients to follow something, and what was told of it";
        lines.family("follow", help, "outcome", &told)?;
        let seconds = counts.cpu_us as f64 / 1e6;
        lines.counter(
            "certificate_cpu_seconds",
            "Processor time of certificates",
            seconds,
        )
    }

    /// A gauge for each figure, and a line in it for each settlement worker, by its slot and rollup.
    fn encode_workers(&self, lines: &mut Lines<'_>) -> fmt::Result {
        type Figure = fn(&WorkerFigures) -> u64;
        let gauges: [(&str, &str, Figure); 7] = [
            (
                "worker_attached",
                "1 while the settlement worker is there",
                |of| u64::from(of.is_attached),
            ),
            (
                "worker_live",
                "1 while it gets batches as they are opened, 0 from the journal",
                |of| u64::from(of.is_live),
            ),
            (
                "worker_settled",
                "Batches that it has settled, of all",
                |of| of.settled,
            ),
            (
                "worker_lag",
                "Batches opened that it has not settled",
                |of| of.lag,
            ),
            (
                "worker_ring_bytes",
                "Bytes in its ring that it has not given back",
                |of| of.ring_bytes,
            ),
            (
                "worker_fallbacks",
                "Times that its ring stayed full",
                |of| of.fallbacks,
            ),
            (
                "worker_lies",
                "Times that its cursor held what no correct worker writes",
                |of| of.lies,
            ),
        ];
        let port = &self.core.settle_port;
        lines.counter(
            "worker_connections",
            "Workers taken in over TCP",
            port.workers,
        )?;
        let help = "Connections at the settlement port that came to nothing";
        lines.family("worker_refusals", help, "reason", &port.refusals())?;
        let known: Vec<(usize, WorkerFigures)> = (self.core.workers.iter().enumerate())
            .filter_map(|(slot, worker)| Some((slot, (*worker)?)))
            .collect();
        for (name, help, figure) in gauges {
            let values = known.iter().map(|(slot, worker)| {
                let labels = [
                    ("worker", slot.to_string()),
                    ("rollup", worker.rollup.to_string()),
                ];
                (labels, figure(worker))
            });
            lines.gauges(name, help, values)?;
        }
        Ok(())
    }
}

/// One metric after the other.
struct Lines<'a>(DescriptorEncoder<'a>);

impl Lines<'_> {
    fn counter<N: EncodeCounterValue>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        self.one(name, help, &ConstCounter::new(value))
    }

    fn gauge<N: EncodeGaugeValue>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        self.one(name, help, &ConstGauge::new(value))
    }

    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    /// A gauge for each set of labels; nothing where there are none.
    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = ([(&'static str, String); 2], u64)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A counter for each value of a label.
    fn family<N: EncodeCounterValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[(&str, N)],
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, *of)];
            ConstCounter::new(*value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
