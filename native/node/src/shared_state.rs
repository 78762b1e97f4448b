//! `SharedState`: the one memory of all threads.

use napi::bindgen_prelude::*;
use napi_derive::napi;
use phyllo_core::lane::ChainKind;
use phyllo_core::model::{Model, ModelOptions};
use phyllo_core::pods::{BreakerOptions, CacheShape, PodRef};
use phyllo_core::state::{self, StateOptions};
use std::sync::Arc;

/// See `SharedStateOptions` in `src/data/native.ts`.
#[napi(object)]
pub struct SharedStateOptions {
    pub width: u32,
    pub breaker_failures: u32,
    pub breaker_cooldown_ms: f64,
    pub breaker_latency_factor: f64,
    pub breaker_latency_floor_ms: f64,
    pub predicted_blocks: u32,
    pub predicted_ttl_ms: f64,
    pub lower_tier_worth: f64,
    pub slow_start_ms: f64,
    pub index_bytes: f64,
    pub sessions: u32,
    pub session_ttl_ms: f64,
    pub virtual_clock: bool,
}

/// See `ModelOptions` in `src/data/native.ts`.
#[napi(object)]
pub struct NativeModelOptions {
    pub dir: Option<String>,
    pub chat_template: Option<String>,
    pub block_size: u32,
    pub memo_bytes: Option<f64>,
}

impl From<NativeModelOptions> for ModelOptions {
    fn from(options: NativeModelOptions) -> Self {
        Self {
            dir: options.dir.map(Into::into),
            chat_template: options.chat_template,
            block_size: options.block_size,
            memo_bytes: options.memo_bytes.map(|bytes| bytes as u64),
        }
    }
}

/// See `SharedState` in `src/data/native.ts`.
#[napi]
pub struct SharedState {
    pub(crate) inner: Arc<state::SharedState>,
}

/// A typed array that the caller owns and the call fills. (An alias, as the macro takes a literal `&mut` for a class.)
pub(crate) type Out<'a, T> = &'a mut [T];

/// An error of the core as a JavaScript one.
pub(crate) fn failure(error: impl std::fmt::Display) -> Error {
    Error::from_reason(error.to_string())
}

pub(crate) fn pod(number: f64) -> Option<PodRef> {
    PodRef::from_number(number)
}

#[napi]
impl SharedState {
    #[napi(factory, catch_unwind)]
    pub fn open(name: String, options: Option<SharedStateOptions>) -> Result<Self> {
        let options = options.map(|o| StateOptions {
            width: o.width as usize,
            breakers: BreakerOptions {
                failures: o.breaker_failures,
                cooldown_ms: o.breaker_cooldown_ms as u64,
                latency_factor: o.breaker_latency_factor,
                latency_floor_ms: o.breaker_latency_floor_ms,
            },
            predicted_blocks: o.predicted_blocks as usize,
            predicted_ttl_ms: o.predicted_ttl_ms as u64,
            lower_tier_worth: o.lower_tier_worth,
            slow_start_ms: o.slow_start_ms as u64,
            index_bytes: o.index_bytes as usize,
            sessions: o.sessions as usize,
            session_ttl_ms: o.session_ttl_ms as u64,
            virtual_clock: o.virtual_clock,
        });
        let inner = state::SharedState::open(&name, options.as_ref()).map_err(failure)?;
        Ok(Self { inner })
    }

    #[napi(catch_unwind)]
    pub fn close(name: String) {
        state::SharedState::close(&name);
    }

    #[napi(getter)]
    pub fn width(&self) -> u32 {
        self.inner.width() as u32
    }

    #[napi(catch_unwind)]
    pub fn add_pod(&self, id: String) -> Result<f64> {
        let pod = self.inner.add_pod(&id).map_err(failure)?;
        Ok(pod.raw() as f64)
    }

    #[napi(catch_unwind)]
    pub fn activate_pod(&self, pod_ref: f64) -> bool {
        pod(pod_ref).is_some_and(|pod| self.inner.pods.activate(pod))
    }

    #[napi(catch_unwind)]
    pub fn cordon_pod(&self, pod_ref: f64, cordoned: bool) -> bool {
        pod(pod_ref).is_some_and(|pod| self.inner.pods.cordon(pod, cordoned))
    }

    #[napi(catch_unwind)]
    pub fn remove_pod(&self, pod_ref: f64) -> bool {
        pod(pod_ref).is_some_and(|pod| self.inner.remove_pod(pod))
    }

    #[napi(catch_unwind)]
    pub fn release_pod(&self, pod_ref: f64) -> bool {
        pod(pod_ref).is_some_and(|pod| self.inner.pods.release_pod(pod))
    }

    #[napi(catch_unwind)]
    pub fn pod_status(&self, pod_ref: f64, out: Out<f64>) -> bool {
        let Some(pod) = pod(pod_ref) else { return false };
        let Some(status) = self.inner.pods.status(pod) else { return false };
        let numbers = [
            f64::from(status.inflight),
            status.pending_tokens as f64,
            self.inner.predicted.blocks(pod) as f64,
            f64::from(status.breaker),
            f64::from(status.phase as u8),
            f64::from(u8::from(status.swept)),
            status.active_tokens as f64,
        ];
        fill(out, &numbers);
        true
    }

    #[napi(catch_unwind)]
    pub fn add_model(&self, name: String, options: NativeModelOptions) -> Result<u32> {
        let model = Model::load(&name, &options.into()).map_err(failure)?;
        Ok(self.inner.add_model(model))
    }

    #[napi(ts_return_type = "Promise<number>", catch_unwind)]
    pub fn add_model_async(&self, name: String, options: NativeModelOptions) -> AsyncTask<LoadModel> {
        self.load(None, name, options)
    }

    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn load_model(&self, model: u32, options: NativeModelOptions) -> Result<AsyncTask<LoadModel>> {
        let name = self.inner.model_name(model).ok_or_else(|| failure("no such model"))?;
        Ok(self.load(Some(model), name, options))
    }

    fn load(&self, number: Option<u32>, name: String, options: NativeModelOptions) -> AsyncTask<LoadModel> {
        AsyncTask::new(LoadModel { state: Arc::clone(&self.inner), number, name, options: options.into() })
    }

    #[napi(catch_unwind)]
    pub fn model_fallback(&self, model: u32) -> Option<&'static str> {
        self.inner.model(model)?.fallback_reason()
    }

    #[napi(catch_unwind)]
    pub fn set_chains(&self, model: u32, pairs: &[u32]) {
        let kind =
            |pair: &[u32]| ChainKind { variant: (pair[0] != model).then_some(pair[0]), block_size: pair[1] };
        let kinds: Vec<ChainKind> = pairs.chunks_exact(2).map(kind).collect();
        self.inner.set_kinds(model, &kinds);
    }

    #[napi(catch_unwind)]
    pub fn set_pod_cache(&self, pod_ref: f64, block_size: u32, blocks: u32, variant: i32) {
        if let Some(pod) = pod(pod_ref) {
            let shape = CacheShape { block_size, blocks, variant: u32::try_from(variant).ok() };
            self.inner.pods.set_cache_shape(pod, shape);
        }
    }

    #[napi(catch_unwind)]
    pub fn set_engine_load(&self, pod_ref: f64, running: u32, waiting: u32, kv_use: f64) {
        if let Some(pod) = pod(pod_ref) {
            self.inner.pods.set_engine_load(pod, running, waiting, kv_use as f32);
        }
    }

    #[napi(catch_unwind)]
    pub fn cache_status(&self, pod_ref: f64, out: Out<f64>) -> bool {
        let status = pod(pod_ref).and_then(|pod| self.inner.cache_status(pod));
        if let Some(words) = status {
            fill(out, &words);
        }
        status.is_some()
    }

    #[napi(catch_unwind)]
    pub fn pod_lost(&self, pod_ref: f64, can_verify: bool) {
        if let Some(pod) = pod(pod_ref) {
            self.inner.pod_lost(pod, can_verify);
        }
    }

    #[napi(catch_unwind)]
    pub fn now(&self) -> f64 {
        self.inner.clock.now()
    }

    #[napi(catch_unwind)]
    pub fn set_time(&self, ms: f64) {
        self.inner.set_time(ms);
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, out: Out<f64>) {
        let stats = self.inner.stats();
        let counts = [stats.entries, stats.bytes, stats.live_pods, stats.sessions].map(|count| count as u64);
        let numbers = [counts[0], counts[1], counts[2], counts[3], stats.shed, stats.demoted];
        fill(out, &numbers.map(|number| number as f64));
    }

    #[napi(catch_unwind)]
    pub fn forget_predicted(&self, pod_ref: f64) {
        if let Some(pod) = pod(pod_ref) {
            self.inner.predicted.clear_pod(pod);
        }
    }

    #[napi(catch_unwind)]
    pub fn clear_predicted(&self) {
        self.inner.clear_predicted();
    }
}

fn fill(out: &mut [f64], numbers: &[f64]) {
    for (place, number) in out.iter_mut().zip(numbers) {
        *place = *number;
    }
}

/// A model's files on their way in, on the thread pool.
pub struct LoadModel {
    state: Arc<state::SharedState>,
    /// Of a model that is there already, without its files.
    number: Option<u32>,
    name: String,
    options: ModelOptions,
}

#[napi]
impl Task for LoadModel {
    type Output = Model;
    type JsValue = u32;

    fn compute(&mut self) -> Result<Self::Output> {
        Model::load(&self.name, &self.options).map_err(failure)
    }

    fn resolve(&mut self, _env: Env, model: Self::Output) -> Result<Self::JsValue> {
        Ok(match self.number {
            Some(number) => {
                self.state.replace_model(number, model);
                number
            }
            None => self.state.add_model(model),
        })
    }
}
