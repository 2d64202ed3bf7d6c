//! Answers of which somebody has said what is a call.

use tool_calls::{Parser, Part, Syntax};

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

pub fn calls_in_hermes_form() {
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

pub fn calls_in_llama_3_form() {
    let llama3 = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::Llama3Json, text, content, calls)
    };
    let one = r#"{"name": "f", "parameters": {"a": ";"}}"#;
    let call = ("f", r#"{"a": ";"}"#);
    llama3(one, "", &[call]);
    llama3(&format!(" <|python_tag|> {one}; {one} ;{one}"), "", &[call; 3]);
    llama3(&format!("{one}\n Hello "), "Hello ", &[call]);
    llama3(r#"{"type": "function", "name": "f", "arguments": {}}"#, "", &[("f", "{}")]);
    llama3(r#"{"name": "f", "parameters": {"a": "\\"}} x"#, "x", &[("f", r#"{"a": "\\"}"#)]);
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

pub fn calls_in_mistral_form() {
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
        "[TOOL_CALLS] [ ]",
        r#"[TOOL_CALLS] [["f", {}]]"#,
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

pub fn calls_that_a_schema_makes() {
    let list = |text: &str, content: &str, calls: &[(&str, &str)]| {
        check(&Syntax::List, text, content, calls)
    };
    let one = r#"{"name": "f", "parameters": {}}"#;
    list(&format!("[{one}, {one}\n] "), "", &[("f", "{}"); 2]);
    list(&format!("[{one}, {{\"na"), ", {\"na", &[("f", "{}")]);
    list(&format!("[{one}] {one}"), one, &[("f", "{}")]);
    // Arguments that are cut off are arguments; what is behind them and is none of a list is text.
    list(r#"[{"name": "f", "parameters": {"a": [1, "#, "", &[("f", r#"{"a": [1, "#)]);
    list(r#"[ {"name" : "f\u0067" , "parameters" : {"}": {}} } ]"#, "", &[("fg", r#"{"}": {}}"#)]);
    list(r#"[{"name": "f", "parameters": {} , "x": 1}]"#, r#", "x": 1}]"#, &[("f", "{}")]);
    list(r#"[{"name": "f", "parameters": {"a" 1}}]"#, "1}}]", &[("f", r#"{"a" "#)]);
    // Other calls are told once they are whole.
    list(r#"[{"parameters": {"a": 1}, "name": "f"}]"#, "", &[("f", r#"{"a": 1}"#)]);
    list(r#"[{"name": "f"}]"#, "", &[("f", "{}")]);
    list(r#"[{"name": "\"\\", "parameters": {}}]"#, "", &[("\"\\", "{}")]);
    let long = "f".repeat(5000);
    list(&format!(r#"[{{"name": "{long}", "parameters": {{}}}}]"#), "", &[(&long, "{}")]);
    for text in [
        r#"[{"name": "f", "parameters": "#,
        r#"[{"name": "f", "parameters": [1]}]"#,
        r#"[{"name": "", "parameters": {}}]"#,
        r#"[{"name": "\x", "parameters": {}}]"#,
        r#"[{"name": 5, "parameters": {}}]"#,
    ] {
        list(text, text, &[]);
    }
    let arguments = Syntax::Arguments("f".to_owned());
    check(&arguments, r#"{"a": 1}"#, "", &[("f", r#"{"a": 1}"#)]);
    check(&arguments, r#"{"a"#, "", &[("f", r#"{"a"#)]);
    check(&arguments, "", "", &[("f", "")]);
}

pub fn what_is_known_is_told_at_once() {
    for (syntax, text, told) in [
        (Syntax::Hermes, "Wait <", "Wait "),
        (Syntax::Hermes, "Wait <t>", "Wait <t>"),
        (Syntax::Hermes, "<tool_call>{bad", "<tool_call>{bad"),
        (Syntax::Llama3Json, " I", " I"),
        (Syntax::Mistral, "Now: [TOOL_CALLS", "Now: "),
        (Syntax::Mistral, "[TOOL_CALLS] f x", "[TOOL_CALLS] f x"),
    ] {
        let parts = Parser::new(syntax.clone()).read(text, false);
        assert_eq!(parts, [Part::Text(told.to_owned())], "{syntax:?}: {text}");
    }
    let mut parser = Parser::new(Syntax::Hermes);
    let parts = parser.read("<tool_call>{\"name\": \"f\"}", false);
    assert_eq!(parts, [Part::Call("f".to_owned()), Part::Arguments("{}".to_owned())]);
    let mut parser = Parser::new(Syntax::List);
    assert_eq!(parser.read("[{\"na", false), []);
    assert_eq!(parser.read("me\": \"\\\"f\", \"parameters\": ", false), []);
    let begun = [Part::Call("\"f".to_owned()), Part::Arguments("{\"a".to_owned())];
    assert_eq!(parser.read("{\"a", false), begun);
    assert_eq!(parser.read("\": ", false), [Part::Arguments("\": ".to_owned())]);
    assert_eq!(parser.read("1}}", false), [Part::Arguments("1}".to_owned())]);
    let mut parser = Parser::new(Syntax::Arguments("f".to_owned()));
    assert_eq!(parser.read("{\"a", false)[1], Part::Arguments("{\"a".to_owned()));
}
