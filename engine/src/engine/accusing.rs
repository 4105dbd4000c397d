//! Evidence: kept, recorded and exposed once an author and kind.

use super::*;

impl Engine {
    /// Takes in what DAG and reveal have found since the last call. O(1) when they have found nothing.
    pub(super) fn accuse(&mut self, effects: &mut Vec<Effect>) {
        for evidence in self.reveal.take_evidence() {
            self.keep_evidence(evidence, effects);
        }
        if self.dag.faults_len() == self.dag_faults_seen {
            return;
        }
        self.dag_faults_seen = self.dag.faults_len();
        let fresh = |author, kind| !self.evidence.has(author, kind);
        let forks = self.dag.forks();
        let forks = forks.filter(|fork| fresh(fork.author(), EvidenceKind::Fork));
        let links = self.dag.broken_links();
        let links = links.filter(|link| fresh(link.vertex.author(), EvidenceKind::BrokenLink));
        let found: Vec<Evidence> = forks
            .map(Evidence::of_fork)
            .chain(links.map(|link| Evidence::of_broken_link(link.previous.as_ref(), &link.vertex)))
            .collect();
        for evidence in found {
            self.keep_evidence(evidence, effects);
        }
    }

    fn keep_evidence(&mut self, evidence: Evidence, effects: &mut Vec<Effect>) {
        let bytes = evidence.encode();
        if self.evidence.keep(evidence) {
            self.counters.evidence += 1;
            self.persist(Record::Evidence(bytes.into()), effects);
        }
    }

    /// The evidence met so far: one piece an author and kind.
    pub const fn evidence(&self) -> &EvidenceBook {
        &self.evidence
    }

    /// Takes back evidence that this node has recorded before, so that it is not recorded again.
    pub(super) fn restore_evidence(&mut self, evidence: Evidence) {
        self.evidence.keep(evidence);
    }
}
