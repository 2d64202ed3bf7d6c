//! Data flows one way: no crate depends on one that ARCHITECTURE.md does not allow it.
//!
//! The table in ARCHITECTURE.md is the rule itself, read by this test, so that the page and the
//! rule cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::assert_none;
use crate::workspace::{Dependency, Package, packages, read};

/// Who may depend on whom: the names of a crate's allowed dependencies, or `None` for all.
type Allowed = BTreeMap<String, Option<BTreeSet<String>>>;

/// Reads the rows `| `crates/NAME` | what it is | may depend on |`.
fn allowed(architecture: &str) -> Allowed {
    let rows = architecture.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [first, .., may_depend_on] = cells[..] else {
            panic!("a row of the crate table has at least two cells: {row}");
        };
        let path = in_backticks(first)[0];
        let name = path.rsplit('/').next().expect("split gives one item");
        let may = match may_depend_on {
            "nothing of ours" => Some(BTreeSet::new()),
            "all" => None,
            names => Some(in_backticks(names).into_iter().map(str::to_owned).collect()),
        };
        (name.to_owned(), may)
    })
    .collect()
}

fn in_backticks(text: &str) -> Vec<&str> {
    let found: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    assert!(!found.is_empty(), "no name in backticks in {text:?}");
    found
}

fn forbidden_edges(packages: &[Package], allowed: &Allowed) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        let Some(may) = allowed.get(&package.name) else {
            violations
                .push(format!("{}: add it to the crate table of ARCHITECTURE.md", package.name));
            continue;
        };
        let ours = package.dependencies.iter().filter(|d| d.ours);
        let wrong = ours.filter(|d| may.as_ref().is_some_and(|may| !may.contains(&d.name)));
        violations.extend(wrong.map(|d| {
            format!("{} depends on {}, which ARCHITECTURE.md does not allow", package.name, d.name)
        }));
    }
    let exists = |name: &str| packages.iter().any(|package| package.name == name);
    let names = allowed.values().flatten().flatten().chain(allowed.keys());
    let missing: BTreeSet<&String> = names.filter(|name| !exists(name)).collect();
    violations.extend(
        missing.into_iter().map(|name| {
            format!("ARCHITECTURE.md's crate table names {name}, which does not exist")
        }),
    );
    violations
}

/// `engine-core` links no crate that needs an operating system.
fn std_dependencies(core: &Package) -> Vec<String> {
    let dependencies = core.dependencies.iter();
    let with_std = dependencies.filter(|dependency| dependency.default_features);
    with_std
        .map(|dependency| {
            let name = &dependency.name;
            format!("engine-core: {name} needs default-features = false, to stay without std")
        })
        .collect()
}

/// Libraries have typed errors; `anyhow` is for programs.
fn anyhow_in_libraries(packages: &[Package]) -> Vec<String> {
    const PROGRAMS: [&str; 3] = ["kvasir", "xtask", "gfx942-run"];
    let libraries = packages.iter().filter(|p| !PROGRAMS.contains(&p.name.as_str()));
    let with_anyhow = libraries.filter(|p| p.dependencies.iter().any(|d| d.name == "anyhow"));
    with_anyhow
        .map(|package| format!("{}: a library has typed errors, not anyhow", package.name))
        .collect()
}

fn architecture_table() -> Allowed {
    allowed(&read(Path::new("ARCHITECTURE.md")).text)
}

#[test]
fn every_dependency_is_allowed() {
    assert_none(&forbidden_edges(&packages(), &architecture_table()));
}

#[test]
fn engine_core_depends_on_nothing_with_std() {
    let packages = packages();
    let core = packages.iter().find(|package| package.name == "engine-core");
    assert_none(&std_dependencies(core.expect("engine-core exists")));
}

#[test]
fn libraries_have_typed_errors() {
    assert_none(&anyhow_in_libraries(&packages()));
}

fn add_dependency(packages: &mut [Package], of: &str, name: &str, ours: bool) {
    let package = packages.iter_mut().find(|package| package.name == of);
    package.expect("the package exists").dependencies.push(Dependency {
        name: name.to_owned(),
        ours,
        default_features: true,
    });
}

#[test]
fn a_forbidden_edge_is_seen() {
    let table = architecture_table();
    for (of, on) in [
        ("engine-core", "engine"),
        ("reference-cpu", "kernels-cpu"),
        ("kernels-cpu", "reference-cpu"),
        ("host-io", "engine-core"),
        // The tiers read by the transfer layer.
        ("kv-store", "host-io"),
        ("engine", "kvasir"),
        ("xtask", "engine"),
    ] {
        let mut packages = packages();
        add_dependency(&mut packages, of, on, true);
        let violations = forbidden_edges(&packages, &table);
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].starts_with(&format!("{of} depends on {on}")));
    }
}

#[test]
fn a_crate_missing_on_either_side_is_seen() {
    let mut packages = packages();
    packages[0].name = "newcomer".to_owned();
    let violations = forbidden_edges(&packages, &architecture_table());
    assert!(violations.iter().any(|v| v.starts_with("newcomer:")), "{violations:?}");
    assert!(violations.iter().any(|v| v.contains("does not exist")), "{violations:?}");
}

#[test]
fn std_and_anyhow_are_seen() {
    let mut packages = packages();
    add_dependency(&mut packages, "engine-core", "anyhow", false);
    assert_eq!(anyhow_in_libraries(&packages).len(), 1);
    let core = packages.iter().find(|package| package.name == "engine-core");
    assert_eq!(std_dependencies(core.expect("engine-core exists")).len(), 1);
}
