//! How long messages take, from clients to authorities and between authorities.
//!
//! A delay is a base that depends on where the two are, plus an exponential jitter, drawn for every message anew.

use serde::Serialize;

use super::chance::Chance;

/// Simulated time and durations, nanoseconds.
pub type Ns = u64;

/// A millisecond.
pub const MS: Ns = 1_000_000;

/// Where everybody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// One building.
    Lan,
    /// Authorities around the world by turns in five regions; victim and attacker in one region.
    Wan,
    /// As above, and the attacker in a region of its own choice at random.
    WanApart,
}

impl Profile {
    /// All.
    pub const ALL: [Self; 3] = [Self::Lan, Self::Wan, Self::WanApart];

    /// As files and tables name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::WanApart => "wan-apart",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Lan => "LAN: one-way 0.15 ms from clients, 0.1 ms between authorities",
            Self::Wan => "WAN of five regions, victim and attacker in the same one",
            Self::WanApart => "WAN of five regions, victim and attacker anywhere",
        }
    }

    /// Mean of the jitter of one message.
    pub const fn jitter_ns(self) -> Ns {
        match self {
            Self::Lan => MS / 10,
            Self::Wan | Self::WanApart => MS,
        }
    }

    /// How long a liar holds back what it holds back: several rounds.
    pub const fn hold_ns(self) -> Ns {
        match self {
            Self::Lan => 20 * MS,
            Self::Wan | Self::WanApart => 300 * MS,
        }
    }

    /// How long an authority waits for a leader's vertex.
    pub const fn leader_timeout_ns(self) -> Ns {
        match self {
            Self::Lan => 5 * MS,
            Self::Wan | Self::WanApart => 150 * MS,
        }
    }
}

/// The delays of one run.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Where everybody is.
    pub profile: Profile,
    /// Mean of the jitter of one message from a client.
    pub client_jitter_ns: Ns,
}

impl Network {
    /// With the profile's own jitter.
    pub const fn new(profile: Profile) -> Self {
        Self {
            profile,
            client_jitter_ns: profile.jitter_ns(),
        }
    }

    /// How long one message from a client in `region` takes to `authority`.
    pub fn client_delay(&self, chance: &mut Chance, region: usize, authority: usize) -> Ns {
        let base = match self.profile {
            Profile::Lan => 3 * MS / 20,
            Profile::Wan | Profile::WanApart => base_ns(region, authority),
        };
        base + chance.exponential(self.client_jitter_ns as f64)
    }

    /// How long one message between authorities takes.
    pub fn link_delay(&self, chance: &mut Chance, from: usize, to: usize) -> Ns {
        let base = match self.profile {
            Profile::Lan => MS / 10,
            Profile::Wan | Profile::WanApart => base_ns(from, to),
        };
        base + chance.exponential(self.profile.jitter_ns() as f64)
    }
}

/// Regions of the WAN; authority i is in region i modulo this.
pub const REGIONS: usize = REGION_DELAYS_MS.len();

fn base_ns(from: usize, to: usize) -> Ns {
    REGION_DELAYS_MS[from % REGIONS][to % REGIONS] * MS
}

/// One-way delays in milliseconds among Virginia, Oregon, Frankfurt, Tokyo and Singapore: rounded medians between public
/// cloud regions, those of the engine's simulator.
const REGION_DELAYS_MS: [[u64; 5]; 5] = [
    [1, 34, 45, 78, 108],
    [34, 1, 73, 50, 84],
    [45, 73, 1, 118, 80],
    [78, 50, 118, 1, 35],
    [108, 84, 80, 35, 1],
];
