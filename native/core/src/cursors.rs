//! Named counters that all threads advance together: round robin stays even across workers.

use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Values wrap here, so that each one is an exact JavaScript number.
const WRAP: u64 = 1 << 53;

/// A table of counters by name: a hash of the configuration's words (a profile's picker, a model), so that no text crosses
/// into the core per request. Such names are few, so none is ever dropped.
#[derive(Debug, Default)]
pub struct Cursors {
    named: RwLock<HashMap<u32, Arc<AtomicU64>>>,
}

impl Cursors {
    /// The next value of that counter: 0, 1, 2, … over all threads, each value given once (up to 2^53).
    pub fn next(&self, name: u32) -> u64 {
        if let Some(cursor) = self.named.read().get(&name) {
            return cursor.fetch_add(1, Ordering::Relaxed) % WRAP;
        }
        self.cursor(name).fetch_add(1, Ordering::Relaxed) % WRAP
    }

    /// The counter itself, for a caller that keeps it and skips the look-up.
    pub fn cursor(&self, name: u32) -> Arc<AtomicU64> {
        self.named.write().entry(name).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_given_once_over_all_threads() {
        let cursors = Cursors::default();
        let mut seen: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).map(|_| cursors.next(1)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..4000).collect::<Vec<_>>());
    }

    #[test]
    fn names_are_apart_and_values_wrap_where_doubles_end() {
        let cursors = Cursors::default();
        assert_eq!((cursors.next(1), cursors.next(2), cursors.next(1)), (0, 0, 1));
        cursors.cursor(1).store(WRAP - 1, Ordering::Relaxed);
        assert_eq!((cursors.next(1), cursors.next(1)), (WRAP - 1, 0));
    }
}
