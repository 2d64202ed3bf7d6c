//! Texts of a wanted number of tokens.

use engine::text::Tokenizer;
use rand::Rng;

use crate::cli::error::CliError;

/// Times that a text is cut or lengthened before it is taken as it is.
const MAX_TRIES: usize = 10;

/// A tokenizer, and those of its tokens that texts can be made of.
pub(crate) struct Words<'a> {
    tokenizer: &'a Tokenizer,
    /// Neither special nor part of a letter.
    ids: Vec<u32>,
    num_special: usize,
}

impl<'a> Words<'a> {
    /// # Errors
    /// If no text can be made of the tokens.
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Result<Words<'a>, CliError> {
        let is_word = |&id: &u32| {
            let text = || tokenizer.token_text(id);
            !tokenizer.is_special(id)
                && text().is_some_and(|text| !text.is_empty() && !text.contains('\u{fffd}'))
        };
        let ids: Vec<u32> = (0..tokenizer.vocab_size() as u32).filter(is_word).collect();
        if ids.is_empty() {
            return Err(CliError::usage("the tokenizer has no token that is a text")
                .with_hint("name another with --tokenizer"));
        }
        let around = tokenizer.encode("", true);
        let num_special = around.map_err(|error| CliError::from_usage_error(&error))?.len();
        Ok(Words { tokenizer, ids, num_special })
    }

    /// Tokens that the model wants around every text.
    pub(crate) fn num_special(&self) -> usize {
        self.num_special
    }

    /// Token `index` of those that texts are made of, counted round and round.
    pub(crate) fn nth(&self, index: usize) -> u32 {
        self.ids[index % self.ids.len()]
    }

    pub(crate) fn random(&self, rng: &mut impl Rng) -> u32 {
        self.ids[rng.random_range(0..self.ids.len())]
    }

    /// # Errors
    /// If the vocabulary's rules fail on this text.
    pub(crate) fn count(&self, text: &str) -> Result<usize, CliError> {
        self.encode(text).map(|ids| ids.len())
    }

    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, false)
    }

    /// A text of `ids.len()` tokens, which are `ids` as far as can be, and its tokens. Written out, some tokens become
    /// others, so the text is cut or lengthened a few times; what is then too much or too little stays.
    ///
    /// # Errors
    /// As [`Words::count`].
    pub(crate) fn text_of(
        &self,
        ids: Vec<u32>,
        rng: &mut impl Rng,
    ) -> Result<(String, Vec<u32>), CliError> {
        let num_wanted = ids.len();
        let (mut text, mut ids) = self.written(&ids)?;
        for _ in 0..MAX_TRIES {
            if ids.len() == num_wanted {
                break;
            }
            ids.truncate(num_wanted);
            while ids.len() < num_wanted {
                ids.push(self.random(rng));
            }
            (text, ids) = self.written(&ids)?;
        }
        Ok((text, ids))
    }

    /// A text, and what its tokens are.
    fn written(&self, ids: &[u32]) -> Result<(String, Vec<u32>), CliError> {
        let text = self.decode(ids);
        let ids = self.encode(&text)?;
        Ok((text, ids))
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, CliError> {
        self.tokenizer.encode(text, false).map_err(|error| CliError::from_usage_error(&error))
    }
}
