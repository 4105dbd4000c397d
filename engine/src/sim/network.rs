//! The network: how long a message takes from one node to another, whether it arrives, and how often.
//!
//! Delays are of a local network, of five regions around the world, or constant. Until the faulty phase ends messages may
//! be lost, doubled and reordered one by one, and groups of nodes cut off from each other; links keep their order
//! otherwise, as TCP does. Source of the region delays: rounded one-way medians between public cloud regions.

use super::chance::Chance;

/// How delays come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// One building: some 0.2 to 1 ms, now and then ten times that.
    Lan,
    /// Nodes spread over the five [`REGIONS`].
    Wan,
    /// Always this long, microseconds.
    Constant(u64),
}

/// What may go wrong with single messages while the faulty phase lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Lost, of a thousand.
    pub(crate) loss_permille: u64,
    /// Delivered twice, of a thousand.
    pub(crate) double_permille: u64,
    /// Held up for as long as [`HELD_UP_US_MAX`], of a thousand.
    pub(crate) held_up_permille: u64,
    /// Messages of one link may overtake each other.
    pub(crate) is_reordering: bool,
}

/// The state of all links.
pub(crate) struct Network {
    profile: Profile,
    weather: Weather,
    region: Vec<usize>,
    /// When the last message of each link arrives: link `from * nodes + to`.
    last_us: Vec<u64>,
    /// Which side each node is on while there is a partition.
    side: Option<Vec<u8>>,
    chance: Chance,
}

impl Network {
    /// Links among `nodes` nodes.
    pub(crate) fn new(
        profile: Profile,
        weather: Weather,
        nodes: usize,
        mut chance: Chance,
    ) -> Self {
        let region = (0..nodes)
            .map(|_| chance.below(REGIONS.len() as u64) as usize)
            .collect();
        Self {
            profile,
            weather,
            region,
            last_us: vec![0; nodes * nodes],
            side: None,
            chance,
        }
    }

    /// Cuts nodes on different sides off from each other, or heals all.
    pub(crate) fn part(&mut self, side: Option<Vec<u8>>) {
        self.side = side;
    }

    /// The faulty phase is over: nothing is lost, doubled or held up any more.
    pub(crate) const fn calm(&mut self) {
        self.weather.loss_permille = 0;
        self.weather.double_permille = 0;
        self.weather.held_up_permille = 0;
    }

    /// Whether a message would get from one to the other just now.
    pub(crate) fn is_connected(&self, from: usize, to: usize) -> bool {
        self.side.as_ref().is_none_or(|side| side[from] == side[to])
    }

    /// When a message that leaves at `now_us` arrives: not at all, once, or twice.
    pub(crate) fn arrivals(&mut self, now_us: u64, from: usize, to: usize) -> [Option<u64>; 2] {
        if !self.is_connected(from, to) || self.chance.permille(self.weather.loss_permille) {
            return [None, None];
        }
        let first = self.arrival(now_us, from, to);
        let again = self
            .chance
            .permille(self.weather.double_permille)
            .then(|| self.arrival(now_us, from, to));
        [Some(first), again]
    }

    fn arrival(&mut self, now_us: u64, from: usize, to: usize) -> u64 {
        let mut at = now_us + self.delay_us(from, to);
        if self.chance.permille(self.weather.held_up_permille) {
            at += self.chance.below(HELD_UP_US_MAX);
        }
        if !self.weather.is_reordering {
            let last = &mut self.last_us[from * self.region.len() + to];
            at = at.max(*last);
            *last = at;
        }
        at
    }

    fn delay_us(&mut self, from: usize, to: usize) -> u64 {
        match self.profile {
            Profile::Constant(delay_us) => delay_us,
            Profile::Lan => {
                let delay_us = self.chance.between(150, 900);
                match self.chance.one_in(64) {
                    true => 10 * delay_us,
                    false => delay_us,
                }
            }
            Profile::Wan => {
                let base_us = 1000 * REGION_DELAYS_MS[self.region[from]][self.region[to]];
                base_us + self.chance.below(base_us / 8 + 200)
            }
        }
    }
}

/// Where nodes may be.
pub(crate) const REGIONS: [&str; 5] = ["Virginia", "Oregon", "Frankfurt", "Tokyo", "Singapore"];

/// One-way delay from region to region, milliseconds.
const REGION_DELAYS_MS: [[u64; 5]; 5] = [
    [1, 34, 45, 78, 108],
    [34, 1, 73, 50, 84],
    [45, 73, 1, 118, 80],
    [78, 50, 118, 1, 35],
    [108, 84, 80, 35, 1],
];

/// The longest that a single message is held up, microseconds.
const HELD_UP_US_MAX: u64 = 400_000;
