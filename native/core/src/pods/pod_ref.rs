//! A pod as one number.

/// Most pods that a slot number can address; the widest index.
pub const MAX_SLOTS: usize = 1024;
const SLOT_BITS: u32 = MAX_SLOTS.trailing_zeros();
/// Generations end where `generation * 1024 + slot` would leave the gate's 41 bits (and long before a double's 53).
pub(crate) const MAX_GENERATION: u64 = (1 << 41) - 1;

/// `generation * 1024 + slot`: the slot indexes every per-pod array, the generation tells a pod from an earlier one
/// in the same slot. Generations start at 1, so no pod is the number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef(u64);

impl PodRef {
    /// The pod of that generation in that slot; both are cut to their range.
    pub const fn new(slot: u32, generation: u64) -> Self {
        Self((generation & MAX_GENERATION) << SLOT_BITS | slot as u64 & (MAX_SLOTS as u64 - 1))
    }

    /// Unpacks a number that [`PodRef::raw`] gave. Any number is some pod; one that never was is simply gone.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Unpacks a JavaScript number; `None` if it is negative, not whole or too large to be a pod.
    pub fn from_number(number: f64) -> Option<Self> {
        let raw = number as u64;
        (raw as f64 == number && raw >> SLOT_BITS <= MAX_GENERATION).then_some(Self(raw))
    }

    /// The packed number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Index into per-pod arrays, below [`MAX_SLOTS`].
    pub const fn slot(self) -> usize {
        (self.0 & (MAX_SLOTS as u64 - 1)) as usize
    }

    /// How many pods, this one included, have used the slot.
    pub const fn generation(self) -> u64 {
        self.0 >> SLOT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_the_javascript_side_reads_it() {
        let pod = PodRef::new(5, 3);
        assert_eq!((pod.raw(), pod.slot(), pod.generation()), (3 * 1024 + 5, 5, 3));
        assert_eq!(PodRef::from_number(3077.0), Some(pod));
        assert_eq!(PodRef::from_raw(pod.raw()), pod);
        let last = PodRef::new(1023, MAX_GENERATION);
        assert_eq!(PodRef::from_number(last.raw() as f64), Some(last));
        for bad in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e16] {
            assert_eq!(PodRef::from_number(bad), None);
        }
    }
}
