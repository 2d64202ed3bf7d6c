//! Thoughts before answers.

use tool_calls::{ReasoningParser, Told};

use super::invariants::told;
use super::made;

/// Answers, whether their prompt ends within a thought, and what they say.
const ANSWERS: [(&str, bool, &str, &str); 12] = [
    ("<think>\nhm\n</think>\n\nYes.", false, "\nhm\n", "\n\nYes."),
    ("\n <think>hm</think>Yes.", false, "hm", "Yes."),
    ("hm</think>Yes.", true, "hm", "Yes."),
    ("\n<think>hm</think>Yes.", true, "hm", "Yes."),
    (" hm", true, " hm", ""),
    ("<think>hm < </thin", false, "hm < </thin", ""),
    ("<think></think>", false, "", ""),
    ("<think>a<think>b</think>c</think>d<think>", false, "a<think>b", "c</think>d<think>"),
    ("Yes. <think>hm</think>", false, "", "Yes. <think>hm</think>"),
    (" Yes", false, "", " Yes"),
    ("<thin", false, "", "<thin"),
    ("<thin", true, "<thin", ""),
];

pub fn a_thought_ends_where_its_tag_is() {
    for (text, is_thinking, reasoning, answer) in ANSWERS {
        let expected = Told { reasoning: reasoning.into(), answer: answer.into() };
        assert_eq!(told(is_thinking, &[text]), expected, "{text}");
        assert_eq!(told(is_thinking, &[text, ""]), expected, "{text}");
        for at in 0..=text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(told(is_thinking, &[one, other]), expected, "{one}|{other}");
        }
        let letters: Vec<&str> = text.split_inclusive(|_: char| true).collect();
        assert_eq!(told(is_thinking, &letters), expected, "{text}");
    }
}

pub fn a_thought_is_told_as_it_comes() {
    let mut reader = ReasoningParser::DeepseekR1.reader(false);
    for (piece, reasoning, answer) in [
        ("<th", "", ""),
        ("ink>I", "I", ""),
        (" say <", " say ", ""),
        ("b> </thi", "<b> ", ""),
        ("nk> Y", "", " Y"),
        ("es", "", "es"),
    ] {
        let expected = Told { reasoning: reasoning.into(), answer: answer.into() };
        assert_eq!(reader.read(piece, false), expected, "{piece}");
    }
}

pub fn nothing_is_lost_but_tags() {
    for seed in 0..500 {
        let text = made::answer(seed);
        for is_thinking in [false, true] {
            let Told { reasoning, answer } = told(is_thinking, &[&text]);
            let length = reasoning.len() + answer.len();
            assert_eq!(length, text.len(), "made answers have no tags of thoughts");
            assert_eq!(if is_thinking { reasoning } else { answer }, text);
        }
    }
}

pub fn a_prompt_tells_how_an_answer_begins() {
    let parser = ReasoningParser::Qwen3;
    // The prompt, whether it opens a thought, and whether it ends within one if it is a message.
    for (text, opens, is_within) in [
        ("assistant\n", false, false),
        ("assistant\n<think>\n", true, true),
        ("assistant\n<think>\n\n</think>\n\n", false, false),
        ("<think>a</think>b<think>", true, true),
        ("<think>a</think>b<think>c", false, true),
        ("a</think>", false, false),
    ] {
        assert_eq!(parser.is_opened_by(text), opens, "{text}");
        assert_eq!(parser.is_open_in(text), is_within, "{text}");
    }
}
