//! The atomics under what is lock-free and our own: those of the standard library here, those of loom in `tests/loom.rs`,
//! which compiles the same source files beside a module of this name.

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
