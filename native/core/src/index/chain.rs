//! A chain: a stretch of blocks that follow each other, and how far each pod holds it.
//!
//! What readers see is a snapshot in one piece of memory that never changes: a writer makes a new one and swaps a
//! pointer. The hashes lie apart, in an array that snapshots share: it is only ever written behind what some snapshot
//! reaches, so that a chain grows by 16 blocks without its thousands being copied.

use super::pool::Pool;
use crate::prefetch::prefetch;

/// A pod that holds the first `end` blocks of a chain, and not all: the larger the word, the larger the end; of equal
/// ends, the lower slot has the larger word. So a falling order is the order of a query's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(super) struct Partial(u32);

const SLOT_BITS: u32 = 10;
const LAST_SLOT: u32 = (1 << SLOT_BITS) - 1;

impl Partial {
    #[inline]
    pub(super) fn new(slot: usize, end: u32) -> Self {
        Self(end << SLOT_BITS | (LAST_SLOT - slot as u32))
    }

    #[inline]
    pub(super) fn slot(self) -> usize {
        (LAST_SLOT - (self.0 & LAST_SLOT)) as usize
    }

    #[inline]
    pub(super) fn end(self) -> u32 {
        self.0 >> SLOT_BITS
    }
}

/// A set of pods.
pub(super) type Pods<const W: usize> = [u64; W];

#[inline]
pub(super) fn has<const W: usize>(pods: &Pods<W>, slot: usize) -> bool {
    pods[slot / 64] >> (slot % 64) & 1 == 1
}

#[inline]
pub(super) fn add<const W: usize>(pods: &mut Pods<W>, slot: usize) {
    pods[slot / 64] |= 1 << (slot % 64);
}

#[inline]
pub(super) fn drop_pod<const W: usize>(pods: &mut Pods<W>, slot: usize) {
    pods[slot / 64] &= !(1 << (slot % 64));
}

#[inline]
pub(super) fn both<const W: usize>(a: &Pods<W>, b: &Pods<W>) -> Pods<W> {
    std::array::from_fn(|word| a[word] & b[word])
}

#[inline]
pub(super) fn without<const W: usize>(a: &Pods<W>, b: &Pods<W>) -> Pods<W> {
    std::array::from_fn(|word| a[word] & !b[word])
}

/// How many blocks of a chain of that length a pod holds from the start on.
pub(super) fn end_of<const W: usize>(len: u32, whole: &Pods<W>, partials: &[Partial], slot: usize) -> u32 {
    if has(whole, slot) {
        return len;
    }
    partials.iter().find(|partial| partial.slot() == slot).map_or(0, |partial| partial.end())
}

/// The hashes of a chain's blocks: memory for `capacity` of them, of which a snapshot's first `len` are written.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    start: *mut u64,
    capacity: u16,
}

impl Hashes {
    /// Room for `capacity` hashes, at most [`super::table::MAX_LEN`].
    pub(super) fn allocate(pool: &mut Pool, capacity: u32) -> Self {
        Self { start: pool.allocate(Self::size(capacity)).cast(), capacity: capacity as u16 }
    }

    pub(super) fn bytes(self) -> usize {
        Self::size(self.capacity())
    }

    fn size(capacity: u32) -> usize {
        size_of::<u64>() * capacity as usize
    }

    /// Tells one array from another.
    pub(super) fn start(self) -> *const u64 {
        self.start
    }

    pub(super) fn capacity(self) -> u32 {
        self.capacity.into()
    }

    /// # Safety
    /// No snapshot that a reader may have reaches as far as `at`, and the caller alone writes.
    pub(super) unsafe fn write(self, at: u32, hash: u64) {
        debug_assert!(at < self.capacity());
        // SAFETY: within the allocation; nobody else touches this place, says the caller.
        unsafe { self.start.add(at as usize).write(hash) }
    }

    /// # Safety
    /// It is of this pool, and no one uses it from here on.
    pub(super) unsafe fn free(self, pool: &mut Pool) {
        // SAFETY: made by `allocate` of that size.
        unsafe { pool.free(self.start.cast(), Self::size(self.capacity())) }
    }
}

/// A snapshot's fixed part, for 256 pods one cache line; `partials` words follow it in memory.
#[repr(C)]
pub(super) struct Chain<const W: usize> {
    head: u64,
    last: u64,
    hashes: *mut u64,
    capacity: u16,
    len: u16,
    partials: u16,
    /// Pods that hold all of it.
    whole: Pods<W>,
}

/// Partial ends of one snapshot that are looked at together, so that their cache misses overlap.
const TOGETHER: usize = 8;

impl<const W: usize> Chain<W> {
    /// A snapshot of the first `len` hashes. `partials` fall, and their ends are below `len`.
    ///
    /// # Safety
    /// The array outlives the snapshot, and its first `len` (at least one) hashes are written.
    pub(super) unsafe fn allocate(
        pool: &mut Pool,
        hashes: Hashes,
        len: u32,
        whole: Pods<W>,
        partials: &[Partial],
    ) -> *mut Self {
        debug_assert!(
            partials.is_sorted_by(|a, b| a > b) && partials.iter().all(|partial| partial.end() < len)
        );
        let start = pool.allocate(Self::size(partials.len())).cast::<Self>();
        // SAFETY: there is room for both parts; the hashes read are written, says the caller.
        unsafe {
            let (head, last) = (hashes.start.read(), hashes.start.add(len as usize - 1).read());
            let (capacity, len) = (hashes.capacity, len as u16);
            start.write(Self {
                head,
                last,
                hashes: hashes.start,
                capacity,
                len,
                partials: partials.len() as u16,
                whole,
            });
            let tail = start.add(1).cast::<Partial>();
            tail.copy_from_nonoverlapping(partials.as_ptr(), partials.len());
        }
        start
    }

    fn size(partials: usize) -> usize {
        size_of::<Self>() + partials * size_of::<Partial>()
    }

    pub(super) fn bytes(&self) -> usize {
        Self::size(self.partials.into())
    }

    /// Frees a snapshot; its array stays.
    ///
    /// # Safety
    /// It is of this pool, and no one uses it from here on.
    pub(super) unsafe fn free(chain: *mut Self, pool: &mut Pool) {
        // SAFETY: it is still whole, and its size is the one it was made with.
        unsafe { pool.free(chain.cast(), Self::size((*chain).partials.into())) }
    }

    /// The array that this and other snapshots are of.
    pub(super) fn hashes(&self) -> Hashes {
        Hashes { start: self.hashes, capacity: self.capacity }
    }

    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.into()
    }

    #[inline]
    pub(super) fn whole(&self) -> &Pods<W> {
        &self.whole
    }

    /// Falling.
    #[inline]
    pub(super) fn partials(&self) -> &[Partial] {
        // SAFETY: `allocate` wrote that many behind the fixed part, and a snapshot does not change.
        unsafe {
            let tail = std::ptr::from_ref(self).add(1).cast::<Partial>();
            std::slice::from_raw_parts(tail, self.partials as usize)
        }
    }

    #[inline]
    fn address(&self, at: u32) -> *const u64 {
        self.hashes.wrapping_add(at as usize)
    }

    /// The hash of a block; `at` is below the length.
    #[inline]
    pub(super) fn hash(&self, at: u32) -> u64 {
        debug_assert!(at < self.len());
        // SAFETY: the first `len` hashes are written and do not change while a snapshot reaches them.
        unsafe { self.address(at).read() }
    }

    /// Whether the block at `at` has this hash.
    #[inline]
    pub(super) fn holds(&self, at: u32, hash: u64) -> bool {
        if at == 0 { self.head == hash } else { at < self.len() && self.hash(at) == hash }
    }

    /// How many blocks the pod holds from the start on.
    pub(super) fn end_of(&self, slot: usize) -> u32 {
        end_of(self.len(), &self.whole, self.partials(), slot)
    }

    /// Pods that hold at least the first `end` blocks.
    #[inline]
    pub(super) fn reaching(&self, end: u32) -> Pods<W> {
        let mut pods = self.whole;
        if end < self.len() {
            self.partials().iter().take_while(|partial| partial.end() >= end).for_each(|partial| {
                add(&mut pods, partial.slot());
            });
        }
        pods
    }

    /// How many blocks from `from` on are those of `asked`, the first of which is known to be. Hashes are cumulative,
    /// so equal ends prove all that lies before; where the ends differ, the last equal block is searched for.
    #[inline]
    pub(super) fn matching(&self, from: u32, asked: &[u64]) -> u32 {
        let rest = self.len() - from;
        if asked.len() >= rest as usize {
            if asked[rest as usize - 1] == self.last {
                return rest;
            }
            return self.branch(from, asked, rest);
        }
        let most = asked.len() as u32;
        if self.hash(from + most - 1) == asked[most as usize - 1] {
            return most;
        }
        self.branch(from, asked, most)
    }

    #[inline]
    fn equal(&self, from: u32, asked: &[u64], length: u32) -> bool {
        self.hash(from + length - 1) == asked[length as usize - 1]
    }

    /// [`Chain::matching`] where a length of 1 is equal and one of `unequal` is not.
    fn branch(&self, from: u32, asked: &[u64], mut unequal: u32) -> u32 {
        let mut equal = 1;
        // Most conversations that leave a chain do so where a pod that took the same turn ends on it.
        let (least, most) = (from + equal, from + unequal);
        let ends = self.partials().iter().map(|partial| partial.end());
        let inside = ends.filter(|&end| end > least && end < most).take(TOGETHER);
        inside.clone().for_each(|end| prefetch(self.address(end - 1)));
        for end in inside {
            let length = end - from;
            if self.equal(from, asked, length) {
                equal = length;
                break;
            }
            unequal = length;
        }
        if equal + 1 < unequal && !self.equal(from, asked, equal + 1) {
            return equal;
        }
        while equal + 1 < unequal {
            // Quarters, all three fetched at once: half as many latencies as halves.
            let width = unequal - equal;
            let steps = [width / 4, width / 2, width - width / 4].map(|step| equal + step.max(1));
            steps.iter().for_each(|step| prefetch(self.address(from + step - 1)));
            for step in steps {
                if step >= unequal {
                    break;
                }
                if self.equal(from, asked, step) {
                    equal = equal.max(step);
                } else {
                    unequal = step;
                    break;
                }
            }
        }
        equal
    }
}
