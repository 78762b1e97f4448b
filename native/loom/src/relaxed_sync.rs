//! loom's atomics with every ordering relaxed.

pub(super) use loom::sync::atomic::{AtomicPtr, AtomicU64};

pub(super) struct Ordering;

#[allow(non_upper_case_globals, reason = "named as what they replace")]
impl Ordering {
    pub(super) const Relaxed: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
    pub(super) const Acquire: loom::sync::atomic::Ordering = Self::Relaxed;
    pub(super) const Release: loom::sync::atomic::Ordering = Self::Relaxed;
    pub(super) const AcqRel: loom::sync::atomic::Ordering = Self::Relaxed;
}
