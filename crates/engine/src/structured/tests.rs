//! Whatever random logits make of a form, somebody else's validator agrees that it has it.

#[path = "../../tests/text_support/mod.rs"]
mod text_support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use engine_core::request::{SamplingParams, StopRules, StructuredOutputs, TokenId};
use engine_core::sampling::{
    SampleArgs, SampleKey, SampleScratch, SamplerState, philox4x32, sample,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::OnceLock;
use text_support::{SMALL, fixture};

use super::{Structured, StructuredError};
use crate::text::Tokenizer;

/// Tokens after which an output that has not ended is let go.
const MAX_TOKENS: usize = 400;

struct Vocabulary {
    tokenizer: Tokenizer,
    structured: Structured,
    eos: Vec<TokenId>,
}

fn vocabularies() -> &'static [Vocabulary] {
    static ALL: OnceLock<Vec<Vocabulary>> = OnceLock::new();
    ALL.get_or_init(|| {
        let vocabulary = |name: &&str| {
            let tokenizer = Tokenizer::from_gguf(&fixture(name).vocab()).unwrap();
            let eos = vec![TokenId(tokenizer.eos_id().unwrap_or(0))];
            Vocabulary { tokenizer, structured: Structured::default(), eos }
        };
        SMALL.iter().map(vocabulary).collect()
    })
}

/// How an output went.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The text, and whether it ended without an end of sequence.
    Complete(String, bool),
    Unfinished,
}

/// Samples an output from random logits. What closes things becomes likelier as it gets longer.
fn generate(
    vocabulary: &Vocabulary,
    form: &StructuredOutputs,
    seed: u64,
) -> Result<Outcome, StructuredError> {
    let Vocabulary { tokenizer, structured, eos } = vocabulary;
    let mut matcher = structured.matcher(form, tokenizer, eos, false)?;
    let params = SamplingParams::default();
    let stop_rules = StopRules::new(&params, &[]);
    let vocab_size = tokenizer.vocab_size();
    let state = SamplerState::new(&params, &[], vec![], 0, vocab_size);
    let mut scratch = SampleScratch::default();
    let mut logits = vec![0.0; vocab_size];
    let mut token_ids = Vec::new();
    let text = |token_ids: &[u32]| {
        let mut detokenizer = tokenizer.detokenizer_within(true);
        let text: String = token_ids.iter().map(|&id| detokenizer.push(id)).collect();
        text + &detokenizer.finish()
    };
    for position in 0..MAX_TOKENS {
        let mask = matcher.mask()?;
        for (id, logit) in logits.iter_mut().enumerate() {
            let [random, ..] = philox4x32([id as u32, position as u32, 0, 0], [seed as u32, 7]);
            *logit = (random >> 8) as f32 / (1 << 22) as f32;
            let is_closing = tokenizer
                .token_text(id as u32)
                .is_some_and(|text| ["\"", "}", "]", "0", "a"].contains(&text.as_str()));
            if is_closing || eos.contains(&TokenId(id as u32)) {
                *logit += position as f32 * 0.2;
            }
        }
        let args = SampleArgs {
            params: &params,
            stop_rules: &stop_rules,
            state: &state,
            token_mask: Some(mask),
            keeps_processed: false,
            key: SampleKey::from_request_seed(seed),
            position,
        };
        let token_id = sample(&logits, &args, &mut scratch).expect("a form goes on or is complete");
        matcher.append(token_id)?;
        if eos.contains(&token_id) {
            return Ok(Outcome::Complete(text(&token_ids), false));
        }
        token_ids.push(token_id.0);
        if matcher.is_complete() {
            return Ok(Outcome::Complete(text(&token_ids), true));
        }
    }
    Ok(Outcome::Unfinished)
}

fn texts() -> impl Strategy<Value = String> {
    "[a-c\"\\\\ é{}\\[\\]:,]{0,6}"
}

/// Schemas of all kinds that are supported, with references and bounds.
fn schemas() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!({"type": "null"})),
        Just(json!({"type": "boolean"})),
        (-50i64..50, 0i64..100).prop_map(
            |(low, span)| json!({"type": "integer", "minimum": low, "maximum": low + span})
        ),
        Just(json!({"type": "number", "minimum": -3.5, "exclusiveMaximum": 12})),
        (0usize..4, 0usize..5).prop_map(
            |(low, span)| json!({"type": "string", "minLength": low, "maxLength": low + span})
        ),
        Just(json!({"type": "string", "pattern": "^[a-f]{2,4}-\\d+$"})),
        Just(json!({"type": "string", "format": "date"})),
        prop::collection::vec(texts(), 1..4).prop_map(|texts| json!({"enum": texts})),
        texts().prop_map(|text| json!({"const": {"text": text, "list": [1, null]}})),
        Just(json!({"$ref": "#/$defs/shared"})),
    ];
    let nested =
        scalar.prop_recursive(3, 16, 4, |inner| {
            let property = ("[a-z\"]{1,4}", inner.clone(), any::<bool>());
            prop_oneof![
            (inner.clone(), 0usize..3, 0usize..3).prop_map(|(items, low, span)| {
                json!({"type": "array", "items": items, "minItems": low, "maxItems": low + span})
            }),
            (prop::collection::vec(property, 0..4), any::<bool>()).prop_map(|(properties, open)| {
                let required: std::collections::BTreeSet<_> =
                    properties.iter().filter(|p| p.2).map(|p| p.0.clone()).collect();
                let properties: serde_json::Map<_, _> =
                    properties.into_iter().map(|p| (p.0, p.1)).collect();
                let rest = if open { json!({"type": "boolean"}) } else { json!(false) };
                json!({
                    "type": "object", "properties": properties, "required": required,
                    "additionalProperties": rest,
                })
            }),
            prop::collection::vec(inner, 1..3).prop_map(|options| json!({"anyOf": options})),
        ]
        });
    nested.prop_map(|mut schema| {
        let shared = json!({"type": ["integer", "null"], "minimum": 0});
        schema["$defs"] = json!({"shared": shared});
        schema
    })
}

/// Regular expressions that both engines take to mean the same.
fn regexes() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        select(vec![
            "a",
            "b",
            "0",
            "é",
            " ",
            r"\d",
            r"\.",
            "[a-f]",
            "[^a-z\\n]",
            r"\w",
            "/",
            r"\n"
        ])
        .prop_map(str::to_owned),
        "[a-d]{1,3}",
    ];
    atom.prop_recursive(4, 24, 4, |inner| {
        let repeat = select(vec!["?", "*", "+", "{2}", "{0,3}", "{1,}"]);
        prop_oneof![
            (inner.clone(), repeat).prop_map(|(inner, repeat)| format!("(?:{inner}){repeat}")),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner, 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
        ]
    })
}

/// Runs `check` on many cases and asserts that at least half of the outputs were complete.
fn check_outputs<S: Strategy>(
    forms: S,
    check: impl Fn(&S::Value, usize, u64) -> Result<bool, TestCaseError>,
) where
    S::Value: std::fmt::Debug,
{
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() };
    let num_complete = std::cell::Cell::new(0);
    let cases = (forms, 0..SMALL.len(), any::<u64>());
    let checked = TestRunner::new(config).run(&cases, |(form, which, seed)| {
        num_complete.set(num_complete.get() + u32::from(check(&form, which, seed)?));
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    assert!(num_complete.get() >= 75, "only {} of 150 were complete", num_complete.get());
}

/// The grammar knows how many days a month may have, but not which years are leap years.
fn is_day_of_some_year(text: &str) -> bool {
    static DAYS: OnceLock<regex::Regex> = OnceLock::new();
    let days = DAYS.get_or_init(|| {
        let days = r"(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|[12]\d)";
        regex::Regex::new(&format!(r"^[0-9]{{4}}-({days})$")).unwrap()
    });
    days.is_match(text)
}

#[test]
fn json_is_valid_for_its_schema() {
    check_outputs(schemas(), |schema, which, seed| {
        let form = StructuredOutputs::Json(schema.to_string());
        let outcome = generate(&vocabularies()[which], &form, seed).unwrap();
        let Outcome::Complete(text, _) = outcome else { return Ok(false) };
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}: {text:?}")))?;
        let options = jsonschema::options().should_validate_formats(true);
        let options = options.with_format("date", is_day_of_some_year);
        let is_valid = options.build(schema).unwrap().is_valid(&value);
        prop_assert!(is_valid, "{text} is not of {schema}");
        Ok(true)
    });
}

#[test]
fn text_matches_its_regex() {
    check_outputs(regexes(), |regex, which, seed| {
        let theirs = regex::Regex::new(&format!("^(?:{regex})$")).unwrap();
        let form = StructuredOutputs::Regex(regex.clone());
        let outcome = match generate(&vocabularies()[which], &form, seed) {
            // What matches the empty text alone is refused.
            Err(StructuredError::Empty { .. }) => return Ok(false),
            outcome => outcome.unwrap(),
        };
        let Outcome::Complete(text, _) = outcome else { return Ok(false) };
        prop_assert!(theirs.is_match(&text), "{text:?} is not of {regex}");
        Ok(true)
    });
}

#[test]
fn any_json_object_is_an_object() {
    check_outputs(Just(()), |(), which, seed| {
        let outcome = generate(&vocabularies()[which], &StructuredOutputs::JsonObject, seed);
        let Outcome::Complete(text, _) = outcome.unwrap() else { return Ok(false) };
        // Values are parsed but not converted: 1e999 is JSON, and no f64.
        let object: Result<HashMap<String, IgnoredAny>, _> = serde_json::from_str(&text);
        prop_assert!(object.is_ok(), "{object:?}: {text}");
        Ok(true)
    });
}

#[test]
fn a_grammar_may_refer_to_itself() {
    let form = StructuredOutputs::Grammar(r#"start: "(" start ")" | "[" start "]" | "x""#.into());
    for seed in 0..20 {
        let outcome = generate(&vocabularies()[0], &form, seed).unwrap();
        let Outcome::Complete(text, by_itself) = outcome else { continue };
        assert!(by_itself);
        let (opened, closed) = text.split_once('x').unwrap();
        let mirrored: String =
            closed.chars().rev().map(|c| if c == ')' { '(' } else { '[' }).collect();
        assert_eq!(opened, mirrored);
    }
}

/// What an error says of a form that cannot be used, after at most a few seconds.
fn refusal(form: &StructuredOutputs) -> Option<String> {
    let started = Instant::now();
    let outcome = generate(&vocabularies()[1], form, 1);
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?} for {:.100}", format!("{form:?}"));
    outcome.err().map(|error| error.to_string())
}

#[test]
fn what_is_not_supported_is_named() {
    let json = |schema: Value| refusal(&StructuredOutputs::Json(schema.to_string()));
    let regex = |regex: &str| refusal(&StructuredOutputs::Regex(regex.to_owned()));
    let grammar = |lark: &str| refusal(&StructuredOutputs::Grammar(lark.to_owned()));
    for (error, expected) in [
        (json(json!({"type": "array", "uniqueItems": true})), "uniqueItems"),
        (json(json!({"not": {"type": "string"}})), "not"),
        (json(json!({"type": "text"})), "text"),
        (json(json!({"$ref": "https://example.org/schema"})), "example.org"),
        (json(json!({"$ref": "#/nowhere"})), "nowhere"),
        (json(json!(false)), "nsatisfiable"),
        (json(json!({"type": "integer", "multipleOf": 123_456})), "multipleOf is 123456"),
        (json(json!({"$ref": "#"})), "no token"),
        (grammar("start: a\na: b\nb: a"), "no token"),
        (json(json!([1])), "json"),
        (refusal(&StructuredOutputs::Json("{".into())), "structured_outputs.json"),
        (regex("(?=a)b"), "look-around"),
        (regex(r"(a)\1"), "backreference"),
        (json(json!({"type": "string", "pattern": r"(a)\1"})), "backreference"),
        (regex("("), "unclosed"),
        (regex(""), "empty"),
        (refusal(&StructuredOutputs::Choice(vec![String::new()])), "empty"),
        (grammar("start: nothing"), "nothing"),
        (grammar(""), "structured_outputs.grammar"),
    ] {
        let error = error.unwrap_or_else(|| panic!("expected an error with {expected}"));
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.len() < 1000, "{error}");
    }
}

/// Forms that would cost their weight a thousand times over end in an error, or are done in time.
#[test]
fn hostile_forms_are_bounded() {
    let doubled = |kind: &str| {
        let mut defs = json!({"d0": {"type": "string"}});
        for depth in 1..40 {
            let inner = json!({"$ref": format!("#/$defs/d{}", depth - 1)});
            defs[format!("d{depth}")] = json!({kind: [inner, inner]});
        }
        json!({"$ref": "#/$defs/d39", "$defs": defs})
    };
    let either = |i: i32| {
        let property = |suffix: &str| {
            json!({"type": "object", "properties": {format!("p{i}{suffix}"): {"type": "null"}},
                   "required": [format!("p{i}{suffix}")]})
        };
        json!({"anyOf": [property("a"), property("b")]})
    };
    let product = json!({"allOf": (0..40).map(either).collect::<Vec<_>>()});
    let mut deep = json!({"type": "null"});
    for _ in 0..30 {
        deep = json!({"type": "array", "items": deep});
    }
    let wide: Vec<String> = (0..60_000u64).map(|i| format!("{:08x}", i * 2_654_435)).collect();
    let json = |schema: Value| StructuredOutputs::Json(schema.to_string());
    let regex = |text: &str| StructuredOutputs::Regex(text.to_owned());
    let grammar = |text: &str| StructuredOutputs::Grammar(text.to_owned());
    let forms = [
        json(doubled("allOf")),
        json(doubled("anyOf")),
        json(doubled("oneOf")),
        json(product),
        json(deep),
        json(json!({"type": "string", "minLength": 1_000_000_000})),
        json(json!({"type": "string", "pattern": "(a|aa|aaa){1,1000}b{1000}"})),
        json(json!({"type": "array", "minItems": 100_000_000, "items": {"type": "null"}})),
        json(json!({"type": "object", "minProperties": 100_000_000})),
        json(json!({"enum": wide.clone()})),
        json(json!({"$ref": "#"})),
        json(json!({"type": "integer", "minimum": 1, "multipleOf": 1e-300})),
        json(json!({"type": "integer", "multipleOf": 123_456_789})),
        json(json!({"type": "integer", "multipleOf": 99_999})),
        json(json!({"allOf": [{"type": "integer", "multipleOf": 99_991}, {"multipleOf": 99_989}]})),
        StructuredOutputs::Choice(wide),
        regex("((((a{100}){100}){100}){100}){100}"),
        regex("(a?){5000}a{5000}"),
        regex("(.*a.{20}|.*b.{21}|.*c.{22})*"),
        regex(r"(\p{L}{1,300}\d){1,300}"),
        regex(&"(".repeat(100_000)),
        regex(&"a|".repeat(100_000)),
        regex(&"[a-z]".repeat(20_000)),
        grammar(&format!("start: {}", "(".repeat(50_000))),
        grammar(r#"start: start start | "a" | start start start"#),
        grammar(
            "start: a
a: b
b: a",
        ),
        grammar("start: /a/{1000000000}"),
        grammar(
            &(0..5000)
                .map(|i| {
                    format!(
                        "r{i}: r{} r{}
",
                        i + 1,
                        i + 1
                    )
                })
                .collect::<String>(),
        ),
    ];
    let num_refused = forms.iter().filter_map(refusal).count();
    assert!(num_refused >= 8, "{num_refused} of {}", forms.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_choice_is_one_of_them(
        choices in prop::collection::vec("\\PC{1,8}", 1..6),
        which in 0..SMALL.len(),
        seed: u64,
    ) {
        let form = StructuredOutputs::Choice(choices.clone());
        let outcome = generate(&vocabularies()[which], &form, seed).unwrap();
        let Outcome::Complete(text, _) = outcome else { panic!("choices end") };
        prop_assert!(choices.contains(&text), "{text:?} is none of {choices:?}");
    }

    /// A form lets everything through that has it: the model's own tokens of a text that fits are
    /// allowed one after the other, and an end where it is complete.
    #[test]
    fn what_fits_is_let_through(
        choices in prop::collection::vec("[a-zA-Z0-9 .,é\n\"]{1,20}", 1..5),
        other in "[a-z]{0,3}",
        which in 0usize..4,
    ) {
        let Vocabulary { tokenizer, structured, eos } = &vocabularies()[which];
        for text in &choices {
            let mut all = choices.clone();
            all.push(format!("{text}{other}"));
            let forms = [
                StructuredOutputs::Choice(all),
                StructuredOutputs::Regex(r#"[\w .,"\n]*"#.to_owned()),
                StructuredOutputs::Grammar("start: /[^x]/* /(?s:.*)/".to_owned()),
            ];
            for form in forms {
                let mut matcher = structured.matcher(&form, tokenizer, eos, false).unwrap();
                for id in tokenizer.encode(text, false).unwrap() {
                    let mask = matcher.mask().unwrap();
                    let is_allowed = mask[id as usize / 32] >> (id % 32) & 1 == 1;
                    prop_assert!(is_allowed, "{form:?} does not allow {id} in {text:?}");
                    matcher.append(TokenId(id)).unwrap();
                }
                let end = eos[0].0;
                let may_end = matcher.is_complete()
                    || matcher.mask().unwrap()[end as usize / 32] >> (end % 32) & 1 == 1;
                prop_assert!(may_end, "{form:?} does not end after {text:?}");
            }
        }
    }
}
