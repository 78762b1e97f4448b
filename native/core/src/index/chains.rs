//! Chains by number: a vector that grows without moving, so that readers need no lock.

use super::chain::Chain;
use super::sync::{AtomicPtr, Ordering};
use super::table::MAX_ID;
use crossbeam_epoch::Guard;
#[cfg(not(loom))]
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

type Slot<const W: usize> = AtomicPtr<Chain<W>>;

/// Numbers in the first segment, few in model tests and for sanitizers; each further one has twice as many.
const FIRST: u32 = if cfg!(any(loom, pieces_apart)) { 4 } else { 256 };
/// Segments up to the largest number.
const SEGMENTS: usize = (MAX_ID / FIRST).ilog2() as usize + 2;

/// The current snapshot of each chain; null for numbers without one.
pub(super) struct Chains<const W: usize> {
    segments: [AtomicPtr<Slot<W>>; SEGMENTS],
}

/// Segment and place within it.
#[inline]
fn split(id: u32) -> (usize, usize) {
    let number = id + FIRST;
    let segment = number.ilog2() - FIRST.ilog2();
    (segment as usize, (number - (FIRST << segment)) as usize)
}

fn size(segment: usize) -> usize {
    (FIRST as usize) << segment
}

/// Slots without a snapshot, made by the allocator that has zeroed pages: a large segment is not touched before it is
/// used, under the writer lock.
#[cfg(not(loom))]
fn fresh<const W: usize>(count: usize) -> *mut Slot<W> {
    let layout = Layout::array::<Slot<W>>(count).expect("segments end at 67 million slots");
    // SAFETY: the size is not 0. All-zero pointers are null, which is what an empty slot has.
    let start = unsafe { alloc_zeroed(layout) }.cast::<Slot<W>>();
    if start.is_null() {
        handle_alloc_error(layout);
    }
    start
}

/// loom's atomics are made one by one.
#[cfg(loom)]
fn fresh<const W: usize>(count: usize) -> *mut Slot<W> {
    let slots: Box<[Slot<W>]> = (0..count).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect();
    Box::into_raw(slots).cast()
}

impl<const W: usize> Chains<W> {
    pub(super) fn new() -> Self {
        Self { segments: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())) }
    }

    #[inline]
    fn slot(&self, id: u32) -> Option<&Slot<W>> {
        let (segment, at) = split(id);
        let start = self.segments[segment].load(Ordering::Acquire);
        // SAFETY: a segment, once there, stays until the whole is dropped, and has `size(segment)` slots.
        (!start.is_null()).then(|| unsafe { &*start.add(at) })
    }

    /// The snapshot as it is now. The guard keeps it.
    #[inline]
    pub(super) fn get<'a>(&self, _guard: &'a Guard, id: u32) -> Option<&'a Chain<W>> {
        let chain = self.slot(id)?.load(Ordering::Acquire);
        // SAFETY: it was published whole, and is freed only after all guards that were there when it was replaced.
        unsafe { chain.as_ref() }
    }

    /// Publishes a snapshot (null: none) and gives back the one that it replaces. One writer at a time.
    pub(super) fn replace(&self, id: u32, next: *mut Chain<W>) -> *mut Chain<W> {
        let (segment, at) = split(id);
        let mut start = self.segments[segment].load(Ordering::Relaxed);
        if start.is_null() {
            start = fresh(size(segment));
            self.segments[segment].store(start, Ordering::Release);
        }
        // SAFETY: as in `slot`.
        unsafe { &*start.add(at) }.swap(next, Ordering::AcqRel)
    }

    /// Bytes of the slots.
    pub(super) fn bytes(&self) -> usize {
        let there = |segment: &usize| !self.segments[*segment].load(Ordering::Relaxed).is_null();
        (0..SEGMENTS).filter(there).map(|segment| size(segment) * size_of::<Slot<W>>()).sum()
    }
}

impl<const W: usize> Drop for Chains<W> {
    fn drop(&mut self) {
        for (segment, start) in self.segments.iter().enumerate() {
            let start = start.load(Ordering::Relaxed);
            if start.is_null() {
                continue;
            }
            // SAFETY: `&mut self`: nobody else is left. The segment was made with a box's layout for that many slots. (The
            // snapshots are the pool's.)
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, size(segment))) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for id in 0..FIRST * 8 {
            assert_eq!(split(id), expected, "{id}");
            expected.1 += 1;
            if expected.1 == size(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        let (segment, at) = split(MAX_ID);
        assert!(segment < SEGMENTS && at < size(segment));
    }
}
