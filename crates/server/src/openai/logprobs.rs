//! Log-probabilities as each kind of answer writes them.

use engine::output::Logprob;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What is written of each token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Likeliest candidates.
    pub(super) num_top: usize,
    /// Whether tokens are written by their ids, which tell those apart whose texts are alike.
    pub(super) as_token_ids: bool,
}

impl Style {
    /// `content` of a chat answer's `logprobs`: one entry for each token.
    pub(super) fn chat(self, tokens: &[Vec<Logprob>]) -> Value {
        let entry = |candidates: &Vec<Logprob>| {
            let chosen = candidates.first()?;
            let mut entry = self.candidate(chosen);
            let top = self.likeliest(candidates).map(|top| Value::from(self.candidate(top)));
            entry.insert("top_logprobs".to_owned(), top.collect());
            Some(Value::from(entry))
        };
        json!({ "content": tokens.iter().filter_map(entry).collect::<Vec<Value>>() })
    }

    /// The likeliest first, the chosen one among them if it is one of them.
    fn likeliest(self, candidates: &[Logprob]) -> impl Iterator<Item = &Logprob> {
        let num_top = self.num_top;
        let mut ranked: Vec<&Logprob> = candidates.iter().collect();
        ranked.sort_by_key(|candidate| candidate.rank);
        ranked.into_iter().filter(move |candidate| candidate.rank as usize <= num_top).take(num_top)
    }

    fn candidate(self, logprob: &Logprob) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.insert("bytes".to_owned(), json!(text(logprob).as_bytes()));
        entry.insert("logprob".to_owned(), json!(finite(logprob.logprob)));
        entry.insert("token".to_owned(), Value::from(self.name(logprob)));
        entry
    }

    /// What a token is written as.
    fn name(self, logprob: &Logprob) -> String {
        if self.as_token_ids { by_id(logprob.token_id) } else { text(logprob) }
    }
}

/// A token's text; its number where the model has no tokenizer.
fn text(logprob: &Logprob) -> String {
    logprob.decoded_token.clone().unwrap_or_else(|| by_id(logprob.token_id))
}

fn by_id(token_id: u32) -> String {
    format!("token_id:{token_id}")
}

/// Likeliest candidates as the engine counts them; more than it can count are too many for it as well.
pub(super) fn num_candidates(num_top: usize) -> i32 {
    i32::try_from(num_top).unwrap_or(i32::MAX)
}

/// JSON has no −∞; vLLM writes this instead.
pub(super) fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}

/// `logprobs` of a completion.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CompletionLogprobs {
    text_offset: Vec<usize>,
    token_logprobs: Vec<Option<f32>>,
    tokens: Vec<String>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    #[serde(skip)]
    style: Style,
    /// Where the next token's text begins in the answer, in letters.
    #[serde(skip)]
    next_offset: usize,
}

impl CompletionLogprobs {
    /// Of no tokens, before the first.
    pub(super) fn new(style: Style) -> Self {
        CompletionLogprobs {
            text_offset: Vec::new(),
            token_logprobs: Vec::new(),
            tokens: Vec::new(),
            top_logprobs: Vec::new(),
            style,
            next_offset: 0,
        }
    }

    /// Adds a prompt's tokens, of which nothing predicts the first.
    pub(super) fn add_prompt(
        &mut self,
        (first_id, first_text): (u32, &str),
        logprobs: &[Option<Vec<Logprob>>],
    ) {
        let name = if self.style.as_token_ids { by_id(first_id) } else { first_text.to_owned() };
        self.push(first_text, name, None, None);
        logprobs.iter().flatten().for_each(|candidates| self.add_token(candidates));
    }

    /// Adds tokens, each with its candidates, itself first.
    pub(super) fn add(&mut self, tokens: &[Vec<Logprob>]) {
        tokens.iter().for_each(|candidates| self.add_token(candidates));
    }

    fn add_token(&mut self, candidates: &[Logprob]) {
        let Some(chosen) = candidates.first() else { return };
        let style = self.style;
        let top = style.likeliest(candidates).chain([chosen]);
        let top = top.map(|candidate| (style.name(candidate), json!(finite(candidate.logprob))));
        let top = Some(top.collect());
        self.push(&text(chosen), style.name(chosen), Some(finite(chosen.logprob)), top);
    }

    fn push(
        &mut self,
        text: &str,
        name: String,
        logprob: Option<f32>,
        top: Option<Map<String, Value>>,
    ) {
        self.text_offset.push(self.next_offset);
        self.next_offset += text.chars().count();
        self.token_logprobs.push(logprob);
        self.tokens.push(name);
        self.top_logprobs.push(top);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// What there is so far, which is left out from now on.
    pub(super) fn take(&mut self) -> Value {
        let next = CompletionLogprobs { next_offset: self.next_offset, ..Self::new(self.style) };
        json!(std::mem::replace(self, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token_id: u32, rank: u32, logprob: f32, text: &str) -> Logprob {
        Logprob { token_id, rank, logprob, decoded_token: Some(text.to_owned()) }
    }

    fn style(num_top: usize) -> Style {
        Style { num_top, as_token_ids: false }
    }

    #[test]
    fn the_chosen_token_comes_first_and_the_likeliest_by_rank() {
        let tokens = [vec![token(7, 3, -2.0, "é"), token(1, 1, -0.5, "a"), token(2, 2, -1.0, "b")]];
        let tops = |content: &Value| -> Vec<Value> {
            let top = content["content"][0]["top_logprobs"].as_array().unwrap();
            top.iter().map(|top| top["token"].clone()).collect()
        };
        let by_text = style(2).chat(&tokens);
        let entry = &by_text["content"][0];
        assert_eq!((&entry["token"], &entry["bytes"]), (&json!("é"), &json!([195, 169])));
        assert_eq!(tops(&by_text), ["a", "b"]);
        let by_id = Style { num_top: 2, as_token_ids: true }.chat(&tokens);
        let entry = &by_id["content"][0];
        assert_eq!((&entry["token"], &entry["bytes"]), (&json!("token_id:7"), &json!([195, 169])));
        assert_eq!(tops(&by_id), ["token_id:1", "token_id:2"]);
    }

    #[test]
    fn a_completion_has_offsets_in_letters_and_the_chosen_token_always() {
        let tokens = [
            vec![token(7, 3, f32::NEG_INFINITY, "é"), token(1, 1, -0.5, "a")],
            vec![token(2, 1, -1.0, "bc")],
        ];
        let mut logprobs = CompletionLogprobs::new(style(1));
        logprobs.add_prompt((9, "<s>é"), &[None, Some(vec![token(2, 1, -1.5, "bc")])]);
        let found = logprobs.take();
        assert_eq!(found["text_offset"], json!([0, 4]));
        assert_eq!(found["tokens"], json!(["<s>é", "bc"]));
        assert_eq!(found["token_logprobs"], json!([null, -1.5]));
        assert_eq!(found["top_logprobs"], json!([null, { "bc": -1.5 }]));
        logprobs.add(&tokens);
        let found = logprobs.take();
        assert_eq!(found["text_offset"], json!([6, 7]));
        assert_eq!(found["token_logprobs"], json!([-9999.0, -1.0]));
        assert_eq!(found["top_logprobs"][0], json!({ "a": -0.5, "é": -9999.0 }));
        assert_eq!(logprobs.take()["tokens"], json!([]));
        let mut by_id = CompletionLogprobs::new(Style { num_top: 1, as_token_ids: true });
        by_id.add_prompt((9, "<s>"), &[None]);
        by_id.add(&tokens);
        let found = by_id.take();
        assert_eq!(found["tokens"], json!(["token_id:9", "token_id:7", "token_id:2"]));
        assert_eq!(found["text_offset"], json!([0, 3, 4]), "of the texts");
    }
}
