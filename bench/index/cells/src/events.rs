//! Events as the peer takes them.

use crate::workload::Block;
use dynamo_kv_router::RouterEvent;
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash,
};

fn event(pod: u16, data: KvCacheEventData) -> RouterEvent {
    RouterEvent::new(u64::from(pod), KvCacheEvent { event_id: 0, data, dp_rank: 0 })
}

pub fn stored(pod: u16, parent: Option<&Block>, blocks: &[Block]) -> RouterEvent {
    let stored = |block: &Block| KvCacheStoredBlockData {
        block_hash: ExternalSequenceBlockHash(block.engine),
        tokens_hash: LocalBlockHash(block.local),
        mm_extra_info: None,
    };
    let data = KvCacheStoreData {
        parent_hash: parent.map(|block| ExternalSequenceBlockHash(block.engine)),
        start_position: None,
        blocks: blocks.iter().map(stored).collect(),
    };
    event(pod, KvCacheEventData::Stored(data))
}

pub fn removed(pod: u16, blocks: &[Block]) -> RouterEvent {
    let block_hashes = blocks.iter().map(|block| ExternalSequenceBlockHash(block.engine)).collect();
    event(pod, KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }))
}

pub fn cleared(pod: u16) -> RouterEvent {
    event(pod, KvCacheEventData::Cleared)
}
