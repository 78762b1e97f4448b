//! `PrefixIndex`: an index of its own, for library use and benches.

use crate::shared_state::Out;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use phyllo_core::hash::SequenceHash;
use phyllo_core::index::owned::OwnedIndex;
use phyllo_core::index::{Matches, Width};
use std::sync::{Mutex, PoisonError};

/// See `PrefixIndex` in `src/data/native.ts`.
#[napi]
pub struct PrefixIndex {
    index: OwnedIndex,
    scratch: Mutex<Matches>,
}

#[napi]
impl PrefixIndex {
    #[napi(constructor)]
    pub fn new(width: u32) -> Result<Self> {
        let width = Width::exactly(width as usize)
            .ok_or_else(|| Error::from_reason(format!("width is 64, 256 or 1024 pods, not {width}")))?;
        Ok(Self { index: OwnedIndex::new(width), scratch: Mutex::default() })
    }

    #[napi(getter)]
    pub fn width(&self) -> u32 {
        self.index.width().pods() as u32
    }

    #[napi(catch_unwind)]
    pub fn add_pod(&self) -> Result<u32> {
        self.index.add_pod().ok_or_else(|| Error::from_reason("all pod slots are taken"))
    }

    #[napi(catch_unwind)]
    pub fn remove_pod(&self, pod: u32) {
        self.index.remove_pod(pod);
    }

    #[napi(catch_unwind)]
    pub fn store(&self, pod: u32, hashes: &[u64], parent: Option<BigInt>) {
        let parent = parent.map(|parent| SequenceHash(parent.get_u64().1));
        self.index.store(pod, parent, as_hashes(hashes));
    }

    #[napi(catch_unwind)]
    pub fn remove(&self, pod: u32, hashes: &[u64]) {
        self.index.remove(pod, as_hashes(hashes));
    }

    #[napi(catch_unwind)]
    pub fn clear(&self, pod: u32) {
        self.index.clear(pod);
    }

    #[napi(catch_unwind)]
    pub fn query(&self, hashes: &[u64], out: Out<u32>) -> u32 {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.query(as_hashes(hashes), &mut scratch);
        let pairs = out.chunks_exact_mut(2).zip(scratch.as_slice());
        pairs.map(|(pair, found)| pair.copy_from_slice(&[found.slot.into(), found.depth])).count() as u32
    }

    #[napi(catch_unwind)]
    pub fn entries(&self) -> f64 {
        self.index.entries() as f64
    }
}

fn as_hashes(hashes: &[u64]) -> &[SequenceHash] {
    SequenceHash::slice_from(hashes)
}
