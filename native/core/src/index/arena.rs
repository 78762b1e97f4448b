//! Memory for tables, on huge pages where the system has them.
//!
//! A query reads a few dozen places scattered over the whole index. With pages of 4 kB almost each read misses the
//! TLB besides the cache, and the page walk (twice as long in a virtual machine) costs more than the memory: measured
//! here, 3.3 µs a query on small pages and 1.1 µs on pages of 2 MB. A shard's own table is smaller than such a page
//! for a long time, but shards grow together, so tables of one size are laid side by side in large regions.

use super::sync::AtomicU64;
use parking_lot::Mutex;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};

/// Tables start on a cache line.
pub(super) const ALIGN: usize = 64;
const HUGE_PAGE: usize = 2 << 20;
/// Beyond glibc's largest threshold for `mmap` (32 MB), so that a region is address space until it is touched, and goes
/// back to the system when it is freed.
const REGION: usize = 64 << 20;
/// Below this, all 256 tables together are about as large as one huge page, and the heap serves as well.
const SMALL: usize = 16 << 10;

/// Tables of one size side by side.
struct Region {
    start: *mut u8,
    layout: Layout,
    /// Bytes of each.
    slot: usize,
    /// Places that were never used start here.
    fresh: usize,
    /// Offsets that were used and given back.
    free: Vec<usize>,
    live: usize,
}

// SAFETY: a region is an address range; it has no tie to the thread that made it.
unsafe impl Send for Region {}

impl Region {
    fn new(slot: usize) -> Self {
        let layout = Layout::from_size_align(slot.next_multiple_of(HUGE_PAGE).max(REGION), HUGE_PAGE)
            .expect("a table exceeds the address space");
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        prefer_huge_pages(start, layout.size());
        Self { start, layout, slot, fresh: 0, free: Vec::new(), live: 0 }
    }

    fn take(&mut self) -> Option<*mut u8> {
        let offset = match self.free.pop() {
            Some(offset) => offset,
            None => {
                let offset = self.fresh;
                self.fresh = offset.checked_add(self.slot).filter(|&end| end <= self.layout.size())?;
                offset
            }
        };
        self.live += 1;
        Some(self.start.wrapping_add(offset))
    }

    fn offset_of(&self, table: *mut u8) -> Option<usize> {
        table.addr().checked_sub(self.start.addr()).filter(|&offset| offset < self.layout.size())
    }
}

/// The memory of one index's tables.
#[derive(Default)]
pub(super) struct Arena {
    regions: Mutex<Vec<Region>>,
}

impl Arena {
    /// Zeroed memory, aligned to [`ALIGN`]. `bytes` is a multiple of that.
    pub(super) fn allocate(&self, bytes: usize) -> *mut u8 {
        if bytes < SMALL {
            let layout = small(bytes);
            // SAFETY: tables have at least one entry.
            let start = unsafe { alloc_zeroed(layout) };
            if start.is_null() {
                handle_alloc_error(layout);
            }
            return start;
        }
        let start = self.place(bytes);
        // SAFETY: `take` gives `bytes` bytes within its region to this call alone.
        unsafe { start.write_bytes(0, bytes) };
        start
    }

    /// Zeroed atomic words.
    #[cfg(not(loom))]
    pub(super) fn allocate_words(&self, count: usize) -> *mut AtomicU64 {
        self.allocate(count * size_of::<AtomicU64>()).cast()
    }

    /// loom's atomics are made one by one.
    #[cfg(loom)]
    pub(super) fn allocate_words(&self, count: usize) -> *mut AtomicU64 {
        #[repr(align(64))]
        struct Line([AtomicU64; 8]);
        let lines: Box<[Line]> =
            (0..count.div_ceil(8)).map(|_| Line(std::array::from_fn(|_| AtomicU64::new(0)))).collect();
        Box::into_raw(lines).cast()
    }

    /// # Safety
    /// `start` is of this arena's `allocate_words` with the same `count`, and nobody uses it any more.
    pub(super) unsafe fn free_words(&self, start: *mut AtomicU64, count: usize) {
        // SAFETY: handed on to the caller. (loom's atomics are left to its own bookkeeping.)
        #[cfg(not(loom))]
        unsafe {
            self.free(start.cast(), count * size_of::<AtomicU64>())
        }
        #[cfg(loom)]
        let _ = (start, count);
    }

    fn place(&self, bytes: usize) -> *mut u8 {
        let mut regions = self.regions.lock();
        if let Some(start) = regions.iter_mut().filter(|region| region.slot == bytes).find_map(Region::take) {
            return start;
        }
        let mut region = Region::new(bytes);
        let start = region.take().expect("a region has room for one table at least");
        regions.push(region);
        start
    }

    /// # Safety
    /// `start` is of this arena's `allocate` with the same `bytes`, and nobody uses it any more.
    pub(super) unsafe fn free(&self, start: *mut u8, bytes: usize) {
        if bytes < SMALL {
            // SAFETY: made by `alloc_zeroed` with the same layout, and the caller gives it up.
            return unsafe { dealloc(start, small(bytes)) };
        }
        let mut regions = self.regions.lock();
        let found = regions.iter_mut().position(|region| match region.offset_of(start) {
            Some(offset) => {
                region.free.push(offset);
                region.live -= 1;
                true
            }
            None => false,
        });
        if let Some(at) = found.filter(|&at| regions[at].live == 0) {
            let region = regions.swap_remove(at);
            // SAFETY: made by `alloc` with this layout, and no table is left in it.
            unsafe { dealloc(region.start, region.layout) };
        }
    }

    /// Regions in use.
    #[cfg(test)]
    pub(super) fn regions(&self) -> usize {
        self.regions.lock().len()
    }
}

fn small(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN).expect("small")
}

/// Asks for huge pages. Where they are switched off nothing is lost but time, so the answer is not looked at.
fn prefer_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        // SAFETY: the range is one fresh allocation, aligned to its pages; the advice changes no content.
        unsafe { madvise(start.cast(), bytes, MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_size_share_a_region_are_zeroed_and_apart_and_go_back() {
        let arena = Arena::default();
        let bytes = 40 << 12;
        let tables: Vec<*mut u8> = (0..500).map(|_| arena.allocate(bytes)).collect();
        assert_eq!(arena.regions(), (500 * bytes).div_ceil(REGION));
        for (i, &table) in tables.iter().enumerate() {
            assert_eq!(table.addr() % ALIGN, 0);
            // SAFETY: the tables are this test's own, `bytes` long.
            let content = unsafe { std::slice::from_raw_parts_mut(table, bytes) };
            assert!(content.iter().all(|&byte| byte == 0), "table {i}");
            content.fill(0xff);
        }
        // SAFETY: as above, and not used again.
        unsafe { arena.free(tables[7], bytes) };
        let again = arena.allocate(bytes);
        assert_eq!(again, tables[7]);
        // SAFETY: as above.
        assert!(unsafe { std::slice::from_raw_parts(again, bytes) }.iter().all(|&byte| byte == 0));
        // SAFETY: each is freed once, the seventh in its second life.
        tables.into_iter().for_each(|table| unsafe { arena.free(table, bytes) });
        assert_eq!(arena.regions(), 0);
    }

    #[test]
    fn small_and_huge_tables_work_too() {
        let arena = Arena::default();
        let (small, huge) = (arena.allocate(320), arena.allocate(REGION + 64));
        assert_eq!(arena.regions(), 1);
        // SAFETY: both are of this arena, of these sizes, and not used again.
        unsafe {
            arena.free(small, 320);
            arena.free(huge, REGION + 64);
        }
        assert_eq!(arena.regions(), 0);
    }
}
