//! KV of prefixes, computed once: chunks of tokens by what they are made of, each verified where it is used.
#![forbid(unsafe_code)]
