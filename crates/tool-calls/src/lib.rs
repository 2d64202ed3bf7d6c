//! Thoughts and calls of tools in what a model writes, as it writes it.
//!
//! ```
//! use tool_calls::{Parser, Part, ToolCallParser};
//!
//! let mut parser = Parser::new(ToolCallParser::Hermes.syntax());
//! assert_eq!(parser.read("Wait. <tool_call>{\"name\": \"f\", ", false), [Part::Text("Wait. ".into())]);
//! assert_eq!(
//!     parser.read("\"arguments\": {\"a\": 1}}</tool_call>", true),
//!     [Part::Call("f".into()), Part::Arguments("{\"a\": 1}".into())]
//! );
//! ```
#![forbid(unsafe_code)]

mod form;
mod head;
mod parser;
mod reasoning;
mod scan;

pub use form::ToolCallParser;
pub use parser::{Parser, Part, Syntax};
pub use reasoning::{ReasoningParser, ReasoningReader, Told};
