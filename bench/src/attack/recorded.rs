//! What a real committee recorded, in the form that the simulated ones have: vertices, anchors, and who sent what.
//!
//! Times of listing are known to the vertex only: entries are put evenly between their vertex and the one before, or
//! over the last 4 ms. What the correct authorities list, and what each anchor commits of it, is exactly as recorded.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use fairlane_engine::types::Digest;

use super::network::{MS, Ns};
use super::rounds::{AnchorTime, Rounds};
use super::traffic::{Pair, Role, Traffic};

/// A recorded run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// For each authority its committed vertices in order.
    pub vertices: Vec<Vec<RecordedVertex>>,
    /// Anchors in order.
    pub anchors: Vec<RecordedAnchor>,
    /// Every envelope that was ordered.
    pub sent: Vec<RecordedEnvelope>,
}

/// A committed vertex.
#[derive(Clone, Debug)]
pub struct RecordedVertex {
    /// Its author's clock when it was made.
    pub made: Ns,
    /// What it lists.
    pub entries: Vec<Digest>,
}

/// A committed anchor.
#[derive(Clone, Debug)]
pub struct RecordedAnchor {
    /// Who made it.
    pub leader: usize,
    /// Consensus time.
    pub time: Ns,
    /// Its tie seed.
    pub seed: [u8; 32],
    /// For each authority how many of its vertices are committed.
    pub covers: Vec<usize>,
}

/// An envelope and what it was sent for.
#[derive(Clone, Copy, Debug)]
pub struct RecordedEnvelope {
    /// Its digest.
    pub digest: Digest,
    /// When it was to be sent, by a clock of its own.
    pub planned: Ns,
    /// What it was sent for.
    pub role: Role,
    /// Of a pair: its number, and of which gap.
    pub pair: Option<(u64, usize)>,
}

impl History {
    /// The run as if it had been simulated.
    ///
    /// Errors: an envelope is listed that was never ordered, or a victim without its attacker or the reverse.
    pub fn convert(mut self) -> anyhow::Result<(Traffic, Rounds)> {
        // A victim goes first where both are planned for one time.
        self.sent
            .sort_by_key(|sent| (sent.planned, sent.role == Role::Attacker, sent.digest));
        let number = self.sent.iter().map(|sent| sent.digest).zip(0u32..);
        let number: BTreeMap<Digest, u32> = number.collect();
        let n = self.vertices.len();
        let mut arrival = vec![vec![None; n]; self.sent.len()];
        let mut made: Vec<Vec<Ns>> = vec![vec![0]; n];
        for (author, vertices) in self.vertices.iter().enumerate() {
            for vertex in vertices {
                let before = *made[author].last().expect("the first stands there");
                let entries = vertex.entries.len() as Ns;
                // Room for each entry at a time of its own.
                let until = vertex.made.max(before + entries + 2);
                let from = before.max(until.saturating_sub(SPREAD_NS.max(entries + 2)));
                for (place, digest) in (1..).zip(&vertex.entries) {
                    let envelope = number
                        .get(digest)
                        .context("a listed envelope was never ordered")?;
                    // Only an author's first listing counts.
                    let arrival = &mut arrival[*envelope as usize][author];
                    arrival.get_or_insert(from + (until - from) * place / (entries + 1));
                }
                made[author].push(until);
            }
        }
        let traffic = self.traffic(arrival)?;
        let anchors = (0..).zip(&self.anchors).map(|(round, anchor)| AnchorTime {
            round,
            leader: anchor.leader,
            commit: anchor.time,
            covers: anchor.covers.clone(),
            seed: anchor.seed,
        });
        let anchors = anchors.collect();
        Ok((traffic, Rounds { made, anchors }))
    }

    fn traffic(&self, arrival: Vec<Vec<Option<Ns>>>) -> anyhow::Result<Traffic> {
        // No envelope arrives before it is sent: so the quickest of all gives the two clocks' difference.
        let ahead = |(sent, arrivals): (&RecordedEnvelope, &Vec<Option<Ns>>)| {
            let first = arrivals.iter().flatten().min()?;
            Some(*first as i64 - sent.planned as i64)
        };
        let ahead = self.sent.iter().zip(&arrival).filter_map(ahead).min();
        let ahead = ahead.context("nothing was listed")?;
        let mut halves: BTreeMap<u64, [Option<u32>; 2]> = BTreeMap::new();
        let mut gaps = BTreeMap::new();
        for (envelope, sent) in (0..).zip(&self.sent) {
            let Some((pair, gap)) = sent.pair else {
                continue;
            };
            let half = usize::from(sent.role == Role::Attacker);
            halves.entry(pair).or_default()[half] = Some(envelope);
            gaps.insert(pair, gap);
        }
        let mut pairs = Vec::with_capacity(halves.len());
        for (number, halves) in halves {
            let [Some(victim), Some(attacker)] = halves else {
                anyhow::bail!("pair {number} is not complete");
            };
            pairs.push(Pair {
                victim,
                attacker,
                gap: gaps[&number],
            });
        }
        ensure!(
            !pairs.is_empty(),
            "there are no pairs of victim and attacker"
        );
        let sent: Vec<Ns> = self
            .sent
            .iter()
            .map(|sent| sent.planned.saturating_add_signed(ahead))
            .collect();
        Ok(Traffic {
            authorities: self.vertices.len(),
            digests: self.sent.iter().map(|sent| sent.digest).collect(),
            end: sent.iter().max().copied().unwrap_or_default(),
            sent,
            role: self.sent.iter().map(|sent| sent.role).collect(),
            arrival,
            pairs,
        })
    }
}

/// Entries of a vertex are spread over at most so long before it: after a pause the one before says little.
const SPREAD_NS: Ns = 4 * MS;

#[cfg(test)]
mod tests {
    use super::super::lists::{Conduct, Lie, list};
    use super::super::traffic::digest_of;
    use super::*;

    /// Four authorities that list three envelopes, in orders of their own, over two vertices each.
    fn history() -> History {
        let vertex = |made: Ns, entries: &[u32]| RecordedVertex {
            made: made * MS,
            entries: entries.iter().map(|at| digest_of(*at)).collect(),
        };
        let anchor = |time: Ns, covers: [usize; 4]| RecordedAnchor {
            leader: 1,
            time: time * MS,
            seed: [time as u8; 32],
            covers: covers.to_vec(),
        };
        let sent = |at: u32, planned: Ns, role, pair| RecordedEnvelope {
            digest: digest_of(at),
            planned,
            role,
            pair,
        };
        History {
            vertices: vec![
                vec![vertex(10, &[0, 1]), vertex(12, &[2])],
                vec![vertex(10, &[1, 0]), vertex(12, &[2])],
                vec![vertex(10, &[0]), vertex(12, &[1, 0, 2])],
                vec![vertex(10, &[]), vertex(12, &[0, 1, 2])],
            ],
            anchors: vec![anchor(11, [1, 1, 1, 1]), anchor(13, [2, 2, 1, 2])],
            sent: vec![
                sent(0, 0, Role::Victim, Some((7, 1))),
                sent(1, MS, Role::Attacker, Some((7, 1))),
                sent(2, 2 * MS, Role::Honest, None),
            ],
        }
    }

    fn listed(lie: Lie) -> Vec<Vec<u32>> {
        let (traffic, rounds) = history().convert().unwrap();
        let conduct = Conduct {
            lie,
            faulty: 1,
            learns: true,
        };
        let lists = list(&traffic, &traffic.arrival, &rounds, conduct, 20 * MS);
        assert_eq!(lists.cuts[0].upto[..3], [2, 2, 1]);
        assert_eq!(lists.cuts[1].upto[..3], [3, 3, 1]);
        assert_eq!((lists.cuts[1].leader, lists.cuts[1].seed), (1, [13; 32]));
        let numbers = |list: &Vec<super::super::lists::Listing>| {
            list.iter().map(|listing| listing.envelope).collect()
        };
        lists.lists.iter().map(numbers).collect()
    }

    #[test]
    fn what_was_recorded_is_listed_again_as_it_was() {
        let as_recorded = [vec![0, 1, 2], vec![1, 0, 2], vec![0, 1, 2], vec![0, 1, 2]];
        assert_eq!(listed(Lie::None), as_recorded);
        let (traffic, _) = history().convert().unwrap();
        let pair = Pair {
            victim: 0,
            attacker: 1,
            gap: 1,
        };
        assert_eq!(traffic.pairs, [pair]);
    }

    #[test]
    fn the_last_authority_lies_in_its_own_recorded_vertices() {
        assert_eq!(listed(Lie::Reorder)[3], [1, 0, 2]);
        assert_eq!(listed(Lie::Reverse)[3], [2, 1, 0]);
        assert_eq!(
            listed(Lie::ListLate)[3],
            [1, 2],
            "what it holds back is after the end"
        );
        for lie in [Lie::Reorder, Lie::Reverse, Lie::ListLate] {
            assert_eq!(listed(lie)[..3], listed(Lie::None)[..3]);
        }
    }

    #[test]
    fn a_pair_that_is_not_complete_or_an_unknown_envelope_is_refused() {
        let mut half = history();
        half.sent[1].role = Role::Honest;
        half.sent[1].pair = None;
        assert!(half.convert().unwrap_err().to_string().contains("pair 7"));
        let mut unknown = history();
        unknown.sent.pop();
        assert!(
            unknown
                .convert()
                .unwrap_err()
                .to_string()
                .contains("never ordered")
        );
    }
}
