//! What a request's answer teaches: whether its prompt was counted right, and which blocks the pod holds besides.

use super::{Chain, Lane, Ticket};
use crate::answer::answer_text;
use crate::hash::SequenceHash;
use crate::model::{Model, Shape};
use crate::pods::PodRef;
use crate::request::BodyKind;
use crate::state::SharedState;
use std::sync::Arc;

/// `USAGE.estimated` in `src/data/native.ts`; the codes below are `Agreement`'s.
pub const ESTIMATED: u32 = 3;

/// An answer on its way to the blocks that its pod is believed to hold.
pub struct LearnAnswer {
    state: Arc<SharedState>,
    model: Arc<Model>,
    pod: PodRef,
    kind: BodyKind,
    tokens: Vec<u32>,
    chain: Chain,
}

impl Lane {
    /// Compares the engine's count of prompt tokens with the router's: an `Agreement` as a number, or [`ESTIMATED`].
    pub fn check_usage(&self, ticket: Ticket, prompt_tokens: u32) -> u32 {
        let Some(prepared) = self.get(ticket).filter(|prepared| prepared.exact) else { return ESTIMATED };
        let Some((model, _)) = &prepared.source else { return ESTIMATED };
        model.check(prepared.shape, prepared.prompt_tokens, prompt_tokens) as u32
    }

    /// Whether the pod's cache is known by predictions, to which the answer's tokens could be added.
    pub fn wants_answer(&self, ticket: Ticket, pod: PodRef) -> bool {
        let known = |prepared: &super::Prepared| {
            prepared.exact && !prepared.shape.has(Shape::BATCH) && !prepared.chains.is_empty()
        };
        self.get(ticket).is_some_and(known)
            && !self.state.exact.is_exact(pod)
            && self.state.pods.cache_shape(pod).variant.is_none()
    }

    /// Takes from a ticket what is needed to learn its answer later, on any thread; `None` where nothing is to be
    /// learnt.
    pub fn take_for_answer(&mut self, ticket: Ticket, pod: PodRef) -> Option<LearnAnswer> {
        if !self.wants_answer(ticket, pod) {
            return None;
        }
        let state = self.state.clone();
        let prepared = self.get(ticket)?;
        let (model, kind_of_body) = prepared.source.clone()?;
        let chain = prepared.chain_of(&state, pod)?;
        let Chain { kind, start, most, ref hashes } = *chain;
        Some(LearnAnswer {
            model,
            pod,
            kind: kind_of_body,
            tokens: prepared.tokens.clone(),
            chain: Chain { kind, start, most, hashes: hashes.clone() },
            state,
        })
    }
}

impl LearnAnswer {
    /// Reads the pieces of the answer's body and adds its tokens' blocks to those that the pod is believed to hold.
    pub fn run(&self, events: bool, pieces: &[&[u8]]) {
        let Some(answer) = answer_text(self.kind, events, pieces) else { return };
        let tokens = self.model.answer_tokens(&self.tokens, self.kind, &answer);
        let hashes: Vec<SequenceHash> = self.chain.continued(&tokens);
        if hashes.len() > self.chain.hashes.len() {
            self.state.learn(self.pod, &hashes, true);
        }
    }
}
