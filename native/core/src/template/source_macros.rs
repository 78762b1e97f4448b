//! Macros of a template, and which of their parameters are given a message's content.

use super::content_format::is_access;
use super::source_tokens::{Tag, Token};
use std::ops::Range;

/// A macro's definition.
pub(super) struct Macro<'a> {
    /// The tags between its beginning and its end.
    pub body: Range<usize>,
    /// Parameters that some call gives a message's content.
    pub content: Vec<&'a str>,
}

/// All macros, outer ones before those inside of them. `messages`: names of loop variables that are messages.
pub(super) fn macros<'a>(tags: &[Tag<'a>], messages: &[&str]) -> Vec<Macro<'a>> {
    let mut found: Vec<Macro<'a>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (at, tag) in tags.iter().enumerate().filter(|(_, tag)| tag.statement) {
        match &tag.tokens[..] {
            [Token::Name("macro"), Token::Name(name), parameters @ ..] => {
                let content = given_content(tags, name, &names(parameters), messages);
                open.push(found.len());
                found.push(Macro { body: at..tags.len(), content });
            }
            [Token::Name("endmacro"), ..] => {
                if let Some(index) = open.pop() {
                    found[index].body.end = at;
                }
            }
            _ => {}
        }
    }
    found
}

/// The names of `(a, b=1, …)`.
fn names<'a>(parameters: &[Token<'a>]) -> Vec<&'a str> {
    let name = |argument: &[Token<'a>]| match argument.first() {
        Some(Token::Name(name)) => Some(*name),
        _ => None,
    };
    arguments(parameters).into_iter().filter_map(name).collect()
}

/// Which parameters of the macro are given a message's content in a call.
fn given_content<'a>(
    tags: &[Tag<'a>],
    name: &str,
    parameters: &[&'a str],
    messages: &[&str],
) -> Vec<&'a str> {
    let is_content =
        |value: &[Token<'_>]| messages.iter().any(|name| is_access(value, name, Some("content")));
    let mut given = Vec::new();
    for tag in tags {
        for at in (0..tag.tokens.len()).filter(|&at| is_call(&tag.tokens, at, name)) {
            let mut position = 0;
            for argument in arguments(&tag.tokens[at + 1..]) {
                let (parameter, value) = match argument {
                    [Token::Name(key), Token::Op('='), value @ ..]
                        if value.first() != Some(&Token::Op('=')) =>
                    {
                        (parameters.iter().find(|parameter| *parameter == key), value)
                    }
                    value => {
                        position += 1;
                        (parameters.get(position - 1), value)
                    }
                };
                given.extend(parameter.filter(|_| is_content(value)));
            }
        }
    }
    given
}

/// Does the macro's name at this place call it? Not where it is defined, nor as a member or filter of that name.
fn is_call(tokens: &[Token<'_>], at: usize, name: &str) -> bool {
    let before = at.checked_sub(1).map(|before| tokens[before]);
    tokens[at] == Token::Name(name)
        && tokens.get(at + 1) == Some(&Token::Op('('))
        && !matches!(before, Some(Token::Name("macro" | "is") | Token::Op('.' | '|')))
}

/// What stands between the commas of the brackets that come first.
fn arguments<'s, 'a>(tokens: &'s [Token<'a>]) -> Vec<&'s [Token<'a>]> {
    let Some(end) = closing(tokens) else { return Vec::new() };
    let mut depth = 0;
    let inside = tokens.get(1..end).unwrap_or_default();
    let split = inside.split(|token| {
        depth += token.opens();
        depth == 0 && *token == Token::Op(',')
    });
    split.filter(|argument| !argument.is_empty()).collect()
}

/// Index of the bracket that closes the first token.
pub(super) fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().position(|token| {
        depth += token.opens();
        depth == 0
    })
}
