//! How a generation ends: which deals are settled, and the key that is their sum.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::dkg::deal::evaluate_at;
use crate::dkg::machine::{Generation, Ordered};
use crate::dkg::outcome::{Failure, Generated, Outcome};
use crate::dkg::session::Session;
use crate::seal::deal::KeyShare;
use crate::seal::group::{EncodedPoint, Transcript};
use crate::seal::key::{KeyError, SealingKey};
use crate::seal::lagrange;
use crate::types::AuthoritySet;

impl Generation {
    /// How it ends by what has been ordered so far; none while it goes on.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let (q, window) = (self.quorum(), self.session.window_anchors);
        let deals = self.good().count();
        if deals < q {
            let failure = Failure::TooFewDeals {
                deals: deals as u32,
                wanted: q as u32,
            };
            return (self.anchors >= window).then_some(Outcome::Failed(failure));
        }
        let settled = self.good().filter(|known| self.is_settled(known));
        let qualified: Vec<&Ordered> = settled.take(q).collect();
        if qualified.len() < q {
            let failure = Failure::TooFewSettled {
                settled: qualified.len() as u32,
                wanted: q as u32,
            };
            let is_late = self.anchors >= window.saturating_mul(3);
            return is_late.then_some(Outcome::Failed(failure));
        }
        Some(match self.combine(&qualified) {
            Ok(generated) => Outcome::Done(Box::new(generated)),
            Err(error) => Outcome::Failed(Failure::Key(error)),
        })
    }

    /// The key of a generation that has ended with one, once more; `None` for one that goes on or failed.
    pub fn generated(&self) -> Option<Generated> {
        match self.outcome().filter(|_| self.is_over)? {
            Outcome::Done(generated) => Some(*generated),
            Outcome::Failed(_) => None,
        }
    }

    /// The deals that are not refuted.
    pub(super) fn good(&self) -> impl Iterator<Item = &Ordered> {
        self.deals.iter().filter(|known| !known.refuted)
    }

    /// q.
    pub(super) fn quorum(&self) -> usize {
        self.session.thresholds().quorum() as usize
    }

    /// Whether all authorities that keep the rules have their share of a deal.
    fn is_settled(&self, known: &Ordered) -> bool {
        let mut members = self.session.thresholds().members();
        members.all(|member| known.is_certain(member))
    }

    /// The sum of the qualified polynomials and their [`shift`]: x = P(0), x_i = P(i + 1).
    fn combine(&self, qualified: &[&Ordered]) -> Result<Generated, KeyError> {
        let session = &self.session;
        let (n, t) = (session.thresholds().authorities(), session.threshold());
        let shift = shift(session, qualified.iter().map(|known| &*known.bytes));
        let mut sums: Vec<RistrettoPoint> = (0..t as usize)
            .map(|power| {
                let of = qualified
                    .iter()
                    .map(|known| &known.deal.commitments()[power]);
                of.map(EncodedPoint::point).sum()
            })
            .collect();
        // A polynomial of degree 0 is everybody's secret alike: then nobody is faulty, f being below t.
        if let Some(slope) = sums.get_mut(1) {
            *slope += RistrettoPoint::mul_base(&shift);
        }
        let encode = |point: RistrettoPoint| point.compress().to_bytes();
        let members = session.thresholds().members();
        let shares: Vec<[u8; 32]> = members
            .map(|author| encode(evaluate_at(sums.iter().copied(), author)))
            .collect();
        let delta = Scalar::from(lagrange::delta(n, t));
        let x = encode(sums[0] * (delta + delta));
        let (chain_id, epoch) = (session.chain_id, session.epoch);
        let key = SealingKey::from_parts(chain_id, epoch, n, t, x, &shares)?;
        let share = self.member.as_ref().and_then(|member| {
            let mut secret = Zeroizing::new(Scalar::ZERO);
            for known in qualified {
                *secret += **known.own_share.as_ref()?;
            }
            if t > 1 {
                *secret += shift * Scalar::from(member.index.share_point());
            }
            Some(KeyShare::new(&key, member.index, secret))
        });
        let (mut dealers, mut mended) = (AuthoritySet::EMPTY, AuthoritySet::EMPTY);
        for known in qualified {
            dealers.insert(known.deal.dealer());
            if known.is_mended {
                mended.insert(known.deal.dealer());
            }
        }
        Ok(Generated {
            key,
            share,
            qualified: dealers,
            mended,
        })
    }
}

/// What is added to the slope of the sum of these deals, given in their order: a hash of them all.
///
/// Whoever deals last has read its own shares of the others' deals, and could deal so that they add up to 0, for which there
/// is no verification share: no key would ever be made. Against a sum that is known only when the deals are, it cannot.
/// The shift is public and 0 at 0, so it changes neither X nor what t - 1 shares say about x.
pub(super) fn shift<'a>(session: &Session, deals: impl Iterator<Item = &'a [u8]>) -> Scalar {
    let transcript = Transcript::new(TAG_SHIFT).part(session.id());
    deals.fold(transcript, Transcript::part).scalar()
}

const TAG_SHIFT: &str = "fairlane/1/dkg-shift";
