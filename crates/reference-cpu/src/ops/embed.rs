//! Token embedding.

/// `out[t, :] = table[token_ids[t], :]`: `table` `[vocab_size, hidden_size]`, `out`
/// `[num_tokens, hidden_size]`. Exact.
pub fn embed(table: &[f32], token_ids: &[u32], hidden_size: usize, out: &mut [f32]) {
    for (&token_id, out) in token_ids.iter().zip(out.chunks_exact_mut(hidden_size)) {
        let start = token_id as usize * hidden_size;
        out.copy_from_slice(&table[start..start + hidden_size]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_the_rows_of_the_tokens() {
        let mut out = [0.0; 6];
        super::embed(&[0.0, 1.0, 10.0, 11.0, 20.0, 21.0], &[2, 0, 2], 2, &mut out);
        assert_eq!(out, [20.0, 21.0, 0.0, 1.0, 20.0, 21.0]);
    }
}
