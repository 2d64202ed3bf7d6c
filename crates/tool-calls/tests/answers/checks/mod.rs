//! What the readers of calls must do: each check panics if they do not.

mod forms;
#[path = "../../../../../fuzz/src/tool_calls.rs"]
mod invariants;
mod made;
mod thoughts;

/// The fuzzer's.
pub const SEEDS: [&str; 5] = [
    include_str!("../../../../../fuzz/seeds/tool_calls/hermes.txt"),
    include_str!("../../../../../fuzz/seeds/tool_calls/llama3_json.txt"),
    include_str!("../../../../../fuzz/seeds/tool_calls/mistral_list.txt"),
    include_str!("../../../../../fuzz/seeds/tool_calls/mistral_named.txt"),
    include_str!("../../../../../fuzz/seeds/tool_calls/thought.txt"),
];

/// Answers that are made; one in eight finds a call in some syntax.
const NUM_MADE: u64 = 4_000;

/// A check by its name.
pub type Check = (&'static str, fn());

/// All there are, the quick ones first.
pub const CHECKS: [Check; 11] = [
    ("calls in Hermes form", forms::calls_in_hermes_form),
    ("calls in Llama 3 form", forms::calls_in_llama_3_form),
    ("calls in Mistral form", forms::calls_in_mistral_form),
    ("calls that a schema makes", forms::calls_that_a_schema_makes),
    ("what is known is told at once", forms::what_is_known_is_told_at_once),
    ("thoughts and answers", thoughts::a_thought_ends_where_its_tag_is),
    ("thoughts as they come", thoughts::a_thought_is_told_as_it_comes),
    ("nothing is lost but tags", thoughts::nothing_is_lost_but_tags),
    ("how an answer begins", thoughts::a_prompt_tells_how_an_answer_begins),
    ("the fuzzer's seeds", seeds_call_tools),
    ("made answers", made_answers_keep_the_invariants),
];

/// A target whose seeds call nothing would never see what lies behind the first tag.
fn seeds_call_tools() {
    for seed in SEEDS {
        assert!(invariants::tool_calls(seed.as_bytes()), "{seed}");
    }
}

fn made_answers_keep_the_invariants() {
    let called =
        (0..NUM_MADE).filter(|&seed| invariants::tool_calls(made::answer(seed).as_bytes()));
    let num_called = called.count() as u64;
    assert!(num_called > NUM_MADE / 8, "{num_called} of {NUM_MADE} call something");
}
