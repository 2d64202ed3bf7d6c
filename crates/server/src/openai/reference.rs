//! The page of the book on fields and metrics, docs/api-fields.md, made from the types that read and count them.

use std::fmt::Write as _;

use engine::{EngineStatus, SchedulerConfig};

use super::responses::request::ResponseRequest;
use super::{chat, completions};
use crate::body::Fields;
use crate::metrics::Metrics;
use crate::operations::{DetokenizeRequest, ToTokenize};
use crate::routes::routes;

const INTRODUCTION: &str = "\
# Fields and metrics

<!-- Written by a test from the types of requests: KVASIR_BLESS=1 cargo test -p server reference -->

A field that is not here is refused by name, with the field that was meant if one is alike. A field that clients know from
elsewhere, and that there is no code for, is refused with the reason. `null` is a field that was left out. Fields mean
what they mean in OpenAI's and vLLM's documentation.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    fields::<chat::Asked>(&mut page, "/v1/chat/completions");
    fields::<completions::Asked>(&mut page, "/v1/completions");
    fields::<ResponseRequest>(&mut page, "/v1/responses");
    fields::<ToTokenize>(&mut page, "/tokenize");
    fields::<DetokenizeRequest>(&mut page, "/detokenize");
    page.push_str(
        "\n## Metrics\n\n| name at `/metrics` | kind | what it counts |\n|---|---|---|\n",
    );
    let metrics = Metrics::new("MODEL", &SchedulerConfig::default(), "bfloat16");
    let metrics = metrics.render(&EngineStatus::default()).unwrap();
    let helps = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let kinds = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for ((name, help), (_, kind)) in helps.zip(kinds) {
        let _ = writeln!(page, "| `{name}` | {kind} | {help} |");
    }
    page
}

fn fields<T: Fields>(page: &mut String, path: &str) {
    let known: Vec<String> = T::known().keys().map(|name| format!("`{name}`")).collect();
    let _ = write!(page, "\n## `{path}`\n\nTakes {}.\n", known.join(", "));
    let refused = T::unsupported();
    if !refused.is_empty() {
        page.push_str("\n| refused | because |\n|---|---|\n");
        refused.iter().for_each(|(name, why)| {
            let _ = writeln!(page, "| `{name}` | {why} |");
        });
    }
}

#[test]
fn the_reference_says_what_requests_and_metrics_have() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api-fields.md");
    let page = page();
    if std::env::var_os("KVASIR_BLESS").is_some() {
        std::fs::write(PATH, &page).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    let differing = page.lines().zip(committed.lines()).find(|(made, found)| made != found);
    assert_eq!(differing, None, "run it with KVASIR_BLESS=1, and look at the difference");
    assert_eq!(page, committed, "run it with KVASIR_BLESS=1, and look at the difference");
}

#[test]
fn the_guide_names_every_path_and_no_other() {
    const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `/")?.split('`').next());
    let mut named: Vec<String> = rows.map(|path| format!("/{path}")).collect();
    let mut paths: Vec<&str> = routes().iter().map(|route| route.path).collect();
    named.sort_unstable();
    paths.sort_unstable();
    // A path may have two methods.
    paths.dedup();
    assert_eq!(named, paths);
}
