//! Hostile traffic beside the honest load, over connections of its own and with an account of its own.
//!
//! The honest load stays what it is, envelope for envelope, so that a run with hostile traffic can be held against one
//! without. For each kind a share is named: bad-proof=1% means one envelope with a bad proof beside every hundredth honest one,
//! due with it. Half-open connections and slow readers are counts, not shares: they are held for the whole run.
//!
//! - *bad-proof*: sealed, and one bit of the proof changed: refused as bad_proof.
//! - *duplicate*: the bytes of an honest envelope again: accepted while that is under way, refused as duplicate once it is
//!   settled, and never ordered twice.
//! - *expired*: valid until a second before it is sent: refused as expired.
//! - *wrong-epoch*: sealed to a key that the committee does not have, of its next epoch: refused as wrong_key.
//! - *one-authority*: sound, and given to one authority alone, in turn: the others fetch it, it is ordered.
//! - *oversize*: a frame above the bound, each on a new connection: the node hangs up.
//! - *half-open*: connections that begin a hello and stop.
//! - *slow-readers*: connections that submit, follow the whole rollup and never read.

pub(crate) mod connections;
pub(crate) mod listener;
pub(crate) mod maker;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::outcome::Distribution;

/// A kind of hostile traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostileKind {
    /// The proof does not hold.
    BadProof,
    /// Sent by somebody else already.
    Duplicate,
    /// No longer valid.
    Expired,
    /// Sealed to another key.
    WrongEpoch,
    /// Sound, but told to one authority alone.
    OneAuthority,
    /// Longer than any envelope.
    Oversize,
    /// Connections that never say hello.
    HalfOpen,
    /// Connections that never read.
    SlowReaders,
}

impl HostileKind {
    /// All, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::BadProof,
        Self::Duplicate,
        Self::Expired,
        Self::WrongEpoch,
        Self::OneAuthority,
        Self::Oversize,
        Self::HalfOpen,
        Self::SlowReaders,
    ];

    /// As on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadProof => "bad-proof",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::WrongEpoch => "wrong-epoch",
            Self::OneAuthority => "one-authority",
            Self::Oversize => "oversize",
            Self::HalfOpen => "half-open",
            Self::SlowReaders => "slow-readers",
        }
    }

    /// Whether it is connections that are held, not envelopes that are sent.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::HalfOpen | Self::SlowReaders)
    }

    /// Whether every correct node refuses it, so that none may ever be ordered.
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::BadProof | Self::Expired | Self::WrongEpoch)
    }
}

impl fmt::Display for HostileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of what is sent beside the honest load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostilePlan {
    /// By kind: the part of honest envelopes that one goes beside, above 0 and at most 1; for kinds that are held, how many
    /// connections.
    amounts: BTreeMap<HostileKind, f64>,
}

impl HostilePlan {
    /// Whether there is nothing hostile.
    pub fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    /// The part of honest envelopes beside which one of `kind` goes, or the number of connections; 0 if none.
    pub fn amount(&self, kind: HostileKind) -> f64 {
        self.amounts.get(&kind).copied().unwrap_or(0.0)
    }

    /// The kinds that are there.
    pub fn kinds(&self) -> impl Iterator<Item = HostileKind> + '_ {
        self.amounts.keys().copied()
    }
}

/// `bad-proof=1%,half-open=20`.
impl FromStr for HostilePlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut amounts = BTreeMap::new();
        for part in text.split(',') {
            let (name, amount) = part.split_once('=').ok_or_else(wrong_plan)?;
            let kind = HostileKind::ALL
                .into_iter()
                .find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(wrong_plan)?;
            if amounts
                .insert(kind, amount_of(kind, amount.trim())?)
                .is_some()
            {
                return Err(format!("{kind} is named twice"));
            }
        }
        Ok(Self { amounts })
    }
}

fn amount_of(kind: HostileKind, text: &str) -> Result<f64, String> {
    if kind.is_held() {
        let count = text.parse::<u32>().ok();
        let count = count.filter(|count| (1..=CONNECTIONS_MAX).contains(count));
        return count.map(f64::from).ok_or_else(|| {
            format!("{kind} takes a number of connections, 1 to {CONNECTIONS_MAX}, not {text:?}")
        });
    }
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<f64>().ok());
    let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    percent.map(|percent| percent / 100.0).ok_or_else(|| {
        format!("{kind} takes a share of the honest load, above 0% and at most 100%, not {text:?}")
    })
}

fn wrong_plan() -> String {
    let names = HostileKind::ALL.map(HostileKind::name).join(", ");
    format!(
        "hostile traffic is KIND=SHARE% or KIND=CONNECTIONS, with commas between them; kinds are {names}"
    )
}

/// `bad-proof 1%, half-open 20`.
impl fmt::Display for HostilePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, amount)) in self.amounts.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match kind.is_held() {
                true => write!(f, "{comma}{kind} {amount}")?,
                false => write!(f, "{comma}{kind} {}%", amount * 100.0)?,
            }
        }
        Ok(())
    }
}

/// What became of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileOutcome {
    /// Which.
    pub kind: HostileKind,
    /// Envelopes sent, or connections opened.
    pub sent: u64,
    /// Those that could not be sent or opened: the generator did not keep up, or a node took no connection.
    pub failed: u64,
    /// Nodes' answers by code, every node's counted.
    pub answers: BTreeMap<String, u64>,
    /// Envelopes that got a place in the order.
    pub ordered: u64,
    /// Microseconds from the planned time to it.
    pub ordered_us: Distribution,
    /// Connections that a node closed.
    pub hung_up: u64,
}

impl HostileOutcome {
    pub(crate) fn new(kind: HostileKind) -> Self {
        Self {
            kind,
            sent: 0,
            failed: 0,
            answers: BTreeMap::new(),
            ordered: 0,
            ordered_us: Distribution::default(),
            hung_up: 0,
        }
    }

    /// Whether nothing was ordered that every node must refuse.
    pub const fn holds(&self) -> bool {
        !self.kind.is_refused() || self.ordered == 0
    }
}

/// Most connections of each kind that is held.
pub const CONNECTIONS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_shares_and_connections() {
        let plan: HostilePlan = "bad-proof=1%, half-open=20,duplicate=0.5%".parse().unwrap();
        assert_eq!(plan.amount(HostileKind::BadProof), 0.01);
        assert_eq!(plan.amount(HostileKind::HalfOpen), 20.0);
        assert_eq!(plan.amount(HostileKind::Expired), 0.0);
        assert_eq!(
            plan.to_string(),
            "bad-proof 1%, duplicate 0.5%, half-open 20"
        );
        assert!(!plan.is_empty() && HostilePlan::default().is_empty());
    }

    #[test]
    fn what_is_no_plan_is_refused_with_what_would_be() {
        for (text, words) in [
            ("", "kinds are bad-proof"),
            ("bad-proof", "kinds are"),
            ("rude=1%", "kinds are"),
            ("bad-proof=1", "takes a share"),
            ("bad-proof=0%", "takes a share"),
            ("bad-proof=101%", "takes a share"),
            ("expired=NaN%", "takes a share"),
            ("half-open=5%", "number of connections"),
            ("slow-readers=0", "number of connections"),
            ("half-open=1,half-open=2", "named twice"),
        ] {
            let error = text.parse::<HostilePlan>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
