//! Memory for everything that an index is made of: small pieces by size class in slabs, large ones in an [`Arena`].
//!
//! Each batch of events makes a snapshot and gives one back, so this is what a writer does most: here two or three
//! loads and stores, where the general allocator took 40 % of a store's time. All of it is done under the writer lock.

use super::arena::Arena;

const SLAB: usize = 64 << 10;
/// Places start here in a slab, behind its head.
const HEAD: usize = 64;
/// Sizes up to here differ by this, so that a piece starts on half a cache line.
const STEP: usize = 32;
const STEPS: usize = 16;
/// Larger sizes grow by a quarter of a power of two: at most a fifth of a piece is idle.
const LARGEST: usize = 8 << 10;
const CLASSES: usize = STEPS + 4 * (LARGEST / (STEP * STEPS)).ilog2() as usize;

/// A place that is free leads to the next.
struct Free(*mut Free);

/// The head of a slab: 64 kB of places of one size, at an address that is a multiple of that.
struct Slab {
    /// Slabs of the class with a free place, in a ring through [`Pool::open`].
    next: *mut Slab,
    previous: *mut Slab,
    free: *mut Free,
    /// Bytes used so far; places behind were never used.
    fresh: usize,
    live: usize,
}

/// The class of a size, and the size of its places.
fn class_of(size: usize) -> Option<(usize, usize)> {
    if cfg!(pieces_apart) {
        return None;
    }
    if size <= STEP * STEPS {
        let class = size.div_ceil(STEP).max(1) - 1;
        return Some((class, (class + 1) * STEP));
    }
    if size > LARGEST {
        return None;
    }
    let power = (size - 1).ilog2();
    let quarter = (size - 1) >> (power - 2) & 3;
    let class = STEPS + 4 * (power - (STEP * STEPS).ilog2()) as usize + quarter;
    Some((class, (5 + quarter) << (power - 2)))
}

/// An index's memory. Dropping it frees all of it, pieces in use included.
pub(super) struct Pool {
    arena: Arena,
    /// By class: slabs with a free place.
    open: [*mut Slab; CLASSES],
    used: usize,
}

// SAFETY: a pool owns the memory that its pointers lead to.
unsafe impl Send for Pool {}

impl Pool {
    pub(super) fn new() -> Self {
        Self { arena: Arena::default(), open: [std::ptr::null_mut(); CLASSES], used: 0 }
    }

    /// Bytes of the pieces in use, as asked for.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Bytes taken from the system.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.arena.bytes()
    }

    /// Memory of any content, aligned to 32 bytes; to 64 if `size` is a multiple of that.
    pub(super) fn allocate(&mut self, size: usize) -> *mut u8 {
        self.used += size;
        let Some((class, place)) = class_of(size) else {
            return self.arena.allocate(large(size));
        };
        if self.open[class].is_null() {
            self.open_slab(class);
        }
        // SAFETY: slabs in the list are this pool's own, and have a free place: on the list, or never used.
        unsafe {
            let slab = self.open[class];
            (*slab).live += 1;
            let piece = if (*slab).free.is_null() {
                let piece = slab.cast::<u8>().add((*slab).fresh);
                (*slab).fresh += place;
                piece
            } else {
                let free = (*slab).free;
                (*slab).free = (*free).0;
                free.cast()
            };
            if (*slab).free.is_null() && (*slab).fresh + place > SLAB {
                self.unlink(class, slab);
            }
            piece
        }
    }

    fn open_slab(&mut self, class: usize) {
        let slab = self.arena.allocate(SLAB).cast::<Slab>();
        // SAFETY: fresh memory of this size, aligned to it.
        unsafe {
            slab.write(Slab {
                next: std::ptr::null_mut(),
                previous: std::ptr::null_mut(),
                free: std::ptr::null_mut(),
                fresh: HEAD,
                live: 0,
            });
            self.link(class, slab);
        }
    }

    /// # Safety
    /// `slab` is of this pool and class, and not linked.
    unsafe fn link(&mut self, class: usize, slab: *mut Slab) {
        // SAFETY: the caller's word; linked slabs are this pool's own.
        unsafe {
            let first = self.open[class];
            (*slab).next = first;
            (*slab).previous = std::ptr::null_mut();
            if !first.is_null() {
                (*first).previous = slab;
            }
            self.open[class] = slab;
        }
    }

    /// # Safety
    /// `slab` is of this pool and class, and linked.
    unsafe fn unlink(&mut self, class: usize, slab: *mut Slab) {
        // SAFETY: the caller's word; linked slabs are this pool's own.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if previous.is_null() {
                self.open[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }

    /// # Safety
    /// `piece` is of this pool's `allocate` with the same `size`, and nobody uses it any more.
    pub(super) unsafe fn free(&mut self, piece: *mut u8, size: usize) {
        self.used -= size;
        let Some((class, place)) = class_of(size) else {
            // SAFETY: handed on to the caller.
            return unsafe { self.arena.free(piece) };
        };
        let slab = piece.map_addr(|address| address & !(SLAB - 1)).cast::<Slab>();
        // SAFETY: a piece of a class lies in a slab of that class, whose head is at the multiple of its size; the
        // piece is the caller's to give.
        unsafe {
            let was_full = (*slab).free.is_null() && (*slab).fresh + place > SLAB;
            let free = piece.cast::<Free>();
            free.write(Free((*slab).free));
            (*slab).free = free;
            (*slab).live -= 1;
            if was_full {
                self.link(class, slab);
            }
            if (*slab).live == 0 {
                self.unlink(class, slab);
                self.arena.free(slab.cast());
            }
        }
    }
}

/// Large pieces are arrays of hashes and tables; the arrays' sizes are rounded so that a region serves many.
fn large(size: usize) -> usize {
    if cfg!(pieces_apart) {
        return size;
    }
    let quarter = size.next_power_of_two() / 8;
    size.next_multiple_of(quarter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_fit_their_sizes_and_waste_little() {
        for size in 1..=LARGEST {
            let (class, place) = class_of(size).expect("a class");
            assert!(class < CLASSES && place >= size && place % 32 == 0, "{size}: {class}, {place}");
            assert!(
                size <= 512 && place < size + STEP || size > 512 && place < size * 5 / 4,
                "{size}: {place}"
            );
            assert_eq!(class_of(place), Some((class, place)));
        }
        assert_eq!(class_of(LARGEST).map(|(class, _)| class), Some(CLASSES - 1));
        assert_eq!(class_of(LARGEST + 1), None);
        for size in [LARGEST + 1, 10_000, 65_536, 65_537, 131_064, 3 << 20] {
            assert!((size..=size * 5 / 4).contains(&large(size)), "{size}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Pieces never overlap, are aligned, and all memory goes back in the end.
        #[test]
        fn pieces_are_apart_and_all_go_back(
            steps in prop::collection::vec((0usize..3, 1usize..20_000, any::<usize>()), 1..400),
        ) {
            let mut pool = Pool::new();
            let mut live: Vec<(*mut u8, usize, u8)> = Vec::new();
            for (i, (what, size, pick)) in steps.into_iter().enumerate() {
                let size = if what == 0 { size } else { size % 300 + 1 };
                if what == 2 && !live.is_empty() {
                    let (piece, size, mark) = live.swap_remove(pick % live.len());
                    // SAFETY: this test's own, written below.
                    let content = unsafe { std::slice::from_raw_parts(piece, size) };
                    prop_assert!(content.iter().all(|&byte| byte == mark));
                    // SAFETY: freed once.
                    unsafe { pool.free(piece, size) };
                } else {
                    let piece = pool.allocate(size);
                    prop_assert_eq!(piece.addr() % if size % 64 == 0 { 64 } else { 32 }, 0);
                    // SAFETY: this test's own.
                    unsafe { piece.write_bytes(i as u8, size) };
                    live.push((piece, size, i as u8));
                }
            }
            for (piece, size, mark) in live {
                // SAFETY: as above.
                let content = unsafe { std::slice::from_raw_parts(piece, size) };
                prop_assert!(content.iter().all(|&byte| byte == mark));
                // SAFETY: as above.
                unsafe { pool.free(piece, size) };
            }
            prop_assert_eq!(pool.used(), 0);
            prop_assert_eq!(pool.taken(), 0);
        }
    }
}
