//! The atomics through which readers and writers of the index meet. One module, so that model tests (native/loom) can
//! put loom's in their place and run the very same source.

#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
