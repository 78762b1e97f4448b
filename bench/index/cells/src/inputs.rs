//! The workload with the hashes of both sides, and its queries in each one's own type.

use crate::shape::Shape;
use crate::workload::{BLOCK_SIZE, Block, Workload};
use dynamo_kv_router::compute_block_hash_for_seq;
use dynamo_kv_router::protocols::{BlockHashOptions, LocalBlockHash, compute_seq_hash_for_block};
use phyllo_core::hash::{Root, SequenceHash, extend_blocks, hash_blocks};

/// Where our chains start.
pub fn root() -> Root {
    Root::new("meta-llama/Llama-3.1-8B-Instruct", None, None, BLOCK_SIZE)
}

/// The peer's hashes of a prompt's blocks.
pub fn local_hashes(tokens: &[u32]) -> Vec<LocalBlockHash> {
    compute_block_hash_for_seq(tokens, BLOCK_SIZE as u32, BlockHashOptions::default())
}

/// A block as both sides hash it.
pub fn next_block(before: Option<&Block>, tokens: &[u32]) -> Block {
    let local = local_hashes(tokens)[0].0;
    let mut sequence = Vec::with_capacity(1);
    let parent = before.map_or_else(|| root().start(), |block| SequenceHash(block.sequence));
    extend_blocks(parent, tokens, BLOCK_SIZE, &mut sequence);
    let engine = before.map_or(local, |block| link_as_peer(block.engine, local));
    Block { local, engine, sequence: sequence[0].0 }
}

/// The peer's chain of hashes, which `compute_seq_hash_for_block` computes for a whole chain at once.
fn link_as_peer(parent: u64, local: u64) -> u64 {
    const SEED: u64 = 1337;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&parent.to_le_bytes());
    bytes[8..].copy_from_slice(&local.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, SEED)
}

/// Queries by conversation.
pub struct Inputs {
    pub tokens: Vec<Vec<u32>>,
    pub local: Vec<Vec<LocalBlockHash>>,
    pub sequence: Vec<Vec<SequenceHash>>,
}

/// The workload and its queries; `tokens` only if asked for.
pub fn build(shape: Shape, tokens: bool) -> (Workload, Inputs) {
    let mut workload = Workload::build(shape, tokens, next_block);
    let inputs = Inputs {
        tokens: std::mem::take(&mut workload.tokens),
        local: per_chain(&workload, |block| LocalBlockHash(block.local)),
        sequence: per_chain(&workload, |block| SequenceHash(block.sequence)),
    };
    let engine = compute_seq_hash_for_block(&inputs.local[0]);
    let ours: Vec<u64> = workload.chains[0].iter().map(|block| block.engine).collect();
    assert_eq!(engine, ours, "the peer chains hashes in another way");
    for (group, tokens) in inputs.tokens.iter().enumerate() {
        let mut sequence = Vec::new();
        hash_blocks(root(), tokens, BLOCK_SIZE, &mut sequence);
        assert_eq!(sequence, inputs.sequence[group], "our chain, block by block, differs from the whole");
        assert_eq!(local_hashes(tokens), inputs.local[group], "so does the peer's");
    }
    (workload, inputs)
}

fn per_chain<T>(workload: &Workload, hash: impl Fn(&Block) -> T) -> Vec<Vec<T>> {
    workload.chains.iter().map(|chain| chain.iter().map(&hash).collect()).collect()
}
