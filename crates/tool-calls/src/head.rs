//! The beginning of a call in a list that a schema makes: all of it before its arguments.

/// Longest beginning. A longer one is read with the arguments, so that no text is looked at again and again.
const MAX_BYTES: usize = 4096;

/// What a call and its arguments begin with.
const BRACKET: &str = "{";

/// White space of JSON.
const SPACE: [char; 4] = [' ', '\n', '\r', '\t'];

/// What a text begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// It is too short to tell.
    More,
    /// Nothing that is read here.
    Other,
    /// A call of this function, whose arguments begin at a byte of the text.
    Call { name: String, arguments_at: usize },
}

/// What `text` begins with: `{"name": NAME, "parameters": {`, or something else.
pub(crate) fn head(text: &str) -> Head {
    let mut rest = text;
    let found = match name_before_arguments(&mut rest) {
        Ok(name) => Head::Call { name, arguments_at: text.len() - rest.len() - BRACKET.len() },
        Err(head) => head,
    };
    match found {
        Head::More if text.len() > MAX_BYTES => Head::Other,
        Head::Call { arguments_at, .. } if arguments_at > MAX_BYTES => Head::Other,
        found => found,
    }
}

/// The function's name; `rest` is what follows the arguments' bracket.
fn name_before_arguments(rest: &mut &str) -> Result<String, Head> {
    pass(rest, BRACKET)?;
    pass(rest, "\"name\"")?;
    pass(rest, ":")?;
    let name = string(rest)?;
    pass(rest, ",")?;
    pass(rest, "\"parameters\"")?;
    pass(rest, ":")?;
    pass(rest, BRACKET)?;
    if name.is_empty() { Err(Head::Other) } else { Ok(name) }
}

/// Passes white space and a mark.
fn pass(rest: &mut &str, mark: &str) -> Result<(), Head> {
    let text = rest.trim_start_matches(SPACE);
    *rest = match text.strip_prefix(mark) {
        Some(behind) => behind,
        None if mark.starts_with(text) => return Err(Head::More),
        None => return Err(Head::Other),
    };
    Ok(())
}

/// Passes white space and a string.
fn string(rest: &mut &str) -> Result<String, Head> {
    pass(rest, "\"")?;
    let mut is_escaped = false;
    let end = rest.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    let (text, behind) = rest.split_at(end.ok_or(Head::More)?);
    *rest = &behind[1..];
    serde_json::from_str(&format!("\"{text}\"")).map_err(|_| Head::Other)
}
