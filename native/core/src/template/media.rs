//! What a template renders before the first image (or other medium) of a chat.
//!
//! That part of the prompt is text like any other, and known for certain; the rest depends on what the engine's
//! processor makes of the media. Templates do not tell where they write a placeholder, nor what it looks like, and some
//! write the images of a message before its texts. So the chat is rendered again with [`MARK`] in place of each medium,
//! and of each text that precedes the first one in its message: up to where the renderings part, no medium has been
//! written, and no text of a user's, however much it may look like a placeholder, can hide that. The marks in
//! what they have in common stand for texts, which are put back and compared with the plain rendering.

use super::message::MARK;
use minijinja::Value;

/// What the plain rendering begins with before its first medium. `marked`: with the texts in question marked, `without`:
/// with the media marked, too.
pub(super) fn common_beginning<'a>(plain: &'a str, marked: &str, without: &str, texts: &[Value]) -> &'a str {
    let mut at = 0;
    for (number, stretch) in common_prefix(marked, without).split(MARK).enumerate() {
        // A text comes before each stretch but the first.
        if number > 0 {
            let text = texts.get(number - 1).and_then(Value::as_str);
            match text.and_then(|text| end_of_text(plain, at, text)) {
                Some(end) => at = end,
                None => break,
            }
        }
        let same = common_prefix(&plain[at..], stretch).len();
        at += same;
        if same < stretch.len() {
            break;
        }
    }
    &plain[..at]
}

/// Where a text ends that stands at `at`, as it is or trimmed.
fn end_of_text(plain: &str, at: usize, text: &str) -> Option<usize> {
    [text, text.trim(), text.trim_start(), text.trim_end()]
        .into_iter()
        .find(|text| plain[at..].starts_with(text))
        .map(|text| at + text.len())
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let mut length = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !a.is_char_boundary(length) {
        length -= 1;
    }
    &a[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(plain: &str, marked: &str, without: &str, texts: &[&str]) -> String {
        let mark = |text: &str| text.replace('@', MARK);
        let texts: Vec<Value> = texts.iter().map(|text| Value::from(*text)).collect();
        common_beginning(plain, &mark(marked), &mark(without), &texts).to_owned()
    }

    #[test]
    fn ends_where_the_first_placeholder_begins() {
        assert_eq!(beginning("U: <i>what", "U: <i>what", "U: @what", &[]), "U: ");
        assert_eq!(beginning("U: see <i> and <i>", "U: @<i> and <i>", "U: @@ and @", &["see "]), "U: see ");
        assert_eq!(beginning("U: a\nb\n<i>", "U: @\n@\n<i>", "U: @\n@\n@", &["a", "b"]), "U: a\nb\n");
    }

    #[test]
    fn a_text_that_looks_like_a_placeholder_hides_none() {
        assert_eq!(beginning("U: <i><i> what", "U: <i>@", "U: @@", &["<i> what"]), "U: ");
        assert_eq!(beginning("U: <i> what<i>", "U: @<i>", "U: @@", &["<i> what"]), "U: <i> what");
    }

    #[test]
    fn a_text_that_the_template_changes_ends_it() {
        assert_eq!(beginning("U: see<i>", "U: @<i>", "U: @@", &[" see\n"]), "U: see");
        assert_eq!(beginning("U: SEE<i>", "U: @<i>", "U: @@", &["see"]), "U: ");
        assert_eq!(beginning("U: é<i>", "U: @<i>", "U: @@", &["è"]), "U: ");
    }
}
