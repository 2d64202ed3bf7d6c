//! Log-probabilities as each kind of answer writes them.

use engine::output::Logprob;
use serde_json::{Map, Value, json};

/// `content` of a chat answer's `logprobs`: one entry for each token, with `num_top` likeliest.
pub(super) fn chat(tokens: &[Vec<Logprob>], num_top: usize) -> Value {
    let entry = |candidates: &Vec<Logprob>| {
        let chosen = candidates.first()?;
        let mut entry = candidate(chosen);
        let top: Vec<Value> = likeliest(candidates, num_top).map(candidate_value).collect();
        entry.insert("top_logprobs".to_owned(), Value::from(top));
        Some(Value::from(entry))
    };
    json!({ "content": tokens.iter().filter_map(entry).collect::<Vec<Value>>() })
}

/// The likeliest first, the chosen one among them if it is one of them.
fn likeliest(candidates: &[Logprob], num_top: usize) -> impl Iterator<Item = &Logprob> {
    let mut ranked: Vec<&Logprob> = candidates.iter().collect();
    ranked.sort_by_key(|candidate| candidate.rank);
    ranked.into_iter().filter(move |candidate| candidate.rank as usize <= num_top).take(num_top)
}

fn candidate_value(logprob: &Logprob) -> Value {
    Value::from(candidate(logprob))
}

fn candidate(logprob: &Logprob) -> Map<String, Value> {
    let token = text(logprob);
    let mut entry = Map::new();
    entry.insert("bytes".to_owned(), json!(token.as_bytes()));
    entry.insert("logprob".to_owned(), json!(finite(logprob.logprob)));
    entry.insert("token".to_owned(), Value::from(token));
    entry
}

/// A token's text; its number where the model has no tokenizer.
fn text(logprob: &Logprob) -> String {
    logprob.decoded_token.clone().unwrap_or_else(|| format!("token_id:{}", logprob.token_id))
}

/// JSON has no −∞; vLLM writes this instead.
fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}

/// `logprobs` of a completion. `text_offset` is where the first token's text begins in the answer, and
/// becomes where the next one's does.
pub(super) fn completion(
    tokens: &[Vec<Logprob>],
    num_top: usize,
    text_offset: &mut usize,
) -> Value {
    let (mut offsets, mut chosen_logprobs, mut texts, mut tops) = (vec![], vec![], vec![], vec![]);
    for candidates in tokens {
        let Some(chosen) = candidates.first() else { continue };
        let text_of_chosen = text(chosen);
        offsets.push(*text_offset);
        *text_offset += text_of_chosen.chars().count();
        chosen_logprobs.push(finite(chosen.logprob));
        let top = likeliest(candidates, num_top).chain([chosen]);
        let top: Map<String, Value> =
            top.map(|candidate| (text(candidate), json!(finite(candidate.logprob)))).collect();
        tops.push(Value::from(top));
        texts.push(text_of_chosen);
    }
    json!({
        "text_offset": offsets,
        "token_logprobs": chosen_logprobs,
        "tokens": texts,
        "top_logprobs": tops,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token_id: u32, rank: u32, logprob: f32, text: &str) -> Logprob {
        Logprob { token_id, rank, logprob, decoded_token: Some(text.to_owned()) }
    }

    #[test]
    fn the_chosen_token_comes_first_and_the_likeliest_by_rank() {
        let tokens = [vec![token(7, 3, -2.0, "é"), token(1, 1, -0.5, "a"), token(2, 2, -1.0, "b")]];
        let chat = chat(&tokens, 2);
        let entry = &chat["content"][0];
        assert_eq!((&entry["token"], &entry["bytes"]), (&json!("é"), &json!([195, 169])));
        let top: Vec<&Value> =
            entry["top_logprobs"].as_array().unwrap().iter().map(|top| &top["token"]).collect();
        assert_eq!(top, [&json!("a"), &json!("b")]);
    }

    #[test]
    fn a_completion_has_offsets_in_letters_and_the_chosen_token_always() {
        let tokens = [
            vec![token(7, 3, f32::NEG_INFINITY, "é"), token(1, 1, -0.5, "a")],
            vec![token(2, 1, -1.0, "bc")],
        ];
        let mut text_offset = 4;
        let found = completion(&tokens, 1, &mut text_offset);
        assert_eq!(found["text_offset"], json!([4, 5]));
        assert_eq!(found["token_logprobs"], json!([-9999.0, -1.0]));
        assert_eq!(found["top_logprobs"][0], json!({ "a": -0.5, "é": -9999.0 }));
        assert_eq!(text_offset, 7);
    }
}
