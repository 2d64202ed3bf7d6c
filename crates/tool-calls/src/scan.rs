//! Where a JSON object or list ends that arrives in pieces.

/// Deepest nesting that is followed; also the deepest that serde_json reads.
const MAX_DEPTH: usize = 100;

/// What a byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The value goes on.
    More,
    /// It is whole with this byte.
    End,
    /// What came so far begins no JSON value.
    Invalid,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    /// A value, or the end of an empty list.
    ValueOrEnd,
    Key,
    /// A key, or the end of an empty object.
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// Follows one object or list, byte by byte. It lets through whatever begins a JSON value, and some that
/// does not, such as numbers with two points: whoever reads the whole value finds that out.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    /// Whether each open bracket is an object's.
    open: Vec<bool>,
    expect: Expect,
    in_string: Option<Text>,
    in_word: bool,
}

/// Where in a string.
#[derive(Clone, Copy, Debug)]
struct Text {
    is_key: bool,
    is_escaped: bool,
}

impl Scanner {
    /// Before the opening bracket.
    pub(crate) fn new() -> Self {
        Scanner { open: Vec::new(), expect: Expect::Value, in_string: None, in_word: false }
    }

    /// Takes the next byte.
    pub(crate) fn take(&mut self, byte: u8) -> Scan {
        if let Some(text) = self.in_string {
            return self.take_in_string(text, byte);
        }
        if self.in_word {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                return Scan::More;
            }
            self.in_word = false;
            self.expect = Expect::CommaOrEnd;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => Scan::More,
            b'{' | b'[' => self.begin(byte == b'{'),
            b'}' | b']' => self.end(byte == b'}'),
            b'"' => self.begin_string(),
            b',' if self.expect == Expect::CommaOrEnd => {
                let in_object = self.open.last() == Some(&true);
                self.expect = if in_object { Expect::Key } else { Expect::Value };
                Scan::More
            }
            b':' if self.expect == Expect::Colon => {
                self.expect = Expect::Value;
                Scan::More
            }
            b't' | b'f' | b'n' | b'-' | b'0'..=b'9' if self.wants_value() => {
                self.in_word = true;
                Scan::More
            }
            _ => Scan::Invalid,
        }
    }

    /// Inside brackets, where a value may begin.
    fn wants_value(&self) -> bool {
        !self.open.is_empty() && matches!(self.expect, Expect::Value | Expect::ValueOrEnd)
    }

    fn take_in_string(&mut self, text: Text, byte: u8) -> Scan {
        let Text { is_key, is_escaped } = text;
        match byte {
            0..=0x1F => return Scan::Invalid,
            b'"' if !is_escaped => {
                self.in_string = None;
                self.expect = if is_key { Expect::Colon } else { Expect::CommaOrEnd };
            }
            _ => {
                let is_escaped = byte == b'\\' && !is_escaped;
                self.in_string = Some(Text { is_key, is_escaped });
            }
        }
        Scan::More
    }

    fn begin(&mut self, is_object: bool) -> Scan {
        if !(self.open.is_empty() || self.wants_value()) || self.open.len() == MAX_DEPTH {
            return Scan::Invalid;
        }
        self.open.push(is_object);
        self.expect = if is_object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
        Scan::More
    }

    fn end(&mut self, is_object: bool) -> Scan {
        let is_empty = if is_object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
        let may_end = self.expect == Expect::CommaOrEnd || self.expect == is_empty;
        if !may_end || self.open.pop() != Some(is_object) {
            return Scan::Invalid;
        }
        self.expect = Expect::CommaOrEnd;
        if self.open.is_empty() { Scan::End } else { Scan::More }
    }

    fn begin_string(&mut self) -> Scan {
        let is_key = matches!(self.expect, Expect::Key | Expect::KeyOrEnd);
        if !is_key && !self.wants_value() {
            return Scan::Invalid;
        }
        self.in_string = Some(Text { is_key, is_escaped: false });
        Scan::More
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Bytes up to the end, or how it fails: `Err(bytes before)`.
    fn scanned(text: &str) -> Result<usize, usize> {
        let mut scanner = Scanner::new();
        for (at, byte) in text.bytes().enumerate() {
            match scanner.take(byte) {
                Scan::More => {}
                Scan::End => return Ok(at + 1),
                Scan::Invalid => return Err(at),
            }
        }
        Err(text.len())
    }

    #[test]
    fn whole_values_end_where_they_end() {
        for text in [
            "{}",
            "[ ]",
            r#"{"a": [1, -2.5e+3, true, null, "x\"}\\"], "b\u00e9": {"c": {}}}"#,
            "[[[]], {}, \"]\"]",
            "{\n \"é\" : \"😀\" }",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
            assert_eq!(scanned(&format!("{text} more]")), Ok(text.len()), "{text}");
            for cut in (0..text.len()).filter(|&cut| text.is_char_boundary(cut)) {
                assert_eq!(scanned(&text[..cut]), Err(cut), "{}", &text[..cut]);
            }
        }
    }

    #[test]
    fn what_begins_no_value_is_known_at_once() {
        for (text, at) in [
            ("x", 0),
            ("1", 0),
            ("\"x\"", 0),
            ("}", 0),
            ("{bad", 1),
            ("{'a'", 1),
            ("{\"a\" 1", 5),
            ("{\"a\": 1 2", 8),
            ("{\"a\": }", 6),
            ("{\"a\": 1,}", 8),
            ("[1,]", 3),
            ("[1}", 2),
            ("{\"a\n", 3),
            ("[é", 1),
        ] {
            assert_eq!(scanned(text), Err(at), "{text}");
        }
        assert_eq!(scanned(&"[".repeat(MAX_DEPTH + 9)), Err(MAX_DEPTH));
    }
}
