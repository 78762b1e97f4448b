//! The fleet as every thread sees it: slots and generations, load, breakers, atomic booking.
//!
//! - [`pod_ref`]: a pod as one number · [`gate`]: generation, phase and in-flight count as one atomic word
//! - [`table`]: pods come, are cordoned, leave, and their slots are used again · [`booking`]: requests come and go
//! - [`load`]: what one pod's cache lines hold · [`engine`]: what its engine says of itself · [`breaker`], [`latency`]: when a pod rests

mod booking;
mod breaker;
mod engine;
mod gate;
mod latency;
mod load;
mod pod_ref;
mod table;
#[cfg(test)]
mod tests;

pub use booking::{LOAD_COLUMNS, Outcome, Refusal};
pub use breaker::BreakerOptions;
pub use engine::CacheShape;
pub use gate::Phase;
pub use load::Tokens;
pub use pod_ref::{MAX_SLOTS, PodRef};
pub use table::{AddPodError, PodStatus, PodTable};
