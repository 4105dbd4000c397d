//! Places at which a worker may die: around each of its writes. Tests let it die at each in turn; elsewhere nothing is here.

use super::SettleError;

/// Passes, unless a test lets this thread's worker die here.
#[cfg_attr(
    not(test),
    allow(clippy::unnecessary_wraps, reason = "only tests fail here")
)]
#[inline]
pub(super) fn point() -> Result<(), SettleError> {
    #[cfg(test)]
    if tests::is_last() {
        return Err(SettleError::Handshake(DIED));
    }
    Ok(())
}

/// How many of `len` bytes are written before the worker dies in the middle of its write; none when it does not.
#[inline]
pub(super) fn part_of(len: usize) -> Option<usize> {
    #[cfg(test)]
    if tests::is_last() {
        return Some(len / 2);
    }
    let _ = len;
    None
}

/// What a death says.
#[cfg(test)]
pub(super) const DIED: &str = "killed by a test";

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    thread_local! {
        /// Points that this thread still passes, and the one at which it dies.
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// This thread's worker dies at its `point`-th point from here, from 0.
    pub(in crate::settle) fn die_at(point: u64) {
        LEFT.set(Some(point));
    }

    /// Whether this is the point. Once dead, nothing is passed any more.
    pub(super) fn is_last() -> bool {
        match LEFT.get() {
            None => false,
            Some(0) => true,
            Some(left) => {
                LEFT.set(Some(left - 1));
                false
            }
        }
    }
}
