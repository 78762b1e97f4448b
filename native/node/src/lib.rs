//! N-API bindings of phyllo-core: conversions, and nothing that decides anything.
//!
//! Two rules keep the boundary cheap and safe. Results go into typed arrays that the caller owns, and a miss is a
//! number, never an exception. Every entry point unwinds into a JavaScript error: a panic costs one request, not the
//! process.

mod events;
mod index;
mod lane;
mod shared_state;
mod tools;
