//! `longshore bench report` and `compare`, through the real program.

#![allow(clippy::unwrap_used)]

#[path = "../../bench/tests/fixtures/mod.rs"]
mod fixtures;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixtures::{good, interrupted, report_of, target, throughput, troubled, with};
use longshore_bench::model::{Good, Report};
use serde_json::Value;
use tempfile::TempDir;

fn bench(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_longshore")).arg("bench").args(words).current_dir(dir).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with reports of these names.
fn kept(reports: &[(&str, Report)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, report) in reports {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(report).unwrap()).unwrap();
    }
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_report_is_written_again_beside_itself_and_its_verdicts_are_shown() {
    let dir = kept(&[("run/report.json", good())]);
    let output = bench(dir.path(), &["report", "run"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let all = ["benchmarks-bigger.json", "benchmarks-smaller.json", "benchmarks.json", "report.html", "report.json", "report.md"];
    assert_eq!(files(&dir.path().join("run")), all);
    let text = said(&output);
    let row = text.lines().find(|line| line.contains("sustained_throughput")).unwrap();
    for cell in ["Throughput", "≥ 1,000/s", "4,200/s (4,074 – 4,368)", "+320.0 %", "PASS"] {
        assert!(row.contains(cell), "{cell}: {row}");
    }
    assert!(text.contains("\nAll in all: PASS\n") && text.contains("run/report.html"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn the_exit_code_of_a_report_is_its_verdict() {
    let warned = throughput(&[900.0]);
    for (report, expected, word) in
        [(good(), 0, "PASS"), (warned, 0, "WARN"), (interrupted(), 3, "INCONCLUSIVE"), (troubled(), 3, "FAIL")]
    {
        let dir = kept(&[("r.json", report)]);
        let output = bench(dir.path(), &["report", "r.json", "--out", "again", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((code(&output), found["judged"]["verdict"].as_str().unwrap()), (expected, word));
        assert_eq!(found["files"].as_array().unwrap().len(), 6);
        assert_eq!(files(&dir.path().join("again")).len(), 6);
        assert_eq!(files(dir.path()), ["again", "r.json"]);
    }
    let dir = kept(&[("r.json", troubled()), ("report.json", good())]);
    let before = std::fs::read(dir.path().join("report.json")).unwrap();
    let text = said(&bench(dir.path(), &["report", "r.json"]));
    assert_eq!(files(dir.path()), ["r", "r.json", "report.json"], "what is beside it is another report's");
    assert_eq!(std::fs::read(dir.path().join("report.json")).unwrap(), before);
    assert!(text.contains("FAIL: offset_commit_behaviour: the ledger does not hold: 1 missing"), "{text}");
    assert!(text.contains("INCONCLUSIVE: latency_under_load: repeat 2: the generator was 1.2 s late"), "{text}");
}

#[test]
fn what_is_no_report_is_said_so() {
    let dir = kept(&[("old.json", Report { schema: 99, ..good() })]);
    std::fs::write(dir.path().join("other.json"), "{}").unwrap();
    for (name, words) in
        [("old.json", "form 99"), ("other.json", "no benchmark report"), ("gone.json", "gone.json: No such file")]
    {
        let output = bench(dir.path(), &["report", name]);
        assert!(code(&output) == 1 && complained(&output).contains(words), "{name}: {output:?}");
    }
}

#[test]
fn a_comparison_ends_by_what_became_worse() {
    let of = |value: f64| report_of(vec![with("sustained_throughput", target("throughput_per_s", Good::AtLeast, 1.0), &[value])]);
    let dir = kept(&[("base.json", of(1_000.0)), ("same.json", of(950.0)), ("worse.json", of(850.0)), ("bad.json", of(700.0))]);
    for (new, expected, words) in [("same.json", 0, "−5 %"), ("worse.json", 3, "WARNING"), ("bad.json", 1, "FAILURE")] {
        let output = bench(dir.path(), &["compare", "base.json", new]);
        assert!(code(&output) == expected && said(&output).contains(words), "{new}: {output:?}");
        let json = bench(dir.path(), &["compare", "base.json", new, "--json"]);
        let found: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(code(&json), expected);
        assert_eq!(found["benchmarks"][0]["metrics"][0]["base"]["median"], 1_000.0);
    }
}

#[test]
fn other_machines_are_refused_by_name_unless_told() {
    let mut new = good();
    new.environment.cores = 64;
    new.settings.compression = "zstd".to_owned();
    let dir = kept(&[("base.json", good()), ("new.json", new)]);
    let refused = bench(dir.path(), &["compare", "base.json", "new.json"]);
    assert_eq!(code(&refused), 2, "{refused:?}");
    for words in ["cores: 2 in the base, 64 in the new report", "compression: lz4 in the base, zstd", "--allow-different"] {
        assert!(complained(&refused).contains(words), "{words}: {refused:?}");
    }
    assert!(refused.stdout.is_empty());
    let told = bench(dir.path(), &["compare", "base.json", "new.json", "--allow-different"]);
    assert!(code(&told) == 0 && said(&told).contains("differs: cores: 2 in the base"), "{told:?}");
}

#[test]
fn what_says_nothing_is_not_compared_in_silence() {
    let mut late = good();
    late.benchmarks[3].repeats[0].inconclusive.push("the generator was late".to_owned());
    let mut wrong = good();
    wrong.benchmarks[3].repeats[0].ledger.doubled = 1;
    let dir = kept(&[("good.json", good()), ("late.json", late), ("wrong.json", wrong)]);
    let inconclusive = bench(dir.path(), &["compare", "good.json", "late.json"]);
    assert!(code(&inconclusive) == 3 && said(&inconclusive).contains("not compared: new is INCONCLUSIVE"), "{inconclusive:?}");
    let failed = bench(dir.path(), &["compare", "good.json", "wrong.json"]);
    assert!(code(&failed) == 1 && said(&failed).contains("1 doubled"), "{failed:?}");
}

#[test]
fn wrong_usage_is_said_so() {
    let dir = kept(&[("a.json", good())]);
    for words in [
        &["compare"][..],
        &["compare", "a.json"],
        &["compare", "a.json", "a.json", "a.json"],
        &["compare", "a.json", "a.json", "--rounds", "2"],
        &["report"],
    ] {
        let output = bench(dir.path(), words);
        assert!(code(&output) == 2 && output.stdout.is_empty(), "{words:?}: {output:?}");
    }
}

/// Where to find a repository of one commit, and a cargo that "builds" the program of these tests.
fn repository(dir: &Path) -> PathBuf {
    let (tree, tools) = (dir.join("repository"), dir.join("tools"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::create_dir_all(&tools).unwrap();
    let git = |words: &[&str]| {
        let named = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        let done = Command::new("git").arg("-C").arg(&tree).args(named).args(words).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "-q"]);
    std::fs::write(tree.join("README"), "one").unwrap();
    git(&["add", "README"]);
    git(&["commit", "-qm", "one"]);
    git(&["tag", "v1"]);
    let cargo = format!(
        "#!/bin/sh\ntest -f README && test \"$*\" = 'build --release --locked --bin longshore' || exit 9\n\
         mkdir -p \"$CARGO_TARGET_DIR/release\" && cp {} \"$CARGO_TARGET_DIR/release/longshore\"\n",
        env!("CARGO_BIN_EXE_longshore")
    );
    let path = tools.join("cargo");
    std::fs::write(&path, cargo).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    tree
}

fn against(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "240", env!("CARGO_BIN_EXE_longshore"), "bench", "compare"]).args(words);
    command.current_dir(dir.join("repository")).env("CARGO", dir.join("tools/cargo")).env("LONGSHORE_BENCH_DEBUG_IS_FINE", "yes");
    command.output().unwrap()
}

#[test]
fn a_revision_is_built_apart_and_both_run_in_turns() {
    let dir = tempfile::tempdir().unwrap();
    let tree = repository(dir.path());
    let out = dir.path().join("out");
    let words =
        ["--against", "v1", "end_to_end_latency", "--rounds", "2", "--log", "embedded", "--scale", "0.1", "--json", "--out"];
    let output = against(dir.path(), &[&words[..], &[out.to_str().unwrap()]].concat());
    // A machine that is busy with other tests may leave a run inconclusive: that is a warning, and no figure counts here.
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(found["benchmarks"][0]["name"], "end_to_end_latency", "{found}");
    let read = |side: &str| longshore_bench::report::read(&out.join(side)).unwrap();
    let (base, new) = (read("base"), read("new"));
    let begun = |report: &Report| -> Vec<String> {
        report.benchmarks[0].repeats.iter().map(|repeat| repeat.started_at.clone()).collect()
    };
    let (a, b) = (begun(&base), begun(&new));
    assert!(a.len() == 2 && b.len() == 2 && a[0] < b[0] && b[0] < a[1] && a[1] < b[1], "in turns: {a:?} {b:?}");
    assert!(
        base.benchmarks[0].repeats.iter().all(|repeat| repeat.ledger.holds() && repeat.ledger.stored > 0),
        "{:?}",
        base.benchmarks[0].repeats
    );
    assert!(!out.join("other").exists(), "the work tree is gone");
    let trees = Command::new("git").arg("-C").arg(&tree).args(["worktree", "list"]).output().unwrap();
    assert_eq!(said(&trees).lines().count(), 1, "{trees:?}");
}

#[test]
fn what_cannot_be_built_or_found_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tree = repository(dir.path());
    let out = dir.path().join("out");
    let unknown = against(dir.path(), &["--against", "v9", "--out", out.to_str().unwrap()]);
    assert!(code(&unknown) == 2 && complained(&unknown).contains("v9 is no file, and no revision of"), "{unknown:?}");
    std::fs::write(dir.path().join("tools/cargo"), "#!/bin/sh\nexit 101\n").unwrap();
    let broken = against(dir.path(), &["--against", "v1", "--out", out.to_str().unwrap()]);
    assert!(code(&broken) == 1 && complained(&broken).contains("does not build"), "{broken:?}");
    let trees = Command::new("git").arg("-C").arg(&tree).args(["worktree", "list"]).output().unwrap();
    assert_eq!((said(&trees).lines().count(), out.join("other").exists()), (1, false), "{trees:?}");
    let stranger = against(dir.path(), &["--against", "/bin/sh", "--out", out.to_str().unwrap()]);
    assert!(code(&stranger) == 1 && complained(&stranger).contains("is no longshore"), "{stranger:?}");
}
