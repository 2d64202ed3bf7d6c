//! Output of a given form: JSON of a schema, a regular expression, a choice, or a grammar.
//!
//! `llguidance` compiles the form to a parser and says, at each position, which tokens can go on. It
//! works on the bytes of tokens, so it fits any vocabulary, and it forces no tokenization: of the
//! tokens that are possible the model chooses. What ends a sequence is our own affair: an end of
//! sequence may come exactly where the form is complete, and where nothing else can come the sequence
//! ends by itself.

mod error;
mod form;
mod matcher;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use engine_core::request::{StructuredOutputs, TokenId};
pub use error::StructuredError;
pub(crate) use matcher::TokenMatcher;
use vocabulary::Compiler;

use crate::text::Tokenizer;

/// Makes matchers for one vocabulary, whose tables are built when the first is asked for.
#[derive(Default)]
pub(crate) struct Structured {
    compiler: OnceLock<Compiler>,
}

impl Structured {
    /// A matcher at its beginning. `eos_token_ids` are the ends of sequence of the model; with
    /// `ignore_eos` they never come.
    pub(crate) fn matcher(
        &self,
        form: &StructuredOutputs,
        tokenizer: &Tokenizer,
        eos_token_ids: &[TokenId],
        ignore_eos: bool,
    ) -> Result<TokenMatcher, StructuredError> {
        let compiler = match self.compiler.get() {
            Some(compiler) => compiler,
            None => {
                let built = Compiler::new(tokenizer, eos_token_ids)?;
                self.compiler.get_or_init(|| built)
            }
        };
        let parser = compiler.compile(form)?;
        let eos_token_ids = if ignore_eos { &[] } else { eos_token_ids };
        let mut matcher = TokenMatcher::new(parser, compiler.num_ids(), eos_token_ids)?;
        if matcher.is_complete() {
            return Err(StructuredError::Empty { kind: form::kind(form) });
        }
        matcher.mask()?;
        Ok(matcher)
    }
}
