//! A map in order of last use, with the time of it: what both predicted blocks and sessions are kept in.
//!
//! Nodes lie in one vector and are linked by index, so that things first used together lie side by side: touching a
//! conversation's blocks again walks along memory, and the only scattered access of a touch is the map's.

use hashbrown::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys are hashes already; spreading them again would only cost time.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// No node.
const NIL: u32 = u32::MAX;

struct Node<V> {
    key: u64,
    stamp: u64,
    newer: u32,
    older: u32,
    value: V,
}

/// Keys with a value and the time of last use, oldest first out.
pub(crate) struct Lru<V> {
    places: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl<V> Default for Lru<V> {
    fn default() -> Self {
        Self { places: HashMap::default(), nodes: Vec::new(), free: Vec::new(), newest: NIL, oldest: NIL }
    }
}

impl<V: Copy> Lru<V> {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The value and time of last use of a key, which this is not.
    pub(crate) fn peek(&self, key: u64) -> Option<(V, u64)> {
        let node = &self.nodes[*self.places.get(&key)? as usize];
        Some((node.value, node.stamp))
    }

    /// Makes room for those of the keys that are not here yet. The searches for them do not depend on each other, as
    /// later ones that also change the order do, so their cache misses overlap, and the later ones find all in the
    /// cache.
    pub(crate) fn prepare(&mut self, keys: impl Iterator<Item = u64>) {
        let new = keys.filter(|key| !self.places.contains_key(key)).count();
        self.places.reserve(new);
        self.nodes.reserve(new.saturating_sub(self.free.len()));
    }

    /// Uses a key now, with a new value. Answers whether it is new.
    pub(crate) fn put(&mut self, key: u64, value: V, now: u64) -> bool {
        let Self { places, nodes, free, .. } = self;
        let mut new = false;
        let place = *places.entry(key).or_insert_with(|| {
            new = true;
            let node = Node { key, stamp: now, newer: NIL, older: NIL, value };
            match free.pop() {
                Some(place) => {
                    nodes[place as usize] = node;
                    place
                }
                None => {
                    nodes.push(node);
                    nodes.len() as u32 - 1
                }
            }
        });
        if !new {
            let node = &mut self.nodes[place as usize];
            node.value = value;
            node.stamp = now;
            if self.newest == place {
                return false;
            }
            self.unlink(place);
        }
        self.link_newest(place);
        new
    }

    fn unlink(&mut self, place: u32) {
        let Node { newer, older, .. } = self.nodes[place as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let second = std::mem::replace(&mut self.newest, place);
        let node = &mut self.nodes[place as usize];
        node.newer = NIL;
        node.older = second;
        match self.nodes.get_mut(second as usize) {
            Some(node) => node.newer = place,
            None => self.oldest = place,
        }
    }

    /// Heap bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.places.allocation_size()
            + self.nodes.capacity() * size_of::<Node<V>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// Gives back the memory of a past that was more than an eighth larger.
    pub(crate) fn shrink(&mut self) {
        if self.nodes.len() * 8 <= self.places.len() * 9 {
            return;
        }
        let mut nodes = Vec::with_capacity(self.places.len());
        let mut place = self.oldest;
        self.places.clear();
        while let Some(&Node { key, stamp, newer, value, .. }) = self.nodes.get(place as usize) {
            let at = nodes.len() as u32;
            self.places.insert(key, at);
            // In order, so the neighbours are the ones before and behind.
            nodes.push(Node { key, stamp, newer: at + 1, older: at.wrapping_sub(1), value });
            place = newer;
        }
        if let Some(last) = nodes.last_mut() {
            last.newer = NIL;
        }
        self.oldest = if nodes.is_empty() { NIL } else { 0 };
        self.newest = (nodes.len() as u32).wrapping_sub(1);
        self.nodes = nodes;
        self.free = Vec::new();
        self.places.shrink_to_fit();
    }

    /// Takes out the key that was not used for longest, if its last use was before or at `limit`.
    pub(crate) fn pop_oldest(&mut self, limit: u64) -> Option<u64> {
        let place = self.oldest;
        let node = self.nodes.get(place as usize).filter(|node| node.stamp <= limit)?;
        let key = node.key;
        self.take(key);
        Some(key)
    }

    /// Takes out a key; answers whether it was there.
    pub(crate) fn take(&mut self, key: u64) -> bool {
        let Some(place) = self.places.remove(&key) else { return false };
        self.unlink(place);
        self.free.push(place);
        if self.places.is_empty() {
            // Nothing is left: give the memory of a large past back.
            *self = Self::default();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a vector in order of use.
        #[test]
        fn keeps_order_values_and_times(steps in prop::collection::vec((0u8..6, 0u64..12), 0..200)) {
            let mut lru = Lru::default();
            let mut model: Vec<(u64, u64, u64)> = Vec::new();
            for (now, &(step, key)) in (0u64..).zip(&steps) {
                match step {
                    5 if key == 0 => lru.shrink(),
                    4 => {
                        let at = model.iter().position(|held| held.0 == key);
                        prop_assert_eq!(lru.take(key), at.is_some());
                        at.map(|at| model.remove(at));
                    }
                    0 => {
                        let limit = now.saturating_sub(key);
                        let due = model.first().is_some_and(|first| first.2 <= limit);
                        let expected = due.then(|| model.remove(0).0);
                        prop_assert_eq!(lru.pop_oldest(limit), expected);
                    }
                    _ => {
                        let at = model.iter().position(|held| held.0 == key);
                        at.map(|at| model.remove(at));
                        model.push((key, now * 10, now));
                        prop_assert_eq!(lru.put(key, now * 10, now), at.is_none());
                    }
                }
                prop_assert_eq!(lru.len(), model.len());
                for &(key, value, stamp) in &model {
                    prop_assert_eq!(lru.peek(key), Some((value, stamp)));
                }
            }
            for (key, _, _) in model {
                prop_assert_eq!(lru.pop_oldest(u64::MAX), Some(key));
            }
            prop_assert_eq!(lru.pop_oldest(u64::MAX), None);
        }
    }
}
