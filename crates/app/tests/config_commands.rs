//! `longshore config` and `longshore completions` as a user meets them.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use longshore::config::reference_table;
use serde_json::Value;
use tempfile::TempDir;

/// The binary in a directory, with nothing of ours in its environment.
fn longshore(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGSHORE_")) {
        command.env_remove(name);
    }
    command.current_dir(directory).args(args).env("SECRET", "5ec2e7-5ec2e7-5ec2e7").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Key and value of everything that `config show` says of a configuration.
fn values(directory: &Path, file: &str) -> Vec<(String, Value)> {
    let output = longshore(directory, &["config", "show", "-c", file, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let values = shown["values"].as_array().unwrap();
    values.iter().map(|value| (value["key"].as_str().unwrap().to_owned(), value["value"].clone())).collect()
}

#[test]
fn what_init_writes_is_right_and_its_comments_are_the_defaults() {
    let directory = TempDir::new().unwrap();
    for preset in ["xact", "urls", "cloudevents", "s3-notification"] {
        let file = format!("{preset}.yaml");
        let output = longshore(directory.path(), &["config", "init", &file, "--preset", preset]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let check = longshore(directory.path(), &["config", "check", "-c", &file]);
        assert_eq!((check.status.code(), text(&check.stdout)), (Some(0), format!("{file} is right\n")));

        let written = std::fs::read_to_string(directory.path().join(&file)).unwrap();
        let defaults =
            written.lines().filter(|line| line.trim_start().starts_with('#') && !line.trim_start().starts_with("# ")).count();
        assert!(defaults > 25, "{defaults} defaults are shown");
        let uncommented: String = written.lines().map(|line| uncomment(line) + "\n").collect();
        std::fs::write(directory.path().join("uncommented.yaml"), uncommented).unwrap();
        assert_eq!(values(directory.path(), "uncommented.yaml"), values(directory.path(), &file));

        let least = format!("sources:\n  - name: {preset}\n    preset: {preset}\n    allow_hosts: [files.example.com]\n");
        std::fs::write(directory.path().join("least.yaml"), least).unwrap();
        assert_eq!(values(directory.path(), "least.yaml"), values(directory.path(), &file));
    }
}

/// `#key: value` becomes `key: value`.
fn uncomment(line: &str) -> String {
    let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
    match rest.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{indent}{key}"),
        _ => line.to_owned(),
    }
}

#[test]
fn init_writes_over_nothing_unless_told_to() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("longshore.yaml");
    std::fs::write(&file, "mine").unwrap();
    let refused = longshore(directory.path(), &["config", "init"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("exists already: name another file, or add --force"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(longshore(directory.path(), &["config", "init", "--force"]).status.code(), Some(0));
    assert_ne!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_wrong_configuration_ends_with_78_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let right = "sources:\n  - name: xact\n    preset: xact\n    allow_hosts: [files.example.com]\n";
    for (wrong, says) in [
        (format!("{right}    max_sze: 1\n"), "longshore.yaml:5:5: sources[0].max_sze: unknown key; did you mean max_size?"),
        (format!("{right}record: {{freshness: fast}}\n"), "longshore.yaml:5:21: record.freshness: 'fast' is not a time"),
        (format!("{right}store: s3://claims\n"), "longshore.yaml:5:8: store: this version stores in local directories only"),
        (format!("{right}http: {{listen: 0.0.0.0:9464}}\n"), "longshore.yaml:5:16: http.listen: 0.0.0.0:9464 can be reached"),
        (format!("{right}store: [a\n"), "longshore.yaml:6:1: not valid YAML"),
        (right.replace("    preset: xact\n", ""), "longshore.yaml:2:5: sources[0]: needs a preset or a map"),
    ] {
        std::fs::write(directory.path().join("longshore.yaml"), &wrong).unwrap();
        let check = longshore(directory.path(), &["config", "check"]);
        assert_eq!(check.status.code(), Some(78), "{wrong}");
        assert!(text(&check.stdout).contains(&format!("error: {says}")), "{}", text(&check.stdout));
        let show = longshore(directory.path(), &["config", "show"]);
        assert_eq!((show.status.code(), text(&show.stdout)), (Some(78), String::new()));
        assert!(text(&show.stderr).contains(&format!("error: wrong configuration: {says}")), "{}", text(&show.stderr));
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    let missing = longshore(directory.path(), &["config", "check", "-c", "other.yaml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stdout).contains("make one with 'longshore config init other.yaml'"), "{}", text(&missing.stdout));
}

#[test]
fn check_speaks_json() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("longshore.yaml"), "sources: []\nstor: x\n").unwrap();
    let output = longshore(directory.path(), &["config", "check", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), value["ok"].as_bool()), (Some(78), Some(false)));
    let second = &value["errors"][1];
    assert_eq!((second["line"].as_u64(), second["column"].as_u64(), second["key"].as_str()), (Some(2), Some(1), Some("stor")));
}

#[test]
fn show_says_where_each_value_is_from_and_hides_secrets() {
    let directory = TempDir::new().unwrap();
    let config = "store: ./files\nsources:\n  - name: xact\n    preset: xact\n    allow_hosts: [files.example.com]\n    \
                  headers: {Authorization: 'Bearer ${env:SECRET}', X-Api-Key: 5ec2e7-in-plain}\n    \
                  credentials:\n      - {host: a.example, headers: {X-Any: 5ec2e7-too}}\nhttp: {token: '${env:SECRET}'}\n";
    std::fs::write(directory.path().join("longshore.yaml"), config).unwrap();
    for args in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = text(&longshore(directory.path(), args).stdout);
        assert!(!shown.contains("5ec2e7") && shown.contains("***"), "{shown}");
    }
    let shown = text(&longshore(directory.path(), &["config", "show"]).stdout);
    let line =
        |key: &str| shown.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_else(|| panic!("{key}: {shown}"));
    assert!(line("store:").ends_with("# longshore.yaml:1"));
    assert!(line("tables:").ends_with("# default"));
    assert!(line("Authorization:").ends_with("# longshore.yaml:6, from ${env:SECRET}"));
    assert_eq!(line("topic:").split_whitespace().collect::<Vec<_>>().join(" "), "topic: xact.events.raw # default");
    assert!(line("path:").contains("{status_subtype}/") && line("file_types:").contains("pdf"));
    // What is shown is a configuration again.
    let again = shown.replace("***", "hidden-hidden-hidden");
    std::fs::write(directory.path().join("again.yaml"), again).unwrap();
    assert_eq!(longshore(directory.path(), &["config", "check", "-c", "again.yaml"]).status.code(), Some(0));
}

#[test]
fn the_reference_has_every_key_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let table = reference_table::markdown();
    assert!(document.contains(&table), "put this table into docs/configuration.md:\n{table}");
}

#[test]
fn completions_know_the_commands() {
    let directory = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = longshore(directory.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text(&output.stdout).contains("reconcile"), "{shell}");
    }
    assert_eq!(longshore(directory.path(), &["completions", "cmd"]).status.code(), Some(2));
}
