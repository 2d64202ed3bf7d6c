//! Calls are found in each form, and a stream tells what the whole answer does.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::parser::{Parser, Part, Syntax};
use super::reader::Reader;

/// Text, and each call's function and arguments.
type Said = (String, Vec<(String, String)>);

fn said(syntax: &Syntax, pieces: &[&str]) -> Said {
    let mut parser = Parser::new(syntax.clone());
    let (mut content, mut calls) = (String::new(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        for part in parser.read(piece, index + 1 == pieces.len()) {
            match part {
                Part::Text(text) => content += &text,
                Part::Call(name) => calls.push((name, String::new())),
                Part::Arguments(text) => calls.last_mut().expect("a call began").1 += &text,
            }
        }
    }
    (content, calls)
}

fn check(syntax: &Syntax, text: &str, content: &str, calls: &[(&str, &str)]) {
    let calls = calls.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    let expected = (content.to_owned(), calls);
    assert_eq!(said(syntax, &[text]), expected, "{syntax:?}: {text}");
    let letters: Vec<&str> = text.split_inclusive(|_: char| true).chain([""]).collect();
    assert_eq!(said(syntax, &letters), expected, "{syntax:?}, letter by letter: {text}");
}

#[test]
fn calls_in_hermes_form() {
    let hermes = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::Hermes, text, content, calls)
    };
    let one = r#"<tool_call>
{"name": "f", "arguments": {"a": "</tool_call>", "b": 1.50}}
</tool_call>"#;
    let arguments = r#"{"a": "</tool_call>", "b": 1.50}"#;
    hermes(one, "", &[("f", arguments)]);
    hermes(&format!("Wait.\n{one}\n{one}\n"), "Wait.\n", &[("f", arguments), ("f", arguments)]);
    hermes(&format!("{one}\n\nDone. {one} Bye "), "Done. Bye ", &[("f", arguments); 2]);
    hermes(r#"<tool_call>{"name": "f"}"#, "", &[("f", "{}")]);
    hermes(
        r#"<tool_call>{"arguments": {}, "name": "f"}<tool_call>{"name": "g"} x"#,
        "x",
        &[("f", "{}"), ("g", "{}")],
    );
    // No calls, but something like it.
    for text in [
        "",
        " a <b> </tool_call> ",
        "<tool_call",
        "<tool_call>",
        "<tool_call>\n{",
        "<tool_call> 5",
        r#"<tool_call>{"name": "f", "arguments": {"a": 1}"#,
        r#"<tool_call>{"name": "", "arguments": {}}</tool_call>"#,
        r#"<tool_call>{"name": "f", "arguments": 3}</tool_call>"#,
        r#"<tool_call>{"name": "f", "arguments": "{}"}</tool_call>"#,
        r#"<tool_call>{'name': 'f'}</tool_call>"#,
    ] {
        hermes(text, text, &[]);
    }
    let bad = "<tool_call>{bad}</tool_call>\n";
    hermes(&format!("{bad}{one}"), bad, &[("f", arguments)]);
}

#[test]
fn calls_in_llama_3_form() {
    let llama3 = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::Llama3Json, text, content, calls)
    };
    let one = r#"{"name": "f", "parameters": {"a": ";"}}"#;
    let call = ("f", r#"{"a": ";"}"#);
    llama3(one, "", &[call]);
    llama3(&format!(" <|python_tag|> {one}; {one} ;{one}"), "", &[call; 3]);
    llama3(&format!("{one}\n Hello "), "Hello ", &[call]);
    llama3(r#"{"type": "function", "name": "f", "arguments": {}}"#, "", &[("f", "{}")]);
    for text in [
        " ",
        "I say ",
        "; ",
        "<|python",
        "<|python_tag|>print(1)",
        "<| x",
        r#"{"a": 1}"#,
        "{",
        "{1}",
    ] {
        llama3(text, text, &[]);
    }
    let quoted = format!("Say {one}");
    llama3(&quoted, &quoted, &[]);
    // What stands between calls stands before none.
    let between = format!("; {one}");
    llama3(&between, &between, &[]);
    llama3(&format!("{one}{{\"a\": 1}}{one}"), &format!("{{\"a\": 1}}{one}"), &[call]);
}

#[test]
fn calls_in_mistral_form() {
    let mistral = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::Mistral, text, content, calls)
    };
    mistral(
        r#"Now: [TOOL_CALLS] [{"name": "f", "arguments": {"a": [1]}, "id": "x"}, {"name": "g", "arguments": {}}]"#,
        "Now: ",
        &[("f", r#"{"a": [1]}"#), ("g", "{}")],
    );
    mistral(
        r#"[TOOL_CALLS]f-1{"a": 1}[TOOL_CALLS]g.x[ARGS]{} so"#,
        "so",
        &[("f-1", r#"{"a": 1}"#), ("g.x", "{}")],
    );
    for text in [
        "[TOOL_CALLS",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] é",
        "[TOOL_CALLS] f[ARG]{}",
        "[TOOL_CALLS] f x",
        r#"[TOOL_CALLS] [{"name": "f", "arguments": {}}, 1]"#,
        r#"[TOOL_CALLS]f{"a""#,
        "[{}]",
    ] {
        mistral(text, text, &[]);
    }
    let longest = "x".repeat(256);
    mistral(&format!("[TOOL_CALLS]{longest}{{}}"), "", &[(&longest, "{}")]);
    let longer = format!("[TOOL_CALLS]{longest}x{{}}");
    mistral(&longer, &longer, &[]);
}

#[test]
fn calls_that_a_schema_makes() {
    let list = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::List, text, content, calls)
    };
    let one = r#"{"name": "f", "parameters": {}}"#;
    list(&format!("[{one}, {one}\n] "), "", &[("f", "{}"); 2]);
    list(&format!("[{one}, {{\"na"), ", {\"na", &[("f", "{}")]);
    list(&format!("[{one}] {one}"), one, &[("f", "{}")]);
    let arguments = Syntax::Arguments("f".to_owned());
    check(&arguments, r#"{"a": 1}"#, "", &[("f", r#"{"a": 1}"#)]);
    check(&arguments, r#"{"a"#, "", &[("f", r#"{"a"#)]);
    check(&arguments, "", "", &[("f", "")]);
}

fn syntaxes() -> impl Strategy<Value = Syntax> {
    prop::sample::select(vec![
        Syntax::Hermes,
        Syntax::Llama3Json,
        Syntax::Mistral,
        Syntax::List,
        Syntax::Arguments("f".to_owned()),
    ])
}

/// What answers with calls are made of, whole, broken and in any order.
fn answers() -> impl Strategy<Value = String> {
    let fragments = vec![
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
    ];
    prop::collection::vec(prop::sample::select(fragments), 0..14).prop_map(|list| list.concat())
}

proptest! {
    #[test]
    fn a_stream_says_what_the_whole_answer_says(
        syntax in syntaxes(),
        text in answers(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = said(&syntax, &[&text]);
        let letters: Vec<&str> = text.split_inclusive(|_: char| true).collect();
        prop_assert_eq!(&said(&syntax, &[&letters[..], &[""]].concat()), &whole);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(letters.len() + 1)).collect();
        cuts.extend([0, letters.len()]);
        cuts.sort();
        let pieces: Vec<String> = cuts.windows(2).map(|cut| letters[cut[0]..cut[1]].concat()).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(&said(&syntax, &pieces), &whole);
        // Nothing is lost but tags, brackets and white space.
        if whole.1.is_empty() && syntax != Syntax::List {
            prop_assert_eq!(whole.0, text);
        }
    }
}

/// Chunks as a client puts them together.
fn joined(deltas: &[Value]) -> Vec<Value> {
    let mut calls: Vec<Value> = Vec::new();
    for delta in deltas {
        let index = delta["index"].as_u64().unwrap() as usize;
        if index == calls.len() {
            calls.push(delta.clone());
            continue;
        }
        let arguments = &mut calls[index]["function"]["arguments"];
        let more = delta["function"]["arguments"].as_str().unwrap();
        *arguments = Value::from(format!("{}{more}", arguments.as_str().unwrap()));
    }
    calls
}

#[test]
fn chunks_add_up_to_calls_with_an_id_each() {
    let named = Some(Syntax::Arguments("f".to_owned()));
    let mut reader = Reader::new(named, true, false);
    let mut deltas = Vec::new();
    for (text, is_last) in [("", false), ("{\"a\"", false), ("", false), (": 1}", true)] {
        deltas.extend(reader.read(text, is_last).calls);
    }
    let calls = joined(&deltas);
    assert_eq!(calls[0]["function"], json!({ "name": "f", "arguments": "{\"a\": 1}" }));
    assert!(calls[0]["id"].as_str().unwrap().starts_with("chatcmpl-tool-"));
    assert_eq!((reader.finish_reason("stop"), reader.finish_reason("length")), ("stop", "length"));
}

#[test]
fn one_call_is_told_where_one_is_wanted() {
    let text = r#"[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {"a": 1}}]"#;
    for (is_parallel, expected) in [(true, vec!["f", "g"]), (false, vec!["f"])] {
        let mut reader = Reader::new(Some(Syntax::List), is_parallel, true);
        let delta = reader.read(text, true);
        let names: Vec<_> =
            delta.calls.iter().map(|call| call["function"]["name"].clone()).collect();
        assert_eq!(names, expected);
        assert_eq!(delta.calls[0]["id"].as_str().unwrap().len(), 9);
        assert_eq!(delta.calls.len(), expected.len(), "no arguments without a call");
        assert_eq!(reader.finish_reason("stop"), "tool_calls");
        assert_eq!(reader.finish_reason("length"), "length");
    }
}
