//! The numbers that fix the fair order: how many authorities, how many of them may lie, how long a pair may wait.

use crate::committee::Thresholds;
use crate::types::AUTHORITIES_MAX;

/// Size, faults and patience of the fair order; checked when made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairParams {
    authorities: u32,
    faulty: u32,
    deferral_cap: u32,
}

impl FairParams {
    /// n `authorities` of which at most `faulty` (f) lie, and the deferral cap D in anchors (0: no pair ever waits).
    ///
    /// Unlike a committee's, f may be chosen below floor((n - 1) / 3), as an auditor's assumption.
    ///
    /// Errors: n outside 1..=[`AUTHORITIES_MAX`], or f of a third or more.
    pub fn new(authorities: u32, faulty: u32, deferral_cap: u32) -> Result<Self, FairParamsError> {
        if authorities == 0 || authorities as usize > AUTHORITIES_MAX {
            return Err(FairParamsError::Size(authorities));
        }
        let faulty_max = (authorities - 1) / 3;
        if faulty > faulty_max {
            return Err(FairParamsError::Faulty { faulty, faulty_max });
        }
        Ok(Self {
            authorities,
            faulty,
            deferral_cap,
        })
    }

    /// n.
    pub const fn authorities(self) -> u32 {
        self.authorities
    }

    /// q = n - f: listed by so many, a pair is ready.
    pub const fn quorum(self) -> u32 {
        self.authorities - self.faulty
    }

    /// D: deferred for so many anchors, a ready pair is emitted regardless.
    pub const fn deferral_cap(self) -> u32 {
        self.deferral_cap
    }

    /// ceil(D / 8): deferred for so many anchors, a ready pair waits for nobody of its own group.
    pub const fn group_wait(self) -> u32 {
        self.deferral_cap.div_ceil(8)
    }
}

impl From<(Thresholds, u32)> for FairParams {
    /// A committee's thresholds and its deferral cap.
    fn from((thresholds, deferral_cap): (Thresholds, u32)) -> Self {
        Self {
            authorities: thresholds.authorities(),
            faulty: thresholds.faulty_max(),
            deferral_cap,
        }
    }
}

/// Why a fair order cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FairParamsError {
    /// Not between 1 and [`AUTHORITIES_MAX`] authorities.
    #[error("a fair order is made from 1 to {AUTHORITIES_MAX} local orders, not {0}")]
    Size(u32),
    /// Too many faulty for the size.
    #[error("f is at most floor((n - 1) / 3) = {faulty_max}, not {faulty}")]
    Faulty {
        /// As asked for.
        faulty: u32,
        /// The most that this size allows.
        faulty_max: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_liars_or_no_authority_is_refused() {
        assert_eq!(FairParams::new(0, 0, 64), Err(FairParamsError::Size(0)));
        assert_eq!(FairParams::new(129, 0, 64), Err(FairParamsError::Size(129)));
        let refused = FairParamsError::Faulty {
            faulty: 2,
            faulty_max: 1,
        };
        assert_eq!(FairParams::new(6, 2, 64), Err(refused));
        assert_eq!(FairParams::new(7, 2, 64).map(FairParams::quorum), Ok(5));
    }

    #[test]
    fn a_smaller_f_asks_for_more_listings() {
        assert_eq!(FairParams::new(5, 0, 64).map(FairParams::quorum), Ok(5));
        let of_committee = FairParams::from((Thresholds::new(5).unwrap(), 64));
        assert_eq!(Ok(of_committee), FairParams::new(5, 1, 64));
        assert_eq!((of_committee.quorum(), of_committee.group_wait()), (4, 8));
    }

    #[test]
    fn the_group_wait_is_an_eighth_of_the_cap_rounded_up() {
        for (cap, wait) in [(0, 0), (1, 1), (8, 1), (9, 2), (64, 8)] {
            assert_eq!(
                FairParams::new(4, 1, cap).map(FairParams::group_wait),
                Ok(wait)
            );
        }
    }
}
