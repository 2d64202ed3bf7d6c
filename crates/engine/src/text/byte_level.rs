//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`) from a GGUF vocabulary.

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::component::component;
use super::error::TokenizerError;
use super::gguf_vocab::{GgufVocab, TokenKind};

/// How a family of byte-level vocabularies treats text. The patterns are those of the families'
/// published `tokenizer.json` files.
struct PreTokenizer {
    /// `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    /// Unicode NFC first.
    nfc: bool,
    split: Split,
    /// A word that is a token as a whole is that token, whatever the merges say.
    ignore_merges: bool,
    /// BOS goes before a text unless the file says otherwise.
    add_bos: bool,
}

enum Split {
    /// GPT-2's pattern, which the `ByteLevel` pre-tokenizer has built in.
    Gpt2,
    /// Every digit alone, then GPT-2's pattern.
    DigitsThenGpt2,
    /// A pattern of its own.
    Pattern(&'static str),
}

const LLAMA3_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN2_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        names: &["gpt-2", "default"],
        nfc: false,
        split: Split::Gpt2,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["smollm"],
        nfc: false,
        split: Split::DigitsThenGpt2,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        nfc: false,
        split: Split::Pattern(LLAMA3_PATTERN),
        ignore_merges: true,
        add_bos: true,
    },
    PreTokenizer {
        names: &["qwen2"],
        nfc: true,
        split: Split::Pattern(QWEN2_PATTERN),
        ignore_merges: false,
        add_bos: false,
    },
];

impl PreTokenizer {
    fn find(name: &str) -> Result<&'static Self, TokenizerError> {
        PRE_TOKENIZERS.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
            TokenizerError::Unsupported {
                part: "pre-tokenizer (tokenizer.ggml.pre)",
                found: name.into(),
                supported: PRE_TOKENIZERS
                    .iter()
                    .flat_map(|pre| pre.names)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })
    }

    fn description(&self) -> Value {
        let byte_level = |use_regex: bool| {
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                   "use_regex": use_regex})
        };
        let sequence = |steps: [Value; 2]| json!({"type": "Sequence", "pretokenizers": steps});
        match self.split {
            Split::Gpt2 => byte_level(true),
            Split::DigitsThenGpt2 => {
                sequence([json!({"type": "Digits", "individual_digits": true}), byte_level(true)])
            }
            Split::Pattern(pattern) => sequence([
                json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                       "invert": false}),
                byte_level(false),
            ]),
        }
    }
}

/// Builds the tokenizer, without added tokens and post-processor. Also says whether the family puts BOS
/// before a text.
pub(super) fn build(
    gguf: &GgufVocab,
    kinds: &[TokenKind],
) -> Result<(tokenizers::Tokenizer, bool), TokenizerError> {
    let pre = PreTokenizer::find(gguf.pre.as_deref().unwrap_or("default"))?;
    let vocab = gguf.vocab_map(kinds)?;
    let merges = split_merges(gguf, &vocab)?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(pre.ignore_merges)
        .build()
        .map_err(|e| TokenizerError::Parse {
            file: "the GGUF vocabulary".into(),
            reason: e.to_string(),
        })?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    if pre.nfc {
        let nfc: tokenizers::NormalizerWrapper = component("normalizer", json!({"type": "NFC"}))?;
        tokenizer.with_normalizer(Some(nfc)).map_err(|e| TokenizerError::Parse {
            file: "the normalizer".into(),
            reason: e.to_string(),
        })?;
    }
    let pre_tokenizer: tokenizers::PreTokenizerWrapper =
        component("pre-tokenizer", pre.description())?;
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    let decoder: tokenizers::DecoderWrapper = component(
        "decoder",
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
    )?;
    tokenizer.with_decoder(Some(decoder));
    Ok((tokenizer, pre.add_bos))
}

/// Splits `left right` and checks that both and their join are tokens: the BPE builder takes that for
/// granted.
fn split_merges(gguf: &GgufVocab, vocab: &Vocab) -> Result<Merges, TokenizerError> {
    let merges = gguf.merges.as_ref().ok_or_else(|| TokenizerError::Missing {
        what: "tokenizer.ggml.merges".into(),
        why: "a `gpt2` vocabulary is nothing without its merges".into(),
    })?;
    merges
        .iter()
        .enumerate()
        .map(|(index, merge)| {
            let bad = |reason: &str| TokenizerError::BadMerge {
                index,
                merge: merge.chars().take(200).collect(),
                reason: reason.into(),
            };
            let (left, right) = merge
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
                .ok_or_else(|| bad("it must be two tokens with one space between"))?;
            check_merge(vocab, left, right).map_err(|reason| bad(&reason))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect()
}

/// Says which of `left`, `right` and their join is not a token.
pub(super) fn check_merge(vocab: &Vocab, left: &str, right: &str) -> Result<(), String> {
    for part in [left, right] {
        if !vocab.contains_key(part) {
            return Err(format!("{part:?} is not a token"));
        }
    }
    let joined = [left, right].concat();
    if !vocab.contains_key(&joined) {
        return Err(format!("its result {joined:?} is not a token"));
    }
    Ok(())
}
