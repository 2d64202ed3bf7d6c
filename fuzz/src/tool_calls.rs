//! What must hold of every answer that calls are looked for in. The crate's own tests include this file.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tool_calls::{Parser, Part, ReasoningParser, Syntax, Told, ToolCallParser};

/// Where an input is cut into deltas; no syntax has it.
const CUT: char = '~';

/// Longest input: of longer ones nothing new is learned, and each is read many times.
const MAX_BYTES: usize = 1 << 12;

/// Any text as a model's answer, read in each syntax: whole, in the pieces that `~` cuts it into, and letter by letter.
/// Whether a model that writes calls of its own accord called something in one of them.
pub fn tool_calls(bytes: &[u8]) -> bool {
    let Ok(input) = std::str::from_utf8(bytes) else { return false };
    if input.len() > MAX_BYTES {
        return false;
    }
    let pieces: Vec<&str> = input.split(CUT).collect();
    let text = pieces.concat();
    let letters: Vec<&str> = text.split_inclusive(|_: char| true).chain([""]).collect();
    for is_thinking in [false, true] {
        let told = told(is_thinking, &[&text]);
        assert_eq!(self::told(is_thinking, &pieces), told, "in pieces: {input}");
        assert_eq!(self::told(is_thinking, &letters), told, "letter by letter: {input}");
        let length = told.reasoning.len() + told.answer.len();
        let rest = text.replacen("<think>", "", 1).replacen("</think>", "", 1);
        assert!(length <= text.len() && length >= rest.trim_start().len(), "{told:?} of {text}");
    }
    let own = ToolCallParser::ALL.map(ToolCallParser::syntax);
    let made = [Syntax::List, Syntax::Arguments("f".to_owned())];
    let mut has_called = false;
    for (idx, syntax) in own.iter().chain(&made).enumerate() {
        let said = said(syntax, &[&text]);
        assert_eq!(self::said(syntax, &pieces), said, "in pieces, {syntax:?}: {input}");
        assert_eq!(self::said(syntax, &letters), said, "letter by letter, {syntax:?}: {input}");
        if let Err(rest) = explained(syntax, &text, &said) {
            panic!("{syntax:?} says {said:?} of {text:?}, which leaves {rest:?}");
        }
        has_called |= idx < own.len() && said.iter().any(|part| matches!(part, Part::Call(_)));
    }
    has_called
}

/// What a reader tells of the pieces, each thing in one part.
fn said(syntax: &Syntax, pieces: &[&str]) -> Vec<Part> {
    let mut parser = Parser::new(syntax.clone());
    let mut said: Vec<Part> = Vec::new();
    for (idx, piece) in pieces.iter().enumerate() {
        for part in parser.read(piece, idx + 1 == pieces.len()) {
            match (said.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(more))
                | (Some(Part::Arguments(before)), Part::Arguments(more)) => before.push_str(&more),
                (_, part) => said.push(part),
            }
        }
    }
    said
}

/// What a reader of thoughts tells of the pieces: thoughts first.
pub fn told(is_thinking: bool, pieces: &[&str]) -> Told {
    let mut reader = ReasoningParser::Qwen3.reader(is_thinking);
    let mut told = Told::default();
    for (idx, piece) in pieces.iter().enumerate() {
        let Told { reasoning, answer } = reader.read(piece, idx + 1 == pieces.len());
        assert!(reasoning.is_empty() || told.answer.is_empty(), "a thought behind {told:?}");
        told.reasoning += &reasoning;
        told.answer += &answer;
    }
    told
}

/// Whether `text` is what was said and else only tags, brackets and white space of calls. Fails with what is left.
fn explained<'a>(syntax: &Syntax, text: &'a str, said: &[Part]) -> Result<(), &'a str> {
    if let (Syntax::Arguments(name), [Part::Call(called), Part::Arguments(arguments)]) =
        (syntax, said)
    {
        return if name == called && arguments == text { Ok(()) } else { Err(text) };
    }
    let mut rest = text;
    let mut parts = said;
    while let Some(part) = parts.first() {
        if let Part::Text(told) = part
            && let Some(behind) = rest.strip_prefix(told.as_str())
        {
            (rest, parts) = (behind, &parts[1..]);
        } else if let (Part::Call(_), Some((behind, num_parts))) = (part, call(rest, parts)) {
            (rest, parts) = (behind, &parts[num_parts..]);
        } else {
            rest = without_mark(syntax, rest).ok_or(rest)?;
        }
    }
    while !rest.is_empty() {
        rest = without_mark(syntax, rest).ok_or(rest)?;
    }
    Ok(())
}

/// What follows something that belongs to calls.
fn without_mark<'a>(syntax: &Syntax, text: &'a str) -> Option<&'a str> {
    let marks: &[&str] = match syntax {
        Syntax::Hermes => &["<tool_call>", "</tool_call>"],
        Syntax::Llama3Json => &["<|python_tag|>", ";"],
        Syntax::Mistral => &["[TOOL_CALLS]"],
        _ => &["[", ",", "]"],
    };
    let space = text.strip_prefix(char::is_whitespace);
    space.or_else(|| marks.iter().find_map(|mark| text.strip_prefix(mark)))
}

/// What follows the calls that `text` begins with, which are the first of `parts`, and how many parts these are.
fn call<'a>(text: &'a str, parts: &[Part]) -> Option<(&'a str, usize)> {
    if let [Part::Call(name), Part::Arguments(arguments), ..] = parts
        && let Some(behind) = text.strip_prefix(name.as_str())
    {
        let behind = behind.strip_prefix("[ARGS]").unwrap_or(behind);
        return Some((behind.strip_prefix(arguments.as_str())?, 2));
    }
    if let Some(behind) = call_of_list(text, parts) {
        return Some((behind, 2));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let value = values.next()?.ok()?.get();
    let calls: Vec<HashMap<String, &RawValue>> = if value.starts_with('[') {
        serde_json::from_str(value).ok()?
    } else {
        vec![serde_json::from_str(value).ok()?]
    };
    for (idx, call) in calls.iter().enumerate() {
        let [Part::Call(name), Part::Arguments(told), ..] = parts.get(2 * idx..)? else {
            return None;
        };
        let arguments = call.get("arguments").or(call.get("parameters"));
        let is_name = serde_json::from_str::<String>(call.get("name")?.get()).ok()? == *name;
        if !is_name || arguments.map_or("{}", |arguments| arguments.get()) != told {
            return None;
        }
    }
    Some((&text[values.byte_offset()..], 2 * calls.len()))
}

/// What follows a call whose arguments were told as they came, so that they may be cut off.
fn call_of_list<'a>(text: &'a str, parts: &[Part]) -> Option<&'a str> {
    let [Part::Call(name), Part::Arguments(arguments), ..] = parts else { return None };
    let pass = |text: &'a str, mark: &str| text.trim_start().strip_prefix(mark);
    let text = pass(pass(pass(text, "{")?, "\"name\"")?, ":")?.trim_start();
    let mut names = serde_json::Deserializer::from_str(text).into_iter::<String>();
    if names.next()?.ok()? != *name {
        return None;
    }
    let text = pass(&text[names.byte_offset()..], ",")?;
    let text = pass(pass(text, "\"parameters\"")?, ":")?;
    let behind = pass(text, arguments)?;
    Some(pass(behind, "}").unwrap_or(behind))
}
