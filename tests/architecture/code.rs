//! Rust source without what only looks like code.

/// `source` with comments and the contents of string and character literals taken out. Lines keep
/// their numbers.
pub fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped =
            skip_comment(rest).or_else(|| skip_string(rest, code.chars().next_back())).unwrap_or(0);
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        // Words on both sides must not become one.
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// Bytes of the comment that `text` begins with.
fn skip_comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}

/// Bytes of the string or character literal that `text` begins with; `before` precedes it.
fn skip_string(text: &str, before: Option<char>) -> Option<usize> {
    match text.as_bytes()[0] {
        b'"' => Some(escaped_literal(text, '"')),
        // r"…", r#"…"#, br"…": the r is not the end of a name.
        b'r' if !before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_') => {
            raw_string(text)
        }
        // 'a' and '\n' are literals, 'a without a second quote is a lifetime.
        b'\'' => {
            let mut chars = text[1..].char_indices();
            let (_, first) = chars.next()?;
            let (after, second) = chars.next()?;
            if first == '\\' {
                Some(escaped_literal(text, '\''))
            } else {
                (second == '\'').then_some(1 + after + 1)
            }
        }
        _ => None,
    }
}

fn escaped_literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = 1 + hashes + 1;
    Some(body.find(&end).map_or(text.len(), |at| opening + at + end.len()))
}

/// Whether `word` stands in `code` as a word of its own.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_word(c)).any(|found| found == word)
}

#[test]
fn comments_and_strings_are_taken_out_and_code_is_kept() {
    let check = |source: &str, expected: bool| {
        let code = without_comments_and_strings(source);
        assert_eq!(has_word(&code, "unsafe"), expected, "{source:?} -> {code:?}");
        assert_eq!(code.lines().count(), source.lines().count(), "{source:?}");
    };
    check("unsafe { f() }", true);
    check("/* a /* b */ c */ unsafe {}", true);
    check("let c = '\"'; unsafe {}", true);
    check("let c = '\\''; unsafe {}", true);
    check("fn f<'a>(x: &'a str) { unsafe {} }", true);
    check("let s = \"\\\"\"; unsafe {}", true);
    check("let s = r#\"\"quoted\"\"#; unsafe {}", true);
    check("let var\n= bar\"x\"; unsafe {}", true);
    check("// unsafe", false);
    check("/* a /* b */\nunsafe */", false);
    check("let s = \"unsafe\";", false);
    check("let s = \"\\\" unsafe\";", false);
    check("let s = r#\"\" unsafe\"#;", false);
    check("let s = br\"\\\"; let t = \"unsafe\";", false);
    check("#![forbid(unsafe_code)]", false);
    check("let c = '\\u{1F600}'; let s = \"unsafe\";", false);
}
