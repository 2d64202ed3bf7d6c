//! What of an answer a client is told, and how.

use serde_json::{Value, json};
use tool_calls::{Parser, Part, ReasoningReader, Syntax, Told};
use uuid::Uuid;

/// Reads one answer, whole or piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// Nothing if the answer is no thought, whatever it says.
    reasoning: Option<ReasoningReader>,
    /// Nothing if the answer is text, whatever it says.
    parser: Option<Parser>,
    is_named: bool,
    is_parallel: bool,
    has_short_ids: bool,
    num_calls: usize,
}

/// What is new in an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// What the model thinks.
    pub(crate) reasoning: String,
    /// Text outside of calls.
    pub(crate) content: String,
    /// Calls, and parts of arguments, as chunks of a stream have them.
    pub(crate) calls: Vec<Value>,
}

impl Reader {
    pub(super) fn new(syntax: Option<Syntax>, is_parallel: bool, has_short_ids: bool) -> Self {
        Reader {
            reasoning: None,
            is_named: matches!(syntax, Some(Syntax::Arguments(_))),
            parser: syntax.map(Parser::new),
            is_parallel,
            has_short_ids,
            num_calls: 0,
        }
    }

    /// The same, of an answer that begins with what the model thinks.
    pub(crate) fn behind(self, reasoning: Option<ReasoningReader>) -> Self {
        Reader { reasoning, ..self }
    }

    /// What is new with `text`. `is_last`: nothing will follow.
    pub(crate) fn read(&mut self, text: &str, is_last: bool) -> Delta {
        let Told { reasoning, answer } = match &mut self.reasoning {
            Some(reader) => reader.read(text, is_last),
            None => Told { reasoning: String::new(), answer: text.to_owned() },
        };
        let mut delta = Delta { reasoning, ..Delta::default() };
        match &mut self.parser {
            None => delta.content = answer,
            Some(parser) => {
                parser
                    .read(&answer, is_last)
                    .into_iter()
                    .for_each(|part| self.add(part, &mut delta));
            }
        }
        delta
    }

    fn add(&mut self, part: Part, delta: &mut Delta) {
        match part {
            Part::Text(text) => delta.content += &text,
            Part::Call(name) => {
                self.num_calls += 1;
                if self.is_wanted() {
                    delta.calls.push(json!({
                        "index": self.num_calls - 1,
                        "id": self.new_id(),
                        "type": "function",
                        "function": { "name": name, "arguments": "" },
                    }));
                }
            }
            Part::Arguments(text) if self.is_wanted() && !text.is_empty() => {
                let index = self.num_calls.saturating_sub(1);
                match delta.calls.last_mut().filter(|call| call["index"] == index) {
                    Some(call) => {
                        let arguments = &mut call["function"]["arguments"];
                        let before = arguments.as_str().unwrap_or_default();
                        *arguments = Value::from(format!("{before}{text}"));
                    }
                    None => delta
                        .calls
                        .push(json!({ "index": index, "function": { "arguments": text } })),
                }
            }
            Part::Arguments(_) => {}
        }
    }

    /// Whether the last call is to be told.
    fn is_wanted(&self) -> bool {
        self.is_parallel || self.num_calls == 1
    }

    fn new_id(&self) -> String {
        let id = Uuid::new_v4().simple().to_string();
        if self.has_short_ids { id[..9].to_owned() } else { format!("chatcmpl-tool-{id}") }
    }

    /// Why the answer ended, which as in OpenAI's API is not "tool_calls" for a function that the request
    /// named.
    pub(crate) fn finish_reason(&self, reason: &'static str) -> &'static str {
        let has_called = self.num_calls > 0 && !self.is_named;
        if has_called && reason == "stop" { "tool_calls" } else { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            (reader.finish_reason("stop"), reader.finish_reason("length")),
            ("stop", "length")
        );
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
}
