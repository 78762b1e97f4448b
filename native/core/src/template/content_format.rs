//! Whether a template expects `content` as a string or as OpenAI's list of parts.
//!
//! vLLM finds out by looking for a loop over a message's content in the template's syntax tree (vllm/renderers/hf.py,
//! `_detect_content_format`). The same is done here on the template's tokens, since minijinja keeps its tree to itself.

use super::source_macros::{Macro, closing, macros};
use super::source_tokens::{Tag, Token, tags};

/// How a template wants a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFormat {
    /// A string: text parts are joined by newlines.
    String,
    /// A list of `{"type": "text", "text": …}`, even where the client sent a string.
    OpenAi,
}

impl ContentFormat {
    /// What vLLM's `--chat-template-content-format auto` makes of the template.
    pub fn detect(source: &str) -> ContentFormat {
        match loops_over_content(&tags(source)) {
            Some(true) => ContentFormat::OpenAi,
            // Where vLLM's search trips over a target that is no plain name, it falls back to strings, too.
            Some(false) | None => ContentFormat::String,
        }
    }
}

fn loops_over_content(tags: &[Tag<'_>]) -> Option<bool> {
    let messages = aliases(tags, "messages")?;
    let mut message = Vec::new();
    for (_, target, iterated) in loops(tags) {
        if messages.iter().any(|name| is_access(iterated, name, None)) {
            message.push(plain_name(target)?);
        }
    }
    let macros = macros(tags, &message);
    for (at, target, iterated) in loops(tags) {
        let is_content = message.iter().any(|name| is_access(iterated, name, Some("content")));
        if is_content || plain_name(iterated).is_some_and(|name| holds_content(name, at, &macros)) {
            return plain_name(target).map(|_| true);
        }
    }
    Some(false)
}

/// Whether a loop in tag number `at` over a plain name loops over a message's content: a macro's parameter that is given
/// one, or outside of macros whatever is called `content`.
fn holds_content(name: &str, at: usize, macros: &[Macro<'_>]) -> bool {
    let mut around = macros.iter().filter(|found| found.body.contains(&at)).peekable();
    if around.peek().is_none() {
        return name == "content";
    }
    // Of nested macros, the innermost one that is given a content at all.
    let inner = around.rfind(|found| !found.content.is_empty());
    inner.is_some_and(|found| found.content.contains(&name))
}

/// Tag, target and iterated expression of each loop.
fn loops<'s, 'a>(tags: &'s [Tag<'a>]) -> impl Iterator<Item = (usize, &'s [Token<'a>], &'s [Token<'a>])> {
    tags.iter().enumerate().filter_map(|(at, tag)| {
        let (target, iterated) = tag.loop_parts()?;
        Some((at, &tag.tokens[target], &tag.tokens[iterated]))
    })
}

/// The variable and all that `{% set x = variable… %}` makes of it, directly or by way of another.
fn aliases<'a>(tags: &[Tag<'a>], variable: &'a str) -> Option<Vec<&'a str>> {
    let mut names = vec![variable];
    let mut next = 0;
    while let Some(&name) = names.get(next) {
        next += 1;
        for (target, assigned) in tags.iter().filter_map(Tag::assignment) {
            if is_access(assigned, name, None) {
                let alias = plain_name(target)?;
                if !names.contains(&alias) {
                    names.push(alias);
                }
            }
        }
    }
    Some(names)
}

fn plain_name<'a>(target: &[Token<'a>]) -> Option<&'a str> {
    match target {
        [Token::Name(name)] => Some(name),
        _ => None,
    }
}

/// Is the expression the variable (or its member `key`), perhaps filtered, tested or sliced?
pub(super) fn is_access(expression: &[Token<'_>], variable: &str, key: Option<&str>) -> bool {
    let rest = match expression {
        [Token::Op('('), ..] => match closing(expression) {
            Some(end) if is_access(&expression[1..end], variable, key) => {
                return is_suffix(&expression[end + 1..]);
            }
            _ => return false,
        },
        [Token::Name(name), rest @ ..] if *name == variable => rest,
        _ => return false,
    };
    match (key, rest) {
        (None, _) => is_suffix(rest),
        (Some(key), [Token::Op('.'), Token::Name(name), rest @ ..]) => *name == key && is_suffix(rest),
        (Some(key), [Token::Op('['), Token::Str(name), Token::Op(']'), rest @ ..]) => {
            *name == key && is_suffix(rest)
        }
        _ => false,
    }
}

/// Filters, tests and slices up to the end of the expression.
fn is_suffix(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [] => true,
        [Token::Op('|'), Token::Name(_), rest @ ..] => is_suffix(after_arguments(rest)),
        [Token::Name("is"), Token::Name("not"), ..] => false,
        [Token::Name("is"), Token::Name(_), rest @ ..] => match after_arguments(rest) {
            // A test's one argument may stand without brackets.
            [Token::Str(_) | Token::Name(_)] => true,
            rest => is_suffix(rest),
        },
        [Token::Op('['), ..] => match closing(tokens) {
            Some(end) => is_slice(&tokens[1..end]) && is_suffix(&tokens[end + 1..]),
            None => false,
        },
        _ => false,
    }
}

fn after_arguments<'s, 'a>(tokens: &'s [Token<'a>]) -> &'s [Token<'a>] {
    match (tokens, closing(tokens)) {
        ([Token::Op('('), ..], Some(end)) => &tokens[end + 1..],
        _ => tokens,
    }
}

fn is_slice(inside: &[Token<'_>]) -> bool {
    let mut depth = 0;
    inside.iter().any(|token| {
        depth += token.opens();
        depth == 0 && *token == Token::Op(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_over_a_messages_content_means_parts() {
        for source in [
            "{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}",
            "{%- for m in messages[1:] -%}{%- for c in m['content'] | list -%}{%- endfor -%}{%- endfor -%}",
            "{% set l = messages %}{% set k = l[2:]|list %}{% for m in k if m %}{% for c in (m.content) %}{% endfor %}{% endfor %}",
            "{% macro show(x, parts) %}{% for p in parts %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(1, m.content) }}{% endfor %}",
            "{% macro show(x, parts=[]) %}{% for p in parts %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(1, parts=m['content']) }}{% endfor %}",
            "{% for m in messages %}{% set content = m.content %}{% for c in content %}{% endfor %}{% endfor %}",
            "{{ '{% raw' }}{# {% #}{% for m in messages %}{% for c in m.content|selectattr('type', 'equalto', 'text') %}{% endfor %}{% endfor %}",
        ] {
            assert_eq!(ContentFormat::detect(source), ContentFormat::OpenAi, "{source}");
        }
    }

    #[test]
    fn all_else_means_a_string() {
        for source in [
            "",
            "{% for m in messages %}{{ m.content }}{% endfor %}",
            "{% for m in messages %}{% for c in m.contents %}{% endfor %}{% endfor %}",
            "{% macro show(content) %}{% for p in content %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(m.tools) }}{% endfor %}",
            "{% macro show(a, b) %}{% for p in a %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(1, m.content) }}{{ x.show(m.content) }}{% endfor %}",
            "{% for m in messages %}{% for c in m.tool_calls %}{% endfor %}{% endfor %}",
            "{% for m in others %}{% for c in m.content %}{% endfor %}{% endfor %}",
            "{# {% for m in messages %}{% for c in m.content %} #}",
            "{% raw %}{% for m in messages %}{% for c in m.content %}{% endraw %}",
            "{% for a, b in messages|items %}{% for c in a.content %}{% endfor %}{% endfor %}",
            "{% set l = messages if x else [] %}{% for m in l %}{% for c in m.content %}{% endfor %}{% endfor %}",
        ] {
            assert_eq!(ContentFormat::detect(source), ContentFormat::String, "{source}");
        }
    }
}
