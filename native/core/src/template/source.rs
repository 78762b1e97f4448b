//! What must change in a template's source for minijinja to do with it what Jinja2 does.
//!
//! Lines stay where they are, so that the line of an error is the line of the model's file.

use super::source_tokens::{Tag, Token, tags};
use std::ops::Range;

/// Raises for what Python cannot iterate; see [`adapted`].
pub(super) const ITERATED: &str = "phyllo_iterated";
/// Adds strings of which one is marked safe; see [`adapted`].
pub(super) const ADD_MARKUP: &str = "phyllo_add_markup";
/// Adds terms that are written out at once; see [`adapted`].
pub(super) const SUM: &str = "phyllo_sum";

type Edit = (Range<usize>, String);

/// The source with four things rewritten:
///
/// - `{% generation %} … {% endgeneration %}` becomes `{% with %} … {% endwith %}`. The tags are an extension of
///   transformers that marks what the assistant generated, for training masks; the text between them is rendered as
///   it stands, in a scope of its own, which is what `with` does.
/// - `{% for x in xs %}` becomes `{% for x in (xs)|phyllo_iterated %}`: a loop over None raises in Python, and a
///   request that the engine refuses should not look as if it had a prompt.
/// - `{{ a|safe + b }}` becomes `{{ phyllo_add_markup(a|safe, b) }}`: in Jinja2, adding to a string marked safe
///   HTML-escapes the other one, whether or not autoescaping is on. Nobody wants it, and some templates do it.
/// - `{{ a + b + c }}` becomes `{{ phyllo_sum(a, b, c) }}`, for speed alone: a message's text stands in such a sum in most
///   templates, and each `+` would copy what is left of it twice.
pub(super) fn adapted(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 256);
    let mut done = 0;
    for (place, text) in tags(source).iter().flat_map(|tag| edits(source, tag)) {
        out.push_str(&source[done..place.start]);
        out.push_str(&text);
        done = place.end;
    }
    out.push_str(&source[done..]);
    out
}

fn edits(source: &str, tag: &Tag<'_>) -> Vec<Edit> {
    match (tag.tokens.as_slice(), tag.places.as_slice()) {
        ([Token::Name("generation")], [place]) if tag.statement => vec![(place.clone(), "with".to_owned())],
        ([Token::Name("endgeneration")], [place]) if tag.statement => {
            vec![(place.clone(), "endwith".to_owned())]
        }
        _ if tag.statement => checked_loop(source, tag).into_iter().collect(),
        _ => sum(source, tag).into_iter().collect(),
    }
}

fn checked_loop(source: &str, tag: &Tag<'_>) -> Option<Edit> {
    let (_, iterated) = tag.loop_parts()?;
    let place = tag.places.get(iterated.start)?.start..tag.places.get(iterated.end.checked_sub(1)?)?.end;
    let text = format!("({})|{ITERATED}", source.get(place.clone())?);
    Some((place, text))
}

/// Only an expression that is a sum and nothing else at its top level is rewritten; any other operator there would
/// need a parser to tell what binds to what.
fn sum(source: &str, tag: &Tag<'_>) -> Option<Edit> {
    let marks = tag.tokens.windows(2).any(|pair| pair == [Token::Op('|'), Token::Name("safe")]);
    let mut depth = 0;
    let mut terms = Vec::new();
    let mut start = tag.places.first()?.start;
    for (token, place) in tag.tokens.iter().zip(&tag.places) {
        depth += token.opens();
        match token {
            _ if depth > 0 => {}
            Token::Op('+') => {
                terms.push(source.get(start..place.start)?);
                start = place.end;
            }
            Token::Op('~' | '-' | '*' | '/' | '%' | '=' | '<' | '>' | '!' | ',')
            | Token::Name("if" | "else" | "and" | "or" | "not" | "in" | "is") => return None,
            _ => {}
        }
    }
    let end = tag.places.last()?.end;
    terms.push(source.get(start..end)?);
    let place = tag.places.first()?.start..end;
    let are_terms = terms.len() > 1 && terms.iter().all(|term| !term.trim().is_empty());
    let function = if marks { ADD_MARKUP } else { SUM };
    are_terms.then(|| (place, format!("{function}({})", terms.join(","))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_a_scope_and_nothing_else_changes() {
        let source =
            "{% if add_generation_prompt %}{%- generation -%}a{%endgeneration%}{% endif %} generation";
        let expected = "{% if add_generation_prompt %}{%- with -%}a{%endwith%}{% endif %} generation";
        assert_eq!(adapted(source), expected);
    }

    #[test]
    fn loops_check_what_they_iterate() {
        let source = "{%- for k, v in (x if y else z)|items if v recursive -%}{% for a in 'if' %}";
        let expected = "{%- for k, v in ((x if y else z)|items)|phyllo_iterated if v recursive -%}{% for a in ('if')|phyllo_iterated %}";
        assert_eq!(adapted(source), expected);
    }

    #[test]
    fn sums_are_folded_by_a_function() {
        let source = "{{- 'a'|safe + t['x'] + f(1 + 2) | tojson() -}}{{ a|safe ~ b + c }}{{ a + b }}";
        let expected = "{{- phyllo_add_markup('a'|safe , t['x'] , f(1 + 2) | tojson()) -}}{{ a|safe ~ b + c }}{{ phyllo_sum(a , b) }}";
        assert_eq!(adapted(source), expected);
    }

    #[test]
    fn what_is_more_than_a_sum_is_left_alone() {
        let source = "{{ a + b * c }}{{ a - b + c }}{{ a + b if c else d }}{{ (a + b) }}{{ f(a + b) }}{{ a }}{{ + a }}\
            {{ a + + b }}{% set x = a + b %}{{ a + b, c }}{{ a == b + c }}{{ {'a': b + c} }}{{ '+' }}";
        assert_eq!(adapted(source), source);
    }

    #[test]
    fn comments_and_raw_blocks_are_left_alone() {
        let source = "{# {% generation %} #}{% raw %}{% for a in b %}{% endraw %}{{ '{% for a in b %}' }}";
        assert_eq!(adapted(source), source);
    }
}
