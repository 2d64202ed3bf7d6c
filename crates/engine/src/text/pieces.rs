//! What each token is worth as text: a table from which any sequence of ids can be decoded piece by piece.

use serde_json::Value;
use tokenizers::Model;

use super::error::TokenizerError;
use super::gguf_vocab::byte_of;

/// How pieces become text. These are the decoders of `tokenizer.json` that BPE vocabularies use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoding {
    /// Pieces are bytes; together they are UTF-8.
    Bytes,
    /// Pieces are text. With `byte_fallback`, a run of byte pieces is a text too if it is UTF-8, and
    /// one U+FFFD per byte if it is not. At most `strip_start.1` letters `strip_start.0` are taken off the
    /// beginning of the whole text.
    Text { byte_fallback: bool, strip_start: (char, usize) },
    /// Pieces are text in which this letter stands for a space; those of the first piece are dropped
    /// if `drop_in_first`.
    Metaspace { space: char, drop_in_first: bool },
    /// Pieces are words with a space between.
    Words,
}

const PRESENT: u8 = 1;
const SPECIAL: u8 = 2;
const BYTE: u8 = 4;

/// One token's contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// UTF-8 unless decoding is [`Decoding::Bytes`].
    Text(&'a [u8]),
    /// A byte of byte fallback.
    Byte(u8),
}

/// All pieces in one allocation.
#[derive(Debug)]
pub(super) struct PieceTable {
    decoding: Decoding,
    bytes: Vec<u8>,
    /// Where each piece ends in `bytes`; it begins where the one before ends.
    ends: Vec<u32>,
    flags: Vec<u8>,
}

impl PieceTable {
    /// Reads the table off a tokenizer whose ids are below `num_ids`.
    pub(super) fn new(
        tokenizer: &tokenizers::Tokenizer,
        num_ids: usize,
    ) -> Result<Self, TokenizerError> {
        let (decoding, replacements) = match tokenizer.get_decoder() {
            None => (Decoding::Words, Vec::new()),
            Some(decoder) => describe_decoder(decoder)?,
        };
        let mut table = PieceTable {
            decoding,
            bytes: Vec::with_capacity(num_ids * 8),
            ends: Vec::with_capacity(num_ids),
            flags: Vec::with_capacity(num_ids),
        };
        let byte_of_char = byte_level_alphabet();
        let added = tokenizer.get_added_vocabulary();
        for id in 0..num_ids as u32 {
            let token =
                added.simple_id_to_token(id).or_else(|| tokenizer.get_model().id_to_token(id));
            let mut flags = 0;
            if let Some(mut token) = token {
                flags = PRESENT;
                if added.is_special_token(&token) {
                    flags |= SPECIAL;
                }
                for (from, to) in &replacements {
                    token = token.replace(from, to);
                }
                flags |= table.push_piece(&token, &byte_of_char);
            }
            table.ends.push(table.bytes.len() as u32);
            table.flags.push(flags);
        }
        Ok(table)
    }

    fn push_piece(&mut self, token: &str, byte_of_char: &[Option<u8>; 512]) -> u8 {
        match self.decoding {
            Decoding::Bytes => {
                let start = self.bytes.len();
                for c in token.chars() {
                    match byte_of_char.get(c as usize).copied().flatten() {
                        Some(byte) => self.bytes.push(byte),
                        // Not of the byte alphabet: an added token, which stands for itself.
                        None => {
                            self.bytes.truncate(start);
                            self.bytes.extend_from_slice(token.as_bytes());
                            break;
                        }
                    }
                }
                0
            }
            Decoding::Text { byte_fallback: true, .. } if byte_of(token).is_some() => {
                self.bytes.extend(byte_of(token));
                BYTE
            }
            _ => {
                self.bytes.extend_from_slice(token.as_bytes());
                0
            }
        }
    }

    pub(super) fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    /// Number of ids, holes included.
    pub(super) fn len(&self) -> usize {
        self.flags.len()
    }

    /// `None` for a hole, for an id beyond the vocabulary, and for a special token if those are skipped.
    pub(super) fn get(&self, id: u32, skip_special_tokens: bool) -> Option<Piece<'_>> {
        let idx = id as usize;
        let flags = *self.flags.get(idx)?;
        if flags & PRESENT == 0 || (skip_special_tokens && flags & SPECIAL != 0) {
            return None;
        }
        let start = idx.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let bytes = &self.bytes[start..self.ends[idx] as usize];
        Some(match bytes {
            [byte] if flags & BYTE != 0 => Piece::Byte(*byte),
            _ => Piece::Text(bytes),
        })
    }

    /// What a token adds to a text that it does not begin; nothing for specials and holes. `None` if
    /// that depends on the token before.
    pub(super) fn bytes_within(&self, id: u32) -> Option<Vec<u8>> {
        let piece = self.get(id, true);
        Some(match (&self.decoding, piece) {
            (Decoding::Words, _) => return None,
            (_, None) => Vec::new(),
            (_, Some(Piece::Byte(byte))) => vec![byte],
            (Decoding::Metaspace { space, .. }, Some(Piece::Text(bytes))) => {
                String::from_utf8_lossy(bytes).replace(*space, " ").into_bytes()
            }
            (_, Some(Piece::Text(bytes))) => bytes.to_vec(),
        })
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.flags.get(id as usize).is_some_and(|flags| flags & SPECIAL != 0)
    }
}

/// The bytes behind the letters of byte-level vocabularies: printable Latin-1 letters are their own code,
/// the other bytes are the letters from U+0100 on, in order.
fn byte_level_alphabet() -> [Option<u8>; 512] {
    let mut byte_of_char = [None; 512];
    let mut next = 256;
    for byte in 0..=255u8 {
        match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => byte_of_char[usize::from(byte)] = Some(byte),
            _ => {
                byte_of_char[next] = Some(byte);
                next += 1;
            }
        }
    }
    byte_of_char
}

type Replacements = Vec<(String, String)>;

fn describe_decoder(
    decoder: &tokenizers::DecoderWrapper,
) -> Result<(Decoding, Replacements), TokenizerError> {
    let description = serde_json::to_value(decoder)
        .map_err(|e| TokenizerError::Parse { file: "the decoder".into(), reason: e.to_string() })?;
    let mut steps = Vec::new();
    flatten(&description, &mut steps);
    if let [step] = steps[..] {
        match kind(step) {
            "ByteLevel" => return Ok((Decoding::Bytes, Vec::new())),
            "Metaspace" => {
                let space = step["replacement"].as_str().and_then(|s| s.chars().next());
                let decoding = Decoding::Metaspace {
                    space: space.unwrap_or('\u{2581}'),
                    drop_in_first: step["prepend_scheme"] != "never",
                };
                return Ok((decoding, Vec::new()));
            }
            _ => {}
        }
    }
    describe_text_steps(&steps)
}

fn describe_text_steps(steps: &[&Value]) -> Result<(Decoding, Replacements), TokenizerError> {
    let mut replacements = Vec::new();
    let (mut byte_fallback, mut fused) = (false, false);
    let mut strip_start = (' ', 0);
    for step in steps {
        match (kind(step), step["pattern"]["String"].as_str()) {
            ("Replace", Some(pattern)) if !byte_fallback && !fused => {
                let content = step["content"].as_str().unwrap_or_default();
                replacements.push((pattern.to_owned(), content.to_owned()));
            }
            ("ByteFallback", _) if !byte_fallback && !fused => byte_fallback = true,
            ("Fuse", _) if !fused => fused = true,
            ("Strip", _) if fused && step["stop"] == 0 && strip_start.1 == 0 => {
                let content = step["content"].as_str().and_then(|s| s.chars().next());
                let start = step["start"].as_u64().unwrap_or(0);
                strip_start = (content.unwrap_or(' '), start as usize);
            }
            _ => {
                let names: Vec<_> = steps.iter().map(|step| kind(step)).collect();
                return Err(TokenizerError::Unsupported {
                    part: "decoder",
                    found: names.join(", "),
                    supported: "ByteLevel; Metaspace; a sequence of Replace (of a fixed text), \
                                ByteFallback, Fuse, Strip (at the start)"
                        .into(),
                });
            }
        }
    }
    let decoding = Decoding::Text { byte_fallback, strip_start };
    Ok((decoding, replacements))
}

fn flatten<'a>(description: &'a Value, steps: &mut Vec<&'a Value>) {
    match description["decoders"].as_array() {
        Some(decoders) if kind(description) == "Sequence" => {
            for decoder in decoders {
                flatten(decoder, steps);
            }
        }
        _ => steps.push(description),
    }
}

fn kind(description: &Value) -> &str {
    description["type"].as_str().unwrap_or("unnamed")
}
