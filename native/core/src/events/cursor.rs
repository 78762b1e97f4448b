//! A reader of MessagePack that builds nothing: it walks over the bytes and answers what it is asked for.
//!
//! Events are mostly token ids, some thousand of them in a message, and a busy fleet sends tens of millions of these a
//! second; a general decoder makes a tree of them first. (Format: <https://github.com/msgpack/msgpack/blob/master/spec.md>.)
//! Lengths that a message claims are held against the bytes that are left, so a lie costs nothing.

/// Why a message could not be read. The number of bytes read before it tells where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too soon, or claims more items than it has bytes.
    #[error("the message ends in the middle of a value")]
    Short,
    /// A value of another type than the place calls for.
    #[error("a {0} is not there where one is due")]
    Expected(&'static str),
    /// Values nest deeper than any event does.
    #[error("values nest too deeply")]
    Deep,
    /// Lists that belong together have different lengths, or a number makes no sense.
    #[error("{0}")]
    Inconsistent(&'static str),
}

/// Nesting of a skipped value; real events have 3.
const MAX_DEPTH: usize = 32;

/// The rest of a message.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// A value whose type only the byte tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Nil,
    Bool,
    /// Signed and unsigned ones as the same 64 bits.
    Int(u64),
    Float(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Array(usize),
    Map(usize),
    Extension,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, Malformed> {
        let mut bytes = [0; 8];
        bytes[8 - N..].copy_from_slice(self.take(N)?);
        Ok(u64::from_be_bytes(bytes))
    }

    /// A length of items that take at least `least` bytes each.
    fn length<const N: usize>(&mut self, least: usize) -> Result<usize, Malformed> {
        let length = self.number::<N>()? as usize;
        self.within(length, least)
    }

    fn within(&self, length: usize, least: usize) -> Result<usize, Malformed> {
        if length.checked_mul(least).is_some_and(|bytes| bytes <= self.0.len()) {
            Ok(length)
        } else {
            Err(Malformed::Short)
        }
    }

    /// The next value; of an array or a map only its length, the items follow.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let first = self.take(1)?[0];
        Ok(match first {
            0x00..=0x7f => Value::Int(first.into()),
            0x80..=0x8f => Value::Map(self.within((first & 0x0f).into(), 2)?),
            0x90..=0x9f => Value::Array(self.within((first & 0x0f).into(), 1)?),
            0xa0..=0xbf => Value::Text(self.take((first & 0x1f).into())?),
            0xc0 => Value::Nil,
            0xc1 => return Err(Malformed::Expected("value")),
            0xc2 | 0xc3 => Value::Bool,
            0xc4 => self.length::<1>(1).and_then(|n| self.take(n)).map(Value::Bytes)?,
            0xc5 => self.length::<2>(1).and_then(|n| self.take(n)).map(Value::Bytes)?,
            0xc6 => self.length::<4>(1).and_then(|n| self.take(n)).map(Value::Bytes)?,
            0xc7 => self.length::<1>(1).and_then(|n| self.extension(n))?,
            0xc8 => self.length::<2>(1).and_then(|n| self.extension(n))?,
            0xc9 => self.length::<4>(1).and_then(|n| self.extension(n))?,
            0xca => Value::Float(f32::from_bits(self.number::<4>()? as u32).into()),
            0xcb => Value::Float(f64::from_bits(self.number::<8>()?)),
            0xcc => Value::Int(self.number::<1>()?),
            0xcd => Value::Int(self.number::<2>()?),
            0xce => Value::Int(self.number::<4>()?),
            0xcf | 0xd3 => Value::Int(self.number::<8>()?),
            0xd0 => Value::Int(self.number::<1>()? as u8 as i8 as u64),
            0xd1 => Value::Int(self.number::<2>()? as u16 as i16 as u64),
            0xd2 => Value::Int(self.number::<4>()? as u32 as i32 as u64),
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4))?,
            0xd9 => self.length::<1>(1).and_then(|n| self.take(n)).map(Value::Text)?,
            0xda => self.length::<2>(1).and_then(|n| self.take(n)).map(Value::Text)?,
            0xdb => self.length::<4>(1).and_then(|n| self.take(n)).map(Value::Text)?,
            0xdc => Value::Array(self.length::<2>(1)?),
            0xdd => Value::Array(self.length::<4>(1)?),
            0xde => Value::Map(self.length::<2>(2)?),
            0xdf => Value::Map(self.length::<4>(2)?),
            0xe0..=0xff => Value::Int(first as i8 as u64),
        })
    }

    /// An extension's type and data.
    fn extension(&mut self, length: usize) -> Result<Value<'a>, Malformed> {
        self.take(length + 1).map(|_| Value::Extension)
    }

    /// The next byte, without taking it.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// A number of 64 bits, as most hashes are; anything else is left for [`Cursor::value`].
    #[inline]
    pub(super) fn wide_int(&mut self) -> Option<u64> {
        let ([0xcf | 0xd3, number @ ..], rest) = self.0.split_first_chunk::<9>()? else { return None };
        self.0 = rest;
        Some(u64::from_be_bytes(*number.first_chunk()?))
    }

    /// Passes over a list in which there is nothing; anything else is left where it is.
    pub(super) fn nils(&mut self) -> bool {
        let mut after = *self;
        let Ok(Value::Array(length)) = after.value() else { return false };
        let Ok(items) = after.take(length) else { return false };
        let all = items.iter().all(|&item| item == 0xc0);
        if all {
            *self = after;
        }
        all
    }

    /// The length of an array, `None` for nil.
    pub(super) fn array(&mut self) -> Result<Option<usize>, Malformed> {
        match self.value()? {
            Value::Array(length) => Ok(Some(length)),
            Value::Nil => Ok(None),
            _ => Err(Malformed::Expected("list")),
        }
    }

    /// A text, `None` for nil.
    pub(super) fn text(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.value()? {
            Value::Text(text) => Ok(Some(text)),
            Value::Nil => Ok(None),
            _ => Err(Malformed::Expected("text")),
        }
    }

    /// A whole number, `None` for nil.
    pub(super) fn int(&mut self) -> Result<Option<u64>, Malformed> {
        match self.value()? {
            Value::Int(int) => Ok(Some(int)),
            Value::Nil => Ok(None),
            _ => Err(Malformed::Expected("number")),
        }
    }

    /// Passes over a value and all that is in it; answers its bytes.
    pub(super) fn skip(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.0;
        // Items still to come, by level.
        let mut open = [0usize; MAX_DEPTH];
        let mut depth = 0;
        open[0] = 1;
        loop {
            while open[depth] == 0 {
                if depth == 0 {
                    return Ok(&before[..before.len() - self.0.len()]);
                }
                depth -= 1;
            }
            open[depth] -= 1;
            let items = match self.value()? {
                Value::Array(length) => length,
                Value::Map(length) => 2 * length,
                _ => continue,
            };
            depth += 1;
            *open.get_mut(depth).ok_or(Malformed::Deep)? = items;
        }
    }

    /// A list of whole numbers below 2^32, appended to `out`: the hot loop of all events. A pair of them, as
    /// speculative decoding's bigram pages have, stands for its first.
    pub(super) fn tokens(&mut self, out: &mut Vec<u32>) -> Result<(), Malformed> {
        let Some(length) = self.array()? else { return Ok(()) };
        out.reserve(length);
        let mut bytes = self.0;
        for _ in 0..length {
            let (token, size) = match *bytes {
                [token @ 0..=0x7f, ..] => (token.into(), 1),
                [0xcd, a, b, ..] => (u32::from_be_bytes([0, 0, a, b]), 3),
                [0xce, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]), 5),
                [0xcc, a, ..] => (a.into(), 2),
                _ => {
                    let mut slow = Self(bytes);
                    let token = slow.odd_token()?;
                    (token, bytes.len() - slow.0.len())
                }
            };
            out.push(token);
            bytes = &bytes[size..];
        }
        self.0 = bytes;
        Ok(())
    }

    /// A token in an unusual form: a 64-bit number, or a pair.
    #[cold]
    fn odd_token(&mut self) -> Result<u32, Malformed> {
        match self.value()? {
            Value::Int(int) => u32::try_from(int).map_err(|_| Malformed::Expected("token id")),
            Value::Array(length @ 1..) => {
                let first = self.int()?.ok_or(Malformed::Expected("token id"))?;
                for _ in 1..length {
                    self.skip()?;
                }
                u32::try_from(first).map_err(|_| Malformed::Expected("token id"))
            }
            _ => Err(Malformed::Expected("token id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmpv::Value as Tree;

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nil),
            any::<bool>().prop_map(Tree::from),
            any::<u64>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            (-40i64..300).prop_map(Tree::from),
            any::<f64>().prop_map(Tree::from),
            ".{0,40}".prop_map(Tree::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Tree::from),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(kind, data)| Tree::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Tree::Map),
            ]
        })
    }

    fn encoded(tree: &Tree) -> Vec<u8> {
        let mut out = Vec::new();
        rmpv::encode::write_value(&mut out, tree).expect("memory");
        out
    }

    fn agrees(cursor: &mut Cursor<'_>, tree: &Tree) -> bool {
        match (cursor.value().expect("well formed"), tree) {
            (Value::Nil, Tree::Nil) | (Value::Bool, Tree::Boolean(_)) | (Value::Extension, Tree::Ext(..)) => {
                true
            }
            (Value::Int(int), Tree::Integer(there)) => {
                there.as_u64().or(there.as_i64().map(|signed| signed as u64)) == Some(int)
            }
            (Value::Float(float), Tree::F64(there)) => float.to_bits() == there.to_bits(),
            (Value::Text(text), Tree::String(there)) => text == there.as_bytes(),
            (Value::Bytes(bytes), Tree::Binary(there)) => bytes == there,
            (Value::Array(length), Tree::Array(there)) => {
                length == there.len() && there.iter().all(|item| agrees(cursor, item))
            }
            (Value::Map(length), Tree::Map(there)) => {
                length == there.len()
                    && there.iter().all(|(key, value)| agrees(cursor, key) && agrees(cursor, value))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn reads_what_another_library_wrote(tree in trees()) {
            let bytes = encoded(&tree);
            let mut cursor = Cursor::new(&bytes);
            prop_assert!(agrees(&mut cursor, &tree));
            prop_assert_eq!(cursor.peek(), None);
            prop_assert_eq!(Cursor::new(&bytes).skip(), Ok(&bytes[..]));
        }

        #[test]
        fn token_ids_in_any_form(tokens in prop::collection::vec((any::<u32>(), 0u8..4, 0u32..30), 0..200)) {
            let as_item = |&(token, form, shift): &(u32, u8, u32)| match form {
                0 => Tree::Array(vec![Tree::from(token >> shift), Tree::from(7)]),
                _ => Tree::from(token >> shift),
            };
            let bytes = encoded(&Tree::Array(tokens.iter().map(as_item).collect()));
            let mut out = Vec::new();
            prop_assert_eq!(Cursor::new(&bytes).tokens(&mut out), Ok(()));
            prop_assert_eq!(out, tokens.iter().map(|&(token, _, shift)| token >> shift).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_to_their_end_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            let _ = Cursor::new(&bytes).tokens(&mut out);
            prop_assert!(out.capacity() <= 4 * 200);
            if let Ok(skipped) = Cursor::new(&bytes).skip() {
                prop_assert!(!skipped.is_empty() && skipped.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_list_that_claims_four_billion_items_costs_nothing() {
        let mut out = Vec::new();
        assert_eq!(Cursor::new(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).tokens(&mut out), Err(Malformed::Short));
        assert_eq!(out.capacity(), 0);
        let deep = [0x91; 100];
        assert_eq!(Cursor::new(&deep).skip(), Err(Malformed::Deep));
    }
}
