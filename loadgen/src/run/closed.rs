//! The closed loop: each client sends when its last envelope has come to its end.
//!
//! It is there to be compared with the open loop. A committee that stalls stalls its clients, too, which then send less and
//! measure little of the stall: latencies count from when an envelope was sent, and not from when it would have been.

use std::time::Duration;

use super::{Run, duration_us};
use crate::config::{ClosedLoop, LoadError};
use crate::control::{Control, Phase, Progress};
use crate::feed::{Fed, Feed};

/// One client of the loop.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    tag: u64,
    since_us: u64,
}

impl Run {
    /// Sends for as long as `closed` says. An envelope that does not come to its end for `timeout` is given up.
    pub(super) fn send_closed(
        &mut self,
        feed: &mut Feed,
        closed: ClosedLoop,
        timeout: Duration,
        progress: &mut dyn FnMut(&Progress),
        control: &Control,
    ) -> Result<(), LoadError> {
        let (end_us, timeout_us) = (duration_us(closed.duration), duration_us(timeout));
        let mut clients: Vec<Option<UnderWay>> = vec![None; closed.clients as usize];
        let mut was_starved = false;
        loop {
            let now_us = self.ears.honest.now_us();
            if now_us >= end_us || control.is_stopped() {
                return Ok(());
            }
            let mut wait_us = (end_us - now_us).min(WAIT_US_MAX);
            for client in &mut clients {
                if client.is_some_and(|under_way| !self.is_over(under_way, now_us, timeout_us)) {
                    continue;
                }
                *client = None;
                match feed.next_at_once()? {
                    Fed::Prepared(mut prepared) => {
                        prepared.is_late = std::mem::take(&mut was_starved);
                        prepared.at_us = self.ears.honest.now_us();
                        let since_us = prepared.at_us;
                        let tag = self.ears.honest.ledger.offered();
                        self.submit(&prepared);
                        *client = Some(UnderWay { tag, since_us });
                    }
                    Fed::End => return Ok(()),
                    Fed::NotYet | Fed::Until(_) => {
                        was_starved = true;
                        wait_us = FEED_WAIT_US;
                        break;
                    }
                }
            }
            self.poll(Duration::from_micros(wait_us), Phase::Sending, progress)?;
        }
    }

    fn is_over(&self, under_way: UnderWay, now_us: u64, timeout_us: u64) -> bool {
        self.ears.honest.ledger.is_over(under_way.tag)
            || now_us.saturating_sub(under_way.since_us) >= timeout_us
    }
}

/// How long to wait for a sealing thread that is behind.
const FEED_WAIT_US: u64 = 200;
/// Between two looks for envelopes that are given up.
const WAIT_US_MAX: u64 = 20_000;
