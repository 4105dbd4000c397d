//! What a member says in a generation: it follows from what was ordered, not from what it has sent.

use std::sync::Arc;

use crate::dkg::complaint::Complaint;
use crate::dkg::machine::{Generation, Member, Ordered};
use crate::dkg::message;
use crate::types::AuthoritySet;

impl Generation {
    /// What this member must get into the log next; `None` when there is nothing, and for one that only follows.
    ///
    /// To be asked again after each message and anchor; whoever sends it may send it again at any time.
    pub fn wanted(&self) -> Option<Arc<[u8]>> {
        let member = self.member.as_ref().filter(|_| !self.is_over)?;
        let session = &self.session;
        let has_dealt = self.deals.iter().any(|d| d.deal.dealer() == member.index);
        if !has_dealt && self.anchors < session.window_anchors {
            return Some(member.deal.clone());
        }
        let is_bad = |known: &&Ordered| known.own_share.is_none() && !known.refuted;
        let cheated = self.deals.iter().filter(is_bad);
        let mut unsaid = cheated.filter(|known| !known.complaints.contains(member.index));
        if let Some(known) = unsaid.next() {
            let complaint = Complaint::make(session, &known.deal, member.index, &member.key);
            return Some(message::encode_complaint(session, &complaint).into());
        }
        if self.good().count() < self.quorum() {
            return None;
        }
        let mut held = AuthoritySet::EMPTY;
        let mut is_new = false;
        for known in self.good().filter(|known| known.own_share.is_some()) {
            held.insert(known.deal.dealer());
            is_new |= !known.acks.contains(member.index);
        }
        match is_new {
            true => Some(message::encode_ack(session, held).into()),
            false => self.wanted_assurance(member),
        }
    }

    /// What the own deal's next receiver without certainty is to be assured with.
    fn wanted_assurance(&self, member: &Member) -> Option<Arc<[u8]>> {
        #[cfg(feature = "sim")]
        if member.assures_nobody {
            return None;
        }
        let session = &self.session;
        // One who started again has drawn another polynomial since.
        let own = self.good().find(|known| known.bytes == member.deal)?;
        if self.anchors < session.assured_from(own.at) {
            return None;
        }
        let mut members = session.thresholds().members();
        let receiver = members.find(|receiver| !own.is_certain(*receiver))?;
        let made = member.assurances[receiver.as_usize()].get_or_init(|| {
            message::encode_assurance(session, &member.draft, &own.deal, receiver).into()
        });
        Some(made.clone())
    }
}
