//! Every command of the book does what the book says: each page's are run, in its order, in a folder of the page's own.

mod fences;
#[path = "../golden_model/mod.rs"]
mod golden_model;
#[path = "../server/listening.rs"]
mod listening;
mod page;
#[path = "../../crates/kv-store-object/tests/bucket/server.rs"]
#[allow(dead_code, reason = "a server in trouble is for the tier's own tests")]
mod server;

use fences::{Fence, Mark, fences};
use golden_model::repository_path;

/// The pages that have commands, by their names in docs.
const PAGES: [&str; 7] =
    ["quick-start", "configuration", "api", "kv-store", "mi300x", "kernels", "benchmarks"];

/// Pages without: they are made from the code, or are tables alone.
const WITHOUT_COMMANDS: [&str; 2] = ["api-fields", "invariants"];

fn commands(page: &str) -> Vec<Fence> {
    let path = repository_path("docs").join(page).with_extension("md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fences(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_summary_has_every_page() {
    let summary = std::fs::read_to_string(repository_path("docs/SUMMARY.md")).unwrap();
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split(".md)").next());
    let mut listed: Vec<&str> = links.collect();
    let mut pages = [&PAGES[..], &WITHOUT_COMMANDS].concat();
    listed.sort_unstable();
    pages.sort_unstable();
    assert_eq!(listed, pages);
    assert!(PAGES.iter().all(|page| !commands(page).is_empty()));
    assert!(WITHOUT_COMMANDS.iter().all(|page| commands(page).is_empty()));
}

/// What a machine with the hardware would run is not proved here, so there is as little of it as can be.
#[test]
fn only_one_block_is_for_another_machine() {
    let is_elsewhere = |fence: &Fence| fence.mark == Mark::Mi300x;
    let marked: Vec<&str> =
        PAGES.into_iter().filter(|page| commands(page).iter().any(is_elsewhere)).collect();
    assert_eq!(marked, ["mi300x"]);
    assert_eq!(commands("mi300x").iter().filter(|fence| is_elsewhere(fence)).count(), 1);
}

#[test]
fn a_command_that_fails_is_seen() {
    let fence = |text: &str| Fence { mark: Mark::Run, line: 7, commands: text.to_owned() };
    for commands in
        ["kvasir generate --no-such-option", "false | true", "cargo install kvasir", "echo $NONE"]
    {
        let error = page::run("none", &[fence(commands)]).unwrap_err();
        assert!(error.contains("line 7") && error.contains(commands), "{error}");
    }
    page::run("none", &[fence("kvasir presets > rows.txt"), fence("test -s rows.txt")]).unwrap();
}

macro_rules! pages {
    ($($test:ident: $page:literal;)*) => {
        $(#[test]
        fn $test() {
            page::run($page, &commands($page)).unwrap_or_else(|error| panic!("{error}"));
        })*

        #[test]
        fn every_page_is_run() {
            assert_eq!(PAGES, [$($page),*]);
        }
    };
}

pages! {
    quick_start: "quick-start";
    configuration: "configuration";
    api: "api";
    kv_store: "kv-store";
    mi300x: "mi300x";
    kernels: "kernels";
    benchmarks: "benchmarks";
}
