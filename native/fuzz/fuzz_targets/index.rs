//! Any calls with any hashes, slots and generations: the index does not panic and touches no memory that is not its
//! own. What it is told need not make sense: hashes repeat within a batch, parents are wrong, pods never were.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use phyllo_sanitize::hash::SequenceHash;
use phyllo_sanitize::index::{Matches, PrefixIndex, Slots, Width, retire};
use phyllo_sanitize::pods::PodRef;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Pod {
    /// One of the pods that were opened.
    Known(u8),
    /// Any slot and generation.
    Any(u32, u64),
    /// Any number as a pod.
    Raw(u64),
}

#[derive(Arbitrary, Debug)]
enum Blocks {
    /// A stretch of one of a few prompts, which share their first blocks: like real hashes.
    Stretch { prompt: u8, from: u8, count: u8 },
    /// The same, long enough for several of a writer's pieces.
    Long { prompt: u8, count: u16 },
    /// Small numbers, zero among them, as often and in whatever order they come.
    Small(Vec<u8>),
    /// Whatever they are.
    Any(Vec<u64>),
}

impl Blocks {
    fn hashes(&self) -> Vec<SequenceHash> {
        let at = |prompt: u8, block: u64| {
            // Prompt p leaves prompt 0 at block 4p.
            let owner = if block < u64::from(prompt % 8) * 4 { 0 } else { u64::from(prompt % 8) };
            SequenceHash((owner << 32 | block + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93))
        };
        match self {
            Self::Stretch { prompt, from, count } => {
                (u64::from(*from)..).take((*count).into()).map(|block| at(*prompt, block)).collect()
            }
            Self::Long { prompt, count } => {
                (0..u64::from(count % 2048)).map(|block| at(*prompt, block)).collect()
            }
            Self::Small(numbers) => numbers.iter().map(|&number| SequenceHash(number.into())).collect(),
            Self::Any(numbers) => numbers.iter().copied().map(SequenceHash).collect(),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Call {
    Open { slot: u16, hidden: bool },
    Store { pod: Pod, parent: Option<u64>, blocks: Blocks },
    Continue { pod: Pod, blocks: Blocks, from: u8 },
    Remove { pod: Pod, blocks: Blocks, reverse: bool },
    Clear { pod: Pod },
    Retire { pod: Pod },
    Query { blocks: Blocks },
    Tidy,
}

struct Fuzzed {
    slots: Arc<Slots>,
    index: PrefixIndex,
    /// Open pods by slot.
    open: BTreeMap<usize, PodRef>,
    generations: BTreeMap<usize, u64>,
    matches: Matches,
}

impl Fuzzed {
    fn pod(&self, pod: Pod) -> PodRef {
        match pod {
            Pod::Known(number) if !self.open.is_empty() => {
                *self.open.values().nth(usize::from(number) % self.open.len()).expect("below their number")
            }
            Pod::Known(number) => PodRef::new(number.into(), 1),
            Pod::Any(slot, generation) => PodRef::new(slot, generation),
            Pod::Raw(raw) => PodRef::from_raw(raw),
        }
    }

    /// Whoever hands out slots gives only swept ones, each to one pod.
    fn open(&mut self, slot: u16, hidden: bool) {
        let slot = usize::from(slot) % self.index.width().pods();
        if self.open.contains_key(&slot) {
            return;
        }
        self.index.wait_swept();
        assert!(self.index.is_swept(slot));
        let generation = self.generations.entry(slot).or_default();
        *generation += 1;
        let pod = PodRef::new(slot as u32, *generation);
        self.slots.open(pod);
        if !hidden {
            self.slots.show(pod);
        }
        self.open.insert(slot, pod);
    }

    fn retire(&mut self, pod: PodRef) {
        let was_open = self.open.get(&pod.slot()) == Some(&pod);
        assert_eq!(retire(&self.slots, std::slice::from_ref(&self.index), pod), was_open);
        if was_open {
            self.open.remove(&pod.slot());
        }
    }

    fn query(&mut self, hashes: &[SequenceHash]) {
        self.index.query(hashes, &mut self.matches);
        let found = self.matches.as_slice();
        for one in found {
            assert!(one.depth > 0 && one.depth as usize <= hashes.len(), "{one:?}");
            assert!(self.open.contains_key(&one.slot.into()), "{one:?} is gone");
        }
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Open { slot, hidden } => self.open(*slot, *hidden),
            Call::Store { pod, parent, blocks } => {
                self.index.store(self.pod(*pod), parent.map(SequenceHash), &blocks.hashes());
            }
            Call::Continue { pod, blocks, from } => {
                let hashes = blocks.hashes();
                let (before, after) = hashes.split_at(hashes.len().min((*from).into()));
                self.index.store(self.pod(*pod), before.last().copied(), after);
            }
            Call::Remove { pod, blocks, reverse } => {
                let mut hashes = blocks.hashes();
                if *reverse {
                    hashes.reverse();
                }
                self.index.remove(self.pod(*pod), &hashes);
            }
            Call::Clear { pod } => self.index.clear(self.pod(*pod)),
            Call::Retire { pod } => self.retire(self.pod(*pod)),
            Call::Query { blocks } => self.query(&blocks.hashes()),
            Call::Tidy => self.index.tidy(),
        }
    }
}

fuzz_target!(|input: (u8, Vec<Call>)| {
    let (width, calls) = input;
    let width = [Width::Pods64, Width::Pods256, Width::Pods1024][usize::from(width) % 3];
    let slots = Arc::new(Slots::default());
    let index = PrefixIndex::new(width, slots.clone());
    let empty = index.bytes();
    let (open, generations) = Default::default();
    let mut fuzzed = Fuzzed { slots, index, open, generations, matches: Matches::default() };
    calls.iter().for_each(|call| fuzzed.call(call));
    for pod in fuzzed.open.values().copied().collect::<Vec<_>>() {
        fuzzed.retire(pod);
    }
    fuzzed.index.wait_swept();
    assert_eq!(fuzzed.index.entries(), 0);
    // The epochs move on with each call; numbers of chains are kept, at 8 bytes.
    (0..64).for_each(|_| fuzzed.index.tidy());
    assert!(fuzzed.index.bytes() <= empty + (64 << 10), "{} bytes", fuzzed.index.bytes());
});
