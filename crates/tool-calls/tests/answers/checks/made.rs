//! Answers made of what answers with calls are made of, whole, broken and in any order; `~` cuts.

const FRAGMENTS: [&str; 27] = [
    "<tool_call>",
    "</tool_call>",
    "<tool_",
    "[TOOL_CALLS]",
    "[TOOL",
    "[ARGS]",
    "<|python_tag|>",
    "<|py",
    r#"{"name": "f", "arguments": {"a": "é\"}"}}"#,
    r#"{"name": "g", "parameters": {}}"#,
    "[",
    "]",
    ",",
    r#"[{"name": "h", "arguments": {}}]"#,
    "{",
    "}",
    "\"",
    "\\",
    ";",
    " ",
    "\n",
    "name",
    "1",
    "é",
    "😀 text",
    "~",
    "~",
];

/// One of them for each seed.
pub fn answer(seed: u64) -> String {
    let mut state = seed;
    let mut below = |bound: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (random ^ (random >> 31)) as usize % bound
    };
    let num_fragments = below(18);
    (0..num_fragments).map(|_| FRAGMENTS[below(FRAGMENTS.len())]).collect()
}
