//! The core's modules that threads share without locks, with their tests.

#[path = "../../core/src/clock.rs"]
pub mod clock;
#[path = "../../core/src/hash.rs"]
pub mod hash;
#[path = "../../core/src/index/mod.rs"]
pub mod index;
#[path = "../../core/src/pods/mod.rs"]
pub mod pods;
#[allow(dead_code, reason = "the LRU map serves the sessions too, which are not here")]
#[path = "../../core/src/predicted/mod.rs"]
pub mod predicted;
#[path = "../../core/src/prefetch.rs"]
mod prefetch;

#[cfg(miri)]
mod locks;
#[cfg(miri)]
pub use locks::{Condvar, Mutex, MutexGuard};
// `parking_lot::Mutex` in the sources is this crate's then.
#[cfg(miri)]
extern crate self as parking_lot;
