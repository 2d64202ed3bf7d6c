//! Token ids and decoded texts equal those of Hugging Face `tokenizers` and SentencePiece.

mod text_support;

use std::collections::HashMap;

use engine::text::{
    ChatTemplate, GgufVocab, Message, PromptEnd, RenderOptions, Tokenizer, TokenizerError,
};
use engine::weights;
use serde::Deserialize;
use text_support::{Fixture, SMALL, fixture, gguf_vocab, model_path, read_json};

fn assert_equals_oracle(name: &str, tokenizer: &Tokenizer, fixture: &Fixture) {
    assert!(fixture.texts.len() > 200 && fixture.decode.len() == 200);
    for case in &fixture.texts {
        let text = &case.text;
        assert_eq!(tokenizer.encode(text, false).unwrap(), case.ids, "{name}: {text:?}");
        assert_eq!(
            tokenizer.encode(text, true).unwrap(),
            case.ids_with_special_tokens,
            "{name}, with special tokens: {text:?}"
        );
    }
    for case in &fixture.decode {
        let ids = &case.ids;
        assert_eq!(tokenizer.decode(ids, false), case.text, "{name}: {ids:?}");
        assert_eq!(
            tokenizer.decode(ids, true),
            case.text_without_special_tokens,
            "{name}, without special tokens: {ids:?}"
        );
    }
}

#[test]
fn small_vocabularies_give_the_oracles_ids_and_texts() {
    for name in SMALL {
        let fixture = fixture(name);
        let tokenizer = Tokenizer::from_gguf(&fixture.vocab()).unwrap();
        assert_equals_oracle(name, &tokenizer, &fixture);
    }
}

#[test]
fn a_saved_tokenizer_is_read_back_the_same() {
    for name in SMALL {
        let fixture = fixture(name);
        let mut vocab = fixture.vocab();
        vocab.chat_template = Some("{{ messages[0].content }}".into());
        let built = Tokenizer::from_gguf(&vocab).unwrap();
        let dir = tempfile::tempdir().unwrap();
        built.save(dir.path()).unwrap();
        let read = Tokenizer::from_dir(dir.path()).unwrap().expect("a tokenizer.json");
        assert_equals_oracle(name, &read, &fixture);
        assert_eq!(
            (read.bos_id(), read.eos_id(), read.chat_template()),
            (built.bos_id(), built.eos_id(), built.chat_template())
        );
        assert!(ChatTemplate::from_dir(dir.path()).unwrap().is_some());
    }
}

fn smollm2() -> Tokenizer {
    let model = weights::open(&model_path()).unwrap();
    let vocab = gguf_vocab(model.gguf_metadata().expect("a GGUF file"));
    let start = std::time::Instant::now();
    let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
    println!("SmolLM2's tokenizer was built in {:?}", start.elapsed());
    tokenizer
}

#[test]
fn smollm2_gives_the_ids_and_texts_of_its_published_tokenizer() {
    let tokenizer = smollm2();
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_equals_oracle("smollm2", &tokenizer, &fixture("smollm2"));
    assert_eq!(tokenizer.token_to_id("<|im_end|>"), tokenizer.eos_id());
    assert_eq!(tokenizer.eos_token().as_deref(), Some("<|im_end|>"));
    assert_eq!(tokenizer.token_text(28).as_deref(), Some(","));
    assert_eq!(tokenizer.token_text(49_152), None);
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(28));
}

#[derive(Deserialize)]
struct Golden {
    rows: Vec<GoldenRow>,
}

#[derive(Deserialize)]
struct GoldenRow {
    prompt: String,
    chat: bool,
    prompt_token_ids: Vec<u32>,
    output_token_ids: Vec<u32>,
    text: String,
}

#[test]
fn smollm2_golden_prompts_come_out_of_template_and_tokenizer() {
    let tokenizer = smollm2();
    let template = ChatTemplate::new(tokenizer.chat_template().unwrap()).unwrap();
    let (bos, eos) = (tokenizer.bos_token(), tokenizer.eos_token());
    let options = RenderOptions {
        end: PromptEnd::BeforeAnswer,
        bos_token: bos.as_deref(),
        eos_token: eos.as_deref(),
        now_unix_s: None,
        ..RenderOptions::default()
    };
    let golden: Golden = read_json("golden/smollm2-135m-greedy.json");
    let mut num_rows = HashMap::new();
    for row in golden.rows {
        let ids = match row.chat {
            true => {
                let messages = [Message::new("user", &row.prompt)];
                let prompt = template.render(&messages, &options).unwrap();
                tokenizer.encode(&prompt, false).unwrap()
            }
            false => tokenizer.encode(&row.prompt, true).unwrap(),
        };
        assert_eq!(ids, row.prompt_token_ids, "{:?}, chat: {}", row.prompt, row.chat);
        assert_eq!(tokenizer.decode(&row.output_token_ids, false), row.text);
        *num_rows.entry(row.chat).or_insert(0) += 1;
    }
    assert_eq!(num_rows, HashMap::from([(true, 12), (false, 12)]));
}

/// A vocabulary of four letters and two merges, in the notation of GGUF.
fn tiny() -> GgufVocab {
    GgufVocab {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: ["a", "b", "c", "ab", "abc", "<end>"].map(String::from).to_vec(),
        token_types: Some(vec![1, 1, 1, 1, 1, 3]),
        merges: Some(vec!["a b".into(), "ab c".into()]),
        eos_id: Some(5),
        ..GgufVocab::default()
    }
}

fn tiny_llama() -> GgufVocab {
    GgufVocab {
        model: "llama".into(),
        tokens: ["<unk>", "<s>", "▁", "a", "▁a"].map(String::from).to_vec(),
        scores: Some(vec![0.0, 0.0, -2.0, -3.0, -1.0]),
        token_types: Some(vec![2, 3, 1, 1, 1]),
        unk_id: Some(0),
        bos_id: Some(1),
        ..GgufVocab::default()
    }
}

#[test]
fn bos_and_eos_go_where_the_file_says() {
    let encode = |vocab: &GgufVocab, text: &str| {
        Tokenizer::from_gguf(vocab).unwrap().encode(text, true).unwrap()
    };
    assert_eq!(encode(&tiny(), "abc"), [4]);
    let eos = GgufVocab { add_eos_token: Some(true), ..tiny() };
    assert_eq!(encode(&eos, "abcab"), [4, 3, 5]);
    let both = GgufVocab { bos_id: Some(5), add_bos_token: Some(true), ..eos };
    assert_eq!(encode(&both, "c"), [5, 2, 5]);
    assert_eq!(encode(&tiny_llama(), "a x"), [1, 4, 2, 0]);
    let no_bos = GgufVocab { add_bos_token: Some(false), ..tiny_llama() };
    assert_eq!(encode(&no_bos, "a"), [4]);
}

#[test]
fn a_bad_vocabulary_is_an_error_that_names_what_is_wrong() {
    let cases: Vec<(&str, GgufVocab, &str)> = vec![
        ("unknown model", GgufVocab { model: "rwkv".into(), ..tiny() }, "rwkv"),
        (
            "unknown pre",
            GgufVocab { pre: Some("tekken".into()), ..tiny() },
            "gpt-2, default, smollm",
        ),
        ("no tokens", GgufVocab { tokens: vec![], ..tiny() }, "tokenizer.ggml.tokens"),
        ("no merges", GgufVocab { merges: None, ..tiny() }, "tokenizer.ggml.merges"),
        ("no scores", GgufVocab { scores: None, ..tiny_llama() }, "tokenizer.ggml.scores"),
        ("short types", GgufVocab { token_types: Some(vec![1]), ..tiny() }, "6 tokens"),
        ("short scores", GgufVocab { scores: Some(vec![0.0]), ..tiny_llama() }, "5 tokens"),
        (
            "odd type",
            GgufVocab { token_types: Some(vec![1, 1, 9, 1, 1, 3]), ..tiny() },
            "9 of token 2",
        ),
        ("eos out of range", GgufVocab { eos_id: Some(6), ..tiny() }, "eos_token_id is 6"),
        ("pad out of range", GgufVocab { pad_id: Some(u32::MAX), ..tiny() }, "4294967295"),
        (
            "unknown merge",
            GgufVocab { merges: Some(vec!["a z".into()]), ..tiny() },
            "\"z\" is not a token",
        ),
        (
            "merge to nothing",
            GgufVocab { merges: Some(vec!["b c".into()]), ..tiny() },
            "\"bc\" is not a token",
        ),
        (
            "merge longer than every token",
            GgufVocab { merges: Some(vec!["abc abc".into()]), ..tiny() },
            "\"abcabc\" is not a token",
        ),
        (
            "merge of one",
            GgufVocab { merges: Some(vec!["ab".into()]), ..tiny() },
            "merge 0 (\"ab\")",
        ),
        ("merge of three", GgufVocab { merges: Some(vec!["a b c".into()]), ..tiny() }, "one space"),
        (
            "duplicate",
            GgufVocab {
                tokens: ["a", "b", "c", "ab", "a", "<end>"].map(String::from).to_vec(),
                ..tiny()
            },
            "\"a\" has id 0 and again id 4",
        ),
        (
            "long token",
            GgufVocab {
                tokens: ["a", "b", "c", "ab", &"x".repeat(5000), "<end>"]
                    .map(String::from)
                    .to_vec(),
                ..tiny()
            },
            "token 4 is 5000 bytes",
        ),
        (
            "nan score",
            GgufVocab { scores: Some(vec![0.0, 0.0, f32::NAN, 0.0, 0.0]), ..tiny_llama() },
            "score NaN",
        ),
        (
            "some byte tokens",
            GgufVocab {
                tokens: ["<unk>", "<s>", "<0x00>", "<0xFF>", "▁a"].map(String::from).to_vec(),
                token_types: Some(vec![2, 3, 6, 6, 1]),
                ..tiny_llama()
            },
            "254 of the 256 byte tokens",
        ),
        (
            "byte of no byte",
            GgufVocab { token_types: Some(vec![2, 3, 6, 1, 1]), ..tiny_llama() },
            "token 2 is marked as a byte",
        ),
        ("no unknown token", GgufVocab { unk_id: None, ..tiny_llama() }, "unknown_token_id"),
        ("bos without id", GgufVocab { add_bos_token: Some(true), ..tiny() }, "bos_token_id"),
    ];
    for (name, vocab, expected) in cases {
        let error = Tokenizer::from_gguf(&vocab).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_oversized_vocabulary_is_refused_before_it_is_built() {
    let tokens = (0..(1 << 20) + 1).map(|id| format!("{id:x}")).collect();
    let vocab = GgufVocab { tokens, token_types: None, eos_id: None, ..tiny() };
    let info = allocation_counter::measure(|| {
        let error = Tokenizer::from_gguf(&vocab).unwrap_err();
        assert!(matches!(error, TokenizerError::TooLarge { found: 1_048_577, .. }), "{error}");
    });
    assert!(info.bytes_max < 4096, "{} bytes were allocated", info.bytes_max);
}

/// A directory with one file changed in the saved form of [`tiny`].
fn saved_with(edit: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Tokenizer::from_gguf(&tiny()).unwrap().save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    dir
}

#[test]
fn a_bad_tokenizer_json_is_an_error_that_names_what_is_wrong() {
    type Edit = fn(&mut serde_json::Value);
    let cases: [(&str, Edit, &str); 14] = [
        (
            "post-processor beyond the vocabulary",
            |json| {
                json["post_processor"] = serde_json::json!({"type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [], "special_tokens": {"x": {"id": "x", "ids": [77], "tokens": ["x"]}}});
            },
            "is 77, but the vocabulary has 6",
        ),
        ("not a tokenizer", |json| *json = serde_json::json!([1]), "invalid"),
        ("WordPiece", |json| json["model"]["type"] = "WordPiece".into(), "WordPiece"),
        (
            "merge beyond the longest token",
            |json| json["model"]["merges"] = serde_json::json!([["abc", "abc"]]),
            "\"abcabc\" is not a token",
        ),
        (
            "legacy merge of one",
            |json| json["model"]["merges"] = serde_json::json!(["ab"]),
            "no space",
        ),
        (
            "huge id",
            |json| json["model"]["vocab"]["a"] = 4_000_000_000_u32.into(),
            "4000000001 ids",
        ),
        ("negative id", |json| json["model"]["vocab"]["a"] = (-1).into(), "-1"),
        ("wrong added id", |json| json["added_tokens"][0]["id"] = 9.into(), "its id is 9"),
        ("dropout", |json| json["model"]["dropout"] = 0.5.into(), "dropout"),
        ("prefix", |json| json["model"]["continuing_subword_prefix"] = "##".into(), "##"),
        (
            "decoder",
            |json| json["decoder"] = serde_json::json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": false}),
            "CTC",
        ),
        (
            "decoder that strips ends",
            |json| {
                json["decoder"] =
                    serde_json::json!({"type": "Strip", "content": " ", "start": 0, "stop": 1})
            },
            "Strip",
        ),
        (
            "unknown normalizer",
            |json| json["normalizer"] = serde_json::json!({"type": "Rot13"}),
            "tokenizer.json",
        ),
        (
            "broken pattern",
            |json| json["pre_tokenizer"] = serde_json::json!({"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": false}),
            "tokenizer.json",
        ),
    ];
    for (name, edit, expected) in cases {
        let dir = saved_with(edit);
        let error = Tokenizer::from_dir(dir.path()).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_duplicate_key_in_the_vocabulary_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "a": 2}, "merges": []}}"#;
    std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("\"a\" has id 0 and again id 2"), "{error}");
}

#[test]
fn an_oversized_tokenizer_json_is_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("tokenizer.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err();
    assert!(matches!(error, TokenizerError::TooLarge { found: 0x100_0000_0000, .. }), "{error}");
}

#[test]
fn a_pattern_that_backtracks_for_ever_is_an_error() {
    let dir = saved_with(|json| {
        json["pre_tokenizer"] = serde_json::json!(
            {"type": "Split", "pattern": {"Regex": "(?:a|ab|b)*c"}, "behavior": "Isolated", "invert": false});
    });
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap().unwrap();
    let error = tokenizer.encode(&("ab".repeat(60) + "dc"), false).unwrap_err();
    assert!(matches!(error, TokenizerError::Encode { .. }), "{error}");
    assert_eq!(tokenizer.encode("b", false).unwrap(), [1]);
}

#[test]
fn truncation_and_padding_of_the_file_do_not_touch_prompts() {
    let dir = saved_with(|json| {
        json["truncation"] = serde_json::json!(
            {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0});
        json["padding"] = serde_json::json!(
            {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
             "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
    });
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap().unwrap();
    assert_eq!(tokenizer.encode("abcb", true).unwrap(), [4, 1]);
}

#[test]
fn tokenizer_config_names_special_tokens_and_what_goes_around_a_text() {
    let dir = saved_with(|_| {});
    let config = dir.path().join("tokenizer_config.json");
    let read = || Tokenizer::from_dir(dir.path()).unwrap().unwrap();

    std::fs::remove_file(dir.path().join("special_tokens_map.json")).unwrap();
    std::fs::write(
        &config,
        r#"{"add_bos_token": true, "bos_token": {"content": "abc", "special": true}, "eos_token": "<end>"}"#,
    )
    .unwrap();
    let tokenizer = read();
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(4), Some(5)));
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [4, 3]);
    assert_eq!(tokenizer.encode("ab", false).unwrap(), [3]);
    // Named as BOS, so special, although tokenizer.json does not say so.
    assert_eq!(tokenizer.decode(&[4, 3], true), "ab");

    std::fs::write(&config, r#"{"add_bos_token": true, "add_eos_token": true}"#).unwrap();
    std::fs::write(
        dir.path().join("special_tokens_map.json"),
        r#"{"bos_token": "<end>", "eos_token": "<end>"}"#,
    )
    .unwrap();
    assert_eq!(read().encode("ab", true).unwrap(), [5, 3, 5]);

    std::fs::write(&config, r#"{"eos_token": "<nowhere>"}"#).unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("<nowhere>"), "{error}");

    std::fs::write(&config, "{").unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

#[test]
fn a_directory_without_a_tokenizer_has_none() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Tokenizer::from_dir(dir.path()).unwrap().is_none());
    assert!(ChatTemplate::from_dir(dir.path()).unwrap().is_none());
}

#[test]
fn chat_templates_are_found_by_priority() {
    let dir = saved_with(|_| {});
    let template =
        || Tokenizer::from_dir(dir.path()).unwrap().unwrap().chat_template().map(str::to_owned);
    let config = dir.path().join("tokenizer_config.json");
    assert_eq!(template(), None);
    std::fs::write(&config, r#"{"chat_template": "plain"}"#).unwrap();
    assert_eq!(template().as_deref(), Some("plain"));
    std::fs::write(
        &config,
        r#"{"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]}"#,
    )
    .unwrap();
    assert_eq!(template().as_deref(), Some("yes"));
    std::fs::write(dir.path().join("chat_template.jinja"), "file").unwrap();
    assert_eq!(template().as_deref(), Some("file"));
    std::fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    std::fs::write(&config, r#"{"chat_template": [{"name": "rag", "template": "no"}]}"#).unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`default`"), "{error}");
}
