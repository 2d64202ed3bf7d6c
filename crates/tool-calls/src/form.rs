//! How a model writes the calls that it makes of its own accord.

use crate::parser::Syntax;

/// How a model writes calls of tools: vLLM's `--tool-call-parser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolCallParser {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen 2.5 and 3.
    Hermes,
    /// `{"name": …, "parameters": …}`: Llama 3.1 to 3.3.
    Llama3Json,
    /// `[TOOL_CALLS]` and a list, or a name and its arguments: Mistral.
    Mistral,
}

impl ToolCallParser {
    /// All there are.
    pub const ALL: [ToolCallParser; 3] =
        [ToolCallParser::Hermes, ToolCallParser::Llama3Json, ToolCallParser::Mistral];

    /// vLLM's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            ToolCallParser::Hermes => "hermes",
            ToolCallParser::Llama3Json => "llama3_json",
            ToolCallParser::Mistral => "mistral",
        }
    }

    /// The one whose calls a chat template writes; nothing if it writes none, or of several kinds.
    pub fn of_template(source: &str) -> Option<ToolCallParser> {
        let writes = |parser: &ToolCallParser| match parser {
            ToolCallParser::Hermes => source.contains("<tool_call>"),
            ToolCallParser::Llama3Json => {
                source.contains("ipython") && source.contains("\"parameters\": ")
            }
            ToolCallParser::Mistral => source.contains("[TOOL_CALLS]"),
        };
        let mut found = Self::ALL.into_iter().filter(writes);
        match (found.next(), found.next()) {
            (Some(parser), None) => Some(parser),
            _ => None,
        }
    }

    /// How its calls are read.
    pub fn syntax(self) -> Syntax {
        match self {
            ToolCallParser::Hermes => Syntax::Hermes,
            ToolCallParser::Llama3Json => Syntax::Llama3Json,
            ToolCallParser::Mistral => Syntax::Mistral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_writes_calls_of_one_kind_tells_it() {
        for (source, expected) in [
            ("{{ '<tool_call>\\n' }}", Some(ToolCallParser::Hermes)),
            (
                "Environment: ipython {\"name\": x, \"parameters\": y}",
                Some(ToolCallParser::Llama3Json),
            ),
            ("{{ \"[TOOL_CALLS]\" }}", Some(ToolCallParser::Mistral)),
            ("{{ message.content }}", None),
            ("<tool_call> or [TOOL_CALLS]", None),
        ] {
            assert_eq!(ToolCallParser::of_template(source), expected, "{source}");
        }
    }
}
