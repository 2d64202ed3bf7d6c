//! Names of chunks: a hash chain over identity, salt and tokens.
//!
//! The KV of a token depends on every token before it, so a chunk is named by its own tokens and by its
//! parent's key. The chain starts from a root of identity and salt: what must not be shared never meets.

use std::fmt;
use std::ops::Range;

use engine_core::request::TokenId;

use crate::identity::{Fields, Hex, Identity};

const ROOT_CONTEXT: &str = "kvasir kv-store 2026 root of chunk keys";
const CHUNK_CONTEXT: &str = "kvasir kv-store 2026 chunk key";
const TENANT_CONTEXT: &str = "kvasir kv-store 2026 tenant tag";

/// The name of a chunk of tokens and of all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey(pub [u8; 32]);

impl ChunkKey {
    /// What chains start from: KV of one identity for those who may share it.
    pub fn root(identity: &Identity, salt: &Salt) -> Self {
        let mut fields = Fields::new(ROOT_CONTEXT);
        fields.field("identity", &identity.digest());
        fields.optional("tenant", salt.tenant.as_deref().map(str::as_bytes));
        fields.optional("cache salt", salt.cache_salt.as_deref().map(str::as_bytes));
        fields.optional("adapter", salt.adapter.as_deref().map(str::as_bytes));
        ChunkKey(fields.finish())
    }

    /// The chunk of `tokens` that follows this one.
    pub fn child(&self, tokens: &[TokenId]) -> Self {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.0.to_le_bytes()).collect();
        let mut fields = Fields::new(CHUNK_CONTEXT);
        fields.field("parent", &self.0);
        fields.field("tokens", &bytes);
        ChunkKey(fields.finish())
    }

    /// The key that [`fmt::Display`] wrote.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut key = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, digits) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(ChunkKey(key))
    }
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkKey({})", Hex(&self.0[..6]))
    }
}

/// Who may share KV: equal salts may, others never do. Each field is tagged, so a tenant's name is never
/// taken for an adapter's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Salt {
    /// Whose request it is.
    pub tenant: Option<String>,
    /// The request's own `cache_salt`.
    pub cache_salt: Option<String>,
    /// The LoRA adapter.
    pub adapter: Option<String>,
}

impl Salt {
    /// KV that everyone with the same identity may use.
    pub fn shared() -> Self {
        Salt::default()
    }

    /// KV of one tenant.
    pub fn tenant(name: impl Into<String>) -> Self {
        Salt { tenant: Some(name.into()), ..Salt::default() }
    }

    /// What a record says of its tenant.
    pub fn tenant_tag(&self) -> TenantTag {
        let Some(tenant) = &self.tenant else { return TenantTag::SHARED };
        let mut fields = Fields::new(TENANT_CONTEXT);
        fields.field("tenant", tenant.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&fields.finish()[..16]);
        TenantTag(tag)
    }
}

/// A tenant in a record, for quotas and accounting: a hash of its name, so that the name itself is not on
/// the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantTag(pub [u8; 16]);

impl TenantTag {
    /// KV without a tenant.
    pub const SHARED: TenantTag = TenantTag([0; 16]);
}

/// A chunk of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOf {
    /// Its name.
    pub key: ChunkKey,
    /// Which tokens of the prompt it has.
    pub tokens: Range<usize>,
}

/// The full chunks of `tokens`, in order. What is left over is a tail ([`tail`]).
///
/// # Panics
/// If `chunk_size` is 0.
pub fn chain(
    identity: &Identity,
    salt: &Salt,
    tokens: &[TokenId],
    chunk_size: usize,
) -> Vec<ChunkOf> {
    let mut parent = ChunkKey::root(identity, salt);
    let full = tokens.chunks_exact(chunk_size).enumerate();
    full.map(|(i, chunk)| {
        parent = parent.child(chunk);
        ChunkOf { key: parent, tokens: i * chunk_size..(i + 1) * chunk_size }
    })
    .collect()
}

/// The chunks that could hold the beginning of `tokens` after `parent`, the longest first: every multiple of
/// `granularity` tokens. `start` is where `tokens` begin in the prompt.
///
/// # Panics
/// If `granularity` is 0.
pub fn tail<'a>(
    parent: &'a ChunkKey,
    start: usize,
    tokens: &'a [TokenId],
    granularity: usize,
) -> impl Iterator<Item = ChunkOf> + 'a {
    (1..=tokens.len() / granularity).rev().map(move |n| {
        let tokens = &tokens[..n * granularity];
        ChunkOf { key: parent.child(tokens), tokens: start..start + tokens.len() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IdentityParts;

    fn identity() -> Identity {
        Identity::new(&IdentityParts::of_no_model(1)).unwrap()
    }

    fn tokens(n: u32) -> Vec<TokenId> {
        (0..n).map(TokenId).collect()
    }

    #[test]
    fn a_key_depends_on_every_token_before() {
        let salt = Salt::shared();
        let base = chain(&identity(), &salt, &tokens(70), 16);
        assert_eq!(base.len(), 4);
        assert_eq!(base[3].tokens, 48..64);
        for changed in 0..64 {
            let mut tokens = tokens(70);
            tokens[changed].0 += 1;
            let other = chain(&identity(), &salt, &tokens, 16);
            let same = base.iter().zip(&other).take_while(|(a, b)| a.key == b.key).count();
            assert_eq!(same, changed / 16);
            assert!(base[same..].iter().zip(&other[same..]).all(|(a, b)| a.key != b.key));
        }
    }

    #[test]
    fn salts_are_told_apart_by_field_and_by_presence() {
        let name = Some("a".to_owned());
        let empty = Some(String::new());
        let salts = [
            Salt::shared(),
            Salt { tenant: name.clone(), ..Salt::default() },
            Salt { cache_salt: name.clone(), ..Salt::default() },
            Salt { adapter: name, ..Salt::default() },
            Salt { tenant: empty.clone(), ..Salt::default() },
            Salt { cache_salt: empty, ..Salt::default() },
        ];
        let mut roots = salts.iter().map(|s| ChunkKey::root(&identity(), s)).collect::<Vec<_>>();
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), salts.len());
        assert_eq!(Salt::shared().tenant_tag(), TenantTag::SHARED);
        assert_ne!(Salt::tenant("a").tenant_tag(), Salt::tenant("b").tenant_tag());
    }

    #[test]
    fn a_tail_is_tried_from_the_longest_on() {
        let parent = ChunkKey::root(&identity(), &Salt::shared());
        let tokens = tokens(50);
        let lengths: Vec<_> = tail(&parent, 100, &tokens, 16).map(|c| c.tokens).collect();
        assert_eq!(lengths, [100..148, 100..132, 100..116]);
        let first = tail(&parent, 100, &tokens, 16).next().unwrap();
        assert_eq!(first.key, parent.child(&tokens[..48]));
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = ChunkKey::root(&identity(), &Salt::shared());
        assert_eq!(ChunkKey::parse(&key.to_string()), Some(key));
        assert_eq!(ChunkKey::parse(&key.to_string().to_uppercase()), None);
        assert_eq!(ChunkKey::parse(&key.to_string()[1..]), None);
        assert_eq!(ChunkKey::parse(&"é".repeat(32)), None);
    }
}
