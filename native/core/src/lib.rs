//! Phyllo's data layer: what is true now about a fleet of inference pods.
//!
//! - [`hash`]: block hashes and their cheap cumulative link
//! - [`index`]: block hash → bitmap of pods, and the grouped search over it
//! - [`events`]: the engines' KV events, from message to index · [`exact`]: what they say that pods hold
//! - [`pods`]: slots and generations, load, breakers, atomic booking
//! - [`predicted`]: which blocks the router believes a pod to hold (LRU, TTL)
//! - [`sessions`], [`cursors`]: stickiness and round robin across worker threads
//! - [`request`]: finding fields in a request body without building a tree
//! - [`template`], [`tokenizer`], [`model`]: from a request to the token ids the engine will see
//! - [`answer`]: from an answer to the text that the model generated
//! - [`state`]: all of the above as one memory, shared by every thread of the process
//! - [`lane`]: one thread's requests in flight
//!
//! The crate knows nothing of Node: `native/node` binds it, and holds no logic.

pub mod answer;
pub mod clock;
pub mod cursors;
pub mod events;
pub mod exact;
pub mod hash;
pub mod index;
pub mod lane;
pub mod model;
pub mod pods;
pub mod predicted;
mod prefetch;
pub mod request;
pub mod sessions;
pub mod state;
pub mod template;
pub mod tokenizer;
