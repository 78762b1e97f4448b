//! A chain's next snapshot while a writer changes it: who holds how much.

use super::chain::{Chain, Partial, Pods, add, drop_pod, end_of, has, without};

/// Blocks that a pod holds behind a hole: `from` is above where its holding from the start ends. Queries do not see
/// islands; they join when the hole is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Island {
    pub(super) slot: u16,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The parts of a snapshot and the chain's islands, open to change.
pub(super) struct Draft<const W: usize> {
    pub(super) len: u32,
    pub(super) whole: Pods<W>,
    /// Falling, ends below `len`.
    pub(super) partials: Vec<Partial>,
    pub(super) islands: Vec<Island>,
    changed: bool,
}

impl<const W: usize> Default for Draft<W> {
    fn default() -> Self {
        Self { len: 0, whole: [0; W], partials: Vec::new(), islands: Vec::new(), changed: false }
    }
}

impl<const W: usize> Draft<W> {
    /// Starts from a snapshot, or from nothing.
    pub(super) fn load(&mut self, chain: Option<&Chain<W>>, islands: &[Island]) {
        self.partials.clear();
        self.islands.clear();
        self.islands.extend_from_slice(islands);
        self.changed = false;
        self.len = chain.map_or(0, Chain::len);
        self.whole = chain.map_or([0; W], |chain| *chain.whole());
        self.partials.extend_from_slice(chain.map_or(&[], Chain::partials));
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    fn end_of(&self, slot: usize) -> u32 {
        end_of(self.len, &self.whole, &self.partials, slot)
    }

    /// How far from the start on some pod holds all.
    fn reached(&self) -> u32 {
        if self.whole == [0; W] { self.partials.first().map_or(0, |partial| partial.end()) } else { self.len }
    }

    /// The pod holds the first `end` blocks and no more in a row.
    fn set_end(&mut self, slot: usize, end: u32) {
        self.changed = true;
        if has(&self.whole, slot) {
            drop_pod(&mut self.whole, slot);
        } else if let Some(at) = self.partials.iter().position(|partial| partial.slot() == slot) {
            self.partials.remove(at);
        }
        if end == self.len && end > 0 {
            add(&mut self.whole, slot);
        } else if end > 0 {
            let partial = Partial::new(slot, end);
            let at = self.partials.partition_point(|&other| other > partial);
            self.partials.insert(at, partial);
        }
    }

    /// The chain has become longer; who held all of it holds a part now.
    pub(super) fn lengthen(&mut self, len: u32) {
        self.changed = true;
        let end = std::mem::replace(&mut self.len, len);
        let whole = std::mem::replace(&mut self.whole, [0; W]);
        if end > 0 {
            let all = slots(&whole).map(|slot| Partial::new(slot, end));
            self.partials.splice(0..0, all);
        }
    }

    /// The pod holds the blocks `from..to` too.
    pub(super) fn cover(&mut self, slot: usize, from: u32, to: u32) {
        let end = self.end_of(slot);
        if to <= end {
            return;
        }
        let mut joined = (from, to);
        if !self.islands.is_empty() {
            let known =
                |island: &Island| usize::from(island.slot) == slot && island.from <= from && to <= island.to;
            if self.islands.iter().any(known) {
                return;
            }
            joined = self.join_islands(slot, if from <= end { (0, to) } else { (from, to) });
        }
        if from <= end {
            self.set_end(slot, joined.1);
        } else {
            self.changed = true;
            self.islands.push(Island { slot: slot as u16, from: joined.0, to: joined.1 });
        }
    }

    /// Takes out the pod's islands that touch a stretch, and answers the stretch with them.
    fn join_islands(&mut self, slot: usize, stretch: (u32, u32)) -> (u32, u32) {
        let (mut from, mut to) = stretch;
        // Islands do not touch each other, so one that touches what was joined touches the stretch itself.
        self.islands.retain(|island| {
            let apart = usize::from(island.slot) != slot || island.to < stretch.0 || island.from > stretch.1;
            if !apart {
                from = from.min(island.from);
                to = to.max(island.to);
            }
            apart
        });
        (from, to)
    }

    /// The pod does not hold the blocks `from..to`.
    pub(super) fn uncover(&mut self, slot: usize, from: u32, to: u32) {
        let end = self.end_of(slot);
        if from < end {
            self.set_end(slot, from);
            if to < end {
                self.islands.push(Island { slot: slot as u16, from: to, to: end });
            }
        }
        for at in (0..self.islands.len()).rev() {
            let island = self.islands[at];
            if usize::from(island.slot) != slot || island.to <= from || island.from >= to {
                continue;
            }
            self.changed = true;
            self.islands.swap_remove(at);
            let left = Island { to: island.to.min(from), ..island };
            let right = Island { from: island.from.max(to), ..island };
            self.islands.extend([left, right].into_iter().filter(|island| island.from < island.to));
        }
    }

    /// The pods hold nothing here.
    pub(super) fn drop_pods(&mut self, gone: &Pods<W>) {
        let kept = without(&self.whole, gone);
        let before = self.partials.len() + self.islands.len();
        self.partials.retain(|partial| !has(gone, partial.slot()));
        self.islands.retain(|island| !has(gone, island.slot.into()));
        self.changed |= kept != self.whole || before != self.partials.len() + self.islands.len();
        self.whole = kept;
    }

    /// Ends the chain where the last held block is, and answers where that is; 0 where none is held.
    pub(super) fn trim(&mut self) -> u32 {
        let len = self.islands.iter().map(|island| island.to).fold(self.reached(), u32::max);
        if len < self.len {
            self.changed = true;
            self.len = len;
            let whole = self.partials.iter().take_while(|partial| partial.end() == len).count();
            self.partials.drain(..whole).for_each(|partial| add(&mut self.whole, partial.slot()));
        }
        self.len
    }

    /// Blocks that some pod holds.
    pub(super) fn held(&self) -> u32 {
        let held = self.reached();
        if self.islands.is_empty() {
            return held;
        }
        let mut stretches: Vec<_> = self.islands.iter().map(|island| (island.from, island.to)).collect();
        stretches.sort_unstable();
        let mut upto = held;
        stretches.into_iter().fold(held, |held, (from, to)| {
            let new = to.saturating_sub(from.max(upto));
            upto = upto.max(to);
            held + new
        })
    }

    /// Whether so many pods end at one block, short of the chain's end, that a query should not read them one by one:
    /// answers that block. Only the end that the pod `slot` has is looked at; it is the one that changed.
    pub(super) fn crowded(&self, slot: usize, most: usize) -> Option<u32> {
        let end = self.end_of(slot);
        if end == 0 || end == self.len {
            return None;
        }
        let first = self.partials.partition_point(|partial| partial.end() > end);
        let crowd = self.partials[first..].iter().take_while(|partial| partial.end() == end).take(most + 1);
        (crowd.count() > most).then_some(end)
    }

    /// Cuts the chain at `at`: this keeps what is before, the answer is what is behind.
    pub(super) fn cut(&mut self, at: u32) -> Self {
        let behind = self.partials.partition_point(|partial| partial.end() > at);
        let through = self.partials.partition_point(|partial| partial.end() >= at);
        let tail = self.partials[..behind].iter();
        let mut rest = Self {
            len: self.len - at,
            whole: self.whole,
            partials: tail.map(|partial| Partial::new(partial.slot(), partial.end() - at)).collect(),
            islands: Vec::new(),
            changed: true,
        };
        self.partials.drain(..through).for_each(|partial| add(&mut self.whole, partial.slot()));
        self.len = at;
        self.changed = true;
        for island in std::mem::take(&mut self.islands) {
            if island.from < at {
                self.islands.push(Island { to: island.to.min(at), ..island });
            }
            if island.to > at {
                rest.cover(island.slot.into(), island.from.saturating_sub(at), island.to - at);
            }
        }
        rest
    }
}

/// The pods in a set.
pub(super) fn slots<const W: usize>(pods: &Pods<W>) -> impl Iterator<Item = usize> {
    pods.iter().enumerate().flat_map(|(word, &bits)| {
        let mut rest = bits;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(word * 64 + bit)
        })
    })
}
