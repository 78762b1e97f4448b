//! `Lane`: one thread's door to the shared state.

use crate::shared_state::{Out, SharedState, pod};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use phyllo_core::lane::{self, LearnAnswer, Ops, Plan, Prepared, Search};
use phyllo_core::pods::{Outcome, Refusal, Tokens};
use phyllo_core::request::{BodyKind, FIELD_COUNT, Spans, scan};
use phyllo_core::state;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `prepare` answers when the template or the tokenizer refuses the request.
const FAILED: i32 = -1;
/// What look-ups of pods answer when there is none.
const NONE: f64 = -1.0;

/// A lane's slab. Only its own thread uses it, but a prepared prompt arrives through a task object that has to be
/// `Send`; the lock is never contended and costs about 10 ns.
type Slab = Arc<Mutex<lane::Lane>>;

fn lock(slab: &Slab) -> MutexGuard<'_, lane::Lane> {
    // A panic while the slab was locked left at worst one unusable ticket behind; the others are still good.
    slab.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See `Lane` in `src/data/native.ts`.
#[napi]
pub struct Lane {
    slab: Slab,
    state: Arc<state::SharedState>,
    /// Why `prepare` failed last.
    last_error: Mutex<String>,
}

fn spans(fields: &[u32]) -> Option<Spans> {
    fields.get(..FIELD_COUNT * 2)?.try_into().ok()
}

#[napi]
impl Lane {
    #[napi(constructor)]
    pub fn new(state: &SharedState) -> Self {
        let slab = Arc::new(Mutex::new(lane::Lane::new(Arc::clone(&state.inner))));
        Self { slab, state: Arc::clone(&state.inner), last_error: Mutex::default() }
    }

    #[napi(catch_unwind)]
    pub fn scan(&self, body: &[u8], kind: u32, out: Out<u32>) -> u32 {
        let mut found: Spans = [0; FIELD_COUNT * 2];
        let result = scan(body, BodyKind::from_index(kind), &mut found);
        let Some(out) = out.get_mut(..FIELD_COUNT * 2) else { return 0 };
        match result {
            Ok(()) => {
                out.copy_from_slice(&found);
                0
            }
            Err(fault) => {
                out[0] = fault.offset;
                out[1] = fault.field.map_or(u32::MAX, |field| field as u32);
                fault.code as u32
            }
        }
    }

    #[napi(catch_unwind)]
    pub fn prepare(&self, model: u32, ops: u32, kind: u32, body: &[u8], fields: &[u32]) -> i32 {
        let Some((plan, spans)) = self.state.plan(model).zip(spans(fields)) else {
            return self.fail("no such model");
        };
        let result = lock(&self.slab).prepare(&plan, Ops(ops), BodyKind::from_index(kind), body, &spans);
        match result {
            Ok(ticket) => ticket as i32,
            Err(error) => self.fail(&error.to_string()),
        }
    }

    #[napi(ts_return_type = "Promise<number>", catch_unwind)]
    pub fn prepare_async(
        &self,
        model: u32,
        ops: u32,
        kind: u32,
        body: Uint8Array,
        fields: &[u32],
    ) -> Result<AsyncTask<Prepare>> {
        let (plan, spans) =
            self.state.plan(model).zip(spans(fields)).ok_or_else(|| Error::from_reason("no such model"))?;
        Ok(AsyncTask::new(Prepare {
            slab: Arc::clone(&self.slab),
            state: Arc::clone(&self.state),
            plan,
            ops: Ops(ops),
            kind: BodyKind::from_index(kind),
            body,
            spans,
        }))
    }

    #[napi(catch_unwind)]
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[napi(catch_unwind)]
    pub fn summary(&self, ticket: u32, out: Out<u32>) {
        out.fill(0);
        if let Some(prepared) = lock(&self.slab).get(ticket) {
            let words = [
                prepared.prompt_tokens,
                prepared.hashes().len() as u32,
                prepared.block_size(),
                u32::from(prepared.exact),
                prepared.matches.len() as u32,
                prepared.micros[0],
                prepared.micros[1],
                prepared.micros[2],
            ];
            for (place, word) in out.iter_mut().zip(words) {
                *place = word;
            }
        }
    }

    #[napi(catch_unwind)]
    pub fn cached_tokens(&self, ticket: u32, out: Out<u32>) -> u32 {
        lock(&self.slab).cached_tokens(ticket, out)
    }

    #[napi(catch_unwind)]
    pub fn ranked(&self, ticket: u32, out: Out<u32>) -> u32 {
        lock(&self.slab).ranked(ticket, out) as u32
    }

    #[napi(catch_unwind)]
    pub fn tokens(&self, ticket: u32) -> Uint32Array {
        lock(&self.slab).get(ticket).map_or_else(Vec::new, |prepared| prepared.tokens.clone()).into()
    }

    #[napi(catch_unwind)]
    pub fn hashes(&self, ticket: u32) -> BigUint64Array {
        let hashes = |prepared: &Prepared| prepared.hashes().iter().map(|hash| hash.0).collect();
        lock(&self.slab).get(ticket).map_or_else(Vec::new, hashes).into()
    }

    #[napi(catch_unwind)]
    pub fn set_session(&self, ticket: u32, key: String) -> u32 {
        lock(&self.slab).set_session(ticket, &key)
    }

    #[napi(catch_unwind)]
    pub fn session_pod(&self, ticket: u32) -> f64 {
        lock(&self.slab).session_pod(ticket).map_or(NONE, |pod| pod.raw() as f64)
    }

    #[napi(catch_unwind)]
    pub fn recall(&self, key: String) -> f64 {
        self.state.recall(&key).map_or(NONE, |pod| pod.raw() as f64)
    }

    #[napi(catch_unwind)]
    pub fn remember(&self, key: String, pod_ref: f64) {
        if let Some(pod) = pod(pod_ref) {
            self.state.remember(&key, pod);
        }
    }

    #[napi(catch_unwind)]
    pub fn loads(&self, out: Out<f64>) -> u32 {
        self.state.pods.loads(out) as u32
    }

    #[napi(catch_unwind)]
    pub fn cursor(&self, name: u32) -> f64 {
        self.state.cursors.next(name) as f64
    }

    #[napi(catch_unwind)]
    pub fn book(&self, ticket: u32, pod_ref: f64, bound: u32, flags: u32, out: Out<u32>) -> f64 {
        let Some(pod) = pod(pod_ref) else { return f64::from(Refusal::Gone.code()) };
        match lock(&self.slab).book(ticket, pod, bound, flags) {
            Ok((booked, tokens)) => {
                out.iter_mut().zip([tokens.pending, tokens.active]).for_each(|(place, word)| *place = word);
                booked.raw() as f64
            }
            Err(refusal) => f64::from(refusal.code()),
        }
    }

    #[napi(catch_unwind)]
    pub fn cache_hint(&self, ticket: u32, pod_ref: f64, out: Out<u32>) -> bool {
        let hint = pod(pod_ref).and_then(|pod| lock(&self.slab).hint(ticket, pod));
        if let Some(words) = hint {
            out.iter_mut().zip(words).for_each(|(place, word)| *place = word);
        }
        hint.is_some()
    }

    #[napi(catch_unwind)]
    pub fn check_usage(&self, ticket: u32, prompt_tokens: u32) -> u32 {
        lock(&self.slab).check_usage(ticket, prompt_tokens)
    }

    #[napi(catch_unwind)]
    pub fn shape(&self, ticket: u32) -> String {
        lock(&self.slab).get(ticket).map_or_else(String::new, |prepared| prepared.shape.name())
    }

    #[napi(catch_unwind)]
    pub fn wants_answer(&self, ticket: u32, pod_ref: f64) -> bool {
        pod(pod_ref).is_some_and(|pod| lock(&self.slab).wants_answer(ticket, pod))
    }

    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn learn_answer(
        &self,
        ticket: u32,
        pod_ref: f64,
        events: bool,
        pieces: Vec<Uint8Array>,
    ) -> AsyncTask<Learn> {
        let task = pod(pod_ref).and_then(|pod| lock(&self.slab).take_for_answer(ticket, pod));
        AsyncTask::new(Learn { task, events, pieces })
    }

    #[napi(catch_unwind)]
    pub fn first_byte(&self, pod_ref: f64, ms: f64, pending_tokens: u32) {
        if let Some(pod) = pod(pod_ref) {
            self.state.pods.first_byte(pod, ms, pending_tokens);
        }
    }

    #[napi(catch_unwind)]
    pub fn grow(&self, pod_ref: f64, tokens: u32) {
        if let Some(pod) = pod(pod_ref) {
            self.state.pods.grow(pod, tokens);
        }
    }

    #[napi(catch_unwind)]
    pub fn release(&self, pod_ref: f64, pending_tokens: u32, active_tokens: u32, outcome: u32) {
        if let Some(pod) = pod(pod_ref) {
            let tokens = Tokens { pending: pending_tokens, active: active_tokens };
            self.state.release(pod, tokens, Outcome::of(outcome));
        }
    }

    #[napi(catch_unwind)]
    pub fn drop(&self, ticket: u32) {
        lock(&self.slab).drop_ticket(ticket);
    }

    fn fail(&self, message: &str) -> i32 {
        message.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
        FAILED
    }
}

/// `prepare` on the thread pool.
pub struct Prepare {
    slab: Slab,
    state: Arc<state::SharedState>,
    plan: Plan,
    ops: Ops,
    kind: BodyKind,
    body: Uint8Array,
    spans: Spans,
}

#[napi]
impl Task for Prepare {
    type Output = Prepared;
    type JsValue = i32;

    fn compute(&mut self) -> Result<Self::Output> {
        lane::stand_back();
        let mut search = Search::default();
        let body: &[u8] = &self.body;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lane::prepare(&self.state, &self.plan, self.ops, self.kind, body, &self.spans, &mut search)
        }));
        match result {
            // The status becomes the error's `code`: it tells the request's fault from ours.
            Ok(prepared) => prepared.map_err(|error| Error::new(Status::InvalidArg, error.to_string())),
            Err(_) => Err(Error::from_reason("a panic while the prompt was prepared")),
        }
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(lock(&self.slab).insert(output) as i32)
    }
}

/// `learnAnswer` on the thread pool.
pub struct Learn {
    task: Option<LearnAnswer>,
    events: bool,
    pieces: Vec<Uint8Array>,
}

#[napi]
impl Task for Learn {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<Self::Output> {
        lane::stand_back();
        let pieces: Vec<&[u8]> = self.pieces.iter().map(|piece| &piece[..]).collect();
        let run = || self.task.as_ref().map(|task| task.run(self.events, &pieces));
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::from_reason("a panic while an answer was read")),
        }
    }

    fn resolve(&mut self, _env: Env, _output: Self::Output) -> Result<Self::JsValue> {
        Ok(())
    }
}
