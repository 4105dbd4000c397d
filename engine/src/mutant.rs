//! Rules of the protocol, each of which can be broken on purpose, to show that the simulator notices.
//!
//! Without the feature `mutants`, which no node has, [`is`] is always false and every use of it compiles to nothing. With
//! it, `simulate --mutation-check` breaks one rule after the other and runs seeds until a checker catches it.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// A rule to break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[doc = $doc])* $name),* }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

mutants! {
    /// Anchors are committed and certified by a quorum less one.
    QuorumLessOne,
    /// The commit rule counts vertices, so that twins count twice.
    VerticesNotAuthors,
    /// A slot is decided through the next committed anchor, past an undecided slot.
    PassesOverUndecided,
    /// A slot is skipped when a quorum has no vote for one of its twins.
    SkipsOnOneTwin,
    /// A vertex may have two parents by one author.
    TwinParents,
    /// The own vertex waits for the leader's vertex, and not for the votes.
    NoVoteWait,
    /// Shares leave when an anchor lists their envelopes, before one emits them.
    SharesAtListing,
    /// Positions that do not follow put nobody out.
    NoPositionCheck,
    /// Timestamps that run backwards put nobody out.
    NoTimestampCheck,
    /// A listing of what was emitted already counts again.
    NoDuplicateFilter,
    /// Forked authors go on counting.
    NoForkRule,
    /// An own vertex is sent before it is durable.
    SentBeforeDurable,
    /// What opens under unproven shares is taken for the content.
    OpensOnClientsWord,
    /// Entries expire by the local clock.
    LocalExpiry,
    /// What fewer than a quorum list is emitted.
    ReadyLessOne,
    /// What expired before it was listed is emitted once a quorum lists it.
    EmitsExpired,
}

/// Whether this rule is broken.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is(_mutant: Mutant) -> bool {
    false
}

/// Whether this rule is broken.
#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8 + 1
}

/// Breaks one rule, in all engines of this process, or none.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    let active = mutant.map_or(0, |mutant| mutant as u8 + 1);
    ACTIVE.store(active, std::sync::atomic::Ordering::Relaxed);
}

/// The broken rule's number, from 1; 0 for none.
#[cfg(feature = "mutants")]
static ACTIVE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
