//! The latency breaker: a pod far slower than the others rests.
//!
//! Slow is relative, since a fleet under load gets slow together: a pod trips when its first-byte average is over a
//! factor times the median of the ready pods, and over an absolute floor. The median is the lower one, so of two pods
//! the slower can trip and a single pod never can.
//!
//! At any one moment at most half of the pods lie above the lower median. Over time that is not enough: a resting
//! pod's average stands still while the others' go on, and one after the other might follow it. So a trip also needs
//! that afterwards at least half of the ready pods are closed. It counts breakers open for *any* reason, because what
//! counts is the capacity that is left: taking the next pod out for slowness would make the rest slower. Failures may
//! still open all breakers; a pod that cannot be reached is no capacity.

use super::breaker::BreakerOptions;
use super::gate::Phase;
use super::load::Loads;
use super::pod_ref::MAX_SLOTS;

/// Samples before a pod is judged or counts for the median: what the average's weight of 1/8 needs to forget its start
/// (0.875^8 = 0.34 of the first sample is left).
const MIN_SAMPLES: u32 = 8;

/// Whether the pod in that slot, having just answered, should trip. `average` and `samples` are its own; a probe is
/// judged by its one answer.
pub(super) fn is_slow(
    loads: &Loads,
    options: &BreakerOptions,
    average: f64,
    samples: u32,
    probing: bool,
) -> bool {
    if options.latency_factor <= 0.0
        || average <= options.latency_floor_ms
        || (samples < MIN_SAMPLES && !probing)
    {
        return false;
    }
    median(loads).is_some_and(|median| average > median * options.latency_factor.max(1.0))
}

/// Whether half of the ready pods would still be closed after one more has opened. The caller keeps others from
/// asking at the same time.
pub(super) fn leaves_half(loads: &Loads) -> bool {
    let mut ready = 0;
    let mut open = 0;
    for load in loads.iter().filter(|load| load.gate.view().phase == Phase::Ready) {
        ready += 1;
        open += usize::from(!load.breaker.is_closed());
    }
    (open + 1) * 2 <= ready
}

/// Lower median of the ready pods' averages. Reads every slot (1 to 3 µs for 256), but only where a pod is over the
/// floor: the healthy path pays one comparison.
fn median(loads: &Loads) -> Option<f64> {
    let mut averages = [0.0; MAX_SLOTS];
    let mut count = 0;
    for load in loads.iter().filter(|load| load.gate.view().phase == Phase::Ready) {
        let (average, samples) = load.first_byte.get();
        if samples >= MIN_SAMPLES {
            averages[count] = average;
            count += 1;
        }
    }
    let middle = count.checked_sub(1)? / 2;
    Some(*averages[..count].select_nth_unstable_by(middle, f64::total_cmp).1)
}
