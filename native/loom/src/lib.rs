//! The index's sources over loom's atomics, twice: as they are, and (the negative control) with every ordering relaxed.

// Each tree uses of the sources what the models need.
#![allow(dead_code)]

#[path = "../../core/src/hash.rs"]
pub mod hash;
#[path = "../../core/src/prefetch.rs"]
mod prefetch;

/// What the index needs of the pods, with fewer slots.
#[path = "."]
pub mod pods {
    #[path = "../../core/src/pods/pod_ref.rs"]
    mod pod_ref;
    pub use pod_ref::PodRef;

    /// One word of them.
    pub const MAX_SLOTS: usize = 64;
}

macro_rules! index_over {
    ($sync:literal) => {
        #[path = "../../core/src/index/arena.rs"]
        mod arena;
        #[path = "../../core/src/index/blocks.rs"]
        mod blocks;
        #[path = "../../core/src/index/books.rs"]
        mod books;
        #[path = "../../core/src/index/chain.rs"]
        mod chain;
        #[path = "../../core/src/index/chains.rs"]
        mod chains;
        #[path = "../../core/src/index/draft.rs"]
        mod draft;
        #[path = "../../core/src/index/forest.rs"]
        mod forest;
        #[path = "../../core/src/index/garbage.rs"]
        mod garbage;
        #[path = "../../core/src/index/key.rs"]
        mod key;
        #[path = "model.rs"]
        mod model;
        #[path = "../../core/src/index/pool.rs"]
        mod pool;
        #[path = "../../core/src/index/publish.rs"]
        mod publish;
        #[path = "../../core/src/index/search.rs"]
        mod search;
        #[path = "../../core/src/index/slots.rs"]
        mod slots;
        #[path = $sync]
        mod sync;
        #[path = "../../core/src/index/table.rs"]
        mod table;
        #[path = "../../core/src/index/writer.rs"]
        mod writer;

        pub use model::Model;
    };
}

/// As it is.
#[path = "."]
pub mod index {
    index_over!("../../core/src/index/sync.rs");
}

/// Without its orderings: models that pass here prove nothing.
#[path = "."]
pub mod relaxed {
    index_over!("relaxed_sync.rs");
}
