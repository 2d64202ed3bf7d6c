//! The commands of a page: blocks that begin with ```` ```sh ````.

/// A block of commands.
#[derive(Debug)]
pub struct Fence {
    pub mark: Mark,
    /// Where it begins in its page.
    pub line: usize,
    pub commands: String,
}

/// What stands behind `sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: commands that end.
    Run,
    /// A server, which runs until the page ends.
    Server,
    /// For a machine with the hardware.
    Mi300x,
}

/// Blocks of other kinds that a page may have.
const TEXTS: [&str; 5] = ["text", "json", "yaml", "toml", "rust"];

/// The blocks of commands of a page.
pub fn fences(page: &str) -> Result<Vec<Fence>, String> {
    let mut fences = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> =
            lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```").collect();
        let mark = match info {
            "sh" => Mark::Run,
            "sh,server" => Mark::Server,
            "sh,mi300x" => Mark::Mi300x,
            info if TEXTS.contains(&info) => continue,
            info => return Err(format!("line {number}: there is no block of kind {info:?}")),
        };
        fences.push(Fence { mark, line: number, commands: text.join("\n") });
    }
    Ok(fences)
}

#[test]
fn blocks_are_found_with_their_marks() {
    let page = "a\n```sh\none\ntwo\n```\n```text\nno\n```\n```sh,server\nserve\n```\n";
    let found = fences(page).unwrap();
    let found: Vec<_> = found.iter().map(|f| (f.mark, f.line, f.commands.as_str())).collect();
    assert_eq!(found, [(Mark::Run, 2, "one\ntwo"), (Mark::Server, 9, "serve")]);
    for unknown in ["```\nx\n```", "```bash\nx\n```", "```sh,gpu\nx\n```"] {
        assert!(fences(unknown).is_err(), "{unknown}");
    }
}
