//! One thread's requests in flight: what was prepared for each, by ticket.
//!
//! A ticket is a place in a slab, freed by hand. The caller ends every request in one place anyway, and a garbage
//! collector's finalizer would keep the hashes of a long prompt alive for as long as it pleases.

mod after;
mod background;
mod chain;
mod holding;

pub use after::{ESTIMATED, LearnAnswer};
pub use background::stand_back;
pub use chain::{Chain, ChainKind, Plan};
pub use holding::{Holding, Search};

use crate::hash::SequenceHash;
use crate::model::{Model, PromptError, Shape, cache_salt};
use crate::pods::{PodRef, Refusal, Tokens};
use crate::request::{BodyKind, Spans};
use crate::state::{Booking, SharedState};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Number of a prepared request in its lane; 0 stands for "nothing prepared".
pub type Ticket = u32;

/// Which native steps to run; the bits are `OPS` in `src/data/native.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ops(pub u32);

impl Ops {
    /// Template and tokenizer.
    pub const TOKENIZE: u32 = 1;
    /// Cumulative block hashes of the tokens (or of the text, for a model without a tokenizer).
    pub const HASH_BLOCKS: u32 = 2;
    /// Which pods hold how many of the leading blocks.
    pub const MATCH_PREFIX: u32 = 4;

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}

/// `BOOK` in `src/data/native.ts`: the pod will hold the prompt's blocks.
const LEARN_PREFIX: u32 = 1;
/// `BOOK` in `src/data/native.ts`: the ticket's session lives on the pod from now on.
const CLAIM_SESSION: u32 = 2;

/// What is known of a request once it is prepared.
#[derive(Default)]
pub struct Prepared {
    /// The engine's token ids; of a prompt that is not exact, those of its beginning.
    pub tokens: Vec<u32>,
    /// Prompt length in tokens; an estimate where `exact` is false.
    pub prompt_tokens: u32,
    /// The tokens are the model's own, all of them.
    pub exact: bool,
    /// The form of the request.
    pub shape: Shape,
    /// Whose prompt it is, and of what kind; `None` where nothing was tokenized.
    source: Option<(Arc<Model>, BodyKind)>,
    /// The prompt's blocks, one chain for each kind of pod in the pool, the model's own first.
    pub chains: Vec<Chain>,
    /// Pods by cached tokens, best first.
    pub matches: Vec<Holding>,
    /// The matches have not been read yet: the first reader need not look up again.
    fresh: bool,
    /// Microseconds of tokenizing, hashing, matching.
    pub micros: [u32; 3],
    session: Option<String>,
    /// Where the session was when the decision looked.
    seen: Option<PodRef>,
}

/// Runs the native steps of a profile's Prepare stage: a pure function of its input and the index, so that it can run
/// on any thread.
pub fn prepare(
    state: &SharedState,
    plan: &Plan,
    ops: Ops,
    kind: BodyKind,
    body: &[u8],
    spans: &Spans,
    search: &mut Search,
) -> Result<Prepared, PromptError> {
    let start = Instant::now();
    let mut out = Prepared::default();
    if !ops.has(Ops::TOKENIZE) {
        return Ok(out);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let prompt = plan.model.prompt(kind, body, spans, now)?;
    let tokenized = Instant::now();
    out.micros[0] = micros(start, tokenized);
    out.exact = prompt.exact;
    out.prompt_tokens = prompt.total_tokens;
    out.shape = prompt.shape;
    out.source = Some((plan.model.clone(), kind));
    if ops.has(Ops::HASH_BLOCKS) {
        let salt = cache_salt(body, spans);
        for &chain in plan.kinds.iter() {
            let variant = chain.variant.and_then(|number| state.model(number));
            let theirs = match &variant {
                Some(variant) => Some(variant.prompt(kind, body, spans, now)?),
                None => None,
            };
            let prompt = theirs.as_ref().unwrap_or(&prompt);
            out.chains.push(Chain::new(chain, &plan.model, variant.as_deref(), prompt, salt.as_deref()));
        }
    }
    out.tokens = prompt.tokens;
    let hashed = Instant::now();
    out.micros[1] = micros(tokenized, hashed);
    if ops.has(Ops::MATCH_PREFIX) {
        search.run(state, &out.chains, &mut out.matches);
        out.fresh = true;
    }
    out.micros[2] = micros(hashed, Instant::now());
    Ok(out)
}

fn micros(from: Instant, to: Instant) -> u32 {
    to.duration_since(from).as_micros().min(u128::from(u32::MAX)) as u32
}

/// Words of [`Lane::hint`].
pub const HINT_WORDS: usize = 6;

/// One thread's slab of prepared requests. Not shared between threads; what is shared is the state behind it.
pub struct Lane {
    state: Arc<SharedState>,
    slab: Vec<Option<Prepared>>,
    free: Vec<Ticket>,
    search: Search,
}

impl Lane {
    /// A lane of that state.
    pub fn new(state: Arc<SharedState>) -> Self {
        Self { state, slab: Vec::new(), free: Vec::new(), search: Search::default() }
    }

    /// The state behind it.
    pub fn state(&self) -> &Arc<SharedState> {
        &self.state
    }

    /// Prepares a request on this thread.
    pub fn prepare(
        &mut self,
        plan: &Plan,
        ops: Ops,
        kind: BodyKind,
        body: &[u8],
        spans: &Spans,
    ) -> Result<Ticket, PromptError> {
        let prepared = prepare(&self.state, plan, ops, kind, body, spans, &mut self.search)?;
        Ok(self.insert(prepared))
    }

    /// Takes in what was prepared elsewhere.
    pub fn insert(&mut self, prepared: Prepared) -> Ticket {
        match self.free.pop() {
            Some(ticket) => {
                self.slab[ticket as usize - 1] = Some(prepared);
                ticket
            }
            None => {
                self.slab.push(Some(prepared));
                self.slab.len() as Ticket
            }
        }
    }

    /// The prepared request of a ticket.
    pub fn get(&self, ticket: Ticket) -> Option<&Prepared> {
        self.slab.get((ticket as usize).wrapping_sub(1))?.as_ref()
    }

    fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Prepared> {
        self.slab.get_mut((ticket as usize).wrapping_sub(1))?.as_mut()
    }

    /// Frees a ticket; a ticket that is not in use is passed over.
    pub fn drop_ticket(&mut self, ticket: Ticket) {
        if let Some(place) = self.slab.get_mut((ticket as usize).wrapping_sub(1))
            && place.take().is_some()
        {
            self.free.push(ticket);
        }
    }

    /// Tickets in use.
    pub fn in_use(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Pods and cached blocks of a ticket, best first. The first reader gets what `prepare` found; later ones (a retry,
    /// a second selector) a new look, since the cache may have moved on.
    fn refresh(&mut self, ticket: Ticket) {
        let Some(place) = self.slab.get_mut((ticket as usize).wrapping_sub(1)) else { return };
        let Some(prepared) = place.as_mut() else { return };
        if std::mem::take(&mut prepared.fresh) || prepared.chains.is_empty() {
            return;
        }
        self.search.run(&self.state, &prepared.chains, &mut prepared.matches);
    }

    /// Writes cached prompt tokens by slot, zeros elsewhere; answers the highest. Tokens in slower tiers than the GPU
    /// count for what they are worth.
    pub fn cached_tokens(&mut self, ticket: Ticket, out: &mut [u32]) -> u32 {
        self.refresh(ticket);
        out.fill(0);
        let Some(prepared) = self.get(ticket) else { return 0 };
        let mut most = 0;
        for found in &prepared.matches {
            let tokens = found.worth;
            if let Some(place) = out.get_mut(found.slot as usize) {
                *place = tokens;
                most = most.max(tokens);
            }
        }
        most
    }

    /// Writes `[slot, cached tokens]` pairs, best first, as many as fit; answers how many.
    pub fn ranked(&mut self, ticket: Ticket, out: &mut [u32]) -> usize {
        self.refresh(ticket);
        let Some(prepared) = self.get(ticket) else { return 0 };
        let pairs = out.chunks_exact_mut(2).zip(&prepared.matches);
        pairs
            .map(|(pair, found)| {
                pair[0] = u32::from(found.slot);
                pair[1] = found.worth;
            })
            .count()
    }

    /// Names the session of a ticket; ticket 0 makes one.
    pub fn set_session(&mut self, ticket: Ticket, key: &str) -> Ticket {
        if let Some(prepared) = self.get_mut(ticket) {
            prepared.session = Some(key.to_owned());
            return ticket;
        }
        self.insert(Prepared { session: Some(key.to_owned()), ..Prepared::default() })
    }

    /// Where the ticket's session lives.
    pub fn session_pod(&mut self, ticket: Ticket) -> Option<PodRef> {
        let pod = self.state.session(self.get(ticket)?.session.as_deref()?);
        self.get_mut(ticket)?.seen = pod;
        pod
    }

    /// What the pod is thought to hold of the prompt now, by tier and by where that is known from; words in the order of
    /// `HINT` in `src/data/native.ts`, all but the mode in tokens. Looks each plane up: not for the hot path.
    pub fn hint(&mut self, ticket: Ticket, pod: PodRef) -> Option<[u32; HINT_WORDS]> {
        let Self { state, slab, search, .. } = self;
        let prepared = slab.get((ticket as usize).wrapping_sub(1))?.as_ref()?;
        let chain = prepared.chain_of(state, pod)?;
        let [gpu, lower, predicted] = search.tiers(state, chain, pod);
        let mode = state.exact.mode(pod) as u32;
        Some([prepared.prompt_tokens, gpu, lower, predicted, chain.kind.block_size, mode])
    }

    /// Books a request; see [`SharedState::book`]. The second value is the tokens that were booked with it.
    pub fn book(
        &mut self,
        ticket: Ticket,
        pod: PodRef,
        bound: u32,
        flags: u32,
    ) -> Result<(PodRef, Tokens), Refusal> {
        let prepared = self.get(ticket);
        let booking = Booking {
            bound,
            session: prepared.and_then(|p| p.session.as_deref()).filter(|_| flags & CLAIM_SESSION != 0),
            seen: prepared.and_then(|p| p.seen),
            active_tokens: prepared.map_or(0, |p| p.prompt_tokens),
        };
        let active = booking.active_tokens;
        let (booked, pending) =
            self.state.book(pod, &booking, |pod| prepared.map_or(0, |p| p.uncached(pod)))?;
        if let Some(prepared) = prepared {
            self.state.exact.used(booked, prepared.holding(booked).map_or(0, |found| found.blocks));
            if flags & LEARN_PREFIX != 0
                && let Some(chain) = prepared.chain_of(&self.state, booked)
            {
                self.state.learn(booked, &chain.hashes, prepared.exact);
            }
        }
        if let Some(prepared) = self.get_mut(ticket) {
            prepared.seen = Some(booked);
        }
        Ok((booked, Tokens { pending, active }))
    }
}

impl Prepared {
    fn holding(&self, pod: PodRef) -> Option<&Holding> {
        self.matches.iter().find(|found| usize::from(found.slot) == pod.slot())
    }

    fn uncached(&self, pod: PodRef) -> u32 {
        self.prompt_tokens
            - self.holding(pod).map_or(0, |found| found.gpu + found.lower).min(self.prompt_tokens)
    }

    /// The chain that the pod's engine would make of the prompt; where nobody knows its kind yet, the model's own.
    pub fn chain_of(&self, state: &SharedState, pod: PodRef) -> Option<&Chain> {
        let shape = state.pods.cache_shape(pod);
        let fits = |chain: &&Chain| {
            chain.kind.variant == shape.variant
                && (shape.block_size == 0 || chain.kind.block_size == shape.block_size)
        };
        self.chains.iter().find(fits).or(self.chains.first())
    }

    /// Tokens in a block of the model's own chain; 0 where nothing was hashed.
    pub fn block_size(&self) -> u32 {
        self.chains.first().map_or(0, |chain| chain.kind.block_size)
    }

    /// Cumulative hashes of the model's own chain.
    pub fn hashes(&self) -> &[SequenceHash] {
        self.chains.first().map_or(&[], |chain| &chain.hashes)
    }
}
