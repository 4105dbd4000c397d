//! Around one engine: verifying what comes, carrying out what the engine asks for, opening batches.

use super::*;
use crate::dag::VerifiedVertex;
use crate::dag::header::VertexHeader;
use crate::effect::Record;
use crate::evidence::Evidence;
use crate::input::ClientTag;
use crate::sim::check::structure::round_of;
use crate::sim::check::{chain, fair};
use crate::sim::disk::Write;
use crate::sim::workload::Submission;
use crate::sync::loads::load_from_records;
use crate::sync::part::Item;
use crate::types::Round;

impl World {
    /// When `node` can take something in: later while it stands still.
    fn taken_in_at(&self, node: usize) -> Option<u64> {
        self.nodes[node].stands_still_until(self.now_us)
    }

    pub(super) fn deliver(&mut self, to: usize, from: AuthorityIndex, posted: Rc<Posted>) {
        if !self.nodes[to].is_up {
            return;
        }
        if let Some(later_us) = self.taken_in_at(to) {
            let message = posted;
            self.queue
                .plan(later_us, Event::Deliver { to, from, message });
            return;
        }
        let content = posted.content;
        let input = match &posted.message {
            PeerMessage::Vertex(bytes) => {
                self.note(1, to, &content);
                let Some(vertex) = self.memo.vertex(bytes, content) else {
                    return;
                };
                Input::Vertex { from, vertex }
            }
            PeerMessage::Envelope(bytes) => {
                self.note(3, to, &content);
                return self.deliver_envelope(to, from, bytes, content);
            }
            PeerMessage::Share(bytes) => {
                self.note(2, to, &content);
                let Ok(message) = crate::seal::ShareMessage::decode(bytes) else {
                    return;
                };
                Input::Share {
                    from,
                    message: Box::new(message),
                }
            }
            requests => match over_the_wire(requests) {
                PeerMessage::WantVertices(vertices) => Input::WantVertices { from, vertices },
                PeerMessage::WantEnvelopes(digests) => Input::WantEnvelopes { from, digests },
                PeerMessage::WantShare(seq) => Input::WantShare { from, seq },
                PeerMessage::WantRounds { after, count } => {
                    Input::WantRounds { from, after, count }
                }
                PeerMessage::WantPart(want) => Input::WantPart { from, want },
                PeerMessage::Part(part) => Input::Part { from, part },
                PeerMessage::WantNewest { token } => Input::WantNewest { from, token },
                PeerMessage::Newest { token, vertex } => {
                    let vertex = match vertex {
                        None => None,
                        Some(bytes) => match self.memo.vertex(&bytes, content_of(&bytes)) {
                            None => return,
                            verified => verified,
                        },
                    };
                    Input::Newest {
                        from,
                        token,
                        vertex,
                    }
                }
                other => panic!("{other:?} is no request"),
            },
        };
        self.input(to, input);
    }

    fn deliver_envelope(
        &mut self,
        to: usize,
        from: AuthorityIndex,
        bytes: &Arc<[u8]>,
        content: Content,
    ) {
        let digest = Digest(*blake3::hash(bytes).as_bytes());
        if !self.nodes[to].engine.is_envelope_wanted(&digest) {
            return;
        }
        let Some(envelope) = self.memo.envelope(bytes, content) else {
            return;
        };
        let fetched = self.nodes[to].engine.counters().fetched;
        self.input(to, Input::PeerEnvelope { from, envelope });
        if self.nodes[to].engine.counters().fetched > fetched {
            self.on_received(to, digest);
        }
    }

    pub(super) fn on_submission(&mut self, at: usize) {
        let submission = self.workload.submissions[at].clone();
        let node = submission.node;
        if !self.nodes[node].is_up {
            return;
        }
        if let Some(later_us) = self.taken_in_at(node) {
            self.queue.plan(later_us, Event::Submit { at });
            return;
        }
        let bytes = self.workload.envelopes[submission.envelope].clone();
        let content = content(&bytes);
        self.note(4, node, &content);
        let Some(envelope) = self.memo.envelope(&bytes, content) else {
            return;
        };
        let client = ClientTag {
            connection: 1,
            tag: submission.envelope as u64,
        };
        self.input(node, Input::Submission { client, envelope });
    }

    /// A correct node takes an envelope into its local order, whether or not it did before.
    fn on_received(&mut self, node: usize, digest: Digest) {
        if !self.nodes[node].is_correct() {
            return;
        }
        let received = self.checks.received.entry(node).or_default();
        if !received.known.insert(digest) {
            return;
        }
        received.order.push(digest);
        let is_settled = self.checks.chain.batch_of(&digest).is_some();
        let (_, until) = &self.workload.truth[&digest];
        let lasts = super::super::clock::START.plus_us(LASTING_US);
        if !is_settled && *until > lasts {
            let round = self.front_round;
            self.checks.live.on_promised(node, digest, round);
        }
    }

    pub(super) fn on_timer(&mut self, node: usize) {
        if self.nodes[node].timer_us != Some(self.now_us) || !self.nodes[node].is_up {
            return;
        }
        self.nodes[node].timer_us = None;
        if let Some(later_us) = self.taken_in_at(node) {
            self.nodes[node].timer_us = Some(later_us);
            self.queue.plan(later_us, Event::Timer { node });
            return;
        }
        self.nodes[node].ticked_us = Some(self.now_us);
        self.input(node, Input::Tick);
    }

    pub(super) fn on_written(&mut self, node: usize, life: u64, covers: u64) {
        if !self.nodes[node].is_up || self.nodes[node].life != life {
            return;
        }
        if let Some(later_us) = self.taken_in_at(node) {
            self.queue
                .plan(later_us, Event::Written { node, life, covers });
            return;
        }
        self.nodes[node].disk.on_written(covers, self.now_us);
        self.input(node, Input::Durable { records: covers });
        self.try_write(node);
    }

    pub(super) fn on_loaded(&mut self, node: usize, life: u64, item: Item) {
        if !self.nodes[node].is_up || self.nodes[node].life != life {
            return;
        }
        if let Some(later_us) = self.taken_in_at(node) {
            self.queue
                .plan(later_us, Event::Loaded { node, life, item });
            return;
        }
        let bytes = load_from_records(self.nodes[node].disk.records(), item);
        self.loads += 1;
        self.input(node, Input::Loaded { item, bytes });
    }

    fn try_write(&mut self, node: usize) {
        if let Some(Write { takes_us, covers }) = self.nodes[node].disk.try_write() {
            let (at_us, life) = (self.now_us + takes_us, self.nodes[node].life);
            self.queue
                .plan(at_us, Event::Written { node, life, covers });
        }
    }

    /// Gives one input to a node that is up, and does what it asks for.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        if !self.nodes[node].is_up {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        let at = &mut self.nodes[node];
        let local = at.clock.at(self.now_us);
        at.engine.handle(local, input, &mut effects);
        at.engine.advance_reveal(local, &mut effects);
        self.follow_up(node, &mut effects);
        self.effects = effects;
    }

    /// Does what an engine asks for, and what is due after every input.
    pub(super) fn follow_up(&mut self, node: usize, effects: &mut Vec<Effect>) {
        self.carry_out(node, effects);
        self.open(node, effects);
        self.carry_out(node, effects);
        self.try_write(node);
        self.set_timer(node);
        let at = &self.nodes[node];
        if at.is_correct() {
            self.front_round = self.front_round.max(at.engine.round().0);
            if self.scenario.key_changes.is_some() {
                self.judge_keys(node);
            }
        }
    }

    /// Looks at the keys of a correct node; clients seal to one that is new.
    fn judge_keys(&mut self, node: usize) {
        let at = &self.nodes[node];
        let (life, own) = (at.life, at.authority);
        let keys = &mut self.checks.keys;
        let key = match keys.on_handled((node, life), own, &at.engine) {
            Ok(None) => return,
            Ok(Some(key)) => key,
            Err(what) => return self.fail("keys", what),
        };
        if key == *self.keys.sealing {
            return;
        }
        self.memo.add_key(key.clone());
        for _ in 0..self.key_chance.between(1, 3) {
            let envelope = self
                .workload
                .seal_to(&key, self.now_us, &mut self.key_chance);
            for node in 0..self.nodes.len() {
                let at_us = self.now_us + self.key_chance.below(WAY_US_MAX);
                self.last_submission_us = self.last_submission_us.max(at_us);
                let at = self.workload.submissions.len();
                self.workload.submissions.push(Submission {
                    at_us,
                    node,
                    envelope,
                });
                self.queue.plan(at_us, Event::Submit { at });
            }
        }
    }

    fn set_timer(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        let local = at.clock.at(self.now_us);
        let Some(deadline) = at.engine.next_deadline(local) else {
            at.timer_us = None;
            return;
        };
        let mut due_us = at.clock.reaches(deadline, self.now_us);
        if due_us == self.now_us && at.ticked_us == Some(due_us) {
            // It has just looked and has more to do: a poll later.
            due_us += POLL_US;
        }
        if at.timer_us != Some(due_us) {
            at.timer_us = Some(due_us);
            self.queue.plan(due_us, Event::Timer { node });
        }
    }

    fn carry_out(&mut self, node: usize, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist(record) => self.persist(node, record),
                Effect::Send { to, message } => self.send(node, to, &message),
                Effect::Broadcast(message) => self.broadcast(node, &message),
                Effect::Ack { client, outcome } => {
                    self.note(5, node, &[u8::from(outcome.is_ok()); 16]);
                    if outcome.is_ok() {
                        let bytes = &self.workload.envelopes[client.tag as usize];
                        let digest = Digest(*blake3::hash(bytes).as_bytes());
                        self.on_received(node, digest);
                    }
                }
                Effect::Load { item } => {
                    let (at_us, life) = (self.now_us + LOAD_US, self.nodes[node].life);
                    self.queue.plan(at_us, Event::Loaded { node, life, item });
                }
                Effect::Receipts { header, .. } => self.judge_receipt(node, &header.header),
                Effect::Ordered { .. } | Effect::BatchReady { .. } => {}
            }
        }
    }

    fn persist(&mut self, node: usize, record: Record) {
        let number = self.nodes[node].disk.append(&record);
        if !self.nodes[node].is_honest() {
            return;
        }
        match &record {
            Record::OwnVertex(bytes) => {
                if let Some(vertex) = self.memo.vertex(bytes, content(bytes)) {
                    self.keep(&vertex);
                    self.checks.decide.on_own_record(node, number, bytes);
                    let found = self.checks.structure.on_own_record(node, number, &vertex);
                    self.hold("structure", found);
                } else {
                    self.fail(
                        "structure",
                        format!("node {node} makes a vertex that is none"),
                    );
                }
            }
            Record::Vertex(bytes) => {
                if !self.seen.is_new(bytes) {
                    self.checks.decide.on_accepted(node, bytes);
                    return;
                }
                if let Some(vertex) = self.memo.vertex(bytes, content(bytes)) {
                    self.keep(&vertex);
                    self.checks.decide.on_accepted(node, bytes);
                    let found = self.checks.structure.on_accepted(node, &vertex);
                    self.hold("structure", found);
                } else {
                    self.fail(
                        "structure",
                        format!("node {node} keeps a vertex that is none"),
                    );
                }
            }
            Record::Anchor(bytes) => {
                self.note(6, node, &content(bytes));
                self.checks.blind.on_anchor(node, bytes);
                let found = self.checks.decide.on_anchor(node, bytes);
                self.hold("commit rule", found);
                match self.checks.chain.on_anchor(node, bytes) {
                    Ok(false) => {}
                    Ok(true) => match self.checks.fair.on_anchor(bytes) {
                        Ok(step) => {
                            self.checks.latency.on_anchor(&step.vertices);
                            let anchor = fair::anchor_of(bytes);
                            self.checks.decide.on_committed(anchor, &step);
                        }
                        Err(what) => self.fail("fair", what),
                    },
                    Err(what) => self.fail("chain", what),
                }
                let index = chain::anchor_index(bytes);
                self.checks.latency.on_committed(index, self.now_us);
            }
            Record::Envelope(_)
            | Record::Batch(_)
            | Record::Share(_)
            | Record::Snapshot(_)
            | Record::Certificate(_) => {}
            Record::State(_) => self.checks.chain.on_state(node),
            Record::Evidence(bytes) => self.judge_evidence(node, bytes),
        }
    }

    /// Some correct node has this vertex.
    fn keep(&mut self, vertex: &VerifiedVertex) {
        self.checks.fair.on_kept(vertex);
        self.checks.decide.keep(vertex);
    }

    fn broadcast(&mut self, node: usize, message: &PeerMessage) {
        if let PeerMessage::Vertex(bytes) = message {
            self.judge_own_vertex(node, bytes);
        }
        let Node {
            engine, byzantine, ..
        } = &mut self.nodes[node];
        let beside = match (byzantine, message) {
            (Some(byzantine), PeerMessage::Vertex(bytes)) => {
                byzantine.on_own_vertex(bytes, |round| engine.leader(round))
            }
            _ => Vec::new(),
        };
        let own = self.nodes[node].authority;
        if let PeerMessage::Share(bytes) = message {
            self.judge_share(node, bytes);
        }
        let posted = Rc::new(Posted::of(message.clone()));
        let beside: Vec<Rc<Posted>> = beside
            .into_iter()
            .map(|forged| Rc::new(Posted::of(forged)))
            .collect();
        for to in (0..self.scenario.n).map(AuthorityIndex) {
            if to == own {
                continue;
            }
            self.transmit(node, to, &posted);
            for forged in &beside {
                self.post(node, to, forged);
            }
        }
    }

    fn send(&mut self, node: usize, to: AuthorityIndex, message: &PeerMessage) {
        if let PeerMessage::Share(bytes) = message {
            self.judge_share(node, bytes);
        }
        self.transmit(node, to, &Rc::new(Posted::of(message.clone())));
    }

    fn judge_own_vertex(&mut self, node: usize, bytes: &[u8]) {
        if self.nodes[node].is_honest() {
            let durable = self.nodes[node].disk.durable();
            let found = self.checks.structure.on_own_sent(node, bytes, durable);
            self.hold("structure", found);
            if let Some(vertex) = self.memo.vertex(bytes, content(bytes)) {
                let sent = vertex.reference();
                self.checks.latency.on_sent(sent, self.now_us);
            }
        }
    }

    /// A receipt is given for what is durable.
    fn judge_receipt(&mut self, node: usize, header: &VertexHeader) {
        if self.nodes[node].is_honest() {
            let durable = self.nodes[node].disk.durable();
            let found = self.checks.structure.on_receipt(node, header, durable);
            self.hold("structure", found);
        }
    }

    /// Evidence holds, and accuses nobody who keeps the rules.
    fn judge_evidence(&mut self, node: usize, bytes: &[u8]) {
        let found = match Evidence::decode(bytes) {
            Ok(evidence) => {
                let honest = self.nodes_of[evidence.author().as_usize()].iter();
                let is_accused_wrongly = honest.clone().any(|at| self.nodes[*at].is_honest());
                // A share is of the key that its batch has.
                let keys = self.memo.keys().iter();
                let checked = keys.map(|key| evidence.check(&self.committee, key));
                let one = |a: Result<(), _>, b: Result<(), _>| a.or(b);
                match checked.reduce(one).expect("there is a dealt key") {
                    Ok(()) if is_accused_wrongly => {
                        Err(format!("{} is accused and correct", evidence.author()))
                    }
                    Ok(()) => Ok(()),
                    Err(error) => Err(format!("evidence that does not hold: {error}")),
                }
            }
            Err(error) => Err(format!("evidence that does not decode: {error}")),
        };
        if let Err(what) = found {
            self.fail("evidence", format!("node {node}: {what}"));
        }
    }

    fn judge_share(&mut self, node: usize, bytes: &[u8]) {
        if self.nodes[node].is_honest() {
            let found = self.checks.blind.on_share(node, bytes);
            self.hold("blind", found);
        }
    }

    /// Sends one message, bent if the node is faulty.
    fn transmit(&mut self, node: usize, to: AuthorityIndex, posted: &Rc<Posted>) {
        let Node {
            authority,
            engine,
            byzantine,
            ..
        } = &mut self.nodes[node];
        match byzantine {
            Some(byzantine) => {
                let leads = |round| engine.leader(round) == Some(*authority);
                if let Some(bent) = byzantine.bend(to, &posted.message, leads) {
                    self.post(node, to, &Rc::new(Posted::of(bent)));
                }
            }
            None => self.post(node, to, posted),
        }
    }

    /// Hands one message to the network.
    fn post(&mut self, node: usize, to: AuthorityIndex, posted: &Rc<Posted>) {
        let from = self.nodes[node].authority;
        let leave_us = self.now_us + self.starved_us(node, to, posted);
        for at in 0..self.nodes_of[to.as_usize()].len() {
            let receiver = self.nodes_of[to.as_usize()][at];
            let arrivals = self.network.arrivals(leave_us, node, receiver);
            for at_us in arrivals.into_iter().flatten() {
                self.queue.plan(
                    at_us,
                    Event::Deliver {
                        to: receiver,
                        from,
                        message: posted.clone(),
                    },
                );
            }
        }
    }

    /// How much longer the network takes where it is against us: in a starving scenario nothing from and to the faulty and
    /// from the leader of the round; where leaders are slowed, nothing but from the leader.
    fn starved_us(&mut self, node: usize, to: AuthorityIndex, posted: &Posted) -> u64 {
        let PeerMessage::Vertex(bytes) = &posted.message else {
            return 0;
        };
        let is_slowing = self.scenario.is_slowing_leaders && !self.healed;
        let is_faulty = |at: usize| !self.nodes[self.nodes_of[at][0]].is_honest();
        let own = self.nodes[node].authority;
        let is_league = is_faulty(own.as_usize()) || is_faulty(to.as_usize());
        if !is_slowing && (!self.scenario.is_starving || is_league) {
            return 0;
        }
        let leader = self.nodes[node].engine.leader(Round(round_of(bytes)));
        let timeout_us = self.scenario.config.leader_timeout_us;
        match (is_slowing, leader == Some(own)) {
            (true, true) if self.chance.one_in(2) => self.chance.below(4 * timeout_us),
            (true, _) | (false, true) => 0,
            (false, false) => timeout_us / 2,
        }
    }

    fn open(&mut self, node: usize, effects: &mut Vec<Effect>) {
        while let Some(len) = self.nodes[node].engine.ready_len_max() {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.resize(len, 0);
            let opened = self.nodes[node].engine.open_next(&mut scratch, effects);
            if let Some(opened) = &opened {
                self.on_opened(node, opened, &scratch[..opened.archive_len]);
            }
            self.scratch = scratch;
            if opened.is_none() {
                return;
            }
        }
    }

    fn on_opened(&mut self, node: usize, opened: &crate::reveal::OpenedBatch, bytes: &[u8]) {
        self.note(7, node, &content(&opened.header_hash.0));
        if !self.nodes[node].is_honest() {
            return;
        }
        let truths = &self.workload.truth;
        let is_first = match self.checks.chain.on_opened(node, opened, bytes, truths) {
            Ok(is_first) => is_first,
            Err(what) => return self.fail("chain", what),
        };
        if !is_first {
            return;
        }
        let found = self.checks.fair.on_batch(&opened.header, &opened.digests);
        self.hold("fair", found);
        let found = self.checks.blind.on_settled(&opened.header);
        self.hold("blind", found);
        for digest in &opened.digests {
            let found = self.checks.live.on_settled(digest, self.front_round);
            self.hold("live", found);
        }
    }
}

impl Posted {
    fn of(message: PeerMessage) -> Self {
        let content = match &message {
            PeerMessage::Vertex(bytes)
            | PeerMessage::Envelope(bytes)
            | PeerMessage::Share(bytes) => content(bytes),
            _ => Content::default(),
        };
        Self { message, content }
    }
}

/// What arrives when `message` is encoded and read back.
fn content_of(bytes: &[u8]) -> Content {
    content(bytes)
}

fn over_the_wire(message: &PeerMessage) -> PeerMessage {
    let mut body = Vec::new();
    message.encode_body(&mut body);
    PeerMessage::decode(message.kind(), &body).expect("what we encode decodes")
}

/// The longest way of an envelope sealed to a new key, microseconds.
const WAY_US_MAX: u64 = 20_000;
/// To read something from a disk, microseconds.
const LOAD_US: u64 = 300;
/// Between two looks of a busy node, microseconds.
const POLL_US: u64 = 50;
/// What is valid for longer than this from the start on cannot expire in a run of ours, microseconds.
const LASTING_US: u64 = 35_000_000;
