//! Tokens to text, one at a time.

use std::sync::Arc;

use super::pieces::{Decoding, Piece, PieceTable};

/// Decodes a sequence that is still growing.
///
/// The texts that [`Detokenizer::push`] and [`Detokenizer::finish`] return are, joined, exactly what decoding
/// all tokens at once gives. A letter is returned when all its bytes are there, never in halves. A token
/// costs its own length, however long the output already is.
///
/// In SentencePiece vocabularies a run of byte tokens is held back until it ends: whether the run is text
/// or U+FFFD is known only then.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    table: Arc<PieceTable>,
    skip_special_tokens: bool,
    /// Bytes that are not yet text.
    held: Vec<u8>,
    /// No piece was seen so far.
    first: bool,
    /// How many letters may still be taken off the beginning.
    strip: usize,
}

impl Detokenizer {
    pub(super) fn new(table: Arc<PieceTable>, skip_special_tokens: bool) -> Self {
        let strip = match *table.decoding() {
            Decoding::Text { strip_start, .. } => strip_start.1,
            _ => 0,
        };
        Detokenizer { table, skip_special_tokens, held: Vec::new(), first: true, strip }
    }

    /// For tokens that others stand before: nothing is taken off the beginning.
    pub(super) fn within(table: Arc<PieceTable>, skip_special_tokens: bool) -> Self {
        Detokenizer { first: false, strip: 0, ..Detokenizer::new(table, skip_special_tokens) }
    }

    /// Takes the next token and returns the text that is certain now. Ids that are not in the vocabulary
    /// have no text.
    pub fn push(&mut self, id: u32) -> String {
        let mut out = String::new();
        self.push_to(id, &mut out);
        out
    }

    /// Returns what was held back. The detokenizer is then as new.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.finish_to(&mut out);
        *self = Detokenizer::new(Arc::clone(&self.table), self.skip_special_tokens);
        out
    }

    pub(super) fn push_to(&mut self, id: u32, out: &mut String) {
        let table = Arc::clone(&self.table);
        let Some(piece) = table.get(id, self.skip_special_tokens) else {
            return;
        };
        let first = std::mem::replace(&mut self.first, false);
        match (table.decoding(), piece) {
            (Decoding::Bytes, Piece::Text(bytes)) => {
                self.held.extend_from_slice(bytes);
                release_utf8(&mut self.held, out);
            }
            (_, Piece::Byte(byte)) => self.held.push(byte),
            (Decoding::Text { .. }, Piece::Text(bytes)) => {
                self.release_run(out);
                self.emit(&String::from_utf8_lossy(bytes), out);
            }
            (Decoding::Metaspace { space, drop_in_first }, Piece::Text(bytes)) => {
                let text = String::from_utf8_lossy(bytes);
                out.extend(text.chars().filter_map(|c| match c == *space {
                    true if first && *drop_in_first => None,
                    true => Some(' '),
                    false => Some(c),
                }));
            }
            (Decoding::Words, Piece::Text(bytes)) => {
                if !first {
                    out.push(' ');
                }
                out.push_str(&String::from_utf8_lossy(bytes));
            }
        }
    }

    pub(super) fn finish_to(&mut self, out: &mut String) {
        match self.table.decoding() {
            Decoding::Bytes if !self.held.is_empty() => {
                // What is left is the beginning of one letter.
                self.held.clear();
                out.push(char::REPLACEMENT_CHARACTER);
            }
            _ => self.release_run(out),
        }
    }

    /// Ends a run of byte tokens.
    fn release_run(&mut self, out: &mut String) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        match std::str::from_utf8(&held) {
            Ok(text) => self.emit(text, out),
            Err(_) => {
                let marks: String =
                    std::iter::repeat_n(char::REPLACEMENT_CHARACTER, held.len()).collect();
                self.emit(&marks, out);
            }
        }
        self.held = held;
        self.held.clear();
    }

    fn emit(&mut self, mut text: &str, out: &mut String) {
        if let Decoding::Text { strip_start: (letter, _), .. } = *self.table.decoding() {
            while self.strip > 0 && !text.is_empty() {
                match text.strip_prefix(letter) {
                    Some(rest) => {
                        text = rest;
                        self.strip -= 1;
                    }
                    None => self.strip = 0,
                }
            }
        }
        out.push_str(text);
    }
}

/// Moves what is certain from `held` to `out`; what stays is the beginning of a letter, at most 3 bytes.
fn release_utf8(held: &mut Vec<u8>, out: &mut String) {
    let mut done = 0;
    while done < held.len() {
        match std::str::from_utf8(&held[done..]) {
            Ok(text) => {
                out.push_str(text);
                done = held.len();
            }
            Err(error) => {
                let (valid, _) = held[done..].split_at(error.valid_up_to());
                out.push_str(&String::from_utf8_lossy(valid));
                done += valid.len();
                let Some(bad) = error.error_len() else { break };
                out.push(char::REPLACEMENT_CHARACTER);
                done += bad;
            }
        }
    }
    held.drain(..done);
}
