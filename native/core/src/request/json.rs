//! A JSON value, validated and skipped without recursion or allocation.

use super::scan::ScanCode;
use super::text::{Fault, skip_string};

/// Nested containers a body may have, the outermost object counted. serde_json stops at 127, pydantic's parser at
/// 200; real tool schemas stay under 20. 128 lets one `u128` be the whole stack: a bit per open container.
pub const MAX_DEPTH: u32 = 128;

/// Kinds of JSON values, as bits, so that a set of kinds is a byte.
pub(super) mod kind {
    pub const NULL: u8 = 1;
    pub const BOOL: u8 = 2;
    /// A number written without fraction or exponent.
    pub const INT: u8 = 4;
    pub const FLOAT: u8 = 8;
    pub const STRING: u8 = 16;
    pub const ARRAY: u8 = 32;
    pub const OBJECT: u8 = 64;
}

/// Which kinds of values a value has in it, by depth: `[itself, its elements, their elements]`. Enough to tell a
/// prompt that is a string from a batch of strings, token ids or a batch of token ids.
pub(super) type Shape = [u8; 3];

/// First index from `at` on that is not white space.
#[inline]
pub(super) fn skip_space(body: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = body.get(at) {
        at += 1;
    }
    at
}

/// Skips one value that starts at `at` inside `depth` open containers. Answers the index after it.
#[inline]
pub(super) fn skip_value(body: &[u8], at: usize, depth: u32, shape: &mut Shape) -> Result<usize, Fault> {
    if let Some(b'{' | b'[') = body.get(at) {
        return skip_container(body, at, depth, shape);
    }
    let (end, kind) = skip_scalar(body, at)?;
    shape[0] |= kind;
    Ok(end)
}

/// A stack of open containers as bits: 1 for an object, 0 for an array.
struct Open {
    bits: u128,
    count: u32,
}

impl Open {
    fn push(&mut self, object: bool) {
        self.bits = self.bits << 1 | u128::from(object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.count -= 1;
    }

    fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }
}

fn skip_container(body: &[u8], mut at: usize, depth: u32, shape: &mut Shape) -> Result<usize, Fault> {
    let mut open = Open { bits: 0, count: 0 };
    loop {
        // Here a value starts.
        let level = open.count as usize;
        let kind = match body.get(at) {
            Some(&opening @ (b'{' | b'[')) => {
                if depth + open.count >= MAX_DEPTH {
                    return Err((ScanCode::TooDeep, at));
                }
                let object = opening == b'{';
                if level < 3 {
                    shape[level] |= if object { kind::OBJECT } else { kind::ARRAY };
                }
                at = skip_space(body, at + 1);
                if body.get(at) != Some(if object { &b'}' } else { &b']' }) {
                    open.push(object);
                    if object {
                        at = skip_key(body, at)?.1;
                    }
                    continue;
                }
                at += 1;
                0
            }
            _ => {
                let (end, kind) = skip_scalar(body, at)?;
                at = end;
                kind
            }
        };
        if level < 3 {
            shape[level] |= kind;
        }
        // Here a value has ended: a comma goes on, brackets close one container after another.
        loop {
            if open.count == 0 {
                return Ok(at);
            }
            at = skip_space(body, at);
            match body.get(at) {
                Some(b',') => {
                    at = skip_space(body, at + 1);
                    if open.in_object() {
                        at = skip_key(body, at)?.1;
                    }
                    break;
                }
                Some(b'}') if open.in_object() => open.pop(),
                Some(b']') if !open.in_object() => open.pop(),
                _ => return Err((ScanCode::BadJson, at)),
            }
            at += 1;
        }
    }
}

/// A key and its colon. Answers the key's end (after the closing quote), the index of the value, and whether the key
/// has escapes.
#[inline]
pub(super) fn skip_key(body: &[u8], at: usize) -> Result<(usize, usize, bool), Fault> {
    if body.get(at) != Some(&b'"') {
        return Err((ScanCode::BadJson, at));
    }
    let (end, escaped) = skip_string(body, at + 1)?;
    let colon = skip_space(body, end);
    if body.get(colon) != Some(&b':') {
        return Err((ScanCode::BadJson, colon));
    }
    Ok((end, skip_space(body, colon + 1), escaped))
}

#[inline]
fn skip_scalar(body: &[u8], at: usize) -> Result<(usize, u8), Fault> {
    match body.get(at) {
        Some(b'"') => Ok((skip_string(body, at + 1)?.0, kind::STRING)),
        Some(b'-' | b'0'..=b'9') => skip_number(body, at),
        Some(b't') => Ok((skip_literal(body, at, b"true")?, kind::BOOL)),
        Some(b'f') => Ok((skip_literal(body, at, b"false")?, kind::BOOL)),
        Some(b'n') => Ok((skip_literal(body, at, b"null")?, kind::NULL)),
        // Not ASCII outside of a string: if it is not UTF-8 either, say so, since that is the cause to look for.
        Some(0x80..) if std::str::from_utf8(&body[at..]).is_err_and(|error| error.valid_up_to() == 0) => {
            Err((ScanCode::BadUtf8, at))
        }
        _ => Err((ScanCode::BadJson, at)),
    }
}

fn skip_literal(body: &[u8], at: usize, literal: &[u8]) -> Result<usize, Fault> {
    let matching = body[at..].iter().zip(literal).take_while(|(a, b)| a == b).count();
    if matching == literal.len() { Ok(at + matching) } else { Err((ScanCode::BadJson, at + matching)) }
}

fn skip_digits(body: &[u8], at: usize) -> Result<usize, Fault> {
    let count = body[at.min(body.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err((ScanCode::BadJson, at)) } else { Ok(at + count) }
}

fn skip_number(body: &[u8], mut at: usize) -> Result<(usize, u8), Fault> {
    let mut kind = kind::INT;
    if body[at] == b'-' {
        at += 1;
    }
    at = if body.get(at) == Some(&b'0') { at + 1 } else { skip_digits(body, at)? };
    if body.get(at) == Some(&b'.') {
        kind = kind::FLOAT;
        at = skip_digits(body, at + 1)?;
    }
    if let Some(b'e' | b'E') = body.get(at) {
        kind = kind::FLOAT;
        at += 1;
        if let Some(b'+' | b'-') = body.get(at) {
            at += 1;
        }
        at = skip_digits(body, at)?;
    }
    Ok((at, kind))
}
