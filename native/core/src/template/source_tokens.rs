//! A template's source as tags and tokens: as much of Jinja's syntax as it takes to find loops and sums.

use std::ops::Range;

/// A token of an expression. Numbers are names here; nothing asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Str(&'a str),
    Op(char),
}

/// A tag of a template, outside of comments and raw blocks.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    /// `{% … %}`, as against `{{ … }}`.
    pub statement: bool,
    pub tokens: Vec<Token<'a>>,
    /// Where each token stands in the source.
    pub places: Vec<Range<usize>>,
}

impl<'a> Tag<'a> {
    /// For `{% for x in iterated if … %}`: which of the tokens are the target, and which the iterated expression.
    pub(super) fn loop_parts(&self) -> Option<(Range<usize>, Range<usize>)> {
        if !self.statement || self.tokens.first() != Some(&Token::Name("for")) {
            return None;
        }
        let separator = self.tokens.iter().position(|token| *token == Token::Name("in"))?;
        let start = separator + 1;
        let mut depth = 0;
        let end = self.tokens[start..].iter().position(|token| {
            depth += token.opens();
            depth == 0 && matches!(token, Token::Name("if" | "recursive"))
        });
        Some((1..separator, start..end.map_or(self.tokens.len(), |length| start + length)))
    }

    /// For `{% set target = assigned %}`: the tokens of both.
    pub(super) fn assignment(&self) -> Option<(&[Token<'a>], &[Token<'a>])> {
        if !self.statement || self.tokens.first() != Some(&Token::Name("set")) {
            return None;
        }
        let separator = self.tokens.iter().position(|token| *token == Token::Op('='))?;
        Some((&self.tokens[1..separator], &self.tokens[separator + 1..]))
    }
}

impl Token<'_> {
    /// 1 for an opening bracket, -1 for a closing one.
    pub(super) fn opens(&self) -> i32 {
        match self {
            Token::Op('(' | '[' | '{') => 1,
            Token::Op(')' | ']' | '}') => -1,
            _ => 0,
        }
    }
}

/// All tags, in the order of the source.
pub(super) fn tags(source: &str) -> Vec<Tag<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = source[at..].find('{') {
        at += open + 1;
        match source.as_bytes().get(at) {
            Some(b'#') => at = source[at..].find("#}").map_or(source.len(), |end| at + end + 2),
            Some(kind @ (b'{' | b'%')) => {
                let (tag, end) = tag(source, at + 1, *kind == b'%');
                at = end;
                if tag.tokens == [Token::Name("raw")] {
                    at = after_raw(source, at);
                } else {
                    found.push(tag);
                }
            }
            _ => {}
        }
    }
    found
}

fn after_raw(source: &str, at: usize) -> usize {
    let end = source[at..].find("endraw").map_or(source.len(), |end| at + end);
    source[end..].find("%}").map_or(source.len(), |close| end + close + 2)
}

/// The tag whose tokens begin at `at`, and the index after it.
fn tag(source: &str, mut at: usize, statement: bool) -> (Tag<'_>, usize) {
    let end = if statement { "%}" } else { "}}" };
    let mut tag = Tag { statement, tokens: Vec::new(), places: Vec::new() };
    let mut depth = 0;
    while let Some(c) = source[at..].chars().next() {
        // In `{{ {"a": {}}}}` the first `}}` closes dicts.
        if depth <= 0 && source[at..].starts_with(end) {
            if let Some(Token::Op('-' | '+')) = tag.tokens.last() {
                tag.tokens.pop();
                tag.places.pop();
            }
            return (tag, at + 2);
        }
        let (token, length) = token(&source[at..], c);
        let sign = tag.tokens.is_empty() && matches!(c, '-' | '+');
        if let Some(token) = token.filter(|_| !sign) {
            depth += token.opens();
            tag.tokens.push(token);
            tag.places.push(at..at + length);
        }
        at += length;
    }
    (tag, source.len())
}

fn token(rest: &str, first: char) -> (Option<Token<'_>>, usize) {
    match first {
        '\'' | '"' => {
            let inner = &rest[1..];
            let close = string_end(inner, first);
            (Some(Token::Str(&inner[..close])), (close + 2).min(rest.len()))
        }
        _ if first.is_alphanumeric() || first == '_' => {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Some(Token::Name(&rest[..length])), length)
        }
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ => (Some(Token::Op(first)), first.len_utf8()),
    }
}

fn string_end(inner: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at,
            _ => {}
        }
    }
    inner.len()
}
