//! Calls of tools in what a model writes, as it writes it.
//!
//! A call is told once its JSON is whole: only then is it known to be one. What begins like a call and is none,
//! or is cut off, stays text, so that nothing a model says is lost. Where a schema makes sure of calls, their arguments
//! are told as they come, behind the function's name. What has been told depends on the text
//! alone and not on the pieces that it came in: a decision waits until no later text could change it. White
//! space after a call belongs to the call.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::head::{Head, head};
use crate::scan::{Scan, Scanner};

/// Longest name of a function in Mistral's form, which only has what follows to tell where it ends.
const MAX_NAME_BYTES: usize = 256;

const HERMES_OPEN: &str = "<tool_call>";
const HERMES_CLOSE: &str = "</tool_call>";
const LLAMA3_TAG: &str = "<|python_tag|>";
const MISTRAL_TAG: &str = "[TOOL_CALLS]";
const MISTRAL_ARGUMENTS: &str = "[ARGS]";

/// How calls are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`, anywhere in the text.
    Hermes,
    /// `{"name": …, "parameters": …}`, more of them after semicolons; text only behind them.
    Llama3Json,
    /// `[TOOL_CALLS]` before a list of `{"name": …, "arguments": …}`, or before `NAME{…}` or `NAME[ARGS]{…}`.
    Mistral,
    /// `[{"name": …, "parameters": …}, …]`, and nothing else: what a schema makes of any model's answer.
    List,
    /// The arguments of this function, and nothing else.
    Arguments(String),
}

/// What is new in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that belongs to no call.
    Text(String),
    /// A call of this function begins.
    Call(String),
    /// What follows of the arguments of the last call.
    Arguments(String),
}

/// Reads one answer.
#[derive(Clone, Debug)]
pub struct Parser {
    syntax: Syntax,
    state: State,
    /// Text that nothing has been said of.
    buffer: String,
    /// Nothing but white space has come since a call.
    is_after_call: bool,
}

/// Where in the text the buffer begins, and how far it is read.
#[derive(Clone, Debug)]
enum State {
    /// In text that a tag may follow.
    Text,
    /// At what stands before a call, of which so many bytes have been passed.
    Before { at: usize },
    /// The same, at a function's name.
    Name { at: usize },
    /// In JSON from `start`, read up to `at`; of the arguments of `name`, or of a call.
    Json { start: usize, at: usize, scanner: Scanner, name: Option<String> },
    /// At a call of a list, before its arguments.
    Head { at: usize },
    /// In arguments that are told as they come.
    Arguments(Scanner),
    /// Behind them, before the bracket that ends the call.
    Bracket,
    /// Behind a call that a tag may close.
    Close,
    /// In text that no call can follow.
    Rest,
}

/// A call as models write it.
#[derive(Deserialize)]
struct Written<'a> {
    name: String,
    #[serde(borrow, alias = "parameters")]
    arguments: Option<&'a RawValue>,
}

impl Parser {
    /// Before the first word of an answer.
    pub fn new(syntax: Syntax) -> Self {
        let state = match syntax {
            Syntax::Hermes | Syntax::Mistral => State::Text,
            Syntax::Llama3Json | Syntax::List => State::Before { at: 0 },
            Syntax::Arguments(_) => State::Rest,
        };
        Parser { syntax, state, buffer: String::new(), is_after_call: false }
    }

    /// What is known with `text`, which follows what came before. `is_last`: nothing will follow.
    pub fn read(&mut self, text: &str, is_last: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Syntax::Arguments(name) = &mut self.syntax {
            if !name.is_empty() {
                parts.push(Part::Call(std::mem::take(name)));
            }
            parts.push(Part::Arguments(text.to_owned()));
            return parts;
        }
        self.buffer.push_str(text);
        while self.step(&mut parts) {}
        if is_last {
            self.tell(self.buffer.len(), &mut parts);
        }
        parts
    }

    /// Goes one step further in the buffer; `false` if more text is needed for it.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match &mut self.state {
            State::Text => self.find_tag(parts),
            State::Before { at } => {
                let at = *at;
                self.pass(at, parts)
            }
            State::Name { at } => {
                let at = *at;
                self.read_name(at, parts)
            }
            State::Json { at, scanner, .. } => {
                let bytes = self.buffer.as_bytes().iter().skip(*at);
                for &byte in bytes {
                    match scanner.take(byte) {
                        Scan::More => *at += 1,
                        Scan::End => {
                            let end = *at + 1;
                            return self.end_json(end, parts);
                        }
                        Scan::Invalid => {
                            let at = *at;
                            return self.is_no_call(at, parts);
                        }
                    }
                }
                false
            }
            State::Head { at } => {
                let at = *at;
                self.read_head(at, parts)
            }
            State::Arguments(_) => self.read_arguments(parts),
            State::Bracket => self.end_call(),
            State::Close => self.close(),
            State::Rest => {
                self.tell(self.buffer.len(), parts);
                false
            }
        }
    }

    fn find_tag(&mut self, parts: &mut Vec<Part>) -> bool {
        let tag = if self.syntax == Syntax::Hermes { HERMES_OPEN } else { MISTRAL_TAG };
        if let Some(place) = self.buffer.find(tag) {
            self.tell(place, parts);
            self.state = State::Before { at: tag.len() };
            return true;
        }
        let may_begin = |length: &usize| self.buffer.ends_with(&tag[..*length]);
        let held = (1..tag.len()).rev().find(may_begin).unwrap_or(0);
        self.tell(self.buffer.len() - held, parts);
        false
    }

    /// Passes what may stand before a call's JSON.
    fn pass(&mut self, at: usize, parts: &mut Vec<Part>) -> bool {
        let rest = self.buffer[at..].trim_start();
        let at = self.buffer.len() - rest.len();
        let Some(next) = rest.chars().next() else {
            self.state = State::Before { at };
            return false;
        };
        let passed = match (&self.syntax, next) {
            (Syntax::List, '{') => {
                self.state = State::Head { at };
                return true;
            }
            (_, '{') | (Syntax::Mistral, '[') => {
                self.state = json(at, None);
                return true;
            }
            (Syntax::Mistral, c) if is_of_name(c) => {
                self.state = State::Name { at };
                return true;
            }
            (Syntax::Llama3Json, '<') if rest.starts_with(LLAMA3_TAG) => LLAMA3_TAG.len(),
            (Syntax::Llama3Json, '<') if LLAMA3_TAG.starts_with(rest) => {
                self.state = State::Before { at };
                return false;
            }
            (Syntax::Llama3Json, ';') if self.is_after_call => 1,
            (Syntax::List, '[' | ',') => 1,
            (Syntax::List, ']') => {
                self.buffer.drain(..=at);
                self.state = State::Rest;
                return true;
            }
            _ => return self.is_no_call(at, parts),
        };
        self.state = State::Before { at: at + passed };
        true
    }

    fn read_name(&mut self, at: usize, parts: &mut Vec<Part>) -> bool {
        let length = self.buffer[at..].find(|c| !is_of_name(c));
        if length.unwrap_or(self.buffer.len() - at) > MAX_NAME_BYTES {
            return self.is_no_call(at, parts);
        }
        let Some(length) = length else { return false };
        let (name, rest) = self.buffer[at..].split_at(length);
        if !rest.starts_with(MISTRAL_ARGUMENTS) && MISTRAL_ARGUMENTS.starts_with(rest) {
            return false;
        }
        let object = rest.strip_prefix(MISTRAL_ARGUMENTS).unwrap_or(rest);
        match object.bytes().next() {
            None => false,
            Some(b'{') => {
                let start = self.buffer.len() - object.len();
                self.state = json(start, Some(name.to_owned()));
                true
            }
            Some(_) => self.is_no_call(at, parts),
        }
    }

    /// The JSON is whole: a call, some, or none after all.
    fn end_json(&mut self, end: usize, parts: &mut Vec<Part>) -> bool {
        let State::Json { start, name, .. } = &self.state else { return false };
        let json = &self.buffer[*start..end];
        let Some(calls) = calls(json, name.as_deref()) else {
            return self.is_no_call(end, parts);
        };
        for (name, arguments) in calls {
            parts.extend([Part::Call(name), Part::Arguments(arguments)]);
        }
        self.buffer.drain(..end);
        self.go_on_after_call();
        true
    }

    /// A call has ended.
    fn go_on_after_call(&mut self) {
        self.is_after_call = true;
        self.state = match self.syntax {
            Syntax::Hermes => State::Close,
            Syntax::Mistral => State::Text,
            Syntax::Llama3Json | Syntax::List => State::Before { at: 0 },
            Syntax::Arguments(_) => State::Rest,
        };
    }

    fn read_head(&mut self, at: usize, parts: &mut Vec<Part>) -> bool {
        match head(&self.buffer[at..]) {
            Head::More => return false,
            Head::Other => self.state = json(at, None),
            Head::Call { name, arguments_at } => {
                parts.push(Part::Call(name));
                self.buffer.drain(..at + arguments_at);
                self.state = State::Arguments(Scanner::new());
            }
        }
        true
    }

    fn read_arguments(&mut self, parts: &mut Vec<Part>) -> bool {
        let State::Arguments(scanner) = &mut self.state else { return false };
        let mut read = self.buffer.bytes().map(|byte| scanner.take(byte)).enumerate();
        let end = read.find(|(_, scan)| *scan != Scan::More);
        let (length, next) = match end {
            None => (self.buffer.len(), None),
            Some((last, Scan::End)) => (last + 1, Some(State::Bracket)),
            // No schema allows it.
            Some((wrong, _)) => (wrong, Some(State::Rest)),
        };
        let text: String = self.buffer.drain(..length).collect();
        if !text.is_empty() {
            parts.push(Part::Arguments(text));
        }
        let Some(next) = next else { return false };
        self.state = next;
        true
    }

    fn end_call(&mut self) -> bool {
        self.drop_space();
        match self.buffer.bytes().next() {
            None => return false,
            Some(b'}') => {
                self.buffer.drain(..1);
                self.go_on_after_call();
            }
            Some(_) => self.state = State::Rest,
        }
        true
    }

    fn close(&mut self) -> bool {
        self.drop_space();
        let is_closed = self.buffer.starts_with(HERMES_CLOSE);
        if !is_closed && HERMES_CLOSE.starts_with(&self.buffer) {
            return false;
        }
        if is_closed {
            self.buffer.drain(..HERMES_CLOSE.len());
        }
        self.state = State::Text;
        true
    }

    /// Drops white space that belongs to a call; kept, it would be looked at again and again.
    fn drop_space(&mut self) {
        let num_spaces = self.buffer.len() - self.buffer.trim_start().len();
        self.buffer.drain(..num_spaces);
    }

    /// What has been read up to `end` is no call, but text.
    fn is_no_call(&mut self, end: usize, parts: &mut Vec<Part>) -> bool {
        self.tell(end, parts);
        self.state = match self.syntax {
            Syntax::Hermes | Syntax::Mistral => State::Text,
            _ => State::Rest,
        };
        true
    }

    /// So many bytes are text.
    fn tell(&mut self, num_bytes: usize, parts: &mut Vec<Part>) {
        let text: String = self.buffer.drain(..num_bytes).collect();
        let text = if self.is_after_call { text.trim_start() } else { &text };
        if text.is_empty() {
            return;
        }
        self.is_after_call = false;
        match parts.last_mut() {
            Some(Part::Text(before)) => before.push_str(text),
            _ => parts.push(Part::Text(text.to_owned())),
        }
    }
}

fn json(start: usize, name: Option<String>) -> State {
    State::Json { start, at: start, scanner: Scanner::new(), name }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The functions called and their arguments, if `json` is nothing else: the arguments of `name`, a call, or
/// a list of calls.
fn calls(json: &str, name: Option<&str>) -> Option<Vec<(String, String)>> {
    if let Some(name) = name {
        let arguments: &RawValue = serde_json::from_str(json).ok()?;
        return Some(vec![(name.to_owned(), arguments.get().to_owned())]);
    }
    let written: Vec<&RawValue> = if json.starts_with('[') {
        serde_json::from_str(json).ok()?
    } else {
        vec![serde_json::from_str(json).ok()?]
    };
    let calls: Vec<_> = written.into_iter().map(call).collect::<Option<_>>()?;
    (!calls.is_empty()).then_some(calls)
}

/// A function and its arguments, if that is what `json` says. A list of the two says nothing, whatever serde makes of it.
fn call(json: &RawValue) -> Option<(String, String)> {
    let json = json.get();
    let Written { name, arguments } =
        json.starts_with('{').then(|| serde_json::from_str(json).ok())??;
    let arguments = arguments.map_or("{}", RawValue::get);
    let is_call = !name.is_empty() && arguments.starts_with('{');
    is_call.then(|| (name, arguments.to_owned()))
}
