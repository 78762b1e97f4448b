//! The engines' KV events: from a published message to the planes of reported state.
//!
//! - [`cursor`]: MessagePack without a tree · [`batch`]: a message's events, in either form
//! - [`feed`]: one publisher's numbers: gaps, replays, restarts · [`held`]: messages that wait for those before them
//! - [`apply`]: what an event changes · [`stats`]: what is counted
//!
//! Nothing here opens a socket or knows the time but by the state's clock: whoever receives calls a [`Feed`], and asks
//! for a replay when it wants one.

mod apply;
pub mod batch;
mod cursor;
mod feed;
mod held;
mod stats;
#[cfg(test)]
mod tests;

pub use batch::Medium;
pub use cursor::Malformed;
pub use feed::{Feed, FeedOptions};
pub use stats::{FEED_WORDS, FeedStats};
