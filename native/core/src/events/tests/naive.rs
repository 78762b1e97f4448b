//! What an engine's events say, kept as plainly as can be: by another library's decoder, in whole prompts.

use rmpv::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A prompt up to the end of a block, and the salt it is under.
pub(super) type Prefix = (Option<String>, Vec<u32>);

#[derive(Default)]
pub(super) struct Naive {
    /// Copies by engine hash.
    copies: BTreeMap<Vec<u8>, (u32, Prefix)>,
    /// Every prompt that was ever cached.
    pub(super) seen: BTreeSet<Prefix>,
    pub(super) block_size: usize,
    pub(super) clears: usize,
    pub(super) stores: usize,
    pub(super) removals: usize,
}

impl Naive {
    pub(super) fn apply(&mut self, payload: &[u8]) {
        let batch = rmpv::decode::read_value(&mut &payload[..]).expect("MessagePack");
        for event in batch[1].as_array().expect("events") {
            let field = |name: &str, at: usize| match event {
                Value::Map(_) => event[name].clone(),
                _ => event.as_array().and_then(|fields| fields.get(at)).cloned().unwrap_or(Value::Nil),
            };
            match field("type", 0).as_str().expect("a type") {
                "BlockStored" => self.store(&field),
                "BlockRemoved" => {
                    for hash in field("block_hashes", 1).as_array().expect("hashes") {
                        self.remove(hash);
                    }
                }
                "AllBlocksCleared" => {
                    self.clears += 1;
                    self.copies.clear();
                }
                other => panic!("{other}"),
            }
        }
    }

    fn store(&mut self, field: &dyn Fn(&str, usize) -> Value) {
        self.block_size = field("block_size", 4).as_u64().expect("a size") as usize;
        let parent = field("parent_block_hash", 2);
        let extra = field("extra_keys", 8);
        let in_keys = extra.as_array().and_then(|keys| keys[0].as_array()?[0].as_str().map(str::to_owned));
        let salt = field("cache_salt", 99).as_str().map(str::to_owned).or(in_keys);
        let (salt, mut tokens) =
            if parent.is_nil() { (salt, Vec::new()) } else { self.copies[&key(&parent)].1.clone() };
        let new = field("token_ids", 3);
        let new: Vec<u32> = new
            .as_array()
            .expect("tokens")
            .iter()
            .map(|token| token.as_u64().expect("a token") as u32)
            .collect();
        let hashes = field("block_hashes", 1);
        for (hash, block) in hashes.as_array().expect("hashes").iter().zip(new.chunks(self.block_size)) {
            tokens.extend(block);
            self.stores += 1;
            let prefix = (salt.clone(), tokens.clone());
            self.seen.insert(prefix.clone());
            self.copies.entry(key(hash)).or_insert((0, prefix)).0 += 1;
        }
    }

    fn remove(&mut self, hash: &Value) {
        self.removals += 1;
        if let Some((copies, _)) = self.copies.get_mut(&key(hash)) {
            *copies -= 1;
            if *copies == 0 {
                self.copies.remove(&key(hash));
            }
        }
    }

    /// Leading blocks of a prompt that are held.
    pub(super) fn depth(&self, (salt, tokens): &Prefix) -> u32 {
        let held: BTreeSet<&Prefix> = self.copies.values().map(|(_, prefix)| prefix).collect();
        let prefixes = (1..=tokens.len() / self.block_size).map(|n| tokens[..n * self.block_size].to_vec());
        prefixes.take_while(|prefix| held.contains(&(salt.clone(), prefix.clone()))).count() as u32
    }

    pub(super) fn blocks(&self) -> usize {
        self.copies.len()
    }
}

fn key(hash: &Value) -> Vec<u8> {
    match hash {
        Value::Binary(bytes) => bytes.clone(),
        other => other.to_string().into_bytes(),
    }
}
