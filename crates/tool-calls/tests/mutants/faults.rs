//! The faults: what is right in the sources, and what is put in its place.

use mutation::Edit;

/// What is wrong, in words and in the sources.
pub type Fault = (&'static str, Edit<'static>);

const fn parser(name: &'static str, find: &'static str, replace: &'static str) -> Fault {
    (name, Edit { file: "parser.rs", find, replace })
}

const fn scan(name: &'static str, find: &'static str, replace: &'static str) -> Fault {
    (name, Edit { file: "scan.rs", find, replace })
}

const fn reasoning(name: &'static str, find: &'static str, replace: &'static str) -> Fault {
    (name, Edit { file: "reasoning.rs", find, replace })
}

const fn head(name: &'static str, find: &'static str, replace: &'static str) -> Fault {
    (name, Edit { file: "head.rs", find, replace })
}

pub const FAULTS: &[Fault] = &[
    parser("a tag in two pieces is text", "(1..tag.len()).rev()", "(1..1).rev()"),
    parser("only one letter of a tag is waited for", "(1..tag.len()).rev()", "(1..2).rev()"),
    parser("text before a call is lost", "self.tell(place, parts);", "self.buffer.drain(..place);"),
    parser(
        "what looked like a call is lost",
        "self.tell(end, parts);",
        "self.buffer.drain(..end);",
    ),
    parser(
        "the last words are lost",
        "if is_last {
            self.tell(self.buffer.len(), &mut parts);
        }",
        "",
    ),
    parser("the beginning of a text is lost", "before.push_str(text)", "*before = text.to_owned()"),
    parser(
        "text waits for the end",
        "self.tell(self.buffer.len() - held, parts);",
        "let _ = held;",
    ),
    parser("Llama's tag is not passed", "LLAMA3_TAG.len()", "1"),
    parser("Llama's tag in two pieces is text", "LLAMA3_TAG.starts_with(rest)", "false"),
    parser("the end of a list is text", "self.buffer.drain(..=at);", "self.buffer.drain(..at);"),
    parser(
        "names have no end",
        "length.unwrap_or(self.buffer.len() - at) > MAX_NAME_BYTES",
        "false",
    ),
    parser(
        "names have letters alone",
        "c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')",
        "c.is_ascii_alphanumeric()",
    ),
    parser(
        "[ARGS] in two pieces is text",
        "!rest.starts_with(MISTRAL_ARGUMENTS) && MISTRAL_ARGUMENTS.starts_with(rest)",
        "false",
    ),
    parser("[ARGS] is not known", "rest.strip_prefix(MISTRAL_ARGUMENTS).unwrap_or(rest)", "rest"),
    parser("white space after a call is told", "self.is_after_call = true;", ""),
    parser("white space after text is lost", "self.is_after_call = false;", ""),
    parser(
        "a closing tag in two pieces is text",
        "!is_closed && HERMES_CLOSE.starts_with(&self.buffer)",
        "false",
    ),
    parser("a closing tag is text", "self.buffer.drain(..HERMES_CLOSE.len());", ""),
    parser(
        "white space before a closing tag is not passed",
        "self.buffer.drain(..num_spaces);",
        "",
    ),
    parser("a list without calls is lost", "(!calls.is_empty()).then_some(calls)", "Some(calls)"),
    parser(
        "a list of a name and arguments is a call",
        "json.starts_with('{').then(|| serde_json::from_str(json).ok())??",
        "serde_json::from_str(json).ok()?",
    ),
    parser(
        "no arguments are no call",
        "arguments.map_or(\"{}\", RawValue::get)",
        "arguments?.get()",
    ),
    parser(
        "a call needs no name",
        "!name.is_empty() && arguments.starts_with('{')",
        "arguments.starts_with('{')",
    ),
    parser(
        "arguments need be no object",
        "!name.is_empty() && arguments.starts_with('{')",
        "!name.is_empty()",
    ),
    parser(
        "arguments begin with the call",
        "self.buffer.drain(..at + arguments_at);",
        "self.buffer.drain(..at);",
    ),
    parser("a call's last bracket is text", "self.buffer.drain(..1);", ""),
    head("a mark in two pieces is none", "mark.starts_with(text)", "text.is_empty()"),
    head(
        "arguments lose their bracket",
        "text.len() - rest.len() - BRACKET.len()",
        "text.len() - rest.len()",
    ),
    head("a name may be empty", "name.is_empty()", "false"),
    head("a quote ends a name, escaped or not", "byte == b'\"' && !is_escaped", "byte == b'\"'"),
    head("marks have no space between them", "rest.trim_start_matches(SPACE)", "*rest"),
    reasoning("a closed thought goes on", "!message[open..].contains(CLOSE)", "true"),
    reasoning(
        "an opening tag in two pieces is text",
        "OPEN.starts_with(rest) && rest != OPEN",
        "false",
    ),
    reasoning("an opening tag is a thought", "self.buffer = rest[OPEN.len()..].to_owned();", ""),
    reasoning("a prompt opens nothing", "is_opened || is_thinking", "is_opened"),
    reasoning(
        "a closing tag is an answer",
        "self.buffer.drain(..end + CLOSE.len());",
        "self.buffer.drain(..end);",
    ),
    reasoning("a closing tag in two pieces is a thought", "(1..CLOSE.len()).rev()", "(1..1).rev()"),
    reasoning(
        "the last of a thought is lost",
        "if is_last { 0 } else { self.num_held() }",
        "self.num_held()",
    ),
    reasoning(
        "a thought waits for its end",
        "self.buffer.drain(..self.buffer.len() - held).collect()",
        "if is_last { self.buffer.split_off(0) } else { String::new() }",
    ),
    reasoning(
        "a thought without an end is lost",
        "self.state == State::Thinking",
        "self.state == State::Thinking && (self.buffer.contains(CLOSE) || !is_last)",
    ),
    scan("an escaped backslash escapes", "byte == b'\\\\' && !is_escaped", "byte == b'\\\\'"),
    scan(
        "the first bracket ends all",
        "if self.open.is_empty() { Scan::End } else { Scan::More }",
        "Scan::End",
    ),
];
