//! Tools that an answer may call: what a request says of them, and what of an answer is a call.

mod form;
mod reader;
mod request;

pub(crate) use reader::Reader;
pub(crate) use request::{ToolFields, ToolUse};
