//! `longshore config …` and `longshore completions`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use serde_json::json;

use super::problem::Problem;
use super::{ConfigErrors, DEFAULT_FILE, Purpose, Surroundings, init, ready, schema, show};
use crate::cli::{Cli, CompletionsArgs, ConfigArgs, ConfigCommand};
use crate::{exit, render};

/// `longshore config`
pub(crate) fn run(args: ConfigArgs) -> Result<u8> {
    match args.command {
        ConfigCommand::Init { file, preset, force } => write_file(&file, &preset, force),
        ConfigCommand::Check(args) => check(&args.config, args.json),
        ConfigCommand::Show(args) => show_file(&args.config, args.json),
        ConfigCommand::Schema => {
            render::print_json(&schema::schema())?;
            Ok(exit::DONE)
        }
    }
}

fn write_file(file: &Path, preset: &str, force: bool) -> Result<u8> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(!force).create(force).truncate(force);
    let mut opened = match options.open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} exists already: name another file, or add --force to write over it", file.display())
        }
        other => other.with_context(|| format!("writing {}", file.display()))?,
    };
    opened.write_all(init::file(preset).as_bytes()).with_context(|| format!("writing {}", file.display()))?;
    let named = if file == Path::new(DEFAULT_FILE) { String::new() } else { format!(" -c {}", file.display()) };
    println!("Wrote {}. Put your hosts in it, then: longshore config check{named}", file.display());
    Ok(exit::DONE)
}

fn check(file: &Path, as_json: bool) -> Result<u8> {
    let name = file.display().to_string();
    let result = super::load(file, Purpose::Run);
    let (errors, warnings) = match result {
        Ok(ready) => (Vec::new(), ready.warnings),
        Err(ConfigErrors { errors, warnings, .. }) => (errors, warnings),
    };
    if as_json {
        let list = |problems: &[Problem]| problems.iter().map(|p| as_value(&name, p)).collect::<Vec<_>>();
        let value = json!({ "file": name, "ok": errors.is_empty(), "errors": list(&errors), "warnings": list(&warnings) });
        render::print_json(&value)?;
    } else {
        say(&name, &errors, &warnings)?;
    }
    Ok(if errors.is_empty() { exit::DONE } else { exit::CONFIG })
}

fn say(file: &str, errors: &[Problem], warnings: &[Problem]) -> Result<()> {
    for (word, problems) in [("error", errors), ("warning", warnings)] {
        for problem in problems {
            render::print(format!("{word}: {}", render::harmless(&problem.shown(file))))?;
        }
    }
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let summary = match errors.len() {
        0 if warnings.is_empty() => format!("{file} is right"),
        0 => format!("{file} can be used: {}", count(warnings.len(), "warning")),
        n => format!("{file} cannot be used: {}, {}", count(n, "error"), count(warnings.len(), "warning")),
    };
    render::print(summary).map(|_| ())
}

fn as_value(file: &str, problem: &Problem) -> serde_json::Value {
    let (line, column, variable) = match &problem.at {
        super::At::File { line, column } => (Some(line), Some(column), None),
        super::At::Environment(variable) => (None, None, Some(variable)),
        super::At::Default => (None, None, None),
    };
    json!({
        "place": problem.at.shown(file),
        "line": line,
        "column": column,
        "variable": variable,
        "key": problem.key,
        "message": problem.message,
    })
}

fn show_file(file: &Path, as_json: bool) -> Result<u8> {
    let loaded = super::read(file, Surroundings::of_process(file)).context(exit::Configuration)?;
    let (name, mut top) = (loaded.file.clone(), loaded.top.clone());
    let ready = ready::ready(loaded, Purpose::Look).context(exit::Configuration)?;
    show::write_out(&mut top, &ready.plan.place.lanes);
    if as_json {
        render::print_json(&show::as_json(&name, &top))?;
    } else {
        render::print(show::as_yaml(&name, &top).trim_end())?;
    }
    Ok(exit::DONE)
}

/// `longshore completions`
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "longshore", &mut script);
    render::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(exit::DONE)
}
