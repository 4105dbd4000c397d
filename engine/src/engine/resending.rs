//! Getting going again when messages were lost: a node that cannot enter its next round sends again what peers may lack.
//!
//! What somebody cites can be asked for, and so is found; a vertex of the newest round that nobody has cited yet cannot. If
//! enough of those are lost, nobody has a quorum of the round, nobody makes a vertex, and nothing that could be cited
//! comes. A link that breaks and comes back is told by `PeerUp`; a message lost by itself is not.

use super::*;

/// When a node that waits for a quorum of its newest round sends again.
#[derive(Debug, Default)]
pub(super) struct Resend {
    due: Option<TimestampUs>,
    attempts: u32,
}

impl Resend {
    /// When to look again; none while the node waits for nobody.
    pub(super) const fn next_due(&self) -> Option<TimestampUs> {
        self.due
    }
}

impl Engine {
    /// Sends again what peers may lack if the next round could not be entered for twice the leader timeout, and then
    /// after ever longer waits.
    pub(super) fn try_resend(&mut self, now: TimestampUs, effects: &mut Vec<Effect>) {
        let proposer = &self.proposer;
        let is_waiting = proposer.in_flight.is_none() && proposer.entered.is_none();
        if !is_waiting {
            self.resend = Resend::default();
            return;
        }
        let wait_us = (2 * self.config.leader_timeout_us) << self.resend.attempts;
        match self.resend.due {
            None => self.resend.due = Some(now.plus_us(wait_us)),
            Some(due) if due <= now => {
                for peer in self.peers_up.iter() {
                    self.pushed[peer.as_usize()] = NOTHING_PUSHED;
                    self.push_history(peer, 0, effects);
                }
                self.counters.resends += 1;
                self.resend.attempts = (self.resend.attempts + 1).min(RESEND_DOUBLINGS_MAX);
                self.resend.due = Some(now.plus_us(wait_us));
            }
            Some(_) => {}
        }
    }
}

/// The wait before sending again doubles at most this often.
const RESEND_DOUBLINGS_MAX: u32 = 4;
