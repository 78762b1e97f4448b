//! The index against the linear scan, against boolean models, and under threads.
//!
//! - [`examples`]: one state, one answer · [`streams`]: random events, against the linear scan
//! - [`draft`]: a chain's next snapshot, against a table of booleans · [`stress`]: readers and writers at once
//! - [`prompts`]: prompts that branch · [`world`]: an index and its reference side by side
//!
//! `npm run test:sanitizers` runs the same tests under Miri and ThreadSanitizer. There every step costs a hundred
//! times as much, so sizes shrink under `cfg(miri)`, and the number of cases is the environment's.

mod draft;
mod examples;
mod prompts;
mod streams;
mod stress;
mod world;

use super::owned::OwnedIndex;
use super::{Match, Matches, Width};
use crate::hash::SequenceHash;
use proptest::prelude::ProptestConfig;

const WIDTHS: [Width; 3] = [Width::Pods64, Width::Pods256, Width::Pods1024];

/// So many cases, unless PROPTEST_CASES says how many.
fn cases(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if cfg!(miri) {
        // Miri has no getcwd.
        config.failure_persistence = None;
    }
    config
}

/// Hashes of a prompt's blocks; prompts `p` and `p + 100` share their first half.
fn prompt(p: u64, blocks: usize) -> Vec<SequenceHash> {
    let at =
        |p: u64, i: usize| SequenceHash((p * 10_007 + i as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1);
    (0..blocks).map(|i| if i < blocks / 2 { at(p % 100, i) } else { at(p, i) }).collect()
}

fn answer(index: &OwnedIndex, hashes: &[SequenceHash]) -> Vec<Match> {
    let mut out = Matches::default();
    index.query(hashes, &mut out);
    out.as_slice().to_vec()
}

/// Memory that was replaced is free when no thread can look at it any more, of this index or (as they share the epochs)
/// of another test's: that may take a while, but not for ever.
fn assert_settles(bytes_in_use: impl Fn() -> usize, bytes: usize) {
    for _ in 0..10_000 {
        if bytes_in_use() <= bytes {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} bytes are in use, not at most {bytes}", bytes_in_use());
}
