//! One published batch: `[ts, events, data_parallel_rank]`, as vLLM and SGLang write it.
//!
//! Events are maps with a `type` (vLLM from 0.24 on, SGLang) or arrays that start with it, their fields in vLLM's order
//! (before). Fields that are not known here, at the end of an array or anywhere in a map, are passed over: engines
//! add some with every other version. (vllm/distributed/kv_events.py, sglang/srt/disaggregation/kv_events.py.)

use super::cursor::{Cursor, Malformed, Value};
use crate::exact::EngineHash;
use xxhash_rust::xxh3::xxh3_64;

/// Largest block that is believed: the largest page in use is 2,096 tokens.
const MAX_BLOCK_SIZE: u64 = 65_536;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The GPU's own memory; what is meant where nothing is said.
    Gpu,
    /// A slower tier, by a number made of its name: CPU, CPU_PINNED, DISK, STORAGE, EXTERNAL, …
    Lower(u64),
}

impl Medium {
    fn of(name: Option<&[u8]>) -> Self {
        match name {
            None | Some(b"GPU" | b"gpu" | b"HBM" | b"device") => Self::Gpu,
            Some(name) => Self::Lower(xxh3_64(name) | 1),
        }
    }
}

/// Blocks were cached.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The blocks, in order.
    pub hashes: &'a [EngineHash],
    /// The block before the first; `None` if that starts a prompt.
    pub parent: Option<EngineHash>,
    /// Their tokens, `block_size` a block; empty where the blocks are copies of ones that were told with theirs.
    pub tokens: &'a [u32],
    /// Tokens in a block.
    pub block_size: u32,
    /// Where they lie.
    pub medium: Medium,
    /// The LoRA adapter's name.
    pub lora: Option<&'a [u8]>,
    /// The request's cache salt.
    pub salt: Option<&'a [u8]>,
    /// What else tells the blocks apart (an image's hash, …): block, and a number made of all that is said of it.
    pub extras: &'a [(u32, u64)],
    /// KV group of a hybrid model.
    pub group: u32,
    /// Kind of its attention, such as `full_attention`.
    pub kind: Option<&'a [u8]>,
}

/// Copies of blocks were dropped.
#[derive(Debug)]
pub struct Removed<'a> {
    /// The blocks.
    pub hashes: &'a [EngineHash],
    /// Where they lay.
    pub medium: Medium,
    /// KV group of a hybrid model.
    pub group: u32,
}

/// Whoever is told.
pub trait Sink {
    /// Blocks were cached.
    fn stored(&mut self, event: &Stored<'_>) -> Result<(), Malformed>;
    /// Copies of blocks were dropped.
    fn removed(&mut self, event: &Removed<'_>);
    /// The whole cache was emptied.
    fn cleared(&mut self);
}

/// Memory that decoding uses again and again.
#[derive(Default)]
pub struct Scratch {
    hashes: Vec<EngineHash>,
    tokens: Vec<u32>,
    extras: Vec<(u32, u64)>,
}

/// Most memory that a scratch keeps after an event: of 16,384 blocks of 16 tokens.
const KEPT: usize = 1 << 18;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Seconds since the epoch by the engine's clock.
    pub ts: f64,
    /// Data-parallel rank, where the engine tells.
    pub rank: Option<u32>,
}

/// Reads a batch and tells the sink of its events, in order. An error leaves the events before it told.
pub fn read(payload: &[u8], scratch: &mut Scratch, sink: &mut impl Sink) -> Result<Head, Malformed> {
    walk(payload, |cursor| {
        let events = cursor.array()?.unwrap_or(0);
        (0..events).try_for_each(|_| event(cursor, scratch, sink))
    })
}

/// Reads only what a batch says of itself.
pub fn head(payload: &[u8]) -> Result<Head, Malformed> {
    walk(payload, |cursor| cursor.skip().map(drop))
}

/// When a batch was made; cheaper than [`head`], and `None` where the batch cannot be read.
pub fn timestamp(payload: &[u8]) -> Option<f64> {
    let mut cursor = Cursor::new(payload);
    match cursor.value() {
        Ok(Value::Array(1..)) => seconds(&mut cursor).ok(),
        Ok(Value::Map(_)) => head(payload).ok().map(|head| head.ts),
        _ => None,
    }
}

fn walk<'a>(
    payload: &'a [u8],
    mut events: impl FnMut(&mut Cursor<'a>) -> Result<(), Malformed>,
) -> Result<Head, Malformed> {
    let mut cursor = Cursor::new(payload);
    let mut head = Head { ts: f64::NAN, rank: None };
    match cursor.value()? {
        Value::Array(length @ 2..) => {
            head.ts = seconds(&mut cursor)?;
            events(&mut cursor)?;
            if length > 2 {
                head.rank = rank(&mut cursor)?;
            }
        }
        Value::Map(length) => {
            for _ in 0..length {
                match cursor.text()? {
                    Some(b"ts") => head.ts = seconds(&mut cursor)?,
                    Some(b"events") => events(&mut cursor)?,
                    Some(b"data_parallel_rank") => head.rank = rank(&mut cursor)?,
                    _ => drop(cursor.skip()?),
                }
            }
        }
        _ => return Err(Malformed::Expected("batch of events")),
    }
    Ok(head)
}

fn seconds(cursor: &mut Cursor<'_>) -> Result<f64, Malformed> {
    match cursor.value()? {
        Value::Float(ts) => Ok(ts),
        Value::Int(ts) => Ok(ts as f64),
        Value::Nil => Ok(f64::NAN),
        _ => Err(Malformed::Expected("timestamp")),
    }
}

fn rank(cursor: &mut Cursor<'_>) -> Result<Option<u32>, Malformed> {
    Ok(cursor.int()?.and_then(|rank| u32::try_from(rank).ok()))
}

/// The fields of events, in the order of vLLM's arrays.
const STORED: [&[u8]; 10] = [
    b"block_hashes",
    b"parent_block_hash",
    b"token_ids",
    b"block_size",
    b"lora_id",
    b"medium",
    b"lora_name",
    b"extra_keys",
    b"group_idx",
    b"kv_cache_spec_kind",
];
const REMOVED: [&[u8]; 3] = [b"block_hashes", b"medium", b"group_idx"];

/// What has been read of an event so far.
#[derive(Default)]
struct Fields<'a> {
    parent: Option<EngineHash>,
    block_size: u64,
    medium: Option<&'a [u8]>,
    lora_id: Option<u64>,
    lora: Option<&'a [u8]>,
    salt: Option<&'a [u8]>,
    /// Read last, for the adapter's name is among them too.
    extra_keys: Option<Cursor<'a>>,
    group: u32,
    kind: Option<&'a [u8]>,
}

fn event<'a>(cursor: &mut Cursor<'a>, scratch: &mut Scratch, sink: &mut impl Sink) -> Result<(), Malformed> {
    scratch.hashes.clear();
    scratch.tokens.clear();
    let mut fields = Fields::default();
    let tag = match cursor.value()? {
        Value::Array(length @ 1..) => {
            let tag = cursor.text()?.unwrap_or_default();
            let names: &[&[u8]] = match tag {
                b"BlockStored" => &STORED,
                b"BlockRemoved" => &REMOVED,
                _ => &[],
            };
            for at in 1..length {
                field(cursor, names.get(at - 1).copied().unwrap_or_default(), &mut fields, scratch)?;
            }
            tag
        }
        Value::Map(length) => {
            let mut tag: &[u8] = b"";
            for _ in 0..length {
                match cursor.text()?.unwrap_or_default() {
                    b"type" => tag = cursor.text()?.unwrap_or_default(),
                    name => field(cursor, name, &mut fields, scratch)?,
                }
            }
            tag
        }
        _ => return Err(Malformed::Expected("event")),
    };
    tell(tag, &fields, scratch, sink)
}

fn field<'a>(
    cursor: &mut Cursor<'a>,
    name: &[u8],
    fields: &mut Fields<'a>,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    match name {
        b"block_hashes" => {
            let length = cursor.array()?.unwrap_or(0);
            scratch.hashes.reserve(length);
            for _ in 0..length {
                let next = match cursor.wide_int() {
                    Some(int) => EngineHash(int),
                    None => hash(cursor)?.ok_or(Malformed::Expected("block hash"))?,
                };
                scratch.hashes.push(next);
            }
        }
        b"token_ids" => cursor.tokens(&mut scratch.tokens)?,
        b"parent_block_hash" => fields.parent = hash(cursor)?,
        b"block_size" => fields.block_size = cursor.int()?.unwrap_or(0),
        b"medium" => fields.medium = cursor.text()?,
        b"lora_id" => fields.lora_id = cursor.int()?,
        b"lora_name" => fields.lora = cursor.text()?,
        b"cache_salt" => fields.salt = cursor.text()?,
        b"extra_keys" if cursor.nils() => {}
        b"extra_keys" => fields.extra_keys = Some(Cursor::new(cursor.skip()?)),
        b"group_idx" => fields.group = cursor.int()?.unwrap_or(0) as u32,
        b"kv_cache_spec_kind" => fields.kind = cursor.text()?,
        _ => drop(cursor.skip()?),
    }
    Ok(())
}

/// An engine's hash: a number, signed or not, or bytes, of which the low 64 bits stand for all (as in vLLM's own
/// numbers).
fn hash(cursor: &mut Cursor<'_>) -> Result<Option<EngineHash>, Malformed> {
    Ok(Some(EngineHash(match cursor.value()? {
        Value::Int(hash) => hash,
        Value::Bytes(bytes) | Value::Text(bytes) => {
            let low = bytes.last_chunk::<8>().ok_or(Malformed::Expected("block hash"))?;
            u64::from_be_bytes(*low)
        }
        Value::Nil => return Ok(None),
        _ => return Err(Malformed::Expected("block hash")),
    })))
}

fn tell(
    tag: &[u8],
    fields: &Fields<'_>,
    scratch: &mut Scratch,
    sink: &mut impl Sink,
) -> Result<(), Malformed> {
    let medium = Medium::of(fields.medium);
    match tag {
        b"BlockStored" => {
            let blocks = scratch.hashes.len() as u64;
            if !scratch.tokens.is_empty()
                && (!(1..=MAX_BLOCK_SIZE).contains(&fields.block_size)
                    || blocks.checked_mul(fields.block_size) != Some(scratch.tokens.len() as u64))
            {
                return Err(Malformed::Inconsistent("the number of tokens is not that of the blocks"));
            }
            let mut salt = fields.salt;
            scratch.extras.clear();
            // An adapter that is told by its number alone cannot be told from another process's: its own name.
            let number;
            let lora = match (fields.lora, fields.lora_id) {
                (None, Some(id)) => {
                    number = id.to_be_bytes();
                    Some(&number[..])
                }
                (lora, _) => lora,
            };
            if let Some(keys) = fields.extra_keys {
                extras(keys, fields, &mut salt, &mut scratch.extras)?;
            }
            sink.stored(&Stored {
                hashes: &scratch.hashes,
                parent: fields.parent,
                tokens: &scratch.tokens,
                block_size: fields.block_size as u32,
                medium,
                lora,
                salt,
                extras: &scratch.extras,
                group: fields.group,
                kind: fields.kind,
            })?;
        }
        b"BlockRemoved" => {
            sink.removed(&Removed { hashes: &scratch.hashes, medium, group: fields.group });
        }
        b"AllBlocksCleared" => sink.cleared(),
        // Kinds that later versions may have say nothing of blocks that is known here.
        _ => {}
    }
    if scratch.hashes.capacity() + scratch.tokens.capacity() > KEPT {
        *scratch = Scratch::default();
    }
    Ok(())
}

/// vLLM's extra keys, a list per block: the adapter's name, images' hashes, and for a prompt's first block its cache
/// salt, in this order (vllm/v1/core/kv_cache_utils.py, `generate_block_hash_extra_keys`). The name is told by its own
/// field; a text that comes last for a first block is the salt. (It may be an image that starts the prompt. Its blocks
/// are then under a root that no request of the router's has, which is right: they are not the tokens' alone.)
fn extras<'a>(
    mut keys: Cursor<'a>,
    fields: &Fields<'a>,
    salt: &mut Option<&'a [u8]>,
    out: &mut Vec<(u32, u64)>,
) -> Result<(), Malformed> {
    for block in 0..keys.array()?.unwrap_or(0) {
        if keys.peek() == Some(0xc0) {
            keys.skip()?;
            continue;
        }
        let count = match keys.value()? {
            Value::Array(count) => count,
            _ => return Err(Malformed::Expected("list of extra keys")),
        };
        let mut digest = 0u64;
        for at in 0..count {
            let raw = keys.skip()?;
            let text = Cursor::new(raw).text().ok().flatten();
            if text.is_some() && text == fields.lora {
                continue;
            }
            let starts_prompt = block == 0 && fields.parent.is_none();
            if starts_prompt && at + 1 == count && salt.is_none() && text.is_some() {
                *salt = text;
                continue;
            }
            if text.is_some() && text == *salt {
                continue;
            }
            digest = digest.rotate_left(17) ^ xxh3_64(raw) | 1;
        }
        if digest != 0 {
            out.push((block as u32, digest));
        }
    }
    Ok(())
}
