//! Tools that an answer may call: what a request says of them, and what of an answer is a call.

mod form;
mod parser;
mod reader;
mod request;
mod scan;

#[cfg(test)]
mod tests;

pub use form::ToolCallParser;
pub(crate) use reader::Reader;
pub(crate) use request::{ToolFields, ToolUse};
