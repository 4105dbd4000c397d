//! Records of what a node took over: its own snapshots, states of peers, and the batches that came with them.

use std::sync::Arc;

use rkyv::util::AlignedVec;

use crate::batch::archive::validate;
use crate::batch::header::BatchHeader;
use crate::state::Restored;

use super::fault::{Found, Rule};
use super::figures::{Trusted, TrustedFrom};
use super::taken::{self, Fetched};
use super::{Base, TRUSTED_MAX, Verifier, batch};

impl Verifier {
    pub(super) fn install_snapshot(&mut self, parts: &[Arc<[u8]>]) -> Result<(), Found> {
        let mut whole = None;
        for part in parts {
            whole = self.snapshots.take_snapshot(part)?;
        }
        let what = "its parts make no whole snapshot";
        let whole = whole.ok_or_else(|| Found::new(Rule::Snapshot, what))?;
        let restored = taken::restore_snapshot(&self.committee, self.own, &whole)?;
        let header = whole.0;
        self.go_on_behind(&header, restored, TrustedFrom::Snapshot)?;
        self.base = Some(Base {
            anchors: self.sequence.committer().anchors(),
            seq: header.seq,
            floor: self.sequence.committer().floor(),
        });
        (self.next, self.previous) = (header.seq.next(), header.hash());
        self.witness.on_header(header.seq, header.hash())
    }

    fn go_on_behind(
        &mut self,
        header: &BatchHeader,
        restored: Restored,
        from: TrustedFrom,
    ) -> Result<(), Found> {
        self.sequence.install(header.seq.next(), restored);
        if self.trusted.len() == TRUSTED_MAX {
            let what = format!("more than {TRUSTED_MAX} states were taken over");
            return Err(Found::new(Rule::State, what).in_batch(header.seq));
        }
        self.trusted.push(Trusted {
            seq: header.seq.0,
            from,
            is_vouched: false,
        });
        Ok(())
    }

    /// A batch that came from a peer while a state was taken over.
    pub(super) fn take_fetched(
        &mut self,
        fetched: Fetched,
        header: &BatchHeader,
        archive: &[u8],
    ) -> Result<(), Found> {
        let seq = self.next;
        let wrong = |rule, what: String| Found::new(rule, what).in_batch(seq);
        batch::check_place((seq, self.previous), header).map_err(|found| found.in_batch(seq))?;
        let mut aligned = AlignedVec::<16>::new();
        aligned.extend_from_slice(archive);
        let view = validate(&aligned).map_err(|error| wrong(Rule::Archive, error.to_string()))?;
        if view.header() != header {
            let what = "the archive holds another header".to_owned();
            return Err(wrong(Rule::Archive, what));
        }
        if header.seq == fetched.last {
            if header.hash() != fetched.hash {
                let what = "it is not the checkpoint whose state was taken over".to_owned();
                return Err(wrong(Rule::Chain, what));
            }
            self.fetched = None;
        }
        self.figures.batches_taken += 1;
        self.figures.entries_taken += u64::from(header.entries);
        self.pass(header)
    }

    pub(super) fn take_state(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let Some((header, state)) = self.states.take_state(bytes)? else {
            return Ok(());
        };
        if self.base.is_some_and(|base| header.seq <= base.seq) {
            return Ok(());
        }
        let restored = taken::restore(&self.committee, &header, &state)?;
        if header.seq < self.next {
            let what = "the state of a batch before the last recorded is taken over";
            return Err(Found::new(Rule::State, what).in_batch(header.seq));
        }
        self.go_on_behind(&header, restored, TrustedFrom::Peer)?;
        self.fetched = Some(Fetched {
            last: header.seq,
            hash: header.hash(),
        });
        Ok(())
    }

    /// An own snapshot says nothing that its checkpoint does not; it is held to the chain, as far as that is remembered.
    pub(super) fn take_snapshot(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let Some(whole) = self.snapshots.take_snapshot(bytes)? else {
            return Ok(());
        };
        taken::restore_snapshot(&self.committee, self.own, &whole)?;
        let header = whole.0;
        let known = self.witness.hash(header.seq.0);
        if known.is_some_and(|hash| hash != header.hash()) || header.seq >= self.next {
            let what = "a snapshot is of another header";
            return Err(Found::new(Rule::Snapshot, what).in_batch(header.seq));
        }
        self.figures.snapshots += 1;
        Ok(())
    }
}
