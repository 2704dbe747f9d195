//! The walls between the crates, checked on what cargo itself knows of them.
//!
//! `app ─▶ console, bench ─▶ (log, origin, lake) ─▶ stages ─▶ core`: an arrow may be left out, never turned round.
//! A crate that this file does not know fails the test: give it a row in [`WALLS`] and a line in `ARCHITECTURE.md`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate, and the crates of this workspace that it may depend on.
const WALLS: &[(&str, &[&str])] = &[
    ("longshore-core", &[]),
    ("longshore-stages", &["longshore-core"]),
    ("longshore-log", &["longshore-core", "longshore-stages"]),
    ("longshore-origin", &["longshore-core", "longshore-stages"]),
    ("longshore-lake", &["longshore-core", "longshore-stages"]),
    ("longshore-console", &["longshore-core", "longshore-stages", "longshore-log", "longshore-origin", "longshore-lake"]),
    ("longshore-bench", &["longshore-core", "longshore-stages", "longshore-log", "longshore-origin", "longshore-lake"]),
    (
        "longshore",
        &[
            "longshore-core",
            "longshore-stages",
            "longshore-log",
            "longshore-origin",
            "longshore-lake",
            "longshore-console",
            "longshore-bench",
        ],
    ),
    (SIMULATOR, &["longshore-core", "longshore-stages"]),
];

/// Used by tests alone: any crate may name it as a dev-dependency, none as a dependency.
const SIMULATOR: &str = "longshore-sim";

/// Crates that do I/O, wait, tell the time or draw lots: none of them belongs into core.
const IMPURE: &[&str] = &[
    "async-trait",
    "deltalake",
    "deltalake-core",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "hyper-util",
    "libc",
    "object_store",
    "rand",
    "rdkafka",
    "reqwest",
    "rusqlite",
    "rustix",
    "tempfile",
    "tokio",
    "tokio-util",
];

/// What the standard library and core's own dependencies offer of the same.
const IMPURE_CALLS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::std",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "Instant::now",
    "Local::now",
    "SystemTime::now",
    "ToSocketAddrs",
    "Utc::now",
    "Uuid::new_v4",
];

/// One dependency as a manifest declares it.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
    /// Whether only tests, examples and benches see it.
    dev: bool,
}

/// What cargo says of the workspace.
struct Workspace {
    crates: BTreeSet<String>,
    arrows: Vec<Arrow>,
}

fn workspace() -> Workspace {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
    Workspace { crates: packages.iter().map(name).collect(), arrows: packages.iter().flat_map(arrows).collect() }
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn arrows(package: &Value) -> Vec<Arrow> {
    let from = package["name"].as_str().unwrap();
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .map(|d| Arrow { from: from.to_owned(), to: d["name"].as_str().unwrap().to_owned(), dev: d["kind"] == "dev" })
        .collect()
}

/// Why an arrow may not be, if it may not.
fn fault(arrow: &Arrow) -> Option<String> {
    let Arrow { from, to, dev } = arrow;
    let known = |name: &str| WALLS.iter().find(|(wall, _)| *wall == name);
    known(to)?; // not one of ours
    if to == SIMULATOR {
        return (!dev).then(|| format!("{from} depends on {to}, which is for tests alone: make it a dev-dependency"));
    }
    let allowed = known(from).is_some_and(|(_, allowed)| allowed.contains(&to.as_str()));
    (!allowed).then(|| format!("{from} depends on {to}, against the arrows of ARCHITECTURE.md"))
}

#[test]
fn every_crate_is_known() {
    let known: BTreeSet<String> = WALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let strangers: Vec<_> = workspace().crates.difference(&known).cloned().collect();
    assert!(strangers.is_empty(), "say in WALLS what these crates may depend on: {strangers:?}");
}

#[test]
fn dependencies_point_one_way() {
    let workspace = workspace();
    assert!(workspace.crates.contains("longshore-core"), "cargo metadata shows another workspace: {:?}", workspace.crates);
    let faults: Vec<_> = workspace.arrows.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_rule_itself_refuses_what_it_should() {
    let arrow = |from: &str, to: &str, dev| Arrow { from: from.to_owned(), to: to.to_owned(), dev };
    let refused = [
        arrow("longshore-core", "longshore-stages", false),
        arrow("longshore-core", "longshore-stages", true),
        arrow("longshore-stages", "longshore-log", false),
        arrow("longshore-log", "longshore-lake", false),
        arrow("longshore-lake", "longshore-origin", true),
        arrow("longshore-origin", "longshore", false),
        arrow("longshore", "longshore-sim", false),
    ];
    let accepted = [
        arrow("longshore", "longshore-log", false),
        arrow("longshore-stages", "longshore-core", false),
        arrow("longshore-stages", "longshore-sim", true),
        arrow("longshore-stages", "tokio", false),
    ];
    assert!(refused.iter().all(|a| fault(a).is_some()), "{refused:#?}");
    assert!(accepted.iter().all(|a| fault(a).is_none()), "{accepted:#?}");
}

#[test]
fn core_depends_on_nothing_that_acts() {
    let found: Vec<_> = workspace()
        .arrows
        .into_iter()
        .filter(|a| a.from == "longshore-core" && !a.dev && IMPURE.contains(&a.to.as_str()))
        .map(|a| a.to)
        .collect();
    assert!(found.is_empty(), "core decides and does nothing else; these belong into stages or an adapter: {found:?}");
}

#[test]
fn core_calls_nothing_that_acts() {
    let mut found = Vec::new();
    let files = sources(&root().join("crates/core/src"));
    assert!(!files.is_empty(), "no sources under crates/core/src");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let hits = code.filter(|(_, line)| IMPURE_CALLS.iter().any(|call| line.contains(call)));
        found.extend(hits.map(|(at, line)| format!("{}:{}: {}", file.display(), at + 1, line.trim())));
    }
    assert!(found.is_empty(), "core takes time, chance and files as arguments: {found:#?}");
}

/// All Rust files below a directory.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.chain(dirs.iter().flat_map(|dir| sources(dir))).collect()
}

/// The one module that may hold `unsafe` code.
const UNSAFE: &str = "crates/log/src/kafka/native.rs";

#[test]
fn unsafe_code_is_in_one_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = Command::new("git").args(["ls-files", "crates/*.rs"]).current_dir(&root).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let allows =
        |file: &&str| std::fs::read_to_string(root.join(file)).is_ok_and(|text| text.contains(concat!("allow(unsafe", "_code)")));
    assert_eq!(files.lines().filter(allows).collect::<Vec<_>>(), [UNSAFE]);
    assert!(std::fs::read_to_string(root.join("Cargo.toml")).unwrap().contains("unsafe_code = \"deny\""));
}
