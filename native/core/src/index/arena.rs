//! Memory for large pieces, on huge pages where the system has them.
//!
//! A query reads a few places scattered over the whole index. With pages of 4 kB almost each read misses the TLB
//! besides the cache, and the page walk (twice as long in a virtual machine) costs more than the memory: measured here
//! on a search with a few dozen probes, 3.3 µs on small pages and 1.1 µs on pages of 2 MB. Single pieces are smaller
//! than such a page, but pieces of one size come in numbers, so they are laid side by side in large regions.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// The smallest region, and the alignment of all. With `pieces_apart`, for sanitizers, a region is one piece.
const HUGE_PAGE: usize = if cfg!(pieces_apart) { 64 } else { 2 << 20 };
/// A new region is as large as this part of what there is already: few regions, and little that lies idle.
const GROWTH: usize = if cfg!(pieces_apart) { usize::MAX } else { 16 };
/// But no larger than this, if a piece is not: a region goes back to the system when the last piece in it is freed.
const LARGEST: usize = 8 * HUGE_PAGE;
/// Below this, nothing is kept idle: it would be most of what there is.
const SMALL: usize = 4 * HUGE_PAGE;

/// The largest region that is kept although nothing is in it.
const SPARE: usize = if cfg!(pieces_apart) { 0 } else { HUGE_PAGE };

/// Pieces of one size side by side.
struct Region {
    start: *mut u8,
    layout: Layout,
    /// Bytes of each.
    size: usize,
    /// Places that were never used start here.
    fresh: usize,
    /// Offsets that were used and given back.
    free: Vec<usize>,
    live: usize,
}

// SAFETY: a region is an address range; it has no tie to the thread that made it.
unsafe impl Send for Region {}

impl Region {
    fn new(size: usize, bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(size).next_multiple_of(HUGE_PAGE), HUGE_PAGE)
            .expect("a table exceeds the address space");
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, layout, size, fresh: 0, free: Vec::new(), live: 0 }
    }

    fn take(&mut self) -> Option<*mut u8> {
        let offset = match self.free.pop() {
            Some(offset) => offset,
            None => {
                let offset = self.fresh;
                self.fresh = offset.checked_add(self.size).filter(|&end| end <= self.layout.size())?;
                offset
            }
        };
        self.live += 1;
        Some(self.start.wrapping_add(offset))
    }

    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.fresh + self.size <= self.layout.size()
    }

    fn offset_of(&self, piece: *mut u8) -> Option<usize> {
        piece.addr().checked_sub(self.start.addr()).filter(|&offset| offset < self.layout.size())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: made by `alloc` with this layout; who drops a region knows that nobody uses it.
        unsafe { dealloc(self.start, self.layout) }
    }
}

/// An index's regions. Dropping it frees all of them, pieces in use included.
#[derive(Default)]
pub(super) struct Arena {
    regions: Vec<Region>,
    bytes: usize,
}

impl Arena {
    /// Memory of any content, aligned to the largest power of two that divides `size`, at most 2 MB.
    pub(super) fn allocate(&mut self, size: usize) -> *mut u8 {
        if let Some(piece) =
            self.regions.iter_mut().filter(|region| region.size == size).find_map(Region::take)
        {
            return piece;
        }
        let mut region = Region::new(size, (self.bytes / GROWTH).min(LARGEST));
        self.bytes += region.layout.size();
        let piece = region.take().expect("a region has room for one piece at least");
        self.regions.push(region);
        // A small index is not worth a huge page.
        if self.regions.len() == 2 {
            self.regions.iter().for_each(prefer_huge_pages);
        } else if self.regions.len() > 2 {
            self.regions.last().into_iter().for_each(prefer_huge_pages);
        }
        piece
    }

    /// # Safety
    /// `piece` is of this arena's `allocate`, and nobody uses it any more.
    pub(super) unsafe fn free(&mut self, piece: *mut u8) {
        let found = self.regions.iter().position(|region| region.offset_of(piece).is_some());
        let Some(at) = found else { return };
        let region = &mut self.regions[at];
        region.free.extend(region.offset_of(piece));
        region.live -= 1;
        if region.live == 0 && !self.is_spare(at) {
            self.bytes -= self.regions.swap_remove(at).layout.size();
        }
        if self.bytes < SMALL {
            self.regions.retain(|region| region.live > 0);
            self.bytes = self.regions.iter().map(|region| region.layout.size()).sum();
        }
    }

    /// Whether an empty region is to be kept, as the only room for pieces of its size: else a piece that comes and goes
    /// would take and give back its region each time.
    fn is_spare(&self, at: usize) -> bool {
        let empty = &self.regions[at];
        let others =
            || self.regions.iter().enumerate().filter(|&(other, _)| other != at).map(|(_, region)| region);
        empty.layout.size() <= SPARE
            && !others().any(|region| region.live == 0 || region.size == empty.size && region.has_room())
    }

    /// Bytes of all regions, used or not.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Asks for huge pages. Where they are switched off nothing is lost but time, so the answer is not looked at.
fn prefer_huge_pages(region: &Region) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        // SAFETY: the range is one allocation, aligned to its pages; the advice changes no content.
        unsafe { madvise(region.start.cast(), region.layout.size(), MADV_HUGEPAGE) };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = region;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_size_share_regions_are_apart_and_go_back() {
        let mut arena = Arena::default();
        let size = 40 << 10;
        let pieces: Vec<*mut u8> = (0..500).map(|_| arena.allocate(size)).collect();
        assert!(arena.bytes() < 500 * size * 5 / 4, "{} bytes", arena.bytes());
        for (i, &piece) in pieces.iter().enumerate() {
            // SAFETY: the pieces are this test's own, `size` long.
            unsafe { piece.write_bytes(i as u8, size) };
        }
        for (i, &piece) in pieces.iter().enumerate() {
            // SAFETY: as above, and written.
            assert!(unsafe { std::slice::from_raw_parts(piece, size) }.iter().all(|&byte| byte == i as u8));
        }
        // SAFETY: as above, and not used again.
        unsafe { arena.free(pieces[7]) };
        assert_eq!(arena.allocate(size), pieces[7]);
        // SAFETY: each is freed once, the seventh in its second life.
        pieces.into_iter().for_each(|piece| unsafe { arena.free(piece) });
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    fn a_piece_may_be_larger_than_a_huge_page() {
        let mut arena = Arena::default();
        let (small, huge) = (arena.allocate(64 << 10), arena.allocate(HUGE_PAGE * 3 + 64));
        assert_eq!(small.addr() % (64 << 10), 0);
        assert_eq!(arena.bytes(), HUGE_PAGE * 5);
        // SAFETY: both are of this arena and not used again.
        unsafe {
            arena.free(small);
            arena.free(huge);
        }
        assert_eq!(arena.bytes(), 0);
    }
}
