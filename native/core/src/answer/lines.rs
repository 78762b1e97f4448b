//! Lines of a text that comes in pieces.

/// Bytes that a line may have: the longest of an engine carry the ids of a prompt of a million tokens.
const MAX_LINE_BYTES: usize = 8 << 20;

/// The lines of the pieces put together, without their ends (LF or CR LF). What follows the last end is a line too, if
/// it is not empty. A line that lies in one piece is not copied.
pub(super) struct Lines<'a> {
    pieces: std::slice::Iter<'a, &'a [u8]>,
    rest: &'a [u8],
    line: Vec<u8>,
    overlong: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(pieces: &'a [&'a [u8]]) -> Self {
        Lines { pieces: pieces.iter(), rest: &[], line: Vec::new(), overlong: false }
    }

    /// Whether a line was too long, at which the lines end.
    pub(super) fn overlong(&self) -> bool {
        self.overlong
    }

    /// The next line. (No `Iterator`: it may lie in memory that the one after it needs.)
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        self.line.clear();
        loop {
            if let Some(end) = memchr::memchr(b'\n', self.rest) {
                let (line, rest) = self.rest.split_at(end);
                self.rest = &rest[1..];
                if self.line.is_empty() {
                    return Some(without_return(line));
                }
                self.line.extend_from_slice(line);
                return Some(without_return(&self.line));
            }
            if self.overlong || self.line.len() + self.rest.len() > MAX_LINE_BYTES {
                self.overlong = true;
                return None;
            }
            self.line.extend_from_slice(self.rest);
            match self.pieces.next() {
                Some(piece) => self.rest = piece,
                None => {
                    self.rest = &[];
                    return if self.line.is_empty() { None } else { Some(without_return(&self.line)) };
                }
            }
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
