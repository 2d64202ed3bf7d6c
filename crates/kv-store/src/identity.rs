//! Whose KV it is: everything that the bits of KV depend on besides the tokens.
//!
//! An [`Identity`] exists only complete. It enters every chunk's key, so that KV of other weights, of
//! another rope base or of another FP8 flavour is never found, and every record repeats it.

use std::fmt;

/// Format of canonical chunk bytes ([`crate::chunk`]). A change of layout is a change of this number, and
/// with it of every key.
pub const CHUNK_FORMAT_VERSION: u32 = 1;

const CONTEXT: &str = "kvasir kv-store 2026 identity of KV";

/// Longest name of a KV dtype, which a record repeats in its header.
pub const MAX_DTYPE_BYTES: usize = 32;

/// What an identity is made of. There is no default: whoever stores KV knows all of it.
#[derive(Clone, Copy, Debug)]
pub struct IdentityParts<'a> {
    /// Digest of the weights' bytes, never of a name: a name can be given to other weights.
    pub weights: [u8; 32],
    /// Digest of the tokenizer.
    pub tokenizer: [u8; 32],
    /// Digest of the model's configuration, RoPE included.
    pub config: [u8; 32],
    /// The storage format of KV elements with its flavour, such as `bf16` or `fp8_e4m3fnuz`: equal codes of
    /// two flavours are different numbers.
    pub kv_dtype: &'a str,
    /// Digest of the KV scales; of the word for "none" where the format has none.
    pub kv_scales: [u8; 32],
    /// The numerics id: backend, ISA path, compute dtype, reduction classes.
    pub numerics: &'a str,
    /// The lossy codec with its parameters. A lossless codec is no part of an identity, for it does not
    /// change what is read.
    pub lossy_codec: Option<&'a str>,
}

impl IdentityParts<'_> {
    /// The parts of KV that no model computed: complete, and none of an engine's, whose digests are not one byte again
    /// and again. For tests and measurements; `number`, from 1 on, tells several apart.
    pub fn of_no_model(number: u8) -> IdentityParts<'static> {
        IdentityParts {
            weights: [number.max(1); 32],
            tokenizer: [2; 32],
            config: [3; 32],
            kv_dtype: "bf16",
            kv_scales: [4; 32],
            numerics: "test",
            lossy_codec: None,
        }
    }
}

/// Everything that KV's bits depend on besides tokens, as one BLAKE3 digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    digest: [u8; 32],
    kv_dtype: String,
    lossy_codec: Option<String>,
}

/// An identity that would not tell KV apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A part is empty, or a digest that nobody computed.
    #[error(
        "the identity of KV needs {part}, and it is empty: without it, KV of different models would be mixed up"
    )]
    Empty {
        /// The part.
        part: &'static str,
    },
    /// The dtype's name does not fit into a record.
    #[error(
        "the KV dtype's name has {num_bytes} bytes; a record has room for {MAX_DTYPE_BYTES}: use a shorter name"
    )]
    LongDtype {
        /// Its length.
        num_bytes: usize,
    },
}

impl Identity {
    /// The identity of KV that is made of all these.
    ///
    /// # Errors
    /// [`IdentityError`] where a text is empty, a digest is zero or the dtype's name is too long.
    pub fn new(parts: &IdentityParts<'_>) -> Result<Self, IdentityError> {
        let digests = [
            ("the digest of the weights", parts.weights),
            ("the digest of the tokenizer", parts.tokenizer),
            ("the digest of the configuration", parts.config),
            ("the digest of the KV scales", parts.kv_scales),
        ];
        if let Some((part, _)) = digests.iter().find(|(_, digest)| *digest == [0; 32]) {
            return Err(IdentityError::Empty { part });
        }
        let texts = [
            ("the KV dtype", parts.kv_dtype),
            ("the numerics id", parts.numerics),
            ("the lossy codec's name", parts.lossy_codec.unwrap_or("none")),
        ];
        if let Some((part, _)) = texts.iter().find(|(_, text)| text.is_empty()) {
            return Err(IdentityError::Empty { part });
        }
        if parts.kv_dtype.len() > MAX_DTYPE_BYTES {
            return Err(IdentityError::LongDtype { num_bytes: parts.kv_dtype.len() });
        }
        let mut fields = Fields::new(CONTEXT);
        fields.field("chunk format", &CHUNK_FORMAT_VERSION.to_le_bytes());
        fields.field("weights", &parts.weights);
        fields.field("tokenizer", &parts.tokenizer);
        fields.field("config", &parts.config);
        fields.field("kv dtype", parts.kv_dtype.as_bytes());
        fields.field("kv scales", &parts.kv_scales);
        fields.field("numerics", parts.numerics.as_bytes());
        fields.optional("lossy codec", parts.lossy_codec.map(str::as_bytes));
        Ok(Identity {
            digest: fields.finish(),
            kv_dtype: parts.kv_dtype.to_owned(),
            lossy_codec: parts.lossy_codec.map(str::to_owned),
        })
    }

    /// BLAKE3 over all parts.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The storage format of KV elements.
    pub fn kv_dtype(&self) -> &str {
        &self.kv_dtype
    }

    /// The lossy codec, if its KV is not what was computed.
    pub fn lossy_codec(&self) -> Option<&str> {
        self.lossy_codec.as_deref()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", Hex(&self.digest), self.kv_dtype)
    }
}

/// Tagged, length-prefixed fields under a hash with its own context: no two lists of fields are one string
/// of bytes.
pub(crate) struct Fields(blake3::Hasher);

impl Fields {
    pub(crate) fn new(context: &str) -> Self {
        Fields(blake3::Hasher::new_derive_key(context))
    }

    pub(crate) fn field(&mut self, tag: &str, value: &[u8]) {
        for part in [tag.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// A field that may be missing, which is not the same as being empty.
    pub(crate) fn optional(&mut self, tag: &str, value: Option<&[u8]>) {
        self.field(tag, &[u8::from(value.is_some())]);
        self.field(tag, value.unwrap_or_default());
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_the_identity() {
        let base = IdentityParts::of_no_model(1);
        let changed = [
            IdentityParts { weights: [9; 32], ..base },
            IdentityParts { tokenizer: [9; 32], ..base },
            IdentityParts { config: [9; 32], ..base },
            IdentityParts { kv_dtype: "f16", ..base },
            IdentityParts { kv_scales: [9; 32], ..base },
            IdentityParts { numerics: "cpu", ..base },
            IdentityParts { lossy_codec: Some("none"), ..base },
            // Parts that only changed places.
            IdentityParts { weights: base.tokenizer, tokenizer: base.weights, ..base },
            IdentityParts { kv_dtype: "test", numerics: "bf16", ..base },
            base,
        ];
        let mut digests = changed.map(|parts| Identity::new(&parts).unwrap().digest()).to_vec();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), changed.len());
    }

    #[test]
    fn no_partial_identity_exists() {
        let base = IdentityParts::of_no_model(1);
        let partial = [
            IdentityParts { weights: [0; 32], ..base },
            IdentityParts { tokenizer: [0; 32], ..base },
            IdentityParts { config: [0; 32], ..base },
            IdentityParts { kv_scales: [0; 32], ..base },
            IdentityParts { kv_dtype: "", ..base },
            IdentityParts { numerics: "", ..base },
            IdentityParts { lossy_codec: Some(""), ..base },
        ];
        for parts in partial {
            assert!(matches!(Identity::new(&parts), Err(IdentityError::Empty { .. })), "{parts:?}");
        }
        let long = "x".repeat(MAX_DTYPE_BYTES + 1);
        let parts = IdentityParts { kv_dtype: &long, ..base };
        assert!(matches!(Identity::new(&parts), Err(IdentityError::LongDtype { num_bytes: 33 })));
    }
}
