//! What a pod's engine says of itself: its cache's shape, and its load by its own metrics.

use super::pod_ref::PodRef;
use super::table::PodTable;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Metrics older than this say nothing any more: ten scrapes that failed, or two of a pod that is asked less often.
/// (What is booked here counts at once and always; nothing waits for metrics.)
const FRESH_MS: u64 = 10_000;
/// Share of its load that a new pod starts with. Below it a small fleet would send a new pod nothing at all.
const COLDEST: f64 = 0.1;
/// The pod runs the served model's own files.
const OWN: u32 = u32::MAX;

/// The cache of a pod's engine, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheShape {
    /// Tokens in a block; 0: unknown.
    pub block_size: u32,
    /// Blocks that it has room for; 0: unknown.
    pub blocks: u32,
    /// The native model whose files the engine runs, where that is not the served model's own.
    pub variant: Option<u32>,
}

/// One slot's figures. All are written by control threads and read by everybody; none depends on another.
#[derive(Debug)]
pub(super) struct Engine {
    block_size: AtomicU32,
    blocks: AtomicU32,
    variant: AtomicU32,
    /// Requests that the engine has beyond those booked here.
    foreign: AtomicU32,
    waiting: AtomicU32,
    /// Part of the KV blocks in use, as an `f32`'s bits.
    kv_use: AtomicU32,
    scraped_ms: AtomicU64,
    /// Since when the pod takes requests.
    since_ms: AtomicU64,
}

impl Default for Engine {
    fn default() -> Self {
        let [block_size, blocks, foreign, waiting, kv_use] = [const { AtomicU32::new(0) }; 5];
        let [scraped_ms, since_ms] = [const { AtomicU64::new(0) }; 2];
        let variant = AtomicU32::new(OWN);
        Self { block_size, blocks, variant, foreign, waiting, kv_use, scraped_ms, since_ms }
    }
}

/// What a decision reads of it.
pub(super) struct EngineView {
    pub(super) requests: f64,
    pub(super) waiting: f64,
    pub(super) kv_use: f64,
    pub(super) warmth: f64,
}

impl Engine {
    pub(super) fn reset(&self) {
        for figure in [&self.block_size, &self.blocks, &self.foreign, &self.waiting, &self.kv_use] {
            figure.store(0, Ordering::Relaxed);
        }
        self.variant.store(OWN, Ordering::Relaxed);
        self.scraped_ms.store(0, Ordering::Relaxed);
    }

    /// The pod takes requests from now on: its slow start begins.
    pub(super) fn start(&self, now: u64) {
        self.since_ms.store(now, Ordering::Relaxed);
    }

    pub(super) fn view(&self, inflight: u32, now: u64, slow_start_ms: u64) -> EngineView {
        let of = |figure: &AtomicU32| figure.load(Ordering::Relaxed);
        let scraped = self.scraped_ms.load(Ordering::Relaxed);
        let fresh = scraped > 0 && now < scraped + FRESH_MS;
        let age = now.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let warmth = if age >= slow_start_ms { 1.0 } else { age as f64 / slow_start_ms as f64 };
        EngineView {
            requests: f64::from(inflight) + if fresh { of(&self.foreign).into() } else { 0.0 },
            waiting: if fresh { of(&self.waiting).into() } else { 0.0 },
            kv_use: if fresh { f32::from_bits(of(&self.kv_use)).into() } else { 0.0 },
            warmth: warmth.max(COLDEST),
        }
    }

    fn shape(&self) -> CacheShape {
        let variant = self.variant.load(Ordering::Relaxed);
        CacheShape {
            block_size: self.block_size.load(Ordering::Relaxed),
            blocks: self.blocks.load(Ordering::Relaxed),
            variant: (variant != OWN).then_some(variant),
        }
    }
}

impl PodTable {
    /// The shape of the pod's cache, nothing of which is known once the pod is gone.
    pub fn cache_shape(&self, pod: PodRef) -> CacheShape {
        self.current(pod).map_or(CacheShape::default(), |load| load.engine.shape())
    }

    /// Blocks that a slot's engine has room for; 0: unknown.
    pub fn room(&self, slot: usize) -> usize {
        self.loads.get(slot).map_or(0, |load| load.engine.blocks.load(Ordering::Relaxed) as usize)
    }

    /// Notes the shape of the pod's cache; what is unknown in it leaves what was known before. Answers whether the
    /// block size or the variant is another now.
    pub fn set_cache_shape(&self, pod: PodRef, shape: CacheShape) -> bool {
        let Some(load) = self.current(pod) else { return false };
        let before = load.engine.shape();
        if shape.block_size > 0 {
            load.engine.block_size.store(shape.block_size, Ordering::Relaxed);
        }
        if shape.blocks > 0 {
            load.engine.blocks.store(shape.blocks, Ordering::Relaxed);
        }
        if let Some(variant) = shape.variant {
            load.engine.variant.store(variant, Ordering::Relaxed);
        }
        let after = load.engine.shape();
        (before.block_size, before.variant) != (after.block_size, after.variant)
    }

    /// The engine's own metrics. Of its requests, those that are not booked here come from elsewhere.
    pub fn set_engine_load(&self, pod: PodRef, running: u32, waiting: u32, kv_use: f32) {
        let Some(load) = self.current(pod) else { return };
        let inflight = load.gate.view().inflight;
        let engine = &load.engine;
        engine.foreign.store(running.saturating_add(waiting).saturating_sub(inflight), Ordering::Relaxed);
        engine.waiting.store(waiting, Ordering::Relaxed);
        let kv_use = if kv_use.is_finite() { kv_use.clamp(0.0, 1.0) } else { 0.0 };
        engine.kv_use.store(kv_use.to_bits(), Ordering::Relaxed);
        engine.scraped_ms.store(self.clock.millis().max(1), Ordering::Relaxed);
    }
}
